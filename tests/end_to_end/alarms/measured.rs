//! What is published with values and counts is read back as CloudWatch would:
//! health asks the emulator for it.

use crate::support::state_folder;
use anyhow::{Context as _, Result, ensure};
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricDataQuery, MetricDatum, MetricStat, ScanBy, StandardUnit,
};
use freshet::install::install;
use freshet::paths::Paths;
use freshet::progress::Progress;
use freshet::servers::{MiniStack, free_port};

fn stage(name: &str) -> Dimension {
    Dimension::builder().name("Stage").value(name).build()
}

/// The values of a statistic, a minute each, in the order that is asked for.
async fn read(
    client: &Client,
    until_s: i64,
    stat: &str,
    dimension: Option<Dimension>,
    scan: Option<ScanBy>,
) -> Result<Vec<f64>> {
    let metric = Metric::builder().namespace("Freshet").metric_name("m");
    let metric = metric.set_dimensions(dimension.map(|dimension| vec![dimension]));
    let stat = MetricStat::builder()
        .metric(metric.build())
        .period(60)
        .stat(stat);
    let query = MetricDataQuery::builder().id("q").metric_stat(stat.build());
    let answer = client
        .get_metric_data()
        .metric_data_queries(query.build())
        .start_time(DateTime::from_secs(until_s - 600))
        .end_time(DateTime::from_secs(until_s))
        .set_scan_by(scan)
        .send()
        .await?;
    let result = answer.metric_data_results().first().context("a result")?;
    ensure!(result.timestamps().len() == result.values().len());
    Ok(result.values().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_with_counts_come_back_as_statistics_of_their_own_metric() -> Result<()> {
    let state = state_folder("measured");
    let paths = Paths::new(Some(&state))?;
    let installed = install(&paths, &Progress::silent()).await?;
    let ministack = MiniStack::start(&paths, &installed, free_port(0, "")?).await?;
    let aws = freshet_local::cloud::aws_config(ministack.url()).await;
    let client = Client::new(&aws);
    let until_s = jiff::Timestamp::now().as_second() / 60 * 60;
    for (ago_s, values, counts, name) in [
        (120, vec![1.0, 10.0], vec![90.0, 10.0], "enrich"),
        (60, vec![2.0], vec![3.0], "enrich"),
        (60, vec![50.0], vec![1.0], "collect"),
    ] {
        let datum = MetricDatum::builder()
            .metric_name("m")
            .dimensions(stage(name))
            .unit(StandardUnit::Milliseconds)
            .timestamp(DateTime::from_secs(until_s - ago_s))
            .set_values(Some(values))
            .set_counts(Some(counts));
        let put = client.put_metric_data().namespace("Freshet");
        put.metric_data(datum.build()).send().await?;
    }
    let enrich = || Some(stage("enrich"));
    for (stat, expected) in [
        ("p95", [2.0, 10.0]),
        ("Sum", [6.0, 190.0]),
        ("SampleCount", [3.0, 100.0]),
        ("Maximum", [2.0, 10.0]),
        ("Average", [2.0, 1.9]),
    ] {
        let found = read(&client, until_s, stat, enrich(), None).await?;
        ensure!(found == expected, "{stat}, the latest first: {found:?}");
    }
    let oldest_first = Some(ScanBy::TimestampAscending);
    let found = read(&client, until_s, "Sum", enrich(), oldest_first).await?;
    ensure!(found == [190.0, 6.0], "{found:?}");
    let found = read(&client, until_s, "Sum", None, None).await?;
    ensure!(
        found.is_empty(),
        "no dimensions are another metric: {found:?}"
    );
    ministack.stop().await?;
    std::fs::remove_dir_all(state)?;
    Ok(())
}
