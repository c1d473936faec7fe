//! One run: every check at once, then the metrics, then the report.

use crate::checks::dead_letters::{self, Cursor, DeadLetters, Look};
use crate::checks::probe::{self, Way};
use crate::checks::{
    Check, CheckError, Found, domain, guard, lag, ledger, pipeline, search, stream,
};
use crate::cloudwatch;
use crate::config::Config;
use crate::report::{Findings, Report};
use crate::series::{Query, Series};
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use freshet_deadletters::DeadLetterStore;
use freshet_edge::{answer_by, now};
use freshet_events::Timestamp;
use freshet_search::Search;
use freshet_tables::{HealthReport, HealthTable, ResultTable};
use freshet_telemetry::Metrics;
use freshet_telemetry::stages::Health;
use futures::FutureExt as _;
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};

/// Kept back for the metrics and for putting the report.
const END_TIME: Duration = Duration::from_secs(6);
/// Between the deadline that a check keeps by itself, with what it found until
/// then, and the one that ends it.
const GRACE: Duration = Duration::from_secs(1);
/// A service that takes a request and never answers is asked again.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at everything.
pub struct Handler {
    config: Config,
    queries: Vec<Query>,
    clients: Clients,
    search: Search,
    report: HealthTable,
    results: ResultTable,
    metrics: Metrics,
    /// Up to where on-failure objects are counted.
    counted: Mutex<Option<Cursor>>,
}

struct Clients {
    cloudwatch: aws_sdk_cloudwatch::Client,
    kinesis: aws_sdk_kinesis::Client,
    opensearch: aws_sdk_opensearch::Client,
    sqs: aws_sdk_sqs::Client,
    secrets: aws_sdk_secretsmanager::Client,
    store: DeadLetterStore,
    http: reqwest::Client,
}

/// What is read of the report before.
#[derive(Deserialize)]
struct Before {
    checks: BeforeChecks,
}

#[derive(Deserialize)]
struct BeforeChecks {
    dead_letters: BeforeEntry,
}

#[derive(Deserialize)]
struct BeforeEntry {
    values: BeforeValues,
}

#[derive(Deserialize)]
struct BeforeValues {
    counted_until: Option<Cursor>,
}

impl Handler {
    /// With clients of `aws`, and the cluster behind `search`. Asks for
    /// nothing yet, so that it begins whatever is broken.
    ///
    /// # Errors
    /// If there can be no HTTP client.
    pub fn new(
        config: Config,
        aws: &SdkConfig,
        search: Search,
        metrics: Metrics,
    ) -> Result<Self, reqwest::Error> {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let aws = aws.to_builder().timeout_config(timeouts.build()).build();
        let s3 = aws_sdk_s3::config::Builder::from(&aws)
            .force_path_style(config.s3_path_style)
            .build();
        let clients = Clients {
            cloudwatch: aws_sdk_cloudwatch::Client::new(&aws),
            kinesis: aws_sdk_kinesis::Client::new(&aws),
            opensearch: aws_sdk_opensearch::Client::new(&aws),
            sqs: aws_sdk_sqs::Client::new(&aws),
            secrets: aws_sdk_secretsmanager::Client::new(&aws),
            store: DeadLetterStore::new(
                aws_sdk_s3::Client::from_conf(s3),
                &config.dead_letter_bucket,
            ),
            http: reqwest::Client::builder().build()?,
        };
        Ok(Self {
            queries: Query::all(&config),
            report: HealthTable::new(&aws, &config.aggregation_table),
            results: ResultTable::new(&aws, &config.aggregation_table),
            counted: Mutex::new(None),
            config,
            clients,
            search,
            metrics,
        })
    }

    /// One run. Whatever is broken, it ends before the function's deadline,
    /// with its metrics written; they are written before the report is put.
    pub async fn handle(&self, request_id: &str, function_deadline: SystemTime) -> Report {
        self.run(request_id, now(), answer_by(function_deadline))
            .await
    }

    async fn run(&self, request_id: &str, checked_at: Timestamp, answer_by: Instant) -> Report {
        let begin = Instant::now();
        let end = answer_by.checked_sub(END_TIME).unwrap_or(answer_by);
        let mut line = self.metrics.begin::<Health>(request_id);
        let findings = self.look(checked_at, end).await;
        for consumer in findings.consumers() {
            self.metrics.write(request_id, &consumer);
        }
        findings.measure(&mut line);
        let report = findings.report(checked_at);
        for (check, entry) in &report.checks {
            if let Some(message) = &entry.message {
                tracing::warn!(check = check.as_str(), message, "not good");
            }
        }
        let took = begin.elapsed().as_millis();
        line.duration = u64::try_from(took).unwrap_or(u64::MAX).into();
        drop(line);
        self.put(&report, answer_by).await;
        report
    }

