//! The real servers that a local stack stands on: OpenSearch, and MiniStack
//! for the AWS services; and DynamoDB Local, for tests. Each listens on a loopback port of its own.

pub mod dynamodb;
pub mod ministack;
pub mod opensearch;

pub use dynamodb::DynamoDb;
pub use ministack::MiniStack;
pub use opensearch::OpenSearch;

use anyhow::{Context as _, Result};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// A server asked to end gets this long.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// `port` if it is free, and some free port for 0.
///
/// # Errors
/// If it is taken; `flag` is the one that chooses another.
pub fn free_port(port: u16, flag: &str) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
        format!("port {port} is taken: {flag} chooses another, {flag} 0 any that is free")
    })?;
    Ok(listener.local_addr()?.port())
}

/// Whether `url` answers with success within two seconds.
async fn answers(client: &reqwest::Client, url: &str) -> bool {
    let answer = client.get(url).timeout(Duration::from_secs(2)).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_the_flag() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = free_port(port, "--aws-port").unwrap_err().to_string();
        assert!(error.contains("--aws-port 0"), "{error}");
        assert_ne!(free_port(0, "--aws-port").unwrap(), 0);
    }
}
