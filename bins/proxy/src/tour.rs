//! From one candidate to the next: which may be tried, how often, and what the caller hears when none is left.

use std::future::Future;
use std::time::Instant;

use bedrock::{Call, Client, EventStream, Kind as Cause, Reply};
use catalog::Resolution;
use policy::{Admission, Place};

use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::record::{self, Record};
use crate::targets::Plan;
use crate::ways::{Candidate, Way, Why};

/// The candidate to begin with: the first that has not failed a moment ago. Where all have, the wait until one may be
/// tried again; where all are closed to us, the first of them, which says so.
pub(crate) fn begin(
    gateway: &Gateway,
    candidates: impl Iterator<Item = Candidate> + Clone,
    model: &str,
) -> Result<Candidate, ApiError> {
    let mut all = candidates.clone();
    let Some(first) = all.next() else {
        return Err(ApiError::new(Kind::Internal, "There is no way to this model."));
    };
    // One way is gone whatever happened on it: no lock is looked at.
    if all.next().is_none() {
        return Ok(first);
    }
    let (cooling, now) = (&gateway.shared.cooling, Instant::now());
    if let Some(open) = candidates.clone().find(|at| cooling.may_go(*at, model, now)) {
        return Ok(open);
    }
    let Some((wait, why)) = cooling.all_cool(candidates, model, now) else { return Ok(first) };
    let (kind, message) = match why {
        Why::Throttled => (Kind::RateLimit, "Every way to this model is throttled by AWS at the moment."),
        Why::Down | Why::Closed => (Kind::Overloaded, "No way to this model works at the moment."),
    };
    Err(ApiError::new(kind, message).retry_after(Some(wait)))
}

/// One request's calls.
pub(crate) struct Tour<'a> {
    gateway: &'a Gateway,
    resolution: &'a Resolution,
    /// Whether there is more than one candidate.
    several: bool,
    /// Calls to the upstream so far.
    pub(crate) attempts: u32,
    /// What an earlier candidate said.
    kept: Option<bedrock::Error>,
}

impl<'a> Tour<'a> {
    pub(crate) fn new(gateway: &'a Gateway, resolution: &'a Resolution, several: bool) -> Self {
        Self { gateway, resolution, several, attempts: 0, kept: None }
    }

    /// One call. Each candidate behind that may be tried keeps one of the attempts that are left.
    pub(crate) async fn ask<E: Exchange>(
        &mut self,
        at: Candidate,
        call: &Call<'_>,
        behind: impl Iterator<Item = Candidate>,
    ) -> Result<E::Reply, bedrock::Error> {
        let (cooling, now) = (&self.gateway.shared.cooling, Instant::now());
        let waiting = behind.filter(|at| !cooling.cools(*at, &self.resolution.base_id, now)).count();
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let target = self.gateway.targets.get(at.target);
        let asked = E::ask(&target.client, call, self.left().saturating_sub(waiting)).await;
        let seconds = now.elapsed().as_secs_f64();
        let made = asked.as_ref().map_or_else(|error| error.attempts, E::attempts);
        self.attempts += made;
        let (metrics, name) = (&self.gateway.metrics, &target.place.target);
        metrics.retries(name, made);
        let outcome = asked.as_ref().map_or_else(|error| outcome(error.kind), |_| "ok");
        metrics.upstream((at.target, name), record::model_label(self.resolution), outcome, seconds);
        asked
    }

    fn left(&self) -> u32 {
        self.gateway.shared.settings.bedrock.max_attempts.saturating_sub(self.attempts)
    }

    /// It answered.
    pub(crate) fn answered(&self, at: Candidate) {
        if self.several {
            self.gateway.shared.cooling.works(at, &self.resolution.base_id);
        }
    }

    /// It failed: the next one, or the error with which the request ends.
    pub(crate) fn next(
        &mut self,
        at: Candidate,
        error: bedrock::Error,
        behind: &mut impl Iterator<Item = Candidate>,
    ) -> Result<Candidate, bedrock::Error> {
        let (cooling, model, now) = (&self.gateway.shared.cooling, &self.resolution.base_id, Instant::now());
        let (closed, kind) = (is_closed(&error), error.kind);
        let moves_on = self.several && is_of_the_way(&error);
        if moves_on {
            cooling.failed(at, model, &error, now);
        } else if matches!(kind, Cause::Validation | Cause::TooLarge) {
            // It was well enough to refuse.
            self.answered(at);
        }
        // A way that is closed to us says nothing about the request; what an open one said does.
        let told = self.kept.take_if(|_| closed).unwrap_or(error);
        let next = if moves_on && self.left() > 0 {
            behind.find(|next| cooling.may_go(*next, model, now))
        } else {
            None
        };
        let target = self.gateway.targets.get(at.target);
        // To knock at a closed door costs nobody anything; everything else is a repetition.
        match next.filter(|_| closed || target.client.may_repeat()) {
            Some(next) => {
                let to = &self.gateway.targets.get(next.target).place.target;
                tracing::info!(model, target = %target.place.target, way = at.way.name(), next_target = %to,
                    next = next.way.name(), ?kind, "a way to a model failed, the next is tried");
                self.kept = Some(told);
                Ok(next)
            }
            None => Err(bedrock::Error { attempts: self.attempts, ..told }),
        }
    }

