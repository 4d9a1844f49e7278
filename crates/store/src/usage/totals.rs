//! What rows add up to, per key and period.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{PicoUsd, RowStatus, UsageRow};
use crate::{Error, ErrorKind, KeyId, Result, Timestamp};

/// A period (UTC calendar) for which a key's totals are kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Since the key exists.
    Total,
    /// The month that holds the instant.
    Month(Timestamp),
    /// The day that holds the instant.
    Day(Timestamp),
    /// The day that holds the instant, for one base model.
    DayModel(Timestamp, String),
}

/// The name under which the totals are stored: `total`, `month#2026-11`, `day#2026-11-21`, `day#2026-11-21#<model>`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total => f.write_str("total"),
            Self::Month(at) => {
                let date = at.date();
                write!(f, "month#{:04}-{:02}", date.year(), u8::from(date.month()))
            }
            Self::Day(at) => write!(f, "day#{}", Day(*at)),
            Self::DayModel(at, model) => write!(f, "day#{}#{model}", Day(*at)),
        }
    }
}

struct Day(Timestamp);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.0.date();
        write!(f, "{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
    }
}

impl Bucket {
    /// Every bucket that a row counts in.
    pub fn of(row: &UsageRow) -> [Self; 4] {
        [Self::Total, Self::Month(row.ts), Self::Day(row.ts), Self::DayModel(row.ts, row.base_model.clone())]
    }
}

/// From its name; the instant is the period's first.
impl FromStr for Bucket {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let unknown = || Error::new(ErrorKind::Broken, "a total under a name that is not ours");
        let first = |date: &str| format!("{date}T00:00:00Z").parse().map_err(|_| unknown());
        let mut parts = name.splitn(3, '#');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("total"), None, None) => Ok(Self::Total),
            (Some("month"), Some(month), None) => Ok(Self::Month(first(&format!("{month}-01"))?)),
            (Some("day"), Some(day), None) => Ok(Self::Day(first(day)?)),
            (Some("day"), Some(day), Some(model)) => Ok(Self::DayModel(first(day)?, model.to_owned())),
            _ => Err(unknown()),
        }
    }
}

/// How long the periods of a query are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// Days, and the models of each.
    Days,
    /// Months.
    Months,
}

/// Which totals of a key: of the days or months (UTC) from the one that holds `since` to the one that holds `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeriodQuery {
    /// Whose totals.
    pub key_id: KeyId,
    /// Days or months.
    pub span: Span,
    /// In the first period.
    pub since: Timestamp,
    /// In the last period.
    pub until: Timestamp,
}

impl PeriodQuery {
    /// The names between which the totals stand; none is equal to the second.
    pub(crate) fn names(&self) -> (String, String) {
        let bucket = |at| match self.span {
            Span::Days => Bucket::Day(at),
            Span::Months => Bucket::Month(at),
        };
        // A model follows behind `#`, and `$` is the sign after that.
        let (first, last) = (bucket(self.since).to_string(), format!("{}$", bucket(self.until)));
        // A map refuses a range that ends before it begins.
        (first.clone().min(last.clone()), last)
    }
}

/// Sums over rows. Token sums saturate at `i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// How many rows.
    pub requests: u64,
    /// Of these, how many ended in an upstream error.
    pub errors: u64,
    /// Sum of the rows' field of that name.
    pub input_tokens: u64,
    /// Sum of the rows' field of that name.
    pub output_tokens: u64,
    /// Sum of the rows' field of that name.
    pub cache_read_tokens: u64,
    /// Sum of the rows' field of that name.
    pub cache_write_5m_tokens: u64,
    /// Sum of the rows' field of that name.
    pub cache_write_1h_tokens: u64,
    /// Sum of the rows' field of that name.
    pub reasoning_tokens: u64,
    /// How many rows had no price; their cost is not in the sum.
    pub unpriced_requests: u64,
    /// How many rows had estimated counts.
    pub estimated_requests: u64,
    /// Sum of the costs.
    pub cost_pico_usd: PicoUsd,
}

impl Totals {
    /// Adds a row.
    pub fn add(&mut self, row: &UsageRow) {
        let row = row.clamped();
        *self = self.merged(&Self {
            requests: 1,
            errors: u64::from(row.status == RowStatus::UpstreamError),
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cache_read_tokens: row.cache_read_tokens,
            cache_write_5m_tokens: row.cache_write_5m_tokens,
            cache_write_1h_tokens: row.cache_write_1h_tokens,
            reasoning_tokens: row.reasoning_tokens.unwrap_or(0),
            unpriced_requests: u64::from(row.is_unpriced()),
            estimated_requests: u64::from(row.estimated),
            cost_pico_usd: row.cost_pico_usd.unwrap_or_default(),
        });
    }

    /// Both sums in one.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let sum = |one: u64, two: u64| one.saturating_add(two).min(i64::MAX as u64);
        Self {
            requests: sum(self.requests, other.requests),
            errors: sum(self.errors, other.errors),
            input_tokens: sum(self.input_tokens, other.input_tokens),
            output_tokens: sum(self.output_tokens, other.output_tokens),
            cache_read_tokens: sum(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_5m_tokens: sum(self.cache_write_5m_tokens, other.cache_write_5m_tokens),
            cache_write_1h_tokens: sum(self.cache_write_1h_tokens, other.cache_write_1h_tokens),
            reasoning_tokens: sum(self.reasoning_tokens, other.reasoning_tokens),
            unpriced_requests: sum(self.unpriced_requests, other.unpriced_requests),
            estimated_requests: sum(self.estimated_requests, other.estimated_requests),
            cost_pico_usd: self.cost_pico_usd + other.cost_pico_usd,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_for_their_utc_period() {
        let last_moment: Timestamp = "2026-12-01T00:59:59.999+01:00".parse().unwrap();
        assert_eq!(Bucket::Total.to_string(), "total");
        assert_eq!(Bucket::Month(last_moment).to_string(), "month#2026-11");
        assert_eq!(Bucket::Day(last_moment).to_string(), "day#2026-11-30");
        assert_eq!(Bucket::Day(last_moment.plus_millis(1)).to_string(), "day#2026-12-01");
        let model = "anthropic.claude-opus-5".to_owned();
        assert_eq!(
            Bucket::DayModel(last_moment, model).to_string(),
            "day#2026-11-30#anthropic.claude-opus-5"
        );
    }

    #[test]
    fn a_million_rows_of_three_billionths_of_a_dollar_are_three_thousandths() {
        let row = Totals { requests: 1, cost_pico_usd: PicoUsd(3_000), ..Totals::default() };
        let sum = (0..1_000_000).fold(Totals::default(), |sum, _| sum.merged(&row));
        assert_eq!((sum.requests, sum.cost_pico_usd), (1_000_000, PicoUsd(3_000_000_000)));
        assert_eq!(sum.cost_pico_usd.to_string(), "0.003");
    }

    #[test]
    fn a_bucket_is_read_from_its_name() {
        let at: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let month = "2026-11-01T00:00:00Z".parse().unwrap();
        for bucket in
            [Bucket::Total, Bucket::Month(month), Bucket::Day(at), Bucket::DayModel(at, "m#n\0".to_owned())]
        {
            assert_eq!(bucket.to_string().parse::<Bucket>().unwrap(), bucket);
        }
        for wrong in ["", "all", "total#", "month#2026", "day#2026-02-30", "week#2026-11"] {
            assert!(wrong.parse::<Bucket>().is_err(), "{wrong}");
        }
    }
}
