//! `GET /v1/models`: what a key may use, in the shape of whoever asks.

use std::collections::BTreeMap;

use catalog::{Effort, Family, Model, Scope, Thinking, is_known};
use convert::native::beta;
use http::StatusCode;
use httpd::Response;
use policy::Caller;
use serde_json::{Value, json};

use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::handle::{self, Context};
use crate::profiles;
use crate::route::{Dialect, parameter};

const ACTIVE: &str = "active";

/// One entry, before it has a shape.
struct Entry {
    id: String,
    model: &'static Model,
}

/// The list.
pub(crate) async fn list(gateway: &Gateway, context: &Context) -> Result<Response, ApiError> {
    let caller = gateway.authenticate(context).await?;
    let entries = entries(gateway, &caller);
    let body = match context.dialect {
        Dialect::OpenAi | Dialect::Bedrock => {
            json!({ "object": "list", "data": entries.iter().map(openai).collect::<Vec<_>>() })
        }
        Dialect::Anthropic => page(&entries, context.query.as_deref().unwrap_or_default())?,
    };
    Ok(handle::private(handle::json(StatusCode::OK, body.to_string())))
}

/// One model, by any of its names.
pub(crate) async fn get(gateway: &Gateway, context: &Context, id: &str) -> Result<Response, ApiError> {
    let caller = gateway.authenticate(context).await?;
    let unknown = || {
        let message = format!("model: {}", id.chars().take(128).collect::<String>());
        ApiError { path: Some("model".to_owned()), ..ApiError::new(Kind::ModelNotFound, message) }
    };
    let tables = gateway.shared.policy.tables();
    let catalog = tables.catalog();
    let behind = profiles::behind(gateway, catalog, id, context.now.mono).await;
    let behind = behind.map_err(|error| if error.kind == Kind::Invalid { unknown() } else { error })?;
    // Unknown names may be served, but nothing can be said about them.
    let resolution = catalog.resolve_behind(id, behind.as_deref(), Scope::Global, "us-east-1", false);
    let resolution = resolution.map_err(|_| unknown())?;
    if !caller.may_use(&resolution.base_id) {
        return Err(unknown());
    }
    let entry = Entry { id: id.to_owned(), model: resolution.model };
    let body = match context.dialect {
        Dialect::OpenAi | Dialect::Bedrock => openai(&entry),
        Dialect::Anthropic => anthropic(&entry),
    };
    Ok(handle::private(handle::json(StatusCode::OK, body.to_string())))
}

/// What the caller may use: the operator's names, then every row under its preferred name; the newest first.
fn entries(gateway: &Gateway, caller: &Caller) -> Vec<Entry> {
    let tables = gateway.shared.policy.tables();
    let catalog = tables.catalog();
    let mut named: BTreeMap<String, &'static Model> = BTreeMap::new();
    for model in catalog.list() {
        if caller.may_use(model.id) {
            named.insert(model.names.first().copied().unwrap_or(model.id).to_owned(), model);
        }
    }
    for (name, target) in catalog.mapping() {
        let resolution = catalog.resolve_target(target, None, Scope::Global, "us-east-1");
        if caller.may_use(&resolution.base_id) {
            named.insert(name.to_owned(), resolution.model);
        }
    }
    let mut entries: Vec<_> = named.into_iter().map(|(id, model)| Entry { id, model }).collect();
    // Stable: names of the same day stay in alphabetical order.
    entries.sort_by(|a, b| b.model.released.cmp(a.model.released));
    entries
}

