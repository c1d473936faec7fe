//! The place of an IP address.
//!
//! Two layouts of city databases are read: MaxMind's nested one (GeoLite2 and
//! GeoIP2 City) and the flat one of the npm packages (`country_code`, `city`,
//! `latitude`). IPv4 and IPv6 may be in one file or in two.

use crate::countries;
use maxminddb::{Mmap, Reader};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// How many addresses are remembered.
const CACHED: usize = 50_000;

/// Why a database cannot be used.
#[derive(Debug, Error)]
pub enum GeoError {
    /// The file is missing, or no MaxMind database.
    #[error("the city database {} cannot be opened", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: maxminddb::MaxMindDbError,
    },
}

/// Where an address is, as the document's `geoip`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// English name of the country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_name: Option<Arc<str>>,
    /// English name of the city.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city_name: Option<Arc<str>>,
    /// The city's coordinates, or those of the country's middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// Degrees, as OpenSearch reads a `geo_point`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Location {
    /// North is positive.
    pub lat: f64,
    /// East is positive.
    pub lon: f64,
}

/// City databases, mapped into memory, with a cache in front.
pub struct Geo {
    databases: Vec<Reader<Mmap>>,
    cache: Cache<IpAddr, Option<Place>>,
}

impl Geo {
    /// Maps the databases; later ones are asked what earlier ones do not know.
    /// Without any, nothing has a place.
    ///
    /// # Errors
    /// [`GeoError::Open`] names the file that cannot be used.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, GeoError> {
        let databases = paths
            .iter()
            .map(|path| map(path.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            databases,
            cache: Cache::new(CACHED),
        })
    }

    /// The place of an address a client sent: brackets and surrounding blanks
    /// are allowed. `None` if it is no address, not a public one, or unknown.
    #[must_use]
    pub fn lookup_str(&self, text: &str) -> Option<Place> {
        let text = text.trim();
        let text = text
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(text);
        self.lookup(text.parse().ok()?)
    }

    /// The place of an address; `None` if it is not public or unknown.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        if !is_public(address) {
            return None;
        }
        if let Some(known) = self.cache.get(&address) {
            return known;
        }
        let place = self
            .databases
            .iter()
            .find_map(|database| find(database, address));
        self.cache.insert(address, place.clone());
        place
    }
}

fn map(path: &Path) -> Result<Reader<Mmap>, GeoError> {
    // SAFETY: a mapped file that changes underneath is undefined behaviour.
    // The databases are in a read-only Lambda layer, or locally in a folder
    // that is only ever replaced as a whole, never written in place.
    #[allow(unsafe_code)]
    unsafe { Reader::open_mmap(path) }.map_err(|source| GeoError::Open {
        path: path.to_owned(),
        source,
    })
}

/// A city's record in either layout; borrowed from the mapped file.
#[derive(Deserialize)]
struct Record<'a> {
    // nested
    #[serde(borrow)]
    country: Option<Named<'a>>,
    #[serde(borrow)]
    city: Option<City<'a>>,
    location: Option<Coordinates>,
    // flat
    country_code: Option<&'a str>,
    latitude: Option<Degrees>,
    longitude: Option<Degrees>,
}

/// `city` is text in the flat layout and an object in the nested one.
#[derive(Deserialize)]
#[serde(untagged)]
enum City<'a> {
    Flat(&'a str),
    #[serde(borrow)]
    Nested(Named<'a>),
}

#[derive(Deserialize)]
struct Named<'a> {
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Option<Names<'a>>,
}

#[derive(Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Deserialize)]
struct Coordinates {
    latitude: Option<Degrees>,
    longitude: Option<Degrees>,
}

/// Degrees in single or double precision: databases have either.
#[derive(Clone, Copy)]
struct Degrees(f64);

impl<'de> Deserialize<'de> for Degrees {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DegreesVisitor;
        impl serde::de::Visitor<'_> for DegreesVisitor {
            type Value = Degrees;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("degrees")
            }
            fn visit_f32<E>(self, v: f32) -> Result<Degrees, E> {
                // By way of its shortest text, so that 52.3740 stays 52.374.
                Ok(Degrees(
                    v.to_string().parse().unwrap_or_else(|_| f64::from(v)),
                ))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Degrees, E> {
                Ok(Degrees(v))
            }
        }
        deserializer.deserialize_any(DegreesVisitor)
    }
}

fn find(database: &Reader<Mmap>, address: IpAddr) -> Option<Place> {
    // A record that does not decode is a place that is not known.
    let record: Record<'_> = database.lookup(address).ok()?.decode().ok()??;
    let english = |named: &Named<'_>| {
        named
            .names
            .as_ref()
            .and_then(|names| names.en.map(Arc::from))
    };
    let code = record
        .country_code
        .or(record.country.as_ref().and_then(|country| country.iso_code));
    let country_name = record
        .country
        .as_ref()
        .and_then(english)
        .or_else(|| code.and_then(countries::name).map(Arc::from));
    let city_name = record.city.as_ref().and_then(|city| match city {
        City::Flat(name) => (!name.is_empty()).then(|| Arc::from(*name)),
        City::Nested(named) => english(named),
    });
    let (lat, lon) = match &record.location {
        Some(location) => (location.latitude, location.longitude),
        None => (record.latitude, record.longitude),
    };
    let location = lat.zip(lon).map(|(lat, lon)| Location {
        lat: lat.0,
        lon: lon.0,
    });
    let place = Place {
        country_name,
        city_name,
        location,
    };
    (place.country_name.is_some() || place.city_name.is_some() || place.location.is_some())
        .then_some(place)
}

/// Whether an address can belong to a visitor on the internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            let reserved = a == 0 || a >= 240;
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_multicast()
                || shared
                || reserved)
        }
        IpAddr::V6(v6) => {
            let documentation = v6.segments()[..2] == [0x2001, 0x0db8];
            !(v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || documentation)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_nobody_visits_from_have_no_place() {
        for text in [
            "10.1.2.3",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "192.0.2.1",
            "224.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(
                !is_public(text.parse::<IpAddr>().unwrap().to_canonical()),
                "{text}"
            );
        }
        assert!(
            is_public("8.8.8.8".parse().unwrap()) && is_public("2606:4700::1111".parse().unwrap())
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Geo::open(&["/nowhere/city.mmdb"])
            .err()
            .map(|e| e.to_string());
        assert_eq!(
            error.as_deref(),
            Some("the city database /nowhere/city.mmdb cannot be opened")
        );
    }
}
