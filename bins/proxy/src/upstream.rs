//! One upstream call: it takes an admission, and what it cannot do becomes the caller's error.

use std::borrow::Cow;
use std::future::Future;
use std::time::Instant;

use bedrock::{Call, Client, EventStream, Kind as Cause, Reply};
use bytes::Bytes;
use catalog::{Lane, Resolution, Route};
use convert::native;
use policy::Admission;

use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::lane::{Asking, Prepared};
use crate::refusal::api_error;
use crate::ways::{Cooling, Way};
use crate::wishes::Wishes;

/// What a call needs to be made, and made again when the upstream teaches us something.
pub(crate) struct Job {
    pub(crate) gateway: Gateway,
    /// The caller's body, checked.
    pub(crate) body: Bytes,
    pub(crate) beta_headers: Vec<String>,
    pub(crate) wishes: Wishes,
    pub(crate) resolution: Resolution,
    pub(crate) input_estimate: u64,
    /// The body is made to be counted, not to be run.
    pub(crate) counting: bool,
}

/// An answer, what was sent for it, and how often anything was sent.
pub(crate) struct Answered<T> {
    pub(crate) reply: T,
    pub(crate) prepared: Prepared,
    pub(crate) attempts: u32,
}

/// What a caller's stream is made of.
pub(crate) enum Opened {
    Stream(Box<EventStream>),
    /// A whole answer that is spelled as events.
    Whole(Reply),
}

impl Opened {
    pub(crate) fn request_id(&self) -> Option<&str> {
        match self {
            Self::Stream(events) => events.request_id(),
            Self::Whole(reply) => reply.request_id.as_deref(),
        }
    }
}

impl Job {
    /// The ways to the model that this request may go, the preferred one first.
    fn ways(&self) -> impl Iterator<Item = Way> + '_ {
        let native = self.resolution.lane() == Lane::Native;
        let settings = &self.gateway.shared.settings;
        let routes: &[Route] = match native {
            false => &[],
            // Only there can a body be counted, and are wishes granted.
            true if self.counting || !self.wishes.is_empty() => &[Route::InvokeModel],
            true => settings.bedrock.routes.of(&self.resolution),
        };
        // Mantle knows models, not the profiles of an account.
        let profile = self.resolution.upstream_id.starts_with("arn:");
        let open = move |route: &Route| *route != Route::Mantle || !profile;
        let native_ways = routes.iter().copied().filter(open).map(Way::Native);
        native_ways.chain((!native).then_some(Way::Converse))
    }

    /// The way to begin with: the first that has not failed a moment ago, or the first of all.
    fn way(&self) -> Way {
        let mut ways = self.ways();
        let first = ways.next().unwrap_or(Way::Native(Route::InvokeModel));
        // One way is gone whatever happened on it: no lock is looked at.
        if ways.next().is_none() {
            return first;
        }
        let now = Instant::now();
        self.ways().find(|way| self.cooling().may_go(*way, &self.resolution.base_id, now)).unwrap_or(first)
    }

    fn cooling(&self) -> &Cooling {
        &self.gateway.shared.cooling
    }

    /// Converts the request; `doc` is its body, read.
    pub(crate) fn prepare(&self, doc: &native::Doc<'_>) -> Result<Prepared, ApiError> {
        self.prepare_for(self.way(), doc)
    }

    /// The same, for a body that has to be read first.
    pub(crate) fn prepare_anew(&self) -> Result<Prepared, ApiError> {
        self.prepare_again(self.way())
    }

    fn prepare_for(&self, way: Way, doc: &native::Doc<'_>) -> Result<Prepared, ApiError> {
        let headers: Vec<&str> = self.beta_headers.iter().map(String::as_str).collect();
        let shared = &self.gateway.shared;
        let lessons = shared.learned.of(&self.lessons_key(way));
        let ask = Asking {
            resolution: &self.resolution,
            beta_headers: &headers,
            lessons: &lessons,
            wishes: &self.wishes,
            counting: self.counting,
        };
        Prepared::new(doc, way, &ask, &shared.settings)
    }

    /// A fresh conversion of the original: what was sent first is not edited in place.
    fn prepare_again(&self, way: Way) -> Result<Prepared, ApiError> {
        let text = std::str::from_utf8(&self.body)
            .map_err(|_| ApiError::new(Kind::Invalid, "The request body is not valid UTF-8"))?;
        let doc = native::parse(text).map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
        self.prepare_for(way, &doc)
    }

    /// Each route has rules of its own.
    fn lessons_key(&self, way: Way) -> Cow<'_, str> {
        match way {
            Way::Converse | Way::Native(Route::InvokeModel) => Cow::Borrowed(&self.resolution.base_id),
            Way::Native(Route::Messages | Route::Mantle) => {
                Cow::Owned(format!("{}@{}", self.resolution.base_id, way.name()))
            }
        }
    }

    /// A whole answer.
    pub(crate) async fn send(
        &self,
        admission: &mut Admission,
        prepared: Prepared,
    ) -> Result<Answered<Reply>, ApiError> {
        admission.called();
        let answered = self.go::<Whole>(prepared).await?;
        admission.answered(answered.reply.request_id.as_deref(), answered.attempts);
        Ok(answered)
    }

    /// An answer for a caller who wants events, from its first frame on.
    pub(crate) async fn open(self, prepared: Prepared) -> Result<Answered<Opened>, ApiError> {
        // Some models stream, and have tools, but not both at once; they are asked for the whole.
        if prepared.tools && !self.resolution.model.streaming_tools {
            let Answered { reply, prepared, attempts } = self.go::<Whole>(prepared).await?;
            return Ok(Answered { reply: Opened::Whole(reply), prepared, attempts });
        }
        let Answered { reply, prepared, attempts } = self.go::<Streamed>(prepared).await?;
        Ok(Answered { reply: Opened::Stream(Box::new(reply)), prepared, attempts })
    }

    /// Calls the model the prepared way, and where that way fails by the ways behind it.
    async fn go<E: Exchange>(&self, mut prepared: Prepared) -> Result<Answered<E::Reply>, ApiError> {
        let model = &self.resolution.base_id;
        let first = prepared.way;
        let mut behind = self.ways().skip_while(move |way| *way != first).skip(1);
        let several = self.ways().nth(1).is_some();
        let (mut attempts, mut kept): (u32, Option<bedrock::Error>) = (0, None);
        loop {
            let way = prepared.way;
            let error = match self.call::<E>(prepared, &mut attempts).await {
                Ok((reply, prepared)) => {
                    if several {
                        self.cooling().works(way, model);
                    }
                    return Ok(Answered { reply, prepared, attempts });
                }
                Err(error) => error,
            };
            let moves_on = several && is_of_the_way(&error);
            if moves_on {
                self.cooling().failed(way, model, Instant::now());
            }
            // A way that is closed to us says nothing about the request; what an open one said does.
            let told = kept.take_if(|_| is_closed(&error)).unwrap_or(error);
            let Some(next) = behind.next().filter(|_| moves_on) else {
                return Err(self.failed(&bedrock::Error { attempts, ..told }));
            };
            tracing::info!(model, way = way.name(), next = next.name(), kind = ?told.kind, "a route failed, the next is tried");
            kept = Some(told);
            prepared = self.prepare_again(next)?;
        }
    }

    /// One way, once more where the upstream has taught us something.
    async fn call<E: Exchange>(
        &self,
        prepared: Prepared,
        attempts: &mut u32,
    ) -> Result<(E::Reply, Prepared), bedrock::Error> {
        let error = match self.ask::<E>(&prepared, attempts).await {
            Ok(reply) => return Ok((reply, prepared)),
            Err(error) => error,
        };
        let prepared = self.taught(&error, prepared.way).ok_or(error)?;
        let reply = self.ask::<E>(&prepared, attempts).await?;
        Ok((reply, prepared))
    }

    async fn ask<E: Exchange>(
        &self,
        prepared: &Prepared,
        attempts: &mut u32,
    ) -> Result<E::Reply, bedrock::Error> {
        let call = Call {
            operation: prepared.way.operation(E::STREAM),
            model_id: &self.resolution.upstream_id,
            body: prepared.body.clone(),
            headers: &prepared.headers,
        };
        let asked = E::ask(&self.gateway.bedrock, &call).await;
        *attempts += asked.as_ref().map_or_else(|error| error.attempts, E::attempts);
        asked
    }

    /// The request without what the upstream has just refused by name, if that is what it said.
    pub(crate) fn taught(&self, error: &bedrock::Error, way: Way) -> Option<Prepared> {
        if error.kind != Cause::Validation || way.lane() != Lane::Native {
            return None;
        }
        self.gateway.shared.learned.learn(&self.lessons_key(way), &error.message)?;
        self.prepare_again(way).ok()
    }

    pub(crate) fn failed(&self, error: &bedrock::Error) -> ApiError {
        self.gateway.metrics.retries(error.attempts);
        api_error(error, &self.resolution, self.input_estimate)
    }
}

