//! Saved objects, read.

use crate::error::DashboardError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The index that a pattern stands for, and the field that is its time.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexPattern {
    /// The pattern itself, such as `clickstream-*`.
    pub title: String,
    /// The field that a time range applies to.
    pub time_field: String,
    /// How values of some fields are written, by field: Dashboards' own notation.
    pub formats: Map<String, Value>,
}

/// A visualization.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Stable.
    pub id: String,
    /// Over the panel.
    pub title: String,
    /// What its numbers mean.
    pub description: String,
    /// The id of its index pattern; none for a Vega panel, which names its index itself.
    pub pattern: Option<String>,
    /// Narrows what it counts: DQL, empty for everything.
    pub query: String,
    /// `type`, `params` and `aggs`.
    pub state: Value,
    /// The specification of a Vega panel.
    pub spec: Option<Value>,
}

impl Panel {
    /// `line`, `metric`, `vega` and so on.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.state["type"].as_str().unwrap_or_default()
    }
}

/// A panel's place on its dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The panel's id.
    pub panel: String,
    /// Columns from the left, of 48.
    pub x: u64,
    /// Rows from the top.
    pub y: u64,
    /// Width in columns.
    pub w: u64,
    /// Height in rows.
    pub h: u64,
}

/// A dashboard.
#[derive(Clone, Debug, PartialEq)]
pub struct Dashboard {
    /// Stable.
    pub id: String,
    /// Its name.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// Its panels in order.
    pub panels: Vec<Placed>,
    /// The start of its time range, such as `now-15m`.
    pub from: String,
    /// The end of its time range.
    pub to: String,
    /// How often it asks again, in milliseconds; 0 if it does not.
    pub refresh_ms: u64,
}

/// All saved objects of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedObjects {
    /// By id.
    pub patterns: BTreeMap<String, IndexPattern>,
    /// By id.
    pub panels: BTreeMap<String, Panel>,
    /// In the order of the file.
    pub dashboards: Vec<Dashboard>,
}

impl SavedObjects {
    /// Reads one object a line, with everything that they keep as text inside
    /// of text, and resolves every reference.
    ///
    /// # Errors
    /// [`DashboardError::Object`] names the object and what it lacks.
    pub fn parse(ndjson: &str) -> Result<Self, DashboardError> {
        let mut all = Self::default();
        for (number, line) in ndjson.lines().enumerate() {
            let object: Value =
                serde_json::from_str(line).map_err(|error| DashboardError::Object {
                    id: format!("line {}", number + 1),
                    why: error.to_string(),
                })?;
            let reader = Reader {
                id: object["id"].as_str().unwrap_or_default(),
                object: &object,
            };
            all.add(&reader)?;
        }
        all.resolve()?;
        Ok(all)
    }

    fn add(&mut self, reader: &Reader<'_>) -> Result<(), DashboardError> {
        let id = reader.id.to_owned();
        let is_new = match reader.object["type"].as_str() {
            Some("index-pattern") => self.patterns.insert(id, reader.pattern()?).is_none(),
            Some("visualization") => self.panels.insert(id, reader.panel()?).is_none(),
            Some("dashboard") => {
                let is_new = !self.dashboards.iter().any(|known| known.id == id);
                self.dashboards.push(reader.dashboard()?);
                is_new
            }
            other => return Err(reader.wrong(format!("its type is {other:?}"))),
        };
        if is_new && !reader.id.is_empty() {
            Ok(())
        } else {
            Err(reader.wrong("the id is empty or there twice"))
        }
    }

