//! What each panel's answer must be, counted from the data itself.

use super::truth::{self, Known, MINUTE_MS, Refused, Session};
use crate::support::Bench;
use anyhow::{Context as _, Result, ensure};
use freshet_dashboards::{SAVED_OBJECTS, SavedObjects, TimeRange};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A percentile is a t-digest's: its rank is that close.
const RANK_ERROR: f64 = 0.01;

/// Whether an event is one of a step.
type IsStep = fn(&Known) -> bool;

/// The answer to every panel's query; whoever takes one has the truth for it.
pub(super) struct Answers {
    pub(super) left: BTreeMap<String, Value>,
}

impl Answers {
    pub(super) async fn of(bench: &Bench, range: TimeRange) -> Result<Self> {
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

pub(super) fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-6 * expected.abs().max(1.0)
}

pub(super) fn count<T>(all: &[T], condition: impl Fn(&T) -> bool) -> usize {
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
    let mut largest: Vec<f64> = truth.values().copied().collect();
    largest.sort_by(|a, b| b.total_cmp(a));
    largest.truncate(size);
    check_order(terms, truth, &largest)
}

/// Terms are the smallest of the truth, the smallest first.
fn check_rarest(terms: &Value, truth: &BTreeMap<String, f64>, size: usize) -> Result<()> {
    let mut smallest: Vec<f64> = truth.values().copied().collect();
    smallest.sort_by(f64::total_cmp);
    smallest.truncate(size);
    check_order(terms, truth, &smallest)
}

/// Every bucket is what the truth says of its name, and the values come in this order.
fn check_order(terms: &Value, truth: &BTreeMap<String, f64>, values: &[f64]) -> Result<()> {
    let buckets = terms["buckets"].as_array().context("no buckets")?;
    let bound = terms["doc_count_error_upper_bound"]
        .as_f64()
        .unwrap_or(0.0)
        .max(0.0);
    ensure!(
        buckets.len() == values.len(),
        "{} buckets of {truth:?}: {terms}",
        buckets.len()
    );
    for (bucket, expected) in buckets.iter().zip(values) {
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

pub(super) fn check_activity(answers: &mut Answers, events: &[Known]) -> Result<()> {
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

pub(super) fn check_visitors(answers: &mut Answers, events: &[Known]) -> Result<()> {
    ensure!(answers.number("visitors")? == users(events, |_| true) as f64);
    let steps: [(&str, IsStep); 5] = [
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
    let cells = answer["aggregations"]["visitors"]["cells"]["buckets"]
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

pub(super) fn check_sessions(answers: &mut Answers, sessions: &[Session]) -> Result<()> {
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

pub(super) fn check_quality(
    answers: &mut Answers,
    events: &[Known],
    refused: &[Refused],
) -> Result<()> {
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
    check_rarest(kinds, &counts(events.iter().map(|e| e.kind.clone())), 50)?;
    for kind in kinds["buckets"].as_array().context("event types")? {
        let expected = users(events, |event| event.kind == name(kind));
        ensure!(
            kind["3"]["value"].as_f64() == Some(expected as f64),
            "{kind} is not {expected}"
        );
    }
    Ok(())
}
