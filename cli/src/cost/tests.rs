use super::stand_in::{Account, StandIn};
use super::*;
use clap::Parser;
use serde_json::Value;

/// 2026-11-25T22:00:00Z.
const NOW_S: i64 = 1_795_644_000;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    cost: Cost,
}

fn parse(args: &[&str]) -> Result<Cost, clap::Error> {
    let all = std::iter::once("freshet").chain(args.iter().copied());
    Cli::try_parse_from(all).map(|cli| cli.cost)
}

fn planned(args: &[&str]) -> Result<Report> {
    let prices = PriceList::built_in()?;
    parse(args)?.of_plan(&prices)
}

fn template() -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml");
    std::fs::read_to_string(file).unwrap()
}

/// A stack with one nested stack, as it was used in a day.
fn account() -> Account {
    let lambda = "AWS::Lambda::Function";
    let logs = "AWS::Logs::LogGroup";
    let own = vec![
        ("Api", "AWS::ApiGatewayV2::Api", "api1"),
        ("CollectFunction", lambda, "f-collect"),
        ("EnrichFunction", lambda, "f-enrich"),
        ("AggregateFunction", lambda, "f-aggregate"),
        ("QueryFunction", lambda, "f-query"),
        ("ProvisionFunction", lambda, "f-provision"),
        ("EventStream", "AWS::Kinesis::Stream", "events"),
        ("SessionTable", "AWS::DynamoDB::Table", "t-sessions"),
        ("AggregationTable", "AWS::DynamoDB::Table", "t-aggregations"),
        ("CollectLogs", logs, "/f/collect"),
        ("ApiLogs", logs, "/f/api"),
        ("SomeAlarm", "AWS::CloudWatch::Alarm", "f-alarm"),
        ("Search", "AWS::CloudFormation::Stack", "nested-1"),
    ];
    let nested = vec![
        ("Domain", "AWS::OpenSearchService::Domain", "domain1"),
        ("ErrorLogs", logs, "/f/search"),
        ("NestedAlarm", "AWS::CloudWatch::Alarm", "n-alarm"),
        // A logical id like one of the stack's own.
        ("CollectFunction", lambda, "not-collect"),
    ];
    let points = [
        ("Freshet Accepted f collect", vec![4e6, 4e6, 640_000.0]),
        ("AWS/ApiGateway Count api1", vec![8_640_000.0]),
        ("AWS/Lambda Invocations f-collect", vec![8_640_000.0]),
        (
            "AWS/Lambda Duration f-collect",
            vec![86_400_000.0, 43_200_000.0],
        ),
        ("AWS/Lambda Invocations f-enrich", vec![86_400.0]),
        ("AWS/Lambda Duration f-enrich", vec![8_640_000.0]),
        ("AWS/Kinesis IncomingRecords events", vec![8_640_000.0]),
        ("AWS/Kinesis IncomingBytes events", vec![5e9]),
        (
            "AWS/DynamoDB ConsumedWriteCapacityUnits t-sessions",
            vec![8_640_000.0],
        ),
        (
            "AWS/DynamoDB ConsumedReadCapacityUnits t-sessions",
            vec![4_320_000.0],
        ),
        ("AWS/Logs IncomingBytes /f/collect", vec![1_073_741_824.0]),
        ("AWS/ES Nodes domain1 123456789012", vec![2.0; 24]),
        (
            "AWS/ES ClusterUsedSpace domain1 123456789012",
            vec![51_200.0; 24],
        ),
    ];
    Account {
        parameters: vec![("ShardCount", "12"), ("OpenSearchVolumeGb", "100")],
        created: "2026-10-01T00:00:00Z",
        template: template(),
        resources: [("f", own), ("nested-1", nested)].into(),
        points: points
            .into_iter()
            .map(|(key, values)| (key.to_owned(), values))
            .collect(),
        custom_metrics: Some(90),
        shards: Some(4),
        throttled: false,
    }
}

