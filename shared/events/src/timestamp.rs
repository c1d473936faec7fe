//! Moments in time, to the millisecond.

use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z. Always between the years 1970 and
/// 9999, which every store on the path can hold and print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// 9999-12-31T23:59:59.999Z.
const MAX_MS: i64 = 253_402_300_799_999;

/// What a document says about its day: `date`, `hour`, `day_of_week`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarFields {
    /// Calendar day in UTC.
    pub date: jiff::civil::Date,
    /// Hour of the day in UTC, 0 to 23.
    pub hour: u8,
    /// Day of the week in UTC, Monday = 0.
    pub day_of_week: u8,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the epoch; `None` outside 1970 to 9999.
    #[must_use]
    pub fn from_millis(ms: i64) -> Option<Self> {
        (0..=MAX_MS).contains(&ms).then_some(Self(ms))
    }

    /// From seconds since the epoch with a fraction, as Kinesis reports
    /// arrival times; `None` outside 1970 to 9999.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation)]
        Self::from_millis((seconds * 1000.0).round() as i64)
    }

    /// Parses ISO 8601: a date, or a date and time with any fraction, with an
    /// offset or `Z`; without an offset it is UTC. `None` if it is anything
    /// else or lies outside 1970 to 9999.
    #[must_use]
    pub fn parse_iso8601(text: &str) -> Option<Self> {
        let ms = match text.parse::<jiff::Timestamp>() {
            Ok(instant) => instant.as_millisecond(),
            Err(_) => jiff::tz::Offset::UTC
                .to_timestamp(text.parse().ok()?)
                .ok()?
                .as_millisecond(),
        };
        Self::from_millis(ms)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Seconds from `earlier` to this moment; negative if it is later.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // exact below 2^53 ms
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / 1000.0
    }

    /// This moment moved by `ms` milliseconds, kept within 1970 to 9999.
    #[must_use]
    pub fn saturating_add_millis(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms).clamp(0, MAX_MS))
    }

    /// The UTC calendar fields of this moment.
    #[must_use]
    pub fn calendar(self) -> CalendarFields {
        // 1970-01-01 was a Thursday: day 3 of a week that begins on Monday.
        let days = self.0.div_euclid(86_400_000);
        let local = self.civil();
        CalendarFields {
            date: local.date(),
            hour: u8::try_from(local.hour()).unwrap_or(0),
            day_of_week: u8::try_from((days + 3).rem_euclid(7)).unwrap_or(0),
        }
    }

    /// The UTC day as the names of daily indices end with: `2026.11.25`.
    #[must_use]
    pub fn day(self) -> String {
        self.civil().strftime("%Y.%m.%d").to_string()
    }

    fn civil(self) -> jiff::civil::DateTime {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => jiff::tz::Offset::UTC.to_datetime(instant),
            // Its instants end 26 hours before the year does.
            Err(_) => jiff::civil::date(1970, 1, 1)
                .at(0, 0, 0, 0)
                .saturating_add(jiff::SignedDuration::from_millis(self.0)),
        }
    }
}

impl fmt::Display for Timestamp {
    /// ISO 8601 in UTC with milliseconds: `2026-11-23T18:55:54.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}Z", self.civil())
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_iso_8601_in_its_usual_forms() {
        let same = Timestamp::from_millis(1_795_460_154_123);
        for text in [
            "2026-11-23T18:55:54.123Z",
            "2026-11-23T18:55:54.123",
            "2026-11-23T19:55:54.123+01:00",
            "2026-11-23T19:55:54.123456+0100",
            "2026-11-23 18:55:54.123Z",
        ] {
            assert_eq!(Timestamp::parse_iso8601(text), same, "{text}");
        }
        assert_eq!(
            Timestamp::parse_iso8601("2026-11-23")
                .map(|t| t.to_string())
                .as_deref(),
            Some("2026-11-23T00:00:00.000Z")
        );
    }

    #[test]
    fn refuses_what_is_no_moment_or_out_of_range() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "1969-12-31T23:59:59Z",
            "+010000-01-01T00:00:00Z",
            "12:00",
            "\0",
        ] {
            assert_eq!(Timestamp::parse_iso8601(text), None, "{text:?}");
        }
        assert_eq!(Timestamp::from_millis(-1), None);
        assert_eq!(Timestamp::from_seconds(f64::NAN), Timestamp::from_millis(0));
        assert_eq!(Timestamp::from_seconds(1e300), None);
        assert_eq!(Timestamp::from_millis(MAX_MS + 1), None);
    }

    #[test]
    fn the_last_moment_is_of_the_year_9999() {
        let last = Timestamp::EPOCH.saturating_add_millis(i64::MAX);
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(
            (last.day().as_str(), last.calendar().hour),
            ("9999.12.31", 23)
        );
    }

    #[test]
    fn prints_milliseconds_and_calendar_fields() {
        let t = Timestamp::parse_iso8601("2026-11-23T18:55:54Z").unwrap();
        assert_eq!(t.to_string(), "2026-11-23T18:55:54.000Z");
        assert_eq!(t.day(), "2026.11.23");
        let c = t.calendar();
        assert_eq!(
            (c.date.to_string().as_str(), c.hour, c.day_of_week),
            ("2026-11-23", 18, 0)
        );
        let sunday = Timestamp::parse_iso8601("2026-11-22T00:00:00Z").unwrap();
        assert_eq!(sunday.calendar().day_of_week, 6);
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(ms in 0..=MAX_MS) {
            let t = Timestamp::from_millis(ms).unwrap();
            proptest::prop_assert_eq!(Timestamp::parse_iso8601(&t.to_string()), Some(t));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = Timestamp::parse_iso8601(&text);
        }
    }
}
