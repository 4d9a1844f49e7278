//! One upstream call: it takes an admission, and what it cannot do becomes the caller's error.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bedrock::{Call, EventStream, Kind as Cause, Reply};
use bytes::Bytes;
use catalog::{Lane, Resolution, Route, ServiceTier};
use convert::outcome::reason;
use convert::{Loss, native};
use http::HeaderMap;
use policy::{Admission, Place, Tables};
use store::CacheTtl;

use crate::count_tokens;
use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::lane::{Asking, Prepared};
use crate::refusal::api_error;
use crate::targets::Plan;
use crate::tiers;
use crate::tour::{self, Exchange, Served, Streamed, Tour, Whole};
use crate::ways::{Candidate, Way};
use crate::wishes::Wishes;

/// What a call needs to be made, and made again when the upstream teaches us something.
pub(crate) struct Job {
    pub(crate) gateway: Gateway,
    /// The caller's body, checked.
    pub(crate) body: Bytes,
    pub(crate) beta_headers: Vec<String>,
    pub(crate) wishes: Wishes,
    /// The tier that the call is to have, where the model takes it.
    pub(crate) tier: ServiceTier,
    /// What the key forces on every cache marker.
    pub(crate) cache_ttl: Option<CacheTtl>,
    /// At the first target.
    pub(crate) resolution: Resolution,
    pub(crate) plan: Plan,
    /// Those that the request was admitted under.
    pub(crate) tables: Arc<Tables>,
    pub(crate) input_estimate: u64,
    /// The body is made to be counted, not to be run.
    pub(crate) counting: bool,
}

/// An answer, what was sent for it and where, and how often anything was sent.
pub(crate) struct Answered<T> {
    pub(crate) reply: T,
    pub(crate) prepared: Prepared,
    pub(crate) served: Served,
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

    /// The upstream's own.
    pub(crate) fn headers(&self) -> &HeaderMap {
        match self {
            Self::Stream(events) => events.headers(),
            Self::Whole(reply) => &reply.headers,
        }
    }
}