async fn used(account: Account, days: u16) -> Result<Report> {
    let stand_in = StandIn::start(account).await;
    let aws = stand_in.aws().await;
    of_deployed("f", days, NOW_S + 1_234, &aws, &PriceList::built_in()?).await
}

fn month(report: &Report, component: &str, what: &str) -> Option<f64> {
    let part = report
        .components
        .iter()
        .find(|part| part.name == component)?;
    let item = part.lines.iter().find(|item| item.what == what)?;
    Some(item.dollars.month)
}

#[track_caller]
fn assert_dollars(report: &Report, component: &str, what: &str, dollars: f64) {
    let found = month(report, component, what).unwrap();
    assert!(
        (found - dollars).abs() < 0.005,
        "{component} {what}: {found}, not {dollars}"
    );
}

#[tokio::test]
async fn a_day_of_use_is_scaled_to_a_month_and_priced() {
    let report = used(account(), 1).await.unwrap();
    // 730 hours of 24: 30.41666 days.
    assert_dollars(&report, "http api", "requests", 262.80);
    assert_dollars(&report, "collect", "requests", 52.56);
    // 129,600 s of 512 MB a day.
    assert_dollars(
        &report,
        "collect",
        "GB-seconds",
        129_600.0 * 0.5 * 730.0 / 24.0 * 0.0000133334,
    );
    assert_dollars(
        &report,
        "enrich",
        "GB-seconds",
        8_640.0 * 730.0 / 24.0 * 0.0000133334,
    );
    // Four shards are open, whatever the parameter says.
    assert_dollars(&report, "stream", "shards", 4.0 * 730.0 * 0.015);
    assert_dollars(&report, "stream", "PUT units", 3.6792);
    assert_dollars(&report, "sessions", "write units", 164.25);
    assert_dollars(&report, "sessions", "read units", 16.425);
    assert_dollars(&report, "opensearch", "data nodes", 197.10);
    assert_dollars(&report, "opensearch", "volumes", 24.40);
    assert_dollars(&report, "logs", "of functions", 15.2083);
    // Its own alarm and the nested stack's.
    assert_dollars(&report, "metrics", "alarms", 0.20);
    assert_dollars(&report, "metrics", "custom metrics", 27.00);
    let events = report.events_a_month.unwrap();
    assert!((events - 262.8e6).abs() < 1.0, "{events}");
    let million = report.total.million.unwrap();
    assert!((million - report.total.month / 262.8).abs() < 1e-9);
    let sum: f64 = report
        .components
        .iter()
        .map(|part| part.dollars.month)
        .sum();
    assert!((sum - report.total.month).abs() < 1e-6);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("50.0 of 200 GB")),
        "{:?}",
        report.notes
    );
}

#[tokio::test]
async fn what_cloudwatch_has_no_data_of_is_said() {
    let report = used(account(), 1).await.unwrap();
    for missing in [
        "invocations of aggregate",
        "duration of query",
        "ConsumedWriteCapacityUnits of the table of aggregations",
        "IncomingBytes of ApiLogs",
        "IncomingBytes of ErrorLogs",
    ] {
        assert!(
            report.missing.iter().any(|said| said == missing),
            "{missing}: {:?}",
            report.missing
        );
    }
    assert!(
        !report.missing.iter().any(|said| said.contains("collect")),
        "{:?}",
        report.missing
    );
    // Health is in the template, and was not deployed with this stack.
    assert!(
        !report.missing.iter().any(|said| said.contains("health")),
        "{:?}",
        report.missing
    );
    assert_eq!(month(&report, "aggregate", "requests"), None);
    let text = text::of(&report, false);
    assert!(text.contains("in all, without what is missing"), "{text}");
    assert!(text.contains("invocations of aggregate"), "{text}");

    let mut silent = account();
    silent.points.clear();
    silent.custom_metrics = None;
    silent.shards = None;
    let report = used(silent, 1).await.unwrap();
    assert_eq!(report.events_a_month, None);
    assert_eq!(report.total.million, None);
    assert!(
        report
            .missing
            .iter()
            .any(|said| said.contains("no permission for ListMetrics")),
        "{:?}",
        report.missing
    );
    assert!(
        report
            .missing
            .iter()
            .any(|said| said.starts_with("events accepted"))
    );
    // What is paid for by the hour is known without CloudWatch.
    assert_dollars(&report, "stream", "shards", 12.0 * 730.0 * 0.015);
    assert!(
        report.notes.iter().any(|note| note.contains("not allowed")),
        "{:?}",
        report.notes
    );
    assert!(text::of(&report, false).contains('–'));
}

