//! A Messages answer becomes a response.

use std::borrow::Cow;

use protocol::anthropic::response::{Block, Message, StopReason, Usage};
use protocol::openai::responses::response::{
    Echo, Error, IncompleteDetails, IncompleteReason, ObjectKind, OutputItem, Response, Status,
};

use super::building::{Building, Kind, Said};
use crate::openai::{Freeform, tool, usage};

/// What an answer carries that the upstream does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `resp_…`; the ids of its items are made of it.
    pub id: String,
    /// The model's name, as the caller sent it.
    pub model: String,
    /// When the response was begun, in Unix seconds.
    pub created: u64,
}

impl Reply {
    /// The id of the item at a place of the output.
    pub(super) fn item_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}_{index}", self.suffix())
    }

    /// The id without what it begins with.
    pub(super) fn suffix(&self) -> &str {
        self.id.strip_prefix("resp_").unwrap_or(&self.id)
    }
}

/// What the answer must know of the request.
#[derive(Clone, Debug)]
pub struct Recall {
    /// What is repeated.
    pub echo: Echo,
    /// The tier that was asked for.
    pub service_tier: Option<String>,
    /// Tools that have another name upstream, or take text, by their upstream name.
    pub tools: Vec<(String, Called)>,
}

/// A tool, in the caller's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// The namespace that it belongs to.
    pub namespace: Option<String>,
    /// Its name there.
    pub name: String,
    /// Whether it takes text.
    pub custom: bool,
}

impl Recall {
    /// The tool that goes by this name upstream.
    pub(super) fn called(&self, upstream: &str) -> Called {
        let known = self.tools.iter().find(|(name, _)| name == upstream).map(|(_, called)| called.clone());
        known.unwrap_or_else(|| Called { name: upstream.to_owned(), ..Called::default() })
    }
}

/// Converts a whole answer to the bytes of the reply.
pub fn response(message: &Message, recall: &Recall, reply: &Reply) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    protocol::openai::write_json(&mut out, &answer(message, recall, reply));
    out
}

/// Converts a whole answer.
pub fn answer<'a>(message: &Message, recall: &'a Recall, reply: &'a Reply) -> Response<'a> {
    let ending = Ending::of(message.stop_reason.as_ref());
    let items = items(&message.content, recall, reply);
    let last = items.len().saturating_sub(1);
    let status = |at| if at == last { ending.last_item() } else { Status::Completed };
    let output = items.iter().enumerate().map(|(at, item)| Cow::Owned(item.output(status(at)))).collect();
    Outcome { ending, output, usage: &message.usage }.response(recall, reply)
}

fn items(content: &[Block], recall: &Recall, reply: &Reply) -> Vec<Building> {
    let mut items: Vec<Building> = Vec::with_capacity(content.len());
    for block in content {
        if let Block::Text(block) = block {
            let cited = block.citations.as_deref().unwrap_or_default();
            if block.text.is_empty() && cited.is_empty() {
                continue;
            }
            if !matches!(items.last(), Some(Building { kind: Kind::Message(_), .. })) {
                items.push(Building::new(Kind::Message(Said::default()), items.len(), reply));
            }
            if let Some(Building { kind: Kind::Message(said), .. }) = items.last_mut() {
                said.text.push_str(&block.text);
                for citation in cited {
                    said.cite(citation.clone());
                }
                said.end_block();
            }
            continue;
        }
        let Some(mut kind) = Kind::begun(block, recall) else { continue };
        match (&mut kind, block) {
            (Kind::Thinking { text, signature, .. }, Block::Thinking(block)) => {
                text.clone_from(&block.thinking);
                signature.clone_from(&block.signature);
            }
            (Kind::Function { arguments, .. }, Block::ToolUse(call)) => {
                *arguments = tool::arguments(&call.input).into_owned();
            }
            (Kind::Custom { input, .. }, Block::ToolUse(call)) => {
                *input = Freeform::whole(&tool::arguments(&call.input));
            }
            (
                Kind::Message(_)
                | Kind::Thinking { .. }
                | Kind::Redacted(_)
                | Kind::Function { .. }
                | Kind::Custom { .. },
                _,
            ) => {}
        }
        items.push(Building::new(kind, items.len(), reply));
    }
    items
}

/// How a response ends.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// It does not, yet.
    Open,
    Completed,
    Incomplete(IncompleteReason),
    Failed(Error),
}

impl Ending {
    pub(super) fn of(reason: Option<&StopReason>) -> Self {
        match reason {
            Some(StopReason::MaxTokens | StopReason::ModelContextWindowExceeded) => {
                Self::Incomplete(IncompleteReason::MaxOutputTokens)
            }
            Some(StopReason::Refusal) => Self::Incomplete(IncompleteReason::ContentFilter),
            Some(StopReason::Malformed { .. }) => Self::Failed(Error {
                code: "server_error".to_owned(),
                message: "what the model wrote is not well-formed".to_owned(),
            }),
            Some(
                StopReason::EndTurn
                | StopReason::StopSequence
                | StopReason::ToolUse
                | StopReason::PauseTurn
                | StopReason::Unknown(_),
            )
            | None => Self::Completed,
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::Open => Status::InProgress,
            Self::Completed => Status::Completed,
            Self::Incomplete(_) => Status::Incomplete,
            Self::Failed(_) => Status::Failed,
        }
    }

    /// What becomes of the item at which it ends.
    pub(super) fn last_item(&self) -> Status {
        match self {
            Self::Open => Status::InProgress,
            Self::Completed => Status::Completed,
            Self::Incomplete(_) | Self::Failed(_) => Status::Incomplete,
        }
    }
}

/// What came of a request, by now.
pub(super) struct Outcome<'a, 'u> {
    pub(super) ending: Ending,
    pub(super) output: Vec<Cow<'a, OutputItem>>,
    pub(super) usage: &'u Usage,
}

impl<'a> Outcome<'a, '_> {
    /// The response around its items.
    pub(super) fn response(self, recall: &'a Recall, reply: &'a Reply) -> Response<'a> {
        let Self { ending, output, usage } = self;
        let tier = usage::tier(usage).map(|tier| Cow::Owned(tier.to_owned()));
        let known = !matches!(ending, Ending::Open);
        Response {
            id: &reply.id,
            object: ObjectKind::Response,
            created_at: reply.created,
            status: ending.status(),
            incomplete_details: match ending {
                Ending::Incomplete(reason) => Some(IncompleteDetails { reason }),
                Ending::Open | Ending::Completed | Ending::Failed(_) => None,
            },
            error: match ending {
                Ending::Failed(error) => Some(error),
                Ending::Open | Ending::Completed | Ending::Incomplete(_) => None,
            },
            model: &reply.model,
            output,
            usage: known.then(|| usage::responses(usage)),
            // A wish is no answer: what is not known yet is for the upstream to choose.
            service_tier: tier.or_else(|| recall.service_tier.as_ref().map(|_| Cow::Borrowed("auto"))),
            echo: &recall.echo,
        }
    }
}
