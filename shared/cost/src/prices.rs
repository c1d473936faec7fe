//! What things cost: a dated list, as AWS publishes it.

use serde::Deserialize;
use std::collections::BTreeMap;
use thiserror::Error;

/// The list that this version was made with.
const BUILT_IN: &str = include_str!("../prices/us-east-1-2026-11.json");

/// Why a price is not known.
#[derive(Debug, Error)]
pub enum PriceError {
    /// The list is not one.
    #[error("the price list cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// A price of the list cannot be used.
    #[error("the price {key} {why}")]
    Invalid {
        /// Which.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The list lacks a price.
    #[error("the price list has no {0}")]
    Missing(String),
    /// The list lacks an instance type.
    #[error("the price list has no instance type {name}; it has {known}")]
    InstanceType {
        /// Which.
        name: String,
        /// Those it has.
        known: String,
    },
}

impl PriceError {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "prices_unreadable",
            Self::Invalid { .. } => "price_invalid",
            Self::Missing(_) => "price_missing",
            Self::InstanceType { .. } => "instance_type_unknown",
        }
    }
}

/// A price list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// The region whose prices they are.
    pub region: String,
    /// The month the list was put together.
    pub as_of: String,
    /// How the list is to be read.
    pub about: String,
    prices: BTreeMap<String, Price>,
    opensearch_instances: Instances,
}

/// One price, and where it comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What one of is paid for.
    pub unit: String,
    /// The public page that states it.
    pub from: String,
    /// When it was last seen, year and month.
    pub seen: String,
    /// Whether it was found quoted, and not only remembered.
    pub sure: bool,
    /// Why it is not sure.
    #[serde(default)]
    pub note: Option<String>,
    /// Dollars for one, if there are no tiers.
    #[serde(default)]
    price: Option<f64>,
    /// What is used up to each bound costs so much.
    #[serde(default)]
    tiers: Vec<Tier>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    /// The last tier has no bound.
    #[serde(default)]
    up_to: Option<f64>,
    price: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // said for readers of the file
struct Instances {
    from: String,
    seen: String,
    note: String,
    types: BTreeMap<String, InstanceType>,
}

/// An OpenSearch instance type.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceType {
    /// Dollars an hour.
    #[serde(rename = "hour")]
    pub dollars_an_hour: f64,
    /// Cores.
    pub vcpu: u32,
    /// Memory in GB.
    pub memory_gb: u32,
    /// The largest gp3 volume of a node.
    pub max_gp3_gb: u32,
    /// Whether its cores are shared: not for what must keep up.
    #[serde(default)]
    pub burstable: bool,
    /// Whether its price was found quoted.
    pub sure: bool,
}

impl PriceList {
    /// The list that this version was made with.
    ///
    /// # Errors
    /// Never, as a test reads it.
    pub fn built_in() -> Result<Self, PriceError> {
        Self::from_json(BUILT_IN)
    }

    /// A list of one's own: another region, another month.
    ///
    /// # Errors
    /// [`PriceError`] if it is not JSON of this form, or a price is negative
    /// or its tiers do not rise and end without a bound.
    pub fn from_json(json: &str) -> Result<Self, PriceError> {
        let list: Self = serde_json::from_str(json)?;
        for (key, price) in &list.prices {
            price.check().map_err(|why| PriceError::Invalid {
                key: key.clone(),
                why,
            })?;
        }
        for (key, instance) in &list.opensearch_instances.types {
            if !(instance.dollars_an_hour.is_finite() && instance.dollars_an_hour >= 0.0) {
                return Err(PriceError::Invalid {
                    key: key.clone(),
                    why: "is negative",
                });
            }
        }
        Ok(list)
    }

    /// The price called `key`.
    ///
    /// # Errors
    /// [`PriceError::Missing`].
    pub fn price(&self, key: &str) -> Result<&Price, PriceError> {
        let found = self.prices.get(key);
        found.ok_or_else(|| PriceError::Missing(key.to_owned()))
    }