    /// All checks at once, each with its own deadline, none after `end`.
    async fn look(&self, now: Timestamp, end: Instant) -> Findings {
        let by = |check: Check| end.min(Instant::now() + check.time());
        let series = self.series(now, by(Check::Lag)).boxed().shared();
        let domain = async {
            let name = self.config.opensearch_domain.as_deref()?;
            let look = domain::check(&self.clients.opensearch, name);
            Some(guard(by(Check::Domain), look).await)
        };
        let stages = self.config.consumers.iter().map(|consumer| consumer.stage);
        let stream = self.stream(series.clone(), before(by(Check::Stream)));
        let dead_letters = self.dead_letters(now, before(by(Check::DeadLetters)));
        let probe = self.probe(now, before(by(Check::Probe)));
        // Boxed, as together they nest deeper than the compiler likes.
        let (search, domain, stream, lag, dead_letters, pipeline, ledger, probe) = futures::join!(
            Box::pin(guard(by(Check::Search), search::check(&self.search))),
            Box::pin(domain),
            Box::pin(guard(by(Check::Stream), stream)),
            guard(
                by(Check::Lag),
                of(series.clone(), |series| lag::check(series, stages))
            ),
            Box::pin(guard(by(Check::DeadLetters), dead_letters)),
            guard(by(Check::Pipeline), of(series.clone(), pipeline::check)),
            guard(by(Check::Ledger), of(series.clone(), ledger::check)),
            Box::pin(guard(by(Check::Probe), probe)),
        );
        Findings {
            search,
            domain,
            stream,
            lag,
            dead_letters,
            pipeline,
            ledger,
            probe,
        }
    }

    /// The one request to CloudWatch, which four checks share.
    async fn series(&self, now: Timestamp, by: Instant) -> Result<Arc<Series>, CheckError> {
        let period_ms = i64::try_from(self.config.period.as_millis()).unwrap_or(i64::MAX);
        let periods = Series::until(now.as_millis(), period_ms, ledger::PERIODS);
        let filled = cloudwatch::fill(&self.clients.cloudwatch, &self.queries, periods);
        let filled = timeout_at(before(by), filled).await;
        filled.unwrap_or(Err(CheckError::Timeout)).map(Arc::new)
    }

    async fn stream(
        &self,
        series: impl Future<Output = Result<Arc<Series>, CheckError>>,
        by: Instant,
    ) -> Found<stream::Stream> {
        // The shards are told though CloudWatch is slow.
        let series = async {
            timeout_at(by, series)
                .await
                .unwrap_or(Err(CheckError::Timeout))
        };
        stream::check(&self.clients.kinesis, &self.config.stream_name, series).await
    }

    async fn dead_letters(&self, now: Timestamp, by: Instant) -> Found<DeadLetters> {
        let look = Look {
            queue: (&self.clients.sqs, &self.config.dead_letter_queue_url),
            store: &self.clients.store,
            enrich_mapping: &self.config.enrich_mapping_id,
            period_ms: i64::try_from(self.config.period.as_millis()).unwrap_or(i64::MAX),
            now_ms: now.as_millis(),
            by,
        };
        let found = dead_letters::check(&look, self.counted()).await;
        let cursor = found
            .value
            .as_ref()
            .and_then(|found| found.counted_until.clone());
        if let Some(cursor) = cursor {
            *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor);
        }
        found
    }

    /// Up to where objects are counted: remembered, or in the report before.
    async fn counted(&self) -> Option<Cursor> {
        let known = self
            .counted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if known.is_some() {
            return known;
        }
        let report = self.report.get().await;
        let report = report.inspect_err(|error| {
            tracing::warn!(code = error.code(), "the report before is not read");
        });
        let before: Before = serde_json::from_str(&report.ok()??.body).ok()?;
        before.checks.dead_letters.values.counted_until
    }

    async fn probe(&self, now: Timestamp, by: Instant) -> Found<probe::Probe> {
        let secret = self.config.write_keys_secret_id.as_deref();
        let way = Way {
            http: &self.clients.http,
            collect_url: &self.config.collect_url,
            keys: secret.map(|secret| (&self.clients.secrets, secret)),
            search: &self.search,
            alias: &self.config.write_alias,
            results: &self.results,
        };
        probe::check(&way, now, by).await
    }

    async fn put(&self, report: &Report, by: Instant) {
        let Ok(body) = serde_json::to_string(&serde_json::json!({"checks": report.checks})) else {
            return;
        };
        let put = HealthReport {
            checked_at: report.checked_at,
            status: report.status.as_str().to_owned(),
            body,
        };
        match timeout_at(by, self.report.put(&put)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(code = error.code(), %error, "the report is not stored");
            }
            Err(_) => tracing::error!("the report is not stored in time"),
        }
    }
}

/// When a check that is ended then must come to an end by itself.
fn before(by: Instant) -> Instant {
    by.checked_sub(GRACE).unwrap_or(by)
}

/// What the series say to one check.
async fn of<T>(
    series: impl Future<Output = Result<Arc<Series>, CheckError>>,
    check: impl FnOnce(&Series) -> T,
) -> Found<T> {
    series.await.map(|series| check(&series)).into()
}

#[cfg(test)]
#[path = "handler_tests.rs"]
mod tests;
