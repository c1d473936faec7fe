//! Schedules of a stack.

use super::functions::function_of;
use super::resolver::Resolver;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

/// A schedule as deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackSchedule {
    /// Logical id of the function that is invoked.
    pub function: String,
    /// How often, in minutes.
    pub every_minutes: u32,
    /// What the function is given; none = an event that says so.
    pub input: Option<String>,
    /// How old an event may become before it is dropped, in seconds.
    pub max_age_s: u32,
    /// `State: ENABLED`.
    pub enabled: bool,
}

/// `MaximumEventAgeInSeconds`, if it is not given.
const DEFAULT_AGE_S: i64 = 86_400;

/// What else a schedule may say; of anything else it is not known what it means.
const WITHOUT_EFFECT: [&str; 4] = [
    "Description",
    "GroupName",
    "Name",
    "ScheduleExpressionTimezone",
];

/// Reads a schedule's properties.
pub(super) fn read_schedule(
    resolver: &Resolver,
    resources: &Map<String, Value>,
    properties: &Value,
) -> anyhow::Result<StackSchedule> {
    let known = [
        "FlexibleTimeWindow",
        "ScheduleExpression",
        "State",
        "Target",
    ];
    only(properties, &[&known[..], &WITHOUT_EFFECT].concat())?;
    let mode = &properties["FlexibleTimeWindow"]["Mode"];
    ensure!(mode == "OFF", "a flexible time window is not emulated");
    let target = &properties["Target"];
    only(target, &["Arn", "Input", "RetryPolicy", "RoleArn"]).context("Target")?;
    let retry = &target["RetryPolicy"];
    let attempts = resolver.number(retry.get("MaximumRetryAttempts"), 185)?;
    ensure!(
        attempts == 0,
        "retries are not emulated (MaximumRetryAttempts is {attempts})"
    );
    let max_age_s = resolver.number(retry.get("MaximumEventAgeInSeconds"), DEFAULT_AGE_S)?;
    let input = target.get("Input").map(|input| resolver.text(input));
    let input = input.transpose().context("Input")?;
    ensure!(
        !input
            .as_ref()
            .is_some_and(|input| input.contains("<aws.scheduler.")),
        "context attributes in the input are not emulated"
    );
    let state = properties.get("State").map(|state| resolver.text(state));
    Ok(StackSchedule {
        function: function_of(resources, &target["Arn"])
            .context("the target is no function of the stack")?,
        every_minutes: minutes(&resolver.text(&properties["ScheduleExpression"])?)?,
        input,
        max_age_s: u32::try_from(max_age_s)?,
        enabled: state.transpose()?.is_none_or(|state| state == "ENABLED"),
    })
}

fn only(object: &Value, known: &[&str]) -> anyhow::Result<()> {
    let keys = object.as_object().context("no object")?.keys();
    match keys.into_iter().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => bail!("{key} is not emulated"),
    }
}

/// `rate(value unit)` in minutes.
fn minutes(expression: &str) -> anyhow::Result<u32> {
    let rate = expression.strip_prefix("rate(");
    let rate = rate.and_then(|rate| rate.strip_suffix(')'));
    let (value, unit) = rate
        .and_then(|rate| rate.split_once(' '))
        .with_context(|| format!("{expression} is not emulated: only rate(…) is"))?;
    let value: u32 = value.parse().context("a rate's value")?;
    let minutes = match unit {
        "minute" | "minutes" => 1,
        "hour" | "hours" => 60,
        "day" | "days" => 1_440,
        other => bail!("a rate's unit is {other}"),
    };
    let total = value.checked_mul(minutes).filter(|total| *total > 0);
    total.with_context(|| format!("{expression} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(changed: &Value) -> anyhow::Result<StackSchedule> {
        let resources = json!({
            "F": {"Type": "AWS::Lambda::Function"},
            "FAliaslive": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "F"}}},
        });
        let mut properties = json!({
            "ScheduleExpression": "rate(1 minute)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": {"Fn::GetAtt": ["F", "Arn"]},
                "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                "RetryPolicy": {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0},
            },
        });
        for (path, value) in changed.as_object().unwrap() {
            match path.strip_prefix("Target.") {
                Some(key) => properties["Target"][key] = value.clone(),
                None => properties[path] = value.clone(),
            }
        }
        read_schedule(
            &Resolver::default(),
            resources.as_object().unwrap(),
            &properties,
        )
    }

    #[test]
    fn a_schedule_is_read_as_it_is_deployed() {
        let expected = StackSchedule {
            function: "F".into(),
            every_minutes: 1,
            input: None,
            max_age_s: 60,
            enabled: true,
        };
        assert_eq!(read(&json!({})).unwrap(), expected);
        let changed = read(&json!({
            "ScheduleExpression": "rate(2 hours)", "State": "DISABLED", "Name": "n",
            "Target.Arn": {"Ref": "FAliaslive"}, "Target.Input": "{\"x\":1}",
        }));
        let expected = StackSchedule {
            every_minutes: 120,
            input: Some("{\"x\":1}".into()),
            enabled: false,
            ..expected
        };
        assert_eq!(changed.unwrap(), expected);
    }

    #[test]
    fn what_is_not_emulated_is_refused_by_its_name() {
        for (changed, named) in [
            (
                json!({"ScheduleExpression": "cron(0 12 * * ? *)"}),
                "cron(0 12 * * ? *)",
            ),
            (
                json!({"ScheduleExpression": "at(2026-11-25T22:00:00)"}),
                "at(",
            ),
            (
                json!({"ScheduleExpression": "rate(0 minutes)"}),
                "rate(0 minutes)",
            ),
            (
                json!({"ScheduleExpression": "rate(5 fortnights)"}),
                "fortnights",
            ),
            (
                json!({"ScheduleExpression": "rate(4294967295 days)"}),
                "4294967295",
            ),
            (
                json!({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}),
                "flexible",
            ),
            (json!({"StartDate": "2026-11-25T22:00:00Z"}), "StartDate"),
            (json!({"Target.DeadLetterConfig": {}}), "DeadLetterConfig"),
            (json!({"Target.RetryPolicy": {}}), "185"),
            (
                json!({"Target.Input": "<aws.scheduler.scheduled-time>"}),
                "context attributes",
            ),
            (json!({"Target.Arn": {"Ref": "Queue"}}), "no function"),
        ] {
            let error = format!("{:#}", read(&changed).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
