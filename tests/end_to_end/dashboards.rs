//! Both dashboards over data whose every number is known: each panel's own
//! query gives these numbers, and the page draws them in a real browser.

mod checks;
mod truth;

use crate::support::{Bench, browser};
use anyhow::{Context as _, Result, ensure};
use checks::{
    Answers, check_activity, check_quality, check_sessions, check_visitors, close, count,
};
use freshet_dashboards::TimeRange;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use truth::{Known, MINUTE_MS};

/// Data begins so long ago, and goes on for so long: into the future, as far as
/// collect accepts it, so that the page's last minutes have data when they come.
const SINCE_MS: i64 = 14 * MINUTE_MS;
const SPAN_MS: i64 = 18 * MINUTE_MS;

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_the_numbers_of_known_data() -> Result<()> {
    let mut bench = Bench::start("dashboards").await?;
    let empty = draw(&bench, "empty")?;
    let notice = empty["notice"].as_str().unwrap_or_default();
    ensure!(
        notice.contains("No events") && notice.contains("./freshet send"),
        "{empty}"
    );
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let start_ms = now_ms - SINCE_MS;
    let events = truth::events(start_ms, SPAN_MS)?;
    let mut sessions = truth::sessions(&events);
    let refused = truth::refused(start_ms, SPAN_MS);
    let nobody = truth::nobody(&events);
    send(&bench, &events, &nobody).await?;
    set_times(&bench, &events, nobody.len()).await?;
    bots_are_found(&bench, nobody.len()).await?;
    check_session_documents(&bench, &sessions).await?;
    let truncated = truth::truncated(now_ms);
    let documents = truncated.iter().map(|session| session.document.clone());
    index(&bench, "sessions", documents.collect()).await?;
    sessions.extend(truncated);
    let documents = refused.iter().map(|refused| {
        json!({
            "@timestamp": truth::iso(refused.ms), "stage": refused.stage, "code": refused.code,
            "source": refused.source, "count": refused.count,
        })
    });
    index(&bench, "rejections", documents.collect()).await?;

    let mut answers = Answers::of(
        &bench,
        TimeRange {
            from_ms: start_ms,
            to_ms: start_ms + SPAN_MS,
        },
    )
    .await?;
    check_activity(&mut answers, &events)?;
    check_visitors(&mut answers, &events)?;
    check_sessions(&mut answers, &sessions)?;
    check_quality(&mut answers, &events, &refused)?;
    ensure!(
        answers.left.is_empty(),
        "no truth for {:?}",
        answers.left.keys()
    );

    let drawn = draw(&bench, "drawn")?;
    let card = |name: &str| &drawn["boards"]["dashboard"][format!("freshet-{name}")];
    // What the page shows is of the time range that it says.
    let shown = |name: &str| -> Result<(f64, Vec<&Known>)> {
        let card = card(name);
        let (from, to) = (card["from"].as_i64(), card["to"].as_i64());
        let (from, to) = (from.context("from")?, to.context("to")?);
        ensure!(to - from == 15 * MINUTE_MS, "{card}");
        let value = card["value"].as_str().context("a value")?.parse()?;
        let within = events
            .iter()
            .filter(|event| (from..=to).contains(&event.ms));
        Ok((value, within.collect()))
    };
    let (value, within) = shown("events")?;
    ensure!(
        value == within.len() as f64 && within.len() > 2_000,
        "{value} of {}",
        within.len()
    );
    let (value, within) = shown("conversions")?;
    let purchases = count(&within, |event| event.kind == "purchase");
    ensure!(
        value == purchases as f64 && purchases > 20,
        "{value} of {purchases}"
    );
    let (value, within) = shown("revenue")?;
    let revenue: f64 = within.iter().map(|event| event.amount).sum();
    ensure!(close(value, revenue), "{value} is not {revenue}");
    let (value, within) = shown("visitors")?;
    let visitors: BTreeSet<&str> = within.iter().map(|event| event.user.as_str()).collect();
    ensure!(
        value == visitors.len() as f64,
        "{value} is not {}",
        visitors.len()
    );
    ensure!(
        drawn["kept"] == true && drawn["notice"] == "" && drawn["status"] == "live",
        "{drawn}"
    );
    // Counted by aggregate, and seconds old; the rest is searched.
    let funnel = card("conversion-funnel");
    let caption = funnel["caption"].as_str().unwrap_or_default();
    let label = funnel["label"].as_str().unwrap_or_default();
    ensure!(
        funnel["live"] == true && caption.starts_with("5 minutes, ") && caption.contains(" old"),
        "{funnel}"
    );
    ensure!(
        label.contains("landing ") && label.contains("purchase "),
        "{funnel}"
    );
    for cards in drawn["boards"].as_object().context("boards")?.values() {
        for (id, card) in cards.as_object().context("cards")? {
            ensure!(card["state"] == "drawn", "{id}: {card}");
            // Text and shapes: a chart that drew nothing has one colour.
            let colors = card["colors"].as_u64();
            ensure!(
                colors.is_none_or(|colors| colors > 20),
                "{id} has {colors:?} colours"
            );
        }
    }
    bench.stack.opensearch.stop().await?;
    let failed = draw(&bench, "failed")?;
    let notice = failed["notice"].as_str().unwrap_or_default();
    ensure!(notice.contains("OpenSearch does not answer"), "{failed}");
    bench.stop().await
}

