//! The three index templates, and whether the cluster has them already.

use crate::cluster::{Cluster, ProvisionError};
use crate::outcome::Outcome;
use crate::settings::Settings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Mapping and settings of every backing index.
pub const EVENTS: &str = include_str!("../../../infra/opensearch/events-template.json");
/// Mapping and settings of the sessions of a day.
pub const SESSIONS: &str = include_str!("../../../infra/opensearch/sessions-template.json");
/// Mapping and settings of the rejections of a day.
pub const REJECTIONS: &str = include_str!("../../../infra/opensearch/rejections-template.json");

/// Tells ISM's rollover which alias moves.
pub(crate) const ROLLOVER_ALIAS: &str = "plugins.index_state_management.rollover_alias";

/// The kinds of indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Behind the write alias, rolled over.
    Events,
    /// One a day, by the session's start.
    Sessions,
    /// One a day.
    Rejections,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Events, Self::Sessions, Self::Rejections];

    /// What an index's name begins with.
    #[must_use]
    pub fn prefix(self, alias: &str) -> String {
        match self {
            Self::Events => format!("{alias}-"),
            Self::Sessions => format!("{alias}_sessions-"),
            Self::Rejections => format!("{alias}_rejections-"),
        }
    }

    /// Matches every index of this kind and no other.
    #[must_use]
    pub fn pattern(self, alias: &str) -> String {
        format!("{}*", self.prefix(alias))
    }

    /// What templates and policies of this kind are called on the cluster.
    #[must_use]
    pub fn resource_name(self, alias: &str) -> String {
        format!("freshet-{}", self.prefix(alias).trim_end_matches('-'))
    }

    /// The kind of an index by its name.
    #[must_use]
    pub fn of(alias: &str, index: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| index.starts_with(&kind.prefix(alias)))
    }

    const fn file(self) -> &'static str {
        match self {
            Self::Events => EVENTS,
            Self::Sessions => SESSIONS,
            Self::Rejections => REJECTIONS,
        }
    }
}

/// A template with the parameters filled in. Only where the cluster has ISM
/// does it know ISM's settings.
///
/// # Errors
/// [`ProvisionError::Broken`] if the file that this was built with is.
pub fn render(kind: Kind, settings: &Settings, has_ism: bool) -> Result<Value, ProvisionError> {
    let broken = || ProvisionError::Broken("an index template");
    let mut template: Value = serde_json::from_str(kind.file()).map_err(|_| broken())?;
    template["index_patterns"] = json!([kind.pattern(&settings.alias)]);
    let index = template
        .pointer_mut("/template/settings/index")
        .and_then(Value::as_object_mut)
        .ok_or_else(broken)?;
    if kind == Kind::Events {
        index.insert("number_of_shards".to_owned(), json!(settings.shards));
        if has_ism {
            index.insert(ROLLOVER_ALIAS.to_owned(), json!(settings.alias));
        }
    }
    index.insert("number_of_replicas".to_owned(), json!(settings.replicas));
    index.insert(
        "refresh_interval".to_owned(),
        json!(settings.refresh_interval),
    );
    Ok(template)
}

/// The mapping of a template.
pub(crate) fn mappings(template: &Value) -> &Value {
    &template["template"]["mappings"]
}

/// The settings of a template, flat: `index.refresh_interval` = `5s`.
pub(crate) fn settings_of(template: &Value) -> BTreeMap<String, Value> {
    flat(&template["template"]["settings"])
}

/// Settings as the server keeps them: dotted keys that begin with `index.`,
/// and text for every value.
pub(crate) fn flat(settings: &Value) -> BTreeMap<String, Value> {
    fn walk(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
        let text = |value: &Value| match value {
            Value::String(text) => json!(text),
            other => json!(other.to_string()),
        };
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    walk(&path, value, into);
                }
            }
            Value::Null => {}
            Value::Array(items) => {
                into.insert(path.to_owned(), items.iter().map(text).collect());
            }
            other => {
                into.insert(path.to_owned(), text(other));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk("", settings, &mut found);
    let with_prefix = |key: String| {
        if key.starts_with("index.") {
            key
        } else {
            format!("index.{key}")
        }
    };
    found
        .into_iter()
        .map(|(key, value)| (with_prefix(key), value))
        .collect()
}

/// The parts of a template that matter, the same for ours and the server's.
fn canonical(template: &Value) -> Value {
    let meaning: Map<String, Value> = ["index_patterns", "priority", "_meta"]
        .into_iter()
        .map(|key| (key.to_owned(), template[key].clone()))
        .collect();
    let parts = template["composed_of"].as_array();
    json!({
        "meaning": meaning,
        "settings": settings_of(template),
        "mappings": mappings(template),
        "aliases": template["template"]["aliases"],
        "composed_of": parts.filter(|parts| !parts.is_empty()),
    })
}