    fn resolve(&self) -> Result<(), DashboardError> {
        let missing = |id: &str, target: &str| DashboardError::Object {
            id: id.to_owned(),
            why: format!("it refers to {target}, which is not there"),
        };
        for panel in self.panels.values() {
            if let Some(pattern) = &panel.pattern
                && !self.patterns.contains_key(pattern)
            {
                return Err(missing(&panel.id, pattern));
            }
        }
        for dashboard in &self.dashboards {
            for placed in &dashboard.panels {
                if !self.panels.contains_key(&placed.panel) {
                    return Err(missing(&dashboard.id, &placed.panel));
                }
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    id: &'a str,
    object: &'a Value,
}

impl Reader<'_> {
    fn wrong(&self, why: impl Into<String>) -> DashboardError {
        DashboardError::Object {
            id: self.id.to_owned(),
            why: why.into(),
        }
    }

    fn attribute(&self, name: &str) -> Result<&str, DashboardError> {
        self.object["attributes"][name]
            .as_str()
            .ok_or_else(|| self.wrong(format!("it has no {name}")))
    }

    /// JSON that is kept as text.
    fn inner(&self, name: &str, text: &str) -> Result<Value, DashboardError> {
        serde_json::from_str(text).map_err(|error| self.wrong(format!("{name}: {error}")))
    }

    fn search_source(&self) -> Result<Value, DashboardError> {
        let text = &self.object["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"];
        self.inner("searchSourceJSON", text.as_str().unwrap_or_default())
    }

    fn reference(&self, name: &str, kind: &str) -> Result<String, DashboardError> {
        let references = self.object["references"].as_array();
        let mut named = references
            .into_iter()
            .flatten()
            .filter(|reference| reference["name"] == name && reference["type"] == kind);
        let found = named.next().and_then(|reference| reference["id"].as_str());
        found
            .map(str::to_owned)
            .ok_or_else(|| self.wrong(format!("it has no reference {name}")))
    }

    fn pattern(&self) -> Result<IndexPattern, DashboardError> {
        let formats = match self.object["attributes"]["fieldFormatMap"].as_str() {
            None => Map::new(),
            Some(text) => match self.inner("fieldFormatMap", text)? {
                Value::Object(formats) => formats,
                _ => return Err(self.wrong("fieldFormatMap is not an object")),
            },
        };
        Ok(IndexPattern {
            title: self.attribute("title")?.to_owned(),
            time_field: self.attribute("timeFieldName")?.to_owned(),
            formats,
        })
    }

    fn panel(&self) -> Result<Panel, DashboardError> {
        let state = self.inner("visState", self.attribute("visState")?)?;
        self.inner("uiStateJSON", self.attribute("uiStateJSON")?)?;
        let source = self.search_source()?;
        if source["query"]["language"] != "kuery" || source["filter"] != Value::Array(Vec::new()) {
            return Err(self.wrong("its search source has another language or filters"));
        }
        let spec = match state["params"]["spec"].as_str() {
            Some(text) => Some(self.inner("spec", text)?),
            None => None,
        };
        let pattern = match source["indexRefName"].as_str() {
            Some(name) => Some(self.reference(name, "index-pattern")?),
            None if spec.is_some() => None,
            None => return Err(self.wrong("it has no index pattern")),
        };
        Ok(Panel {
            id: self.id.to_owned(),
            title: self.attribute("title")?.to_owned(),
            description: self.attribute("description")?.to_owned(),
            pattern,
            query: source["query"]["query"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            state,
            spec,
        })
    }

    fn dashboard(&self) -> Result<Dashboard, DashboardError> {
        self.search_source()?;
        self.inner("optionsJSON", self.attribute("optionsJSON")?)?;
        let attributes = &self.object["attributes"];
        if attributes["timeRestore"] != true {
            return Err(self.wrong("its time range and refresh only apply with timeRestore"));
        }
        let panels = self.inner("panelsJSON", self.attribute("panelsJSON")?)?;
        let mut placed = Vec::new();
        for panel in panels.as_array().into_iter().flatten() {
            let name = panel["panelRefName"].as_str().unwrap_or_default();
            let at = |key: &str| {
                panel["gridData"][key]
                    .as_u64()
                    .ok_or_else(|| self.wrong(format!("{name} has no {key}")))
            };
            placed.push(Placed {
                panel: self.reference(name, "visualization")?,
                x: at("x")?,
                y: at("y")?,
                w: at("w")?,
                h: at("h")?,
            });
        }
        let refresh = &attributes["refreshInterval"];
        Ok(Dashboard {
            id: self.id.to_owned(),
            title: self.attribute("title")?.to_owned(),
            description: self.attribute("description")?.to_owned(),
            panels: placed,
            from: self.attribute("timeFrom")?.to_owned(),
            to: self.attribute("timeTo")?.to_owned(),
            refresh_ms: if refresh["pause"] == false {
                refresh["value"].as_u64().unwrap_or(0)
            } else {
                0
            },
        })
    }
}
