//! What a template says, as far as it costs something.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a template cannot be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// It is neither YAML nor JSON, or no template.
    #[error("the template cannot be read: {0}")]
    Unreadable(String),
    /// A parameter is given that the template has not.
    #[error("the template has no parameter {name}; it has {known}")]
    UnknownParameter {
        /// Which.
        name: String,
        /// Those it has.
        known: String,
    },
}

impl TemplateError {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "template_unreadable",
            Self::UnknownParameter { .. } => "parameter_unknown",
        }
    }
}

/// A template: its parameters with their defaults, and its resources.
///
/// Short forms of functions (`!Ref`, `!If`) are read as what they are given:
/// a reference becomes the name, a choice a list of condition and both ways.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Template {
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    resources: BTreeMap<String, Resource>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    #[serde(default)]
    default: Option<Value>,
}

/// A resource of a template.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Resource {
    /// Its type.
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(default)]
    properties: Value,
}

impl Template {
    /// Reads YAML or JSON.
    ///
    /// # Errors
    /// [`TemplateError::Unreadable`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        serde_saphyr::from_str(text).map_err(|error| TemplateError::Unreadable(error.to_string()))
    }

    /// The parameters' values: defaults, and `overrides` in their stead.
    ///
    /// # Errors
    /// [`TemplateError::UnknownParameter`] names an override that is no parameter.
    pub fn values<'o>(
        &self,
        overrides: impl IntoIterator<Item = (&'o str, &'o str)>,
    ) -> Result<BTreeMap<String, String>, TemplateError> {
        let mut values: BTreeMap<String, String> = self
            .parameters
            .iter()
            .filter_map(|(name, parameter)| {
                Some((name.clone(), scalar(parameter.default.as_ref()?)?))
            })
            .collect();
        for (name, value) in overrides {
            if !self.parameters.contains_key(name) {
                return Err(TemplateError::UnknownParameter {
                    name: name.to_owned(),
                    known: self
                        .parameters
                        .keys()
                        .cloned()
                        .collect::<Vec<_>>()
                        .join(", "),
                });
            }
            values.insert(name.to_owned(), value.to_owned());
        }
        Ok(values)
    }

    /// The resource with this logical id.
    #[must_use]
    pub fn resource(&self, logical_id: &str) -> Option<&Resource> {
        self.resources.get(logical_id)
    }

    /// How many resources of `kind` there are, those of nested templates too:
    /// `nested` finds one by its location.
    pub fn count(&self, kind: &str, nested: &dyn Fn(&str) -> Option<Template>) -> u32 {
        let of = |resource: &Resource| {
            if resource.kind == kind {
                return 1;
            }
            let location = match resource.kind.as_str() {
                "AWS::Serverless::Application" => resource.text("/Location"),
                "AWS::CloudFormation::Stack" => resource.text("/TemplateURL"),
                _ => None,
            };
            let template = location.and_then(|location| nested(&location));
            template.map_or(0, |template| template.count(kind, nested))
        };
        self.resources.values().map(of).sum()
    }
}

impl Resource {
    /// A property by its JSON pointer, if it is a text or a number.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<String> {
        scalar(self.properties.pointer(pointer)?)
    }

    /// Whether there is such a property.
    #[must_use]
    pub fn has(&self, pointer: &str) -> bool {
        self.properties.pointer(pointer).is_some()
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        _ => None,
    }
}