/// Puts a template unless the cluster has the same.
pub(crate) async fn provision(
    cluster: &Cluster<'_>,
    name: &str,
    wanted: &Value,
) -> Result<Outcome, ProvisionError> {
    let step = format!("template {name}");
    let path = format!("_index_template/{name}");
    let found = cluster.find(&step, &path).await?;
    let live = found
        .as_ref()
        .and_then(|found| found.pointer("/index_templates/0/index_template"));
    let outcome = match live {
        Some(live) if canonical(live) == canonical(wanted) => return Ok(Outcome::Unchanged),
        Some(live) => Outcome::Updated(difference(live, wanted)),
        None => Outcome::Created,
    };
    cluster.put(&step, &path, wanted).await?;
    Ok(outcome)
}

/// Which parts differ.
fn difference(live: &Value, wanted: &Value) -> String {
    let (settings, wanted_settings) = (settings_of(live), settings_of(wanted));
    let keys = settings.keys().chain(wanted_settings.keys());
    let mut parts: Vec<&str> = keys
        .filter(|key| settings.get(*key) != wanted_settings.get(*key))
        .map(|key| key.trim_start_matches("index."))
        .collect();
    if mappings(live) != mappings(wanted) {
        parts.push("mappings");
    }
    parts.sort_unstable();
    parts.dedup();
    if parts.is_empty() {
        "patterns or priority".to_owned()
    } else {
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_replace_the_templates_settings() {
        let settings = Settings {
            alias: "c".into(),
            shards: 2,
            replicas: 0,
            refresh_interval: "1s".into(),
            ..Settings::default()
        };
        let events = render(Kind::Events, &settings, true).unwrap();
        let flat = settings_of(&events);
        let of = |key: &str| flat[&format!("index.{key}")].clone();
        assert_eq!(of("number_of_shards"), "2");
        assert_eq!(of("number_of_replicas"), "0");
        assert_eq!(
            (of("refresh_interval"), of("codec")),
            (json!("1s"), json!("best_compression"))
        );
        assert_eq!(of("plugins.index_state_management.rollover_alias"), "c");
        assert_eq!(events["index_patterns"], json!(["c-*"]));
        // The others are small: one shard each, whatever the events have.
        for kind in [Kind::Sessions, Kind::Rejections] {
            let flat = settings_of(&render(kind, &settings, true).unwrap());
            assert_eq!(flat["index.number_of_shards"], "1");
            assert_eq!(flat["index.refresh_interval"], "1s");
            assert!(!flat.keys().any(|key| key.contains("rollover_alias")));
        }
        let without = settings_of(&render(Kind::Events, &settings, false).unwrap());
        assert!(!without.keys().any(|key| key.contains("plugins")));
    }

    #[test]
    fn defaults_are_the_articles() {
        let flat = settings_of(&render(Kind::Events, &Settings::default(), false).unwrap());
        let expected = json!({
            "index.analysis.analyzer.url_analyzer.filter": ["lowercase", "stop"],
            "index.analysis.analyzer.url_analyzer.tokenizer": "uax_url_email",
            "index.analysis.analyzer.url_analyzer.type": "custom",
            "index.codec": "best_compression", "index.max_result_window": "50000",
            "index.number_of_replicas": "1", "index.number_of_shards": "6", "index.refresh_interval": "5s",
        });
        assert_eq!(json!(flat), expected);
    }

    #[test]
    fn every_index_is_of_one_kind() {
        let of = |index| Kind::of("clickstream", index);
        assert_eq!(of("clickstream-2026.11.25-000001"), Some(Kind::Events));
        assert_eq!(of("clickstream_sessions-2026.11.25"), Some(Kind::Sessions));
        assert_eq!(
            of("clickstream_rejections-2026.11.25"),
            Some(Kind::Rejections)
        );
        assert_eq!(of("clickstreams-1"), None);
        let names = Kind::ALL.map(|kind| kind.resource_name("clickstream"));
        assert_eq!(
            names,
            [
                "freshet-clickstream",
                "freshet-clickstream_sessions",
                "freshet-clickstream_rejections"
            ]
        );
    }

    #[test]
    fn the_servers_form_is_the_same_template() {
        let wanted = render(Kind::Events, &Settings::default(), false).unwrap();
        let mut live = wanted.clone();
        live["composed_of"] = json!([]);
        live["template"]["settings"] = json!(settings_of(&wanted));
        assert_eq!(canonical(&live), canonical(&wanted));
        live["template"]["settings"]["index.codec"] = json!("default");
        assert_ne!(canonical(&live), canonical(&wanted));
        assert_eq!(difference(&live, &wanted), "codec");
        live["composed_of"] = json!(["somebody's"]);
        assert_ne!(canonical(&live), canonical(&wanted));
    }

    #[test]
    fn the_mapping_knows_just_the_metadata_that_events_know() {
        let template: Value = serde_json::from_str(EVENTS).unwrap();
        let metadata = template
            .pointer("/template/mappings/properties/metadata/properties")
            .unwrap();
        let mut mapped: Vec<&str> = metadata
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut known: Vec<&str> = freshet_events::KNOWN_METADATA.to_vec();
        known.push("other");
        mapped.sort_unstable();
        known.sort_unstable();
        assert_eq!(mapped, known);
        assert_eq!(metadata["other"]["type"], "flat_object");
    }
}
