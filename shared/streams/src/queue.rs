//! The queue that holds events while the stream refuses them.

use crate::backoff::full_jitter;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use freshet_deadletters::queue_message::QueueMessage;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A message is filled up to this; a larger event travels alone.
const TARGET_MESSAGE_BYTES: usize = 200_000;
/// What SQS takes in one request, and so in one message.
const MAX_REQUEST_BYTES: usize = 1_048_576;
/// The most messages one request may hold.
const MAX_MESSAGES: usize = 10;
/// How often a refused message is tried again.
const RETRIES: u32 = 2;
const BACKOFF: Duration = Duration::from_millis(50);

/// The dead-letter queue of the collector.
#[derive(Clone, Debug)]
pub struct DeadLetterQueue {
    client: Client,
    url: String,
}

/// A message, and which events it holds.
struct Outgoing {
    body: String,
    events: Vec<usize>,
}

impl DeadLetterQueue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }

    /// Sends events and says of each whether the queue holds it. `reason` is
    /// what the stream said. The answer comes by `deadline`.
    pub async fn send(&self, events: &[&RawValue], reason: &str, deadline: Instant) -> Vec<bool> {
        let mut held = vec![false; events.len()];
        let mut pending = messages(events, reason);
        for attempt in 0..=RETRIES {
            let mut refused = Vec::new();
            while !pending.is_empty() {
                let rest = pending.split_off(one_request(&pending));
                let sent = self.send_once(&pending, deadline).await;
                for (message, ok) in std::mem::replace(&mut pending, rest).into_iter().zip(sent) {
                    if ok {
                        message.events.iter().for_each(|event| held[*event] = true);
                    } else {
                        refused.push(message);
                    }
                }
            }
            pending = refused;
            let next = Instant::now() + full_jitter(attempt, BACKOFF);
            if pending.is_empty() || next >= deadline {
                break;
            }
            if attempt < RETRIES {
                sleep_until(next).await;
            }
        }
        held
    }

    async fn send_once(&self, messages: &[Outgoing], deadline: Instant) -> Vec<bool> {
        let entries = messages.iter().enumerate().filter_map(|(index, message)| {
            SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(&message.body)
                .build()
                .ok() // both required fields are set
        });
        let request = self
            .client
            .send_message_batch()
            .queue_url(&self.url)
            .set_entries(Some(entries.collect()));
        let mut sent = vec![false; messages.len()];
        match timeout_at(deadline, request.send()).await {
            Ok(Ok(answer)) => {
                for success in answer.successful() {
                    if let Some(slot) = success
                        .id()
                        .parse()
                        .ok()
                        .and_then(|index: usize| sent.get_mut(index))
                    {
                        *slot = true;
                    }
                }
            }
            Ok(Err(error)) => {
                let code = error.code().unwrap_or("unreachable");
                tracing::error!(
                    code,
                    messages = messages.len(),
                    "the dead-letter queue refused a request"
                );
            }
            Err(_) => tracing::error!(
                messages = messages.len(),
                "the dead-letter queue did not answer in time"
            ),
        }
        sent
    }
}

/// Fills messages with events, in order.
fn messages(events: &[&RawValue], reason: &str) -> Vec<Outgoing> {
    let mut messages = Vec::new();
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut close = |group: &mut Vec<usize>| {
        if !group.is_empty() {
            let held = group.iter().map(|index| events[*index]).collect();
            let body = QueueMessage::new(reason, held).to_body();
            messages.push(Outgoing {
                body,
                events: std::mem::take(group),
            });
        }
    };
    for (index, event) in events.iter().enumerate() {
        if bytes + event.get().len() > TARGET_MESSAGE_BYTES {
            close(&mut group);
            bytes = 0;
        }
        group.push(index);
        bytes += event.get().len() + 1;
    }
    close(&mut group);
    messages
}

/// How many of the first messages fit into one request; at least one.
fn one_request(messages: &[Outgoing]) -> usize {
    let mut bytes = 0;
    let fitting = messages.iter().take(MAX_MESSAGES).take_while(|message| {
        bytes += message.body.len();
        bytes <= MAX_REQUEST_BYTES
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
    use wiremock::matchers::method;
    use wiremock::{Mock, MockServer, Request, ResponseTemplate};

    fn event(bytes: usize) -> Box<RawValue> {
        serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap()
    }

    #[test]
    fn messages_are_filled_and_large_events_travel_alone() {
        let (small, large) = (event(90_000), event(900_000));
        let events: Vec<&RawValue> = vec![&small, &small, &small, &large, &small];
        let messages = messages(&events, "throttled");
        let held: Vec<_> = messages.iter().map(|m| m.events.clone()).collect();
        assert_eq!(held, [vec![0, 1], vec![2], vec![3], vec![4]]);
        assert!(messages.iter().all(|m| m.body.len() <= MAX_REQUEST_BYTES));
        assert_eq!(one_request(&messages), 2);
        assert_eq!(
            one_request(&messages[2..]),
            1 + usize::from(messages[2].body.len() + messages[3].body.len() <= MAX_REQUEST_BYTES)
        );
    }

    #[tokio::test]
    async fn says_of_each_event_whether_it_is_held() {
        let server = MockServer::start().await;
        // The second message of every request fails.
        let respond = |request: &Request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let ids: Vec<_> = body["Entries"]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["Id"].clone())
                .collect();
            let success =
                |id| serde_json::json!({"Id": id, "MessageId": "m", "MD5OfMessageBody": "0"});
            let failure =
                |id| serde_json::json!({"Id": id, "SenderFault": false, "Code": "InternalError"});
            let (good, bad): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| id != "1");
            ResponseTemplate::new(200).set_body_json(serde_json::json!({
                "Successful": good.into_iter().map(success).collect::<Vec<_>>(),
                "Failed": bad.into_iter().map(failure).collect::<Vec<_>>(),
            }))
        };
        Mock::given(method("POST"))
            .respond_with(respond)
            .mount(&server)
            .await;
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(server.uri())
            .build();
        let queue =
            DeadLetterQueue::new(Client::from_conf(config), format!("{}/queue", server.uri()));
        let large = event(150_000);
        let held = queue
            .send(
                &[&large, &large, &large],
                "r",
                Instant::now() + Duration::from_secs(9),
            )
            .await;
        assert_eq!(held, [true, true, true]); // the failed one was sent again, alone
        server.reset().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(500))
            .mount(&server)
            .await;
        let held = queue
            .send(&[&large], "r", Instant::now() + Duration::from_secs(1))
            .await;
        assert_eq!(held, [false]);
    }
}
