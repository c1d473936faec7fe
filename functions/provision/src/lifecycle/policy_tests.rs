use super::*;
use jsonschema::Validator;

const SCHEMA: &str = include_str!("../../../../infra/opensearch/ism-policy.schema.json");

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn rendered(tiers: Tiers) -> Value {
    render(Kind::Events, "clickstream", tiers).unwrap()
}

/// `warm: index_priority 50, … -> cold after min_rollover_age 7d`, one line a state.
fn outline(policy: &Value) -> Vec<String> {
    let states = policy["policy"]["states"].as_array().unwrap().iter();
    let outline = states.map(|state| {
        let actions = state["actions"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|action| {
                let action = action.as_object().unwrap();
                action
                    .iter()
                    .filter(|(key, _)| !matches!(key.as_str(), "retry" | "timeout"))
                    .map(|(key, value)| format!("{key} {value}"))
            });
        let to = state["transitions"].as_array().unwrap().iter();
        let to = to.map(|to| format!("-> {} {}", to["state_name"], to["conditions"]));
        let parts: Vec<String> = actions.chain(to).collect();
        format!("{}: {}", state["name"], parts.join(", ")).replace('"', "")
    });
    outline.collect()
}

#[test]
fn every_variant_is_a_policy() {
    let schema = schema();
    for (word, tiers) in Tiers::WORDS {
        for kind in Kind::ALL {
            let policy = render(kind, "clickstream", tiers).unwrap();
            let errors: Vec<String> = schema.iter_errors(&policy).map(|e| e.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{word} {kind:?}");
            check_states(&policy["policy"]).unwrap();
        }
    }
}

#[test]
fn the_article_in_isms_words() {
    let expected = [
        "hot: index_priority {priority:100}, rollover {min_doc_count:10000000,min_index_age:1d,min_size:5gb}, -> warm {min_rollover_age:2d}",
        "warm: index_priority {priority:50}, replica_count {number_of_replicas:0}, force_merge {max_num_segments:1}, -> cold {min_rollover_age:7d}",
        "cold: index_priority {priority:0}, -> delete {min_rollover_age:30d}",
        "delete: delete {}",
    ];
    assert_eq!(outline(&rendered(Tiers::None)), expected);
    let template = &rendered(Tiers::None)["policy"]["ism_template"];
    assert_eq!(
        *template,
        json!([{"index_patterns": ["clickstream-*"], "priority": 100}])
    );
}

#[test]
fn cold_nodes_only_where_there_are_some() {
    let with = outline(&rendered(Tiers::BoxType));
    assert_eq!(
        with[2],
        "cold: allocation {include:{box_type:cold}}, index_priority {priority:0}, -> delete {min_rollover_age:30d}"
    );
    for tiers in [Tiers::None, Tiers::UltraWarm, Tiers::UltraWarmCold] {
        assert!(!rendered(tiers).to_string().contains("box_type"));
    }
}

#[test]
fn what_ultrawarm_cannot_do_is_done_before_the_migration() {
    let warm = "warm: index_priority {priority:50}, replica_count {number_of_replicas:0}, force_merge {max_num_segments:1}, warm_migration {}";
    let ultrawarm = outline(&rendered(Tiers::UltraWarm));
    assert_eq!(ultrawarm.len(), 3);
    assert_eq!(
        ultrawarm[1],
        format!("{warm}, -> delete {{min_index_age:31d}}")
    );
    assert_eq!(ultrawarm[2], "delete: delete {}");
    let cold = outline(&rendered(Tiers::UltraWarmCold));
    assert_eq!(cold[1], format!("{warm}, -> cold {{min_index_age:8d}}"));
    assert_eq!(
        cold[2],
        "cold: cold_migration {timestamp_field:@timestamp}, -> delete {min_index_age:31d}"
    );
    assert_eq!(cold[3], "delete: cold_delete {}");
}

#[test]
fn every_action_is_tried_again() {
    for (_, tiers) in Tiers::WORDS {
        let policy = rendered(tiers);
        let states = policy["policy"]["states"].as_array().unwrap();
        for action in states
            .iter()
            .flat_map(|state| state["actions"].as_array().unwrap())
        {
            let moves = action
                .get("warm_migration")
                .or(action.get("cold_migration"));
            let (count, delay) = if moves.is_some() {
                (5, "1h")
            } else {
                (3, "1m")
            };
            let expected = json!({"count": count, "backoff": "exponential", "delay": delay});
            assert_eq!(action["retry"], expected, "{action}");
        }
    }
}

#[test]
fn daily_indices_are_deleted_after_thirty_days() {
    for (kind, pattern) in [
        (Kind::Sessions, "clickstream_sessions-*"),
        (Kind::Rejections, "clickstream_rejections-*"),
    ] {
        let policy = render(kind, "clickstream", Tiers::UltraWarmCold).unwrap();
        assert_eq!(
            outline(&policy),
            ["kept: -> delete {min_index_age:30d}", "delete: delete {}"]
        );
        assert_eq!(
            policy["policy"]["ism_template"][0]["index_patterns"],
            json!([pattern])
        );
    }
}

#[test]
fn the_schema_refuses_mistakes() {
    type Mistake = (&'static str, &'static str, fn(&mut Value));
    let mistakes: [Mistake; 12] = [
        (
            "a misspelt action",
            "/policy/states/1/actions/2",
            |action| {
                *action = json!({"forcemerge": {"max_num_segments": 1}});
            },
        ),
        (
            "a parameter of another product",
            "/policy/states/0/actions/1/rollover",
            |rollover| {
                *rollover = json!({"max_size": "5gb"});
            },
        ),
        (
            "a unit that does not exist",
            "/policy/states/0/actions/1/rollover/min_size",
            |size| *size = json!("5GiB"),
        ),
        (
            "a size without a unit",
            "/policy/states/0/actions/1/rollover/min_size",
            |size| *size = json!(5),
        ),
        (
            "an age in weeks",
            "/policy/states/0/transitions/0/conditions",
            |conditions| {
                *conditions = json!({"min_rollover_age": "1w"});
            },
        ),
        (
            "a condition that does not exist",
            "/policy/states/0/transitions/0/conditions",
            |conditions| {
                *conditions = json!({"min_age": "2d"});
            },
        ),
        (
            "two conditions at once",
            "/policy/states/0/transitions/0/conditions",
            |conditions| {
                *conditions = json!({"min_rollover_age": "2d", "min_index_age": "3d"});
            },
        ),
        (
            "two actions in one",
            "/policy/states/3/actions/0",
            |action| action["read_only"] = json!({}),
        ),
        ("no action at all", "/policy/states/3/actions/0", |action| {
            *action = json!({"retry": {"count": 3}});
        }),
        (
            "another backoff",
            "/policy/states/3/actions/0/retry",
            |retry| retry["backoff"] = json!("fibonacci"),
        ),
        ("a state without transitions", "/policy/states/3", |state| {
            *state = json!({"name": "delete", "actions": []});
        }),
        ("an unknown field of the policy", "/policy", |policy| {
            policy["priority"] = json!(1);
        }),
    ];
    let schema = schema();
    for (what, pointer, make) in mistakes {
        let mut policy = rendered(Tiers::None);
        make(policy.pointer_mut(pointer).unwrap());
        assert!(!schema.is_valid(&policy), "{what} is not found");
    }
}

#[test]
fn a_transition_to_nowhere_is_found() {
    let mut policy = rendered(Tiers::None);
    policy["policy"]["states"][0]["transitions"][0]["state_name"] = json!("wram");
    assert!(schema().is_valid(&policy), "which a schema cannot say");
    let error = check_states(&policy["policy"]).unwrap_err();
    assert_eq!(error, "there is no state \"wram\"");
}

#[test]
fn what_a_server_gives_back_is_what_was_put() {
    let stored: Value =
        serde_json::from_str(include_str!("../../tests/ism/get_policy.json")).unwrap();
    let retry = json!({"count": 3, "backoff": "exponential", "delay": "1m"});
    let put = json!({
        "description": "hot warm cold delete", "default_state": "hot",
        "states": [
            {"name": "hot", "actions": [
                {"retry": retry, "rollover": {"min_size": "50gb", "min_doc_count": 3, "min_index_age": "1d"}},
                {"retry": retry, "index_priority": {"priority": 100}}],
             "transitions": [{"state_name": "warm", "conditions": {"min_index_age": "1s"}}]},
            {"name": "warm", "actions": [
                {"retry": retry, "index_priority": {"priority": 50}},
                {"retry": retry, "replica_count": {"number_of_replicas": 0}},
                {"retry": retry, "force_merge": {"max_num_segments": 1}}],
             "transitions": [{"state_name": "cold", "conditions": {"min_index_age": "2s"}}]},
            {"name": "cold", "actions": [{"retry": retry, "allocation": {"require": {"box_type": "hot"}}}],
             "transitions": [{"state_name": "delete", "conditions": {"min_index_age": "3s"}}]},
            {"name": "delete", "actions": [{"retry": retry, "delete": {}}], "transitions": []},
        ],
        "ism_template": [{"index_patterns": ["log-*"], "priority": 100}],
    });
    assert_eq!(canonical(&stored["policy"]), canonical(&put));
    // And the schema knows what a real server has taken.
    let as_put = json!({"policy": canonical(&stored["policy"])});
    assert!(schema().is_valid(&as_put), "{as_put}");
    let mut other = put.clone();
    other["states"][3]["actions"][0] = json!({"retry": retry, "cold_delete": {}});
    assert_ne!(canonical(&stored["policy"]), canonical(&other));
}
