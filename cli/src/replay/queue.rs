//! The collector's dead-letter queue, read so that nothing is lost: a message
//! is only deleted once the stream has its events.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{DisplayErrorContext, SdkError};
use aws_sdk_sqs::operation::receive_message::ReceiveMessageError;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName,
};
use thiserror::Error;

/// How long a received message is out of sight of others. If the replay dies,
/// it comes back by itself after this time.
const VISIBILITY_S: i32 = 300;
/// A long poll asks all of the queue's servers; a short one may miss messages.
const WAIT_S: i32 = 1;
/// The most messages of one request.
const MAX_MESSAGES: i32 = 10;

/// The queue could not be read.
#[derive(Debug, Error)]
#[error("the dead-letter queue cannot be read: {}", DisplayErrorContext(.0))]
pub struct QueueError(#[source] Box<SdkError<ReceiveMessageError>>);

/// A queue of dead letters.
#[derive(Clone, Debug)]
pub struct ReplayQueue {
    client: Client,
    url: String,
}

/// A received message: ours until its visibility timeout ends.
pub(super) struct Received {
    pub(super) id: String,
    pub(super) receipt: String,
    /// When it was sent, in milliseconds since the epoch.
    pub(super) sent_ms: i64,
    pub(super) body: String,
}

impl ReplayQueue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// Up to ten messages, which nobody else sees for five minutes.
    ///
    /// # Errors
    /// [`QueueError`] after the SDK's own retries.
    pub(super) async fn receive(&self) -> Result<Vec<Received>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MAX_MESSAGES)
            .visibility_timeout(VISIBILITY_S)
            .wait_time_seconds(WAIT_S)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(|error| QueueError(Box::new(error)))?;
        Ok(answer
            .messages
            .unwrap_or_default()
            .into_iter()
            .filter_map(received)
            .collect())
    }

    /// Deletes a message; false if the queue did not do so. Then it comes back
    /// and is replayed again, which changes nothing.
    pub(super) async fn delete(&self, receipt: &str) -> bool {
        let request = self.client.delete_message().queue_url(&self.url);
        request.receipt_handle(receipt).send().await.is_ok()
    }

    /// Makes messages visible again at once. What fails becomes visible by
    /// itself when its timeout ends.
    pub(super) async fn release(&self, receipts: &[String]) {
        for receipts in receipts.chunks(MAX_MESSAGES as usize) {
            let entries = receipts.iter().enumerate().filter_map(|(index, receipt)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(receipt)
                    .visibility_timeout(0)
                    .build()
                    .ok() // all required fields are set
            });
            let request = self
                .client
                .change_message_visibility_batch()
                .queue_url(&self.url);
            let released = request.set_entries(Some(entries.collect())).send().await;
            if let Err(error) = released {
                tracing::warn!(
                    error = %DisplayErrorContext(error),
                    messages = receipts.len(),
                    "messages stay out of sight until their timeout ends"
                );
            }
        }
    }
}

fn received(message: Message) -> Option<Received> {
    let sent = message
        .attributes
        .as_ref()
        .and_then(|attributes| attributes.get(&MessageSystemAttributeName::SentTimestamp))
        .and_then(|ms| ms.parse().ok());
    Some(Received {
        id: message.message_id?,
        receipt: message.receipt_handle?,
        // A message of unknown age is not too old for anyone.
        sent_ms: sent.unwrap_or(i64::MAX),
        body: message.body.unwrap_or_default(),
    })
}
