//! What a stack has used, as CloudWatch counted it.

use super::deployed::{Deployed, reason};
use anyhow::{Result, anyhow};
use aws_config::SdkConfig;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, DimensionFilter, Metric, MetricDataQuery, MetricStat};
use freshet_cost::{Component, GB, HOURS, Metered, Stream, measured};
use std::collections::BTreeMap;

/// Seconds that a data point is about.
const PERIOD_S: i32 = 3_600;
/// CloudWatch takes so many in one request.
const MOST_QUERIES: usize = 500;

/// What a stack has used, scaled to a month.
#[derive(Debug)]
pub(super) struct Used {
    /// What was metered.
    pub(super) metered: Vec<Metered>,
    /// Events, if collect's metric has them.
    pub(super) events: Option<f64>,
    /// Over how many hours it was counted.
    pub(super) hours: f64,
    /// What CloudWatch has no data of.
    pub(super) missing: Vec<String>,
    /// What else is to be known.
    pub(super) notes: Vec<String>,
}

/// A metric that is asked for.
struct Ask {
    /// Ours: a letter first, then letters, digits and underscores.
    id: String,
    /// What is missing without it.
    what: String,
    namespace: &'static str,
    metric: &'static str,
    dimensions: Vec<(&'static str, String)>,
    /// `Sum`, else the mean of the averages.
    is_sum: bool,
}

const FUNCTIONS: [(&str, &str, Option<Component>); 6] = [
    ("collect", "CollectFunction", Some(Component::Collect)),
    ("enrich", "EnrichFunction", Some(Component::Enrich)),
    ("aggregate", "AggregateFunction", Some(Component::Aggregate)),
    ("query", "QueryFunction", Some(Component::Query)),
    ("health", "HealthFunction", Some(Component::Health)),
    // It runs when the stack is deployed, and then hardly.
    ("provision", "ProvisionFunction", None),
];
const TABLES: [(&str, &str, Component); 2] = [
    ("sessions", "SessionTable", Component::Sessions),
    ("aggregations", "AggregationTable", Component::Aggregations),
];

/// What the stack has used in the `days` before `end_s`, or since it is there.
pub(super) async fn of(
    deployed: &Deployed,
    days: u16,
    end_s: i64,
    aws: &SdkConfig,
) -> Result<Used> {
    // Whole hours: CloudWatch aligns periods.
    let end_s = end_s - end_s.rem_euclid(i64::from(PERIOD_S));
    let mut start_s = end_s - i64::from(days) * 86_400;
    if let Some(created_s) = deployed.created_s {
        start_s = start_s.max(created_s - created_s.rem_euclid(i64::from(PERIOD_S)));
    }
    if start_s >= end_s {
        return Err(anyhow!(
            "the stack {} is younger than an hour: nothing can be said yet",
            deployed.name
        ));
    }
    #[allow(clippy::cast_precision_loss)] // some thousands
    let hours = (end_s - start_s) as f64 / 3_600.0;
    let client = Client::new(aws);
    let asks = asks(deployed);
    let found = ask(&client, &asks, start_s, end_s).await?;
    let mut account = Account {
        deployed,
        asks: &asks,
        found: &found,
        to_month: HOURS / hours,
        metered: Vec::new(),
        missing: Vec::new(),
    };
    let events = account.monthly("accepted");
    account.functions();
    account.door();
    let mut notes = Vec::new();
    let stream = match deployed.stream(aws).await {
        Ok(Some(stream)) => stream,
        Ok(None) => deployed.deployment.stream,
        Err(why) => {
            notes.push(format!(
                "shards are those of the parameters, as Kinesis said: {why}"
            ));
            deployed.deployment.stream
        }
    };
    account.stream(stream);
    account.tables();
    account.search(&mut notes);
    account.logs();
    match custom_metrics(&client, &deployed.name).await {
        Ok(metrics) => account.watching(metrics),
        Err(why) => {
            account.missing.push(format!("custom metrics: {why}"));
            account.watching(0.0);
        }
    }
    let Account {
        mut metered,
        missing,
        ..
    } = account;
    metered.retain(|item| item.amount > 0.0);
    notes.push(
        "not counted by CloudWatch: answers to the internet, what tables and buckets hold, keys"
            .to_owned(),
    );
    Ok(Used {
        metered,
        events,
        hours,
        missing,
        notes,
    })
}

/// Every metric that is needed of what the stack has.
fn asks(deployed: &Deployed) -> Vec<Ask> {
    let mut asks = Vec::new();
    let mut add = |id: &str, what: String, namespace, metric, dimensions| {
        asks.push(Ask {
            id: id.to_owned(),
            what,
            namespace,
            metric,
            dimensions,
            is_sum: true,
        });
    };
    let of_us = vec![
        ("Stack", deployed.name.clone()),
        ("Stage", "collect".to_owned()),
    ];
    let what = "events accepted, and so dollars a million".to_owned();
    add("accepted", what, "Freshet", "Accepted", of_us);
    if let Some(api) = deployed.own("Api") {
        let what = "requests of the HTTP API".to_owned();
        let api = vec![("ApiId", api.to_owned())];
        add("api_count", what, "AWS/ApiGateway", "Count", api);
    }
    for (name, logical_id, _) in FUNCTIONS {
        let Some(function) = deployed.own(logical_id) else {
            continue;
        };
        for (id, metric) in [("invocations", "Invocations"), ("duration", "Duration")] {
            let dimensions = vec![("FunctionName", function.to_owned())];
            let what = format!("{id} of {name}");
            add(
                &format!("{name}_{id}"),
                what,
                "AWS/Lambda",
                metric,
                dimensions,
            );
        }
    }
    if let Some(stream) = deployed.own("EventStream") {
        for (id, metric) in [
            ("stream_records", "IncomingRecords"),
            ("stream_bytes", "IncomingBytes"),
            ("stream_read", "GetRecords.Bytes"),
        ] {
            let dimensions = vec![("StreamName", stream.to_owned())];
            let what = format!("{metric} of the stream");
            add(id, what, "AWS/Kinesis", metric, dimensions);
        }
    }
    for (name, logical_id, _) in TABLES {
        let Some(table) = deployed.own(logical_id) else {
            continue;
        };
        for (id, metric) in [
            ("writes", "ConsumedWriteCapacityUnits"),
            ("reads", "ConsumedReadCapacityUnits"),
        ] {
            let dimensions = vec![("TableName", table.to_owned())];
            let what = format!("{metric} of the table of {name}");
            add(
                &format!("{name}_{id}"),
                what,
                "AWS/DynamoDB",
                metric,
                dimensions,
            );
        }
    }
    for (n, group) in deployed.all("AWS::Logs::LogGroup").enumerate() {
        let dimensions = vec![("LogGroupName", group.physical_id.clone())];
        let what = format!("IncomingBytes of {}", group.logical_id);
        add(
            &format!("logs_{n}"),
            what,
            "AWS/Logs",
            "IncomingBytes",
            dimensions,
        );
    }
    let mut mean = |id: &str, what: &str, metric, dimensions| {
        asks.push(Ask {
            id: id.to_owned(),
            what: what.to_owned(),
            namespace: "AWS/ES",
            metric,
            dimensions,
            is_sum: false,
        });
    };
    if let Some(domain) = domain(deployed) {
        let dimensions = vec![
            ("DomainName", domain),
            ("ClientId", deployed.account.clone()),
        ];
        mean("nodes", "nodes of OpenSearch", "Nodes", dimensions.clone());
        mean(
            "used_mb",
            "what the index holds",
            "ClusterUsedSpace",
            dimensions,
        );
    }
    asks
}

/// The domain's name. Its resource is `Domain` of the nested stack; the
/// physical id is a name, or an ARN that ends with it.
fn domain(deployed: &Deployed) -> Option<String> {
    let domain = deployed.all("AWS::OpenSearchService::Domain").next()?;
    let name = domain.physical_id.rsplit('/').next()?;
    Some(name.to_owned())
}

/// Asks CloudWatch; what has no data points is not in the answer.
async fn ask(
    client: &Client,
    asks: &[Ask],
    start_s: i64,
    end_s: i64,
) -> Result<BTreeMap<String, f64>> {
    let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for chunk in asks.chunks(MOST_QUERIES) {
        let queries = chunk.iter().map(query).collect();
        let mut pages = client
            .get_metric_data()
            .set_metric_data_queries(Some(queries))
            .start_time(DateTime::from_secs(start_s))
            .end_time(DateTime::from_secs(end_s))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| anyhow!("CloudWatch: {}", reason(&error)))?;
            for result in page.metric_data_results() {
                let Some(id) = result.id() else { continue };
                values
                    .entry(id.to_owned())
                    .or_default()
                    .extend_from_slice(result.values());
            }
        }
    }
    let mut found = BTreeMap::new();
    for ask in asks {
        let Some(values) = values.get(&ask.id).filter(|values| !values.is_empty()) else {
            continue;
        };
        let sum: f64 = values.iter().sum();
        #[allow(clippy::cast_precision_loss)] // some hundreds
        let value = if ask.is_sum {
            sum
        } else {
            sum / values.len() as f64
        };
        found.insert(ask.id.clone(), value);
    }
    Ok(found)
}

