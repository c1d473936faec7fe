//! The policies of Index State Management: rendered, checked, compared.

use crate::cluster::ProvisionError;
use crate::settings::Tiers;
use crate::templates::Kind;
use serde_json::{Value, json};

/// The lifecycle of events, as a cluster without storage tiers gets it.
pub const EVENTS: &str = include_str!("../../../../infra/opensearch/events-policy.json");
/// The lifecycle of daily indices.
pub const DAILY: &str = include_str!("../../../../infra/opensearch/daily-policy.json");

/// The policy of a kind of indices, for a cluster with these storage tiers.
///
/// # Errors
/// [`ProvisionError::Broken`] if the file that this was built with is.
pub fn render(kind: Kind, alias: &str, tiers: Tiers) -> Result<Value, ProvisionError> {
    let broken = || ProvisionError::Broken("a lifecycle policy");
    let file = if kind == Kind::Events { EVENTS } else { DAILY };
    let mut policy: Value = serde_json::from_str(file).map_err(|_| broken())?;
    let patterns = policy.pointer_mut("/policy/ism_template/0/index_patterns");
    *patterns.ok_or_else(broken)? = json!([kind.pattern(alias)]);
    if kind == Kind::Events {
        with_tiers(&mut policy, tiers).ok_or_else(broken)?;
    }
    check_states(&policy["policy"]).map_err(|_| broken())?;
    Ok(policy)
}

/// As AWS recommends for actions that move data: a day in all, five tries.
fn migration(action: &str, parameters: &Value) -> Value {
    let retry = json!({"count": 5, "backoff": "exponential", "delay": "1h"});
    json!({"timeout": "24h", "retry": retry, action: parameters})
}

fn with_tiers(policy: &mut Value, tiers: Tiers) -> Option<()> {
    let states = policy.pointer_mut("/policy/states")?.as_array_mut()?;
    match tiers {
        Tiers::None => {}
        Tiers::BoxType => {
            let retry = json!({"count": 3, "backoff": "exponential", "delay": "1m"});
            let allocation =
                json!({"retry": retry, "allocation": {"include": {"box_type": "cold"}}});
            actions(states, "cold")?.insert(0, allocation);
        }
        Tiers::UltraWarm => {
            actions(states, "warm")?.push(migration("warm_migration", &json!({})));
            states.retain(|state| state["name"] != "cold");
            leave(states, "warm", "delete", "31d")?;
        }
        Tiers::UltraWarmCold => {
            actions(states, "warm")?.push(migration("warm_migration", &json!({})));
            leave(states, "warm", "cold", "8d")?;
            let to_cold = migration("cold_migration", &json!({"timestamp_field": "@timestamp"}));
            *actions(states, "cold")? = vec![to_cold];
            leave(states, "cold", "delete", "31d")?;
            let delete = actions(states, "delete")?.first_mut()?.as_object_mut()?;
            let parameters = delete.remove("delete")?;
            delete.insert("cold_delete".to_owned(), parameters);
        }
    }
    Some(())
}

fn state<'s>(states: &'s mut [Value], name: &str) -> Option<&'s mut Value> {
    states.iter_mut().find(|state| state["name"] == name)
}

fn actions<'s>(states: &'s mut [Value], name: &str) -> Option<&'s mut Vec<Value>> {
    state(states, name)?.get_mut("actions")?.as_array_mut()
}

/// Once migrated, an index's age is all that ISM knows for certain: of an index
/// that left the cluster it has no rollover time, and a condition on that fails
/// for good. A rollover comes within a day, hence a day more.
fn leave(states: &mut [Value], name: &str, to: &str, index_age: &str) -> Option<()> {
    let transition = json!({"state_name": to, "conditions": {"min_index_age": index_age}});
    state(states, name)?["transitions"] = json!([transition]);
    Some(())
}

/// Every state that is gone to exists: what a schema cannot say.
///
/// # Errors
/// Names the state that does not.
pub fn check_states(policy: &Value) -> Result<(), String> {
    let states = policy["states"].as_array().map_or(&[][..], Vec::as_slice);
    let is_state = |name: &Value| states.iter().any(|state| state["name"] == *name);
    let transitions = states.iter().flat_map(|state| {
        let transitions = state["transitions"].as_array();
        transitions.into_iter().flatten()
    });
    let targets = transitions.map(|transition| &transition["state_name"]);
    for target in targets.chain([&policy["default_state"]]) {
        if !is_state(target) {
            return Err(format!("there is no state {target}"));
        }
    }
    Ok(())
}

/// A policy without what the server adds: the same for what was put and what
/// is read back.
#[must_use]
pub fn canonical(policy: &Value) -> Value {
    const ADDED: [&str; 3] = ["policy_id", "last_updated_time", "schema_version"];
    let is_noise = |key: &str, value: &Value| match key {
        _ if value.is_null() || ADDED.contains(&key) => true,
        "copy_alias" | "wait_for" => *value == json!(false),
        "include" | "exclude" | "require" => *value == json!({}),
        _ => false,
    };
    match policy {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, value)| !is_noise(key, value))
            .map(|(key, value)| (key.clone(), canonical(value)))
            .collect(),
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
