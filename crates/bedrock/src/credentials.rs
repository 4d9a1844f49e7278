//! Our own right to call Bedrock: a bearer token, or credentials that sign.
//!
//! Credentials are kept until shortly before they expire and renewed in the background, by one task at a time; a call
//! waits for them only when there are none that still work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls;
use aws_types::service_config::ServiceConfigKey;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::endpoint::{Control, Endpoint};
use crate::error::{Error, Kind};
use crate::settings::{CredentialsSource, Secret, Settings};
use crate::sigv4::Identity;

/// Renewed in the background this long before they expire.
const AHEAD: Duration = Duration::from_mins(5);
/// Not used any more this long before they expire: the upstream's clock and the way there count too.
const MARGIN: Duration = Duration::from_secs(10);
/// Credentials without an expiry are looked up again after this time, as the SDKs do.
const UNDATED: Duration = Duration::from_mins(15);
/// The longest that a provider may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(30);
/// After a failure calls fail at once for this long, so that a crowd does not queue up behind a dead provider.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// How old a failure the readiness probe may repeat.
const PROBE_HOLDS: Duration = Duration::from_secs(10);
/// Between background renewals.
const PACE: Duration = Duration::from_secs(10);

/// Whether calls can be authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// There is a bearer token, or there are credentials.
    Ready,
    /// Why no credentials could be loaded.
    NoCredentials(String),
}

/// How calls are authenticated.
#[derive(Clone)]
pub(crate) enum Auth {
    /// The whole header value.
    Bearer(Secret),
    Signed(Arc<Credentials>),
}

impl Auth {
    pub(crate) fn bearer(token: &Secret) -> Result<Self, Error> {
        let token = token.expose().trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::new(Kind::Credentials, "The Bedrock API key is not a token."));
        }
        Ok(Self::Bearer(Secret::new(format!("Bearer {token}"))))
    }
}

/// Credentials in use.
pub(crate) struct Held {
    pub(crate) identity: Identity,
    generation: u64,
    loaded: Instant,
    expires: Option<SystemTime>,
}

#[derive(Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    Ageing,
    Spent,
}

impl Held {
    fn age(&self, now: SystemTime) -> Age {
        let Some(expires) = self.expires else {
            return if self.loaded.elapsed() < UNDATED { Age::Fresh } else { Age::Ageing };
        };
        match expires.duration_since(now) {
            Ok(left) if left > AHEAD => Age::Fresh,
            Ok(left) if left > MARGIN => Age::Ageing,
            _ => Age::Spent,
        }
    }
}

/// The cache in front of a provider.
pub(crate) struct Credentials {
    provider: SharedCredentialsProvider,
    region: String,
    held: ArcSwapOption<Held>,
    generations: AtomicU64,
    /// Held while loading; the last failure and when it was.
    loading: Mutex<Option<(Instant, Error)>>,
    renewing: AtomicBool,
}

impl Credentials {
    pub(crate) fn new(provider: SharedCredentialsProvider, region: String) -> Self {
        Self {
            provider,
            region,
            held: ArcSwapOption::empty(),
            generations: AtomicU64::new(0),
            loading: Mutex::default(),
            renewing: AtomicBool::new(false),
        }
    }

    /// What signs now.
    pub(crate) async fn get(self: &Arc<Self>) -> Result<Arc<Held>, Error> {
        if let Some(held) = self.usable() {
            return Ok(held);
        }
        self.load(None, FAILURE_HOLDS).await
    }

    /// Loads anew, unless another call did since `refused` was taken.
    pub(crate) async fn replace(&self, refused: &Held) -> Result<Arc<Held>, Error> {
        self.load(Some(refused.generation), FAILURE_HOLDS).await
    }

    pub(crate) async fn ready(self: &Arc<Self>) -> Readiness {
        if self.usable().is_some() {
            return Readiness::Ready;
        }
        match self.load(None, PROBE_HOLDS).await {
            Ok(_) => Readiness::Ready,
            Err(error) => Readiness::NoCredentials(error.message),
        }
    }

    fn usable(self: &Arc<Self>) -> Option<Arc<Held>> {
        let held = self.held.load();
        let held = held.as_ref()?;
        match held.age(SystemTime::now()) {
            Age::Fresh => {}
            Age::Ageing => self.renew(held),
            Age::Spent => return None,
        }
        Some(Arc::clone(held))
    }

    fn renew(self: &Arc<Self>, held: &Held) {
        if held.loaded.elapsed() < PACE || self.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (credentials, generation) = (Arc::clone(self), held.generation);
        tokio::spawn(async move {
            if let Err(error) = credentials.load(Some(generation), Duration::ZERO).await {
                tracing::warn!(%error, "AWS credentials could not be renewed; the old ones are used until they expire");
                tokio::time::sleep(PACE).await;
            }
            credentials.renewing.store(false, Ordering::Release);
        });
    }

