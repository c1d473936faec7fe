//! One request for everything that is known from metrics.

use crate::checks::CheckError;
use crate::series::{Query, Series};
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy,
};

const SERVICE: &str = "CloudWatch";

/// Fills `series` with what `queries` ask for. One batched request: it costs
/// by the metric asked for, however many periods there are of it.
///
/// # Errors
/// [`CheckError`] if CloudWatch does not answer, or not with all of it.
pub async fn fill(
    client: &Client,
    queries: &[Query],
    mut series: Series,
) -> Result<Series, CheckError> {
    let span = series.span_ms();
    let period = i32::try_from(series.period_ms() / 1_000).unwrap_or(i32::MAX);
    let asked = queries
        .iter()
        .enumerate()
        .map(|(place, query)| to_query(place, query, period));
    let mut pages = client
        .get_metric_data()
        .set_metric_data_queries(Some(asked.collect()))
        .start_time(DateTime::from_millis(span.start))
        .end_time(DateTime::from_millis(span.end))
        .scan_by(ScanBy::TimestampAscending)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| CheckError::of(SERVICE, error))?;
        for result in page.metric_data_results() {
            take(result, queries, &mut series)?;
        }
    }
    Ok(series)
}

fn to_query(place: usize, query: &Query, period: i32) -> MetricDataQuery {
    let mut metric = Metric::builder()
        .namespace(query.namespace)
        .metric_name(query.name);
    for (name, value) in &query.dimensions {
        metric = metric.dimensions(Dimension::builder().name(*name).value(value).build());
    }
    let stat = MetricStat::builder()
        .metric(metric.build())
        .period(period)
        .stat(query.statistic);
    MetricDataQuery::builder()
        .id(id(place))
        .metric_stat(stat.build())
        .build()
}

/// An id begins with a letter.
pub(crate) fn id(place: usize) -> String {
    format!("q{place}")
}

fn take(
    result: &MetricDataResult,
    queries: &[Query],
    series: &mut Series,
) -> Result<(), CheckError> {
    use aws_sdk_cloudwatch::types::StatusCode;
    // Partial is what all pages but the last of a metric say.
    let failed =
        |status: &StatusCode| !matches!(status, StatusCode::Complete | StatusCode::PartialData);
    if let Some(status) = result.status_code().filter(|status| failed(status)) {
        return Err(CheckError::Refused {
            service: SERVICE,
            code: status.as_str().to_owned(),
        });
    }
    let place = result
        .id()
        .and_then(|id| id.strip_prefix('q')?.parse::<usize>().ok());
    let Some(query) = place.and_then(|place| queries.get(place)) else {
        return Ok(());
    };
    for (at, value) in result.timestamps().iter().zip(result.values()) {
        let at = at.to_millis().map_err(|_| CheckError::Answer(SERVICE))?;
        series.put(query.asked, at, *value);
    }
    Ok(())
}
