//! The layouts as JSON: serde sees the same shapes as from a database. The
//! database format itself is in `tests/places.rs`.

use super::*;

fn place(json: &str) -> Option<Place> {
    serde_json::from_str::<Record<'_>>(json)
        .unwrap()
        .into_place()
}

fn written(json: &str) -> Option<String> {
    place(json).map(|place| serde_json::to_string(&place).unwrap())
}

#[test]
fn the_nested_layout() {
    let record = r#"{
        "city": {"geoname_id": 2694762, "names": {"de": "Linköping", "en": "Linköping"}},
        "continent": {"code": "EU", "names": {"en": "Europe"}},
        "country": {"geoname_id": 2661886, "is_in_european_union": true, "iso_code": "SE",
                    "names": {"de": "Schweden", "en": "Sweden"}},
        "location": {"accuracy_radius": 76, "latitude": 58.4167, "longitude": 15.6167, "time_zone": "Europe/Stockholm"},
        "registered_country": {"iso_code": "DE", "names": {"en": "Germany"}},
        "subdivisions": [{"iso_code": "E", "names": {"en": "Östergötland County"}}]
    }"#;
    assert_eq!(
        written(record).as_deref(),
        Some(
            r#"{"country_name":"Sweden","city_name":"Linköping","location":{"lat":58.4167,"lon":15.6167}}"#
        )
    );
}

#[test]
fn the_flat_layout() {
    let record = r#"{"country_code":"NL","state1":"North Holland","city":"Amsterdam","postcode":"",
        "latitude":52.374,"longitude":4.88969,"timezone":""}"#;
    assert_eq!(
        written(record).as_deref(),
        Some(
            r#"{"country_name":"Netherlands","city_name":"Amsterdam","location":{"lat":52.374,"lon":4.88969}}"#
        )
    );
}

#[test]
fn a_country_without_names_is_named_by_its_code() {
    let place = place(r#"{"country":{"iso_code":"PE"}}"#).unwrap();
    assert_eq!(place.country_name.as_deref(), Some("Peru"));
}

#[test]
fn what_is_not_known_is_left_out() {
    assert_eq!(
        written(r#"{"country_code":"CH","city":"","latitude":null}"#).as_deref(),
        Some(r#"{"country_name":"Switzerland"}"#)
    );
    for nothing in [
        "{}",
        r#"{"country_code":"ZZ","city":""}"#,
        r#"{"country":{"names":{"de":"Schweden"}},"city":{"names":{"en":""}}}"#,
        r#"{"latitude":1.5}"#,
    ] {
        assert_eq!(place(nothing), None, "{nothing}");
    }
}

#[test]
fn coordinates_off_the_globe_are_left_out() {
    for (lat, lon, known) in [
        ("90", "-180", true),
        ("91", "0", false),
        ("0", "180.01", false),
        ("1e300", "0", false),
    ] {
        let place = place(&format!(
            r#"{{"city":"X","latitude":{lat},"longitude":{lon}}}"#
        ))
        .unwrap();
        assert_eq!(place.location.is_some(), known, "{lat} {lon}");
    }
}

#[test]
fn single_precision_keeps_its_digits() {
    let degrees: Result<Degrees, serde::de::value::Error> = DegreesVisitor.visit_f32(52.374);
    assert!((degrees.unwrap().0 - 52.374).abs() < f64::EPSILON);
}
