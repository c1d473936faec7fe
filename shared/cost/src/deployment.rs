//! What a stack is made of, as far as it costs something.

use crate::template::Template;
use std::collections::BTreeMap;
use std::str::FromStr;
use thiserror::Error;

/// Why it is not known what a stack is made of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeploymentError {
    /// The template lacks something.
    #[error("the template has no {0}")]
    Missing(String),
    /// A value is not what it should be.
    #[error("{name} is {value:?}: it must be {bounds}")]
    Invalid {
        /// Which.
        name: String,
        /// What it is.
        value: String,
        /// What it may be.
        bounds: &'static str,
    },
}

impl DeploymentError {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "template_incomplete",
            Self::Invalid { .. } => "parameter_invalid",
        }
    }
}

/// How the stream is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// So many shards.
    Shards(u32),
    /// By what goes through it.
    OnDemand,
}

/// How a function reads the stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mapping {
    /// Records in a batch, at most.
    pub batch_size: f64,
    /// Seconds that a batch waits for more.
    pub window_s: f64,
    /// Batches of a shard at once.
    pub lanes: f64,
}

/// From which level on functions log. The line of metrics is written at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What is broken.
    Error,
    /// And what is odd.
    Warn,
    /// And what happens once in a while.
    Info,
    /// And each step.
    Debug,
}

/// An OpenSearch domain that is paid for with the stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// Type of the data nodes.
    pub instance_type: String,
    /// Data nodes.
    pub nodes: u32,
    /// Volume of each.
    pub volume_gb: u32,
    /// Whether there are warm nodes, and so masters.
    pub warm: bool,
}

/// What a stack is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// How the stream is paid for.
    pub stream: Stream,
    /// How long it keeps records.
    pub stream_hours: f64,
    /// MB of the functions.
    pub memory_mb: BTreeMap<&'static str, f64>,
    /// How enrich reads.
    pub enrich: Mapping,
    /// How aggregate reads.
    pub aggregate: Mapping,
    /// The domain, if the stack has one of its own.
    pub domain: Option<Domain>,
    /// Replicas of an index while it is young.
    pub replicas: f64,
    /// How long events are kept in indices after their rollover.
    pub index_days: f64,
    /// Whether enrich makes sessions.
    pub sessions: bool,
    /// How long their states are kept.
    pub session_days: f64,
    /// Minutes of a window.
    pub window_minutes: f64,
    /// Minutes that an event may come early.
    pub future_minutes: f64,
    /// Seconds that an aggregation may be old while events wait.
    pub publish_interval_s: f64,
    /// From which level on functions log.
    pub log_level: LogLevel,
    /// Whether Lambda writes START, END and REPORT.
    pub platform_logs: bool,
    /// Whether the API writes a line for each request.
    pub access_log: bool,
    /// How long logs are kept.
    pub log_days: f64,
    /// Whether functions send traces to X-Ray.
    pub tracing: bool,
    /// Whether health runs.
    pub health: bool,
    /// Alarms.
    pub alarms: u32,
    /// Composite alarms.
    pub composite_alarms: u32,
    /// Dashboards.
    pub dashboards: u32,
    /// Secrets.
    pub secrets: u32,
}

/// The functions: logical id and name.
const FUNCTIONS: [(&str, &str); 5] = [
    ("CollectFunction", "collect"),
    ("EnrichFunction", "enrich"),
    ("AggregateFunction", "aggregate"),
    ("QueryFunction", "query"),
    ("HealthFunction", "health"),
];

