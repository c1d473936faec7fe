//! Both dashboards over data whose every number is known: each panel's own
//! query gives these numbers, and the page draws them in a real browser.

mod truth;

use crate::support::Bench;
use anyhow::{Context as _, Result, ensure};
use freshet_dashboards::{SAVED_OBJECTS, SavedObjects, TimeRange};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use truth::{Known, MINUTE_MS, Refused, Session};

/// Data begins so long ago, and goes on for so long: into the future, as far as
/// collect accepts it, so that the page's last minutes have data when they come.
const SINCE_MS: i64 = 14 * MINUTE_MS;
const SPAN_MS: i64 = 18 * MINUTE_MS;
/// A percentile is a t-digest's: its rank is that close.
const RANK_ERROR: f64 = 0.01;

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_the_numbers_of_known_data() -> Result<()> {
    let bench = Bench::start("dashboards").await?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let start_ms = now_ms - SINCE_MS;
    let events = truth::events(start_ms, SPAN_MS)?;
    let sessions = truth::sessions(&events);
    let refused = truth::refused(start_ms, SPAN_MS);
    send(&bench, &events).await?;
    set_times(&bench, &events).await?;
    let documents = sessions
        .iter()
        .map(|session| session.document.clone())
        .collect();
    index(&bench, "sessions", documents).await?;
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

    let drawn = draw(&bench)?;
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
        drawn["kept"] == true && drawn["notice"] == true && drawn["status"] == "live",
        "{drawn}"
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
    bench.stop().await
}

async fn send(bench: &Bench, events: &[Known]) -> Result<()> {
    for batch in events.chunks(500) {
        let batch: Vec<&Value> = batch.iter().map(|event| &event.json).collect();
        let answer = bench.post(json!({"events": batch}).to_string()).await?;
        ensure!(
            answer.statuses().iter().all(|status| *status == "ok"),
            "{answer:?}"
        );
    }
    bench.settled_at(events.len() as u64).await
}

/// All was sent at once; the documents get the times they would have had.
async fn set_times(bench: &Bench, events: &[Known]) -> Result<()> {
    let all = json!({"size": 10_000, "_source": ["event_id"]});
    let found = bench.opensearch("POST", "clickstream/_search", all).await?;
    let known: BTreeMap<&str, &Known> = events
        .iter()
        .map(|event| (event.id.as_str(), event))
        .collect();
    let mut lines = Vec::new();
    for hit in found["hits"]["hits"].as_array().context("hits")? {
        let id = hit["_source"]["event_id"].as_str().context("event_id")?;
        let event = known
            .get(id)
            .with_context(|| format!("{id} was never sent"))?;
        lines.push(json!({"update": {"_index": hit["_index"], "_id": hit["_id"]}}));
        lines.push(json!({"doc": event.times()}));
    }
    ensure!(lines.len() == events.len() * 2, "{} lines", lines.len());
    bulk(bench, &lines).await
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

/// An index of exactly these documents, by the checked-in template, instead of
/// what enrich has written there: its clock is not that of the data.
async fn index(bench: &Bench, what: &str, documents: Vec<Value>) -> Result<()> {
    let pattern = format!("clickstream_{what}-*");
    let found = bench
        .opensearch("GET", &format!("{pattern}/_settings"), Value::Null)
        .await?;
    for index in found.as_object().into_iter().flat_map(|found| found.keys()) {
        bench.opensearch("DELETE", index, Value::Null).await?;
    }
    let templates = bench
        .opensearch("GET", "_index_template", Value::Null)
        .await?;
    let templates = templates["index_templates"]
        .as_array()
        .context("templates")?;
    let is_there =
        |template: &Value| template["index_template"]["index_patterns"] == json!([pattern]);
    if !templates.iter().any(is_there) {
        let file = format!("../infra/opensearch/{what}-template.json");
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))?;
        let put = bench
            .opensearch(
                "PUT",
                &format!("_index_template/{what}"),
                serde_json::from_str(&text)?,
            )
            .await?;
        ensure!(put["acknowledged"] == true, "{put}");
    }
    let name = format!("clickstream_{what}-known");
    let made = bench
        .opensearch("PUT", &name, json!({"settings": {"number_of_replicas": 0}}))
        .await?;
    ensure!(made["acknowledged"] == true, "{made}");
    let lines: Vec<Value> = documents
        .into_iter()
        .flat_map(|document| [json!({"create": {"_index": name}}), document])
        .collect();
    bulk(bench, &lines).await
}

/// The answer to every panel's query; whoever takes one has the truth for it.
struct Answers {
    left: BTreeMap<String, Value>,
}

