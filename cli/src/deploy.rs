//! Deploys the real template to the emulator, as `sam package` and `sam
//! deploy` would to AWS.

use crate::paths::short_hash;
use anyhow::{Context as _, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};
use aws_sdk_s3::primitives::ByteStream;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// The stack's name, locally.
pub const STACK_NAME: &str = "freshet";

/// Where packages are put.
const BUCKET: &str = "freshet-artifacts";

/// The functions: logical id and binary.
pub const FUNCTIONS: [(&str, &str); 6] = [
    ("CollectFunction", "collect"),
    ("EnrichFunction", "enrich"),
    ("AggregateFunction", "aggregate"),
    ("QueryFunction", "query"),
    ("HealthFunction", "health"),
    ("ProvisionFunction", "provision"),
];

/// The function that the emulator itself invokes, for the custom resource.
const INVOKED_BY_EMULATOR: (&str, &str) = ("ProvisionFunction", "provision");

/// The built bootstraps by logical id.
pub type Bootstraps = BTreeMap<String, PathBuf>;

/// Uploads what the template refers to and creates the stack; waits until it
/// is complete.
///
/// # Errors
/// With the reason of the first resource that failed.
pub async fn deploy(
    aws: &SdkConfig,
    endpoint: &str,
    checkout: &Path,
    bootstraps: &Bootstraps,
    parameters: &[(&str, String)],
) -> Result<()> {
    let s3 = freshet_local::cloud::s3(aws);
    s3.create_bucket()
        .bucket(BUCKET)
        .send()
        .await
        .context("the bucket for packages")?;
    let (function, binary) = INVOKED_BY_EMULATOR;
    let bootstrap = bootstraps
        .get(function)
        .context("provision was not built")?;
    let provision = zipped(&stripped(bootstrap).await?)?;
    // Named by what it holds, as `sam package` does: new code is a new version.
    let code = format!("{binary}-{}.zip", short_hash(&provision));
    // The others are run by the local cloud: the emulator only has to know them.
    for (key, body) in [
        (code.as_str(), provision),
        ("placeholder.zip", zipped(b"#!/bin/sh\n")?),
    ] {
        s3.put_object()
            .bucket(BUCKET)
            .key(key)
            .body(ByteStream::from(body))
            .send()
            .await
            .with_context(|| key.to_owned())?;
    }
    let template = tokio::fs::read_to_string(checkout.join("template.yaml"))
        .await
        .context("template.yaml")?;
    for nested in nested(&template) {
        let file = format!("infra/{nested}");
        let body = tokio::fs::read(checkout.join(&file)).await.context(file)?;
        s3.put_object()
            .bucket(BUCKET)
            .key(nested)
            .body(ByteStream::from(body))
            .send()
            .await
            .with_context(|| nested.to_owned())?;
    }
    let template = packaged(&template, endpoint, function, &code)?;
    let cloudformation = aws_sdk_cloudformation::Client::new(aws);
    let parameters = parameters
        .iter()
        .map(|(key, value)| {
            Parameter::builder()
                .parameter_key(*key)
                .parameter_value(value)
                .build()
        })
        .collect();
    cloudformation
        .create_stack()
        .stack_name(STACK_NAME)
        .template_body(template)
        .set_parameters(Some(parameters))
        .capabilities(Capability::CapabilityIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .send()
        .await
        .context("the stack cannot be created")?;
    loop {
        let described = cloudformation
            .describe_stacks()
            .stack_name(STACK_NAME)
            .send()
            .await?;
        match described
            .stacks()
            .first()
            .and_then(|stack| stack.stack_status())
        {
            Some(StackStatus::CreateComplete) => return Ok(()),
            Some(StackStatus::CreateInProgress) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            other => bail!(
                "the stack ended as {other:?}: {}",
                failure(&cloudformation).await
            ),
        }
    }
}

async fn failure(cloudformation: &aws_sdk_cloudformation::Client) -> String {
    let events = cloudformation
        .describe_stack_events()
        .stack_name(STACK_NAME)
        .send()
        .await;
    let events = events
        .map(|answer| answer.stack_events.unwrap_or_default())
        .unwrap_or_default();
    let failed = events.iter().filter(|event| {
        event
            .resource_status()
            .is_some_and(|s| s.as_str().ends_with("FAILED"))
    });
    let reasons: Vec<String> = failed
        .map(|event| {
            let id = event.logical_resource_id().unwrap_or_default();
            format!(
                "{id}: {}",
                event.resource_status_reason().unwrap_or("no reason given")
            )
        })
        .collect();
    reasons.join("; ")
}

/// The files in `infra` that the template nests, each once.
fn nested(template: &str) -> BTreeSet<&str> {
    let lines = template.lines().map(str::trim_start);
    lines
        .filter_map(|line| line.strip_prefix("Location: infra/"))
        .collect()
}

/// The template with local paths replaced by what was uploaded, as `aws
/// cloudformation package` does. The text is changed, not parsed and written
/// anew: short forms of intrinsics and comments stay as they are.
fn packaged(template: &str, endpoint: &str, invoked: &str, code: &str) -> Result<String> {
    let placeholder = format!("s3://{BUCKET}/placeholder.zip");
    let mut template = template
        .replace("CodeUri: .\n", &format!("CodeUri: {placeholder}\n"))
        .replace("ContentUri: .\n", &format!("ContentUri: {placeholder}\n"))
        .replace(
            "Location: infra/",
            &format!("Location: {endpoint}/{BUCKET}/"),
        );
    let properties = "    Properties:\n";
    let function = template
        .find(&format!("\n  {invoked}:\n"))
        .with_context(|| format!("no {invoked}"))?;
    let at = template[function..]
        .find(properties)
        .with_context(|| format!("{invoked} has no properties"))?;
    template.insert_str(
        function + at + properties.len(),
        &format!("      CodeUri: s3://{BUCKET}/{code}\n"),
    );
    Ok(template)
}

/// A bootstrap without its debug information: a tenth of the size to upload.
async fn stripped(bootstrap: &Path) -> Result<Vec<u8>> {
    let target = bootstrap.with_extension("stripped");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&target)
        .arg(bootstrap)
        .status()
        .await;
    let small = if status.is_ok_and(|status| status.success()) {
        &target
    } else {
        bootstrap
    };
    tokio::fs::read(small)
        .await
        .with_context(|| small.display().to_string())
}

