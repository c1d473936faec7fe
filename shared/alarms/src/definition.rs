//! Alarms as a template defines them.

use crate::error::Error;
use crate::judge::MissingData;
use crate::rule::Rule;
use crate::statistic::Statistic;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What of an alarm does not change its state.
const WITHOUT_EFFECT: [&str; 9] = [
    "ActionsEnabled",
    "ActionsSuppressor",
    "ActionsSuppressorExtensionPeriod",
    "ActionsSuppressorWaitPeriod",
    "AlarmActions",
    "AlarmDescription",
    "InsufficientDataActions",
    "OKActions",
    "Tags",
];

/// An alarm.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// On a metric.
    Metric(MetricAlarm),
    /// On other alarms.
    Composite(CompositeAlarm),
}

impl Definition {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Metric(alarm) => &alarm.name,
            Self::Composite(alarm) => &alarm.name,
        }
    }
}

/// `AWS::CloudWatch::Alarm`.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricAlarm {
    /// Its name.
    pub name: String,
    /// The metric's namespace.
    pub namespace: String,
    /// The metric's name.
    pub metric: String,
    /// The metric's dimensions, all of them.
    pub dimensions: BTreeMap<String, String>,
    /// What a period's values come to.
    pub statistic: Statistic,
    /// The unit that data must have; none = any.
    pub unit: Option<String>,
    /// The length of a period, in seconds of AWS's minutes.
    pub period_s: u32,
    /// `EvaluationPeriods`, N.
    pub evaluation_periods: usize,
    /// `DatapointsToAlarm`, M.
    pub datapoints_to_alarm: usize,
    /// What is compared with.
    pub threshold: f64,
    /// How it is compared.
    pub comparison: Comparison,
    /// What a period without data counts as.
    pub missing: MissingData,
    /// `EvaluateLowSampleCountPercentile: ignore`.
    pub ignores_low_samples: bool,
}

/// `AWS::CloudWatch::CompositeAlarm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompositeAlarm {
    /// Its name.
    pub name: String,
    /// When it is in alarm.
    pub rule: Rule,
}

/// `ComparisonOperator`, as far as a threshold is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `GreaterThanThreshold`.
    Greater,
    /// `GreaterThanOrEqualToThreshold`.
    GreaterOrEqual,
    /// `LessThanThreshold`.
    Less,
    /// `LessThanOrEqualToThreshold`.
    LessOrEqual,
}

impl Comparison {
    /// Whether a value breaches the threshold.
    #[must_use]
    pub fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Greater => value > threshold,
            Self::GreaterOrEqual => value >= threshold,
            Self::Less => value < threshold,
            Self::LessOrEqual => value <= threshold,
        }
    }
}

/// The alarms among a template's resources, in which every intrinsic is
/// resolved: numbers may be texts, as parameters are. An alarm without
/// `AlarmName` goes by its logical id.
///
/// # Errors
/// If an alarm is one that CloudWatch would refuse, or has a property that is
/// not evaluated here: none is taken for milder than it is.
pub fn definitions(resources: &Map<String, Value>) -> Result<Vec<Definition>, Error> {
    let mut found = Vec::new();
    for (id, resource) in resources {
        let properties = Properties {
            id,
            properties: &resource["Properties"],
        };
        match resource["Type"].as_str() {
            Some("AWS::CloudWatch::Alarm") => found.push(Definition::Metric(properties.metric()?)),
            Some("AWS::CloudWatch::CompositeAlarm") => {
                found.push(Definition::Composite(properties.composite()?));
            }
            _ => {}
        }
    }
    Ok(found)
}

struct Properties<'a> {
    id: &'a str,
    properties: &'a Value,
}

