//! CloudFormation, CloudWatch and Kinesis, for tests: one server that speaks
//! all three protocols (XML, CBOR, JSON).

use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_kinesis::config::Credentials;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// What the server knows.
#[derive(Clone, Default)]
pub(super) struct Account {
    /// The stack's parameters.
    pub(super) parameters: Vec<(&'static str, &'static str)>,
    /// When it was created.
    pub(super) created: &'static str,
    /// Its template.
    pub(super) template: String,
    /// Resources by stack: logical id, type, physical id.
    pub(super) resources: BTreeMap<&'static str, Vec<(&'static str, &'static str, &'static str)>>,
    /// Data points by `namespace metric dimension-values`.
    pub(super) points: BTreeMap<String, Vec<f64>>,
    /// How many custom metrics there are, if that may be asked.
    pub(super) custom_metrics: Option<usize>,
    /// Open shards, if Kinesis answers.
    pub(super) shards: Option<i32>,
    /// Whether CloudWatch refuses.
    pub(super) throttled: bool,
}

/// A running server.
pub(super) struct StandIn {
    server: MockServer,
    /// Requests to `GetMetricData`, decoded.
    pub(super) asked: Arc<Mutex<Vec<Value>>>,
}

struct Answers {
    account: Account,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl StandIn {
    pub(super) async fn start(account: Account) -> Self {
        let server = MockServer::start().await;
        let asked = Arc::default();
        let answers = Answers {
            account,
            asked: Arc::clone(&asked),
        };
        Mock::given(any())
            .respond_with(answers)
            .mount(&server)
            .await;
        Self { server, asked }
    }

    pub(super) async fn aws(&self) -> SdkConfig {
        aws_config::from_env()
            .endpoint_url(self.server.uri())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .load()
            .await
    }
}

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let path = request.url.path();
        if path.ends_with("/GetMetricData") {
            return self.metric_data(&decode(&request.body));
        }
        if path.ends_with("/ListMetrics") {
            let Some(count) = self.account.custom_metrics else {
                return refused("AccessDenied", "no permission for ListMetrics");
            };
            let metrics = vec![json!({"Namespace": "Freshet", "MetricName": "M"}); count];
            return cbor(200, &json!({ "Metrics": metrics }));
        }
        if request.headers.contains_key("x-amz-target") {
            return self.stream();
        }
        let body = String::from_utf8_lossy(&request.body).into_owned();
        self.cloudformation(&form(&body))
    }
}

impl Answers {
    /// Two pages: the later half of each metric's points comes with the second.
    fn metric_data(&self, request: &Value) -> ResponseTemplate {
        if self.account.throttled {
            return refused("Throttling", "Rate exceeded");
        }
        let is_second = request.get("NextToken").is_some();
        let result = |query: &Value| {
            let metric = &query["MetricStat"]["Metric"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut key = format!(
                "{} {}",
                text(&metric["Namespace"]),
                text(&metric["MetricName"])
            );
            for dimension in metric["Dimensions"].as_array().into_iter().flatten() {
                key.push_str(&format!(" {}", text(&dimension["Value"])));
            }
            let points = self.account.points.get(&key).cloned().unwrap_or_default();
            let (first, second) = points.split_at(points.len() / 2);
            json!({"Id": query["Id"], "Values": if is_second { second } else { first }})
        };
        let queries = request["MetricDataQueries"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let results: Vec<Value> = queries.iter().map(result).collect();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(request.clone());
        let mut answer = json!({ "MetricDataResults": results });
        if !is_second {
            answer["NextToken"] = json!("more");
        }
        cbor(200, &answer)
    }

    fn stream(&self) -> ResponseTemplate {
        let Some(shards) = self.account.shards else {
            let body = json!({"__type": "AccessDeniedException", "message": "not allowed"});
            return ResponseTemplate::new(400).set_body_json(body);
        };
        ResponseTemplate::new(200).set_body_json(json!({"StreamDescriptionSummary": {
            "StreamName": "events", "StreamARN": "arn:aws:kinesis:us-east-1:1:stream/events", "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"}, "RetentionPeriodHours": 168, "StreamCreationTimestamp": 1.0,
            "EnhancedMonitoring": [], "OpenShardCount": shards,
        }}))
    }

    fn cloudformation(&self, form: &BTreeMap<String, String>) -> ResponseTemplate {
        let action = form.get("Action").map_or("", String::as_str);
        let stack = form.get("StackName").map_or("", String::as_str);
        let Some(resources) = self.account.resources.get(stack) else {
            let xml = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code><Message>Stack with id {stack} does not exist</Message></Error></ErrorResponse>"
            );
            return ResponseTemplate::new(400).set_body_string(xml);
        };
        let inner = match action {
            "DescribeStacks" => {
                let parameters: String = self
                    .account
                    .parameters
                    .iter()
                    .map(|(key, value)| format!("<member><ParameterKey>{key}</ParameterKey><ParameterValue>{value}</ParameterValue></member>"))
                    .collect();
                format!(
                    "<Stacks><member><StackId>arn:aws:cloudformation:us-east-1:123456789012:stack/{stack}/0</StackId><StackName>{stack}</StackName>\
                     <CreationTime>{}</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus><Parameters>{parameters}</Parameters></member></Stacks>",
                    self.account.created
                )
            }
            "GetTemplate" => {
                let body = self
                    .account
                    .template
                    .replace('&', "&amp;")
                    .replace('<', "&lt;");
                format!("<TemplateBody>{body}</TemplateBody>")
            }
            _ => {
                // One a page, so that pages are turned.
                let at: usize = form
                    .get("NextToken")
                    .and_then(|at| at.parse().ok())
                    .unwrap_or(0);
                let member = resources.get(at).map_or(String::new(), |(logical, kind, physical)| {
                    format!(
                        "<member><LogicalResourceId>{logical}</LogicalResourceId><ResourceType>{kind}</ResourceType><PhysicalResourceId>{physical}</PhysicalResourceId>\
                         <LastUpdatedTimestamp>2026-11-01T00:00:00Z</LastUpdatedTimestamp><ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>"
                    )
                });
                let more = if at + 1 < resources.len() {
                    format!("<NextToken>{}</NextToken>", at + 1)
                } else {
                    String::new()
                };
                format!("<StackResourceSummaries>{member}</StackResourceSummaries>{more}")
            }
        };
        let xml = format!(
            "<{action}Response><{action}Result>{inner}</{action}Result></{action}Response>"
        );
        ResponseTemplate::new(200).set_body_string(xml)
    }
}

