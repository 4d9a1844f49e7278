//! Money, exact.

use std::{fmt, ops::Add, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in pico-dollars (10⁻¹² USD): so fine that a price per million tokens is a whole number per token. In JSON
/// it is a string of digits, because readers that take numbers for doubles would round it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PicoUsd(pub u128);

impl PicoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One dollar.
    pub const USD: Self = Self(1_000_000_000_000);
}

/// Sums saturate: 3.4 × 10²⁶ dollars is more than will be owed.
impl Add for PicoUsd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// In dollars with all their digits, at least two: `0.00`, `12.30`, `0.000000003`.
impl fmt::Display for PicoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:012}", self.0 % Self::USD.0);
        let kept = fraction.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.0 / Self::USD.0, &fraction[..kept])
    }
}

/// From a whole number of pico-dollars.
impl FromStr for PicoUsd {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Serialize for PicoUsd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PicoUsd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_in_dollars_with_all_its_digits() {
        for (pico, shown) in [
            (0, "0.00"),
            (1, "0.000000000001"),
            (3_000, "0.000000003"),
            (54_399_000_000, "0.054399"),
            (12_300_000_000_000, "12.30"),
            (u128::MAX, "340282366920938463463374607.431768211455"),
        ] {
            assert_eq!(PicoUsd(pico).to_string(), shown);
        }
    }

    #[test]
    fn json_keeps_every_digit() {
        let json = serde_json::to_string(&PicoUsd(u128::MAX)).unwrap();
        assert_eq!(json, r#""340282366920938463463374607431768211455""#);
        assert_eq!(serde_json::from_str::<PicoUsd>(&json).unwrap(), PicoUsd(u128::MAX));
    }
}
