//! The indices that are there: judged before anything is put, and brought up
//! to date before new code writes to them.

use crate::cluster::{Cluster, ProvisionError, failed};
use crate::mapping::{self, Conflict};
use crate::outcome::{Outcome, Report};
use crate::templates::{Kind, flat, mappings, settings_of};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Settings that a live index takes; the others need a new one.
const DYNAMIC: [&str; 5] = [
    "index.gc_deletes",
    "index.refresh_interval",
    "index.number_of_replicas",
    "index.max_result_window",
    "index.plugins.index_state_management.rollover_alias",
];

/// Templates by kind, with the parameters filled in.
pub(crate) type Templates = BTreeMap<Kind, Value>;

/// An index of ours.
#[derive(Clone, Debug)]
struct LiveIndex {
    name: String,
    kind: Kind,
    mappings: Value,
    settings: BTreeMap<String, Value>,
}

/// The indices of ours at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    indices: Vec<LiveIndex>,
    has_alias: bool,
    write_index: Option<String>,
}

impl Live {
    /// Asks the cluster.
    pub(crate) async fn read(cluster: &Cluster<'_>, alias: &str) -> Result<Self, ProvisionError> {
        let step = "read the live indices";
        let patterns = Kind::ALL.map(|kind| kind.pattern(alias)).join(",");
        let path = format!(
            "{alias},{patterns}?flat_settings=true&ignore_unavailable=true&allow_no_indices=true\
             &filter_path=*.aliases,*.mappings,*.settings"
        );
        let answer = cluster.read(&path).await.map_err(|e| failed(step, e))?;
        let Value::Object(answer) = answer else {
            return Err(ProvisionError::Answer {
                step: step.to_owned(),
            });
        };
        Self::of(answer, alias)
    }

    fn of(answer: Map<String, Value>, alias: &str) -> Result<Self, ProvisionError> {
        let mut members = Vec::new();
        let mut indices = Vec::new();
        for (name, index) in answer {
            let member = index["aliases"].get(alias);
            if let Some(member) = member {
                members.push((name.clone(), member["is_write_index"].as_bool()));
            }
            // An index behind the alias holds events whatever it is called.
            let kind = Kind::of(alias, &name).or(member.map(|_| Kind::Events));
            if let Some(kind) = kind {
                indices.push(LiveIndex {
                    name,
                    kind,
                    mappings: index["mappings"].clone(),
                    settings: flat(&index["settings"]),
                });
            }
        }
        let marked = members.iter().find(|(_, marked)| *marked == Some(true));
        let write_index = match (marked, members.as_slice()) {
            (Some((name, _)), _) | (None, [(name, None)]) => Some(name.clone()),
            (None, []) => None,
            (None, _) => return Err(ProvisionError::NoWriteIndex(alias.to_owned())),
        };
        Ok(Self {
            indices,
            has_alias: !members.is_empty(),
            write_index,
        })
    }

    /// Whether there is what this kind is written to: the alias, or a daily index.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Events => self.has_alias,
            Kind::Sessions | Kind::Rejections => self.indices.iter().any(|i| i.kind == kind),
        }
    }

    /// Refuses templates that some live index cannot take.
    pub(crate) fn judge(&self, templates: &Templates) -> Result<(), ProvisionError> {
        let conflicts: Vec<Conflict> = self
            .indices
            .iter()
            .filter_map(|index| Some((index, templates.get(&index.kind)?)))
            .flat_map(|(index, template)| {
                mapping::conflicts(&index.name, &index.mappings, mappings(template))
            })
            .collect();
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(ProvisionError::Incompatible(conflicts))
        }
    }

    /// Puts new fields and changed settings where documents may be written: on
    /// the write index, and on every daily index, as a late event or a replay
    /// reaches older days.
    pub(crate) async fn bring_up_to_date(
        &self,
        cluster: &Cluster<'_>,
        templates: &Templates,
        report: &mut Report,
    ) -> Result<(), ProvisionError> {
        for index in &self.indices {
            let Some(template) = templates.get(&index.kind) else {
                continue;
            };
            let is_written = self.write_index.as_deref() == Some(index.name.as_str());
            if index.kind == Kind::Events && !is_written {
                continue;
            }
            let changes = index.changes(template);
            let step = format!("index {}", index.name);
            if let Some(mappings) = &changes.mappings {
                let path = format!("{}/_mapping", index.name);
                cluster.put(&step, &path, mappings).await?;
            }
            if !changes.settings.is_empty() {
                let path = format!("{}/_settings", index.name);
                cluster.put(&step, &path, &json!(changes.settings)).await?;
            }
            report.add(step, changes.outcome());
        }
        Ok(())
    }
}