impl Answers {
    async fn of(bench: &Bench, range: TimeRange) -> Result<Self> {
        let objects = SavedObjects::parse(SAVED_OBJECTS)?;
        let mut left = BTreeMap::new();
        for id in objects.panels.keys() {
            let query = objects.query(id, range)?;
            let answer = bench
                .opensearch("POST", &format!("{}/_search", query.index), query.body)
                .await?;
            let found = answer["hits"]["total"]["value"].as_u64().unwrap_or(0);
            ensure!(
                found > 0 && answer["_shards"]["failed"] == 0,
                "{id}: {answer}"
            );
            left.insert(id.clone(), answer);
        }
        Ok(Self { left })
    }

    fn take(&mut self, name: &str) -> Result<Value> {
        let id = format!("freshet-{name}");
        self.left
            .remove(&id)
            .with_context(|| format!("no answer of {id}"))
    }

    /// A panel of one number.
    fn number(&mut self, name: &str) -> Result<f64> {
        let answer = self.take(name)?;
        let number = match answer.get("aggregations") {
            None => &answer["hits"]["total"]["value"],
            Some(aggs) => &aggs["1"]["value"],
        };
        number.as_f64().with_context(|| format!("{name}: {answer}"))
    }
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-6 * expected.abs().max(1.0)
}

fn count<T>(all: &[T], condition: impl Fn(&T) -> bool) -> usize {
    all.iter().filter(|one| condition(one)).count()
}

/// How many different users do something.
fn users<'a>(events: &'a [Known], condition: impl Fn(&Known) -> bool) -> usize {
    let of: BTreeSet<&'a str> = events
        .iter()
        .filter(|e| condition(e))
        .map(|e| e.user.as_str())
        .collect();
    of.len()
}

/// How many of each, by name.
fn counts(names: impl Iterator<Item = String>) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1.0);
    counts
}

/// How many different users of each, by name.
fn users_by(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<String, f64> {
    let pairs: BTreeSet<(String, String)> = pairs.collect();
    counts(pairs.into_iter().map(|(name, _)| name))
}

fn name(bucket: &Value) -> String {
    let key = &bucket["key"];
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}

/// The metric that is named, or the count.
fn value(bucket: &Value) -> f64 {
    let metric = &bucket["1"]["value"];
    metric
        .as_f64()
        .or_else(|| bucket["doc_count"].as_f64())
        .unwrap_or(f64::NAN)
}

/// Terms are the largest of the truth, in order, each right within the bound
/// that the answer states for what shards may not have said.
fn check_terms(terms: &Value, truth: &BTreeMap<String, f64>, size: usize) -> Result<()> {
    let buckets = terms["buckets"].as_array().context("no buckets")?;
    let bound = terms["doc_count_error_upper_bound"]
        .as_f64()
        .unwrap_or(0.0)
        .max(0.0);
    let mut largest: Vec<f64> = truth.values().copied().collect();
    largest.sort_by(|a, b| b.total_cmp(a));
    largest.truncate(size);
    ensure!(
        buckets.len() == largest.len(),
        "{} buckets of {truth:?}: {terms}",
        buckets.len()
    );
    for (bucket, expected) in buckets.iter().zip(largest) {
        let known = truth
            .get(&name(bucket))
            .with_context(|| format!("{bucket} is not in {truth:?}"))?;
        let found = value(bucket);
        ensure!(
            (found - known).abs() <= bound + 1e-6 * known
                && (found - expected).abs() <= bound + 1e-6 * expected,
            "{bucket}: {known}, {expected}"
        );
    }
    Ok(())
}

/// Every percentile lies between the truth's just below and just above it.
fn check_percentiles(found: &Value, mut truth: Vec<f64>) -> Result<()> {
    truth.sort_by(f64::total_cmp);
    let most = truth.len() - 1;
    for found in found["values"].as_array().context("values")? {
        let (percent, value) = (
            found["key"].as_f64().context("key")?,
            found["value"].as_f64().context("value")?,
        );
        // The digest's error, and one place because ranks are whole.
        let at = |share: f64, place: f64| {
            truth[((share * most as f64 + place).clamp(0.0, most as f64)) as usize]
        };
        let (low, high) = (
            at(percent / 100.0 - RANK_ERROR, -1.0),
            at(percent / 100.0 + RANK_ERROR, 2.0),
        );
        ensure!(
            (low - 1e-9..=high + 1e-9).contains(&value),
            "p{percent} is {value}, not in {low}..{high}"
        );
    }
    Ok(())
}

/// The minutes of a chart over time are exactly those of the truth.
fn minutes<'a, T>(answer: &'a Value, truth: &BTreeMap<i64, T>) -> Result<Vec<(i64, &'a Value)>> {
    let buckets = answer["aggregations"]["2"]["buckets"]
        .as_array()
        .context("minutes")?;
    let found: Vec<(i64, &Value)> = buckets
        .iter()
        .map(|b| (b["key"].as_i64().unwrap_or(0), b))
        .collect();
    ensure!(found.iter().map(|(ms, _)| ms).eq(truth.keys()), "{found:?}");
    Ok(found)
}

