//! The OpenAI API: what is asked becomes what a Messages caller would ask, goes the same way through the same gates, and
//! the answer is said in the caller's words.

use std::borrow::Cow;
use std::mem::take;
use std::sync::Arc;

use catalog::Scope;
use convert::openai::{Paths, chat, responses};
use convert::{Loss, Refusal};
use httpd::{RequestBody, Response};
use policy::{Ask, Caller};
use protocol::openai::responses::request::Request;
use serde::Deserialize;
use store::CacheTtl;

use crate::error::{ApiError, Kind};
use crate::gateway::{Gateway, Held};
use crate::handle::Context;
use crate::messages::{self, Begun, Inquiry};
use crate::profiles;
use crate::record::Record;
use crate::request_id::answer_id;
use crate::turns::Past;
use crate::voice::{Respondent, Voice};

/// Least tokens before a cache marker of ours, for models that nothing is known of.
const CACHE_MINIMUM: u32 = 1024;

/// Answers one chat completion.
pub(crate) async fn chat(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let begun = messages::begin(gateway, context, body, record).await?;
    let text = messages::text(&begun.body)?;
    let brief = Brief::read(text);
    let minimum = cache_minimum(gateway, context, &begun.caller, &brief.model).await?;
    let options = chat::Options {
        default_max_tokens: gateway.shared.settings.models.default_max_tokens,
        automatic_caching: minimum.is_some(),
        cache_minimum_tokens: minimum.unwrap_or_default(),
    };
    let asked = chat::request(text, &options).map_err(|refusal| refused(&refusal))?;
    let chat::Asked { body, losses, paths, form } = asked;
    let reply = chat::Reply {
        id: answer_id("chatcmpl-"),
        model: brief.model.clone().into_owned(),
        created: unix_seconds(context),
        form,
    };
    let voice = Voice::Chat(Box::new(reply));
    let session = session(brief.prompt_cache_key.as_ref(), brief.user.as_ref());
    let translated = Translated { body, losses, paths, tier: None, session, voice };
    translated.answer(gateway, context, begun, record).await
}

/// Answers one request of the Responses API.
pub(crate) async fn responses(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let mut begun = messages::begin(gateway, context, body, record).await?;
    let request = responses::parse(messages::text(&begun.body)?).map_err(|refusal| refused(&refusal))?;
    let read = |options: &responses::Options<'_>| responses::convert(&request, options);
    let (asked, past) = in_context(gateway, context, &begun.caller, &mut begun.held, &request, read).await?;
    let responses::Asked { body, losses, paths, mut recall, store, input, .. } = asked;
    let keeping = if store { past.keeping(&gateway.shared, begun.caller.key_id(), input) } else { None };
    if keeping.is_none() && request.store == Some(true) {
        return Err(ApiError::field("store", "the conversation is larger than this gateway keeps"));
    }
    recall.echo.store = keeping.is_some();
    let tier = recall.service_tier.clone();
    let session = session(request.prompt_cache_key.as_ref(), request.user.as_ref());
    let (reply, keeping) = (responses_reply(context, &request), keeping.map(Arc::new));
    let voice = Voice::Responses(Box::new(Respondent { recall, reply, keeping }));
    let translated = Translated { body, losses, paths, tier, session, voice };
    drop(request);
    translated.answer(gateway, context, begun, record).await
}

/// Answers one request for the summary of a conversation.
pub(crate) async fn compact(
    gateway: &Gateway,
    context: &Context,
    body: RequestBody,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let mut begun = messages::begin(gateway, context, body, record).await?;
    let request = responses::parse(messages::text(&begun.body)?).map_err(|refusal| refused(&refusal))?;
    let reply = responses_reply(context, &request);
    let read = |options: &responses::Options<'_>| responses::compact::request(&request, options, &reply);
    let (mut compacting, _) =
        in_context(gateway, context, &begun.caller, &mut begun.held, &request, read).await?;
    let asked = &mut compacting.asked;
    let (body, losses, paths) = (take(&mut asked.body), take(&mut asked.losses), take(&mut asked.paths));
    let tier = asked.recall.service_tier.clone();
    let session = session(request.prompt_cache_key.as_ref(), request.user.as_ref());
    let voice = Voice::Compact(Box::new((compacting, reply)));
    let translated = Translated { body, losses, paths, tier, session, voice };
    drop(request);
    translated.answer(gateway, context, begun, record).await
}

/// Converts a request of the Responses API together with what it goes on from.
async fn in_context<T>(
    gateway: &Gateway,
    context: &Context,
    caller: &Caller,
    held: &mut Held,
    request: &Request<'_>,
    read: impl FnOnce(&responses::Options<'_>) -> Result<T, Refusal>,
) -> Result<(T, Past), ApiError> {
    let settings = &gateway.shared.settings;
    allow(gateway, context, caller, &request.model).await?;
    let minimum = cache_minimum(gateway, context, caller, &request.model).await?;
    let past = Past::find(gateway, context, caller, held, &responses::wants(request)).await?;
    let asked = {
        let (turns, others) = past.turns()?;
        let options = responses::Options {
            default_max_tokens: settings.models.default_max_tokens,
            automatic_caching: minimum.is_some(),
            cache_minimum_tokens: minimum.unwrap_or_default(),
            state: settings.responses.keeps().is_some(),
            history: responses::History { turns: &turns, others: &others },
        };
        read(&options).map_err(|refusal| refused(&refusal))?
    };
    Ok((asked, past))
}

/// Refuses a model that is not there or that the caller may not use: for what is refused for its model nothing is looked
/// up.
async fn allow(gateway: &Gateway, context: &Context, caller: &Caller, model: &str) -> Result<(), ApiError> {
    let tables = gateway.shared.policy.tables();
    let base_model = profiles::behind(gateway, tables.catalog(), model, context.now.mono).await?;
    let ask = Ask { model: model.to_owned(), base_model, ..Ask::default() };
    let resolved = gateway.shared.policy.resolve(&tables, caller, &ask);
    resolved.map(drop).map_err(|denial| gateway.denied(&denial))
}

fn responses_reply(context: &Context, request: &Request<'_>) -> responses::Reply {
    responses::Reply {
        id: answer_id("resp_"),
        model: request.model.clone().into_owned(),
        created: unix_seconds(context),
    }
}

/// What keeps requests together that share a prompt.
fn session(cache_key: Option<&Cow<'_, str>>, user: Option<&Cow<'_, str>>) -> Option<String> {
    let named = cache_key.or(user).filter(|name| !name.is_empty());
    named.map(|name| name.chars().take(128).collect())
}

/// What of a request is needed before it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Brief<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    prompt_cache_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
}