#[tokio::test]
async fn the_request_names_whole_hours_and_the_stacks_own_resources() {
    let stand_in = StandIn::start(account()).await;
    let aws = stand_in.aws().await;
    let prices = PriceList::built_in().unwrap();
    of_deployed("f", 3, NOW_S + 1_234, &aws, &prices)
        .await
        .unwrap();
    let asked = stand_in.asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "two pages");
    assert_eq!(asked[0]["EndTime"], serde_json::json!(NOW_S as f64));
    assert_eq!(
        asked[0]["StartTime"],
        serde_json::json!((NOW_S - 3 * 86_400) as f64)
    );
    let queries = asked[0]["MetricDataQueries"].as_array().unwrap();
    let of = |id: &str| queries.iter().find(|query| query["Id"] == id).unwrap();
    assert_eq!(
        of("collect_duration")["MetricStat"]["Metric"]["Dimensions"][0]["Value"],
        "f-collect"
    );
    assert_eq!(of("collect_duration")["MetricStat"]["Stat"], "Sum");
    assert_eq!(of("nodes")["MetricStat"]["Stat"], "Average");
    let mut ids: Vec<&str> = queries
        .iter()
        .filter_map(|query| query["Id"].as_str())
        .collect();
    assert!(
        ids.iter()
            .all(|id| id.starts_with(|c: char| c.is_ascii_lowercase()))
    );
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[tokio::test]
async fn a_young_stack_is_scaled_by_its_own_age() {
    let mut young = account();
    young.created = "2026-11-25T10:20:00Z";
    let report = used(young, 7).await.unwrap();
    assert!(
        report.title.contains("the last 12 hours"),
        "{}",
        report.title
    );
    assert_dollars(
        &report,
        "http api",
        "requests",
        8.64 * 730.0 / 12.0 - 0.1 * (8.64e6 * 730.0 / 12.0 - 300e6) / 1e6,
    );
    let mut newborn = account();
    newborn.created = "2026-11-25T22:10:00Z";
    let error = used(newborn, 1).await.unwrap_err().to_string();
    assert!(error.contains("younger than an hour"), "{error}");
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_a_sentence() {
    let mut gone = account();
    gone.resources.clear();
    let error = format!("{:#}", used(gone, 1).await.unwrap_err());
    assert!(
        error.contains("the stack f cannot be described: Stack with id f does not exist"),
        "{error}"
    );
    // Nobody listens there.
    let nobody = StandIn::start(account()).await.aws().await.to_builder();
    let nobody = nobody.endpoint_url("http://127.0.0.1:9").build();
    let prices = PriceList::built_in().unwrap();
    let error = of_deployed("f", 1, NOW_S, &nobody, &prices).await;
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("refused") && error.len() < 150, "{error}");
    let mut other = account();
    other.template = "Resources: { Bucket: { Type: AWS::S3::Bucket } }".to_owned();
    other.parameters.clear();
    let error = format!("{:#}", used(other, 1).await.unwrap_err());
    assert!(error.contains("is none of Freshet's"), "{error}");
    let mut throttled = account();
    throttled.throttled = true;
    let error = format!("{:#}", used(throttled, 1).await.unwrap_err());
    assert!(error.contains("Rate exceeded"), "{error}");
}

