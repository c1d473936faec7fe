//! What a stack has used, as CloudWatch counted it.

use super::account::Account;
use super::deployed::{Deployed, reason};
use anyhow::{Result, anyhow};
use aws_config::SdkConfig;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, DimensionFilter, Metric, MetricDataQuery, MetricStat};
use freshet_cost::{Component, HOURS, Metered};
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
pub(super) struct Ask {
    /// Ours: a letter first, then letters, digits and underscores.
    pub(super) id: String,
    /// What is missing without it.
    pub(super) what: String,
    namespace: &'static str,
    metric: &'static str,
    dimensions: Vec<(&'static str, String)>,
    /// `Sum`, else the mean of the averages.
    is_sum: bool,
}

/// Functions: name, logical id, and what they are part of.
pub(super) const FUNCTIONS: [(&str, &str, Option<Component>); 6] = [
    ("collect", "CollectFunction", Some(Component::Collect)),
    ("enrich", "EnrichFunction", Some(Component::Enrich)),
    ("aggregate", "AggregateFunction", Some(Component::Aggregate)),
    ("query", "QueryFunction", Some(Component::Query)),
    ("health", "HealthFunction", Some(Component::Health)),
    // It runs when the stack is deployed, and then hardly.
    ("provision", "ProvisionFunction", None),
];
/// Tables: name, logical id, and what they are part of.
pub(super) const TABLES: [(&str, &str, Component); 2] = [
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
