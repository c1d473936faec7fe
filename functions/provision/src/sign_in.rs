//! How provision proves who it is: signed once its role is known to the
//! cluster, by the master user's password before.

use crate::provision::Target;
use anyhow::{Context as _, Result};
use aws_config::SdkConfig;
use freshet_search::{Auth, Method, Search, SearchError};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A secret `{"username","password"}`.
#[derive(Deserialize)]
struct MasterUser {
    username: String,
    password: String,
}

/// Where Dashboards is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DashboardsUrl {
    /// Beside the cluster, as on managed domains: `<cluster>/_dashboards`.
    Beside,
    /// There.
    At(String),
    /// Nowhere: it is not provisioned.
    None,
}

impl DashboardsUrl {
    /// Empty, `none` or an address.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        match text {
            None | Some("") => Self::Beside,
            Some("none") => Self::None,
            Some(url) => Self::At(url.to_owned()),
        }
    }
}

/// The cluster at `url` and its Dashboards, signed in the same way.
///
/// # Errors
/// If an address or the credentials cannot be used.
pub fn connect(url: &str, dashboards: &DashboardsUrl, auth: Auth) -> Result<Target, SearchError> {
    let dashboards = match dashboards {
        DashboardsUrl::None => None,
        DashboardsUrl::At(url) => Some(url.clone()),
        DashboardsUrl::Beside => Some(format!("{}/_dashboards", url.trim_end_matches('/'))),
    };
    let dashboards = dashboards
        .map(|url| Search::connect(&url, auth.clone()))
        .transpose()?;
    Ok(Target {
        search: Search::connect(url, auth)?,
        dashboards,
    })
}

/// Signs, if the cluster says that our role may do everything; else takes the
/// master user's password from its secret.
///
/// # Errors
/// If the secret cannot be read.
pub(crate) async fn choose(url: &str, aws: SdkConfig, master_secret_id: &str) -> Result<Auth> {
    let signed = Auth::SigV4(Box::new(aws.clone()));
    let search = Search::connect(url, signed.clone())?;
    if may_do_everything(&search).await {
        tracing::info!("signing in with the function's own role");
        return Ok(signed);
    }
    tracing::info!("signing in as the master user");
    let secrets = aws_sdk_secretsmanager::Client::new(&aws);
    let request = secrets.get_secret_value().secret_id(master_secret_id);
    let secret = request.send().await.context("the master user's secret")?;
    let user: MasterUser = serde_json::from_str(secret.secret_string().unwrap_or_default())
        .map_err(|_| {
            anyhow::anyhow!("the master user's secret is not {{\"username\",\"password\"}}")
        })?;
    Ok(Auth::Basic {
        user: user.username,
        password: user.password,
    })
}

/// Any doubt is a no: the password is there for it.
async fn may_do_everything(search: &Search) -> bool {
    let path = "_plugins/_security/authinfo";
    let Ok(answer) = search.send(Method::Get, path, None, TIMEOUT).await else {
        return false;
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let roles = answer["roles"].as_array();
    roles.is_some_and(|roles| roles.iter().any(|role| role == "all_access"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wiremock::matchers::{header_regex, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    async fn aws(url: &str) -> SdkConfig {
        let credentials = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let keys = aws_sdk_secretsmanager::config::Credentials::new(
            credentials[0].1,
            credentials[1].1,
            None,
            None,
            "test",
        );
        aws_config::from_env()
            .region("eu-central-1")
            .endpoint_url(url)
            .credentials_provider(keys)
            .load()
            .await
    }

    async fn chosen(authinfo: ResponseTemplate) -> Auth {
        let server = MockServer::start().await;
        Mock::given(path("/_plugins/_security/authinfo"))
            .and(header_regex(
                "authorization",
                "^AWS4-HMAC-SHA256 .*/es/aws4_request",
            ))
            .respond_with(authinfo)
            .expect(1)
            .mount(&server)
            .await;
        let secret = json!({"SecretString": json!({"username": "u", "password": "p"}).to_string()});
        Mock::given(path("/"))
            .respond_with(ResponseTemplate::new(200).set_body_json(secret))
            .mount(&server)
            .await;
        choose(&server.uri(), aws(&server.uri()).await, "m")
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn signs_once_its_role_is_known() {
        let known = json!({"user_name": "arn:aws:iam::1:role/provision", "roles": ["own_index", "all_access"]});
        let auth = chosen(ResponseTemplate::new(200).set_body_json(known)).await;
        assert!(matches!(auth, Auth::SigV4(_)));
    }

    #[tokio::test]
    async fn takes_the_password_until_then() {
        let unknown = json!({"user_name": "arn:aws:iam::1:role/provision", "roles": ["own_index"]});
        for answer in [
            ResponseTemplate::new(200).set_body_json(unknown),
            ResponseTemplate::new(403),
        ] {
            let auth = chosen(answer).await;
            assert!(
                matches!(auth, Auth::Basic { user, password } if user == "u" && password == "p")
            );
        }
    }

    #[test]
    fn dashboards_are_beside_the_cluster_unless_told() {
        assert_eq!(DashboardsUrl::parse(None), DashboardsUrl::Beside);
        assert_eq!(DashboardsUrl::parse(Some("none")), DashboardsUrl::None);
        assert_eq!(
            DashboardsUrl::parse(Some("http://d")),
            DashboardsUrl::At("http://d".into())
        );
        let target = |url: &DashboardsUrl| connect("http://127.0.0.1:9", url, Auth::None).unwrap();
        assert!(target(&DashboardsUrl::None).dashboards.is_none());
        assert!(target(&DashboardsUrl::Beside).dashboards.is_some());
    }
}