#[test]
fn a_plan_is_printed_right_aligned_with_what_ifs() {
    let report = planned(&["--events-per-second", "1000", "--stage", "prod"]).unwrap();
    let text = text::of(&report, false);
    let lines: Vec<&str> = text.lines().collect();
    let head = lines
        .iter()
        .find(|line| line.contains("$ a million"))
        .unwrap();
    let sum = lines
        .iter()
        .find(|line| line.starts_with("in all"))
        .unwrap();
    assert_eq!(head.chars().count(), sum.chars().count(), "{text}");
    // What is a sentence is for the terminal to wrap.
    for line in lines.iter().filter(|line| !line.starts_with('!')) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    for part in [
        "http api",
        "stream",
        "opensearch",
        "10 events a request",
        "without sessions",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}

#[test]
fn a_stage_and_what_is_set_change_the_bill() {
    let base = planned(&["--stage", "prod"]).unwrap();
    let fewer = planned(&["--stage", "prod", "--set", "ShardCount=1"]).unwrap();
    assert!(fewer.total.month < base.total.month - 200.0);
    assert!(fewer.title.contains("ShardCount=1"), "{}", fewer.title);
    let dev = planned(&["--stage", "dev"]).unwrap();
    assert!(month(&dev, "stream", "shards").is_none());
    let own = planned(&["--set", "OpenSearchUrl=https://search.example"]).unwrap();
    assert!(
        own.notes.iter().any(|note| note.contains("your own")),
        "{:?}",
        own.notes
    );
    let large = planned(&["--events-per-second", "12000"]).unwrap();
    assert!(
        large.notes.iter().any(|note| note.contains("ShardCount")),
        "{:?}",
        large.notes
    );
}

#[test]
fn json_has_what_the_text_has() {
    let report = planned(&[]).unwrap();
    let json: Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["basis"], "estimate");
    assert_eq!(json["total"]["month"].as_f64(), Some(report.total.month));
    let lines = json["components"][0]["lines"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .all(|line| line["month"].is_f64() && line["unit"].is_string())
    );
    assert!(json["what_ifs"].as_array().unwrap().len() > 8);
}

#[test]
fn bad_input_is_named() {
    for (args, said) in [
        (vec!["--events-per-second", "0"], "events per second"),
        (vec!["--events-per-second", "-1"], "events per second"),
        (vec!["--events-per-second", "NaN"], "events per second"),
        (
            vec!["--peak-events-per-second", "1"],
            "at least the average",
        ),
        (vec!["--events-per-request", "9999"], "2,500"),
        (vec!["--users-per-request", "2"], "users per request"),
        (vec!["--retention-days", "0"], "retention days"),
        (vec!["--set", "ShardCont=1"], "ShardCount"),
        (vec!["--set", "ShardCount=none"], "ShardCount"),
        (
            vec!["--set", "OpenSearchInstanceType=x"],
            "m7g.large.search",
        ),
        (vec!["--stage", "live"], "dev, prod, staging"),
        (vec!["--template", "/nowhere.yaml"], "/nowhere.yaml"),
    ] {
        let error = format!("{:#}", planned(&args).unwrap_err());
        assert!(error.contains(said), "{args:?}: {error}");
    }
    for args in [
        vec!["--set", "ShardCount"],
        vec!["--events-per-second", "many"],
        vec!["--stack", "f", "--stage", "prod"],
        vec!["--days", "3"],
        vec!["--stack", "f", "--days", "0"],
    ] {
        assert!(parse(&args).is_err(), "{args:?}");
    }
    let prices = parse(&["--prices", "/nowhere.json"]).unwrap();
    assert!(format!("{:#}", prices.price_list().unwrap_err()).contains("/nowhere.json"));
}
