//! `POST /v1/embeddings`: one request, and as many calls as the model needs for its texts.

use std::time::Instant;

use bedrock::{Call, Reply};
use bytes::Bytes;
use catalog::{Embedding, Resolution, Route, ServiceTier};
use convert::native;
use convert::openai::embeddings::{self, Answer, Asked};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use httpd::{RequestBody, Response};
use policy::{Admission, Ask, End, Ended, Marks, Tokens};
use store::RowStatus;

use crate::answer::unreadable;
use crate::debug::Debug;
use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, Held};
use crate::handle::{self, Context};
use crate::ingress::usage;
use crate::messages::{self, failure, note_losses};
use crate::profiles;
use crate::record::Record;
use crate::refusal::api_error;
use crate::targets::{self, Plan};
use crate::tour::{self, Served, Tour, Whole};
use crate::upstream;
use crate::ways::{Candidate, Way};

/// Calls of one request that run at the same time.
const AT_ONCE: usize = 8;

/// Answers one request.
pub(crate) async fn create(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let mut held = Held::request(&gateway.shared)?;
    let caller = gateway.authenticate(context).await?;
    record.key(caller.key_id().as_str());
    let body = messages::read(gateway, context, body, &mut held).await?;
    let doc = native::parse(messages::text(&body)?).map_err(|fault| messages::malformed(&fault))?;
    let asked = embeddings::request(&doc).map_err(|refusal| refused(&refusal))?;
    let mut ask = Ask {
        request_id: context.id.to_string(),
        surface: "embeddings",
        model: asked.model.clone().into_owned(),
        input_estimate: asked.input_estimate(),
        caching: Marks::None,
        session: messages::session(&context.headers),
        ..Ask::default()
    };
    let tables = gateway.shared.policy.tables();
    ask.base_model = profiles::behind(gateway, tables.catalog(), &ask.model, context.now.mono).await?;
    // Before any limit is asked: what is refused for its model or its size costs none.
    let resolved = gateway.shared.policy.resolve(&tables, &caller, &ask);
    let model = embedding(&resolved.map_err(|denial| mapped(gateway.denied(&denial)))?)?;
    ask.tables = Some(tables);
    let calls = asked.calls(&model).map_err(|refusal| refused(&refusal))?;
    let mut admission = messages::admit(gateway, context, &caller, ask).await?;
    let losses = asked.losses(model.format);
    note_losses(gateway, &losses);
    let (resolution, plan) = targets::plan(gateway, &mut admission, &context.headers)?;
    admission.sent(ServiceTier::Default, None);
    let debug = Debug::wanted(gateway, context).then(|| Debug::new(&resolution, &losses));
    upstream::sending(record, &resolution, admission.place());
    let batch = Batch { gateway, resolution, plan, model };
    let made = batch.run(&calls, &mut admission, record).await;
    let now = Instant::now();
    match made.and_then(|made| made.response(&asked).map(|body| (made, body))) {
        Ok((made, body)) => {
            record.content(now);
            let end = End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason: None };
            record.tokens(admission.settle(end, now));
            record.attempts(made.attempts);
            let mut response = handle::private(handle::json(StatusCode::OK, body));
            if let (Some(debug), Some(last)) = (debug, &made.last) {
                let id = last.upstream_request_id.as_deref();
                debug.apply(response.headers_mut(), &last.served, ServiceTier::Default, made.attempts, id);
            }
            Ok(response)
        }
        Err(error) => {
            record.attempts(error.attempts);
            admission.settle(failure(&error), now);
            Err(error)
        }
    }
}

fn refused(refusal: &convert::Refusal) -> ApiError {
    ApiError::field(&refusal.path, &refusal.message)
}

/// How the model is asked.
fn embedding(resolution: &Resolution) -> Result<Embedding, ApiError> {
    if let Some(embedding) = resolution.model.embedding {
        return Ok(embedding);
    }
    let name: String = resolution.requested.chars().filter(|c| !c.is_control()).take(128).collect();
    let error = if catalog::is_known(resolution.model) {
        ApiError::new(Kind::Invalid, format!("model: {name} makes no embeddings"))
    } else {
        mapped(ApiError::new(Kind::ModelNotFound, format!("model: {name}")))
    };
    Err(ApiError { path: Some("model".to_owned()), ..error })
}

/// Says to those who ask for a model that is not there how it would be: vectors of one model are nothing to another, so
/// that no name of OpenAI's may mean one of Bedrock's until somebody says so.
fn mapped(error: ApiError) -> ApiError {
    if error.kind != Kind::ModelNotFound {
        return error;
    }
    let message = format!(
        "{} is no embedding model here. Name one of Bedrock's, such as amazon.titan-embed-text-v2:0, or map the name to \
         one in DEFAULT_MODEL_MAPPING; vectors differ between models, in length too",
        error.message
    );
    ApiError { message, ..error }
}

/// The calls of one request.
struct Batch<'a> {
    gateway: &'a Gateway,
    resolution: Resolution,
    plan: Plan,
    model: Embedding,
}

/// One call's answer.
struct Done {
    reply: Reply,
    upstream_request_id: Option<String>,
    served: Served,
    attempts: u32,
}