fn query(ask: &Ask) -> MetricDataQuery {
    let dimension = |(name, value): &(&'static str, String)| {
        Dimension::builder().name(*name).value(value).build()
    };
    let metric = Metric::builder()
        .namespace(ask.namespace)
        .metric_name(ask.metric)
        .set_dimensions(Some(ask.dimensions.iter().map(dimension).collect()))
        .build();
    let stat = MetricStat::builder()
        .metric(metric)
        .period(PERIOD_S)
        .stat(if ask.is_sum { "Sum" } else { "Average" })
        .build();
    MetricDataQuery::builder()
        .id(&ask.id)
        .metric_stat(stat)
        .return_data(true)
        .build()
}

/// How many metrics of ours there are under the stack's name.
#[allow(clippy::cast_precision_loss)] // some hundreds
async fn custom_metrics(client: &Client, stack: &str) -> Result<f64, String> {
    let of_stack = DimensionFilter::builder()
        .name("Stack")
        .value(stack)
        .build();
    let mut metrics = client
        .list_metrics()
        .namespace("Freshet")
        .dimensions(of_stack)
        .into_paginator()
        .send();
    let mut count = 0;
    while let Some(page) = metrics.next().await {
        count += page.map_err(|error| reason(&error))?.metrics().len();
    }
    Ok(count as f64)
}

