//! Where a fetch may go: which hosts can be named, and which addresses are public.
//!
//! A gateway stands inside a network, beside instance metadata and internal services, and a URL in a request comes from
//! outside of it: <https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public internet. Forms that carry an IPv4 address are judged by it.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry/iana-ipv4-special-registry.xhtml>
#[rustfmt::skip] // A line of ranges for each purpose.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        // "This network", private, loopback, link-local (instance metadata), multicast and reserved.
        [0 | 10 | 127 | 224..=255, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..]
        // Shared address space behind carrier-grade NAT.
        | [100, 64..=127, ..]
        // Protocol assignments, documentation, 6to4 relays, benchmarks.
        | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] | [198, 18 | 19, ..]
        // A host service of Azure's, at an address that looks public.
        | [168, 63, 129, 16]
    )
}

/// <https://www.iana.org/assignments/iana-ipv6-special-registry/iana-ipv6-special-registry.xhtml>
fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // IPv4-mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, ORCHID and other protocol assignments (2001::/23), documentation.
        [0x2001, second, ..] if second < 0x0200 || second == 0x0db8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // What is not global unicast is unspecified, loopback, unique local, link-local, multicast or unassigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// A host as it may stand in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

/// Reads a host in lower case. `None` for what is neither a plain name nor an address in its usual form: resolvers take
/// `2130706433`, `0x7f.1` and `0177.0.0.1` for addresses too, which no honest URL needs.
pub(super) fn host(text: &str) -> Option<Host<'_>> {
    if let Some(inner) = text.strip_prefix('[') {
        return inner.strip_suffix(']')?.parse().ok().map(|address| Host::Address(IpAddr::V6(address)));
    }
    // Strict: four decimal numbers without leading zeros.
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Address(IpAddr::V4(address)));
    }
    let plain = |label: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(legal)
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    // A name that ends in a number is an address in disguise: <https://url.spec.whatwg.org/#ends-in-a-number-checker>.
    let hex =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let numeric = hex || last.bytes().all(|byte| byte.is_ascii_digit());
    (text.len() <= 253 && text.split('.').all(plain) && !numeric).then_some(Host::Name(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "8.8.8.8 1.1.1.1 172.15.255.255 172.32.0.1 100.63.255.255 100.128.0.1 169.253.0.1 192.0.1.1 \
        198.17.0.1 223.255.255.255 2606:4700::1111 2a00:1450::1 2001:4860:4860::8888 3fff:1000::1 ::ffff:8.8.8.8 \
        64:ff9b::808:808 2002:808:808::1";

    const NOT_PUBLIC: &[(&str, &str)] = &[
        (
            "unspecified, loopback, private",
            "0.0.0.0 0.1.2.3 127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 \
            172.31.255.255 192.168.1.1",
        ),
        (
            "link-local, shared, multicast, reserved, broadcast",
            "169.254.169.254 100.64.0.1 100.100.100.200 \
            100.127.255.255 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255",
        ),
        (
            "protocol assignments, documentation, benchmarks, relays, a cloud's own",
            "192.0.0.1 192.0.0.192 192.0.2.1 \
            198.51.100.1 203.0.113.1 198.18.0.1 198.19.255.255 192.88.99.1 168.63.129.16",
        ),
        (
            "the same for IPv6",
            ":: ::1 fc00::1 fd00:ec2::254 fe80::1 febf::1 fec0::1 ff02::1 2001:db8::1 3fff::1 \
            100::1 5f00::1 4000::1",
        ),
        (
            "IPv4 inside: mapped, compatible",
            "::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::127.0.0.1 \
            ::7f00:1 ::8.8.8.8",
        ),
        (
            "IPv4 inside: NAT64 and its local prefix, 6to4, Teredo, ORCHID",
            "64:ff9b::7f00:1 64:ff9b::a9fe:a9fe \
            64:ff9b:1::808:808 2002:7f00:1::1 2002:a9fe:a9fe::1 2002:c0a8:101:: 2001:0:808:808::1 2001:10::1 \
            2001:20::1",
        ),
    ];

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for text in PUBLIC.split_whitespace() {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for (what, list) in NOT_PUBLIC {
            for text in list.split_whitespace() {
                assert!(!is_public(text.parse().unwrap()), "{what}: {text}");
            }
        }
    }

    #[test]
    fn hosts_are_plain_names_or_addresses_in_their_usual_form() {
        for text in ["example.com", "a-b.c_d.example", "xn--bcher-kva.example", "3com.com", "0x7f.example"] {
            assert_eq!(host(text), Some(Host::Name(text)));
        }
        for text in ["8.8.8.8", "127.0.0.1"] {
            assert_eq!(host(text), Some(Host::Address(text.parse().unwrap())));
        }
        assert_eq!(host("[::1]"), Some(Host::Address("::1".parse().unwrap())));
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "2130706433",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "0x7f.0.0.1",
            "0x7f000001",
            "0x7f.1",
            "1.2.3.4.5",
            "256.1.1.1",
            "example.0x",
            "example.1",
            "127.0.0.1.",
            "[::1",
            "[fe80::1%eth0]",
            "[127.0.0.1]",
            "::1",
            "a%2eb",
            "a b",
            "exämple.com",
            "a\\b",
            "a@b",
        ] {
            assert_eq!(host(text), None, "{text}");
        }
    }
}
