//! The bucket that keeps dead letters.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::Object;
use thiserror::Error;

/// Why the bucket could not be used. All of these may pass with time.
#[derive(Debug, Error)]
pub enum StoreError {
    /// An object was not stored.
    #[error("the dead letter was not stored: {}", DisplayErrorContext(.0))]
    Put(#[source] Box<SdkError<PutObjectError>>),
    /// An object could not be read.
    #[error("the dead letter cannot be read: {}", DisplayErrorContext(.0))]
    Get(#[source] Box<SdkError<GetObjectError>>),
    /// An object's body broke off.
    #[error("the dead letter broke off")]
    Body(#[source] aws_sdk_s3::primitives::ByteStreamError),
    /// The bucket could not be listed.
    #[error("the dead letters cannot be listed: {}", DisplayErrorContext(.0))]
    List(#[source] Box<SdkError<ListObjectsV2Error>>),
}

/// An object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its key.
    pub key: String,
    /// When it was last written, in milliseconds since the epoch.
    pub modified_ms: i64,
}

/// Some of the objects under a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the order of their keys.
    pub objects: Vec<StoredObject>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// Stores and finds dead letters. Encryption and expiry are the bucket's own.
#[derive(Clone, Debug)]
pub struct DeadLetterStore {
    s3: Client,
    bucket: String,
}

impl DeadLetterStore {
    /// The store in `bucket`.
    #[must_use]
    pub fn new(s3: Client, bucket: impl Into<String>) -> Self {
        Self {
            s3,
            bucket: bucket.into(),
        }
    }

    /// Stores an object; one of the same key is overwritten. When this
    /// returns, the object is durable.
    ///
    /// # Errors
    /// [`StoreError::Put`] after the SDK's own retries.
    pub async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), StoreError> {
        self.s3
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type("application/gzip")
            .body(ByteStream::from(body))
            .send()
            .await
            .map(drop)
            .map_err(|error| StoreError::Put(Box::new(error)))
    }

    /// An object's bytes.
    ///
    /// # Errors
    /// [`StoreError::Get`] or [`StoreError::Body`].
    pub async fn get(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        let answer = self
            .s3
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await;
        let object = answer.map_err(|error| StoreError::Get(Box::new(error)))?;
        let body = object.body.collect().await.map_err(StoreError::Body)?;
        Ok(body.to_vec())
    }

    /// All objects under a prefix, in the order of their keys.
    ///
    /// # Errors
    /// [`StoreError::List`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<StoredObject>, StoreError> {
        let mut objects = Vec::new();
        let mut pages = self
            .s3
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::List(Box::new(error)))?;
            objects.extend(
                page.contents
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(stored),
            );
        }
        Ok(objects)
    }

    /// The first objects under a prefix whose keys come after `after`, as many
    /// as one request gives (1,000).
    ///
    /// # Errors
    /// [`StoreError::List`].
    pub async fn list_after(&self, prefix: &str, after: &str) -> Result<Listing, StoreError> {
        let request = self
            .s3
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix);
        let request = match after {
            "" => request,
            after => request.start_after(after),
        };
        let page = request.send().await;
        let page = page.map_err(|error| StoreError::List(Box::new(error)))?;
        Ok(Listing {
            more: page.is_truncated().unwrap_or(false),
            objects: page
                .contents
                .unwrap_or_default()
                .into_iter()
                .filter_map(stored)
                .collect(),
        })
    }

    /// The folders right under a prefix that ends with a slash, at most 1,000
    /// of them; each ends with one too.
    ///
    /// # Errors
    /// [`StoreError::List`].
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let request = self
            .s3
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix);
        let page = request.delimiter("/").send().await;
        let page = page.map_err(|error| StoreError::List(Box::new(error)))?;
        let folders = page.common_prefixes.unwrap_or_default().into_iter();
        Ok(folders.filter_map(|folder| folder.prefix).collect())
    }
}

