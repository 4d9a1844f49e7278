//! Blocks of addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Error, Result};

/// A block of addresses, IPv4 or IPv6: `10.0.0.0/8`, `2001:db8::/32`, or an address alone. What is written as IPv4 mapped
/// into IPv6 (`::ffff:10.0.0.0/104`) is the IPv4 block, because callers are compared in that form too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    first: IpAddr,
    bits: u8,
}

/// How many bits of a mapped address stand before the IPv4 one: <https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2>.
const MAPPED: u8 = 96;

impl Cidr {
    /// Whether the address lies in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => v4_start(address, self.bits) == first,
            (IpAddr::V6(first), IpAddr::V6(address)) => v6_start(address, self.bits) == first,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn v4_start(address: Ipv4Addr, bits: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    (u32::from(address) & mask).into()
}

fn v6_start(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    (u128::from(address) & mask).into()
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed =
            || Error::invalid("an address or a block of addresses, as in 10.0.0.0/8 or 2001:db8::/32");
        let (address, bits) = text.split_once('/').map_or((text, None), |(at, bits)| (at, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(digits) if !digits.bytes().all(|byte| byte.is_ascii_digit()) => return Err(malformed()),
            Some(digits) => digits.parse().ok().filter(|bits| *bits <= most).ok_or_else(malformed)?,
        };
        let block = match address {
            IpAddr::V4(v4) => Self { first: v4_start(v4, bits).into(), bits },
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) if bits >= MAPPED => {
                    let bits = bits - MAPPED;
                    Self { first: v4_start(v4, bits).into(), bits }
                }
                Some(_) | None => Self { first: v6_start(v6, bits).into(), bits },
            },
        };
        // 10.0.0.5/8 may mean one host or sixteen million.
        if block.first != address.to_canonical() {
            return Err(Error::invalid(format!(
                "bits are set behind the prefix; the whole block is {block}"
            )));
        }
        Ok(block)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        for (block, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.8/31", "192.0.2.9", "192.0.2.10"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "fe80::1", "10.0.0.1"),
            ("::1", "::1", "::2"),
        ] {
            assert!(cidr(block).contains(inside.parse().unwrap()), "{block} {inside}");
            assert!(!cidr(block).contains(outside.parse().unwrap()), "{block} {outside}");
        }
    }

    #[test]
    fn mapped_addresses_are_the_ipv4_ones() {
        assert_eq!(cidr("::ffff:10.0.0.0/104"), cidr("10.0.0.0/8"));
        assert_eq!(cidr("::ffff:10.1.2.3"), cidr("10.1.2.3/32"));
        assert!(cidr("10.0.0.0/8").contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!cidr("10.0.0.0/8").contains("::ffff:11.1.2.3".parse().unwrap()));
        // All of IPv6 is not all of IPv4, in whatever form that comes.
        assert!(!cidr("::/0").contains("::ffff:10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for wrong in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.1/8",
            "::1/64",
            "::/129",
            "::ffff:10.0.0.0/64",
            "fe80::1%eth0",
            "localhost",
            " 10.0.0.0/8",
            "10.0.0.0/8 ",
            "10.0.0.0-10.0.0.9",
            "*",
            "10.0.0.0/999",
        ] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
        let error = "10.0.0.5/8".parse::<Cidr>().unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/8"), "{error}");
    }

    #[test]
    fn a_block_reads_what_it_writes() {
        for text in ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::/0"] {
            assert_eq!(cidr(text).to_string(), text);
            assert_eq!(
                serde_json::from_str::<Cidr>(&serde_json::to_string(&cidr(text)).unwrap()).unwrap(),
                cidr(text)
            );
        }
    }
}
