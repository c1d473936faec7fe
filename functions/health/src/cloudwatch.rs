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
        let page = page.map_err(|error| CheckError::of(SERVICE, &error))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stage;
    use crate::series::Asked;
    use crate::stand_in::{aws, metric_data, throttled};
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    const PATH: &str = "/service/GraniteServiceVersion20100801/operation/GetMetricData";

    fn queries() -> Vec<Query> {
        let query = |asked, name, statistic, dimension: (&'static str, &str)| Query {
            asked,
            namespace: "AWS/Some",
            name,
            statistic,
            dimensions: vec![(dimension.0, dimension.1.to_owned())],
        };
        let age = Asked::IteratorAge(Stage::Enrich);
        vec![
            query(
                Asked::Incoming,
                "IncomingRecords",
                "Sum",
                ("StreamName", "events"),
            ),
            query(
                age,
                "IteratorAge",
                "Maximum",
                ("FunctionName", "enrich-function"),
            ),
        ]
    }

    async fn filled(server: &MockServer, answer: ResponseTemplate) -> Result<Series, CheckError> {
        server.reset().await;
        Mock::given(path(PATH))
            .respond_with(answer)
            .mount(server)
            .await;
        let series = Series::empty(0, 60_000, 3);
        fill(&Client::new(&aws(server)), &queries(), series).await
    }

    #[tokio::test]
    async fn all_is_asked_for_at_once_and_each_answer_finds_its_metric() {
        let server = MockServer::builder().start().await;
        // In any order, and with what was not asked for.
        let answer = metric_data(&[
            ("q1".to_owned(), vec![(120, 400.0)]),
            ("other".to_owned(), vec![(0, 9.0)]),
            ("q0".to_owned(), vec![(0, 5.0), (60, 7.0)]),
        ]);
        let series = filled(&server, answer).await.unwrap();
        assert_eq!(series.sums(Asked::Incoming), [5.0, 7.0, 0.0]);
        let ages = series.points(Asked::IteratorAge(Stage::Enrich));
        assert_eq!(ages, [None, None, Some(400.0)]);
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests.len(), 1);
        let asked = String::from_utf8_lossy(&requests[0].body);
        for part in [
            "AWS/Some",
            "IncomingRecords",
            "Sum",
            "StreamName",
            "events",
            "IteratorAge",
            "Maximum",
            "enrich-function",
        ] {
            assert!(asked.contains(part), "{part}");
        }
    }

    #[tokio::test]
    async fn half_an_answer_is_none() {
        let server = MockServer::builder().start().await;
        let refused = |code: &str| {
            Err(CheckError::Refused {
                service: SERVICE,
                code: code.to_owned(),
            })
        };
        let error = filled(&server, throttled()).await;
        assert_eq!(error, refused("ThrottlingException"));
        let results = [("q0".to_owned(), vec![(0, 5.0)])];
        let mut answer = metric_data(&results);
        assert!(filled(&server, answer).await.is_ok());
        answer = crate::stand_in::metric_data_as(&results, "InternalError");
        assert_eq!(filled(&server, answer).await, refused("InternalError"));
    }
}