/// What an index lacks.
struct Changes {
    mappings: Option<Value>,
    settings: BTreeMap<String, Value>,
}

impl LiveIndex {
    fn changes(&self, template: &Value) -> Changes {
        let wanted = mappings(template);
        let mut settings = settings_of(template);
        settings.retain(|key, value| {
            DYNAMIC.contains(&key.as_str()) && self.settings.get(key) != Some(value)
        });
        Changes {
            mappings: (!mapping::covers(&self.mappings, wanted)).then(|| wanted.clone()),
            settings,
        }
    }
}

impl Changes {
    fn outcome(&self) -> Outcome {
        let mut parts: Vec<&str> = self
            .settings
            .keys()
            .map(|key| key.trim_start_matches("index."))
            .collect();
        if self.mappings.is_some() {
            parts.push("mappings");
        }
        if parts.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::Updated(parts.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::templates::render;

    fn templates() -> Templates {
        Kind::ALL
            .map(|kind| (kind, render(kind, &Settings::default(), true).unwrap()))
            .into()
    }

    fn index(kind: Kind, aliases: &Value) -> Value {
        let template = &templates()[&kind];
        json!({"aliases": aliases, "mappings": mappings(template), "settings": settings_of(template)})
    }

    fn live(indices: &Value) -> Result<Live, ProvisionError> {
        Live::of(indices.as_object().unwrap().clone(), "clickstream")
    }

    #[test]
    fn the_write_index_is_the_marked_one_or_the_only_one() {
        let member = |marked: Value| index(Kind::Events, &json!({"clickstream": marked}));
        let one = live(&json!({"clickstream-1": member(json!({}))})).unwrap();
        assert_eq!(one.write_index.as_deref(), Some("clickstream-1"));
        let two = json!({"clickstream-1": member(json!({"is_write_index": false})), "clickstream-2": member(json!({"is_write_index": true}))});
        assert_eq!(
            live(&two).unwrap().write_index.as_deref(),
            Some("clickstream-2")
        );
        let none = json!({"clickstream-1": member(json!({})), "clickstream-2": member(json!({}))});
        assert!(matches!(live(&none), Err(ProvisionError::NoWriteIndex(_))));
        let empty = live(&json!({})).unwrap();
        assert!(!empty.has_alias && empty.write_index.is_none());
    }

    #[test]
    fn every_index_is_judged_by_its_own_template() {
        let mut sessions = index(Kind::Sessions, &json!({}));
        sessions["mappings"]["properties"]["revenue"]["type"] = json!("long");
        let live = live(&json!({
            "clickstream-1": index(Kind::Events, &json!({"clickstream": {}})),
            "clickstream_sessions-2026.11.25": sessions,
        }));
        let error = live.unwrap().judge(&templates()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "nothing was changed: the templates do not fit live indices: \
             revenue is long in clickstream_sessions-2026.11.25 and would be double"
        );
        assert_eq!(error.code(), "template_incompatible");
    }

    #[test]
    fn only_what_differs_and_can_be_changed_is() {
        let mut events = index(Kind::Events, &json!({"clickstream": {}}));
        events["settings"]["index.refresh_interval"] = json!("1s");
        events["settings"]["index.codec"] = json!("default");
        let with_alias = "index.plugins.index_state_management.rollover_alias";
        events["settings"]
            .as_object_mut()
            .unwrap()
            .remove(with_alias);
        let live = live(&json!({"clickstream-1": events})).unwrap();
        let changes = live.indices[0].changes(&templates()[&Kind::Events]);
        assert_eq!(
            json!(changes.settings),
            json!({"index.refresh_interval": "5s", with_alias: "clickstream"})
        );
        assert!(changes.mappings.is_none());
        let expected = "plugins.index_state_management.rollover_alias, refresh_interval";
        assert_eq!(changes.outcome(), Outcome::Updated(expected.to_owned()));
    }
}