/// Posts what visitors did, and what nobody did in between.
async fn send(bench: &Bench, events: &[Known], nobody: &[Value]) -> Result<()> {
    let all: Vec<&Value> = events
        .iter()
        .map(|event| &event.json)
        .chain(nobody)
        .collect();
    for batch in all.chunks(500) {
        let answer = bench.post(json!({"events": batch}).to_string()).await?;
        ensure!(
            answer.statuses().iter().all(|status| *status == "ok"),
            "{answer:?}"
        );
    }
    bench.settled_at(all.len() as u64).await
}

/// All was sent at once; the documents get the times they would have had. So
/// many are nobody's: they are in the index, and nothing else may show it.
async fn set_times(bench: &Bench, events: &[Known], nobody: usize) -> Result<()> {
    let fields = [
        "event_id",
        "client_delay",
        "stream_delay",
        "session_duration",
        "synthetic",
        "bot",
    ];
    let all = json!({"size": 10_000, "_source": fields});
    let found = bench.opensearch("POST", "clickstream/_search", all).await?;
    let known: BTreeMap<&str, &Known> = events
        .iter()
        .map(|event| (event.id.as_str(), event))
        .collect();
    let mut lines = Vec::new();
    let (marked, hits): (Vec<&Value>, Vec<&Value>) = found["hits"]["hits"]
        .as_array()
        .context("hits")?
        .iter()
        .partition(|hit| {
            let source = &hit["_source"];
            source["synthetic"] == true || source["bot"]["is_bot"] == true
        });
    let of_none = |hit: &&&Value| hit["_source"].get("session_duration").is_none();
    ensure!(
        marked.len() == nobody && marked.iter().filter(of_none).count() == nobody,
        "{} of {nobody} of nobody: {:?}",
        marked.len(),
        marked.first()
    );
    for hit in hits {
        let id = hit["_source"]["event_id"].as_str().context("event_id")?;
        let event = known
            .get(id)
            .with_context(|| format!("{id} was never sent"))?;
        let written = fields[1..4]
            .iter()
            .all(|field| hit["_source"][field].is_number());
        ensure!(written, "{hit}");
        lines.push(json!({"update": {"_index": hit["_index"], "_id": hit["_id"]}}));
        lines.push(json!({"doc": event.times()}));
    }
    ensure!(lines.len() == events.len() * 2, "{} lines", lines.len());
    bulk(bench, &lines).await
}

