//! `POST /v1/messages`, top to bottom.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use convert::converse::Reply;
use convert::native;
use convert::openai::Paths;
use convert::{Loss, Ttl};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use httpd::{BodyError, RequestBody, Response};
use policy::{Admission, Ask, Caller, Denial, End, Marks, Now};
use store::RowStatus;

use crate::answer::Answer;
use crate::debug::Debug;
use crate::encoding;
use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, Held};
use crate::handle::{self, Context};
use crate::lane::Prepared;
use crate::profiles;
use crate::record::Record;
use crate::request_id::message_id;
use crate::stream;
use crate::switches;
use crate::targets;
use crate::tiers;
use crate::upstream::{self, Answered, Job};
use crate::voice::Voice;
use crate::wishes::Wishes;

/// Headers that name a session, the first present one counts.
const SESSION_HEADERS: &[&str] = &["x-session-id", "x-claude-code-session-id", "session-id"];

/// A request that was read, and who sent it.
pub(crate) struct Begun {
    pub(crate) held: Held,
    pub(crate) caller: Arc<Caller>,
    /// As it came, decompressed.
    pub(crate) body: Bytes,
}

impl Begun {
    /// Goes on with another body in the place of the caller's.
    pub(crate) fn replace(&mut self, body: Bytes) -> Result<(), ApiError> {
        self.held.body(body.len())?;
        self.body = body;
        Ok(())
    }
}

/// What is to be known of a request beside its body, which is one of the Messages API.
pub(crate) struct Inquiry<'a> {
    /// Where its parts come from, where the caller said them otherwise.
    pub(crate) paths: &'a Paths,
    /// What was lost on the way here.
    pub(crate) losses: Vec<Loss>,
    /// The tier that the request wishes for, in the caller's word.
    pub(crate) tier: Option<String>,
    /// The session, where no header names one.
    pub(crate) session: Option<String>,
    pub(crate) voice: Voice,
}

/// Answers one Messages request.
pub(crate) async fn create(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let begun = begin(gateway, context, body, record).await?;
    let paths = Paths::default();
    let inquiry =
        Inquiry { paths: &paths, losses: Vec::new(), tier: None, session: None, voice: Voice::Messages };
    answer(gateway, context, begun, inquiry, record).await
}

/// Who calls, and what with.
pub(crate) async fn begin(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    record: &mut Record,
) -> Result<Begun, ApiError> {
    let mut held = Held::request(&gateway.shared)?;
    let caller = gateway.authenticate(context).await?;
    record.key(caller.key_id().as_str());
    let body = read(gateway, context, body, &mut held).await?;
    Ok(Begun { held, caller, body })
}

/// Answers a request, whoever asked it.
pub(crate) async fn answer(
    gateway: &Gateway,
    context: &Context,
    begun: Begun,
    inquiry: Inquiry<'_>,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let Begun { mut held, caller, body } = begun;
    let Inquiry { paths, losses, tier, session, voice } = inquiry;
    let doc = native::parse(text(&body)?).map_err(|fault| malformed(&fault))?;
    let ask = native::peek(&doc).map_err(|refusal| ApiError::field(&refusal.path, &refusal.message))?;
    if let Voice::Messages = voice {
        no_threads(&doc)?;
        check_version(context, &doc)?;
    }
    record.streamed(ask.stream);
    switches::check(&gateway.shared.settings, &doc, &ask)?;
    let mut asking = asked(gateway, &ask, context, voice.surface(), false);
    asking.tier = Wishes::tier(&context.headers, ask.service_tier.as_deref().or(tier.as_deref()));
    asking.session = asking.session.or(session);
    let mut admission = admit(gateway, context, &caller, asking).await?;
    let embedded = switches::embedded(gateway, &doc, &ask, &mut held).await?;
    let (resolution, plan) = targets::plan(gateway, &mut admission, &context.headers)?;
    let job = Job {
        gateway: gateway.clone(),
        body: embedded.as_ref().unwrap_or(&body).clone(),
        beta_headers: beta_headers(&context.headers),
        wishes: Wishes::of(&context.headers),
        tier: admission.tier(),
        cache_ttl: caller.cache_ttl(),
        resolution,
        tables: Arc::clone(admission.tables()),
        plan,
        input_estimate: ask.input_estimate,
        counting: false,
    };
    let mut prepared = if embedded.is_none() { job.prepare(&doc) } else { job.prepare_anew() }?;
    admission.sent(prepared.tier, prepared.cache_ttl);
    lost(&mut prepared, losses, paths);
    note_losses(gateway, &prepared.losses);
    let debug = Debug::wanted(gateway, context).then(|| Debug::new(&job.resolution, &prepared.losses));
    let first = job.first(&prepared);
    upstream::sending(record, &job.resolution, &first.place);
    // Where the first of the plan is passed over, this is another one.
    first.note(&mut admission, record);
    let reply = Reply { id: message_id(), model: ask.model.into_owned() };
    if ask.stream {
        admission.called();
        let opening = stream::Opening { job, prepared, reply, debug, voice };
        return stream::reply(gateway, context, admission, record, opening, held).await;
    }
    whole(&job, admission, record, prepared, Said { reply, debug, voice }).await
}