/// A zip with one executable file `bootstrap`.
fn zipped(bootstrap: &[u8]) -> Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .unix_permissions(0o755);
    zip.start_file("bootstrap", options)?;
    zip.write_all(bootstrap)?;
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_paths_are_replaced() {
        let template = include_str!("../../template.yaml");
        let packaged =
            packaged(template, "http://e", "ProvisionFunction", "provision.zip").unwrap();
        assert_eq!(
            packaged
                .matches("s3://freshet-artifacts/provision.zip")
                .count(),
            1
        );
        assert_eq!(packaged.matches("placeholder.zip").count(), 2);
        assert!(!packaged.contains("Uri: .\n") && !packaged.contains("Location: infra"));
        assert_eq!(packaged.lines().count(), template.lines().count() + 1);
    }

    #[test]
    fn nested_templates_are_found_once_each() {
        let template = "  A:\n      Location: infra/a.yaml\n  B:\n      Location: infra/b.yaml\n  C:\n      Location: infra/a.yaml\n";
        assert_eq!(
            nested(template).into_iter().collect::<Vec<_>>(),
            ["a.yaml", "b.yaml"]
        );
        assert!(nested(include_str!("../../template.yaml")).contains("search.yaml"));
    }

    #[test]
    fn reading_needs_iam_unless_it_is_said_otherwise() {
        let template = include_str!("../../template.yaml");
        let block = |start: &str| {
            let from = template.find(start).unwrap();
            let rest = &template[from..];
            rest[..rest.find("\n\n").unwrap_or(rest.len())].to_owned()
        };
        assert!(block("\n  QueryAuthorization:\n").contains("Default: AWS_IAM\n"));
        let keys = |path: &str| {
            let routes = template.match_indices(path).map(|(at, _)| &template[..at]);
            let keys =
                routes.filter(|before| before.ends_with("GET ") || before.ends_with("HEAD "));
            keys.count()
        };
        assert_eq!((keys("/v1/aggregations"), keys("/v1/health")), (4, 2));
        let by_iam = "AuthorizationType: !If [QueryByIam, AWS_IAM, NONE]";
        assert_eq!(template.matches(by_iam).count(), 6);
        // The others are collect's, which has keys of its own.
        let open = template.split("AuthorizationType: NONE").skip(1);
        let targets: Vec<&str> = open
            .map(|rest| {
                rest.split("Target: ")
                    .nth(1)
                    .unwrap()
                    .lines()
                    .next()
                    .unwrap()
            })
            .collect();
        assert_eq!(targets, ["!Sub \"integrations/${CollectIntegration}\""; 8]);
    }
}
