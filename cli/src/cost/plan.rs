//! What is about to be deployed: a template, and the parameters of a stage.

use anyhow::{Context as _, Result};
use freshet_cost::{Deployment, Template, parameters_of_stage};
use std::path::Path;

/// What is about to be deployed.
pub(super) struct Plan {
    /// Its stage, and what was set.
    pub(super) name: String,
    /// What it is made of.
    pub(super) deployment: Deployment,
}

impl Plan {
    /// Reads the template, `samconfig.toml` beside it if a stage is named, and
    /// nested templates. What is set wins over the stage.
    pub(super) fn read(
        path: &Path,
        stage: Option<&str>,
        parameters: &[(String, String)],
    ) -> Result<Self> {
        let template = read_template(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut overrides = Vec::new();
        if let Some(stage) = stage {
            let path = folder.join("samconfig.toml");
            let file =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            overrides.extend(parameters_of_stage(&file, stage)?);
        }
        overrides.extend_from_slice(parameters);
        let values = template.values(
            overrides
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )?;
        let nested = |location: &str| read_template(&folder.join(location)).ok();
        let deployment = Deployment::of(&template, &values, &nested)?;
        let mut name = stage.unwrap_or("the template's defaults").to_owned();
        for (parameter, value) in parameters {
            name.push_str(&format!(", {parameter}={value}"));
        }
        Ok(Self { name, deployment })
    }
}

fn read_template(path: &Path) -> Result<Template> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Template::parse(&text).with_context(|| path.display().to_string())
}

/// `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