/// The events of bots are there, by their reasons.
async fn bots_are_found(bench: &Bench, nobody: usize) -> Result<()> {
    let search = json!({
        "size": 0, "track_total_hits": true, "query": {"match": {"bot.is_bot": true}},
        "aggs": {"reasons": {"terms": {"field": "bot.reason"}}},
    });
    let found = bench
        .opensearch("POST", "clickstream/_search", search)
        .await?;
    let expected = truth::bots_of(nobody);
    let all: usize = expected.iter().map(|(_, events)| events).sum();
    ensure!(all > 0 && found["hits"]["total"]["value"] == all, "{found}");
    for (reason, events) in expected {
        let buckets = found["aggregations"]["reasons"]["buckets"].as_array();
        let mut buckets = buckets.context("buckets")?.iter();
        let bucket = buckets.find(|bucket| bucket["key"] == reason);
        ensure!(
            bucket.is_some_and(|bucket| bucket["doc_count"] == events),
            "{events} of {reason}: {found}"
        );
    }
    Ok(())
}

async fn bulk(bench: &Bench, lines: &[Value]) -> Result<()> {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let url = format!(
        "{}/_bulk?refresh=true",
        bench.stack.endpoints.opensearch_url
    );
    let request = bench
        .http
        .post(url)
        .header("content-type", "application/x-ndjson");
    let answer: Value = request.body(body).send().await?.json().await?;
    let failed = answer["items"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|item| {
            let outcome = item.as_object().and_then(|item| item.values().next());
            outcome.is_none_or(|outcome| {
                outcome["status"]
                    .as_u64()
                    .is_none_or(|status| status >= 300)
            })
        });
    ensure!(
        answer["items"].is_array() && failed.is_none(),
        "{failed:?} {}",
        answer["error"]
    );
    Ok(())
}

/// What enrich has written of the sessions is the truth, document by document.
async fn check_session_documents(bench: &Bench, sessions: &[truth::Session]) -> Result<()> {
    let path = "clickstream_sessions-*/_refresh";
    bench.opensearch("POST", path, Value::Null).await?;
    let all = json!({"size": 10_000, "query": {"match_all": {}}});
    let path = "clickstream_sessions-*/_search";
    let found = bench.opensearch("POST", path, all).await?;
    let hits = found["hits"]["hits"].as_array().context("hits")?;
    let found: BTreeMap<&str, &Value> = hits
        .iter()
        .filter_map(|hit| Some((hit["_source"]["session_id"].as_str()?, &hit["_source"])))
        .collect();
    ensure!(
        hits.len() == sessions.len(),
        "{} sessions of {}",
        hits.len(),
        sessions.len()
    );
    for session in sessions {
        let id = session.document["session_id"].as_str().unwrap_or_default();
        let mut written = (*found.get(id).with_context(|| format!("no session {id}"))?).clone();
        // Sums of the same amounts, in another order.
        let revenue = written["revenue"].as_f64().context("revenue")?;
        let expected = session.document["revenue"].as_f64().context("revenue")?;
        ensure!(close(revenue, expected), "{written}");
        written["revenue"] = session.document["revenue"].clone();
        ensure!(
            written == session.document,
            "{written}\n{}",
            session.document
        );
    }
    Ok(())
}

/// An index of these documents, by the template that provision has put.
async fn index(bench: &Bench, what: &str, documents: Vec<Value>) -> Result<()> {
    let name = format!("clickstream_{what}-known");
    let lines: Vec<Value> = documents
        .into_iter()
        .flat_map(|document| [json!({"create": {"_index": name}}), document])
        .collect();
    bulk(bench, &lines).await
}

/// Opens the page in a browser that expects this of it; pictures stay where `FRESHET_PICTURES` says.
fn draw(bench: &Bench, expected: &str) -> Result<Value> {
    let pictures = std::env::var_os("FRESHET_PICTURES")
        .map_or_else(|| bench.stack.paths.state().join("pictures"), PathBuf::from);
    std::fs::create_dir_all(&pictures)?;
    let (page, pictures) = (
        &bench.stack.endpoints.dashboard_url,
        pictures.display().to_string(),
    );
    browser("dashboard.mjs", &[page, &pictures, expected])
}