/// The two kinds of call.
trait Exchange {
    type Reply: Send;
    const STREAM: bool;

    fn ask(
        client: &Client,
        call: &Call<'_>,
    ) -> impl Future<Output = Result<Self::Reply, bedrock::Error>> + Send;

    fn attempts(reply: &Self::Reply) -> u32;
}

struct Whole;

impl Exchange for Whole {
    type Reply = Reply;
    const STREAM: bool = false;

    async fn ask(client: &Client, call: &Call<'_>) -> Result<Reply, bedrock::Error> {
        client.send(call).await
    }

    fn attempts(reply: &Reply) -> u32 {
        reply.attempts
    }
}

struct Streamed;

impl Exchange for Streamed {
    type Reply = EventStream;
    const STREAM: bool = true;

    async fn ask(client: &Client, call: &Call<'_>) -> Result<EventStream, bedrock::Error> {
        client.stream(call).await
    }

    fn attempts(reply: &EventStream) -> u32 {
        reply.attempts()
    }
}

/// Whether a failure may be one of the route, so that another route has a chance.
fn is_of_the_way(error: &bedrock::Error) -> bool {
    match error.kind {
        Cause::Throttling
        | Cause::ServiceQuota
        | Cause::ModelNotReady
        | Cause::InternalServer
        | Cause::ServiceUnavailable
        | Cause::Connect
        | Cause::FirstByteTimeout
        | Cause::Reset
        | Cause::Protocol
        | Cause::Other { .. } => true,
        Cause::Validation
        | Cause::TooLarge
        | Cause::ModelTimeout
        | Cause::Model { .. }
        | Cause::ModelStream
        | Cause::IdleTimeout
        | Cause::TotalTimeout => false,
        Cause::AccessDenied | Cause::NotFound | Cause::Credentials => is_closed(error),
    }
}

/// Whether we may not, or cannot, go this way at all.
fn is_closed(error: &bedrock::Error) -> bool {
    matches!(error.kind, Cause::AccessDenied | Cause::NotFound | Cause::Credentials | Cause::Connect)
}

/// The instant the upstream call begins, for the overhead metric.
pub(crate) fn sending(record: &mut crate::record::Record, resolution: &Resolution) {
    record.sending(resolution, Instant::now());
}
