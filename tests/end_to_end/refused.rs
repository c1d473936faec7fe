//! The stream refuses some records of a request, then all, then the queue
//! does too: the answer is right for each event, and nothing is lost.

use crate::support::{Bench, event};
use anyhow::{Result, ensure};
use bytes::Bytes;
use freshet_local::fault::{Seen, Verdict};
use serde_json::{Value, json};

/// Three events of three users.
fn body(round: &str) -> String {
    let of = |user: &str| {
        event(
            &format!("{round}-{user}"),
            json!({"user_id": user, "metadata": {"note": "é\u{ffff}"}}),
        )
    };
    json!([of("ann"), of("bob"), of("cy")]).to_string()
}

/// Refuses the records of one key: they are not handed on.
fn refuse_key(seen: &Seen<'_>, refused: &'static str) -> Verdict {
    if seen.operation != "PutRecords" {
        return Verdict::Forward;
    }
    let Ok(mut request) = serde_json::from_slice::<Value>(seen.body) else {
        return Verdict::Forward;
    };
    let keys: Vec<String> = request["Records"]
        .as_array()
        .map(|records| {
            records
                .iter()
                .filter_map(|r| r["PartitionKey"].as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    let throttled = || json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"});
    if keys.iter().all(|key| key == refused) {
        let records: Vec<Value> = keys.iter().map(|_| throttled()).collect();
        return Verdict::Answer(
            200,
            json!({"FailedRecordCount": records.len(), "Records": records})
                .to_string()
                .into(),
        );
    }
    if let Some(records) = request["Records"].as_array_mut() {
        records.retain(|record| record["PartitionKey"] != refused);
    }
    Verdict::Change(
        request.to_string().into(),
        Box::new(move |answer| {
            let mut answer: Value = serde_json::from_slice(&answer).ok()?;
            let mut held = answer["Records"].as_array()?.clone().into_iter();
            let all = keys.iter().map(|key| {
                if key == refused {
                    Some(throttled())
                } else {
                    held.next()
                }
            });
            answer["Records"] = all.collect::<Option<Vec<Value>>>()?.into();
            Some(answer.to_string().into())
        }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_refuses_is_held_by_the_queue_or_told_to_the_client() -> Result<()> {
    let bench = Bench::start("refused").await?;

    bench.aws.set(|seen| refuse_key(seen, "bob"));
    let some = bench.post(body("some")).await?;
    ensure!(
        some.status == 200 && some.statuses() == ["ok", "ok", "ok"],
        "held by the queue is ok: {some:?}"
    );
    bench.settled_at(2).await?;
    let queued = bench.queued().await?;
    ensure!(queued.len() == 1, "{queued:?}");
    let message: Value = serde_json::from_str(&queued[0])?;
    ensure!(
        message["code"] == "stream_refused"
            && message["message"] == "ProvisionedThroughputExceededException"
    );
    ensure!(
        message["events"][0]["event_id"] == "some-bob"
            && message["events"][0]["metadata"]["note"] == "é\u{ffff}"
    );

    // The whole call fails, with an error of the service.
    let down = |operations: &'static [&'static str]| {
        move |seen: &Seen<'_>| {
            if operations.contains(&seen.operation) {
                Verdict::Answer(500, Bytes::from_static(b"{}"))
            } else {
                Verdict::Forward
            }
        }
    };
    bench.aws.set(down(&["PutRecords"]));
    let all = bench.post(body("all")).await?;
    ensure!(
        all.status == 200 && all.statuses() == ["ok", "ok", "ok"],
        "{all:?}"
    );

    bench.aws.set(down(&["PutRecords", "SendMessageBatch"]));
    let none = bench
        .post(
            json!([
                event("lost", json!({})),
                event("bad", json!({"user_id": 7}))
            ])
            .to_string(),
        )
        .await?;
    ensure!(
        none.status == 503 && none.statuses() == ["retry", "drop"],
        "{none:?}"
    );
    ensure!(none.body["results"][0]["code"] == "stream_unavailable");

    bench.aws.clear();
    let again = bench
        .post(json!([event("lost", json!({}))]).to_string())
        .await?;
    ensure!(
        again.status == 200 && again.statuses() == ["ok"],
        "{again:?}"
    );
    bench.settled_at(3).await?;
    let held: usize = bench
        .queued()
        .await?
        .iter()
        .filter_map(|text| {
            serde_json::from_str::<Value>(text).ok()?["events"]
                .as_array()
                .map(Vec::len)
        })
        .sum();
    ensure!(held == 4, "{held} events in the queue");
    bench.stop().await
}
