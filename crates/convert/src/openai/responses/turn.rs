//! A turn as it is stored, and turns put before what follows them.
//!
//! The stored form is JSON, so that a store need not know it:
//! `{"v": 1, "input": [items of this turn, each with an id], "response": {the response as the caller got it}}`.
//! A turn holds its own items alone; whoever keeps a conversation keeps its turns together.

use std::borrow::Cow;
use std::collections::HashMap;

use protocol::openai::responses::Item;
use protocol::openai::responses::item::Reference;
use protocol::openai::responses::response::Status;
use protocol::raw::{Fault, Read};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Refusal;

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;

/// A stored turn.
#[derive(Clone, Debug)]
pub struct Turn<'a> {
    input: &'a RawValue,
    response: &'a RawValue,
    head: Head<'a>,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    v: u64,
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow)]
    response: &'a RawValue,
}

#[derive(Clone, Debug, Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    output: &'a RawValue,
    status: Option<Status>,
}

/// The stored form of a turn: the input's items, as [`Asked::input`](super::Asked::input) has them, and the response as
/// the caller got it. `None` if the texts are not that, or the response has failed: nobody goes on from it.
pub fn stored(input: &str, response: &str) -> Option<Vec<u8>> {
    let head: Head<'_> = serde_json::from_str(response).ok()?;
    if head.status == Some(Status::Failed) {
        return None;
    }
    let mut items = read(serde_json::from_str(input).ok()?).ok()?;
    for (at, item) in items.iter_mut().enumerate() {
        name(item, head.id.strip_prefix("resp_").unwrap_or(&head.id), at);
    }
    let items = serde_json::value::to_raw_value(&items).ok()?;
    let response = serde_json::from_str(response).ok()?;
    serde_json::to_vec(&Stored { v: VERSION, input: &items, response }).ok()
}

/// Gives an item an id, if it has none: of the response's id and its place in the input.
pub(super) fn name(item: &mut Item<'_>, response: &str, at: usize) {
    let (prefix, id) = match item {
        Item::Message(item) => ("msg", &mut item.id),
        Item::FunctionCall(item) => ("fc", &mut item.id),
        Item::FunctionCallOutput(item) => ("fco", &mut item.id),
        Item::CustomToolCall(item) => ("ctc", &mut item.id),
        Item::CustomToolCallOutput(item) => ("ctco", &mut item.id),
        Item::LocalShellCall(item) => ("lsh", &mut item.id),
        Item::Reasoning(item) => ("rs", &mut item.id),
        Item::Compaction(item) => ("cmp", &mut item.id),
        Item::LocalShellCallOutput(_) | Item::Reference(_) | Item::Unknown(_) => return,
    };
    id.get_or_insert_with(|| Cow::Owned(format!("{prefix}_{response}_i{at}")));
}

/// The id of the response that made an item, or whose input it was: by the item's id. `None` where it is not of our making.
pub fn response_of(item_id: &str) -> Option<String> {
    let (_, rest) = item_id.split_once('_')?;
    let (response, place) = rest.rsplit_once('_')?;
    let digits = place.strip_prefix('i').unwrap_or(place);
    let ours = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    ours.then(|| format!("resp_{response}"))
}

impl<'a> Turn<'a> {
    /// Reads the stored form; `None` if it is not one that this build knows.
    pub fn read(stored: &'a str) -> Option<Self> {
        let Stored { v, input, response } = serde_json::from_str(stored).ok()?;
        let head = serde_json::from_str(response.get()).ok()?;
        (v == VERSION).then_some(Self { input, response, head })
    }

    /// The response's id.
    pub fn id(&self) -> &str {
        &self.head.id
    }

    /// The model's name, as the caller sent it.
    pub fn model(&self) -> &str {
        &self.head.model
    }

    /// The response as the caller got it, as JSON text.
    pub fn response(&self) -> &'a str {
        self.response.get()
    }

    /// The items that the turn began with, as the text of a JSON list.
    pub fn input(&self) -> &'a str {
        self.input.get()
    }

    /// The items of the turn: what it began with, and what came of it.
    pub fn items(&self) -> Result<Vec<Item<'a>>, Fault> {
        let mut items = read(self.input)?;
        items.append(&mut read(self.head.output)?);
        Ok(items)
    }
}

fn read(list: &RawValue) -> Result<Vec<Item<'_>>, Fault> {
    Read::from_raw(list)
}

/// What came before a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'h> {
    /// The turns that the request follows, oldest first: that of `previous_response_id`, and those before it.
    pub turns: &'h [Turn<'h>],
    /// Other turns, whose items the request refers to.
    pub others: &'h [Turn<'h>],
}

