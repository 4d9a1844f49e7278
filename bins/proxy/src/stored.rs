//! What can be asked of a response that was kept: `/v1/responses/{id}` and what is behind it.
//! <https://platform.openai.com/docs/api-reference/responses>

use convert::openai::responses::Turn;
use http::StatusCode;
use httpd::Response;
use serde_json::{Value, json};

use crate::error::{ApiError, Kind};
use crate::gateway::Gateway;
use crate::handle::{self, Context};
use crate::record::Record;
use crate::route::parameter;
use crate::turns;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Retrieve,
    Delete,
    InputItems,
    Cancel,
}

/// Answers it.
pub(crate) async fn answer(
    gateway: &Gateway,
    context: &Context,
    question: Question,
    id: &str,
    record: &mut Record,
) -> Result<Response, ApiError> {
    let caller = gateway.authenticate(context).await?;
    record.key(caller.key_id().as_str());
    let query = context.query.as_deref().unwrap_or_default();
    if question == Question::Delete {
        turns::remove(gateway, &caller, id).await?;
        let body = json!({ "id": id, "object": "response", "deleted": true });
        return Ok(private(body.to_string()));
    }
    let page = Page::read(query)?;
    if question == Question::Retrieve && parameter(query, "stream").is_some_and(|stream| stream == "true") {
        return Err(ApiError::field("stream", "only background responses can be streamed again"));
    }
    let kept = turns::find(gateway, context, &caller, id).await?;
    let turns = kept.turns()?;
    let Some((last, before)) = turns.split_last() else { return Err(unreadable()) };
    match question {
        Question::Retrieve | Question::Delete => Ok(private(last.response().to_owned())),
        Question::InputItems => Ok(private(page.of(&input_items(before, last)?)?.to_string())),
        Question::Cancel => {
            let message = format!("Response '{id}' is finished; only background responses can be cancelled.");
            Err(ApiError::new(Kind::Invalid, message))
        }
    }
}

fn private(body: String) -> Response {
    handle::private(handle::json(StatusCode::OK, body))
}

fn unreadable() -> ApiError {
    ApiError::new(Kind::Internal, "The response was kept in a form that this gateway cannot read")
}

/// Everything that went into a response, in order: the turns before it, and its own input.
fn input_items(before: &[Turn<'_>], last: &Turn<'_>) -> Result<Vec<Value>, ApiError> {
    let mut items = Vec::new();
    for turn in before {
        let typed = turn.items().map_err(|_| unreadable())?;
        items.extend(
            typed
                .iter()
                .map(serde_json::to_value)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| unreadable())?,
        );
    }
    items.extend(serde_json::from_str::<Vec<Value>>(last.input()).map_err(|_| unreadable())?);
    items.iter_mut().for_each(in_full);
    Ok(items)
}

/// Callers may write a message in short; who lists items gets it in full.
fn in_full(item: &mut Value) {
    let assistant = item["role"] == "assistant";
    let Some(members) = item.as_object_mut() else { return };
    if let Some(Value::String(text)) = members.get("content") {
        let part = if assistant {
            json!({ "type": "output_text", "text": text, "annotations": [] })
        } else {
            json!({ "type": "input_text", "text": text })
        };
        members.insert("content".to_owned(), json!([part]));
    }
    if members.contains_key("role") {
        members.entry("type").or_insert_with(|| "message".into());
        members.entry("status").or_insert_with(|| "completed".into());
    }
}

/// Which part of a list, and from which end.
struct Page {
    limit: usize,
    ascending: bool,
    after: Option<String>,
}

impl Page {
    fn read(query: &str) -> Result<Self, ApiError> {
        let limit = match parameter(query, "limit") {
            None => 20,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=100) => limit,
                _ => return Err(ApiError::field("limit", "Input should be between 1 and 100")),
            },
        };
        let ascending = match parameter(query, "order").as_deref() {
            None | Some("desc") => false,
            Some("asc") => true,
            Some(_) => return Err(ApiError::field("order", "Input should be 'asc' or 'desc'")),
        };
        Ok(Self { limit, ascending, after: parameter(query, "after") })
    }

    /// Of items in ascending order.
    fn of(&self, items: &[Value]) -> Result<Value, ApiError> {
        let mut items: Vec<_> = items.iter().collect();
        if !self.ascending {
            items.reverse();
        }
        let from = match &self.after {
            None => 0,
            Some(after) => {
                let place = items.iter().position(|item| item["id"] == after.as_str());
                place.ok_or_else(|| ApiError::field("after", "there is no item with this id"))? + 1
            }
        };
        let rest = items.get(from..).unwrap_or_default();
        let shown = rest.get(..self.limit).unwrap_or(rest);
        Ok(json!({
            "object": "list",
            "data": shown,
            "first_id": shown.first().map(|item| &item["id"]),
            "last_id": shown.last().map(|item| &item["id"]),
            "has_more": shown.len() < rest.len(),
        }))
    }
}
