//! What health says of a stack, in a few words.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// As much of `GET /v1/health` as is shown.
#[derive(Deserialize)]
struct Report {
    status: String,
    age_seconds: Option<i64>,
    #[serde(default)]
    checks: BTreeMap<String, Check>,
}

#[derive(Deserialize)]
struct Check {
    status: String,
}

/// A client that does not wait long.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(3));
    Ok(client.build()?)
}

/// The state that `url` tells, or why it does not.
pub(crate) async fn state(http: &reqwest::Client, url: &str) -> String {
    let Ok(answer) = http.get(url).send().await else {
        return "nobody answers".to_owned();
    };
    let status = answer.status();
    match answer.json::<Report>().await {
        Ok(report) if status.is_success() => report.in_words(),
        _ => format!("no report (status {})", status.as_u16()),
    }
}

impl Report {
    fn in_words(self) -> String {
        let age = self.age_seconds.map(|age| format!(", {age} s ago"));
        // Texts of a function are shown as they are nowhere else: letters only.
        let plain = |text: &str| {
            let letters = text
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || *c == '_');
            letters.take(40).collect::<String>()
        };
        let told = self.checks.iter().filter(|(_, check)| check.tells());
        let told: Vec<String> = told
            .map(|(name, check)| format!("{} {}", plain(name), plain(&check.status)))
            .collect();
        let told = if told.is_empty() {
            String::new()
        } else {
            format!(": {}", told.join(", "))
        };
        format!("{}{}{told}", plain(&self.status), age.unwrap_or_default())
    }
}

impl Check {
    /// Whether there is anything to say about it.
    fn tells(&self) -> bool {
        !matches!(self.status.as_str(), "ok" | "skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(json: &str) -> String {
        serde_json::from_str::<Report>(json).unwrap().in_words()
    }

    #[test]
    fn a_report_is_told_with_what_is_not_good() {
        let report = r#"{"status":"degraded","checked_at":"…","age_seconds":12,"checks":{
            "search":{"status":"ok"},"domain":{"status":"skipped"},"lag":{"status":"warning","message":"m"},
            "probe":{"status":"failed"}}}"#;
        assert_eq!(
            words(report),
            "degraded, 12 s ago: lag warning, probe failed"
        );
        let unknown = r#"{"status":"unknown","checked_at":null,"age_seconds":null,"checks":{}}"#;
        assert_eq!(words(unknown), "unknown");
    }

    #[test]
    fn no_text_of_a_report_can_draw_on_the_terminal() {
        let report = r#"{"status":"\u001b[2Jbad","checks":{"a\nb":{"status":"\u0007x"}}}"#;
        assert_eq!(words(report), "2Jbad: ab x");
    }
}
