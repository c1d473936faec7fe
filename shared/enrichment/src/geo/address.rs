//! Which addresses are worth looking up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as clients write it: blanks around it and the brackets of a URL
/// are allowed. A zone (`%eth0`) means nothing to others, so it is no address.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// Whether a visitor of the public internet can have this address: IANA's
/// special-purpose registries and multicast say no.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127 | 224..=255, ..] // this network, private, loopback, multicast and reserved
        | [100, 64..=127, ..]          // carrier-grade NAT, RFC 6598
        | [169, 254, ..]               // link-local
        | [172, 16..=31, ..]           // private
        | [192, 168, ..]               // private
        | [192, 0, 0 | 2, _]           // protocol assignments, documentation
        | [198, 18..=19, ..]           // benchmarking
        | [198, 51, 100, _]            // documentation
        | [203, 0, 113, _] => true,    // documentation
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Everything outside 2000::/3 is loopback, link-local, unique local,
    // multicast or not allocated.
    let [first, second, ..] = address.segments();
    let special = matches!(
        (first, second),
        (0x2001, 0..=0x01ff | 0x0db8) // protocol assignments (Teredo, ORCHID); documentation
            | (0x3fff, 0..=0x0fff) // documentation, RFC 9637
    );
    !special && first & 0xe000 == 0x2000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.77",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "3fff::1",
            "64:ff9b::808:808",
            "::ffff:10.0.0.1",
        ] {
            assert!(
                !is_public(text.parse::<IpAddr>().unwrap().to_canonical()),
                "{text}"
            );
        }
    }

    #[test]
    fn their_neighbours_are_public() {
        for text in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.0.0.1",
            "128.0.0.1",
            "169.253.1.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "203.0.112.1",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db9::1",
            "2606:4700::1111",
            "3ffe::1",
            "3fff:1000::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(
                is_public(text.parse::<IpAddr>().unwrap().to_canonical()),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_are_read_as_clients_write_them() {
        for (text, expected) in [
            (" 8.8.8.8\t", Some("8.8.8.8")),
            ("2606:4700::1111", Some("2606:4700::1111")),
            ("[2606:4700::1111]", Some("2606:4700::1111")),
            ("2606:4700:0:0:0:0:0:1111", Some("2606:4700::1111")),
            ("", None),
            ("8.8.8", None),
            ("8.8.8.8/24", None),
            ("8.8.8.8:443", None),
            ("08.8.8.8", None),
            ("8.8.8.8, 1.1.1.1", None),
            ("[8.8.8.8]", None),
            ("[2606:4700::1111", None),
            ("2606:4700::1111]", None),
            ("fe80::1%eth0", None),
            ("shop.example", None),
            ("8.8.8.8\0", None),
        ] {
            assert_eq!(
                parse(text),
                expected.map(|text| text.parse().unwrap()),
                "{text:?}"
            );
        }
    }
}
