//! The kinds of values that settings have, and how their text is read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use catalog::ServiceTier;

pub(crate) use boot::mapping::Mapping;
pub(super) use boot::mapping::json_or_file;

/// true/false/1/0/yes/no/on/off, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl FromStr for Flag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Self(true)),
            "false" | "0" | "no" | "off" => Ok(Self(false)),
            _ => Err("expected true or false".to_owned()),
        }
    }
}

/// A service tier by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tier(pub(crate) ServiceTier);

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = ServiceTier::from_name(&text.trim().to_ascii_lowercase());
        known.map(Self).ok_or_else(|| "expected default, flex, priority or reserved".to_owned())
    }
}

/// A duration in seconds; fractions are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds: f64 = text.trim().parse().map_err(|_| "expected a number of seconds".to_owned())?;
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|_| "expected a number of seconds ≥ 0".to_owned())
    }
}

/// A duration in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Millis(pub(crate) Duration);

impl FromStr for Millis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let millis = text.trim().parse().map_err(|_| "expected a whole number of milliseconds".to_owned())?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// Percents from 1 to 100, comma-separated; kept in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Percents(pub(crate) Vec<u8>);

impl FromStr for Percents {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let List(words) = text.parse()?;
        let wrong = "expected whole numbers from 1 to 100, comma-separated";
        let percent = |word: String| word.parse().ok().filter(|percent| (1..=100).contains(percent));
        let mut percents: Vec<u8> = words.into_iter().map(percent).collect::<Option<_>>().ok_or(wrong)?;
        percents.sort_unstable();
        percents.dedup();
        Ok(Self(percents))
    }
}

/// Comma-separated words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List(pub(crate) Vec<String>);

impl FromStr for List {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        Ok(Self(words.map(str::to_owned).collect()))
    }
}

impl List {
    pub(crate) fn is_any(&self) -> bool {
        self.0.iter().any(|word| word == "*")
    }
}

/// A secret: never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// `{flag: flag or [flags]}`, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BetaMapping(pub(crate) Vec<(String, Vec<String>)>);

impl FromStr for BetaMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Flags {
            One(String),
            Many(Vec<String>),
        }
        let json = json_or_file(text)?;
        let map: BTreeMap<String, Flags> = serde_json::from_str(&json)
            .map_err(|_| "expected a JSON object {flag: flag or [flags]}".to_owned())?;
        let list = |flags| match flags {
            Flags::One(flag) => vec![flag],
            Flags::Many(flags) => flags,
        };
        let pairs: Vec<_> = map.into_iter().map(|(from, to)| (from, list(to))).collect();
        let flags = pairs.iter().flat_map(|(from, to)| std::iter::once(from).chain(to));
        // What is sent stands in a list, and what comes is split at commas.
        let odd = |flag: &&String| flag.is_empty() || flag.contains([',', ' ']);
        match flags.clone().find(odd) {
            Some(flag) => Err(format!("not a flag: {flag:?}")),
            None => Ok(Self(pairs)),
        }
    }
}

/// Comma-separated patterns of model ids: `*` is any run of characters, letter case aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patterns(Vec<String>);

impl FromStr for Patterns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let List(words) = text.parse()?;
        Ok(Self(words))
    }
}

impl Patterns {
    pub(crate) fn any_matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| policy::glob::matches(pattern, text))
    }
}

/// Hosts that media may be fetched from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts(Vec<String>);

/// What the list says about a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Not listed.
    Refused,
    /// Only at public addresses.
    Public,
    /// Listed with this port: at any address.
    Any,
}

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let List(words) = text.parse()?;
        let odd = |word: &&String| {
            word.contains(['/', '@', '?', '#', ' ']) || word.trim_start_matches('*').contains('*')
        };
        match words.iter().find(odd) {
            Some(word) => Err(format!("expected host, *.host, * or host:port, not {word:?}")),
            None => Ok(Self(words.iter().map(|word| word.to_ascii_lowercase()).collect())),
        }
    }
}