/// Adds what was lost before, and names everything as the caller does.
fn lost(prepared: &mut Prepared, before: Vec<Loss>, paths: &Paths) {
    if paths.iter().next().is_some() {
        for loss in &mut prepared.losses {
            loss.path = paths.caller(&loss.path);
        }
    }
    prepared.losses.splice(..0, before);
}

/// Refuses what the version that the caller speaks does not have.
pub(crate) fn check_version(context: &Context, doc: &native::Doc<'_>) -> Result<(), ApiError> {
    let version = context.headers.get("anthropic-version").and_then(|value| value.to_str().ok());
    native::version::check(doc, version).map_err(|refusal| ApiError::field(&refusal.path, &refusal.message))
}

/// Threads live on Anthropic's servers. The SDKs' tool runner asks for one, and with these details it goes on without.
fn no_threads(doc: &native::Doc<'_>) -> Result<(), ApiError> {
    if doc.root().get("thread").is_some_and(|thread| thread.is_object()) {
        let details = r#"{"error_code":"thread_unsupported_request","unsupported":["thread"]}"#;
        let error = ApiError::field("thread", "Threads are not supported by this gateway");
        return Err(ApiError { details: Some(details), ..error });
    }
    Ok(())
}

/// What a whole answer needs beside the upstream's body.
struct Said {
    reply: Reply,
    debug: Option<Debug>,
    voice: Voice,
}

async fn whole(
    job: &Job,
    mut admission: Admission,
    record: &mut Record,
    prepared: Prepared,
    mut said: Said,
) -> Result<Response, ApiError> {
    let mut upstream = match job.send(&mut admission, prepared).await {
        Ok(answered) => answered,
        Err(error) => {
            note_failed(&error, &mut admission, record);
            admission.settle(failure(&error), Instant::now());
            return Err(error);
        }
    };
    record.attempts(upstream.attempts);
    upstream.served.note(&mut admission, record);
    upstream.prepared.tier =
        tiers::answered(&job.gateway, &mut admission, &upstream.prepared, &upstream.reply.headers);
    let answer = Answer::new(&upstream.prepared, &upstream.reply.body, &said.reply, &said.voice);
    let now = Instant::now();
    answer.said.note(&mut admission);
    let tier = answer.said.tier.unwrap_or(upstream.prepared.tier);
    let stop_reason = answer.said.stop_reason;
    let body = match answer.body {
        Ok(body) => body,
        Err(error) => {
            record.tokens(admission.settle(End { stop_reason, ..failure(&error) }, now));
            return Err(error);
        }
    };
    admission.content(body.len(), now);
    record.content(now);
    let end = End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason };
    record.tokens(admission.settle(end, now));
    let body = kept(job, &upstream, &mut said, body).await?;
    let mut response = handle::private(handle::json(StatusCode::OK, body));
    if let Some(debug) = &said.debug {
        let id = upstream.reply.request_id.as_deref();
        debug.apply(response.headers_mut(), &upstream.served, tier, upstream.attempts, id);
    }
    Ok(response)
}

/// Has it booked and logged how often the upstream was called, and where last.
pub(crate) fn note_failed(error: &ApiError, admission: &mut Admission, record: &mut Record) {
    record.attempts(error.attempts);
    admission.answered(None, error.attempts);
    if let Some(last) = &error.last {
        last.note(admission, record);
    }
}

/// An answer that has been kept, if its caller may go on from it; where it could not be, it says so.
async fn kept(
    job: &Job,
    upstream: &Answered<bedrock::Reply>,
    said: &mut Said,
    body: Vec<u8>,
) -> Result<Vec<u8>, ApiError> {
    if said.voice.keep(&job.gateway.shared, &body).await {
        return Ok(body);
    }
    Answer::new(&upstream.prepared, &upstream.reply.body, &said.reply, &said.voice).body
}

/// How a failed call is booked.
pub(crate) fn failure(error: &ApiError) -> End {
    End {
        status: RowStatus::UpstreamError,
        http_status: error.kind.status().as_u16(),
        error_type: Some(error.kind.anthropic_type()),
        stop_reason: None,
    }
}

