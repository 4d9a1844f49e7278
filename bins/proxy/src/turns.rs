//! Conversations that are kept, so that a caller of the Responses API can go on from an answer.
//!
//! Under a response's id is kept the whole conversation up to it: a JSON list of turns, the oldest first. So who goes on
//! from it needs one look-up, a conversation stays for as long as somebody goes on with it, and removing an answer takes
//! nothing from those after it. It is written before the caller reads the end of the answer, so that it is there, for every
//! gateway on the same store, when the next request comes.

use std::sync::Arc;
use std::time::Duration;

use catalog::Scope;
use convert::openai::responses::{Turn, Wants, turn};
use policy::{Caller, Denial};
use serde_json::value::RawValue;
use store::{ErrorKind, KeyId, StoredTurn, Timestamp};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, Held, Shared};
use crate::handle::Context;
use crate::profiles;

/// Other responses whose items one request may refer to; each is a look-up.
const MOST_OTHERS: usize = 32;
/// How long a caller waits for the end of an answer because it is being kept.
const LONGEST_WRITE: Duration = Duration::from_secs(5);
/// What has expired is removed so often, and so many at a time: a long step would hold up everybody else who writes.
const PRUNE_EVERY: Duration = Duration::from_mins(1);
const PRUNE_ROWS: usize = 100;
const PRUNE_PAUSE: Duration = Duration::from_millis(50);

/// A conversation as it was kept; never empty.
pub(crate) struct Kept(String);

impl Kept {
    /// Its turns, the oldest first; the last one is that of the response under whose id it was kept.
    pub(crate) fn turns(&self) -> Result<Vec<Turn<'_>>, ApiError> {
        let list: Vec<&RawValue> = serde_json::from_str(&self.0).unwrap_or_default();
        let turns: Option<Vec<_>> = list.into_iter().map(|turn| Turn::read(turn.get())).collect();
        turns.filter(|turns| !turns.is_empty()).ok_or_else(|| {
            tracing::error!("a kept response cannot be read; another version of the gateway has written it");
            ApiError::new(Kind::Internal, "The response was kept in a form that this gateway cannot read")
        })
    }

    /// The same, its bytes counted among those that the gateway holds.
    fn within(self, held: &mut Held) -> Result<Self, ApiError> {
        held.body(self.0.len())?;
        Ok(self)
    }

    /// The same with one turn more.
    fn with(before: Option<&Self>, turn: &str) -> Self {
        let before = before.and_then(|before| before.0.strip_suffix(']'));
        Self(before.map_or_else(|| format!("[{turn}]"), |before| format!("{before},{turn}]")))
    }
}

/// What a request goes on from, and what else it refers to.
#[derive(Default)]
pub(crate) struct Past {
    before: Option<Kept>,
    others: Vec<Kept>,
}