fn stored(object: Object) -> Option<StoredObject> {
    let modified = object.last_modified.and_then(|time| time.to_millis().ok());
    Some(StoredObject {
        key: object.key?,
        modified_ms: modified.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
    use wiremock::matchers::{method, path, query_param, query_param_is_missing};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    fn store(server: &MockServer) -> DeadLetterStore {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(server.uri())
            .force_path_style(true)
            .retry_config(RetryConfig::disabled())
            .build();
        DeadLetterStore::new(Client::from_conf(config), "bucket")
    }

    #[tokio::test]
    async fn puts_under_its_key() {
        let server = MockServer::start().await;
        let rule = Mock::given(method("PUT")).and(path("/bucket/rejected/a"));
        rule.respond_with(ResponseTemplate::new(200))
            .expect(1)
            .mount(&server)
            .await;
        store(&server).put("rejected/a", vec![1]).await.unwrap();
    }

    fn listing(keys: &[&str], more: Option<&str>) -> String {
        let contents: String = keys
            .iter()
            .map(|key| format!("<Contents><Key>{key}</Key><LastModified>1970-01-01T00:00:02.500Z</LastModified></Contents>"))
            .collect();
        let more = more.map_or_else(String::new, |token| {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
        });
        format!("<ListBucketResult>{contents}{more}</ListBucketResult>")
    }

    #[tokio::test]
    async fn lists_every_page() {
        let server = MockServer::start().await;
        let list = || Mock::given(method("GET")).and(query_param("prefix", "rejected/"));
        list()
            .and(query_param("continuation-token", "t"))
            .respond_with(
                ResponseTemplate::new(200).set_body_string(listing(&["rejected/b"], None)),
            )
            .mount(&server)
            .await;
        list()
            .and(query_param_is_missing("continuation-token"))
            .respond_with(
                ResponseTemplate::new(200).set_body_string(listing(&["rejected/a"], Some("t"))),
            )
            .mount(&server)
            .await;
        let stored = |key: &str| StoredObject {
            key: key.to_owned(),
            modified_ms: 2_500,
        };
        assert_eq!(
            store(&server).list("rejected/").await.unwrap(),
            [stored("rejected/a"), stored("rejected/b")]
        );
    }

    #[tokio::test]
    async fn lists_a_page_after_a_key_and_the_folders() {
        let server = MockServer::start().await;
        let list = || Mock::given(method("GET")).and(query_param("prefix", "aws/lambda/"));
        let page = listing(&["aws/lambda/b"], Some("t"));
        list()
            .and(query_param("start-after", "aws/lambda/a"))
            .respond_with(ResponseTemplate::new(200).set_body_string(page))
            .mount(&server)
            .await;
        let folders = "<ListBucketResult><CommonPrefixes><Prefix>aws/lambda/m/</Prefix></CommonPrefixes></ListBucketResult>";
        list()
            .and(query_param("delimiter", "/"))
            .respond_with(ResponseTemplate::new(200).set_body_string(folders))
            .mount(&server)
            .await;
        let store = store(&server);
        let listing = store
            .list_after("aws/lambda/", "aws/lambda/a")
            .await
            .unwrap();
        assert!(listing.more);
        assert_eq!(listing.objects[0].key, "aws/lambda/b");
        assert_eq!(
            store.folders("aws/lambda/").await.unwrap(),
            ["aws/lambda/m/"]
        );
    }

    #[tokio::test]
    async fn says_what_cannot_be_read() {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(403))
            .mount(&server)
            .await;
        let store = store(&server);
        assert!(matches!(store.get("k").await, Err(StoreError::Get(_))));
        assert!(matches!(store.list("k").await, Err(StoreError::List(_))));
    }

    #[tokio::test]
    async fn says_that_nothing_was_stored() {
        let server = MockServer::start().await;
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(503))
            .mount(&server)
            .await;
        assert!(matches!(
            store(&server).put("k", vec![]).await,
            Err(StoreError::Put(_))
        ));
    }
}
