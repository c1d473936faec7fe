//! What intrinsic functions of a template come to.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Resolves what a property refers to.
#[derive(Default)]
pub(super) struct Resolver {
    /// Physical ids by logical id.
    pub(super) physical: BTreeMap<String, String>,
    /// Of the template and AWS's own.
    pub(super) parameters: BTreeMap<String, String>,
    /// Which parameters are lists.
    pub(super) lists: BTreeSet<String>,
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

    /// A text, be it literal, a parameter, or what a function comes to.
    pub(super) fn text(&self, value: &Value) -> anyhow::Result<String> {
        let resolved = self.resolve(value)?;
        let text = resolved.as_str().map(str::to_owned);
        text.with_context(|| format!("{value} is no text"))
    }

    /// What conditions compare and texts are put together of: numbers and
    /// truths by their text.
    fn scalar(&self, value: &Value) -> anyhow::Result<String> {
        match self.resolve(value)? {
            Value::String(text) => Ok(text),
            other if other.is_number() || other.is_boolean() => Ok(other.to_string()),
            other => bail!("{other} is no text"),
        }
    }

    /// A value with everything in it resolved. `AWS::NoValue` is null, and left
    /// out of lists and objects.
    ///
    /// # Errors
    /// If a reference leads nowhere, or a function is not known: attributes of
    /// resources are not.
    pub(super) fn resolve(&self, value: &Value) -> anyhow::Result<Value> {
        match value {
            Value::Array(list) => {
                let resolved = list.iter().map(|item| self.resolve(item));
                let resolved = resolved.filter(|item| !matches!(item, Ok(Value::Null)));
                resolved.collect::<anyhow::Result<_>>().map(Value::Array)
            }
            Value::Object(object) => {
                if object.len() == 1
                    && let Some((function, argument)) = object.iter().next()
                    && (function == "Ref" || function.starts_with("Fn::"))
                {
                    let resolved = self.call(function, argument);
                    return resolved.with_context(|| format!("{function} {argument}"));
                }
                let mut resolved = Map::new();
                for (key, value) in object {
                    let value = self.resolve(value)?;
                    if !value.is_null() {
                        resolved.insert(key.clone(), value);
                    }
                }
                Ok(Value::Object(resolved))
            }
            plain => Ok(plain.clone()),
        }
    }

    fn call(&self, function: &str, argument: &Value) -> anyhow::Result<Value> {
        let place = |at: usize| argument.get(at).context("an argument is missing");
        match function {
            "Ref" => self.reference(argument.as_str().context("no name")?),
            "Fn::If" => {
                let holds = self.holds(place(0)?.as_str().context("a condition's name")?)?;
                self.resolve(place(if holds { 1 } else { 2 })?)
            }
            "Fn::Join" => {
                let Value::Array(parts) = self.resolve(place(1)?)? else {
                    bail!("nothing to join");
                };
                let parts = parts.iter().map(|part| self.scalar(part));
                let parts: Vec<String> = parts.collect::<anyhow::Result<_>>()?;
                Ok(parts
                    .join(place(0)?.as_str().context("no separator")?)
                    .into())
            }
            "Fn::Sub" => {
                if let Some(text) = argument.as_str() {
                    return self.substitute(text, &Map::new());
                }
                let variables = place(1)?.as_object().context("no variables")?;
                self.substitute(place(0)?.as_str().context("no text")?, variables)
            }
            other => bail!("{other} is not understood"),
        }
    }

    /// A parameter, a list of them if its type is one, or a resource's physical id.
    fn reference(&self, name: &str) -> anyhow::Result<Value> {
        if name == "AWS::NoValue" {
            return Ok(Value::Null);
        }
        if let Some(value) = self.parameters.get(name) {
            let list = || {
                value
                    .split(',')
                    .map(|item| Value::from(item.trim()))
                    .collect()
            };
            let is_list = self.lists.contains(name);
            return Ok(if is_list {
                list()
            } else {
                value.as_str().into()
            });
        }
        let physical = self.physical.get(name);
        physical
            .map(|id| id.as_str().into())
            .context("there is no such thing")
    }

    fn substitute(&self, text: &str, variables: &Map<String, Value>) -> anyhow::Result<Value> {
        let (mut done, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').context("a brace is not closed")?;
            done.push_str(before);
            if let Some(literal) = name.strip_prefix('!') {
                done.push_str(&format!("${{{literal}}}"));
            } else if let Some(value) = variables.get(name) {
                done.push_str(&self.scalar(value)?);
            } else {
                let value = self.reference(name.trim());
                let value = value.with_context(|| format!("the variable {name}"))?;
                done.push_str(&self.scalar(&value)?);
            }
            rest = after;
        }
        done.push_str(rest);
        Ok(done.into())
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
            "Fn::Equals" => Ok(self.scalar(&argument[0])? == self.scalar(&argument[1])?),
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
        let text = |value: Value| resolver.text(&value).ok();
        assert_eq!(
            text(json!({"Fn::If": ["HasKey", "NONE", "AWS_IAM"]})),
            Some("NONE".into())
        );
        let nested = json!({"Fn::If": ["IsProd", "x", {"Ref": "Stage"}]});
        assert_eq!(text(nested), Some("dev".into()));
        assert_eq!(text(json!({"Ref": "Missing"})), None);
    }

    #[test]
    fn what_is_put_together_is_resolved_all_through() {
        let mut resolver = resolver();
        resolver.parameters.insert("Zones".into(), "a, b".into());
        resolver.lists.insert("Zones".into());
        resolver
            .physical
            .insert("Alarm".into(), "stack-alarm".into());
        let value = json!({
            "Name": {"Fn::Sub": "${Stage}-${!Stage}-${Alarm}"},
            "Rule": {"Fn::Sub": ["ALARM(${x}) ${Key}", {"x": {"Ref": "Alarm"}}]},
            "Zones": {"Fn::Join": ["-", {"Ref": "Zones"}]},
            "Each": [{"Ref": "AWS::NoValue"}, {"Fn::If": ["IsProd", 1, 2]}, {"Ref": "Zones"}],
            "Gone": {"Ref": "AWS::NoValue"},
            "Number": 3,
        });
        let expected = json!({
            "Name": "dev-${Stage}-stack-alarm",
            "Rule": "ALARM(stack-alarm) k",
            "Zones": "a-b",
            "Each": [2, ["a", "b"]],
            "Number": 3,
        });
        assert_eq!(resolver.resolve(&value).unwrap(), expected);
        for value in [
            json!({"Fn::GetAtt": ["Alarm", "Arn"]}),
            json!({"Fn::Sub": "${Alarm.Arn}"}),
            json!({"Fn::Sub": "${Alarm"}),
            json!([{"x": {"Ref": "Nobody"}}]),
            json!({"Fn::Join": ["-", "text"]}),
        ] {
            assert!(resolver.resolve(&value).is_err(), "{value}");
        }
    }
}