/// `limit`, `after_id` and `before_id` of the Messages API; an unknown cursor is ignored.
fn page(entries: &[Entry], query: &str) -> Result<Value, ApiError> {
    let parameter = |name: &str| parameter(query, name);
    let limit = match parameter("limit") {
        None => 20,
        Some(text) => match text.parse::<usize>() {
            Ok(limit @ 1..=1000) => limit,
            _ => return Err(ApiError::field("limit", "Input should be between 1 and 1000")),
        },
    };
    // Only this one is ever listed; whoever asks for others alone gets none.
    let lifecycles = ["lifecycle[]", "lifecycle%5B%5D", "lifecycle"];
    let wanted: Vec<_> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(name, value)| lifecycles.contains(&name).then_some(value))
        .collect();
    let entries = if wanted.is_empty() || wanted.contains(&ACTIVE) { entries } else { &[] };
    let place = |name: &str| parameter(name).and_then(|id| entries.iter().position(|entry| entry.id == id));
    let (from, to) = match (place("after_id"), place("before_id")) {
        (Some(after), _) => (after + 1, (after + 1 + limit).min(entries.len())),
        (None, Some(before)) => (before.saturating_sub(limit), before),
        (None, None) => (0, limit.min(entries.len())),
    };
    let shown = entries.get(from..to).unwrap_or_default();
    let more = if place("after_id").is_none() && place("before_id").is_some() {
        from > 0
    } else {
        to < entries.len()
    };
    Ok(json!({
        "data": shown.iter().map(anthropic).collect::<Vec<_>>(),
        "has_more": more,
        "first_id": shown.first().map(|entry| &entry.id),
        "last_id": shown.last().map(|entry| &entry.id),
    }))
}

fn anthropic(entry: &Entry) -> Value {
    let model = entry.model;
    let known = is_known(model);
    let mut value = json!({
        "type": "model",
        "id": entry.id,
        "display_name": if known { model.display_name } else { &entry.id },
        "created_at": format!("{}T00:00:00Z", model.released),
        // A model that Bedrock retires leaves the catalogue; until then it answers.
        "lifecycle": ACTIVE,
    });
    if known && let Some(object) = value.as_object_mut() {
        object.insert("max_input_tokens".to_owned(), model.context_window.into());
        object.insert("max_tokens".to_owned(), model.max_output.into());
        object.insert("capabilities".to_owned(), capabilities(model));
    }
    value
}

/// What the gateway makes of the model, translations included: <https://platform.claude.com/docs/en/api/models>.
fn capabilities(model: &Model) -> Value {
    let of = |supported: bool| json!({ "supported": supported });
    let edits = |flag: &str| model.fields.contains(&"context_management") && model.betas.contains(&flag);
    let effort = |level: Effort| of(model.max_effort.is_some_and(|most| level <= most));
    let thinks = model.thinking != Thinking::None;
    let clears = edits(beta::CONTEXT_MANAGEMENT);
    json!({
        "batch": of(false),
        "citations": of(model.family == Family::Claude && model.documents),
        "code_execution": of(false),
        "context_management": {
            "supported": clears,
            "clear_thinking_20251015": of(clears),
            "clear_tool_uses_20250919": of(clears),
            "compact_20260112": of(edits(beta::COMPACT)),
        },
        "effort": {
            "supported": model.max_effort.is_some(),
            "low": effort(Effort::Low),
            "medium": effort(Effort::Medium),
            "high": effort(Effort::High),
            "xhigh": of(!model.no_xhigh && model.max_effort >= Some(Effort::XHigh)),
            "max": effort(Effort::Max),
        },
        "image_input": of(model.vision),
        "pdf_input": of(model.documents),
        "server_tools": { "supported": false, "code_execution": of(false), "web_search": of(false) },
        "structured_outputs": of(model.structured_output || (model.tools && model.forced_tool_choice)),
        "thinking": {
            "supported": thinks,
            "types": {
                "adaptive": of(thinks),
                "between_tools": of(false),
                "disabled": of(model.thinking != Thinking::Always),
                "enabled": of(thinks),
            },
        },
    })
}

fn openai(entry: &Entry) -> Value {
    let owner = entry.model.id.split('.').next().unwrap_or("bedrock");
    json!({ "id": entry.id, "object": "model", "created": unix_day(entry.model.released), "owned_by": owner })
}

/// Seconds of the Unix epoch at the start of a day `YYYY-MM-DD`.
fn unix_day(day: &str) -> i64 {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(day, format).map_or(0, |date| date.midnight().assume_utc().unix_timestamp())
}
