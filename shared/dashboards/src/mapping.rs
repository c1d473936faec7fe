//! Which fields an index has, and of which type.

use serde_json::Value;
use std::collections::BTreeMap;

/// The fields of an index template by their dotted names. A field that is not
/// indexed counts as one that is not there: nothing can ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    fields: BTreeMap<String, String>,
}

impl Mapping {
    /// The fields of an index template's mappings.
    #[must_use]
    pub fn of_template(template: &Value) -> Self {
        let mut mapping = Self::default();
        mapping.add("", &template["template"]["mappings"]["properties"]);
        mapping
    }

    /// The same, by each pattern that the template is for.
    #[must_use]
    pub fn by_pattern(template: &Value) -> BTreeMap<String, Self> {
        let patterns = template["index_patterns"].as_array();
        let titles = patterns.into_iter().flatten().filter_map(Value::as_str);
        let mapping = Self::of_template(template);
        titles
            .map(|title| (title.to_owned(), mapping.clone()))
            .collect()
    }

    fn add(&mut self, prefix: &str, properties: &Value) {
        for (name, field) in properties.as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            let below = format!("{path}.");
            self.add(&below, &field["properties"]);
            self.add(&below, &field["fields"]);
            if let Some(kind) = field["type"].as_str()
                && field["index"] != false
            {
                self.fields.insert(path, kind.to_owned());
            }
        }
    }

    /// The type of a field; `None` if nothing can ask for it.
    #[must_use]
    pub fn type_of(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }
}
