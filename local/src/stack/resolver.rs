//! What intrinsic functions of a template come to.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Resolves what a property refers to.
#[derive(Default)]
pub(super) struct Resolver {
    /// Physical ids by logical id.
    pub(super) physical: BTreeMap<String, String>,
    pub(super) parameters: BTreeMap<String, String>,
    /// The template's conditions.
    pub(super) conditions: Map<String, Value>,
}

impl Resolver {
    /// The logical id in `Ref` or `Fn::GetAtt`, or the text itself.
    pub(super) fn target(value: &Value) -> Option<&str> {
        let get_att = value.get("Fn::GetAtt");
        value
            .as_str()
            .or_else(|| value.get("Ref")?.as_str())
            .or_else(|| get_att?.get(0)?.as_str())
            .or_else(|| get_att?.as_str()?.split('.').next())
    }

    pub(super) fn physical(&self, value: &Value) -> Option<String> {
        let target = Self::target(value)?;
        Some(
            self.physical
                .get(target)
                .cloned()
                .unwrap_or_else(|| target.to_owned()),
        )
    }

    /// A number, be it literal, text, or a parameter.
    pub(super) fn number(&self, value: Option<&Value>, default: i64) -> anyhow::Result<i64> {
        let Some(value) = value else {
            return Ok(default);
        };
        if let Some(number) = value.as_i64() {
            return Ok(number);
        }
        let text = match value.get("Ref").and_then(Value::as_str) {
            Some(parameter) => self.parameters.get(parameter).map(String::as_str),
            None => value.as_str(),
        };
        text.and_then(|text| text.parse().ok())
            .with_context(|| format!("{value} is no number"))
    }

    /// A text, be it literal, a parameter, or the branch of an `Fn::If`.
    pub(super) fn text<'a>(&'a self, value: &'a Value) -> anyhow::Result<&'a str> {
        if let Some(branches) = value.get("Fn::If") {
            let condition = branches[0].as_str().context("a condition's name")?;
            let branch = if self.holds(condition)? { 1 } else { 2 };
            return self.text(&branches[branch]);
        }
        let text = match value.get("Ref").and_then(Value::as_str) {
            Some(parameter) => self.parameters.get(parameter).map(String::as_str),
            None => value.as_str(),
        };
        text.with_context(|| format!("{value} is no text"))
    }

    /// What conditions compare: numbers and truths by their text.
    fn comparable(&self, value: &Value) -> anyhow::Result<String> {
        if value.is_number() || value.is_boolean() {
            return Ok(value.to_string());
        }
        self.text(value).map(str::to_owned)
    }

    /// Whether a resource is there: its condition holds, if it has one.
    pub(super) fn is_created(&self, resource: &Value) -> anyhow::Result<bool> {
        let condition = resource.get("Condition").and_then(Value::as_str);
        condition.map_or(Ok(true), |name| self.holds(name))
    }

    /// Whether the template's condition of this name holds.
    pub(super) fn holds(&self, name: &str) -> anyhow::Result<bool> {
        let condition = self.conditions.get(name);
        let condition = condition.with_context(|| format!("no condition {name}"))?;
        self.evaluate(condition)
            .with_context(|| format!("the condition {name}"))
    }

    fn evaluate(&self, condition: &Value) -> anyhow::Result<bool> {
        let function = condition
            .as_object()
            .and_then(|object| object.iter().next());
        let (function, argument) = function.context("no condition function")?;
        if function == "Condition" {
            return self.holds(argument.as_str().context("a condition's name")?);
        }
        let arguments = argument.as_array().context("no list of arguments")?;
        let each = || arguments.iter().map(|argument| self.evaluate(argument));
        match function.as_str() {
            "Fn::Equals" => Ok(self.comparable(&argument[0])? == self.comparable(&argument[1])?),
            "Fn::Not" => Ok(!self.evaluate(&argument[0])?),
            "Fn::And" => Ok(each()
                .collect::<anyhow::Result<Vec<_>>>()?
                .into_iter()
                .all(|x| x)),
            "Fn::Or" => Ok(each()
                .collect::<anyhow::Result<Vec<_>>>()?
                .into_iter()
                .any(|x| x)),
            other => bail!("{other} is not understood"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resolver() -> Resolver {
        let conditions = json!({
            "HasKey": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Key"}, ""]}]},
            "IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
            "Both": {"Fn::And": [{"Condition": "HasKey"}, {"Condition": "IsProd"}]},
            "Either": {"Fn::Or": [{"Condition": "HasKey"}, {"Condition": "IsProd"}]},
            "IsTrue": {"Fn::Equals": [{"Ref": "Flag"}, true]},
            "Odd": {"Fn::Contains": [["a"], "a"]},
        });
        let parameters = [("Key", "k"), ("Stage", "dev"), ("Flag", "true")];
        let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Resolver {
            conditions: conditions.as_object().cloned().unwrap(),
            parameters: parameters.into(),
            ..Resolver::default()
        }
    }

    #[test]
    fn conditions_hold_as_their_functions_say() {
        let holds = |name: &str| resolver().holds(name).ok();
        assert_eq!(
            ["HasKey", "IsProd", "Both", "Either", "IsTrue"].map(holds),
            [true, false, false, true, true].map(Some)
        );
        assert_eq!(["Odd", "Missing"].map(holds), [None, None]);
        let resource = |value: &Value| resolver().is_created(value).ok();
        assert_eq!(resource(&json!({"Condition": "IsProd"})), Some(false));
        assert_eq!(resource(&json!({})), Some(true));
    }

    #[test]
    fn a_text_is_the_branch_that_its_condition_chooses() {
        let resolver = resolver();
        let text = |value: Value| resolver.text(&value).map(str::to_owned).ok();
        assert_eq!(
            text(json!({"Fn::If": ["HasKey", "NONE", "AWS_IAM"]})),
            Some("NONE".into())
        );
        let nested = json!({"Fn::If": ["IsProd", "x", {"Ref": "Stage"}]});
        assert_eq!(text(nested), Some("dev".into()));
        assert_eq!(text(json!({"Ref": "Missing"})), None);
    }
}