    /// The OpenSearch instance type called `name`.
    ///
    /// # Errors
    /// [`PriceError::InstanceType`], which names those there are.
    pub fn instance(&self, name: &str) -> Result<&InstanceType, PriceError> {
        let types = &self.opensearch_instances.types;
        types.get(name).ok_or_else(|| PriceError::InstanceType {
            name: name.to_owned(),
            known: types.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// All OpenSearch instance types.
    pub fn instances(&self) -> impl Iterator<Item = (&str, &InstanceType)> {
        let types = &self.opensearch_instances.types;
        types
            .iter()
            .map(|(name, instance)| (name.as_str(), instance))
    }

    /// All prices.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Price)> {
        self.prices.iter().map(|(key, price)| (key.as_str(), price))
    }
}

impl Price {
    fn check(&self) -> Result<(), &'static str> {
        if self.price.is_some() != self.tiers.is_empty() {
            return Err("needs either price or tiers");
        }
        if !self.sure && self.note.is_none() {
            return Err("is not sure and does not say why");
        }
        let all = self.tiers.iter().map(|tier| tier.price).chain(self.price);
        if !all.clone().all(|price| price.is_finite() && price >= 0.0) {
            return Err("is negative");
        }
        let bounds: Vec<f64> = self.tiers.iter().filter_map(|tier| tier.up_to).collect();
        let rises = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let only_last_is_open = self.tiers.is_empty()
            || (bounds.len() + 1 == self.tiers.len()
                && self.tiers.last().is_some_and(|tier| tier.up_to.is_none()));
        if !(rises && only_last_is_open) {
            return Err("needs tiers that rise, the last without a bound");
        }
        Ok(())
    }

    /// Dollars for so many in a month.
    #[must_use]
    pub fn dollars(&self, amount: f64) -> f64 {
        if let Some(price) = self.price {
            return amount * price;
        }
        let mut below = 0.0;
        let mut dollars = 0.0;
        for tier in &self.tiers {
            let up_to = tier.up_to.unwrap_or(f64::INFINITY).min(amount);
            dollars += (up_to - below).max(0.0) * tier.price;
            below = up_to.max(below);
        }
        dollars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_says_of_each_price_where_it_is_from() {
        let list = PriceList::built_in().unwrap();
        assert!(list.iter().count() >= 30);
        for (key, price) in list.iter() {
            assert!(price.from.starts_with("https://aws.amazon.com/"), "{key}");
            assert_eq!(price.seen.len(), "2026-11".len(), "{key}");
            assert!(
                price.seen <= list.as_of,
                "{key} was seen after the list's month"
            );
            assert!(price.dollars(1.0) > 0.0, "{key}");
        }
    }

    #[test]
    fn tiers_are_paid_each_at_its_own_price() {
        let list = PriceList::built_in().unwrap();
        let requests = list.price("api.request").unwrap();
        assert!((requests.dollars(300e6) - 300.0).abs() < 1e-9);
        assert!((requests.dollars(400e6) - 390.0).abs() < 1e-9);
        let logs = list.price("logs.ingested_gb").unwrap();
        // The example of AWS's own announcement: 60 TB a month.
        assert!((logs.dollars(61_440.0) - 12_800.0).abs() < 1e-6);
    }

    #[test]
    fn a_list_that_cannot_be_meant_is_refused() {
        let list = |price: &str| {
            format!(
                r#"{{"region":"r","as_of":"2026-11","about":"","prices":{{"x":{{"unit":"u","from":"f","seen":"2026-11","sure":true,{price}}}}},
                "opensearch_instances":{{"from":"","seen":"","note":"","types":{{}}}}}}"#
            )
        };
        assert!(PriceList::from_json(&list(r#""price":1"#)).is_ok());
        let bad = [
            r#""price":-1"#,
            r#""price":1,"tiers":[{"price":1}]"#,
            r#""tiers":[]"#,
            r#""tiers":[{"up_to":2,"price":1},{"up_to":1,"price":1},{"price":1}]"#,
            r#""tiers":[{"up_to":2,"price":1}]"#,
            r#""tiers":[{"price":1},{"price":1}]"#,
        ];
        for bad in bad {
            let error = PriceList::from_json(&list(bad)).unwrap_err();
            assert_eq!(error.code(), "price_invalid", "{bad}");
        }
        assert_eq!(
            PriceList::from_json(&list(r#""prise":1"#))
                .unwrap_err()
                .code(),
            "prices_unreadable"
        );
        let built_in = PriceList::built_in().unwrap();
        let unknown = built_in
            .instance("m9z.nano.search")
            .unwrap_err()
            .to_string();
        assert!(unknown.contains("m7g.large.search"), "{unknown}");
    }
}
