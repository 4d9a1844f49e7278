//! The two lanes: what goes upstream for a request, and how its answer is read.

use bedrock::{Frame, Operation};
use bytes::Bytes;
use catalog::{Lane, Resolution};
use convert::converse::{self, Reply};
use convert::native::{self, Doc, Relay};
use convert::usage::Usage;
use convert::{Loss, Names, Refusal};
use policy::Tokens;
use protocol::anthropic;

use crate::error::{ApiError, Kind};
use crate::learned::Lessons;
use crate::settings::Settings;

/// What a request becomes.
pub(crate) struct Prepared {
    pub(crate) lane: Lane,
    pub(crate) body: Bytes,
    pub(crate) losses: Vec<Loss>,
    pub(crate) names: Names,
}

impl Prepared {
    /// Converts the request for the model that it resolved to.
    pub(crate) fn new(
        doc: &Doc<'_>,
        resolution: &Resolution,
        beta_headers: &[&str],
        lessons: &Lessons,
        counting: bool,
        settings: &Settings,
    ) -> Result<Self, ApiError> {
        match resolution.lane() {
            Lane::Native => Self::native(doc, resolution, beta_headers, lessons, counting, settings),
            Lane::Converse => Self::converse(doc, resolution, settings),
        }
    }

    fn native(
        doc: &Doc<'_>,
        resolution: &Resolution,
        beta_headers: &[&str],
        lessons: &Lessons,
        counting: bool,
        settings: &Settings,
    ) -> Result<Self, ApiError> {
        let options = native::Options {
            beta_headers,
            betas: settings.betas.policy(&resolution.upstream_id, lessons.certain_betas_only),
            default_ttl: settings.caching.native_ttl(),
            caching_off: !settings.caching.caching_enabled.0,
            no_thinking: !settings.switches.thinking.0,
            wants_1m: resolution.wants_1m,
            drop_fields: &lessons.drop_fields,
            counting,
            ..native::Options::default()
        };
        let converted =
            native::request(doc, resolution.model, &options).map_err(|refusal| refused(&refusal))?;
        let names = Names::default();
        Ok(Self { lane: Lane::Native, body: converted.value.into(), losses: converted.losses, names })
    }

    fn converse(doc: &Doc<'_>, resolution: &Resolution, settings: &Settings) -> Result<Self, ApiError> {
        let request =
            anthropic::parse(doc.text()).map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
        Self::typed(&request, resolution, settings)
    }

    /// Converts a Messages body that came to InvokeModel, for a model that is spoken to through Converse.
    pub(crate) fn invoked(
        text: &str,
        resolution: &Resolution,
        settings: &Settings,
    ) -> Result<Self, ApiError> {
        let request = anthropic::request::parse_for_invoke(text)
            .map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
        Self::typed(&request, resolution, settings)
    }

    fn typed(
        request: &anthropic::Request<'_>,
        resolution: &Resolution,
        settings: &Settings,
    ) -> Result<Self, ApiError> {
        let options = converse::request::Options {
            prompt_caching: settings.caching.caching_enabled.0,
            default_cache_ttl: settings.caching.converse_ttl(),
            thinking: settings.switches.thinking.0,
            ..converse::request::Options::default()
        };
        let converted = converse::request::request(request, resolution.model, &options)
            .map_err(|refusal| refused(&refusal))?;
        let body = serde_json::to_vec(&converted.value).map_err(|error| {
            ApiError::new(Kind::Internal, format!("the request cannot be written: {error}"))
        })?;
        Ok(Self { lane: Lane::Converse, body: body.into(), losses: converted.losses, names: converted.names })
    }

    pub(crate) fn operation(&self, stream: bool) -> Operation {
        match (self.lane, stream) {
            (Lane::Native, false) => Operation::InvokeModel,
            (Lane::Native, true) => Operation::InvokeModelWithResponseStream,
            (Lane::Converse, false) => Operation::Converse,
            (Lane::Converse, true) => Operation::ConverseStream,
        }
    }
}

fn refused(refusal: &Refusal) -> ApiError {
    ApiError::field(&refusal.path, &refusal.message)
}

/// The machine that reads a streamed answer.
pub(crate) enum Decoder {
    Native(Box<Relay>),
    Converse(Box<converse::Stream>),
}

impl Decoder {
    pub(crate) fn new(lane: Lane, names: Names, reply: Reply, hour_writes: bool) -> Self {
        match lane {
            Lane::Native => Self::Native(Box::new(Relay::new(&reply.model).with_hour_writes(hour_writes))),
            Lane::Converse => Self::Converse(Box::new(converse::Stream::new(names, reply))),
        }
    }

    /// Appends what a frame means to `out`, framed for the caller.
    pub(crate) fn on_frame(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match self {
            // An event that is no chunk is none of the model's: newer ones are not for the caller.
            Self::Native(_) if frame.event_type != "chunk" => Ok(()),
            Self::Native(relay) => {
                relay.on_chunk(&frame.payload, out).map_err(|fault| unreadable(&fault.message))
            }
            Self::Converse(stream) => stream
                .on_event(&frame.event_type, &frame.payload, out)
                .map_err(|fault| unreadable(&fault.message)),
        }
    }

    /// The upstream has ended the stream. An answer that is not complete is an error.
    pub(crate) fn on_end(&mut self, out: &mut Vec<u8>) -> Result<(), ApiError> {
        match self {
            Self::Native(relay) if relay.finished() => Ok(()),
            Self::Native(_) => Err(unreadable("the stream ended before the message did")),
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
            Self::Native(relay) => relay.finished(),
            Self::Converse(stream) => stream.finished(),
        }
    }

    /// What has been used, if the upstream has said so yet.
    pub(crate) fn tokens(&self) -> Option<Tokens> {
        let usage = match self {
            Self::Native(relay) => relay.usage(),
            Self::Converse(stream) => stream.usage(),
        };
        tokens(usage)
    }

    pub(crate) fn stop_reason(&self) -> Option<String> {
        match self {
            Self::Native(_) => None,
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
                let message = native::message(body, &reply.model, hour_writes)
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