fn form(body: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://form/?{body}")).unwrap();
    url.query_pairs().into_owned().collect()
}

fn refused(code: &str, message: &str) -> ResponseTemplate {
    cbor(
        400,
        &json!({"__type": format!("com.amazonaws.cloudwatch#{code}"), "message": message}),
    )
}

fn cbor(status: u16, value: &Value) -> ResponseTemplate {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    ResponseTemplate::new(status)
        .insert_header("smithy-protocol", "rpc-v2-cbor")
        .set_body_raw(bytes, "application/cbor")
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    let head = |major: u8, length: usize, out: &mut Vec<u8>| {
        out.push(major << 5 | 26);
        out.extend(u32::try_from(length).unwrap().to_be_bytes());
    };
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(is) => out.push(if *is { 0xf5 } else { 0xf4 }),
        Value::Number(number) => {
            out.push(0xfb);
            out.extend(number.as_f64().unwrap().to_be_bytes());
        }
        Value::String(text) => {
            head(3, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Array(items) => {
            head(4, items.len(), out);
            items.iter().for_each(|item| encode(item, out));
        }
        Value::Object(fields) => {
            head(5, fields.len(), out);
            for (key, value) in fields {
                encode(&json!(key), out);
                encode(value, out);
            }
        }
    }
}

fn decode(bytes: &[u8]) -> Value {
    let mut rest = bytes;
    item(&mut rest).unwrap()
}

/// The next item; `None` at the mark that ends what has no length.
fn item(rest: &mut &[u8]) -> Option<Value> {
    let first = take(rest, 1)[0];
    let (major, info) = (first >> 5, first & 31);
    if first == 0xff {
        return None;
    }
    let number = |rest: &mut &[u8]| match info {
        0..24 => u64::from(info),
        24 => u64::from(take(rest, 1)[0]),
        25 => u64::from(u16::from_be_bytes(take(rest, 2).try_into().unwrap())),
        26 => u64::from(u32::from_be_bytes(take(rest, 4).try_into().unwrap())),
        27 => u64::from_be_bytes(take(rest, 8).try_into().unwrap()),
        _ => u64::MAX, // of no length
    };
    Some(match major {
        0 => json!(number(rest)),
        3 => {
            let length = usize::try_from(number(rest)).unwrap();
            json!(String::from_utf8_lossy(take(rest, length)))
        }
        4 => {
            let length = number(rest);
            let items = (0..length).map_while(|_| item(rest));
            Value::Array(items.collect())
        }
        5 => {
            let length = number(rest);
            let mut fields = Map::new();
            for _ in 0..length {
                let Some(key) = item(rest) else { break };
                let value = item(rest).unwrap();
                fields.insert(key.as_str().unwrap().to_owned(), value);
            }
            Value::Object(fields)
        }
        6 => {
            number(rest);
            item(rest)?
        }
        7 if info == 27 => json!(f64::from_bits(number(rest))),
        7 if info == 20 || info == 21 => json!(info == 21),
        7 => Value::Null,
        _ => panic!("major type {major}"),
    })
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> &'b [u8] {
    let (taken, others) = rest.split_at(length);
    *rest = others;
    taken
}