impl Job {
    /// The ways to the model that this request may go, the preferred one first: each target's routes, then the next target's.
    fn candidates(&self) -> impl Iterator<Item = Candidate> + Clone + '_ {
        let at = |(target, resolution)| self.ways(resolution).map(move |way| Candidate { target, way });
        let most = if self.plan.single { 1 } else { usize::MAX };
        self.plan.stops(&self.resolution).flat_map(at).take(most)
    }

    fn ways<'a>(&'a self, resolution: &'a Resolution) -> impl Iterator<Item = Way> + Clone + use<'a> {
        let native = resolution.lane() == Lane::Native;
        let settings = &self.gateway.shared.settings;
        let routes: &[Route] = match native {
            false => &[],
            true if self.counting => &[],
            // Only there are wishes granted.
            true if !self.wishes.is_empty() || tiers::is_wish_for(resolution, self.tier) => {
                &[Route::InvokeModel]
            }
            true => settings.bedrock.routes.of(resolution),
        };
        // Mantle knows models, not the profiles of an account.
        let profile = resolution.upstream_id.starts_with("arn:");
        let open = move |route: &Route| *route != Route::Mantle || !profile;
        let native_ways = routes.iter().copied().filter(open).map(Way::Native);
        let other = match native {
            false => Some(Way::Converse),
            true if self.counting => Some(Way::Count),
            // Where all of its routes are closed to it, it goes the way of every Claude.
            true => (!routes.iter().any(open)).then_some(Way::Native(Route::InvokeModel)),
        };
        native_ways.chain(other)
    }

    /// The tier to send to a target.
    fn granted(&self, target: usize) -> ServiceTier {
        tiers::granted(&self.gateway, target, &self.resolution, self.tier)
    }

    fn begin(&self) -> Result<Candidate, ApiError> {
        tour::begin(&self.gateway, self.candidates(), &self.resolution.base_id)
    }

    /// What the model's name means at a target.
    fn resolution_at(&self, target: usize) -> &Resolution {
        self.plan.moved(target).unwrap_or(&self.resolution)
    }

    /// Converts the request; `doc` is its body, read.
    pub(crate) fn prepare(&self, doc: &native::Doc<'_>) -> Result<Prepared, ApiError> {
        self.prepare_for(self.begin()?, doc)
    }

    /// The same, for a body that has to be read first.
    pub(crate) fn prepare_anew(&self) -> Result<Prepared, ApiError> {
        self.prepare_again(self.begin()?)
    }

    fn prepare_for(&self, at: Candidate, doc: &native::Doc<'_>) -> Result<Prepared, ApiError> {
        let headers: Vec<&str> = self.beta_headers.iter().map(String::as_str).collect();
        let shared = &self.gateway.shared;
        let lessons = shared.learned.of(&self.lessons_key(at.way));
        let ask = Asking {
            resolution: self.resolution_at(at.target),
            tables: &self.tables,
            beta_headers: &headers,
            lessons: &lessons,
            wishes: &self.wishes,
            tier: self.granted(at.target),
            cache_ttl: self.cache_ttl,
            counting: self.counting,
        };
        let mut prepared = Prepared::new(doc, at.way, &ask, &shared.settings)?;
        if prepared.tier != self.tier {
            prepared.losses.push(Loss { path: "service_tier".to_owned(), reason: reason::NOT_TAKEN });
        }
        Ok(Prepared { target: at.target, way: at.way, ..prepared })
    }

    /// A fresh conversion of the original: what was sent first is not edited in place.
    fn prepare_again(&self, at: Candidate) -> Result<Prepared, ApiError> {
        let text = std::str::from_utf8(&self.body)
            .map_err(|_| ApiError::new(Kind::Invalid, "The request body is not valid UTF-8"))?;
        let doc = native::parse(text).map_err(|fault| ApiError::field(&fault.path, &fault.message))?;
        self.prepare_for(at, &doc)
    }

    /// Each route has rules of its own.
    fn lessons_key(&self, way: Way) -> Cow<'_, str> {
        match way {
            Way::Converse | Way::Count | Way::Native(Route::InvokeModel) => {
                Cow::Borrowed(&self.resolution.base_id)
            }
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

    /// A count of what is prepared to be counted. Nothing is billed for it.
    pub(crate) async fn count(&self, prepared: Prepared) -> Result<Reply, ApiError> {
        let Answered { reply, attempts, .. } = self.go::<Whole>(prepared).await?;
        Ok(Reply { attempts, ..reply })
    }

    /// An answer for a caller who wants events, from its first frame on.
    pub(crate) async fn open(self, prepared: Prepared) -> Result<Answered<Opened>, ApiError> {
        // Some models stream, and have tools, but not both at once; they are asked for the whole.
        if prepared.tools && !self.resolution.model.streaming_tools {
            let Answered { reply, prepared, served, attempts } = self.go::<Whole>(prepared).await?;
            return Ok(Answered { reply: Opened::Whole(reply), prepared, served, attempts });
        }
        let Answered { reply, prepared, served, attempts } = self.go::<Streamed>(prepared).await?;
        Ok(Answered { reply: Opened::Stream(Box::new(reply)), prepared, served, attempts })
    }

    /// Where the prepared call goes first.
    pub(crate) fn first(&self, prepared: &Prepared) -> Served {
        Tour::new(&self.gateway, &self.resolution, false).served(prepared.at(), &self.plan)
    }

    /// Calls the model the prepared way, and where that way fails by the ways behind it.
    async fn go<E: Exchange>(&self, mut prepared: Prepared) -> Result<Answered<E::Reply>, ApiError> {
        let first = prepared.at();
        let mut behind = self.candidates().skip_while(move |at| *at != first).skip(1);
        let mut tour = Tour::new(&self.gateway, &self.resolution, self.candidates().nth(1).is_some());
        loop {
            let at = prepared.at();
            let error = match self.call::<E>(prepared, &mut tour, behind.clone()).await {
                Ok((reply, prepared)) => {
                    tour.answered(at);
                    let (served, attempts) = (tour.served(at, &self.plan), tour.attempts);
                    return Ok(Answered { reply, prepared, served, attempts });
                }
                Err(error) => error,
            };
            let next = tour.next(at, error, &mut behind).map_err(|error| ApiError {
                last: Some(Box::new(tour.served(at, &self.plan))),
                ..self.failed(&error)
            })?;
            prepared = self.prepare_again(next)?;
        }
    }

    /// One way, once more where the upstream has taught us something.
    async fn call<E: Exchange>(
        &self,
        prepared: Prepared,
        tour: &mut Tour<'_>,
        behind: impl Iterator<Item = Candidate> + Clone,
    ) -> Result<(E::Reply, Prepared), bedrock::Error> {
        let at = prepared.at();
        let error = match self.tiered::<E>(prepared, tour, behind.clone()).await {
            Ok(answered) => return Ok(answered),
            Err(error) => error,
        };
        let prepared = self.taught(&error, at).ok_or(error)?;
        self.tiered::<E>(prepared, tour, behind).await
    }

    /// One request, once more by default where its tier is refused.
    async fn tiered<E: Exchange>(
        &self,
        prepared: Prepared,
        tour: &mut Tour<'_>,
        behind: impl Iterator<Item = Candidate> + Clone,
    ) -> Result<(E::Reply, Prepared), bedrock::Error> {
        let at = prepared.at();
        let error = match tour.ask::<E>(at, &self.call_of::<E>(&prepared), behind.clone()).await {
            Ok(reply) => return Ok((reply, prepared)),
            Err(error) => error,
        };
        if !tiers::learnt(&self.gateway, at.target, &self.resolution, prepared.tier, &error) {
            return Err(error);
        }
        let prepared = self.prepare_again(at).map_err(|_| error)?;
        let reply = tour.ask::<E>(at, &self.call_of::<E>(&prepared), behind).await?;
        Ok((reply, prepared))
    }

    fn call_of<'a, E: Exchange>(&'a self, prepared: &'a Prepared) -> Call<'a> {
        let resolution = self.resolution_at(prepared.target);
        if prepared.way == Way::Count {
            return count_tokens::call(&resolution.base_id, &prepared.body);
        }
        Call {
            operation: prepared.way.operation(E::STREAM),
            model_id: &resolution.upstream_id,
            body: prepared.body.clone(),
            headers: &prepared.headers,
        }
    }

    /// The request without what the upstream has just refused by name, if that is what it said.
    fn taught(&self, error: &bedrock::Error, at: Candidate) -> Option<Prepared> {
        if error.kind != Cause::Validation || at.way.lane() != Lane::Native {
            return None;
        }
        self.gateway.shared.learned.learn(&self.lessons_key(at.way), &error.message)?;
        self.prepare_again(at).ok()
    }

    fn failed(&self, error: &bedrock::Error) -> ApiError {
        api_error(error, &self.resolution, self.input_estimate)
    }
}

/// The instant the upstream call begins, for the overhead metric.
pub(crate) fn sending(record: &mut crate::record::Record, resolution: &Resolution, place: &Place) {
    record.sending(resolution, place, Instant::now());
}