fn by_minute(events: &[Known]) -> BTreeMap<i64, Vec<Known>> {
    let mut minutes: BTreeMap<i64, Vec<Known>> = BTreeMap::new();
    for event in events {
        minutes
            .entry(event.minute())
            .or_default()
            .push(event.clone());
    }
    minutes
}

fn check_percentiles_by_minute(
    answer: &Value,
    events: &[Known],
    of: fn(&Known) -> f64,
) -> Result<()> {
    let truth = by_minute(events);
    for (ms, bucket) in minutes(answer, &truth)? {
        check_percentiles(&bucket["1"], truth[&ms].iter().map(of).collect())?;
    }
    Ok(())
}

fn check_activity(answers: &mut Answers, events: &[Known]) -> Result<()> {
    ensure!(answers.number("events")? == events.len() as f64);
    let truth = by_minute(events);
    let answer = answers.take("events-per-minute")?;
    for (ms, bucket) in minutes(&answer, &truth)? {
        check_terms(
            &bucket["3"],
            &counts(truth[&ms].iter().map(|e| e.kind.clone())),
            6,
        )?;
    }
    let views = events.iter().filter(|event| event.kind == "page_view");
    let answer = answers.take("top-pages")?;
    check_terms(
        &answer["aggregations"]["2"],
        &counts(views.map(|e| e.path.clone())),
        10,
    )?;

    let answer = answers.take("revenue-per-minute")?;
    for (ms, bucket) in minutes(&answer, &truth)? {
        let revenue: f64 = truth[&ms].iter().map(|event| event.amount).sum();
        ensure!(close(value(bucket), revenue), "{bucket} is not {revenue}");
    }
    let revenue: f64 = events.iter().map(|event| event.amount).sum();
    ensure!(close(answers.number("revenue")?, revenue) && revenue > 1_000.0);
    let purchases = count(events, |event| event.kind == "purchase");
    ensure!(answers.number("conversions")? == purchases as f64);

    let answer = answers.take("processing-time-p95")?;
    check_percentiles(
        &answer["aggregations"]["1"],
        events.iter().map(Known::processing_time).collect(),
    )?;
    let answer = answers.take("processing-time")?;
    check_percentiles_by_minute(&answer, events, Known::processing_time)
}

fn check_visitors(answers: &mut Answers, events: &[Known]) -> Result<()> {
    ensure!(answers.number("visitors")? == users(events, |_| true) as f64);
    let steps: [(&str, fn(&Known) -> bool); 5] = [
        ("landing", |e| e.kind == "page_view"),
        ("product_view", |e| {
            e.kind == "page_view" && e.path.starts_with("/product")
        }),
        ("add_to_cart", |e| e.kind == "add_to_cart"),
        ("checkout_start", |e| e.kind == "checkout_start"),
        ("purchase", |e| e.kind == "purchase"),
    ];
    let answer = answers.take("conversion-funnel")?;
    let mut least = usize::MAX;
    for (step, is_step) in steps {
        let expected = users(events, is_step);
        let bucket = &answer["aggregations"]["2"]["buckets"][step];
        ensure!(
            value(bucket) == expected as f64,
            "{step}: {bucket} is not {expected}"
        );
        ensure!(
            expected > 0 && expected <= least,
            "{step} is no step of a funnel"
        );
        least = expected;
    }
    let answer = answers.take("browsers")?;
    check_terms(
        &answer["aggregations"]["2"],
        &counts(events.iter().map(|e| e.browser.clone())),
        8,
    )?;
    let answer = answers.take("systems")?;
    check_terms(
        &answer["aggregations"]["2"],
        &counts(events.iter().map(|e| e.system.clone())),
        8,
    )?;
    let answer = answers.take("devices")?;
    let devices = users_by(events.iter().map(|e| (e.device.clone(), e.user.clone())));
    check_terms(&answer["aggregations"]["2"], &devices, 8)?;
    let answer = answers.take("countries")?;
    let countries = users_by(
        events
            .iter()
            .filter_map(|e| Some((e.country.clone()?, e.user.clone()))),
    );
    check_terms(&answer["aggregations"]["2"], &countries, 10)?;

    let answer = answers.take("activity-map")?;
    let truth = counts(
        events
            .iter()
            .filter_map(|event| event.place.map(truth::geohash)),
    );
    let cells = answer["aggregations"]["cells"]["buckets"]
        .as_array()
        .context("cells")?;
    let found: BTreeMap<String, f64> = cells.iter().map(|cell| (name(cell), value(cell))).collect();
    ensure!(found == truth, "{found:?} is not {truth:?}");
    ensure!(
        cells
            .iter()
            .all(|cell| cell["middle"]["location"]["lat"].is_f64()),
        "{answer}"
    );
    Ok(())
}

