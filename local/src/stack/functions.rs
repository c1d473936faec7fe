//! Which function a property names: the function itself, or an alias or a
//! version of it, however deep a reference to it stands.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The logical id of the one function that `value` refers to.
pub(super) fn function_of(resources: &Map<String, Value>, value: &Value) -> Option<String> {
    let mut found = BTreeSet::new();
    for name in names(value) {
        match kind(resources, name) {
            Some("AWS::Lambda::Function") => drop(found.insert(name)),
            Some("AWS::Lambda::Alias" | "AWS::Lambda::Version") => {
                // It names its function, which is no alias.
                let function = names(&resources[name]["Properties"]["FunctionName"]);
                let is_function =
                    |name: &&str| kind(resources, name) == Some("AWS::Lambda::Function");
                found.extend(function.into_iter().filter(is_function));
            }
            _ => {}
        }
    }
    let mut found = found.into_iter();
    found
        .next()
        .filter(|_| found.next().is_none())
        .map(str::to_owned)
}

fn kind<'a>(resources: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    resources.get(name)?["Type"].as_str()
}

/// Every text in `value` that may be a logical id: as it is, up to a dot, or in
/// the braces of `Fn::Sub`.
fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => {
            let variables = text.split("${").skip(1);
            let variables = variables.filter_map(|variable| variable.split(['}', '.']).next());
            text.split('.').take(1).chain(variables).collect()
        }
        Value::Array(list) => list.iter().flat_map(names).collect(),
        Value::Object(object) => object.values().flat_map(names).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_function_is_found_by_itself_and_through_its_alias() {
        let resources = json!({
            "F": {"Type": "AWS::Lambda::Function"},
            "G": {"Type": "AWS::Lambda::Function"},
            "FVersion1": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}},
            "FAliaslive": {"Type": "AWS::Lambda::Alias", "Properties": {
                "FunctionName": {"Ref": "F"}, "Name": "live",
                "FunctionVersion": {"Fn::GetAtt": ["FVersion1", "Version"]},
            }},
            "Loop": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "Loop"}}},
            "Topic": {"Type": "AWS::SNS::Topic"},
        });
        let of = |value: Value| function_of(resources.as_object().unwrap(), &value);
        let uri = "arn:${AWS::Partition}:lambda:path/functions/${FAliaslive}/invocations";
        for value in [
            json!("F"),
            json!({"Ref": "F"}),
            json!({"Fn::GetAtt": ["F", "Arn"]}),
            json!({"Fn::GetAtt": "F.Arn"}),
            json!({"Ref": "FAliaslive"}),
            json!({"Ref": "FVersion1"}),
            json!({"Fn::Sub": uri}),
            json!({"Fn::Sub": "${F.Arn}:live"}),
            json!({"Fn::Join": ["", ["arn:", {"Ref": "FAliaslive"}, "/invocations"]]}),
        ] {
            assert_eq!(of(value.clone()).as_deref(), Some("F"), "{value}");
        }
        for value in [
            json!({"Ref": "Topic"}),
            json!({"Ref": "Loop"}),
            json!({"Ref": "Nobody"}),
            json!(null),
            json!([{"Ref": "F"}, {"Ref": "G"}]),
        ] {
            assert_eq!(of(value.clone()), None, "{value}");
        }
    }
}