/// All answers, in the order of their calls.
struct Made {
    answers: Vec<Answer>,
    tokens: u64,
    attempts: u32,
    last: Option<Done>,
}

impl Made {
    fn response(&self, asked: &Asked<'_>) -> Result<Vec<u8>, ApiError> {
        asked.response(&self.answers, self.tokens).map_err(|_| unreadable("a vector is not one of numbers"))
    }
}

impl Batch<'_> {
    /// Makes all calls, a few at a time. One that fails takes the others with it: an answer without some of its vectors
    /// would be taken for whole.
    async fn run(
        &self,
        calls: &[embeddings::Call],
        admission: &mut Admission,
        record: &mut Record,
    ) -> Result<Made, ApiError> {
        let mut answers: Vec<Option<Answer>> = vec![None; calls.len()];
        let mut made = Made { answers: Vec::new(), tokens: 0, attempts: 0, last: None };
        let mut waiting = calls.iter().enumerate();
        let mut open = FuturesUnordered::new();
        loop {
            while open.len() < AT_ONCE
                && let Some((index, call)) = waiting.next()
            {
                let part = admission.begin(call.input_estimate, Instant::now());
                open.push(async move { (index, part, self.send(call).await) });
            }
            let Some((index, part, answered)) = open.next().await else { break };
            let (ended, outcome) = self.ended(calls.get(index), answered);
            made.attempts += ended.attempts;
            let estimate = calls.get(index).map_or(0, |call| call.input_estimate);
            made.tokens += ended.tokens.map_or(estimate, |tokens| tokens.input);
            admission.ended(part, ended, Instant::now());
            let (answer, done) = outcome.map_err(|error| error.after(made.attempts))?;
            done.served.note_in(record);
            made.last = Some(done);
            if let Some(place) = answers.get_mut(index) {
                *place = Some(answer);
            }
        }
        made.answers = answers.into_iter().flatten().collect();
        Ok(made)
    }

    /// What is booked of a call, and what came of it.
    fn ended(
        &self,
        call: Option<&embeddings::Call>,
        answered: Result<Done, ApiError>,
    ) -> (Ended, Result<(Answer, Done), ApiError>) {
        let at = |served: &Served| {
            let resolution = served.moved.as_ref().unwrap_or(&self.resolution);
            Some((served.place.clone(), resolution.clone()))
        };
        let failed = |error: &ApiError| Ended {
            tokens: None,
            end: failure(error),
            attempts: error.attempts,
            upstream_request_id: None,
            place: error.last.as_deref().and_then(at),
        };
        let done = match answered {
            Ok(done) => done,
            Err(error) => return (failed(&error), Err(error)),
        };
        let read = call.map(|call| embeddings::answer(&done.reply.body, call, self.model.format));
        let counted = Some(usage::counts(&done.reply.headers)).filter(|usage| usage.reported);
        let told = read.as_ref().and_then(|read| read.as_ref().ok()?.tokens);
        let input = told.or(counted.map(|usage| usage.input));
        let ended = Ended {
            tokens: input.map(|input| Tokens { input, ..Tokens::default() }),
            end: End { status: RowStatus::Ok, http_status: 200, error_type: None, stop_reason: None },
            attempts: done.attempts,
            upstream_request_id: done.upstream_request_id.clone(),
            place: at(&done.served),
        };
        if let Some(Ok(answer)) = read {
            return (ended, Ok((answer, done)));
        }
        let error = unreadable("an answer has not one vector a text");
        (Ended { end: failure(&error), ..ended }, Err(error))
    }

    /// The same call at each target, in order.
    fn candidates(&self) -> impl Iterator<Item = Candidate> + Clone + '_ {
        let most = if self.plan.single { 1 } else { usize::MAX };
        let at = |(target, _)| Candidate { target, way: Way::Native(Route::InvokeModel) };
        self.plan.stops(&self.resolution).map(at).take(most)
    }

    /// One call, at one target after the other where it fails.
    async fn send(&self, call: &embeddings::Call) -> Result<Done, ApiError> {
        let (gateway, resolution) = (self.gateway, &self.resolution);
        let mut at = tour::begin(gateway, self.candidates(), &resolution.base_id)?;
        let first = at;
        let mut behind = self.candidates().skip_while(move |at| *at != first).skip(1);
        let mut tour = Tour::new(gateway, resolution, self.candidates().nth(1).is_some());
        let body = Bytes::copy_from_slice(&call.body);
        loop {
            let there = self.plan.moved(at.target).unwrap_or(resolution);
            let request = Call {
                operation: at.way.operation(false),
                model_id: &there.upstream_id,
                body: body.clone(),
                headers: &[],
            };
            match tour.ask::<Whole>(at, &request, behind.clone()).await {
                Ok(reply) => {
                    tour.answered(at);
                    let (served, attempts) = (tour.served(at, &self.plan), tour.attempts);
                    let upstream_request_id = reply.request_id.clone();
                    return Ok(Done { reply, upstream_request_id, served, attempts });
                }
                Err(error) => {
                    at = tour.next(at, error, &mut behind).map_err(|error| ApiError {
                        last: Some(Box::new(tour.served(at, &self.plan))),
                        ..api_error(&error, resolution, call.input_estimate)
                    })?;
                }
            }
        }
    }
}
