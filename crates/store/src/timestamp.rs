//! An instant in UTC with millisecond precision, written as RFC 3339.

use std::{fmt, str::FromStr, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{Date, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// Milliseconds since the Unix epoch, between the years 0000 and 9999 (what RFC 3339 can write).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// 0000-01-01T00:00:00.000Z.
const FIRST: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z.
const LAST: i64 = 253_402_300_799_999;

impl Timestamp {
    /// A day in milliseconds; in UTC every one is as long.
    pub const DAY_MILLIS: i64 = 86_400_000;

    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the Unix epoch; what lies outside the years 0000 to 9999 is moved to the nearest end.
    pub fn from_unix_millis(millis: i64) -> Self {
        Self(millis.clamp(FIRST, LAST))
    }

    /// The wall clock of this machine. For programs: libraries get their time as an argument.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_millis(self) -> i64 {
        self.0
    }

    /// This instant moved by `millis` (either way), kept within the range of the type.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::from_unix_millis(self.0.saturating_add(millis))
    }

    /// The beginning of its day in UTC.
    #[must_use]
    pub fn day_start(self) -> Self {
        Self::from_unix_millis(self.0.div_euclid(Self::DAY_MILLIS) * Self::DAY_MILLIS)
    }

    pub(crate) fn date(self) -> Date {
        self.utc().date()
    }

    fn utc(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let millis = match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Self::from_unix_millis(millis)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.utc();
        write!(f, "{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())?;
        write!(f, "T{:02}:{:02}:{:02}.{:03}Z", at.hour(), at.minute(), at.second(), at.millisecond())
    }
}

impl FromStr for Timestamp {
    type Err = time::error::Parse;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = OffsetDateTime::parse(text, &Rfc3339)?.to_offset(UtcOffset::UTC);
        // Flooring keeps the order of instants before 1970 too.
        let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
        Ok(Self::from_unix_millis(i64::try_from(millis).unwrap_or(LAST)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_with_milliseconds_and_read_back() {
        let at = Timestamp::from_unix_millis(1_795_248_000_120);
        assert_eq!(at.to_string(), "2026-11-21T08:00:00.120Z");
        assert_eq!("2026-11-21T08:00:00.120Z".parse::<Timestamp>().unwrap(), at);
        assert_eq!("2026-11-21T10:30:00.120+02:30".parse::<Timestamp>().unwrap(), at);
        assert_eq!(serde_json::to_string(&at).unwrap(), r#""2026-11-21T08:00:00.120Z""#);
        assert_eq!(serde_json::from_str::<Timestamp>(r#""2026-11-21T08:00:00.120Z""#).unwrap(), at);
    }

    #[test]
    fn the_ends_of_the_range_survive_a_round_trip() {
        for end in [i64::MIN, i64::MAX] {
            let at = Timestamp::from_unix_millis(end);
            assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at, "{at}");
        }
        assert!("tomorrow".parse::<Timestamp>().is_err());
    }
}
