//! What is read of the real template and its stages.
#![allow(clippy::unwrap_used)]

use freshet_cost::{Deployment, LogLevel, Stream, Template, parameters_of_stage};
use std::path::PathBuf;

fn read(file: &str) -> String {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    std::fs::read_to_string(root.join(file)).unwrap()
}

fn nested(location: &str) -> Option<Template> {
    Template::parse(&read(location)).ok()
}

fn template() -> Template {
    Template::parse(&read("template.yaml")).unwrap()
}

fn deployment(overrides: &[(&str, &str)]) -> Deployment {
    let template = template();
    let values = template.values(overrides.iter().copied()).unwrap();
    Deployment::of(&template, &values, &nested).unwrap()
}

#[test]
fn the_defaults_are_those_of_the_template() {
    let stack = deployment(&[]);
    assert_eq!(stack.stream, Stream::Shards(12));
    assert_eq!(stack.stream_hours, 168.0);
    assert_eq!(stack.memory("collect"), Some(512.0));
    assert_eq!(stack.memory("enrich"), Some(1024.0));
    assert_eq!(stack.enrich.lanes, 4.0);
    assert_eq!(stack.aggregate.batch_size, 10_000.0);
    let domain = stack.domain.clone().unwrap();
    assert_eq!((domain.nodes, domain.volume_gb), (2, 100));
    assert_eq!(domain.instance_type, "m7g.large.search");
    assert!(!domain.warm);
    assert!(stack.sessions && stack.health && stack.access_log);
    assert!(stack.alarms > 0);
    assert_eq!(stack.secrets, 1, "the domain's master user");
}

#[test]
fn parameters_change_what_is_paid_for() {
    let stack = deployment(&[
        ("StreamMode", "ON_DEMAND"),
        ("OpenSearchUrl", "https://search.example"),
        ("WriteKeysSecretArn", "arn:aws:secretsmanager:x"),
        ("LogLevel", "debug"),
    ]);
    assert_eq!(stack.stream, Stream::OnDemand);
    assert_eq!(stack.domain, None);
    assert_eq!(stack.secrets, 1, "the write keys");
    assert_eq!(stack.log_level, LogLevel::Debug);
    let warm = deployment(&[("StorageTiers", "ultrawarm_cold")]);
    assert!(warm.domain.is_some_and(|domain| domain.warm));
}

#[test]
fn every_stage_can_be_priced() {
    let samconfig = read("samconfig.toml");
    for stage in ["dev", "staging", "prod"] {
        let overrides = parameters_of_stage(&samconfig, stage).unwrap();
        let overrides: Vec<(&str, &str)> = overrides
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let stack = deployment(&overrides);
        assert_eq!(stack.stream == Stream::OnDemand, stage == "dev", "{stage}");
    }
}

#[test]
fn alarms_of_nested_templates_count_once_for_each_use() {
    let outer = "
Resources:
  One: { Type: AWS::CloudWatch::Alarm }
  A: { Type: AWS::Serverless::Application, Properties: { Location: inner.yaml } }
  B: { Type: AWS::Serverless::Application, Properties: { Location: inner.yaml } }
  C: { Type: AWS::Serverless::Application, Properties: { Location: gone.yaml } }
";
    let inner = "
Resources:
  X: { Type: AWS::CloudWatch::Alarm, Properties: { Threshold: !Ref T } }
  Y: { Type: AWS::CloudWatch::Alarm }
  Z: { Type: AWS::CloudWatch::CompositeAlarm }
";
    let outer = Template::parse(outer).unwrap();
    let nested =
        |location: &str| (location == "inner.yaml").then(|| Template::parse(inner).unwrap());
    assert_eq!(outer.count("AWS::CloudWatch::Alarm", &nested), 5);
    assert_eq!(outer.count("AWS::CloudWatch::CompositeAlarm", &nested), 2);
}

#[test]
fn what_cannot_be_is_an_error_that_says_what() {
    let template = template();
    let error = template.values([("ShardCont", "3")]).unwrap_err();
    assert_eq!(error.code(), "parameter_unknown");
    assert!(error.to_string().contains("ShardCount"), "{error}");
    for (name, value) in [
        ("ShardCount", "0"),
        ("ShardCount", "many"),
        ("ShardCount", "-1"),
        ("StreamMode", "BOTH"),
        ("LogDays", "NaN"),
        ("IndexReplicas", "inf"),
        ("LogLevel", "loud"),
    ] {
        let values = template.values([(name, value)]).unwrap();
        let error = Deployment::of(&template, &values, &nested).unwrap_err();
        assert_eq!(error.code(), "parameter_invalid", "{name}={value}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = Template::parse("a: [").unwrap_err();
    assert_eq!(error.code(), "template_unreadable");
    let empty = Template::parse("Resources: {}").unwrap();
    let values = empty.values([]).unwrap();
    let error = Deployment::of(&empty, &values, &nested).unwrap_err();
    assert_eq!(error.code(), "template_incomplete");
}