impl Hosts {
    /// `host` is in lower case, an IPv6 address in brackets.
    pub(crate) fn trust(&self, host: &str, port: u16) -> Trust {
        let exact = format!("{host}:{port}");
        if self.0.contains(&exact) {
            return Trust::Any;
        }
        if self.0.is_empty() || self.0.iter().any(|pattern| policy::glob::matches(pattern, host)) {
            return Trust::Public;
        }
        Trust::Refused
    }
}

/// `{input, output, cache_read, cache_write}`, each optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenWeights(pub(crate) policy::Weights);

impl FromStr for TokenWeights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Said {
            input: Option<serde_json::Number>,
            output: Option<serde_json::Number>,
            cache_read: Option<serde_json::Number>,
            cache_write: Option<serde_json::Number>,
        }
        let json = json_or_file(text)?;
        let said: Said = serde_json::from_str(&json).map_err(|_| {
            "expected a JSON object of numbers with input, output, cache_read, cache_write".to_owned()
        })?;
        let weight = |number: Option<serde_json::Number>| {
            let wrong = "a weight is a number from 0 to 1000 with at most three decimals";
            number.map(|number| thousandths(&number.to_string()).ok_or_else(|| wrong.to_owned())).transpose()
        };
        Ok(Self(policy::Weights {
            input: weight(said.input)?,
            output: weight(said.output)?,
            cache_read: weight(said.cache_read)?,
            cache_write: weight(said.cache_write)?,
        }))
    }
}

/// `1.25` as 1250, to the digit.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = !whole.is_empty() && digits(whole) && digits(part);
    // Noughts at the end say nothing: `1.0`.
    let part = part.trim_end_matches('0');
    let all = format!("{whole}{part:0<3}");
    let fits = plain && part.len() <= 3;
    all.parse().ok().filter(|weight| fits && *weight <= 1_000_000)
}

/// A path prefix: empty, or `/…` without a slash at its end.
pub(crate) fn prefix(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    if text.is_empty() || text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("expected a path".to_owned())
    }
}

/// 1 to 15 seconds: clients and load balancers give up at 20.
pub(crate) fn ping(text: &str) -> Result<Seconds, String> {
    let seconds: Seconds = text.parse()?;
    let range = Duration::from_secs(1)..=Duration::from_secs(15);
    if range.contains(&seconds.0) { Ok(seconds) } else { Err("expected 1 to 15 seconds".to_owned()) }
}

/// 1 second to an hour; fractions are allowed.
pub(crate) fn lease_ttl(text: &str) -> Result<Seconds, String> {
    let seconds: Seconds = text.parse()?;
    let range = Duration::from_secs(1)..=Duration::from_hours(1);
    if range.contains(&seconds.0) { Ok(seconds) } else { Err("expected 1 to 3600 seconds".to_owned()) }
}

/// 10 milliseconds to an hour.
pub(crate) fn refresh(text: &str) -> Result<Seconds, String> {
    let seconds: Seconds = text.parse()?;
    let range = Duration::from_millis(10)..=Duration::from_hours(1);
    if range.contains(&seconds.0) { Ok(seconds) } else { Err("expected 0.01 to 3600 seconds".to_owned()) }
}

/// What every store can hold.
pub(crate) fn context_bytes(text: &str) -> Result<usize, String> {
    let most = store::StoredTurn::MOST_BYTES;
    let fits = text.trim().parse().ok().filter(|bytes| *bytes <= most);
    fits.ok_or_else(|| format!("expected 0 to {most} bytes"))
}

/// 1 second to a day.
pub(crate) fn window(text: &str) -> Result<Seconds, String> {
    let seconds: Seconds = text.parse()?;
    let range = Duration::from_secs(1)..=Duration::from_hours(24);
    if range.contains(&seconds.0) { Ok(seconds) } else { Err("expected 1 to 86400 seconds".to_owned()) }
}

pub(crate) fn url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("expected a URL: {error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("expected http://host or https://host".to_owned()),
    }
}

