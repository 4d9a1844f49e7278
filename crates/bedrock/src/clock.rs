//! The upstream's clock as far as we know it: a signature more than five minutes off is refused, and a host whose clock is
//! wrong should still work. The SDKs do the same.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Differences up to this many seconds are not worth a correction.
const TOLERATED: i64 = 240;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// Seconds that the upstream is ahead.
    ahead: AtomicI64,
}

impl Clock {
    /// Seconds since 1970 by the upstream's clock.
    pub(crate) fn now(&self) -> u64 {
        local().saturating_add_signed(self.correction())
    }

    pub(crate) fn correction(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// Compares clocks with the `date` header of a refusal.
    pub(crate) fn learn(&self, date: &str) {
        if let Some(theirs) = http_date(date) {
            let ahead = theirs.saturating_sub_unsigned(local());
            let correction = if ahead.abs() > TOLERATED { ahead } else { 0 };
            // Answers that follow each other differ by seconds; only a real change is news.
            if (correction - self.correction()).abs() > TOLERATED {
                self.ahead.store(correction, Ordering::Relaxed);
            }
        }
    }
}

fn local() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// `Sat, 21 Nov 2026 08:00:00 GMT` in seconds since 1970; no other form is sent by a living server.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split(' ').skip(1);
    let day: i64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    // Civil to days, with years that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read() {
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Tue, 29 Feb 2000 23:59:59 GMT"), Some(951_868_799));
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for wrong in
            ["", "Sun", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 99999 08:49:37 GMT", "x, y z 1 2"]
        {
            assert_eq!(http_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_large_difference_is_corrected() {
        let clock = Clock::default();
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        clock.learn("Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(clock.now().abs_diff(now.unsigned_abs()) <= 5);
        let learnt = clock.correction();
        clock.learn("Sun, 06 Nov 1994 08:50:07 GMT");
        assert_eq!(clock.correction(), learnt);
    }
}
