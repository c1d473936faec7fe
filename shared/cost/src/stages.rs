//! What `samconfig.toml` says of a stage.

use serde::Deserialize;
use thiserror::Error;
use toml::Value;

/// Why a stage's parameters are not known.
#[derive(Debug, Error)]
pub enum StageError {
    /// It is not TOML.
    #[error("samconfig.toml cannot be read: {0}")]
    Unreadable(String),
    /// There is no such stage.
    #[error("samconfig.toml has no stage {stage}; it has {known}")]
    Unknown {
        /// Which.
        stage: String,
        /// Those it has.
        known: String,
    },
    /// An override is not `Name=value`.
    #[error("{0:?} is not Name=value")]
    Override(String),
}

impl StageError {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "samconfig_unreadable",
            Self::Unknown { .. } => "stage_unknown",
            Self::Override(_) => "override_malformed",
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Overrides {
    /// `["A=b", "C=d"]`.
    List(Vec<String>),
    /// `"A=b C=d"`.
    Line(String),
}

/// The `parameter_overrides` of `stage`.
///
/// # Errors
/// [`StageError`] if the file is not TOML, has no such stage, or an override
/// is not `Name=value`.
pub fn parameters_of_stage(
    samconfig: &str,
    stage: &str,
) -> Result<Vec<(String, String)>, StageError> {
    let file: toml::Table = samconfig
        .parse()
        .map_err(|error: toml::de::Error| StageError::Unreadable(error.to_string()))?;
    let of_deploy = |value: &Value| value.get("deploy")?.get("parameters").cloned();
    let Some(parameters) = file.get(stage).and_then(of_deploy) else {
        let stages = file.iter().filter(|(_, value)| of_deploy(value).is_some());
        let known: Vec<&str> = stages.map(|(name, _)| name.as_str()).collect();
        return Err(StageError::Unknown {
            stage: stage.to_owned(),
            known: known.join(", "),
        });
    };
    let Some(overrides) = parameters.get("parameter_overrides") else {
        return Ok(Vec::new());
    };
    let overrides: Overrides = overrides
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| StageError::Unreadable(error.to_string()))?;
    let pairs = match overrides {
        Overrides::List(list) => list,
        Overrides::Line(line) => line.split_whitespace().map(str::to_owned).collect(),
    };
    let pair = |pair: &String| {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| StageError::Override(pair.clone()))?;
        Ok((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        version = 0.1
        [default.build.parameters]
        cached = true
        [dev.deploy.parameters]
        parameter_overrides = ["StreamMode=ON_DEMAND", "WriteKeysSecretArn=arn:a=b"]
        [prod.deploy.parameters]
        parameter_overrides = "ShardCount=12 LogLevel=\"warn\""
        [bare.deploy.parameters]
        stack_name = "x"
        [bad.deploy.parameters]
        parameter_overrides = ["ShardCount"]
    "#;

    fn pairs(stage: &str) -> Vec<(String, String)> {
        parameters_of_stage(FILE, stage).unwrap()
    }

    #[test]
    fn overrides_are_a_list_or_a_line() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("dev"),
            [
                pair("StreamMode", "ON_DEMAND"),
                pair("WriteKeysSecretArn", "arn:a=b")
            ]
        );
        assert_eq!(
            pairs("prod"),
            [pair("ShardCount", "12"), pair("LogLevel", "warn")]
        );
        assert_eq!(pairs("bare"), []);
    }

    #[test]
    fn a_wrong_stage_names_the_right_ones() {
        let error = parameters_of_stage(FILE, "production").unwrap_err();
        assert_eq!(error.code(), "stage_unknown");
        assert!(error.to_string().contains("prod"), "{error}");
        assert!(!error.to_string().contains("default"), "{error}");
        let error = parameters_of_stage(FILE, "bad").unwrap_err();
        assert_eq!(error.code(), "override_malformed");
        let error = parameters_of_stage("[", "dev").unwrap_err();
        assert_eq!(error.code(), "samconfig_unreadable");
    }
}
