//! The two lanes: what goes upstream for a request, and how its answer is read.

use bedrock::Frame;
use bytes::Bytes;
use catalog::{Lane, Resolution, Route, ServiceTier};
use convert::converse::{self, Reply};
use convert::native::{self, Doc, Relay};
use convert::unfold::unfold;
use convert::usage::Usage;
use convert::{Converted, Loss, Names, Refusal, Ttl};
use http::{HeaderName, HeaderValue};
use policy::{Admission, Tables, Tokens};
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
    /// The tier that is asked for.
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
    fn hour_writes(&self) -> bool {
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

/// The machine that reads a streamed answer.
pub(crate) enum Decoder {
    /// Events in frames of InvokeModel.
    Invoked(Box<Relay>),
    /// Events as they are.
    Addressed(Box<Relay>),
    Converse(Box<converse::Stream>),
}

impl Decoder {
    /// For the answer to what was sent.
    pub(crate) fn new(sent: Prepared, reply: Reply) -> Self {
        let hour = sent.hour_writes();
        let relay =
            |names: Names| Box::new(Relay::new(&reply.model).with_hour_writes(hour).with_names(names));
        match sent.way {
            Way::Native(Route::InvokeModel) | Way::Count => Self::Invoked(relay(sent.names)),
            Way::Native(Route::Messages | Route::Mantle) => Self::Addressed(relay(sent.names)),
            Way::Converse => {
                Self::Converse(Box::new(converse::Stream::new(sent.names, reply).with_tier(sent.tier)))
            }
        }
    }

    /// Appends what a frame means to `out`, framed for the caller.
    pub(crate) fn on_frame(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match self {
            // An event that is no chunk is none of the model's: newer ones are not for the caller.
            Self::Invoked(_) if frame.event_type != "chunk" => Ok(()),
            Self::Invoked(relay) => {
                relay.on_chunk(&frame.payload, out).map_err(|fault| unreadable(&fault.message))
            }
            Self::Addressed(relay) => {
                relay.on_event(&frame.payload, out).map_err(|fault| unreadable(&fault.message))
            }
            Self::Converse(stream) => stream
                .on_event(&frame.event_type, &frame.payload, out)
                .map_err(|fault| unreadable(&fault.message)),
        }
    }

    /// The upstream has ended the stream. An answer that is not complete is an error.
    pub(crate) fn on_end(&mut self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match self {
            Self::Invoked(relay) | Self::Addressed(relay) if relay.finished() => Ok(()),
            Self::Invoked(_) | Self::Addressed(_) => {
                Err(unreadable("the stream ended before the message did"))
            }
            Self::Converse(stream) => {
                let before = out.len();
                stream.on_end(out).map_err(|fault| {
                    // The machine has said so in its own words; ours carry the request id.
                    out.truncate(before);
                    unreadable(&fault.message)
                })
            }
        }
    }

    pub(crate) fn finished(&self) -> bool {
        match self {
            Self::Invoked(relay) | Self::Addressed(relay) => relay.finished(),
            Self::Converse(stream) => stream.finished(),
        }
    }

    /// What the upstream has said so far.
    pub(crate) fn said(&self) -> Said {
        match self {
            Self::Invoked(relay) | Self::Addressed(relay) => {
                Said { tokens: tokens(relay.usage()), ..Said::default() }
            }
            Self::Converse(stream) => {
                let machine = stream.machine();
                Said {
                    tokens: tokens(machine.usage()),
                    tier: machine.service_tier().and_then(ServiceTier::from_reported),
                    stop_reason: machine.stop_reason().map(|reason| reason.as_str().to_owned()),
                }
            }
        }
    }
}

/// What an answer says of itself.
#[derive(Clone, Default)]
pub(crate) struct Said {
    pub(crate) tokens: Option<Tokens>,
    /// The tier that served, where the answer itself names it; elsewhere headers do.
    pub(crate) tier: Option<ServiceTier>,
    pub(crate) stop_reason: Option<String>,
}

impl Said {
    /// Tells the admission what was used and which tier served.
    pub(crate) fn note(&self, admission: &mut Admission) {
        if let Some(tokens) = self.tokens {
            admission.used(tokens);
        }
        if let Some(tier) = self.tier {
            admission.served(tier);
        }
    }
}

/// A whole answer for the caller.
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) said: Said,
}

impl Answer {
    /// Reads the answer to what was sent.
    pub(crate) fn new(sent: &Prepared, body: &[u8], reply: &Reply) -> Result<Self, ApiError> {
        match sent.way.lane() {
            Lane::Native => {
                // Its usage is the upstream's, and tells of a tier where the upstream does.
                let message = native::message(body, &reply.model, sent.hour_writes(), &sent.names)
                    .map_err(|fault| unreadable(&fault.message))?;
                let said = Said { tokens: tokens(message.usage), ..Said::default() };
                Ok(Self { body: message.body, said })
            }
            Lane::Converse => Self::converted(sent, body, reply, |message| {
                serde_json::to_vec(&message).map_err(|error| unreadable(&error.to_string()))
            }),
        }
    }

    /// A whole Converse answer as the events of the stream that was asked for, for models that do not stream what they do.
    pub(crate) fn unfolded(sent: &Prepared, body: &[u8], reply: &Reply) -> Result<Self, ApiError> {
        Self::converted(sent, body, reply, |message| {
            let mut body = Vec::new();
            unfold(message, &mut |event: anthropic::Event<'_>| event.write_sse(&mut body));
            Ok(body)
        })
    }

    fn converted(
        sent: &Prepared,
        body: &[u8],
        reply: &Reply,
        write: impl FnOnce(anthropic::response::Message) -> Result<Vec<u8>, ApiError>,
    ) -> Result<Self, ApiError> {
        let mut message =
            converse::response(body, &sent.names, reply).map_err(|fault| unreadable(&fault.message))?;
        let stop_reason = message.stop_reason.as_ref().map(|reason| reason.as_str().to_owned());
        let tokens = tokens(Usage::from_anthropic(&message.usage));
        let served = message.usage.service_tier.get_or_insert_with(|| sent.tier.reported().to_owned());
        let tier = ServiceTier::from_reported(served);
        Ok(Self { body: write(message)?, said: Said { tokens, tier, stop_reason } })
    }
}

pub(crate) fn tokens(usage: Usage) -> Option<Tokens> {
    usage.reported.then_some(Tokens {
        input: usage.input,
        output: usage.output,
        cache_read: usage.cache_read,
        cache_write_5m: usage.cache_write_5m,
        cache_write_1h: usage.cache_write_1h,
        reasoning: usage.reasoning,
    })
}

pub(crate) fn unreadable(message: &str) -> ApiError {
    tracing::warn!(message, "the upstream's answer could not be read");
    ApiError::new(Kind::BadGateway, "The upstream's answer could not be read")
}