impl<'a> Brief<'a> {
    /// A body that cannot be read is refused by whoever reads all of it.
    fn read(text: &'a str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// A request in the words of the Messages API.
struct Translated {
    body: Vec<u8>,
    losses: Vec<Loss>,
    paths: Paths,
    tier: Option<String>,
    session: Option<String>,
    voice: Voice,
}

impl Translated {
    /// Goes on as a Messages request does.
    async fn answer(
        self,
        gateway: &Gateway,
        context: &Context,
        mut begun: Begun,
        record: &mut Record,
    ) -> Result<Response, ApiError> {
        let Self { body, mut losses, paths, tier, session, voice } = self;
        // It has no place in the body, and is the session.
        losses.retain(|loss| session.is_none() || loss.path != "prompt_cache_key");
        begun.replace(body.into())?;
        let inquiry = Inquiry { paths: &paths, losses, tier, session, voice };
        let answered = messages::answer(gateway, context, begun, inquiry, record).await;
        answered.map_err(|error| said_of(error, &paths))
    }
}

fn refused(refusal: &Refusal) -> ApiError {
    ApiError::field(&refusal.path, &refusal.message)
}

/// The least tokens that the model wants before a cache marker; `None` where none are to be set.
async fn cache_minimum(
    gateway: &Gateway,
    context: &Context,
    caller: &Caller,
    model: &str,
) -> Result<Option<u32>, ApiError> {
    let caching = &gateway.shared.settings.caching;
    if !caching.is_automatic() || caller.cache_ttl() == Some(CacheTtl::None) {
        return Ok(None);
    }
    let tables = gateway.shared.policy.tables();
    let behind = profiles::behind(gateway, tables.catalog(), model, context.now.mono).await?;
    let resolved =
        tables.catalog().resolve_behind(model, behind.as_deref(), Scope::Global, "us-east-1", true);
    let Ok(model) = resolved.map(|resolution| resolution.model) else { return Ok(None) };
    let own = match model.caching {
        Some(caching) => Some(caching.min_tokens),
        // Who never asked for caching need not hear that there is none.
        None if catalog::is_known(model) => None,
        None => Some(CACHE_MINIMUM),
    };
    Ok(own.map(|own| caching.cache_min_tokens.unwrap_or(own)))
}

/// How Bedrock refuses a name that it does not know; OpenAI's clients know a code for it.
const UNKNOWN_MODEL: &str = "The provided model identifier is invalid.";

/// What was said of a place in the Messages body, said of the caller's.
fn said_of(error: ApiError, paths: &Paths) -> ApiError {
    if error.kind == Kind::Invalid && error.message == UNKNOWN_MODEL {
        return ApiError { kind: Kind::ModelNotFound, path: Some("model".to_owned()), ..error };
    }
    let said = error.path.as_deref().or_else(|| upstream_path(&error));
    let Some(path) = said else { return error };
    let own = paths.caller(&untagged(path));
    let rest = error.message.strip_prefix(path);
    let message = rest.map_or_else(|| error.message.clone(), |rest| format!("{own}{rest}"));
    ApiError { path: Some(own), message, ..error }
}

/// A place without the kinds that Claude writes between its members: `thinking.enabled.budget_tokens`,
/// `tools.0.custom.name`. No body has them there.
fn untagged(path: &str) -> String {
    let parts: Vec<_> = path.split('.').collect();
    let tag = match *parts {
        ["thinking", "enabled" | "adaptive" | "disabled", _, ..] => Some(1),
        ["tools", _, "custom", _, ..] => Some(2),
        _ => None,
    };
    let kept = parts.iter().enumerate().filter(|(at, _)| Some(*at) != tag).map(|(_, part)| *part);
    kept.collect::<Vec<_>>().join(".")
}

/// How Claude refuses a choice of a tool that there is not; it names no place.
const UNKNOWN_TOOL: &str = "' not found in provided tools";

/// The place at which the upstream's own refusal begins: `messages.0.content.1.text: …`.
fn upstream_path(error: &ApiError) -> Option<&str> {
    if error.kind == Kind::Invalid && error.message.ends_with(UNKNOWN_TOOL) {
        return Some("tool_choice");
    }
    let (path, _) = error.message.split_once(": ").filter(|_| error.kind == Kind::Invalid)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
    (path.len() <= 200 && path.chars().all(plain)).then_some(path)
}

fn unix_seconds(context: &Context) -> u64 {
    u64::try_from(context.now.wall.unix_millis() / 1000).unwrap_or_default()
}
