//! Items as DynamoDB has them, and the client that all tables use.

use crate::TableError;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// A client that waits so long for one attempt, and for all of them.
pub(crate) fn client(aws: &SdkConfig, attempt: Duration, operation: Duration) -> Client {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build();
    let config = aws_sdk_dynamodb::config::Builder::from(aws)
        .timeout_config(timeouts)
        .build();
    Client::from_conf(config)
}

/// An attribute of the type that `read` reads.
pub(crate) fn attribute<'i, T>(
    item: &'i Item,
    name: &'static str,
    read: impl Fn(&'i AttributeValue) -> Result<T, &'i AttributeValue>,
) -> Result<T, TableError> {
    item.get(name)
        .and_then(|value| read(value).ok())
        .ok_or(TableError::Attribute(name))
}

/// An attribute that is a number.
pub(crate) fn number<T: FromStr>(item: &Item, name: &'static str) -> Result<T, TableError> {
    let text = attribute(item, name, AttributeValue::as_n)?;
    text.parse().map_err(|_| TableError::Attribute(name))
}

/// A text as an attribute.
pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number as an attribute.
pub(crate) fn n(number: impl Display + Copy) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
