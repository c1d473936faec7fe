//! What went in and out of each stage, and what was filtered on the way: for
//! the report only.

use crate::series::{Asked, Series};
use serde::Serialize;

/// Events of one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Flow {
    /// That came to the stage.
    pub events_in: f64,
    /// That went on from it.
    pub events_out: f64,
    /// That did not: refused, there already, too late.
    pub filtered: f64,
}

/// The stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pipeline {
    /// Judged; accepted; refused.
    pub collect: Flow,
    /// Final outcomes; newly indexed; duplicates, rejected and undecodable.
    pub enrich: Flow,
    /// Read; read in time; too late or too early.
    pub aggregate: Flow,
}

/// Of the last period that should be whole.
#[must_use]
pub fn check(series: &Series) -> Pipeline {
    let of = |stage, name| series.settled(Asked::Ours(stage, name));
    let indexed = of("enrich", "Indexed");
    let not_indexed = ["Duplicates", "Rejected", "Undecodable"];
    let not_indexed: f64 = not_indexed.iter().map(|name| of("enrich", name)).sum();
    let read = of("aggregate", "Received");
    let untimely = of("aggregate", "LateDropped") + of("aggregate", "EarlyDropped");
    Pipeline {
        collect: Flow {
            events_in: of("collect", "Received"),
            events_out: of("collect", "Accepted"),
            filtered: of("collect", "Rejected"),
        },
        enrich: Flow {
            events_in: indexed + not_indexed,
            events_out: indexed,
            filtered: not_indexed,
        },
        aggregate: Flow {
            events_in: read,
            events_out: (read - untimely).max(0.0),
            filtered: untimely,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_goes_out_or_is_filtered() {
        let mut series = Series::empty(0, 60_000, 3);
        for (stage, name, value) in [
            ("collect", "Received", 103.0),
            ("collect", "Accepted", 100.0),
            ("collect", "Rejected", 3.0),
            ("enrich", "Indexed", 90.0),
            ("enrich", "Duplicates", 6.0),
            ("enrich", "Rejected", 3.0),
            ("enrich", "Undecodable", 1.0),
            ("aggregate", "Received", 100.0),
            ("aggregate", "LateDropped", 2.0),
        ] {
            series.set(Asked::Ours(stage, name), &[7.0, value]);
        }
        let pipeline = check(&series);
        for flow in [pipeline.collect, pipeline.enrich, pipeline.aggregate] {
            assert_eq!(flow.events_in, flow.events_out + flow.filtered);
        }
        assert_eq!(
            (pipeline.enrich.events_in, pipeline.aggregate.events_out),
            (100.0, 98.0)
        );
        assert_eq!(check(&Series::empty(0, 60_000, 3)), Pipeline::default());
    }
}
