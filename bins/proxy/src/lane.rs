//! The two lanes: what goes upstream for a request.

use bytes::Bytes;
use catalog::{Resolution, Route, ServiceTier};
use convert::converse;
use convert::native::{self, Doc};
use convert::{Converted, Loss, Names, Refusal, Ttl};
use http::{HeaderName, HeaderValue};
use policy::Tables;
use protocol::anthropic;
use store::CacheTtl;

use crate::betas::Flags;
use crate::error::{ApiError, Kind};
use crate::learned::Lessons;
use crate::settings::Settings;
use crate::tiers;
use crate::ways::{Candidate, Way};
use crate::wishes::Wishes;

/// What there is to know of a request beside its body.
pub(crate) struct Asking<'a> {
    pub(crate) resolution: &'a Resolution,
    pub(crate) tables: &'a Tables,
    pub(crate) beta_headers: &'a [&'a str],
    pub(crate) lessons: &'a Lessons,
    pub(crate) wishes: &'a Wishes,
    /// The tier to send.
    pub(crate) tier: ServiceTier,
    /// What the key forces on every cache marker.
    pub(crate) cache_ttl: Option<CacheTtl>,
    pub(crate) counting: bool,
}

/// What a request becomes.
pub(crate) struct Prepared {
    /// Where it goes: a place in the list of targets, the first unless somebody chose another.
    pub(crate) target: usize,
    pub(crate) way: Way,
    pub(crate) body: Bytes,
    /// What travels beside the body.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The tier that is asked for; once it is answered, the one that served as far as headers tell.
    pub(crate) tier: ServiceTier,
    /// The longest TTL of its cache markers: what cache writes are counted as whose TTL is not told.
    pub(crate) cache_ttl: Option<CacheTtl>,
    /// Whether the model may call tools.
    pub(crate) tools: bool,
    pub(crate) losses: Vec<Loss>,
    pub(crate) names: Names,
}

impl Asking<'_> {
    /// Whether cache markers leave.
    fn uncached(&self, settings: &Settings) -> bool {
        !settings.caching.caching_enabled.0 || self.cache_ttl == Some(CacheTtl::None)
    }

    fn forced_ttl(&self) -> Option<Ttl> {
        match self.cache_ttl? {
            CacheTtl::FiveMinutes => Some(Ttl::FiveMinutes),
            CacheTtl::OneHour => Some(Ttl::OneHour),
            CacheTtl::None => None,
        }
    }
}

/// As it is booked.
fn sent_ttl(ttl: Option<Ttl>) -> Option<CacheTtl> {
    match ttl? {
        Ttl::FiveMinutes => Some(CacheTtl::FiveMinutes),
        Ttl::OneHour => Some(CacheTtl::OneHour),
    }
}

impl Prepared {
    /// Converts the request for the model that it resolved to, and for the way to it.
    pub(crate) fn new(
        doc: &Doc<'_>,
        way: Way,
        ask: &Asking<'_>,
        settings: &Settings,
    ) -> Result<Self, ApiError> {
        match way {
            Way::Native(route) => Self::native(doc, route, ask, settings),
            // What InvokeModel would be sent is what is counted.
            Way::Count => Self::native(doc, Route::InvokeModel, ask, settings),
            Way::Converse => {
                let request = anthropic::parse(doc.text())
                    .map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
                Self::typed(&request, ask, settings)
            }
        }
    }

    fn native(doc: &Doc<'_>, route: Route, ask: &Asking<'_>, settings: &Settings) -> Result<Self, ApiError> {
        let Asking { resolution, beta_headers, lessons, counting, .. } = *ask;
        let flags = Flags::of(&settings.betas, ask.tables, resolution);
        let options = native::Options {
            beta_headers,
            betas: flags.policy(lessons.certain_betas_only),
            forced_ttl: ask.forced_ttl(),
            default_ttl: settings.caching.default_ttl(),
            caching_off: ask.uncached(settings),
            no_thinking: !settings.switches.thinking.0,
            wants_1m: resolution.wants_1m,
            drop_fields: &lessons.drop_fields,
            counting,
            ..native::Options::default()
        };
        let to = match route {
            Route::InvokeModel => {
                let converted = native::request(doc, resolution.model, &options);
                let converted = converted.map_err(|refusal| refused(&refusal))?;
                return Ok(Self::invoking(converted, ask));
            }
            Route::Messages => &resolution.upstream_id,
            Route::Mantle => &resolution.base_id,
        };
        let converted = native::addressed(doc, resolution.model, &options, to);
        let converted = converted.map_err(|refusal| refused(&refusal))?;
        let body = converted.value.body.into();
        let headers = message_headers(&converted.value.betas);
        Ok(Self {
            target: 0,
            way: Way::Native(route),
            body,
            headers,
            // Only InvokeModel is known to grant one.
            tier: ServiceTier::Default,
            cache_ttl: sent_ttl(converted.cache_ttl),
            tools: false,
            losses: converted.losses,
            names: converted.names,
        })
    }

