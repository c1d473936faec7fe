//! The same stack with one thing changed.

use crate::bill::Bill;
use crate::deployment::{Deployment, LogLevel, Stream};
use crate::estimate::{estimate, stream_of};
use crate::prices::{PriceError, PriceList};
use crate::sizing::{fewest_shards, smallest_domain};
use crate::traffic::Traffic;

/// A stack with one thing changed, and its bill.
#[derive(Clone, Debug)]
pub struct WhatIf {
    /// What is changed, to what.
    pub name: String,
    /// The changed stack's bill.
    pub bill: Bill,
}

/// What would be cheaper, or what costs more than it seems. What is as it
/// would be is left out.
///
/// # Errors
/// [`PriceError`] if the list lacks a price.
pub fn what_ifs(
    traffic: &Traffic,
    deployment: &Deployment,
    prices: &PriceList,
) -> Result<Vec<WhatIf>, PriceError> {
    let mut cases: Vec<(String, Traffic, Deployment)> = Vec::new();
    let base = (*traffic, deployment.clone());
    let mut add = |name: &str, change: &dyn Fn(&mut Traffic, &mut Deployment)| {
        let (mut traffic, mut deployment) = base.clone();
        change(&mut traffic, &mut deployment);
        if (traffic, &deployment) != (base.0, &base.1) && traffic.checked().is_ok() {
            cases.push((name.to_owned(), traffic, deployment));
        }
    };
    for (name, events) in [
        ("1 event a request", 1.0),
        ("10 events a request, of one user", 10.0),
        ("60 events a request, of one user", 60.0),
    ] {
        add(name, &|traffic, _| {
            traffic.events_per_request = events;
            traffic.users_per_request = 1.0;
        });
    }
    let fewest = fewest_shards(traffic);
    let name = format!("the fewest shards that carry the peak: {fewest}");
    add(&name, &|_, deployment| {
        deployment.stream = Stream::Shards(fewest);
    });
    add("stream on demand", &|_, deployment| {
        deployment.stream = Stream::OnDemand;
    });
    add("stream kept for 24 h", &|_, deployment| {
        deployment.stream_hours = 24.0;
    });
    add("without sessions", &|_, deployment| {
        deployment.sessions = false;
    });
    for seconds in [1.0, 5.0] {
        add(
            &format!("aggregate waits {seconds} s for a batch"),
            &|_, deployment| deployment.aggregate.window_s = seconds,
        );
    }
    add("enrich waits 5 s for a batch", &|_, deployment| {
        deployment.enrich.window_s = 5.0;
    });
    add(
        "one batch of a shard at a time for enrich",
        &|_, deployment| {
            deployment.enrich.lanes = 1.0;
        },
    );
    for seconds in [5.0, 60.0] {
        add(
            &format!("PublishIntervalSeconds {seconds}"),
            &|_, deployment| {
                deployment.publish_interval_s = seconds;
            },
        );
    }
    for (name, level) in [
        ("LogLevel warn", LogLevel::Warn),
        ("LogLevel info", LogLevel::Info),
        ("LogLevel debug", LogLevel::Debug),
    ] {
        add(name, &|_, deployment| deployment.log_level = level);
    }
    add("without START, END, REPORT in logs", &|_, deployment| {
        deployment.platform_logs = false;
    });
    add("without the API's access log", &|_, deployment| {
        deployment.access_log = false;
    });
    add("with traces", &|_, deployment| {
        deployment.tracing = true;
    });
    add("without health", &|_, deployment| deployment.health = false);
    if deployment.domain.is_some() {
        for days in [deployment.index_days, 7.0] {
            let mut kept = deployment.clone();
            kept.index_days = days;
            let Some(domain) = smallest_domain(traffic, &kept, prices)? else {
                continue;
            };
            let name = format!(
                "OpenSearch sized for {days} days: {} {} of {} GB",
                domain.nodes, domain.instance_type, domain.volume_gb
            );
            add(&name, &|_, deployment| {
                deployment.index_days = days;
                deployment.domain = Some(domain.clone());
            });
        }
    }
    cases
        .into_iter()
        .map(|(name, traffic, deployment)| {
            let bill = Bill::of(&estimate(&traffic, &deployment), prices)?;
            Ok(WhatIf { name, bill })
        })
        .collect()
}

/// Events a second at which on demand costs what `shards` shards do: below it
/// on demand is cheaper. `None` if the shards are cheaper already when hardly
/// anything comes, or on demand still is when they are full.
///
/// # Errors
/// [`PriceError`] if the list lacks a price.
pub fn break_even(
    traffic: &Traffic,
    deployment: &Deployment,
    shards: u32,
    prices: &PriceList,
) -> Result<Option<f64>, PriceError> {
    let costs = |rate: f64, stream: Stream| {
        let traffic = Traffic {
            events_per_second: rate,
            peak_events_per_second: rate,
            ..*traffic
        };
        let deployment = Deployment {
            stream,
            ..deployment.clone()
        };
        Ok::<f64, PriceError>(Bill::of(&stream_of(&traffic, &deployment), prices)?.total())
    };
    let dearer = |rate: f64| {
        Ok::<bool, PriceError>(
            costs(rate, Stream::OnDemand)? > costs(rate, Stream::Shards(shards))?,
        )
    };
    let (mut below, mut above) = (
        1e-3,
        f64::from(shards) * 1_000.0 * traffic.events_per_record(),
    );
    if dearer(below)? || !dearer(above)? {
        return Ok(None);
    }
    for _ in 0..60 {
        let middle = (below * above).sqrt();
        if dearer(middle)? {
            above = middle;
        } else {
            below = middle;
        }
    }
    Ok(Some(above))
}