impl Properties<'_> {
    fn invalid(&self, reason: impl Into<String>) -> Error {
        Error::Invalid {
            alarm: self.id.to_owned(),
            reason: reason.into(),
        }
    }

    fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported {
            alarm: self.id.to_owned(),
            what: what.into(),
        }
    }

    fn optional(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.properties.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.invalid(format!("{key} is no text: {other}"))),
        }
    }

    fn text(&self, key: &str) -> Result<&str, Error> {
        self.optional(key)?
            .ok_or_else(|| self.invalid(format!("{key} is missing")))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        let value = match self.properties.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let number = value
            .as_f64()
            .or_else(|| value.as_str()?.trim().parse().ok())
            .filter(|number| number.is_finite());
        number
            .map(Some)
            .ok_or_else(|| self.invalid(format!("{key} is no number: {value}")))
    }

    /// A whole number from 1 on.
    fn count(&self, key: &str) -> Result<Option<u32>, Error> {
        let Some(number) = self.number(key)? else {
            return Ok(None);
        };
        if number.fract() != 0.0 || !(1.0..=f64::from(u32::MAX)).contains(&number) {
            return Err(self.invalid(format!("{key} is {number}")));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Some(number as u32))
    }

    /// Nothing that is not known: it might change what the alarm does.
    fn only(&self, known: &[&str]) -> Result<(), Error> {
        let Some(properties) = self.properties.as_object() else {
            return Err(self.invalid("it has no properties"));
        };
        let known =
            |key: &&String| known.contains(&key.as_str()) || WITHOUT_EFFECT.contains(&key.as_str());
        match properties.keys().find(|key| !known(key)) {
            None => Ok(()),
            Some(key) => Err(self.unsupported(key)),
        }
    }

    fn name(&self) -> Result<String, Error> {
        Ok(self.optional("AlarmName")?.unwrap_or(self.id).to_owned())
    }

    fn composite(&self) -> Result<CompositeAlarm, Error> {
        self.only(&["AlarmName", "AlarmRule"])?;
        let rule = Rule::parse(self.text("AlarmRule")?);
        Ok(CompositeAlarm {
            name: self.name()?,
            rule: rule.map_err(|error| self.invalid(error.to_string()))?,
        })
    }

    fn metric(&self) -> Result<MetricAlarm, Error> {
        self.only(&[
            "AlarmName",
            "ComparisonOperator",
            "DatapointsToAlarm",
            "Dimensions",
            "EvaluateLowSampleCountPercentile",
            "EvaluationPeriods",
            "ExtendedStatistic",
            "MetricName",
            "Namespace",
            "Period",
            "Statistic",
            "Threshold",
            "TreatMissingData",
            "Unit",
        ])?;
        let namespace = self.text("Namespace")?;
        let n = self.count("EvaluationPeriods")?;
        let n = n.ok_or_else(|| self.invalid("EvaluationPeriods is missing"))?;
        let m = self.count("DatapointsToAlarm")?.unwrap_or(n);
        if m > n {
            return Err(self.invalid(format!("DatapointsToAlarm is {m} of {n}")));
        }
        let period_s = self.count("Period")?;
        let period_s = period_s.ok_or_else(|| self.invalid("Period is missing"))?;
        if !matches!(period_s, 10 | 20 | 30) && !period_s.is_multiple_of(60) {
            return Err(self.invalid(format!("Period is {period_s}")));
        }
        let most_s = if period_s >= 3_600 { 604_800 } else { 86_400 };
        if u64::from(period_s) * u64::from(n) > most_s {
            return Err(self.invalid(format!("{n} periods of {period_s} s are too many")));
        }
        let threshold = self.number("Threshold")?;
        Ok(MetricAlarm {
            name: self.name()?,
            namespace: namespace.to_owned(),
            metric: self.text("MetricName")?.to_owned(),
            dimensions: self.dimensions()?,
            statistic: self.statistic()?,
            unit: self.optional("Unit")?.map(str::to_owned),
            period_s,
            evaluation_periods: n as usize,
            datapoints_to_alarm: m as usize,
            threshold: threshold.ok_or_else(|| self.invalid("Threshold is missing"))?,
            comparison: match self.text("ComparisonOperator")? {
                "GreaterThanThreshold" => Comparison::Greater,
                "GreaterThanOrEqualToThreshold" => Comparison::GreaterOrEqual,
                "LessThanThreshold" => Comparison::Less,
                "LessThanOrEqualToThreshold" => Comparison::LessOrEqual,
                other => return Err(self.unsupported(other)),
            },
            missing: match self.optional("TreatMissingData")? {
                // "Default to ignore missing data", the guide says of these.
                None if namespace == "AWS/DynamoDB" => MissingData::Ignore,
                None | Some("missing") => MissingData::Missing,
                Some("ignore") => MissingData::Ignore,
                Some("breaching") => MissingData::Breaching,
                Some("notBreaching") => MissingData::NotBreaching,
                Some(other) => return Err(self.invalid(format!("TreatMissingData is {other}"))),
            },
            ignores_low_samples: match self.optional("EvaluateLowSampleCountPercentile")? {
                None | Some("evaluate") => false,
                Some("ignore") => true,
                Some(other) => {
                    let reason = format!("EvaluateLowSampleCountPercentile is {other}");
                    return Err(self.invalid(reason));
                }
            },
        })
    }

    fn statistic(&self) -> Result<Statistic, Error> {
        let plain = self.optional("Statistic")?;
        let extended = self.optional("ExtendedStatistic")?;
        let ((Some(text), None) | (None, Some(text))) = (plain, extended) else {
            return Err(self.invalid("one of Statistic and ExtendedStatistic is needed"));
        };
        let statistic = text.parse().map_err(|()| self.unsupported(text))?;
        let is_percentile = matches!(statistic, Statistic::Percentile(_));
        if is_percentile != extended.is_some() {
            return Err(self.invalid(format!("{text} is the other kind of statistic")));
        }
        Ok(statistic)
    }

    fn dimensions(&self) -> Result<BTreeMap<String, String>, Error> {
        let list = match self.properties.get("Dimensions") {
            None | Some(Value::Null) => return Ok(BTreeMap::new()),
            Some(list) => list.as_array(),
        };
        let list = list.ok_or_else(|| self.invalid("Dimensions is no list"))?;
        let one = |dimension: &Value| {
            let text = |key: &str| dimension[key].as_str().map(str::to_owned);
            text("Name")
                .zip(text("Value"))
                .ok_or_else(|| self.invalid(format!("a dimension is {dimension}")))
        };
        list.iter().map(one).collect()
    }
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;
