//! Panes, windows and slots: which minute an event belongs to, and which
//! windows hold that minute.

use freshet_events::Timestamp;
use std::ops::RangeInclusive;

/// Length of a pane.
pub const PANE_SECONDS: i64 = 60;
const PANE_MS: i64 = PANE_SECONDS * 1000;

/// One minute of event time, by its number since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pane(pub i64);

impl Pane {
    /// The pane that `at` belongs to.
    #[must_use]
    pub const fn of(at: Timestamp) -> Self {
        Self(at.as_millis().div_euclid(PANE_MS))
    }

    /// Its first moment, in seconds since 1970.
    #[must_use]
    pub const fn start_s(self) -> i64 {
        self.0 * PANE_SECONDS
    }

    /// The first moment after it, in seconds since 1970.
    #[must_use]
    pub const fn end_s(self) -> i64 {
        self.start_s() + PANE_SECONDS
    }
}

/// A window's number: it ends `(number + 1) × slide` after 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub i64);

/// A window in time: from `start_s` until just before `end_s`, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first second.
    pub start_s: i64,
    /// The first second after it.
    pub end_s: i64,
}

/// Whether an event is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeliness {
    /// It is; at most its pane had ended, within the lateness that is waited for.
    Counted,
    /// It came too long after its pane had ended.
    TooLate,
    /// It claims to happen too far in the future.
    TooEarly,
}

/// How windows lie in time, and how long late events are waited for. All in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windowing {
    /// Length of a window; a whole number of slides.
    pub window_minutes: i64,
    /// How far the next window is moved.
    pub slide_minutes: i64,
    /// How long after its pane's end an event is still counted.
    pub lateness_minutes: i64,
    /// How far before its pane's beginning an event may arrive.
    pub future_minutes: i64,
}

impl Default for Windowing {
    fn default() -> Self {
        Self {
            window_minutes: 5,
            slide_minutes: 1,
            lateness_minutes: 10,
            future_minutes: 5,
        }
    }
}

impl Windowing {
    /// The slot whose window ends next after `now`.
    #[must_use]
    pub const fn current(&self, now: Timestamp) -> Slot {
        Slot(now.as_millis().div_euclid(self.slide_minutes * PANE_MS))
    }

    /// The slot whose window ends then, in seconds since 1970.
    #[must_use]
    pub const fn ending_at(&self, end_s: i64) -> Slot {
        Slot(end_s.div_euclid(self.slide_minutes * PANE_SECONDS) - 1)
    }

    /// How long after its pane's end an event can still reach a result that is
    /// kept, in minutes.
    #[must_use]
    pub const fn most_lateness_minutes(&self) -> i64 {
        3 * self.window_minutes - self.slide_minutes
    }

    /// A slot's window.
    #[must_use]
    pub const fn window(&self, slot: Slot) -> Window {
        let end_s = (slot.0 + 1) * self.slide_minutes * PANE_SECONDS;
        Window {
            start_s: end_s - self.window_minutes * PANE_SECONDS,
            end_s,
        }
    }

    /// The panes of a slot's window.
    #[must_use]
    pub const fn panes(&self, slot: Slot) -> RangeInclusive<i64> {
        let window = self.window(slot);
        window.start_s.div_euclid(PANE_SECONDS)..=window.end_s.div_euclid(PANE_SECONDS) - 1
    }

    /// The slots whose windows hold a pane.
    #[must_use]
    pub const fn slots(&self, pane: Pane) -> RangeInclusive<i64> {
        let first = pane.0.div_euclid(self.slide_minutes);
        first..=first + self.window_minutes / self.slide_minutes - 1
    }

    /// Whether an event of the moment `at` that reached the stream at
    /// `arrived` is counted. No clock is asked: a repetition decides the same.
    #[must_use]
    pub const fn judge(&self, at: Timestamp, arrived: Timestamp) -> Timeliness {
        let pane = Pane::of(at);
        let arrived_ms = arrived.as_millis();
        if arrived_ms >= (pane.end_s() + self.lateness_minutes * PANE_SECONDS) * 1000 {
            Timeliness::TooLate
        } else if arrived_ms < (pane.start_s() - self.future_minutes * PANE_SECONDS) * 1000 {
            Timeliness::TooEarly
        } else {
            Timeliness::Counted
        }
    }

    /// The first and the last moment, in seconds since 1970, at which an event
    /// of the slot's window can have reached the stream.
    #[must_use]
    pub const fn arrivals(&self, slot: Slot) -> (i64, i64) {
        let window = self.window(slot);
        (
            window.start_s - self.future_minutes * PANE_SECONDS,
            window.end_s + self.lateness_minutes * PANE_SECONDS,
        )
    }

    /// When a slot's result is no longer kept: two windows after its end, in
    /// seconds since 1970.
    #[must_use]
    pub const fn result_expires_s(&self, slot: Slot) -> i64 {
        self.window(slot).end_s + 2 * self.window_minutes * PANE_SECONDS
    }

    /// When what arrived up to `arrived_until_s` is no longer needed by any
    /// merge, in seconds since 1970: its slots have expired, and a little more.
    #[must_use]
    pub const fn piece_expires_s(&self, arrived_until_s: i64) -> i64 {
        arrived_until_s
            + (self.future_minutes + self.lateness_minutes + 3 * self.window_minutes + 5)
                * PANE_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000).unwrap()
    }

    #[test]
    fn five_minutes_by_one() {
        let windowing = Windowing::default();
        // 1970-01-01T00:10:30
        assert_eq!(windowing.current(at(630)), Slot(10));
        assert_eq!(
            windowing.window(Slot(10)),
            Window {
                start_s: 360,
                end_s: 660
            }
        );
        assert_eq!(windowing.ending_at(660), Slot(10));
        assert_eq!(windowing.panes(Slot(10)), 6..=10);
        assert_eq!(windowing.slots(Pane(10)), 10..=14);
        assert_eq!(windowing.result_expires_s(Slot(10)), 660 + 600);
    }

    #[test]
    fn late_is_judged_by_the_arrival_at_the_stream() {
        let windowing = Windowing::default();
        let (start, end) = (6000, 6060);
        let judge = |arrived| windowing.judge(at(start + 30), at(arrived));
        assert_eq!(judge(end + 599), Timeliness::Counted);
        assert_eq!(judge(end + 600), Timeliness::TooLate);
        assert_eq!(judge(start - 300), Timeliness::Counted);
        assert_eq!(judge(start - 301), Timeliness::TooEarly);
    }

    proptest! {
        #[test]
        fn a_slot_holds_the_panes_whose_slots_it_is(
            slides in 1_i64..6, slide_minutes in 1_i64..15, pane in -100_000_i64..100_000
        ) {
            let windowing = Windowing {
                window_minutes: slides * slide_minutes, slide_minutes, ..Windowing::default()
            };
            let slots = windowing.slots(Pane(pane));
            prop_assert_eq!(slots.end() - slots.start() + 1, slides);
            for slot in slots.start() - 2..=slots.end() + 2 {
                let holds = windowing.panes(Slot(slot)).contains(&pane);
                prop_assert_eq!(holds, slots.contains(&slot), "slot {}", slot);
            }
        }
    }
}
