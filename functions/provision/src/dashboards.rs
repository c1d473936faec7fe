//! The saved objects of OpenSearch Dashboards.

use crate::cluster::{Cluster, ProvisionError, is_absent, said};
use crate::outcome::Outcome;
use crate::settings::OnMissing;
use bytes::Bytes;
use freshet_search::SearchError;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The step's name.
pub(crate) const STEP: &str = "dashboards";

const WHAT: &str = "OpenSearch Dashboards";
/// Between the parts of the import; no saved object holds it.
const BOUNDARY: &str = "freshet-saved-objects-7c1f0d";
/// Dashboards refuses requests without the first; the second names the tenant
/// that everyone sees.
const HEADERS: [(&str, &str); 2] = [("osd-xsrf", "true"), ("securitytenant", "global")];

/// Imports the saved objects if any of them is missing or differs.
///
/// # Errors
/// If Dashboards is absent or refuses, and that is to be a failure.
pub(crate) async fn provision(
    dashboards: Option<Cluster<'_>>,
    saved_objects: &str,
    on_missing: OnMissing,
) -> Result<Outcome, ProvisionError> {
    let Some(dashboards) = dashboards else {
        return Ok(Outcome::Skipped("no address was given".to_owned()));
    };
    let objects = parse(saved_objects)?;
    match import_if_different(&dashboards, saved_objects, &objects).await {
        Ok(outcome) => Ok(outcome),
        Err(reason) if on_missing == OnMissing::Skip => Ok(Outcome::Skipped(reason)),
        Err(reason) => Err(ProvisionError::Missing { what: WHAT, reason }),
    }
}

/// The objects of an export: one a line, without the export's own summary.
fn parse(saved_objects: &str) -> Result<Vec<Value>, ProvisionError> {
    let lines = saved_objects.lines().filter(|line| !line.trim().is_empty());
    let objects: Result<Vec<Value>, _> = lines.map(serde_json::from_str).collect();
    let mut objects = objects.map_err(|_| ProvisionError::Broken("the file of saved objects"))?;
    objects.retain(|object| object.get("exportedCount").is_none());
    Ok(objects)
}

async fn import_if_different(
    dashboards: &Cluster<'_>,
    saved_objects: &str,
    objects: &[Value],
) -> Result<Outcome, String> {
    let ids: Vec<Value> = objects
        .iter()
        .map(|object| json!({"type": object["type"], "id": object["id"]}))
        .collect();
    let body = Bytes::from(json!(ids).to_string());
    let answer = dashboards.ask("api/saved_objects/_bulk_get", &HEADERS, body);
    let answer = answer.await.map_err(|error| told(&error))?;
    let live = answer["saved_objects"]
        .as_array()
        .ok_or("its answer is not a list of saved objects")?;
    let find = |object: &Value| {
        live.iter()
            .find(|live| live["type"] == object["type"] && live["id"] == object["id"])
            .filter(|live| live.get("error").is_none())
    };
    let missing = objects.iter().filter(|object| find(object).is_none());
    let missing = missing.count();
    let differ = objects
        .iter()
        .filter(|object| find(object).is_some_and(|live| !is_same(live, object)))
        .count();
    if missing + differ == 0 {
        return Ok(Outcome::Unchanged);
    }
    if !dashboards.is_dry_run() {
        import(dashboards, saved_objects).await?;
    }
    Ok(if missing == objects.len() {
        Outcome::Created
    } else {
        Outcome::Updated(format!("{missing} were missing, {differ} differed"))
    })
}

async fn import(dashboards: &Cluster<'_>, saved_objects: &str) -> Result<(), String> {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let [xsrf, tenant] = HEADERS;
    let headers = [xsrf, tenant, ("content-type", content_type.as_str())];
    let form = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"freshet.ndjson\"\r\n\
         Content-Type: application/ndjson\r\n\r\n{saved_objects}\r\n--{BOUNDARY}--\r\n"
    );
    let path = "api/saved_objects/_import?overwrite=true";
    let answer = dashboards.ask(path, &headers, Bytes::from(form)).await;
    let answer = answer.map_err(|error| told(&error))?;
    // An import that failed answers 200 as well.
    if answer["success"] == json!(true) {
        return Ok(());
    }
    let errors = answer["errors"].as_array().into_iter().flatten();
    let errors: Vec<String> = errors
        .map(|error| {
            let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
            format!(
                "{} {}: {}",
                text(&error["type"]),
                text(&error["id"]),
                text(&error["error"]["type"])
            )
        })
        .collect();
    Err(format!("the import failed: {}", errors.join(", ")))
}

fn told(error: &SearchError) -> String {
    match error {
        SearchError::Unreachable(_) => "it does not answer".to_owned(),
        error if is_absent(error) => format!("there is none at this address: {}", said(error)),
        error => said(error).replacen("OpenSearch", WHAT, 1),
    }
}

/// Whether Dashboards has all that an object says. It adds to what it was
/// given - versions, caches, fields of later releases - so what is ours is
/// looked for in what it has.
fn is_same(live: &Value, ours: &Value) -> bool {
    let references = |object: &Value| -> BTreeSet<String> {
        let references = object["references"].as_array().into_iter().flatten();
        references
            .map(|r| json!([r["name"], r["type"], r["id"]]).to_string())
            .collect()
    };
    contains(&live["attributes"], &ours["attributes"]) && references(live) == references(ours)
}

fn contains(live: &Value, ours: &Value) -> bool {
    match (live, ours) {
        (Value::Object(live), Value::Object(ours)) => ours
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|live| contains(live, value))),
        (Value::Array(live), Value::Array(ours)) => {
            live.len() == ours.len()
                && live
                    .iter()
                    .zip(ours)
                    .all(|(live, ours)| contains(live, ours))
        }
        (Value::String(live), Value::String(ours)) => {
            live == ours
                || match (inner(live), inner(ours)) {
                    (Some(live), Some(ours)) => contains(&live, &ours),
                    _ => false,
                }
        }
        (live, ours) => live == ours,
    }
}

/// JSON that an attribute holds as text: `visState`, `panelsJSON` and the like.
fn inner(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    (value.is_object() || value.is_array()).then_some(value)
}

#[cfg(test)]
#[path = "dashboards_tests.rs"]
mod tests;
