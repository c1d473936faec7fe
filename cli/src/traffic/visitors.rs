//! Who visits: from where, and with what.

use super::uuid;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

const USER_AGENTS: &str = include_str!("user_agents.txt");

static AGENTS: LazyLock<Vec<&'static str>> = LazyLock::new(|| USER_AGENTS.lines().collect());
static COUNTRY_SHARES: LazyLock<Option<WeightedIndex<u32>>> =
    LazyLock::new(|| WeightedIndex::new(COUNTRIES.iter().map(|country| country.share)).ok());

/// A country, and addresses of a large access provider there.
#[derive(Debug)]
pub(super) struct Country {
    /// As the place lookup calls it.
    #[cfg_attr(not(test), expect(dead_code, reason = "what the tests compare with"))]
    pub(super) name: &'static str,
    locale: &'static str,
    /// How many of the visitors, relative to the others.
    share: u32,
    /// First address and length of the prefix.
    v4: (Ipv4Addr, u32),
    v6: Option<(Ipv6Addr, u32)>,
}

const fn v4(a: u8, b: u8, prefix: u32) -> (Ipv4Addr, u32) {
    (Ipv4Addr::new(a, b, 0, 0), prefix)
}

const fn v6(a: u16, b: u16, prefix: u32) -> Option<(Ipv6Addr, u32)> {
    Some((Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix))
}

#[rustfmt::skip]
pub(super) const COUNTRIES: [Country; 14] = [
    Country { name: "United States", locale: "en-US", share: 26, v4: v4(73, 0, 9), v6: v6(0x2601, 0, 24) },
    Country { name: "Germany", locale: "de-DE", share: 14, v4: v4(87, 128, 11), v6: v6(0x2003, 0xc0, 27) },
    Country { name: "United Kingdom", locale: "en-GB", share: 10, v4: v4(86, 128, 11), v6: v6(0x2a00, 0x23c0, 27) },
    Country { name: "France", locale: "fr-FR", share: 9, v4: v4(86, 192, 11), v6: None },
    Country { name: "Japan", locale: "ja-JP", share: 7, v4: v4(60, 64, 12), v6: None },
    Country { name: "India", locale: "en-IN", share: 7, v4: v4(117, 192, 11), v6: None },
    Country { name: "Mexico", locale: "es-MX", share: 5, v4: v4(189, 128, 11), v6: None },
    Country { name: "Canada", locale: "en-CA", share: 4, v4: v4(70, 24, 13), v6: None },
    Country { name: "Australia", locale: "en-AU", share: 4, v4: v4(1, 120, 13), v6: None },
    Country { name: "Netherlands", locale: "nl-NL", share: 3, v4: v4(77, 160, 12), v6: None },
    Country { name: "Spain", locale: "es-ES", share: 3, v4: v4(80, 24, 13), v6: None },
    Country { name: "Sweden", locale: "sv-SE", share: 3, v4: v4(81, 224, 12), v6: None },
    Country { name: "Poland", locale: "pl-PL", share: 3, v4: v4(83, 0, 13), v6: None },
    Country { name: "South Africa", locale: "en-ZA", share: 2, v4: v4(105, 0, 12), v6: None },
];

/// Somebody who comes again: always from the same place, with the same device.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) user_id: String,
    pub(super) ip_address: String,
    pub(super) user_agent: &'static str,
    pub(super) locale: &'static str,
}

impl Visitor {
    /// Visitor `number`, made from nothing but the seed.
    pub(super) fn new(seed: u64, number: u32) -> Self {
        let mut rng = StdRng::seed_from_u64(seed.rotate_left(32) ^ u64::from(number) ^ 0x5eed);
        let country = COUNTRY_SHARES
            .as_ref()
            .map_or(0, |shares| shares.sample(&mut rng));
        let country = &COUNTRIES[country];
        Self {
            user_id: format!("u-{}", uuid(&mut rng).simple()),
            ip_address: country.address(&mut rng),
            user_agent: AGENTS.choose(&mut rng).copied().unwrap_or_default(),
            locale: country.locale,
        }
    }
}

impl Country {
    pub(super) fn address(&self, rng: &mut StdRng) -> String {
        if let Some((block, prefix)) = self.v6.filter(|_| rng.random_bool(0.4)) {
            let host = rng.random::<u128>() >> prefix;
            return Ipv6Addr::from(u128::from(block) | host).to_string();
        }
        let (block, prefix) = self.v4;
        let host = rng.random::<u32>() >> prefix;
        Ipv4Addr::from(u32::from(block) | host).to_string()
    }
}
