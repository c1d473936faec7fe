//! The alarms of a stack and of the stacks nested in it.

use super::{Deployment, of_type};
use anyhow::Context as _;
use aws_sdk_cloudformation::Client;
use serde_json::{Map, Value, json};

/// Every `AWS::CloudWatch::Alarm` and `CompositeAlarm` of the stack `name` and
/// of those nested in it, with everything in it resolved: the type and the
/// properties, among them always `AlarmName`. The keys are paths of logical ids.
///
/// # Errors
/// If a stack cannot be read, or an alarm has what cannot be resolved.
pub async fn alarms(client: &Client, name: &str) -> anyhow::Result<Map<String, Value>> {
    let mut found = Map::new();
    let mut stacks = vec![(String::new(), name.to_owned())];
    while let Some((path, name)) = stacks.pop() {
        let deployment = Deployment::read(client, &name).await;
        let deployment = deployment.with_context(|| format!("the stack {name}"))?;
        let physical = &deployment.resolver.physical;
        for (id, _) in of_type(&deployment.resources, "AWS::CloudFormation::Stack") {
            let nested = physical
                .get(id)
                .with_context(|| format!("{id} is not there"))?;
            stacks.push((format!("{path}{id}/"), nested.clone()));
        }
        for (id, mut resource) in of(&deployment)? {
            if resource["Properties"].get("AlarmName").is_none() {
                let name = physical.get(&id);
                let name = name.with_context(|| format!("{id} is not there"))?;
                resource["Properties"]["AlarmName"] = name.as_str().into();
            }
            found.insert(format!("{path}{id}"), resource);
        }
    }
    Ok(found)
}

fn of(deployment: &Deployment) -> anyhow::Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for kind in ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"] {
        for (id, properties) in of_type(&deployment.resources, kind) {
            let resolved = deployment.resolver.resolve(properties);
            let resolved = resolved.with_context(|| format!("the alarm {id}"))?;
            found.push((id.clone(), json!({"Type": kind, "Properties": resolved})));
        }
    }
    Ok(found)
}
