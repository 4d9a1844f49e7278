//! What a typed value means. The texts of the errors are shown behind the name of the flag.

use catalog::Scope;
use store::{KeyStatus, PicoUsd, RowStatus, Timestamp, config::MOST_MICRO_USD};

/// `90d` in milliseconds. Nothing that lasts no time or more than a century.
pub(crate) fn duration_millis(text: &str) -> Result<i64, String> {
    const SECOND: i64 = 1_000;
    const CENTURY: i64 = 36_525 * 24 * 3_600 * SECOND;
    let wrong = || "a number and a unit, as in 12h, 90d or 4w".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let millis = match unit {
        's' => SECOND,
        'm' => 60 * SECOND,
        'h' => 3_600 * SECOND,
        'd' => 24 * 3_600 * SECOND,
        'w' => 7 * 24 * 3_600 * SECOND,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: i64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(millis)
        .filter(|millis| (SECOND..=CENTURY).contains(millis))
        .ok_or_else(|| "between one second and a hundred years".to_owned())
}

/// The same, or nothing: `0`, `0s`, `0h`, ….
pub(crate) fn overlap_millis(text: &str) -> Result<i64, String> {
    match text.strip_prefix('0') {
        Some("" | "s" | "m" | "h" | "d" | "w") => Ok(0),
        Some(_) | None => duration_millis(text),
    }
}

/// How a call ended, by its name.
pub(crate) fn row_status(text: &str) -> Result<RowStatus, String> {
    RowStatus::from_name(text).ok_or_else(|| "ok, client_closed or upstream_error".to_owned())
}

/// An instant in RFC 3339, or a date for its beginning in UTC.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    let whole = if text.len() == "2026-12-31".len() { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole.parse().map_err(|_| "a date (2026-12-31) or a time (2026-12-31T18:00:00Z)".to_owned())
}

/// `key=value`; the value may hold more equals signs.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Dollars, exactly: digits and up to six decimals, from 0.000001 to 1000000.
pub(crate) fn micro_dollars(text: &str) -> Result<u64, String> {
    const MOST: u64 = 1_000_000_000_000;
    let micro = decimal(text, 6).ok_or("dollars with at most six decimals, as in 25 or 0.50")?;
    let fits = (1..=MOST).contains(&micro);
    if fits { Ok(micro) } else { Err("between 0.000001 and 1000000 dollars".to_owned()) }
}

/// A status by its name.
pub(crate) fn status(text: &str) -> Result<KeyStatus, String> {
    KeyStatus::ALL
        .into_iter()
        .chain([KeyStatus::BudgetExceeded])
        .find(|status| status.as_str() == text)
        .ok_or_else(|| "active, revoked, expired or budget_exceeded".to_owned())
}

/// Which profiles ids without a prefix get.
pub(crate) fn scope(text: &str) -> Result<Scope, String> {
    match text.to_ascii_lowercase().as_str() {
        "global" => Ok(Scope::Global),
        "geo" => Ok(Scope::Geo),
        "base" => Ok(Scope::Base),
        _ => Err("global, geo or base".to_owned()),
    }
}

/// A price that may be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maybe {
    Some(u64),
    None,
}

/// USD per million tokens as micro-dollars, to the digit.
pub(crate) fn price(text: &str) -> Result<u64, String> {
    let micro =
        decimal(text, 6).ok_or("USD per million tokens with at most six decimals, as in 3 or 0.075")?;
    if micro > MOST_MICRO_USD {
        return Err(
            "prices are USD per million tokens, from 0 to 1000; was this meant for one token?".to_owned()
        );
    }
    Ok(micro)
}

/// The same, or `none`.
pub(crate) fn price_or_none(text: &str) -> Result<Maybe, String> {
    if text.eq_ignore_ascii_case("none") { Ok(Maybe::None) } else { price(text).map(Maybe::Some) }
}

/// `1.1` as 110.
pub(crate) fn multiplier(text: &str) -> Result<u16, String> {
    decimal(text, 2)
        .and_then(|percent| u16::try_from(percent).ok())
        .filter(|percent| (100..=1000).contains(percent))
        .ok_or_else(|| "a factor from 1 to 10 with at most two decimals, as in 1.1".to_owned())
}

/// Micro-dollars in dollars: `0.075`, `3.00`.
pub(crate) fn usd(micro: u64) -> String {
    PicoUsd(u128::from(micro) * 1_000_000).to_string()
}

/// A decimal number in units of its last place.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    // Noughts at the end say nothing: `1.10` is `1.1`.
    let part = part.trim_end_matches('0');
    if part.len() > places {
        return None;
    }
    format!("{whole}{part:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(duration_millis("90d"), Ok(90 * 86_400_000));
        assert_eq!(duration_millis("1s"), Ok(1_000));
        assert_eq!(duration_millis("2w"), Ok(14 * 86_400_000));
        assert_eq!(duration_millis("30m"), Ok(1_800_000));
        for wrong in [
            "",
            "d",
            "90",
            "0d",
            "-1d",
            "+1d",
            "1.5h",
            "9d ",
            "1y",
            "90D",
            "99999999999999999999d",
            "36526d",
            "1é",
        ] {
            assert!(duration_millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_overlap_may_be_nothing() {
        assert_eq!(overlap_millis("0"), Ok(0));
        assert_eq!(overlap_millis("0h"), Ok(0));
        assert_eq!(overlap_millis("24h"), Ok(86_400_000));
        for wrong in ["", "00", "-1h", "24", "0y"] {
            assert!(overlap_millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn instants_are_dates_or_rfc_3339() {
        assert_eq!(instant("2026-12-31").unwrap().to_string(), "2026-12-31T00:00:00.000Z");
        assert_eq!(instant("2026-12-31T18:00:00+02:00").unwrap().to_string(), "2026-12-31T16:00:00.000Z");
        for wrong in ["", "tomorrow", "2026-13-01", "2026-02-30", "2026-12-31T18:00"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dollars_are_exact() {
        for (text, micro) in [
            ("25", 25_000_000),
            ("0.1", 100_000),
            ("0.000001", 1),
            ("0012.340000", 12_340_000),
            ("1000000.000000", 1_000_000_000_000),
        ] {
            assert_eq!(micro_dollars(text), Ok(micro), "{text}");
        }
        for wrong in [
            "",
            "0",
            "0.0",
            "1000000.000001",
            "1.0000001",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "$5",
            " 5",
            "5 ",
            "0x10",
            "NaN",
            "٣",
            "99999999999999999999999",
            "1.2.3",
            "1_000",
        ] {
            assert!(micro_dollars(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn prices_are_exact_and_bounded() {
        for (text, micro) in
            [("3", 3_000_000), ("0.075", 75_000), ("0.000001", 1), ("1000.00", 1_000_000_000), ("0", 0)]
        {
            assert_eq!(price(text), Ok(micro));
        }
        assert_eq!((usd(75_000), usd(3_000_000)), ("0.075".to_owned(), "3.00".to_owned()));
        for wrong in ["", "-1", "1e3", "1,5", ".5", "0.0000001", "1000.000001", "3000000", "$3", "NaN", " 1"]
        {
            assert!(price(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            (price_or_none("none"), price_or_none("1")),
            (Ok(Maybe::None), Ok(Maybe::Some(1_000_000)))
        );
        assert_eq!((multiplier("1.10"), multiplier("10")), (Ok(110), Ok(1000)));
        assert!(multiplier("0.9").is_err() && multiplier("1.005").is_err() && multiplier("11").is_err());
    }

    #[test]
    fn a_pair_is_cut_at_the_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err());
    }
}
