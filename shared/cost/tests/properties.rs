//! What holds of every bill.
#![allow(clippy::unwrap_used)]

use freshet_cost::{
    Bill, Deployment, LogLevel, PriceList, Stream, Template, Traffic, break_even, estimate,
    fewest_shards, shortfalls, smallest_domain, stream_of, what_ifs,
};
use proptest::prelude::*;
use std::sync::LazyLock;

static PRICES: LazyLock<PriceList> = LazyLock::new(|| PriceList::built_in().unwrap());

static STACK: LazyLock<Deployment> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml");
    let template = Template::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    let values = template.values([]).unwrap();
    Deployment::of(&template, &values, &|_| None).unwrap()
});

fn bill(traffic: &Traffic, stack: &Deployment) -> Bill {
    Bill::of(&estimate(traffic, stack), &PRICES).unwrap()
}

fn any_stack() -> impl Strategy<Value = Deployment> {
    let stream = prop_oneof![
        Just(Stream::OnDemand),
        (1..=200_u32).prop_map(Stream::Shards)
    ];
    (
        stream,
        any::<[bool; 7]>(),
        1.0..20.0_f64,
        0.0..60.0_f64,
        24.0..168.0_f64,
    )
        .prop_map(|(stream, is, lanes, window_s, stream_hours)| {
            let mut stack = STACK.clone();
            stack.stream = stream;
            stack.sessions = is[0];
            stack.health = is[1];
            if is[2] {
                stack.log_level = LogLevel::Debug;
            }
            stack.platform_logs = is[3];
            stack.access_log = is[4];
            stack.tracing = is[6];
            if is[5] {
                stack.domain = None;
            }
            stack.enrich.lanes = lanes.floor();
            stack.enrich.window_s = window_s;
            stack.aggregate.window_s = window_s;
            stack.stream_hours = stream_hours;
            stack
        })
}

prop_compose! {
    fn any_traffic()(
        rate in -2.0..5.0_f64,
        peak in 1.0..10.0_f64,
        event_bytes in 50.0..2_000.0_f64,
        events_per_request in 1.0..500.0_f64,
        users in 0.0..1.0_f64,
        events_per_session in 1.0..500.0_f64,
        queries_per_second in 0.0..50.0_f64,
    ) -> Traffic {
        let rate = 10_f64.powf(rate);
        Traffic {
            events_per_second: rate,
            peak_events_per_second: rate * peak,
            event_bytes,
            events_per_request,
            users_per_request: 1.0 + (events_per_request - 1.0) * users,
            events_per_session,
            queries_per_second,
            ..Traffic::default()
        }
    }
}

proptest! {
    #[test]
    fn components_add_up_to_the_total(traffic in any_traffic(), stack in any_stack()) {
        let traffic = traffic.checked().unwrap();
        let bill = bill(&traffic, &stack);
        let parts: f64 = bill.components().iter().map(|part| bill.of_component(*part)).sum();
        prop_assert!((parts - bill.total()).abs() <= 1e-9 * bill.total());
        let lines: f64 = bill.lines().iter().map(|line| line.dollars).sum();
        prop_assert!((lines - bill.total()).abs() <= 1e-9 * bill.total());
        for line in bill.lines() {
            prop_assert!(line.dollars.is_finite() && line.dollars >= 0.0, "{line:?}");
            prop_assert!(line.amount > 0.0, "{line:?}");
        }
    }

    #[test]
    fn more_events_never_cost_less(traffic in any_traffic(), stack in any_stack(), times in 1.0..20.0_f64) {
        let more = Traffic {
            events_per_second: traffic.events_per_second * times,
            peak_events_per_second: traffic.peak_events_per_second * times,
            ..traffic
        };
        let (less, more) = (bill(&traffic, &stack), bill(&more, &stack));
        prop_assert!(more.total() >= less.total() * (1.0 - 1e-9), "{} then {}", less.total(), more.total());
    }

    #[test]
    fn a_million_events_cost_less_in_requests_twice_as_large(traffic in any_traffic(), stack in any_stack()) {
        let larger = Traffic {
            events_per_request: traffic.events_per_request * 2.0,
            ..traffic
        };
        let (small, large) = (bill(&traffic, &stack), bill(&larger, &stack));
        // Fewer, fuller records are rounded up to whole units a little differently.
        prop_assert!(large.total() <= small.total() * 1.001, "{} then {}", small.total(), large.total());
        // Each request is paid for.
        let api = freshet_cost::Component::Api;
        prop_assert!(large.of_component(api) <= small.of_component(api));
    }

    #[test]
    fn what_is_left_out_is_not_paid_for(traffic in any_traffic(), stack in any_stack()) {
        let mut bare = stack.clone();
        bare.sessions = false;
        bare.health = false;
        bare.tracing = false;
        bare.log_level = LogLevel::Warn;
        bare.platform_logs = false;
        bare.access_log = false;
        prop_assert!(bill(&traffic, &bare).total() <= bill(&traffic, &stack).total() * (1.0 + 1e-9));
    }

    #[test]
    fn a_stack_of_the_advised_size_falls_short_of_nothing(traffic in any_traffic(), stack in any_stack()) {
        let mut stack = stack;
        stack.stream = Stream::Shards(fewest_shards(&traffic));
        if let Some(domain) = smallest_domain(&traffic, &stack, &PRICES).unwrap() {
            stack.domain = Some(domain);
            prop_assert_eq!(shortfalls(&traffic, &stack, &PRICES).unwrap(), vec![]);
        }
    }

    #[test]
    fn at_the_break_even_both_cost_the_same(traffic in any_traffic(), shards in 1..200_u32) {
        if let Some(rate) = break_even(&traffic, &STACK, shards, &PRICES).unwrap() {
            let at = Traffic { events_per_second: rate, peak_events_per_second: rate, ..traffic };
            let cost = |stream| {
                let stack = Deployment { stream, ..STACK.clone() };
                Bill::of(&stream_of(&at, &stack), &PRICES).unwrap().total()
            };
            let (shards, demand) = (cost(Stream::Shards(shards)), cost(Stream::OnDemand));
            prop_assert!((shards - demand).abs() < 1e-6 * shards, "{shards} and {demand}");
        }
    }
}

#[test]
fn a_what_if_differs_from_the_base_and_is_named_once() {
    let traffic = Traffic::default();
    let ifs = what_ifs(&traffic, &STACK, &PRICES).unwrap();
    let mut names: Vec<&str> = ifs.iter().map(|case| case.name.as_str()).collect();
    assert!(
        names.iter().all(|name| !name.starts_with("1 event ")),
        "{names:?}"
    );
    assert!(
        names.contains(&"10 events a request, of one user"),
        "{names:?}"
    );
    assert!(names.contains(&"stream on demand"), "{names:?}");
    assert!(names.contains(&"without sessions"), "{names:?}");
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn a_price_that_lacks_is_an_error_and_not_nothing() {
    let text = include_str!("../prices/us-east-1-2026-11.json")
        .replace("kinesis.put_unit", "kinesis.gone");
    let prices = PriceList::from_json(&text).unwrap();
    let error = Bill::of(&estimate(&Traffic::default(), &STACK), &prices).unwrap_err();
    assert_eq!(error.code(), "price_missing");
    assert!(error.to_string().contains("kinesis.put_unit"), "{error}");
    let mut stack = STACK.clone();
    if let Some(domain) = &mut stack.domain {
        domain.instance_type = "x9.huge.search".to_owned();
    }
    let error = Bill::of(&estimate(&Traffic::default(), &stack), &PRICES).unwrap_err();
    assert_eq!(error.code(), "instance_type_unknown");
}