    fn invoking(converted: Converted<Vec<u8>>, ask: &Asking<'_>) -> Self {
        Self {
            target: 0,
            way: Way::Native(Route::InvokeModel),
            body: converted.value.into(),
            headers: ask.wishes.headers().iter().cloned().chain(tiers::header(ask.tier)).collect(),
            tier: ask.tier,
            cache_ttl: sent_ttl(converted.cache_ttl),
            tools: false,
            losses: converted.losses,
            names: converted.names,
        }
    }

    pub(crate) fn at(&self) -> Candidate {
        Candidate { target: self.target, way: self.way }
    }

    /// Whether cache writes may live for an hour, which is what they then cost.
    pub(crate) fn hour_writes(&self) -> bool {
        self.cache_ttl == Some(CacheTtl::OneHour)
    }

    /// Converts a Messages body that came to InvokeModel, for a model that is spoken to through Converse.
    pub(crate) fn invoked(text: &str, ask: &Asking<'_>, settings: &Settings) -> Result<Self, ApiError> {
        let request = anthropic::request::parse_for_invoke(text)
            .map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
        Self::typed(&request, ask, settings)
    }

    fn typed(
        request: &anthropic::Request<'_>,
        ask: &Asking<'_>,
        settings: &Settings,
    ) -> Result<Self, ApiError> {
        let mut options = converse::request::Options {
            service_tier: (ask.tier != ServiceTier::Default).then(|| converse_tier(ask.tier)),
            prompt_caching: !ask.uncached(settings),
            cache_ttl: ask.forced_ttl(),
            default_cache_ttl: settings.caching.default_ttl(),
            thinking: settings.switches.thinking.0,
            ..converse::request::Options::default()
        };
        ask.wishes.apply(&mut options)?;
        let converted = converse::request::request(request, ask.resolution.model, &options)
            .map_err(|refusal| refused(&refusal))?;
        let body = serde_json::to_vec(&converted.value).map_err(|error| {
            ApiError::new(Kind::Internal, format!("the request cannot be written: {error}"))
        })?;
        Ok(Self {
            target: 0,
            way: Way::Converse,
            body: body.into(),
            headers: Vec::new(),
            tier: ask.tier,
            cache_ttl: sent_ttl(converted.cache_ttl),
            tools: converted.value.tool_config.is_some(),
            losses: converted.losses,
            names: converted.names,
        })
    }
}

fn converse_tier(tier: ServiceTier) -> protocol::converse::request::ServiceTier {
    use protocol::converse::request::ServiceTier as Asked;
    match tier {
        ServiceTier::Default => Asked::Default,
        ServiceTier::Flex => Asked::Flex,
        ServiceTier::Priority => Asked::Priority,
        ServiceTier::Reserved => Asked::Reserved,
    }
}

/// Version and flags of a call of the Messages API.
fn message_headers(betas: &[String]) -> Vec<(HeaderName, HeaderValue)> {
    const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
    const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
    let mut headers = vec![(VERSION, HeaderValue::from_static("2023-06-01"))];
    // Flags come from tables and settings, or from a header; none of them holds what a header cannot.
    if let Ok(flags) = HeaderValue::from_str(&betas.join(","))
        && !betas.is_empty()
    {
        headers.push((BETA, flags));
    }
    headers
}

fn refused(refusal: &Refusal) -> ApiError {
    ApiError::field(&refusal.path, &refusal.message)
}
