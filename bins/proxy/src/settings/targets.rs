//! The accounts and regions that models are called in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::values::{self, Flag, Seconds, json_or_file};
use super::{Problem, Secret};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Accounts and regions")]
pub(crate) struct Accounts {
    /// JSON list of targets, or @path to a file with one, in the order of failover: {name, region, role_arn?, external_id?,
    /// endpoint_url?, mantle_endpoint_url?, control_endpoint_url?, bearer_token_env?, weight?, models?, context_tokens?}.
    /// Without it there is one, `default`, of BEDROCK_REGION and the settings beside it.
    #[arg(long, env = "BEDROCK_TARGETS", value_name = "JSON")]
    pub(crate) targets: Option<Targets>,
    /// Whether a session begins at the same target each time, so that its prompt caches hit; otherwise each request is
    /// spread by weight.
    #[arg(long, env = "SESSION_AFFINITY", default_value = "true", value_name = "BOOL")]
    pub(crate) session_affinity: Flag,
    /// Role to assume in the account that has the models; its own way for each target of BEDROCK_TARGETS.
    #[arg(long, env = "BEDROCK_CROSS_ACCOUNT_ROLE_ARN", value_name = "ARN", value_parser = role)]
    pub(crate) role_arn: Option<String>,
    /// What that role's trust policy asks for.
    #[arg(long, env = "BEDROCK_CROSS_ACCOUNT_EXTERNAL_ID", value_name = "ID")]
    pub(crate) external_id: Option<String>,
    /// Name of the sessions of assumed roles, as CloudTrail shows it.
    #[arg(long, env = "BEDROCK_ROLE_SESSION_NAME", default_value = "outcrop", value_name = "NAME",
        value_parser = session_name)]
    pub(crate) session_name: String,
    /// Life of the credentials of assumed roles, in seconds: 900 to 43200, and 3600 at most where our own are a role's.
    #[arg(long, env = "BEDROCK_ROLE_DURATION_SECONDS", default_value = "3600", value_name = "SECONDS",
        value_parser = session_length)]
    pub(crate) role_duration: Seconds,
}

impl Accounts {
    /// Reads the API keys that targets name by their variables.
    pub(super) fn take_tokens(&mut self, environment: &impl Fn(&str) -> Option<OsString>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for target in self.targets.iter_mut().flat_map(|targets| &mut targets.0) {
            let Some(variable) = &target.bearer_token_env else { continue };
            let value = environment(variable).and_then(|value| value.into_string().ok());
            target.bearer_token =
                value.filter(|value| !value.is_empty()).and_then(|value| value.parse().ok());
            if target.bearer_token.is_none() {
                let message = format!("{}: the variable {variable} holds no API key", target.name);
                problems.push(Problem { name: "BEDROCK_TARGETS".to_owned(), message });
            }
        }
        problems
    }
}

/// At least one target, each with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Targets(pub(crate) Vec<Target>);

/// One target as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) role_arn: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) mantle_endpoint_url: Option<String>,
    pub(crate) control_endpoint_url: Option<String>,
    pub(crate) bearer_token_env: Option<String>,
    /// Its share of the sessions that begin at a target; 0 is only gone to when others fail.
    #[serde(default)]
    pub(crate) weight: u32,
    /// Patterns of the Bedrock ids that it serves; absent is all.
    pub(crate) models: Option<Vec<String>>,
    /// The longest prompt that it takes, in tokens; absent is the model's own window.
    pub(crate) context_tokens: Option<u64>,
    /// The value of `bearer_token_env`.
    #[serde(skip)]
    pub(crate) bearer_token: Option<Secret>,
}

impl FromStr for Targets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let targets: Vec<Target> = serde_json::from_str(&json_or_file(text)?)
            .map_err(|error| format!("expected a JSON list of targets: {error}"))?;
        if targets.is_empty() {
            return Err("the list is empty".to_owned());
        }
        let mut names = BTreeSet::new();
        for target in &targets {
            target.check().map_err(|wrong| format!("target {:?}: {wrong}", target.name))?;
            if !names.insert(&target.name) {
                return Err(format!("two targets are named {:?}", target.name));
            }
        }
        Ok(Self(targets))
    }
}