fn check_sessions(answers: &mut Answers, sessions: &[Session]) -> Result<()> {
    let share = count(sessions, |s| s.is_bounce) as f64 / sessions.len() as f64;
    ensure!(close(answers.number("bounce-rate")?, share) && share > 0.05 && share < 0.95);
    let answer = answers.take("session-duration")?;
    let average = sessions.iter().map(|s| s.duration).sum::<f64>() / sessions.len() as f64;
    ensure!(
        close(value(&answer["aggregations"]), average),
        "{answer} is not {average}"
    );
    check_percentiles(
        &answer["aggregations"]["2"],
        sessions.iter().map(|s| s.duration).collect(),
    )?;
    let answer = answers.take("referrers")?;
    let referrers = sessions.iter().map(|s| {
        s.referrer
            .clone()
            .unwrap_or_else(|| "__missing__".to_owned())
    });
    check_terms(&answer["aggregations"]["2"], &counts(referrers), 10)?;
    ensure!(answers.number("truncated-sessions")? == count(sessions, |s| s.is_truncated) as f64);
    Ok(())
}

fn check_quality(answers: &mut Answers, events: &[Known], refused: &[Refused]) -> Result<()> {
    let sums = |of: &dyn Fn(&Refused) -> Option<String>| {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for one in refused {
            if let Some(name) = of(one) {
                *sums.entry(name).or_default() += one.count as f64;
            }
        }
        sums
    };
    let all: i64 = refused.iter().map(|one| one.count).sum();
    ensure!(answers.number("rejections")? == all as f64);
    let answer = answers.take("rejections-by-code")?;
    let of_minute = |ms: i64| ms - ms.rem_euclid(MINUTE_MS);
    let times: BTreeMap<i64, ()> = refused.iter().map(|one| (of_minute(one.ms), ())).collect();
    for (ms, bucket) in minutes(&answer, &times)? {
        let codes = sums(&|one| (of_minute(one.ms) == ms).then(|| one.code.to_owned()));
        check_terms(&bucket["3"], &codes, 8)?;
    }
    let answer = answers.take("rejections-by-stage")?;
    let stages = &answer["aggregations"]["2"];
    check_terms(stages, &sums(&|one| Some(one.stage.to_owned())), 10)?;
    for stage in stages["buckets"].as_array().context("stages")? {
        let sources = sums(&|one| (one.stage == name(stage)).then(|| one.source.to_owned()));
        check_terms(&stage["3"], &sources, 10)?;
    }

    let answer = answers.take("lag-p95")?;
    check_percentiles(
        &answer["aggregations"]["1"],
        events.iter().map(|e| e.stream_delay).collect(),
    )?;
    check_percentiles_by_minute(&answers.take("lag")?, events, |e| e.stream_delay)?;
    check_percentiles_by_minute(&answers.take("clock-drift")?, events, |e| e.client_delay)?;

    let unknown = count(events, |event| event.has_unknown_keys);
    ensure!(answers.number("unplanned-events")? == unknown as f64 && unknown > 0);
    let answer = answers.take("schema-drift")?;
    let parts = &answer["aggregations"]["2"]["buckets"];
    ensure!(value(&parts["unknown keys"]) == unknown as f64, "{parts}");
    ensure!(
        value(&parts["known keys only"]) == (events.len() - unknown) as f64,
        "{parts}"
    );
    let answer = answers.take("schema-versions")?;
    let versions = events
        .iter()
        .filter_map(|event| event.version.map(|version| version.to_string()));
    check_terms(&answer["aggregations"]["2"], &counts(versions), 10)?;
    let answer = answers.take("event-types")?;
    let kinds = &answer["aggregations"]["2"];
    check_terms(kinds, &counts(events.iter().map(|e| e.kind.clone())), 20)?;
    for kind in kinds["buckets"].as_array().context("event types")? {
        let expected = users(events, |event| event.kind == name(kind));
        ensure!(
            kind["3"]["value"].as_f64() == Some(expected as f64),
            "{kind} is not {expected}"
        );
    }
    Ok(())
}

/// Opens the page in a browser; pictures stay where `FRESHET_PICTURES` says.
fn draw(bench: &Bench) -> Result<Value> {
    let pictures = std::env::var_os("FRESHET_PICTURES")
        .map_or_else(|| bench.stack.paths.state().join("pictures"), PathBuf::from);
    std::fs::create_dir_all(&pictures)?;
    let output = Command::new("node")
        .arg("--experimental-websocket")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/dashboard.mjs"))
        .arg(&bench.stack.endpoints.dashboard_url)
        .arg(&pictures)
        .output()
        .context("node")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let printed = String::from_utf8(output.stdout)?;
    Ok(serde_json::from_str(
        printed.trim().lines().last().context("nothing printed")?,
    )?)
}
