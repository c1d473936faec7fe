//! The ledger against a stream and a consumer that are simulated event by event.

use super::*;
use proptest::prelude::*;

const PERIOD_MS: i64 = 60_000;
const END: usize = PERIODS - 1;

/// A consumer that reads in order, one batch a second, and may stand still.
struct World {
    /// Events that arrive in each period, evenly.
    arrivals: Vec<u32>,
    /// Periods in which it reads nothing.
    stalls: Vec<bool>,
    /// Events it takes a second at the most.
    speed: usize,
    /// Periods in which every tenth outcome is not counted.
    loses: Vec<bool>,
}

impl World {
    fn flows(&self) -> (Flows, f64) {
        let mut series = Series::empty(0, PERIOD_MS, self.arrivals.len());
        let (mut waiting, mut next_lost, mut lost) =
            (std::collections::VecDeque::new(), 0_u32, 0.0);
        for (period, arrivals) in self.arrivals.iter().enumerate() {
            let (mut indexed, mut age) = (0.0, None::<i64>);
            let begin = i64::try_from(period).unwrap() * PERIOD_MS;
            for second in 0..60_i64 {
                let now = begin + (second + 1) * 1_000;
                let share = |second: i64| i64::from(*arrivals) * second / 60;
                let new = share(second + 1) - share(second);
                waiting.extend((0..new).map(|_| now - 500));
                if self.stalls[period] || waiting.is_empty() {
                    continue;
                }
                let taken = waiting.len().min(self.speed);
                for at in waiting.drain(..taken) {
                    age = Some(age.unwrap_or(0).max(now - at));
                    next_lost += 1;
                    if self.loses[period] && next_lost % 10 == 0 {
                        lost += 1.0;
                    } else {
                        indexed += 1.0;
                    }
                }
            }
            let arrived = f64::from(*arrivals);
            let mut put = |asked, value| series.put(asked, begin, value);
            put(Asked::Ours("collect", "Accepted"), arrived);
            put(Asked::Incoming, arrived);
            put(Asked::Ours("enrich", "Indexed"), indexed);
            if let Some(age) = age {
                #[allow(clippy::cast_precision_loss)]
                put(Asked::IteratorAge(Stage::Enrich), age as f64);
            }
        }
        (flows_of(&series), lost)
    }
}

fn flows_of(series: &Series) -> Flows {
    let of = |stage, name| series.sums(Asked::Ours(stage, name));
    Flows {
        accepted: of("collect", "Accepted"),
        entered: of("collect", "Accepted"),
        others: vec![0.0; series.periods()],
        left: of("enrich", "Indexed"),
        ages_ms: ages_ms(
            &series.points(Asked::IteratorAge(Stage::Enrich)),
            &series.sums(Asked::Incoming),
            PERIOD_MS as f64,
        ),
        period_ms: PERIOD_MS as f64,
    }
}

fn even(per_period: f64) -> Flows {
    let all = vec![per_period; PERIODS];
    Flows {
        accepted: all.clone(),
        entered: all.clone(),
        others: vec![0.0; PERIODS],
        left: all,
        ages_ms: vec![0.0; PERIODS],
        period_ms: PERIOD_MS as f64,
    }
}

#[test]
fn nothing_at_all_is_balanced() {
    assert_eq!(judge(&even(0.0), END), Ledger::default());
    assert_eq!(judge(&Flows::default(), 0), Ledger::default());
    assert_eq!(
        check(&Series::until(0, PERIOD_MS, PERIODS)),
        Ledger::default()
    );
}

#[test]
fn a_loss_lasts_and_a_moments_mistake_does_not() {
    // Three periods' worth of events vanish.
    let mut flows = even(100.0);
    let lost = END - JUDGED - 5;
    for left in &mut flows.left[lost - 3..lost] {
        *left = 0.0;
    }
    let ledger = judge(&flows, END);
    assert_eq!((ledger.residue, ledger.unbalanced), (300.0, 300.0));
    assert_eq!(ledger.uncertainty, 200.0);
    // The same, just now: it may still turn up.
    let mut flows = even(100.0);
    for left in &mut flows.left[END - 5..END] {
        *left = 0.0;
    }
    let ledger = judge(&flows, END);
    assert_eq!((ledger.residue, ledger.unbalanced), (500.0, 0.0));
    // It did, later: nothing is left of it.
    flows.left[END - 1] += 500.0;
    assert_eq!(judge(&flows, END).residue, 0.0);
}

