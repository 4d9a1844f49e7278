//! Bedrock's own operations with the gateway's keys, for AWS SDKs and for Claude Code in its Bedrock mode: the body
//! travels byte for byte, and so do the frames that come back.

mod betas;
mod brief;
mod forced;
mod frames;
pub(crate) mod profiles;
mod reader;
mod refused;
mod relay;
pub(crate) mod usage;
mod version;

use std::sync::Arc;
use std::time::Instant;

use bedrock::{Call, EventStream, Operation};
use bytes::Bytes;
use catalog::{Lane, Resolution, Route, ServiceTier};
use convert::converse::Reply;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use httpd::{Body, RequestBody, Response};
use policy::{Admission, Ask, End, Marks, Tables};
use store::{CacheTtl, RowStatus};

use crate::answer::{Answer, Decoder};
use crate::betas::Flags;
use crate::error::ApiError;
use crate::gateway::{Gateway, Held};
use crate::handle::{self, Context};
use crate::lane::Prepared;
use crate::messages::{self, failure};
use crate::record::Record;
use crate::request_id::message_id;
use crate::targets::{self, Plan};
use crate::tiers;
use crate::tour::{self, Exchange, Served, Streamed, Tour, Unanswered, Whole};
use crate::upstream;
use crate::voice::Voice;
use crate::ways::{Candidate, Way};
use crate::wishes::Wishes;
use reader::Reader;
use refused::Refused;
use relay::Relay;

pub(crate) use refused::status;

/// The label in metrics and usage rows.
pub(crate) const SURFACE: &str = "bedrock";

/// What an operation may be told in headers; everything else of the caller's stays here.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html>
const HEADERS: &[&str] = &[
    "x-amzn-bedrock-accept",
    "x-amzn-bedrock-guardrailidentifier",
    "x-amzn-bedrock-guardrailversion",
    "x-amzn-bedrock-performanceconfig-latency",
    "x-amzn-bedrock-request-metadata",
    "x-amzn-bedrock-service-tier",
    "x-amzn-bedrock-trace",
];

/// Answers one operation on one model.
pub(crate) async fn call(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    record: &mut Record,
    operation: Operation,
    id: &str,
) -> Result<Response, ApiError> {
    let mut held = Held::request(&gateway.shared)?;
    let caller = gateway.authenticate(context).await?;
    record.key(caller.key_id().as_str());
    // Of any media type: the SDKs call a body `application/octet-stream` where the operation takes any bytes.
    let body = messages::read_any(gateway, context, body, &mut held).await?;
    record.streamed(operation.is_stream());
    let written = forced::written_tier(operation, &context.headers, &body);
    let ask = Ask {
        request_id: context.id.to_string(),
        surface: SURFACE,
        model: id.to_owned(),
        base_model: None,
        tables: None,
        stream: operation.is_stream(),
        counting: operation == Operation::CountTokens,
        // Three bytes a token, as elsewhere; media are not told from text here.
        input_estimate: body.len() as u64 / 3,
        max_tokens: if caller.counts_tokens() { brief::max_tokens(&body) } else { None },
        // Here the default is a tier like the others, for callers who name it.
        tier: written.as_deref().map(|word| ServiceTier::from_name(word).unwrap_or_default()),
        caching: if caller.counts_tokens() { brief::marks(&body) } else { Marks::None },
        session: messages::session(&context.headers),
    };
    let input_estimate = ask.input_estimate;
    let mut admission = messages::admit(gateway, context, &caller, ask).await?;
    let planned = targets::plan(gateway, &mut admission, &context.headers)?;
    let decided = Decided {
        tier: admission.tier(),
        // A tier that the caller wrote itself is its own, and so is the upstream's answer to it; the key's wins.
        ours: forced::is_tiered(operation) && (caller.tier().is_some() || written.is_none()),
        cache_ttl: caller.cache_ttl(),
        tables: Arc::clone(admission.tables()),
    };
    let mut passage =
        Passage::new(gateway, &context.headers, operation, planned, body, input_estimate, decided);
    upstream::sending(record, &passage.resolution, admission.place());
    let first = passage.begin()?;
    passage.aim(first.target)?;
    admission.sent(passage.decided.tier, passage.sent_ttl());
    if operation.is_stream() {
        return streamed(passage, first, admission, record, held).await;
    }
    whole(passage, first, admission, record).await
}

/// What the key, the settings and the operator's rows decide about a request.
struct Decided {
    /// The tier that is asked for, and whether it is not the caller's own word.
    tier: ServiceTier,
    ours: bool,
    /// Of every cache marker.
    cache_ttl: Option<CacheTtl>,
    /// Those that it was admitted under.
    tables: Arc<Tables>,
}

