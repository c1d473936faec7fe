//! What a stack is to carry.

use thiserror::Error;

/// Why a traffic cannot be.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TrafficError {
    /// A figure is out of its bounds.
    #[error("{name} is {value}: it must be {bounds}")]
    OutOfBounds {
        /// Which figure.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        bounds: &'static str,
    },
}

impl TrafficError {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OutOfBounds { .. } => "traffic_out_of_bounds",
        }
    }
}

/// What a stack is to carry. [`Traffic::checked`] holds the bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Over a month, on average.
    pub events_per_second: f64,
    /// In the busiest minutes: shards and nodes must carry it.
    pub peak_events_per_second: f64,
    /// One event, as JSON.
    pub event_bytes: f64,
    /// How many a client sends at once.
    pub events_per_request: f64,
    /// How many users the events of one request belong to.
    pub users_per_request: f64,
    /// Events of a session until it ends.
    pub events_per_session: f64,
    /// Reads of aggregations.
    pub queries_per_second: f64,
    /// The share of events that become a dead letter, each an object of its own.
    pub dead_letter_share: f64,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            events_per_second: 100.0,
            peak_events_per_second: 200.0,
            event_bytes: 600.0,
            events_per_request: 1.0,
            users_per_request: 1.0,
            events_per_session: 12.0,
            queries_per_second: 0.2,
            dead_letter_share: 0.0001,
        }
    }
}

impl Traffic {
    /// The traffic, if it can be.
    ///
    /// # Errors
    /// [`TrafficError`] names the first figure that cannot be.
    pub fn checked(self) -> Result<Self, TrafficError> {
        let figures = [
            (
                "events per second",
                self.events_per_second,
                (f64::MIN_POSITIVE, 1e7),
                "above 0 and at most 10,000,000",
            ),
            (
                "peak events per second",
                self.peak_events_per_second,
                (self.events_per_second, 1e8),
                "at least the average and at most 100,000,000",
            ),
            (
                "event bytes",
                self.event_bytes,
                (1.0, 1e6),
                "1 to 1,000,000",
            ),
            (
                "events per request",
                self.events_per_request,
                (1.0, 2_500.0),
                "1 to 2,500, which collect takes at most",
            ),
            (
                "users per request",
                self.users_per_request,
                (1.0, self.events_per_request),
                "1 to the events of a request",
            ),
            (
                "events per session",
                self.events_per_session,
                (1.0, 2_000.0),
                "1 to 2,000, which a session counts at most",
            ),
            (
                "queries per second",
                self.queries_per_second,
                (0.0, 1e6),
                "0 to 1,000,000",
            ),
            (
                "share of dead letters",
                self.dead_letter_share,
                (0.0, 1.0),
                "0 to 1",
            ),
            (
                "bytes of a request",
                self.event_bytes * self.events_per_request,
                (1.0, 6e6),
                "at most 6,000,000, which collect takes at most",
            ),
        ];
        for (name, value, (least, most), bounds) in figures {
            // NaN is within no bounds.
            if !(value >= least && value <= most) {
                return Err(TrafficError::OutOfBounds {
                    name,
                    value,
                    bounds,
                });
            }
        }
        Ok(self)
    }

    /// Events a month.
    #[must_use]
    pub fn events(&self) -> f64 {
        self.events_per_second * crate::SECONDS
    }

    /// Requests a second.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.events_per_second / self.events_per_request
    }

    /// Events that share a record: those of one user in one request.
    #[must_use]
    pub fn events_per_record(&self) -> f64 {
        self.events_per_request / self.users_per_request
    }

    /// Records a second.
    #[must_use]
    pub fn records_per_second(&self) -> f64 {
        self.events_per_second / self.events_per_record()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        let good = Traffic::default();
        assert_eq!(good.checked(), Ok(good));
        let bad = [
            Traffic {
                events_per_second: 0.0,
                ..good
            },
            Traffic {
                events_per_second: f64::NAN,
                ..good
            },
            Traffic {
                peak_events_per_second: 99.0,
                ..good
            },
            Traffic {
                event_bytes: 0.0,
                ..good
            },
            Traffic {
                events_per_request: 2_501.0,
                ..good
            },
            Traffic {
                users_per_request: 2.0,
                ..good
            },
            Traffic {
                events_per_request: 100.0,
                event_bytes: 100_000.0,
                ..good
            },
            Traffic {
                dead_letter_share: 1.5,
                ..good
            },
            Traffic {
                queries_per_second: -1.0,
                ..good
            },
        ];
        for bad in bad {
            let error = bad.checked().unwrap_err();
            assert_eq!(error.code(), "traffic_out_of_bounds");
            assert!(error.to_string().contains("must be"), "{error}");
        }
    }
}
