//! The cluster, as the control plane sees it: it answers when the cluster
//! itself does not.

use super::{CheckError, Found};
use aws_sdk_opensearch::Client;
use aws_sdk_opensearch::types::{DomainHealth, DomainState};
use serde::Serialize;

const SERVICE: &str = "the control plane of OpenSearch";

/// What the control plane says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Domain {
    /// Like the cluster's colour: 0 green, 1 yellow, 2 red, 3 not available.
    pub health: u8,
    /// `Active`, `Processing` or `NotAvailable`.
    pub state: String,
}

/// Asks for the health of the domain `name`.
pub async fn check(client: &Client, name: &str) -> Found<Domain> {
    let answer = client.describe_domain_health().domain_name(name).send();
    let answer = answer
        .await
        .map_err(|error| CheckError::of(SERVICE, &error));
    let domain = answer.map(|answer| Domain {
        health: number(answer.cluster_health(), answer.domain_state()),
        state: answer
            .domain_state()
            .map_or_else(|| "unknown".to_owned(), |state| state.as_str().to_owned()),
    });
    domain.into()
}

/// The cluster's colour; 3 if there is none to speak of. `Processing` is how a
/// change of the domain looks, and nothing bad.
fn number(health: Option<&DomainHealth>, state: Option<&DomainState>) -> u8 {
    if state == Some(&DomainState::NotAvailable) {
        return 3;
    }
    match health {
        Some(DomainHealth::Green) => 0,
        Some(DomainHealth::Yellow) => 1,
        Some(DomainHealth::Red) => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::aws;
    use serde_json::json;
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    #[tokio::test]
    async fn state_and_colour_become_a_number() {
        for (state, health, number) in [
            ("Active", "Green", 0),
            ("Processing", "Yellow", 1),
            ("Active", "Red", 2),
            ("Active", "NotAvailable", 3),
            ("NotAvailable", "Green", 3),
        ] {
            let server = MockServer::builder().start().await;
            let body = json!({"DomainState": state, "ClusterHealth": health});
            let answer = ResponseTemplate::new(200).set_body_json(body);
            Mock::given(path("/2021-01-01/opensearch/domain/d/health"))
                .respond_with(answer)
                .mount(&server)
                .await;
            let found = check(&Client::new(&aws(&server)), "d").await;
            let domain = Domain {
                health: number,
                state: state.to_owned(),
            };
            assert_eq!(found, Ok(domain).into());
        }
    }

    #[tokio::test]
    async fn a_domain_that_is_not_there_is_told_by_its_code() {
        let server = MockServer::builder().start().await;
        let answer = ResponseTemplate::new(409)
            .insert_header("x-amzn-errortype", "ResourceNotFoundException")
            .set_body_json(json!({"message": "no d"}));
        Mock::given(path("/2021-01-01/opensearch/domain/d/health"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let failure = check(&Client::new(&aws(&server)), "d").await.failure;
        let refused = CheckError::Refused {
            service: SERVICE,
            code: "ResourceNotFoundException".into(),
        };
        assert_eq!(failure, Some(refused));
    }
}