/// One request on its way.
struct Passage {
    gateway: Gateway,
    operation: Operation,
    /// At the first target.
    resolution: Resolution,
    plan: Plan,
    /// As the caller sent it, but for flags and the version, and what is decided.
    body: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
    input_estimate: u64,
    wishes: Wishes,
    decided: Decided,
    /// Whether the body is one of the Messages API.
    messages: bool,
    /// Set where that body became another one: the model is spoken to through Converse.
    translated: Option<Box<Prepared>>,
}

impl Passage {
    fn new(
        gateway: &Gateway,
        headers: &HeaderMap,
        operation: Operation,
        (resolution, plan): (Resolution, Plan),
        body: Bytes,
        input_estimate: u64,
        decided: Decided,
    ) -> Self {
        let invoked = match operation {
            Operation::InvokeModel
            | Operation::InvokeModelWithResponseStream
            | Operation::Messages { .. } => true,
            Operation::Converse | Operation::ConverseStream | Operation::CountTokens => false,
        };
        let known = |name: &'static str| Some((HeaderName::from_static(name), headers.get(name)?.clone()));
        let version = if invoked { version::of(&body) } else { None };
        let mut passage = Self {
            gateway: gateway.clone(),
            operation,
            messages: version.is_some(),
            resolution,
            plan,
            body,
            headers: HEADERS.iter().filter_map(|name| known(name)).collect(),
            input_estimate,
            wishes: Wishes::of(headers),
            decided,
            translated: None,
        };
        if invoked && passage.resolution.lane() == Lane::Native {
            if let Some(at) = version {
                passage.body = version::bedrocks(passage.body, at);
            }
            let lessons = gateway.shared.learned.of(&passage.resolution.base_id);
            passage.filter(lessons.certain_betas_only);
        }
        passage
    }

    /// Whether a Messages body has to become another one: the model is spoken to through Converse.
    fn converts(&self) -> bool {
        self.messages && self.resolution.lane() == Lane::Converse && catalog::is_known(self.resolution.model)
    }

    fn filter(&mut self, certain_only: bool) -> bool {
        let flags = Flags::of(&self.gateway.shared.settings.betas, &self.decided.tables, &self.resolution);
        let filtered = betas::filtered(&self.body, self.resolution.model, &flags.policy(certain_only));
        let changed = filtered.is_some();
        self.body = filtered.unwrap_or_else(|| self.body.clone());
        changed
    }

    /// The same operation at each target; what is sent differs in the model's id alone.
    fn candidates(&self) -> impl Iterator<Item = Candidate> + Clone + use<'_> {
        let way = match self.operation {
            Operation::Converse | Operation::ConverseStream => Way::Converse,
            Operation::CountTokens => Way::Count,
            Operation::InvokeModel
            | Operation::InvokeModelWithResponseStream
            | Operation::Messages { .. } => {
                if self.converts() {
                    Way::Converse
                } else {
                    Way::Native(Route::InvokeModel)
                }
            }
        };
        let most = if self.plan.single { 1 } else { usize::MAX };
        self.plan.stops(&self.resolution).map(move |(target, _)| Candidate { target, way }).take(most)
    }

    fn begin(&self) -> Result<Candidate, ApiError> {
        tour::begin(&self.gateway, self.candidates(), &self.resolution.base_id)
    }

    /// Calls the targets, from one to the next where one fails.
    async fn go<E: Exchange>(
        &mut self,
        first: Candidate,
    ) -> Result<(E::Reply, Served, u32), Box<Unanswered>> {
        let (gateway, resolution) = (self.gateway.clone(), self.resolution.clone());
        let all: Vec<Candidate> = self.candidates().collect();
        let mut behind = all.iter().copied().skip_while(move |at| *at != first).skip(1);
        let mut at = first;
        let mut tour = Tour::new(&gateway, &resolution, all.len() > 1);
        loop {
            let mut answer = tour.ask::<E>(at, &self.call(at), behind.clone()).await;
            while let Err(error) = &answer
                && self.taught(error, at.target)
            {
                answer = tour.ask::<E>(at, &self.call(at), behind.clone()).await;
            }
            match answer {
                Ok(reply) => {
                    tour.answered(at);
                    return Ok((reply, tour.served(at, &self.plan), tour.attempts));
                }
                Err(error) => match tour.next(at, error, &mut behind) {
                    Ok(next) => at = next,
                    Err(error) => {
                        let last = tour.served(at, &self.plan);
                        return Err(Box::new(Unanswered { error, last }));
                    }
                },
            }
        }
    }

    fn call(&self, at: Candidate) -> Call<'_> {
        let resolution = self.plan.moved(at.target).unwrap_or(&self.resolution);
        if let Some(prepared) = &self.translated {
            return Call {
                operation: prepared.way.operation(self.operation.is_stream()),
                model_id: &resolution.upstream_id,
                body: prepared.body.clone(),
                headers: &[],
            };
        }
        // Bedrock counts for base ids alone; a profile's name is as good as its model's here.
        let counts = self.operation == Operation::CountTokens;
        Call {
            operation: self.operation,
            model_id: if counts { &resolution.base_id } else { &resolution.upstream_id },
            body: self.body.clone(),
            headers: &self.headers,
        }
    }

    /// Whether a refusal has taught what to leave out, and it has left: flags, or a tier that is not the caller's own.
    fn taught(&mut self, error: &bedrock::Error, target: usize) -> bool {
        if self.decided.ours
            && tiers::learnt(&self.gateway, target, &self.resolution, self.decided.tier, error)
        {
            self.decided.tier = ServiceTier::Default;
            return self.force().is_ok();
        }
        // A caller's own mistakes teach nothing about the model: flags alone are learnt here.
        let flags = self.messages && self.translated.is_none() && error.message.contains("invalid beta flag");
        flags
            && self.gateway.shared.learned.learn(&self.resolution.base_id, &error.message).is_some()
            && self.filter(true)
    }

    fn refused(&self, error: &bedrock::Error) -> Refused {
        Refused::new(error, &self.resolution, self.input_estimate)
    }

    /// What a translated answer carries that the upstream does not know.
    fn reply(&self) -> Reply {
        Reply { id: message_id(), model: self.resolution.requested.clone() }
    }
}