    /// Where the answer came from.
    pub(crate) fn served(&self, at: Candidate, plan: &Plan) -> Served {
        Served {
            place: self.gateway.targets.get(at.target).place.clone(),
            way: at.way,
            moved: plan.moved(at.target).cloned(),
        }
    }
}

/// Where an answer comes from, or a refusal.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) place: Place,
    pub(crate) way: Way,
    /// What the model's name means there, where it is not the place that was admitted.
    pub(crate) moved: Option<Resolution>,
}

impl Served {
    /// Has it booked and logged.
    pub(crate) fn note(&self, admission: &mut Admission, record: &mut Record) {
        if let Some(resolution) = &self.moved {
            admission.goes_to(&self.place, resolution);
        }
        self.note_in(record);
    }

    /// Has it logged.
    pub(crate) fn note_in(&self, record: &mut Record) {
        if let Some(resolution) = &self.moved {
            record.goes_to(&self.place, resolution);
        }
    }
}

/// A call that failed everywhere.
pub(crate) struct Unanswered {
    pub(crate) error: bedrock::Error,
    /// Where it was made last.
    pub(crate) last: Served,
}

/// The two kinds of call.
pub(crate) trait Exchange {
    type Reply: Send;
    const STREAM: bool;

    /// With no more than so many attempts.
    fn ask(
        client: &Client,
        call: &Call<'_>,
        most: u32,
    ) -> impl Future<Output = Result<Self::Reply, bedrock::Error>> + Send;

    fn attempts(reply: &Self::Reply) -> u32;
}

pub(crate) struct Whole;

impl Exchange for Whole {
    type Reply = Reply;
    const STREAM: bool = false;

    async fn ask(client: &Client, call: &Call<'_>, most: u32) -> Result<Reply, bedrock::Error> {
        client.send_within(call, most).await
    }

    fn attempts(reply: &Reply) -> u32 {
        reply.attempts
    }
}

pub(crate) struct Streamed;

impl Exchange for Streamed {
    type Reply = EventStream;
    const STREAM: bool = true;

    async fn ask(client: &Client, call: &Call<'_>, most: u32) -> Result<EventStream, bedrock::Error> {
        client.stream_within(call, most).await
    }

    fn attempts(reply: &EventStream) -> u32 {
        reply.attempts()
    }
}

/// Whether a failure may be one of the way, so that another has a chance.
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
        Cause::TooLarge
        | Cause::ModelTimeout
        | Cause::Model { .. }
        | Cause::ModelStream
        | Cause::IdleTimeout
        | Cause::TotalTimeout => false,
        Cause::Validation | Cause::AccessDenied | Cause::NotFound | Cause::Credentials => is_closed(error),
    }
}

/// Whether we may not, or cannot, go this way at all.
fn is_closed(error: &bedrock::Error) -> bool {
    match error.kind {
        Cause::AccessDenied | Cause::NotFound | Cause::Credentials | Cause::Connect => true,
        // The one refusal that speaks of the region and not of the request: there the model is behind a profile alone.
        Cause::Validation => error.message.contains("with on-demand throughput isn"),
        Cause::Throttling
        | Cause::ServiceQuota
        | Cause::ModelTimeout
        | Cause::Model { .. }
        | Cause::ModelNotReady
        | Cause::ModelStream
        | Cause::InternalServer
        | Cause::ServiceUnavailable
        | Cause::TooLarge
        | Cause::FirstByteTimeout
        | Cause::IdleTimeout
        | Cause::TotalTimeout
        | Cause::Reset
        | Cause::Protocol
        | Cause::Other { .. } => false,
    }
}

/// The label in metrics.
fn outcome(cause: Cause) -> &'static str {
    match cause {
        Cause::Throttling | Cause::ServiceQuota | Cause::ModelNotReady => "throttled",
        Cause::Validation | Cause::TooLarge => "refused",
        Cause::AccessDenied | Cause::NotFound => "denied",
        Cause::Credentials => "no_credentials",
        Cause::ModelTimeout | Cause::FirstByteTimeout | Cause::IdleTimeout | Cause::TotalTimeout => "timeout",
        Cause::Model { .. }
        | Cause::ModelStream
        | Cause::InternalServer
        | Cause::ServiceUnavailable
        | Cause::Connect
        | Cause::Reset
        | Cause::Protocol
        | Cause::Other { .. } => "failed",
    }
}