impl Past {
    /// Finds what a request wants, and takes room for it. What it refers to and nobody knows is for the conversion to say;
    /// it knows the place.
    pub(crate) async fn find(
        gateway: &Gateway,
        context: &Context,
        caller: &Caller,
        held: &mut Held,
        wants: &Wants,
    ) -> Result<Self, ApiError> {
        let mut past = Self::default();
        // Where nothing is kept, the conversion refuses.
        if gateway.shared.settings.responses.keeps().is_none() {
            return Ok(past);
        }
        if let Some(id) = &wants.previous_response_id {
            let found = find(gateway, context, caller, id).await;
            let named = |error: ApiError| ApiError {
                kind: if error.kind == Kind::NotFound { Kind::PreviousNotFound } else { error.kind },
                path: Some("previous_response_id".to_owned()),
                ..error
            };
            past.before = Some(found.map_err(named)?.within(held)?);
        }
        if wants.others.len() > MOST_OTHERS {
            let message = format!("refers to items of more than {MOST_OTHERS} responses");
            return Err(ApiError::field("input", &message));
        }
        for id in &wants.others {
            match find(gateway, context, caller, id).await {
                Ok(kept) => past.others.push(kept.within(held)?),
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(past)
    }

    /// The turns that the request follows, and the others.
    pub(crate) fn turns(&self) -> Result<(Vec<Turn<'_>>, Vec<Turn<'_>>), ApiError> {
        let before = self.before.as_ref().map(Kept::turns).transpose()?.unwrap_or_default();
        let others = self.others.iter().map(|kept| Ok(kept.turns()?.pop())).collect::<Result<Vec<_>, _>>()?;
        Ok((before, others.into_iter().flatten().collect()))
    }

    /// What is to be kept of a turn that goes on from here, and under whose key. `None` where it would be too large as it is.
    pub(crate) fn keeping(self, shared: &Shared, key_id: &KeyId, input: String) -> Option<Keeping> {
        let bytes = self.before.as_ref().map_or(0, |before| before.0.len()) + input.len();
        let fits = bytes <= shared.settings.responses.context_max_bytes;
        fits.then(|| Keeping { before: self.before, input, key_id: key_id.clone() })
    }
}

/// What is kept of a turn once it is answered.
pub(crate) struct Keeping {
    before: Option<Kept>,
    /// As the conversion tells it.
    input: String,
    key_id: KeyId,
}

impl Keeping {
    /// Keeps the turn under its response's id. False where that could not be done: the response has to say so.
    pub(crate) async fn keep(&self, shared: &Shared, response: &str) -> bool {
        let settings = &shared.settings.responses;
        let stored = turn::stored(&self.input, response).and_then(|turn| String::from_utf8(turn).ok());
        let (Some(ttl), Some(turn)) = (settings.keeps(), stored) else { return false };
        let id = Turn::read(&turn).map(|turn| turn.id().to_owned()).unwrap_or_default();
        let Kept(payload) = Kept::with(self.before.as_ref(), &turn);
        if payload.len() > settings.context_max_bytes {
            tracing::warn!(bytes = payload.len(), "a response is not kept: RESPONSE_CONTEXT_MAX_BYTES");
            return false;
        }
        let now = Timestamp::now();
        let expires_at = now.plus_millis(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        let row = StoredTurn { id, key_id: self.key_id.clone(), created_at: now, expires_at, payload };
        match timeout(LONGEST_WRITE, shared.store.put_turn(&row)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a response is not kept");
                false
            }
            Err(_) => {
                tracing::warn!("a response is not kept: the store did not answer in time");
                false
            }
        }
    }
}

/// The conversation that is kept under a response's id. Another key's is as unknown as one that never was; one of a model
/// that the key may no longer use is not shown.
pub(crate) async fn find(
    gateway: &Gateway,
    context: &Context,
    caller: &Caller,
    id: &str,
) -> Result<Kept, ApiError> {
    if gateway.shared.settings.responses.keeps().is_none() {
        return Err(unknown(id));
    }
    let found = gateway.shared.store.turn(id, caller.key_id(), Timestamp::now()).await;
    let kept = Kept(found.map_err(|error| away(&error))?.ok_or_else(|| unknown(id))?.payload);
    if let Some(turn) = kept.turns()?.last() {
        check_model(gateway, context, caller, turn.model()).await?;
    }
    Ok(kept)
}

/// Removes what is kept under a response's id; the model does not matter for that.
pub(crate) async fn remove(gateway: &Gateway, caller: &Caller, id: &str) -> Result<(), ApiError> {
    let removed = gateway.shared.store.remove_turn(id, caller.key_id(), Timestamp::now()).await;
    removed.map_err(|error| if error.kind() == ErrorKind::NotFound { unknown(id) } else { away(&error) })
}

/// Removes what has expired, again and again.
pub(crate) async fn tidy(shared: Arc<Shared>) {
    let mut pace = interval(PRUNE_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        loop {
            match shared.store.prune_turns(Timestamp::now(), PRUNE_ROWS).await {
                Ok(rows) if rows >= PRUNE_ROWS => tokio::time::sleep(PRUNE_PAUSE).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!(%error, "expired responses are not removed");
                    break;
                }
            }
        }
    }
}

async fn check_model(
    gateway: &Gateway,
    context: &Context,
    caller: &Caller,
    model: &str,
) -> Result<(), ApiError> {
    let tables = gateway.shared.policy.tables();
    let behind = profiles::behind(gateway, tables.catalog(), model, context.now.mono).await?;
    let resolved =
        tables.catalog().resolve_behind(model, behind.as_deref(), Scope::Global, "us-east-1", true);
    let allowed = resolved.is_ok_and(|resolution| caller.may_use(&resolution.base_id));
    if allowed { Ok(()) } else { Err(gateway.denied(&Denial::ModelNotAllowed { model: model.to_owned() })) }
}

fn unknown(id: &str) -> ApiError {
    let shown: String = id.chars().filter(|c| !c.is_control()).take(128).collect();
    ApiError::new(Kind::NotFound, format!("Response with id '{shown}' not found."))
}

fn away(error: &store::Error) -> ApiError {
    tracing::warn!(%error, "a kept response cannot be looked up");
    ApiError::new(Kind::Unavailable, "Kept responses cannot be looked up at the moment. Try again shortly.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_put_one_after_the_other() {
        let turn =
            |id: &str| format!(r#"{{"v":1,"input":[],"response":{{"id":"{id}","model":"m","output":[]}}}}"#);
        let one = Kept::with(None, &turn("resp_1"));
        let three = Kept::with(Some(&Kept::with(Some(&one), &turn("resp_2"))), &turn("resp_3"));
        let ids: Vec<_> = three.turns().unwrap().iter().map(|turn| turn.id().to_owned()).collect();
        assert_eq!(ids, ["resp_1", "resp_2", "resp_3"]);
        for wrong in ["", "[]", "{}", r#"[{"v":2}]"#] {
            assert_eq!(Kept(wrong.to_owned()).turns().unwrap_err().kind, Kind::Internal, "{wrong}");
        }
    }
}
