//! The client: where it calls, who signs, and how long it waits.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, environment::EnvironmentVariableCredentialsProvider,
    meta::credentials::CredentialsProviderChain,
};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::{
    Client, Config,
    config::{
        Builder, SharedCredentialsProvider, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls;

use super::DynamoDbSettings;

/// Where nothing names a region.
const REGION: &str = "us-east-1";
const CONNECT: Duration = Duration::from_secs(2);
/// A try, and a call with its one repeat. A caller with an unknown key waits for a read, nobody for a write.
const READ: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(4));
const WRITE: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(8));
/// The first pause before the repeat, with full jitter.
const PAUSE: Duration = Duration::from_millis(50);

/// Two clients on one set of connections.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    pub(super) reads: Client,
    pub(super) writes: Client,
}

impl Clients {
    pub(super) async fn connect(settings: &DynamoDbSettings) -> Self {
        let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
        let builder = match &settings.endpoint_url {
            Some(url) if url.starts_with("http://") => stand_in(settings.region.as_deref()).endpoint_url(url),
            endpoint => {
                let mut loader =
                    aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http.clone());
                if let Some(region) = &settings.region {
                    loader = loader.region(Region::new(region.clone()));
                }
                let found = loader.load().await;
                let mut builder = Builder::from(&found);
                builder.set_region(Some(found.region().cloned().unwrap_or(Region::from_static(REGION))));
                match endpoint {
                    Some(url) => builder.endpoint_url(url),
                    None => builder,
                }
            }
        };
        let config = builder
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http)
            // Answers are small and whole calls have a deadline.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::standard().with_max_attempts(2).with_initial_backoff(PAUSE))
            .build();
        let client = |limits| Client::from_conf(config.to_builder().timeout_config(timeouts(limits)).build());
        Self { reads: client(READ), writes: client(WRITE) }
    }
}

/// For a call that must not be made twice: a repeat of an update that arrived would see its own version as somebody
/// else's.
pub(super) fn once() -> Builder {
    Config::builder().retry_config(RetryConfig::disabled())
}

/// DynamoDB itself is called over TLS; what is called without is a stand-in on a developer's machine. It gets the
/// environment's credentials or made-up ones, and no chain is searched for real ones.
fn stand_in(region: Option<&str>) -> Builder {
    let made_up = Credentials::new("outcrop", "outcrop", None, None, "made up");
    let chain =
        CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("made up", SharedCredentialsProvider::new(made_up));
    Config::builder()
        .region(Region::new(region.unwrap_or(REGION).to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(chain))
}

fn timeouts((attempt, call): (Duration, Duration)) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(call)
        .build()
}