impl Deployment {
    /// What `template` makes of these parameters' values; `nested` finds a
    /// nested template by its location.
    ///
    /// # Errors
    /// [`DeploymentError`] if the template lacks what is priced, or a value
    /// is none that it can have.
    pub fn of(
        template: &Template,
        values: &BTreeMap<String, String>,
        nested: &dyn Fn(&str) -> Option<Template>,
    ) -> Result<Self, DeploymentError> {
        let read = Reader { template, values };
        let stream = match read.word("StreamMode", &["PROVISIONED", "ON_DEMAND"])? {
            "ON_DEMAND" => Stream::OnDemand,
            _ => Stream::Shards(read.whole("ShardCount", 1)?),
        };
        let mut memory_mb = BTreeMap::new();
        for (logical_id, name) in FUNCTIONS {
            if template.resource(logical_id).is_some() {
                memory_mb.insert(name, read.property(logical_id, "/MemorySize")?);
            } else if name != "health" && name != "query" {
                return Err(DeploymentError::Missing(logical_id.to_owned()));
            }
        }
        let has_domain = read.value("OpenSearchUrl")?.is_empty();
        let domain = if has_domain {
            Some(Domain {
                instance_type: read.value("OpenSearchInstanceType")?.to_owned(),
                nodes: read.whole("OpenSearchInstanceCount", 1)?,
                volume_gb: read.whole("OpenSearchVolumeGb", 10)?,
                warm: read.value("StorageTiers")?.starts_with("ultrawarm"),
            })
        } else {
            None
        };
        let secrets = [
            "WriteKeysSecretArn",
            "ReadKeysSecretArn",
            "OptOutKeySecretArn",
            "MasterSecretArn",
        ];
        let given = secrets
            .iter()
            .filter(|name| values.get(**name).is_some_and(|value| !value.is_empty()));
        let log_level = match read.word("LogLevel", &["error", "warn", "info", "debug", "trace"])? {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        let logging = template.resource("CollectFunction");
        let quiet = logging.and_then(|function| function.text("/LoggingConfig/SystemLogLevel"));
        let count = |kind| template.count(kind, nested);
        Ok(Self {
            stream,
            stream_hours: read.property("EventStream", "/RetentionPeriodHours")?,
            enrich: read.mapping("EnrichMapping")?,
            aggregate: read.mapping("AggregateMapping")?,
            domain,
            replicas: read.number("IndexReplicas", 0.0)?,
            index_days: 30.0,
            sessions: template
                .resource("EnrichFunction")
                .is_some_and(|function| function.has("/Environment/Variables/SESSION_TABLE")),
            session_days: read.number("SessionStateDays", 1.0)?,
            window_minutes: read.number("WindowMinutes", 1.0)?,
            future_minutes: read.number("FutureMinutes", 0.0)?,
            publish_interval_s: read.number("PublishIntervalSeconds", 1.0)?,
            log_level,
            platform_logs: quiet.is_none_or(|level| level != "WARN"),
            access_log: template
                .resource("ApiStage")
                .is_some_and(|stage| stage.has("/AccessLogSettings")),
            log_days: read.number("LogDays", 1.0)?,
            tracing: values.get("Tracing").is_some_and(|mode| mode == "Active"),
            health: memory_mb.contains_key("health"),
            memory_mb,
            alarms: count("AWS::CloudWatch::Alarm"),
            composite_alarms: count("AWS::CloudWatch::CompositeAlarm"),
            dashboards: count("AWS::CloudWatch::Dashboard"),
            secrets: u32::from(has_domain) + u32::try_from(given.count()).unwrap_or(u32::MAX),
        })
    }

    /// MB of a function, if the stack has it.
    #[must_use]
    pub fn memory(&self, function: &str) -> Option<f64> {
        self.memory_mb.get(function).copied()
    }

    /// Shards, on demand as many as carry what comes at most.
    #[must_use]
    pub fn shards(&self, traffic: &crate::Traffic) -> f64 {
        match self.stream {
            Stream::Shards(shards) => f64::from(shards),
            // It begins with four.
            Stream::OnDemand => f64::from(crate::fewest_shards(traffic).max(4)),
        }
    }
}

struct Reader<'t> {
    template: &'t Template,
    values: &'t BTreeMap<String, String>,
}

impl<'t> Reader<'t> {
    fn value(&self, name: &str) -> Result<&'t str, DeploymentError> {
        let value = self.values.get(name).map(String::as_str);
        value.ok_or_else(|| DeploymentError::Missing(format!("value of the parameter {name}")))
    }

    fn word(&self, name: &str, words: &[&str]) -> Result<&'t str, DeploymentError> {
        let value = self.value(name)?;
        if words.contains(&value) {
            return Ok(value);
        }
        Err(invalid(name, value, "one of the template's values"))
    }

    fn whole(&self, name: &str, least: u32) -> Result<u32, DeploymentError> {
        let value = self.value(name)?;
        let number: Option<u32> = value.parse().ok().filter(|number| *number >= least);
        number.ok_or_else(|| invalid(name, value, "a whole number that the template takes"))
    }

    fn number(&self, name: &str, least: f64) -> Result<f64, DeploymentError> {
        number(name, self.value(name)?, least)
    }

    /// A property that is a number, or a reference to a parameter that is one.
    fn property(&self, logical_id: &str, pointer: &str) -> Result<f64, DeploymentError> {
        let missing = || DeploymentError::Missing(format!("{logical_id} with {pointer}"));
        let resource = self.template.resource(logical_id).ok_or_else(missing)?;
        let text = resource.text(pointer).ok_or_else(missing)?;
        let value = self.values.get(&text).unwrap_or(&text);
        number(&format!("{logical_id}{pointer}"), value, 0.0)
    }

    fn mapping(&self, logical_id: &str) -> Result<Mapping, DeploymentError> {
        Ok(Mapping {
            batch_size: self.property(logical_id, "/BatchSize")?,
            window_s: self.property(logical_id, "/MaximumBatchingWindowInSeconds")?,
            lanes: self
                .property(logical_id, "/ParallelizationFactor")?
                .max(1.0),
        })
    }
}

fn number(name: &str, value: &str, least: f64) -> Result<f64, DeploymentError> {
    let number = f64::from_str(value).ok();
    let number = number.filter(|number| number.is_finite() && *number >= least);
    number.ok_or_else(|| invalid(name, value, "a number that the template takes"))
}

fn invalid(name: &str, value: &str, bounds: &'static str) -> DeploymentError {
    DeploymentError::Invalid {
        name: name.to_owned(),
        value: value.to_owned(),
        bounds,
    }
}