/// What the policy is asked for a Messages body.
pub(crate) fn asked(
    gateway: &Gateway,
    ask: &native::Ask<'_>,
    context: &Context,
    surface: &'static str,
    counting: bool,
) -> Ask {
    let hour = ask.cache_1h || gateway.shared.settings.caching.default_ttl() == Some(Ttl::OneHour);
    let caching = match (ask.cache_markers, hour) {
        (0, _) => Marks::None,
        (_, false) => Marks::FiveMinutes,
        (_, true) => Marks::Hour,
    };
    Ask {
        request_id: context.id.to_string(),
        surface,
        model: ask.model.clone().into_owned(),
        base_model: None,
        tables: None,
        stream: ask.stream,
        counting,
        input_estimate: ask.input_estimate,
        max_tokens: ask.max_tokens,
        tier: None,
        caching,
        session: session(&context.headers),
    }
}

/// The session that the caller names.
pub(crate) fn session(headers: &HeaderMap) -> Option<String> {
    let text =
        |value: &HeaderValue| value.to_str().ok().map(|text| text.chars().take(128).collect::<String>());
    SESSION_HEADERS.iter().find_map(|name| headers.get(*name).and_then(text))
}

/// Asks the policy, and notes for the reply how the caller's limits stand. Where the model's name hides the model, that
/// is found out first.
pub(crate) async fn admit(
    gateway: &Gateway,
    context: &Context,
    caller: &Arc<Caller>,
    mut ask: Ask,
) -> Result<Admission, ApiError> {
    // The same for both: they may be swapped between.
    let tables = ask.tables.take().unwrap_or_else(|| gateway.shared.policy.tables());
    ask.base_model = profiles::behind(gateway, tables.catalog(), &ask.model, context.now.mono).await?;
    ask.tables = Some(tables);
    // Not the instant at which the request began: its body may have taken long, and a budget's day ends by the clock.
    let admitted = gateway.shared.policy.admit(caller, ask, Now::read()).await;
    let rates = admitted.as_ref().map_or_else(Denial::rates, |admission| Some(admission.rates()));
    if let Some(rates) = rates {
        context.rates.get_or_init(|| *rates);
    }
    if let Some(warning) = admitted.as_ref().ok().and_then(Admission::budget_warning) {
        context.budget_warning.get_or_init(|| warning.clone());
    }
    admitted.map_err(|denial| gateway.denied(&denial))
}

/// Reads a JSON body.
pub(crate) async fn read(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    held: &mut Held,
) -> Result<Bytes, ApiError> {
    check_media(&context.headers)?;
    read_any(gateway, context, body, held).await
}

/// Reads the body within its limits, and takes its compression off.
pub(crate) async fn read_any(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    held: &mut Held,
) -> Result<Bytes, ApiError> {
    let limits = &gateway.shared.settings.limits;
    let coding = encoding::of(context.headers.get(CONTENT_ENCODING))?;
    let announced = context.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    held.body(announced.unwrap_or(0).min(limits.max_body_bytes))?;
    let raw =
        httpd::read_body(body, limits.max_body_bytes, limits.body_timeout.0).await.map_err(|error| {
            match error {
                BodyError::TooLarge => too_large(limits.max_body_bytes),
                BodyError::Stalled => ApiError::new(Kind::Invalid, "The request body did not arrive in time"),
                BodyError::Gone => ApiError::new(Kind::Invalid, "The request body ended early"),
            }
        })?;
    held.body(raw.len().saturating_sub(announced.unwrap_or(0)))?;
    match coding {
        None => Ok(raw),
        Some(coding) => {
            let plain = encoding::decode(coding, &raw, limits.max_body_bytes)?;
            held.body(plain.len())?;
            Ok(plain)
        }
    }
}

pub(crate) fn too_large(limit: usize) -> ApiError {
    ApiError::new(Kind::TooLarge, format!("Request body is larger than {limit} bytes"))
}

/// JSON, or nothing said about it.
fn check_media(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json") {
        return Ok(());
    }
    Err(ApiError::new(Kind::UnsupportedMedia, "Content-Type must be application/json"))
}

/// The body as text.
pub(crate) fn text(body: &[u8]) -> Result<&str, ApiError> {
    std::str::from_utf8(body).map_err(|error| {
        ApiError::new(
            Kind::Invalid,
            format!("The request body is not valid UTF-8 (at byte {})", error.valid_up_to()),
        )
    })
}

pub(crate) fn malformed(fault: &native::Fault) -> ApiError {
    if fault.path.is_empty() {
        return ApiError::new(
            Kind::Invalid,
            format!("The request body is not valid JSON: {}", fault.message),
        );
    }
    ApiError::field(&fault.path, &fault.message)
}

pub(crate) fn beta_headers(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all("anthropic-beta").iter();
    lines.filter_map(|line| line.to_str().ok()).map(str::to_owned).collect()
}

/// Counts what could not be carried.
pub(crate) fn note_losses(gateway: &Gateway, losses: &[Loss]) {
    for loss in losses {
        gateway.metrics.loss(loss.reason);
        tracing::debug!(path = loss.path, reason = loss.reason, "a part of the request was not carried");
    }
}