/// From what was found to what is paid for.
struct Account<'u> {
    deployed: &'u Deployed,
    asks: &'u [Ask],
    found: &'u BTreeMap<String, f64>,
    to_month: f64,
    metered: Vec<Metered>,
    missing: Vec<String>,
}

impl Account<'_> {
    /// A sum, a month. What was asked for and not found is missing; what the
    /// stack has not is not.
    fn monthly(&mut self, id: &str) -> Option<f64> {
        self.value(id).map(|value| value * self.to_month)
    }

    fn value(&mut self, id: &str) -> Option<f64> {
        let found = self.found.get(id).copied();
        if found.is_none() {
            let asked = self.asks.iter().filter(|ask| ask.id == id);
            self.missing.extend(asked.map(|ask| ask.what.clone()));
        }
        found
    }

    fn add(&mut self, component: Component, what: &'static str, key: &'static str, amount: f64) {
        self.metered
            .push(Metered::new(component, what, key, amount));
    }

    fn door(&mut self) {
        if let Some(requests) = self.monthly("api_count") {
            self.add(Component::Api, "requests", "api.request", requests);
        }
    }

    fn functions(&mut self) {
        for (name, _, component) in FUNCTIONS {
            let Some(component) = component else {
                // Nothing between deployments is as it should be.
                continue;
            };
            let invocations = self.monthly(&format!("{name}_invocations"));
            if let Some(invocations) = invocations {
                self.add(component, "requests", "lambda.request", invocations);
            }
            if let Some(ms) = self.monthly(&format!("{name}_duration")) {
                match self.deployed.deployment.memory(name) {
                    Some(mb) => {
                        let used = ms / 1_000.0 * mb / 1_024.0;
                        self.add(component, "GB-seconds", "lambda.arm64_gb_second", used);
                    }
                    None => self.missing.push(format!("the memory of {name}")),
                }
            }
            if let Some(runs) = invocations.filter(|_| component == Component::Health) {
                self.add(component, "schedule", "scheduler.invocation", runs);
                let read = runs * measured::HEALTH_METRICS;
                self.add(component, "metrics read", "metrics.read", read);
            }
        }
    }

    fn stream(&mut self, stream: Stream) {
        let part = Component::Stream;
        let records = self.monthly("stream_records");
        let bytes = self.monthly("stream_bytes");
        let keeps_longer = self.deployed.deployment.stream_hours > 24.0;
        match stream {
            Stream::Shards(shards) => {
                let hours = f64::from(shards) * HOURS;
                self.add(part, "shards", "kinesis.shard_hour", hours);
                if keeps_longer {
                    let key = "kinesis.extended_shard_hour";
                    self.add(part, "kept over 24 h", key, hours);
                }
                // At least one a record, and one for each 25 KB.
                if let (Some(records), Some(bytes)) = (records, bytes) {
                    let units = records.max(bytes / 25_600.0);
                    self.add(part, "PUT units", "kinesis.put_unit", units);
                }
            }
            Stream::OnDemand => {
                self.add(part, "stream", "kinesis.stream_hour", HOURS);
                if let (Some(records), Some(bytes)) = (records, bytes) {
                    // Each record is rounded up to 1 KB.
                    let written = bytes.max(records * 1_024.0) / GB;
                    self.add(part, "written", "kinesis.in_gb", written);
                    let kept_hours = (self.deployed.deployment.stream_hours - 24.0).max(0.0);
                    let kept = bytes / GB * kept_hours / HOURS;
                    self.add(part, "kept over 24 h", "kinesis.extended_gb_month", kept);
                }
                if let Some(read) = self.monthly("stream_read") {
                    self.add(part, "read", "kinesis.out_gb", read / GB);
                }
            }
        }
    }

    fn tables(&mut self) {
        for (name, _, component) in TABLES {
            for (id, what, key) in [
                ("writes", "write units", "dynamodb.write_unit"),
                ("reads", "read units", "dynamodb.read_unit"),
            ] {
                if let Some(units) = self.monthly(&format!("{name}_{id}")) {
                    self.add(component, what, key, units);
                }
            }
        }
    }

    fn search(&mut self, notes: &mut Vec<String>) {
        let Some(domain) = self.deployed.deployment.domain.clone() else {
            return;
        };
        // Masters and warm nodes are counted among the nodes.
        let others = if domain.warm { 5.0 } else { 0.0 };
        let Some(nodes) = self.value("nodes").map(|nodes| (nodes - others).max(0.0)) else {
            return;
        };
        self.metered
            .push(Metered::nodes("data nodes", &domain.instance_type, nodes));
        if domain.warm {
            self.metered
                .push(Metered::nodes("masters", "m7g.large.search", 3.0));
            self.metered.push(Metered::nodes(
                "warm nodes",
                "ultrawarm1.medium.search",
                2.0,
            ));
        }
        let volumes = nodes * f64::from(domain.volume_gb);
        self.add(
            Component::Search,
            "volumes",
            "opensearch.gp3_gb_month",
            volumes,
        );
        if let Some(used_mb) = self.value("used_mb") {
            notes.push(format!(
                "the indices take {:.1} of {volumes:.0} GB",
                used_mb / 1_024.0
            ));
        }
    }

    fn logs(&mut self) {
        let of_api = |group: &str| group == "ApiLogs";
        let groups: Vec<(usize, bool)> = self
            .deployed
            .all("AWS::Logs::LogGroup")
            .enumerate()
            .map(|(n, group)| (n, of_api(&group.logical_id)))
            .collect();
        let (mut functions, mut api) = (0.0, 0.0);
        for (n, is_api) in groups {
            let bytes = self.monthly(&format!("logs_{n}")).unwrap_or(0.0);
            if is_api {
                api += bytes;
            } else {
                functions += bytes;
            }
        }
        let kept = (functions + api) * self.deployed.deployment.log_days * 24.0 / HOURS;
        self.add(
            Component::Logs,
            "of functions",
            "logs.ingested_gb",
            functions / GB,
        );
        self.add(Component::Logs, "of the API", "logs.ingested_gb", api / GB);
        self.add(
            Component::Logs,
            "stored",
            "logs.stored_gb_month",
            kept * measured::LOG_COMPRESSION / GB,
        );
    }

    fn watching(&mut self, custom: f64) {
        let deployment = &self.deployed.deployment;
        let (alarms, composite) = (deployment.alarms, deployment.composite_alarms);
        let (dashboards, secrets) = (deployment.dashboards, deployment.secrets);
        let part = Component::Metrics;
        self.add(part, "custom metrics", "metrics.custom_month", custom);
        self.add(part, "alarms", "alarms.standard_month", f64::from(alarms));
        let key = "alarms.composite_month";
        self.add(part, "composite alarms", key, f64::from(composite));
        self.add(
            part,
            "dashboards",
            "dashboards.month",
            f64::from(dashboards),
        );
        let part = Component::Secrets;
        self.add(part, "secrets", "secrets.month", f64::from(secrets));
    }
}
