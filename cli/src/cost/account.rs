//! From what CloudWatch has found to what is paid for.

use super::deployed::Deployed;
use super::usage::{Ask, FUNCTIONS, TABLES};
use freshet_cost::{Component, GB, HOURS, Metered, Stream, measured};
use std::collections::BTreeMap;

/// From what was found to what is paid for.
pub(super) struct Account<'u> {
    pub(super) deployed: &'u Deployed,
    pub(super) asks: &'u [Ask],
    pub(super) found: &'u BTreeMap<String, f64>,
    pub(super) to_month: f64,
    pub(super) metered: Vec<Metered>,
    pub(super) missing: Vec<String>,
}

impl Account<'_> {
    /// A sum, a month. What was asked for and not found is missing; what the
    /// stack has not is not.
    pub(super) fn monthly(&mut self, id: &str) -> Option<f64> {
        self.value(id).map(|value| value * self.to_month)
    }

    fn value(&mut self, id: &str) -> Option<f64> {
        let found = self.found.get(id).copied();
        if found.is_none() {
            let asked = self.asks.iter().filter(|ask| ask.id == id);
            self.missing.extend(asked.map(|ask| ask.what.clone()));
        }
        found
    }

    fn add(&mut self, component: Component, what: &'static str, key: &'static str, amount: f64) {
        self.metered
            .push(Metered::new(component, what, key, amount));
    }

    pub(super) fn door(&mut self) {
        if let Some(requests) = self.monthly("api_count") {
            self.add(Component::Api, "requests", "api.request", requests);
        }
    }

    pub(super) fn functions(&mut self) {
        for (name, _, component) in FUNCTIONS {
            let Some(component) = component else {
                // Nothing between deployments is as it should be.
                continue;
            };
            let invocations = self.monthly(&format!("{name}_invocations"));
            if let Some(invocations) = invocations {
                self.add(component, "requests", "lambda.request", invocations);
            }
            if let Some(ms) = self.monthly(&format!("{name}_duration")) {
                match self.deployed.deployment.memory(name) {
                    Some(mb) => {
                        let used = ms / 1_000.0 * mb / 1_024.0;
                        self.add(component, "GB-seconds", "lambda.arm64_gb_second", used);
                    }
                    None => self.missing.push(format!("the memory of {name}")),
                }
            }
            if let Some(runs) = invocations.filter(|_| component == Component::Health) {
                self.add(component, "schedule", "scheduler.invocation", runs);
                let read = runs * measured::HEALTH_METRICS;
                self.add(component, "metrics read", "metrics.read", read);
            }
        }
    }

    pub(super) fn stream(&mut self, stream: Stream) {
        let part = Component::Stream;
        let records = self.monthly("stream_records");
        let bytes = self.monthly("stream_bytes");
        let keeps_longer = self.deployed.deployment.stream_hours > 24.0;
        match stream {
            Stream::Shards(shards) => {
                let hours = f64::from(shards) * HOURS;
                self.add(part, "shards", "kinesis.shard_hour", hours);
                if keeps_longer {
                    let key = "kinesis.extended_shard_hour";
                    self.add(part, "kept over 24 h", key, hours);
                }
                // At least one a record, and one for each 25 KB.
                if let (Some(records), Some(bytes)) = (records, bytes) {
                    let units = records.max(bytes / 25_600.0);
                    self.add(part, "PUT units", "kinesis.put_unit", units);
                }
            }
            Stream::OnDemand => {
                self.add(part, "stream", "kinesis.stream_hour", HOURS);
                if let (Some(records), Some(bytes)) = (records, bytes) {
                    // Each record is rounded up to 1 KB.
                    let written = bytes.max(records * 1_024.0) / GB;
                    self.add(part, "written", "kinesis.in_gb", written);
                    let kept_hours = (self.deployed.deployment.stream_hours - 24.0).max(0.0);
                    let kept = bytes / GB * kept_hours / HOURS;
                    self.add(part, "kept over 24 h", "kinesis.extended_gb_month", kept);
                }
                if let Some(read) = self.monthly("stream_read") {
                    self.add(part, "read", "kinesis.out_gb", read / GB);
                }
            }
        }
    }

    pub(super) fn tables(&mut self) {
        for (name, _, component) in TABLES {
            for (id, what, key) in [
                ("writes", "write units", "dynamodb.write_unit"),
                ("reads", "read units", "dynamodb.read_unit"),
            ] {
                if let Some(units) = self.monthly(&format!("{name}_{id}")) {
                    self.add(component, what, key, units);
                }
            }
        }
    }

    pub(super) fn search(&mut self, notes: &mut Vec<String>) {
        let Some(domain) = self.deployed.deployment.domain.clone() else {
            return;
        };
        // Masters and warm nodes are counted among the nodes.
        let others = if domain.warm { 5.0 } else { 0.0 };
        let Some(nodes) = self.value("nodes").map(|nodes| (nodes - others).max(0.0)) else {
            return;
        };
        self.metered
            .push(Metered::nodes("data nodes", &domain.instance_type, nodes));
        if domain.warm {
            self.metered
                .push(Metered::nodes("masters", "m7g.large.search", 3.0));
            self.metered.push(Metered::nodes(
                "warm nodes",
                "ultrawarm1.medium.search",
                2.0,
            ));
        }
        let volumes = nodes * f64::from(domain.volume_gb);
        self.add(
            Component::Search,
            "volumes",
            "opensearch.gp3_gb_month",
            volumes,
        );
        if let Some(used_mb) = self.value("used_mb") {
            notes.push(format!(
                "the indices take {:.1} of {volumes:.0} GB",
                used_mb / 1_024.0
            ));
        }
    }

    pub(super) fn logs(&mut self) {
        let of_api = |group: &str| group == "ApiLogs";
        let groups: Vec<(usize, bool)> = self
            .deployed
            .all("AWS::Logs::LogGroup")
            .enumerate()
            .map(|(n, group)| (n, of_api(&group.logical_id)))
            .collect();
        let (mut functions, mut api) = (0.0, 0.0);
        for (n, is_api) in groups {
            let bytes = self.monthly(&format!("logs_{n}")).unwrap_or(0.0);
            if is_api {
                api += bytes;
            } else {
                functions += bytes;
            }
        }
        let kept = (functions + api) * self.deployed.deployment.log_days * 24.0 / HOURS;
        self.add(
            Component::Logs,
            "of functions",
            "logs.ingested_gb",
            functions / GB,
        );
        self.add(Component::Logs, "of the API", "logs.ingested_gb", api / GB);
        self.add(
            Component::Logs,
            "stored",
            "logs.stored_gb_month",
            kept * measured::LOG_COMPRESSION / GB,
        );
    }

    pub(super) fn watching(&mut self, custom: f64) {
        let deployment = &self.deployed.deployment;
        let (alarms, composite) = (deployment.alarms, deployment.composite_alarms);
        let (dashboards, secrets) = (deployment.dashboards, deployment.secrets);
        let part = Component::Metrics;
        self.add(part, "custom metrics", "metrics.custom_month", custom);
        self.add(part, "alarms", "alarms.standard_month", f64::from(alarms));
        let key = "alarms.composite_month";
        self.add(part, "composite alarms", key, f64::from(composite));
        self.add(
            part,
            "dashboards",
            "dashboards.month",
            f64::from(dashboards),
        );
        let part = Component::Secrets;
        self.add(part, "secrets", "secrets.month", f64::from(secrets));
    }
}
