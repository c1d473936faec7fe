//! What is large enough.

use crate::deployment::{Deployment, Domain, Stream};
use crate::estimate::record_bytes;
use crate::measured;
use crate::prices::{PriceError, PriceList};
use crate::traffic::Traffic;
use crate::{GB, HOURS};

/// Something that does not hold what it is to carry.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortfall {
    /// What is too small.
    pub what: &'static str,
    /// What it has.
    pub has: f64,
    /// What it needs.
    pub needs: f64,
    /// Of what, and what to do.
    pub advice: &'static str,
}

/// The fewest shards that carry the peak, with room for users that are not
/// spread evenly: a shard takes 1,000 records or 1 MiB a second.
#[must_use]
pub fn fewest_shards(traffic: &Traffic) -> u32 {
    let records = traffic.peak_events_per_second / traffic.events_per_record();
    let bytes = records * record_bytes(traffic);
    let shards = (records / 1_000.0).max(bytes / 1_048_576.0) / measured::SHARD_SHARE;
    whole(shards)
}

/// GB on the disks of the cluster once the oldest index is deleted.
#[must_use]
pub(crate) fn held_gb(traffic: &Traffic, deployment: &Deployment) -> f64 {
    let a_day = traffic.events_per_second * 86_400.0 * traffic.event_bytes * measured::INDEX_SHARE;
    // Ages count from the rollover, up to a day after the event.
    let days = deployment.index_days + 1.0;
    let copies = days + deployment.replicas * days.min(measured::REPLICA_DAYS);
    a_day * copies / GB
}

/// Cores that index the peak, replicas included.
#[must_use]
pub(crate) fn cores(traffic: &Traffic, deployment: &Deployment) -> f64 {
    traffic.peak_events_per_second * (1.0 + deployment.replicas) / measured::INDEXED_A_CORE
}

/// The cheapest domain that holds the events and indexes the peak: one of the
/// general types, an even number of nodes as there are two zones. `None` if
/// not even the largest of them does with 80 nodes.
///
/// # Errors
/// [`PriceError`] if the list has no price of a volume.
pub fn smallest_domain(
    traffic: &Traffic,
    deployment: &Deployment,
    prices: &PriceList,
) -> Result<Option<Domain>, PriceError> {
    let disk_gb = held_gb(traffic, deployment) / measured::DISK_SHARE;
    let cores = cores(traffic, deployment);
    let gb_month = prices.price("opensearch.gp3_gb_month")?.dollars(1.0);
    let warm = deployment.domain.as_ref().is_some_and(|domain| domain.warm);
    let mut best: Option<(f64, Domain)> = None;
    for (name, instance) in prices.instances() {
        if !name.starts_with("m7g.") {
            continue;
        }
        let for_disk = disk_gb / f64::from(instance.max_gp3_gb);
        let for_cores = cores / f64::from(instance.vcpu);
        let nodes = whole(for_disk.max(for_cores) / 2.0) * 2;
        if nodes > 80 {
            continue;
        }
        let volume_gb = whole(disk_gb / f64::from(nodes)).max(10);
        let dollars =
            f64::from(nodes) * (instance.dollars_an_hour * HOURS + f64::from(volume_gb) * gb_month);
        if best.as_ref().is_none_or(|(least, _)| dollars < *least) {
            best = Some((
                dollars,
                Domain {
                    instance_type: name.to_owned(),
                    nodes,
                    volume_gb,
                    warm,
                },
            ));
        }
    }
    Ok(best.map(|(_, domain)| domain))
}

/// What is too small for the traffic.
///
/// # Errors
/// [`PriceError`] if the list does not know the instance type.
pub fn shortfalls(
    traffic: &Traffic,
    deployment: &Deployment,
    prices: &PriceList,
) -> Result<Vec<Shortfall>, PriceError> {
    let mut found = Vec::new();
    if let Stream::Shards(shards) = deployment.stream {
        let needs = fewest_shards(traffic);
        if needs > shards {
            found.push(Shortfall {
                what: "shards",
                has: f64::from(shards),
                needs: f64::from(needs),
                advice: "raise ShardCount, or send more events a request",
            });
        }
    }
    if let Some(domain) = &deployment.domain {
        let instance = prices.instance(&domain.instance_type)?;
        let has = f64::from(domain.nodes) * f64::from(domain.volume_gb) * measured::DISK_SHARE;
        let needs = held_gb(traffic, deployment);
        if needs > has {
            found.push(Shortfall {
                what: "GB of index",
                has,
                needs,
                advice: "raise OpenSearchVolumeGb, or keep events less long",
            });
        }
        let has = f64::from(domain.nodes) * f64::from(instance.vcpu);
        let needs = cores(traffic, deployment);
        if needs > has {
            found.push(Shortfall {
                what: "cores of OpenSearch",
                has,
                needs,
                advice: "raise OpenSearchInstanceType or OpenSearchInstanceCount",
            });
        }
    }
    Ok(found)
}

/// At least one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // as `as` saturates
fn whole(amount: f64) -> u32 {
    (amount.ceil() as u32).max(1)
}
