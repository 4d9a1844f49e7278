//! What a client is told when it is made.

use std::fmt;
use std::time::Duration;

/// A value that must not show: it prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

/// Where the credentials for signing come from. A bearer token in [`Settings`] makes them unnecessary.
#[derive(Clone, Debug, Default)]
pub enum CredentialsSource {
    /// The chain of every AWS SDK: environment, profile, web identity, container, instance metadata.
    #[default]
    DefaultChain,
    /// Fixed ones, for the simulator and for tests.
    Static {
        /// `AKIA…` or `ASIA…`.
        access_key_id: String,
        /// The secret that belongs to it.
        secret_access_key: Secret,
        /// Only with temporary credentials.
        session_token: Option<Secret>,
    },
    /// A role, of another account most likely, that the default chain's credentials may assume.
    Role(Role),
}

/// A role to assume by [AssumeRole](https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html), asked of the
/// region's own STS, or of `AWS_ENDPOINT_URL_STS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `arn:aws:iam::ACCOUNT:role/NAME`.
    pub arn: String,
    /// What the role's trust policy asks for, so that nobody else can make us assume it.
    pub external_id: Option<String>,
    /// How the session is called in the other account's CloudTrail.
    pub session_name: String,
    /// How long its credentials last: 15 minutes to 12 hours, and an hour at most where the chain's own are a role's.
    pub duration: Duration,
}

/// Everything a [`Client`](crate::Client) can be told. `Default` holds the documented defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// AWS region; none asks the SDK's chain and falls back to `us-east-1`.
    pub region: Option<String>,
    /// Base address instead of the region's own; none honours `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`, `AWS_ENDPOINT_URL`
    /// and the profile. A bearer token is sent there too, so point it only at what may see it.
    pub endpoint_url: Option<String>,
    /// The same for `bedrock-mantle`; none is the region's own address.
    pub mantle_endpoint_url: Option<String>,
    /// Base address of the control plane, which is asked what is behind an inference profile. None: `endpoint_url` where
    /// that is on this machine; else `AWS_ENDPOINT_URL_BEDROCK`, `AWS_ENDPOINT_URL` and the profile, else the region's own.
    pub control_endpoint_url: Option<String>,
    /// A [Bedrock API key](https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html), sent in place of a signature.
    pub bearer_token: Option<Secret>,
    /// Who signs.
    pub credentials: CredentialsSource,
    /// Name lookup, TCP and TLS together, over all addresses; also the longest wait for a free place when
    /// `max_concurrency` is set.
    pub connect_timeout: Duration,
    /// Streams: from the start of an attempt until its first frame. Answers that are not streamed come only when the
    /// model is done, so `total_timeout` alone bounds those.
    pub first_byte_timeout: Duration,
    /// Silence inside an answer that has begun.
    pub idle_timeout: Duration,
    /// A whole call that is not streamed, its retries included. Streams have no total.
    pub total_timeout: Duration,
    /// Attempts of one call, the first one included; 0 counts as 1.
    pub max_attempts: u32,
    /// The first back-off is anywhere between nothing and this; it doubles with each attempt.
    pub retry_base: Duration,
    /// The longest single wait; an upstream that asks for more gets its answer passed on instead.
    pub retry_max_wait: Duration,
    /// Retries as a share of requests; a small burst is always allowed.
    pub retry_budget_percent: u32,
    /// How long a connection may lie unused before it is not used again.
    pub pool_idle: Duration,
    /// Calls in flight at once, over all workers; 0 sets no limit.
    pub max_concurrency: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: None,
            endpoint_url: None,
            mantle_endpoint_url: None,
            control_endpoint_url: None,
            bearer_token: None,
            credentials: CredentialsSource::DefaultChain,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_mins(10),
            idle_timeout: Duration::from_secs(330),
            total_timeout: Duration::from_mins(30),
            max_attempts: 3,
            retry_base: Duration::from_millis(250),
            retry_max_wait: Duration::from_secs(5),
            retry_budget_percent: 20,
            pool_idle: Duration::from_secs(50),
            max_concurrency: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_print_without_their_secrets() {
        let settings = Settings {
            bearer_token: Some("ABSK-canary".into()),
            credentials: CredentialsSource::Static {
                access_key_id: "AKIDEXAMPLE".into(),
                secret_access_key: "canary-secret".into(),
                session_token: Some("canary-token".into()),
            },
            ..Settings::default()
        };
        let printed = format!("{settings:?}");
        assert!(!printed.contains("canary"), "{printed}");
        assert!(printed.contains("AKIDEXAMPLE"), "the id is no secret and helps to find mistakes");
    }
}