#[test]
fn less_than_one_in_a_thousand_is_nobodys_loss() {
    let mut flows = even(0.0);
    flows.entered[END - JUDGED - 20] = 10_000.0;
    flows.accepted.clone_from(&flows.entered);
    for (lost, unbalanced) in [(10.0, 0.0), (11.0, 11.0)] {
        flows.left[END - JUDGED - 20] = 10_000.0 - lost;
        let ledger = judge(&flows, END);
        assert_eq!((ledger.residue, ledger.unbalanced), (lost, unbalanced));
    }
}

#[test]
fn what_waits_is_in_flight_and_not_lost() {
    let mut flows = even(100.0);
    // The consumer stood still for 20 periods and has said so.
    for (place, behind) in (END - 20..END).zip(1_u32..) {
        flows.left[place] = 0.0;
        flows.ages_ms[place] = f64::from(behind) * flows.period_ms;
    }
    assert_eq!(judge(&flows, END).residue, 0.0);
    // Further behind than anything is known of: nothing can be said.
    let mut flows = even(100.0);
    flows.left.fill(0.0);
    flows.ages_ms.fill(1e9);
    let ledger = judge(&flows, END);
    assert_eq!(ledger.unbalanced, 0.0);
    assert!(ledger.uncertainty > 4_500.0);
}

#[test]
fn every_kind_of_entry_and_outcome_is_in_it() {
    let mut series = Series::empty(0, PERIOD_MS, PERIODS);
    let at = i64::try_from(END - JUDGED - 5).unwrap() * PERIOD_MS;
    for (stage, name, value) in [
        ("collect", "Accepted", 1_000.0),
        ("collect", "DeadLetters", 100.0),
        ("replay", "Replayed", 50.0),
        ("enrich", "OtherProducers", 30.0),
        ("enrich", "Indexed", 900.0),
        ("enrich", "Duplicates", 40.0),
        ("enrich", "Rejected", 20.0),
        ("enrich", "Undecodable", 10.0),
        ("health", "GivenUp", 10.0),
    ] {
        series.put(Asked::Ours(stage, name), at, value);
    }
    assert_eq!(check(&series).residue, 0.0);
    // Events that are lost on the way, after all this.
    series.put(Asked::Ours("enrich", "Indexed"), at, 850.0);
    assert_eq!(
        (check(&series).residue, check(&series).unbalanced),
        (50.0, 50.0)
    );
    // A replay that did not say so hides as many.
    series.put(Asked::Ours("replay", "Replayed"), at, 0.0);
    assert_eq!(
        (check(&series).residue, check(&series).unbalanced),
        (0.0, 0.0)
    );
}

fn arrivals() -> impl Strategy<Value = Vec<u32>> {
    let quiet_or_busy = prop_oneof![Just(0_u32), 1_u32..40, 100_u32..400];
    proptest::collection::vec(quiet_or_busy, PERIODS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn without_loss_it_is_balanced_however_the_consumer_stalls(
        arrivals in arrivals(),
        stalls in proptest::collection::vec(proptest::bool::weighted(0.2), PERIODS),
        speed in 8_usize..200,
    ) {
        let world = World { arrivals, stalls, speed, loses: vec![false; PERIODS] };
        let ledger = judge(&world.flows().0, END);
        prop_assert_eq!(ledger.unbalanced, 0.0, "{:?}", ledger);
    }

    #[test]
    fn a_lasting_loss_beyond_what_is_uncertain_is_told(
        rate in 50_u32..300,
        from in BEFORE + JUDGED..BEFORE + JUDGED + 3,
        speed in 8_usize..200,
    ) {
        // Every tenth event of some 25 periods: two periods and a half.
        let loses = (0..PERIODS).map(|period| (from..from + 27).contains(&period)).collect();
        let world = World { arrivals: vec![rate; PERIODS], stalls: vec![false; PERIODS], speed, loses };
        let (flows, lost) = world.flows();
        let ledger = judge(&flows, END);
        prop_assert!(ledger.unbalanced > 0.0, "{:?} of {} lost", ledger, lost);
        prop_assert!(ledger.unbalanced <= lost + ledger.uncertainty);
    }

    #[test]
    fn whatever_is_fed_nothing_panics_and_numbers_stay_numbers(
        entered in proptest::collection::vec(0.0..1e9_f64, 0..200),
        left in proptest::collection::vec(0.0..1e9_f64, 0..200),
        ages in proptest::collection::vec(0.0..1e9_f64, 0..200),
        until in 0_usize..300,
    ) {
        let flows = Flows { accepted: entered.clone(), others: vec![0.0; entered.len()], entered, left, ages_ms: ages, period_ms: 60_000.0 };
        let ledger = judge(&flows, until);
        prop_assert!(ledger.residue.is_finite() && ledger.uncertainty >= 0.0 && ledger.unbalanced >= 0.0);
    }
}