pub(crate) fn header(text: &str) -> Result<String, String> {
    let name: http::HeaderName = text.parse().map_err(|_| "expected the name of a header".to_owned())?;
    Ok(name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_many_spellings_and_no_others() {
        for text in ["true", "TRUE", "1", "Yes", "on"] {
            assert_eq!(text.parse(), Ok(Flag(true)));
        }
        assert_eq!("No".parse(), Ok(Flag(false)));
        assert!("maybe".parse::<Flag>().is_err());
    }

    #[test]
    fn values_out_of_their_range_are_refused() {
        assert!(refresh("0").is_err() && refresh("3601").is_err() && refresh("30").is_ok());
        assert!(ping("0.5").is_err() && ping("16").is_err() && ping("15").is_ok());
        assert!("-1".parse::<Seconds>().is_err() && "NaN".parse::<Seconds>().is_err());
        assert!(context_bytes("3000001").is_err() && context_bytes("3000000").is_ok());
        assert!(url("ftp://x").is_err() && url("localhost:80").is_err());
        assert_eq!(url("http://h:1/").unwrap(), "http://h:1");
    }

    #[test]
    fn the_default_mapping_of_flags_is_the_converters() {
        let default = crate::settings::command();
        let default =
            default.get_arguments().find(|a| a.get_id() == "beta_mapping").unwrap().get_default_values();
        let mapping: BetaMapping = default[0].to_str().unwrap().parse().unwrap();
        assert_eq!(mapping.0, convert::native::beta::default_mapping());
    }

    #[test]
    fn a_flag_may_become_one_or_many_and_must_be_a_flag() {
        let mapping: BetaMapping = r#"{"b": ["c", "d"], "a": "x"}"#.parse().unwrap();
        let own = |flags: &[&str]| flags.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(mapping.0, [("a".to_owned(), own(&["x"])), ("b".to_owned(), own(&["c", "d"]))]);
        for wrong in ["[]", r#"{"a": 1}"#, r#"{"a": "b,c"}"#, r#"{"": "b"}"#, "{"] {
            assert!(wrong.parse::<BetaMapping>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn weights_are_exact_and_what_is_not_said_is_the_catalogues() {
        let weights: TokenWeights =
            r#"{"output": 1, "cache_read": 0.1, "cache_write": 1.25}"#.parse().unwrap();
        let expected = policy::Weights {
            input: None,
            output: Some(1000),
            cache_read: Some(100),
            cache_write: Some(1250),
        };
        assert_eq!(weights.0, expected);
        for wrong in [
            "[]",
            r#"{"input": "1"}"#,
            r#"{"input": -1}"#,
            r#"{"in": 1}"#,
            r#"{"input": 0.0001}"#,
            r#"{"input": 1001}"#,
        ] {
            assert!(wrong.parse::<TokenWeights>().is_err(), "{wrong}");
        }
        assert!(window("0").is_err() && window("86401").is_err() && window("1").is_ok());
    }

    #[test]
    fn patterns_fit_any_part_of_an_id() {
        let patterns: Patterns = "*Claude*, qwen.qwen3".parse().unwrap();
        assert!(patterns.any_matches("us.anthropic.claude-opus-5") && patterns.any_matches("qwen.qwen3"));
        assert!(!patterns.any_matches("qwen.qwen3-next") && !patterns.any_matches("amazon.nova-lite"));
    }

    #[test]
    fn a_host_is_trusted_at_any_address_only_with_its_port() {
        let hosts: Hosts = "cdn.example, *.img.example, minio:9000, [::1]:80".parse().unwrap();
        assert_eq!(hosts.trust("cdn.example", 443), Trust::Public);
        assert_eq!(hosts.trust("a.img.example", 443), Trust::Public);
        assert_eq!(hosts.trust("img.example", 443), Trust::Refused);
        assert_eq!(hosts.trust("cdn.example.evil", 443), Trust::Refused);
        assert_eq!(hosts.trust("minio", 9000), Trust::Any);
        assert_eq!(hosts.trust("minio", 9001), Trust::Refused);
        assert_eq!(hosts.trust("[::1]", 80), Trust::Any);
        assert_eq!(Hosts::default().trust("anything", 1), Trust::Public);
        assert!("http://x".parse::<Hosts>().is_err() && "a*b".parse::<Hosts>().is_err());
    }

    #[test]
    fn a_secret_shows_nothing() {
        let secret: Secret = "hunter2".parse().unwrap();
        assert_eq!(format!("{secret:?}"), "***");
    }
}
