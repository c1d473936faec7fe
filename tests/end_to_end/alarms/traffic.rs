//! A stream of visitors that goes on until it is told otherwise.

use crate::support::{Bench, event};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Posts in a minute; each is of several users.
const POSTS: u32 = 10;

pub(super) struct Traffic {
    paused: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Traffic {
    pub(super) fn start(bench: &Bench, per_minute: u32, minute: Duration) -> Self {
        let (paused, ended) = (Arc::default(), Arc::default());
        let refused = Arc::new(AtomicU64::new(0));
        let (is_paused, has_ended): (Arc<AtomicBool>, Arc<AtomicBool>) =
            (Arc::clone(&paused), Arc::clone(&ended));
        let count = Arc::clone(&refused);
        let (http, url) = (
            bench.http.clone(),
            bench.stack.endpoints.collect_url.clone(),
        );
        let task = tokio::spawn(async move {
            let mut times = interval(minute / POSTS);
            // What a busy machine delays is made up for: the rate is what counts.
            times.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for n in 0_u64.. {
                times.tick().await;
                if has_ended.load(Ordering::Acquire) {
                    return;
                }
                if is_paused.load(Ordering::Acquire) {
                    continue;
                }
                let post = http
                    .post(&url)
                    .header("content-type", "application/json")
                    .body(body(n, per_minute / POSTS));
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let answer = post.send().await;
                    if !answer.is_ok_and(|answer| answer.status().is_success()) {
                        count.fetch_add(1, Ordering::AcqRel);
                    }
                });
            }
        });
        Self {
            paused,
            ended,
            refused,
            task,
        }
    }

    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
    }

    /// How many posts had no good answer.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    pub(super) async fn stop(self) {
        self.ended.store(true, Ordering::Release);
        drop(self.task.await);
    }
}

fn body(n: u64, events: u32) -> String {
    let of = |user: u32| {
        event(
            &format!("t-{n}-{user}"),
            json!({"user_id": format!("u{}", u64::from(user) + n % 7 * 100)}),
        )
    };
    let events: Vec<Value> = (0..events).map(of).collect();
    json!({ "events": events }).to_string()
}