/// The reply to a call that failed.
fn unanswered(
    passage: &Passage,
    mut admission: Admission,
    record: &mut Record,
    failed: &Unanswered,
) -> Response {
    let Unanswered { error, last } = failed;
    let refused = passage.refused(error);
    record.failed(refused.error.kind);
    record.attempts(error.attempts);
    admission.answered(error.request_id.as_deref(), error.attempts);
    last.note(&mut admission, record);
    admission.settle(failure(&refused.error), Instant::now());
    refused.response(error.request_id.as_deref())
}

async fn whole(
    mut passage: Passage,
    first: Candidate,
    mut admission: Admission,
    record: &mut Record,
) -> Result<Response, ApiError> {
    if passage.operation != Operation::CountTokens {
        admission.called();
    }
    let (reply, served, attempts) = match passage.go::<Whole>(first).await {
        Ok(answered) => answered,
        Err(failed) => return Ok(unanswered(&passage, admission, record, &failed)),
    };
    served.note(&mut admission, record);
    admission.answered(reply.request_id.as_deref(), attempts);
    passage.answered(&mut admission, &reply.headers);
    record.attempts(attempts);
    let now = Instant::now();
    let (body, said) = match &passage.translated {
        None => {
            let hour = passage.sent_ttl() == Some(CacheTtl::OneHour);
            (Ok(reply.body.clone()), usage::whole(passage.operation, &reply.body, &reply.headers, hour))
        }
        Some(prepared) => {
            let answer = Answer::new(prepared, &reply.body, &passage.reply(), &Voice::Messages);
            (answer.body.map(Bytes::from), answer.said)
        }
    };
    said.note(&mut admission);
    if let Err(error) = body {
        record.tokens(admission.settle(failure(&error), now));
        return Err(error);
    }
    let body = body?;
    admission.content(body.len(), now);
    record.content(now);
    let end = End { status: RowStatus::Ok, http_status: reply.status, error_type: None, stop_reason: None };
    record.tokens(admission.settle(end, now));
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = handle::private(handle::json(status, body));
    adorn(response.headers_mut(), &reply.headers, reply.request_id.as_deref());
    Ok(response)
}

async fn streamed(
    mut passage: Passage,
    first: Candidate,
    mut admission: Admission,
    record: &mut Record,
    held: Held,
) -> Result<Response, ApiError> {
    admission.called();
    let (events, served, attempts) = match passage.go::<Streamed>(first).await {
        Ok(answered) => answered,
        Err(failed) => return Ok(unanswered(&passage, admission, record, &failed)),
    };
    served.note(&mut admission, record);
    admission.answered(events.request_id(), attempts);
    passage.answered(&mut admission, events.headers());
    record.attempts(attempts);
    let mut response = opening(&events);
    let reply = passage.reply();
    let hour_writes = passage.sent_ttl() == Some(CacheTtl::OneHour);
    let reader = match passage.translated {
        Some(prepared) => Reader::translating(Decoder::new(*prepared, reply)),
        None => Reader::relaying(passage.operation, passage.messages, hour_writes),
    };
    let relay = Relay {
        gateway: passage.gateway,
        admission: Some(admission),
        record: record.take_for_stream(),
        reader,
        input_estimate: passage.input_estimate,
        out: Vec::new(),
        _held: held,
    };
    *response.body_mut() = Body::stream(relay.run(events));
    Ok(response)
}

/// The head of a stream.
fn opening(events: &EventStream) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.amazon.eventstream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    adorn(headers, events.headers(), events.request_id());
    response
}

/// The upstream's own headers, and its name for the request.
fn adorn(headers: &mut HeaderMap, upstream: &HeaderMap, request_id: Option<&str>) {
    for (name, value) in upstream {
        headers.insert(name.clone(), value.clone());
    }
    if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert("x-amzn-requestid", id);
    }
}
