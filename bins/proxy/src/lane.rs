//! The two lanes: what goes upstream for a request, and how its answer is read.

use bedrock::Frame;
use bytes::Bytes;
use catalog::{Lane, Resolution, Route};
use convert::converse::{self, Reply};
use convert::native::{self, Doc, Relay};
use convert::unfold::unfold;
use convert::usage::Usage;
use convert::{Converted, Loss, Names, Refusal};
use http::{HeaderName, HeaderValue};
use policy::Tokens;
use protocol::anthropic;

use crate::error::{ApiError, Kind};
use crate::learned::Lessons;
use crate::settings::Settings;
use crate::ways::{Candidate, Way};
use crate::wishes::Wishes;

/// What there is to know of a request beside its body.
pub(crate) struct Asking<'a> {
    pub(crate) resolution: &'a Resolution,
    pub(crate) beta_headers: &'a [&'a str],
    pub(crate) lessons: &'a Lessons,
    pub(crate) wishes: &'a Wishes,
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
    /// Whether the model may call tools.
    pub(crate) tools: bool,
    pub(crate) losses: Vec<Loss>,
    pub(crate) names: Names,
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
                Self::typed(&request, ask.resolution, ask.wishes, settings)
            }
        }
    }

    fn native(doc: &Doc<'_>, route: Route, ask: &Asking<'_>, settings: &Settings) -> Result<Self, ApiError> {
        let Asking { resolution, beta_headers, lessons, counting, .. } = *ask;
        let options = native::Options {
            beta_headers,
            betas: settings.betas.policy(resolution, lessons.certain_betas_only),
            default_ttl: settings.caching.native_ttl(),
            caching_off: !settings.caching.caching_enabled.0,
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
                return Ok(Self::invoking(converted, ask.wishes));
            }
            Route::Messages => &resolution.upstream_id,
            Route::Mantle => &resolution.base_id,
        };
        let converted = native::addressed(doc, resolution.model, &options, to);
        let converted = converted.map_err(|refusal| refused(&refusal))?;
        let body = converted.value.body.into();
        let headers = message_headers(&converted.value.betas);
        let (losses, names) = (converted.losses, converted.names);
        Ok(Self { target: 0, way: Way::Native(route), body, headers, tools: false, losses, names })
    }

    fn invoking(converted: Converted<Vec<u8>>, wishes: &Wishes) -> Self {
        Self {
            target: 0,
            way: Way::Native(Route::InvokeModel),
            body: converted.value.into(),
            headers: wishes.headers().to_vec(),
            tools: false,
            losses: converted.losses,
            names: converted.names,
        }
    }

    pub(crate) fn at(&self) -> Candidate {
        Candidate { target: self.target, way: self.way }
    }

    /// Converts a Messages body that came to InvokeModel, for a model that is spoken to through Converse.
    pub(crate) fn invoked(
        text: &str,
        resolution: &Resolution,
        wishes: &Wishes,
        settings: &Settings,
    ) -> Result<Self, ApiError> {
        let request = anthropic::request::parse_for_invoke(text)
            .map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
        Self::typed(&request, resolution, wishes, settings)
    }

    fn typed(
        request: &anthropic::Request<'_>,
        resolution: &Resolution,
        wishes: &Wishes,
        settings: &Settings,
    ) -> Result<Self, ApiError> {
        let mut options = converse::request::Options {
            prompt_caching: settings.caching.caching_enabled.0,
            default_cache_ttl: settings.caching.converse_ttl(),
            thinking: settings.switches.thinking.0,
            ..converse::request::Options::default()
        };
        wishes.apply(&mut options)?;
        let converted = converse::request::request(request, resolution.model, &options)
            .map_err(|refusal| refused(&refusal))?;
        let body = serde_json::to_vec(&converted.value).map_err(|error| {
            ApiError::new(Kind::Internal, format!("the request cannot be written: {error}"))
        })?;
        Ok(Self {
            target: 0,
            way: Way::Converse,
            body: body.into(),
            headers: Vec::new(),
            tools: converted.value.tool_config.is_some(),
            losses: converted.losses,
            names: converted.names,
        })
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
    pub(crate) fn new(way: Way, names: Names, reply: Reply, hour_writes: bool) -> Self {
        let relay =
            |names: Names| Box::new(Relay::new(&reply.model).with_hour_writes(hour_writes).with_names(names));
        match way {
            Way::Native(Route::InvokeModel) | Way::Count => Self::Invoked(relay(names)),
            Way::Native(Route::Messages | Route::Mantle) => Self::Addressed(relay(names)),
            Way::Converse => Self::Converse(Box::new(converse::Stream::new(names, reply))),
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

    /// What has been used, if the upstream has said so yet.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        let usage = match self {
            Self::Invoked(relay) | Self::Addressed(relay) => relay.usage(),
            Self::Converse(stream) => stream.usage(),
        };
        tokens(usage)
    }

    pub(crate) fn stop_reason(&self) -> Option<String> {
        match self {
            Self::Invoked(_) | Self::Addressed(_) => None,
            Self::Converse(stream) => stream.machine().stop_reason().map(|reason| reason.as_str().to_owned()),
        }
    }
}

/// A whole answer for the caller.
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) stop_reason: Option<String>,
}

impl Answer {
    pub(crate) fn new(
        lane: Lane,
        body: &[u8],
        names: &Names,
        reply: &Reply,
        hour_writes: bool,
    ) -> Result<Self, ApiError> {
        match lane {
            Lane::Native => {
                let message = native::message(body, &reply.model, hour_writes, names)
                    .map_err(|fault| unreadable(&fault.message))?;
                Ok(Self { body: message.body, tokens: tokens(message.usage), stop_reason: None })
            }
            Lane::Converse => {
                let message =
                    converse::response(body, names, reply).map_err(|fault| unreadable(&fault.message))?;
                let stop_reason = message.stop_reason.as_ref().map(|reason| reason.as_str().to_owned());
                let usage = Usage::from_anthropic(&message.usage);
                let body = serde_json::to_vec(&message).map_err(|error| unreadable(&error.to_string()))?;
                Ok(Self { body, tokens: tokens(usage), stop_reason })
            }
        }
    }
}

/// A whole Converse answer as the events of the stream that was asked for, for models that do not stream what they do.
pub(crate) fn unfolded(body: &[u8], names: &Names, reply: &Reply) -> Result<Answer, ApiError> {
    let message = converse::response(body, names, reply).map_err(|fault| unreadable(&fault.message))?;
    let stop_reason = message.stop_reason.as_ref().map(|reason| reason.as_str().to_owned());
    let tokens = tokens(Usage::from_anthropic(&message.usage));
    let mut body = Vec::new();
    unfold(message, &mut |event: anthropic::Event<'_>| event.write_sse(&mut body));
    Ok(Answer { body, tokens, stop_reason })
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
