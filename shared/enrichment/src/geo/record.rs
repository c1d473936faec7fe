//! A city's record, in either layout, and the place it becomes.

use crate::countries;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Where an address is: the document's `geoip`. At least one field is there.
/// A clone shares the texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    /// English name of the country.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub country_name: Option<Arc<str>>,
    /// English name of the city.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub city_name: Option<Arc<str>>,
    /// Coordinates of the city, or of the country's middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// Degrees, as a `geo_point` of the index is written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Location {
    /// North of the equator is positive; from -90 to 90.
    pub lat: f64,
    /// East of Greenwich is positive; from -180 to 180.
    pub lon: f64,
}

impl Location {
    /// `None` for what is not on the globe: the index would refuse the document.
    fn new(lat: f64, lon: f64) -> Option<Self> {
        let on_the_globe = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        on_the_globe.then_some(Self { lat, lon })
    }
}

fn as_text<S: Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

/// Fields of both layouts, borrowed from the mapped file.
///
/// | | nested (`MaxMind`) | flat (npm) |
/// |---|---|---|
/// | country | `country.names.en`, `country.iso_code` | `country_code` |
/// | city | `city.names.en` | `city` |
/// | coordinates | `location.latitude`, `location.longitude` | `latitude`, `longitude` |
#[derive(Deserialize)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    country: Option<Named<'a>>,
    #[serde(borrow)]
    city: Option<Named<'a>>,
    location: Option<Coordinates>,
    country_code: Option<&'a str>,
    latitude: Option<Degrees>,
    longitude: Option<Degrees>,
}

#[derive(Deserialize)]
struct Coordinates {
    latitude: Option<Degrees>,
    longitude: Option<Degrees>,
}

impl Record<'_> {
    /// `None` if it says nothing that a document holds.
    pub(super) fn into_place(self) -> Option<Place> {
        let code = self
            .country_code
            .or(self.country.as_ref().and_then(|country| country.iso_code));
        let country_name = self
            .country
            .and_then(|country| country.name)
            .or_else(|| code.and_then(countries::name));
        let city_name = self.city.and_then(|city| city.name);
        let (lat, lon) = match self.location {
            Some(nested) => (nested.latitude, nested.longitude),
            None => (self.latitude, self.longitude),
        };
        let location = lat
            .zip(lon)
            .and_then(|(lat, lon)| Location::new(lat.0, lon.0));
        (country_name.is_some() || city_name.is_some() || location.is_some()).then(|| Place {
            country_name: country_name.map(Arc::from),
            city_name: city_name.map(Arc::from),
            location,
        })
    }
}

/// A country or city: in the nested layout an object, in the flat one its name.
/// Written by hand: an untagged enum would copy every language first.
struct Named<'a> {
    iso_code: Option<&'a str>,
    name: Option<&'a str>,
}

/// Of the names in all languages, the English one.
#[derive(Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Named<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedVisitor)
    }
}

struct NamedVisitor;

impl<'de> Visitor<'de> for NamedVisitor {
    type Value = Named<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or an object with names")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Named<'de>, E> {
        Ok(Named {
            iso_code: None,
            name: some_text(name),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<'de>, A::Error> {
        let mut named = Named {
            iso_code: None,
            name: None,
        };
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                "iso_code" => named.iso_code = some_text(map.next_value()?),
                "names" => named.name = map.next_value::<Names<'_>>()?.en.and_then(some_text),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(named)
    }
}

/// The flat layout writes what it does not know as an empty text.
fn some_text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Degrees in whichever number type a database has them.
struct Degrees(f64);

impl<'de> Deserialize<'de> for Degrees {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DegreesVisitor)
    }
}

struct DegreesVisitor;

impl Visitor<'_> for DegreesVisitor {
    type Value = Degrees;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("degrees")
    }

    fn visit_f64<E: Error>(self, degrees: f64) -> Result<Degrees, E> {
        Ok(Degrees(degrees))
    }

    fn visit_f32<E: Error>(self, degrees: f32) -> Result<Degrees, E> {
        // By way of its shortest text: 52.374 stays 52.374, not 52.37400054931640625.
        let shortest = degrees.to_string().parse();
        Ok(Degrees(shortest.unwrap_or_else(|_| f64::from(degrees))))
    }

    fn visit_i64<E: Error>(self, degrees: i64) -> Result<Degrees, E> {
        whole(degrees)
    }

    fn visit_u64<E: Error>(self, degrees: u64) -> Result<Degrees, E> {
        whole(degrees)
    }
}

fn whole<E: Error>(degrees: impl TryInto<i16>) -> Result<Degrees, E> {
    let degrees = degrees.try_into();
    let degrees = degrees.map_err(|_| E::custom("not degrees: out of range"))?;
    Ok(Degrees(f64::from(degrees)))
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