impl Target {
    fn check(&self) -> Result<(), String> {
        let plain = |text: &str, more: &str| {
            (1..=64).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !plain(&self.name, "-_.") {
            return Err("name: 1 to 64 letters, digits, - _ .".to_owned());
        }
        if !plain(&self.region, "-") {
            return Err("region: expected a region, as in eu-central-1".to_owned());
        }
        let urls = [&self.endpoint_url, &self.mantle_endpoint_url, &self.control_endpoint_url];
        for url in urls.into_iter().flatten() {
            values::url(url)?;
        }
        self.role_arn.as_deref().map(role).transpose()?;
        if self.external_id.is_some() && self.role_arn.is_none() {
            return Err("external_id: there is no role_arn that it is for".to_owned());
        }
        if self.bearer_token_env.is_some() && self.role_arn.is_some() {
            return Err("bearer_token_env and role_arn: either, not both".to_owned());
        }
        if self.weight > 1_000_000 {
            return Err("weight: at most 1000000".to_owned());
        }
        let odd =
            |models: &Vec<String>| models.is_empty() || models.iter().any(|model| model.trim().is_empty());
        if self.models.as_ref().is_some_and(odd) {
            return Err("models: expected a list of patterns, or nothing for all".to_owned());
        }
        if self.context_tokens == Some(0) {
            return Err("context_tokens: at least 1".to_owned());
        }
        Ok(())
    }
}

/// `arn:aws:iam::ACCOUNT:role/NAME`, in any partition.
fn role(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let whole = match parts[..] {
        ["arn", partition, "iam", "", account, resource] => {
            partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        }
        _ => false,
    };
    if whole { Ok(text.to_owned()) } else { Err("expected arn:aws:iam::ACCOUNT:role/NAME".to_owned()) }
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
fn session_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_=,.@-+".contains(c);
    if (2..=64).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("expected 2 to 64 letters, digits and _ = , . @ - +".to_owned())
}

fn session_length(text: &str) -> Result<Seconds, String> {
    let seconds: Seconds = text.parse()?;
    let range = Duration::from_mins(15)..=Duration::from_hours(12);
    if range.contains(&seconds.0) { Ok(seconds) } else { Err("expected 900 to 43200 seconds".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/models";

    #[test]
    fn a_list_of_targets_is_read_in_its_order() {
        let text = format!(
            r#"[{{"name": "b", "region": "us-east-1", "weight": 3, "models": ["*claude*"]}},
                {{"name": "a", "region": "eu-central-1", "role_arn": "{ROLE}", "external_id": "x"}}]"#
        );
        let Targets(read) = text.parse().unwrap();
        assert_eq!(read.iter().map(|target| target.name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!((read[0].weight, read[1].weight), (3, 0));
        assert_eq!(read[1].external_id.as_deref(), Some("x"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_name_of_the_target() {
        let both = format!(r#""role_arn": "{ROLE}", "bearer_token_env": "TOKEN""#);
        for (members, said) in [
            (r#""wait": 1"#, "unknown field `wait`"),
            (r#""region": "eu west""#, "duplicate field"),
            (r#""endpoint_url": "localhost""#, "http://"),
            (r#""role_arn": "models""#, "arn:aws:iam"),
            (r#""external_id": "x""#, "role_arn"),
            (&both, "either"),
            (r#""weight": -1"#, "invalid value"),
            (r#""weight": 1000001"#, "weight"),
            (r#""models": []"#, "models"),
            (r#""context_tokens": 0"#, "context_tokens"),
        ] {
            let text = format!(r#"[{{"name": "a", "region": "us-east-1", {members}}}]"#);
            let wrong = text.parse::<Targets>().unwrap_err();
            assert!(wrong.contains(said), "{members}: {wrong}");
        }
        let twice = r#"{"name": "a", "region": "us-east-1"}"#;
        assert!(format!("[{twice}, {twice}]").parse::<Targets>().unwrap_err().contains("two targets"));
        for wrong in ["[]", "{}", r#"[{"name": "a"}]"#, r#"[{"name": "a b", "region": "us-east-1"}]"#] {
            assert!(wrong.parse::<Targets>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sessions_are_as_sts_takes_them() {
        assert!(
            session_name("outcrop@eu").is_ok() && session_name("a").is_err() && session_name("a b").is_err()
        );
        assert!(session_length("900").is_ok() && session_length("899").is_err());
        assert!(session_length("43201").is_err());
        assert!(role(ROLE).is_ok() && role("arn:aws-cn:iam::123456789012:role/a/b").is_ok());
        assert!(role("arn:aws:iam::123456789012:user/a").is_err() && role("arn:aws:iam::1:role/a").is_err());
    }
}