    async fn load(&self, stale: Option<u64>, failure_holds: Duration) -> Result<Arc<Held>, Error> {
        let mut failure = self.loading.lock().await;
        if let Some(held) = &*self.held.load()
            && stale != Some(held.generation)
            && held.age(SystemTime::now()) != Age::Spent
        {
            return Ok(Arc::clone(held));
        }
        if let Some((at, error)) = &*failure
            && at.elapsed() < failure_holds
        {
            return Err(error.clone());
        }
        match self.ask().await {
            Ok(held) => {
                *failure = None;
                let held = Arc::new(held);
                self.held.store(Some(Arc::clone(&held)));
                Ok(held)
            }
            Err(error) => {
                *failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<Held, Error> {
        let failed = |why: &str| {
            Error::new(Kind::Credentials, format!("The gateway's AWS credentials could not be loaded: {why}"))
        };
        let loaded = tokio::time::timeout(LOAD_TIMEOUT, self.provider.provide_credentials())
            .await
            .map_err(|_| failed("the provider did not answer in time"))?
            .map_err(|error| failed(&chain(&error)))?;
        let session_token = loaded.session_token().map(Secret::from);
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !printable(loaded.access_key_id())
            || !session_token.as_ref().is_none_or(|token| printable(token.expose()))
        {
            return Err(failed("they hold characters that no credentials have"));
        }
        Ok(Held {
            identity: Identity::new(
                loaded.access_key_id().to_owned(),
                loaded.secret_access_key().into(),
                session_token,
                self.region.clone(),
            ),
            generation: self.generations.fetch_add(1, Ordering::Relaxed),
            loaded: Instant::now(),
            expires: loaded.expiry(),
        })
    }
}

/// The error and what it came from; the SDK's outermost text alone says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// What the settings and the environment say together.
pub(crate) struct Found {
    pub(crate) region: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) mantle: Endpoint,
    pub(crate) control: Control,
    pub(crate) auth: Auth,
}

/// Asks the SDK's chain for what the settings leave open, and does not touch it when they leave nothing open.
pub(crate) async fn discover(settings: &Settings) -> Result<Found, Error> {
    let provider = match &settings.credentials {
        CredentialsSource::DefaultChain | CredentialsSource::Role(_) => None,
        CredentialsSource::Static { access_key_id, secret_access_key, session_token } => {
            Some(SharedCredentialsProvider::new(aws_credential_types::Credentials::new(
                access_key_id,
                secret_access_key.expose(),
                session_token.as_ref().map(|token| token.expose().to_owned()),
                None,
                "settings",
            )))
        }
    };
    let bearer = settings.bearer_token.as_ref().map(Auth::bearer).transpose()?;
    let parse = |url: &Option<String>| url.as_deref().map(Endpoint::parse).transpose();
    let own = parse(&settings.endpoint_url)?;
    let nearby = own.clone().filter(Endpoint::is_loopback);
    let control = parse(&settings.control_endpoint_url)?.or(nearby);
    let complete = settings.region.is_some() && own.is_some() && control.is_some();
    let sdk =
        if complete && (bearer.is_some() || provider.is_some()) { None } else { Some(load(settings).await) };

    let chosen = settings.region.as_deref().or_else(|| Some(sdk.as_ref()?.region()?.as_ref()));
    let region = chosen.unwrap_or("us-east-1").to_owned();
    let configured = |service| parse(&sdk.as_ref().and_then(|sdk| configured_endpoint(sdk, service)));
    let fips = sdk.as_ref().and_then(SdkConfig::use_fips) == Some(true);
    let endpoint = match own.map_or_else(|| configured("Bedrock Runtime"), |own| Ok(Some(own)))? {
        Some(endpoint) => endpoint,
        None => Endpoint::of_region(&region, fips)?,
    };
    let mantle = match &settings.mantle_endpoint_url {
        Some(url) => Endpoint::parse(url)?,
        None => Endpoint::of_mantle(&region)?,
    };
    let control = control.map_or_else(|| configured("Bedrock"), |control| Ok(Some(control)))?;
    let control = control.map_or(Control::OfRegion { fips }, Control::At);
    let provider = match (provider, &sdk) {
        (None, Some(sdk)) => lent(settings, sdk, &region).await,
        (provider, _) => provider,
    };
    let auth = match (bearer, provider) {
        (Some(bearer), _) => bearer,
        (None, Some(provider)) => Auth::Signed(Arc::new(Credentials::new(provider, region.clone()))),
        (None, None) => return Err(Error::new(Kind::Credentials, "There is no source of AWS credentials.")),
    };
    Ok(Found { region, endpoint, mantle, control, auth })
}

/// What the SDK's chain provides: its own credentials, or those of a role that they may assume.
async fn lent(settings: &Settings, sdk: &SdkConfig, region: &str) -> Option<SharedCredentialsProvider> {
    let chain = sdk.credentials_provider()?;
    let CredentialsSource::Role(role) = &settings.credentials else { return Some(chain) };
    let assumed = AssumeRoleProvider::builder(&role.arn)
        .session_name(&role.session_name)
        .session_length(role.duration)
        .region(aws_config::Region::new(region.to_owned()))
        .configure(sdk);
    let assumed = match &role.external_id {
        Some(id) => assumed.external_id(id),
        None => assumed,
    };
    Some(SharedCredentialsProvider::new(assumed.build_from_provider(chain).await))
}

async fn load(settings: &Settings) -> SdkConfig {
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
    if let Some(region) = &settings.region {
        loader = loader.region(aws_config::Region::new(region.clone()));
    }
    loader.load().await
}

/// `AWS_ENDPOINT_URL_BEDROCK_RUNTIME` (or another service's), `AWS_ENDPOINT_URL`, the profile's `services` section and its
/// `endpoint_url`, in the SDKs' order: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>.
fn configured_endpoint(sdk: &SdkConfig, service: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    sdk.service_config()?.load_config(key).filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::provider::{error::CredentialsError, future};
    use std::sync::atomic::AtomicU32;

    /// Hands out credentials that last `lifetime`, or fails while `down`.
    #[derive(Debug)]
    struct Script {
        asked: Arc<AtomicU32>,
        down: Arc<AtomicBool>,
        lifetime: Option<Duration>,
    }

    impl ProvideCredentials for Script {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let count = self.asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                if self.down.load(Ordering::SeqCst) {
                    return Err(CredentialsError::not_loaded("nobody home"));
                }
                let expiry = self.lifetime.map(|left| SystemTime::now() + left);
                let id = format!("AKID{count}");
                Ok(aws_credential_types::Credentials::new(id, "secret", None, expiry, "script"))
            })
        }
    }

    fn scripted(lifetime: Option<u64>) -> (Arc<Credentials>, Arc<AtomicU32>, Arc<AtomicBool>) {
        let (asked, down) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let script = Script {
            asked: Arc::clone(&asked),
            down: Arc::clone(&down),
            lifetime: lifetime.map(Duration::from_secs),
        };
        (Arc::new(Credentials::new(SharedCredentialsProvider::new(script), "r".into())), asked, down)
    }

    #[tokio::test]
    async fn a_crowd_loads_credentials_once() {
        let (credentials, asked, _) = scripted(Some(3600));
        let crowd: Vec<_> = (0..20)
            .map(|_| {
                let credentials = Arc::clone(&credentials);
                tokio::spawn(async move { credentials.get().await.map(|held| held.generation) })
            })
            .collect();
        for one in crowd {
            assert_eq!(one.await.unwrap().unwrap(), 0);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn spent_credentials_are_not_used() {
        let (credentials, asked, down) = scripted(Some(5));
        credentials.get().await.unwrap();
        credentials.get().await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        down.store(true, Ordering::SeqCst);
        let error = credentials.get().await.err().unwrap();
        assert_eq!(error.kind, Kind::Credentials);
        assert!(error.message.contains("nobody home"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn ageing_credentials_are_used_while_new_ones_are_fetched() {
        let (credentials, asked, down) = scripted(Some(200));
        assert_eq!(credentials.get().await.unwrap().generation, 0);
        down.store(true, Ordering::SeqCst);
        tokio::time::advance(PACE).await;
        assert_eq!(credentials.get().await.unwrap().generation, 0);
        tokio::time::sleep(PACE + Duration::from_secs(1)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 2, "one renewal, which failed");
        down.store(false, Ordering::SeqCst);
        assert_eq!(credentials.get().await.unwrap().generation, 0);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(credentials.get().await.unwrap().generation, 1);
    }

    #[tokio::test]
    async fn refused_credentials_are_replaced_once_for_all_who_held_them() {
        let (credentials, asked, _) = scripted(None);
        let held = credentials.get().await.unwrap();
        assert_eq!(credentials.replace(&held).await.unwrap().generation, 1);
        assert_eq!(credentials.replace(&held).await.unwrap().generation, 1);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_probe_does_not_wear_out_a_provider_that_is_down() {
        let (credentials, asked, down) = scripted(None);
        down.store(true, Ordering::SeqCst);
        assert!(matches!(credentials.ready().await, Readiness::NoCredentials(_)));
        assert!(matches!(credentials.ready().await, Readiness::NoCredentials(_)));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        down.store(false, Ordering::SeqCst);
        tokio::time::advance(PROBE_HOLDS).await;
        assert_eq!(credentials.ready().await, Readiness::Ready);
    }

    #[test]
    fn a_bearer_token_cannot_smuggle_a_header() {
        assert!(Auth::bearer(&"a\r\nx: y".into()).is_err());
        assert!(Auth::bearer(&"".into()).is_err());
        assert!(
            matches!(Auth::bearer(&" ABSK== ".into()), Ok(Auth::Bearer(value)) if value.expose() == "Bearer ABSK==")
        );
    }
}