impl<'h> History<'h> {
    /// The items of the turns that the request follows.
    pub(super) fn items(&self) -> Result<Vec<Item<'h>>, Refusal> {
        let items = self.turns.iter().map(items).collect::<Result<Vec<_>, _>>()?;
        Ok(items.into_iter().flatten().collect())
    }

    /// All items that a request may refer to, by their ids.
    fn by_id(&self) -> Result<HashMap<String, Option<Item<'h>>>, Refusal> {
        let mut known = HashMap::new();
        for turn in self.others.iter().chain(self.turns) {
            for item in items(turn)? {
                if let Some(id) = id(&item).map(str::to_owned) {
                    known.entry(id).or_insert(Some(item));
                }
            }
        }
        Ok(known)
    }
}

/// The items that a request refers to. Each is given once, so that no request becomes larger than it is with all that is
/// kept.
pub(super) struct Referred<'h> {
    history: History<'h>,
    /// Read with the first reference; `None` in the place of what was given.
    known: Option<HashMap<String, Option<Item<'h>>>>,
}

impl<'h> Referred<'h> {
    pub(super) fn new(history: History<'h>) -> Self {
        Self { history, known: None }
    }

    /// The item that is referred to.
    pub(super) fn take(&mut self, reference: &Reference<'_>, at: &str) -> Result<Item<'h>, Refusal> {
        let known = match &mut self.known {
            Some(known) => known,
            None => self.known.insert(self.history.by_id()?),
        };
        let id = &reference.id;
        let wrong = match known.get_mut(&**id).map(Option::take) {
            Some(Some(item)) => return Ok(item),
            Some(None) => {
                format!(
                    "Duplicate item found with id '{id}'. Remove duplicate items from your input and try again"
                )
            }
            None => format!(
                "Item with id '{id}' not found. Items are kept with `store` set to true; send the item itself, or leave it out"
            ),
        };
        Err(Refusal { path: format!("{at}.id"), message: wrong })
    }
}

fn items<'a>(turn: &Turn<'a>) -> Result<Vec<Item<'a>>, Refusal> {
    turn.items().map_err(|fault| Refusal {
        path: "previous_response_id".to_owned(),
        message: format!("the stored turn {} cannot be read: {fault}", turn.id()),
    })
}

/// An item's id.
fn id<'i>(item: &'i Item<'_>) -> Option<&'i str> {
    match item {
        Item::Message(item) => item.id.as_deref(),
        Item::FunctionCall(item) => item.id.as_deref(),
        Item::FunctionCallOutput(item) => item.id.as_deref(),
        Item::CustomToolCall(item) => item.id.as_deref(),
        Item::CustomToolCallOutput(item) => item.id.as_deref(),
        Item::LocalShellCall(item) => item.id.as_deref(),
        Item::LocalShellCallOutput(item) => Some(&item.id),
        Item::Reasoning(item) => item.id.as_deref(),
        Item::Compaction(item) => item.id.as_deref(),
        Item::Reference(_) | Item::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &str = r#"{"id":"resp_a1","model":"m","previous_response_id":"resp_a0","output":[{"type":"function_call","id":"fc_a1_0","call_id":"c","name":"f","arguments":"{}"}]}"#;

    #[test]
    fn a_turn_is_read_as_it_was_stored_and_every_item_has_an_id() {
        let input = r#"[{"type":"message","role":"user","content":"hi"},{"type":"message","id":"msg_mine","role":"user","content":"ho"}]"#;
        let stored = String::from_utf8(stored(input, RESPONSE).unwrap()).unwrap();
        let turn = Turn::read(&stored).unwrap();
        assert_eq!((turn.id(), turn.model()), ("resp_a1", "m"));
        assert_eq!(turn.response(), RESPONSE);
        let items = turn.items().unwrap();
        let ids: Vec<_> = items.iter().map(|item| id(item).unwrap()).collect();
        assert_eq!(ids, ["msg_a1_i0", "msg_mine", "fc_a1_0"]);
    }

    #[test]
    fn an_items_id_tells_its_response_if_it_is_ours() {
        assert_eq!(response_of("fc_a1_0").as_deref(), Some("resp_a1"));
        assert_eq!(response_of("msg_a_b_i12").as_deref(), Some("resp_a_b"));
        for other in ["msg_01a1fcae-bc0d-7790-96cd-a8622c637809", "rs_", "x", "rs_abc_x1", "rs_abc_"] {
            assert_eq!(response_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_stored_form_of_another_version_is_not_read() {
        let tomorrow = format!(r#"{{"v":2,"input":[],"response":{RESPONSE}}}"#);
        assert!(Turn::read(&tomorrow).is_none());
        assert!(stored("{}", RESPONSE).is_none());
    }
}
