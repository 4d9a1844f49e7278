//! An item that is being built, the same for whole answers and for streams.

use protocol::anthropic::response::{Block, Citation};
use protocol::openai::responses::response::{
    Annotation, AssistantRole, OutputItem, OutputPart, Status, SummaryPart,
};

use super::response::{Called, Recall, Reply};
use super::seal::Sealed;
use crate::openai::Freeform;

/// An item that is being built.
#[derive(Debug)]
pub(super) struct Building {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// Whether its block has ended: nothing more is to come, unless another block of text goes on with a message.
    pub(super) ended: bool,
    /// What was told of it as done.
    pub(super) done: Option<OutputItem>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Message(Said),
    Thinking {
        text: String,
        signature: String,
        /// Whether the caller is to read it.
        shown: bool,
    },
    Redacted(String),
    Function {
        call: Call,
        arguments: String,
    },
    Custom {
        call: Call,
        json: Freeform,
        input: String,
    },
}

/// What a message says. Blocks of text that follow each other are one text: Claude cuts its text wherever it cites.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) annotations: Vec<Annotation>,
    /// Where the block at hand begins, in bytes and in characters.
    from: (usize, usize),
    cited: Vec<Citation>,
}

/// Which tool is called, in the caller's words.
#[derive(Clone, Debug)]
pub(super) struct Call {
    id: String,
    namespace: Option<String>,
    name: String,
}

impl Said {
    pub(super) fn cite(&mut self, citation: Citation) {
        self.cited.push(citation);
    }

    /// The block ends: what it cites belongs to all of its text. Gives the annotations that this adds.
    pub(super) fn end_block(&mut self) -> &[Annotation] {
        let (bytes, characters) = self.from;
        let end = characters + self.text.get(bytes..).map_or(0, |block| block.chars().count());
        let before = self.annotations.len();
        let cited = std::mem::take(&mut self.cited);
        self.annotations
            .extend(cited.into_iter().filter_map(|citation| annotation(citation, characters, end)));
        self.from = (self.text.len(), end);
        self.annotations.get(before..).unwrap_or_default()
    }
}

/// Only pages of the web have a counterpart: other annotations name files that are kept by the vendor.
fn annotation(citation: Citation, start_index: usize, end_index: usize) -> Option<Annotation> {
    match citation {
        Citation::WebSearchResultLocation(page) => Some(Annotation::UrlCitation {
            start_index,
            end_index,
            title: page.title.unwrap_or_default(),
            url: page.url,
        }),
        Citation::CharLocation(_)
        | Citation::PageLocation(_)
        | Citation::ContentBlockLocation(_)
        | Citation::SearchResultLocation(_)
        | Citation::Unknown(_) => None,
    }
}

impl Kind {
    /// What a block begins, still empty; `None` for text, which may go on with a message, and for blocks that have no
    /// counterpart.
    pub(super) fn begun(block: &Block, recall: &Recall) -> Option<Self> {
        match block {
            Block::Thinking(_) => Some(Self::Thinking {
                text: String::new(),
                signature: String::new(),
                shown: recall.echo.reasoning.summary.is_some(),
            }),
            Block::RedactedThinking(block) => Some(Self::Redacted(block.data.clone())),
            Block::ToolUse(call) => {
                let Called { namespace, name, custom } = recall.called(&call.name);
                let call = Call { id: call.id.clone(), namespace, name };
                Some(if custom {
                    Self::Custom { call, json: Freeform::default(), input: String::new() }
                } else {
                    Self::Function { call, arguments: String::new() }
                })
            }
            Block::Text(_) | Block::ServerToolUse(_) | Block::Unknown(_) => None,
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Message(_) => "msg",
            Self::Thinking { .. } | Self::Redacted(_) => "rs",
            Self::Function { .. } => "fc",
            Self::Custom { .. } => "ctc",
        }
    }
}

impl Building {
    /// An item at its place in the output.
    pub(super) fn new(kind: Kind, index: usize, reply: &Reply) -> Self {
        Self { id: reply.item_id(kind.prefix(), index), kind, ended: false, done: None }
    }

    /// The item as it is announced: nothing in it yet.
    pub(super) fn announced(&self) -> OutputItem {
        let (id, status) = (self.id.clone(), Status::InProgress);
        match &self.kind {
            Kind::Message(_) => {
                OutputItem::Message { id, status, role: AssistantRole::Assistant, content: Vec::new() }
            }
            Kind::Thinking { .. } | Kind::Redacted(_) => {
                OutputItem::Reasoning { id, summary: Vec::new(), encrypted_content: None }
            }
            Kind::Function { call, .. } => function(id, status, call.clone(), String::new()),
            Kind::Custom { call, .. } => custom(id, status, call.clone(), String::new()),
        }
    }

    /// The item with what is in it.
    pub(super) fn output(&self, status: Status) -> OutputItem {
        let id = self.id.clone();
        match &self.kind {
            Kind::Message(Said { text, annotations, .. }) => {
                let part = OutputPart::OutputText {
                    annotations: annotations.clone(),
                    logprobs: [],
                    text: text.clone(),
                };
                OutputItem::Message { id, status, role: AssistantRole::Assistant, content: vec![part] }
            }
            Kind::Thinking { text, signature, shown } => {
                let shown = *shown && !text.is_empty();
                let summary =
                    if shown { vec![SummaryPart::SummaryText { text: text.clone() }] } else { Vec::new() };
                let sealed = Sealed::Thinking { text: text.clone(), signature: signature.clone() };
                OutputItem::Reasoning { id, summary, encrypted_content: Some(sealed.seal()) }
            }
            Kind::Redacted(data) => {
                let sealed = Sealed::Redacted { data: data.clone() };
                OutputItem::Reasoning { id, summary: Vec::new(), encrypted_content: Some(sealed.seal()) }
            }
            Kind::Function { call, arguments } => function(id, status, call.clone(), arguments.clone()),
            Kind::Custom { call, input, .. } => custom(id, status, call.clone(), input.clone()),
        }
    }
}

fn function(id: String, status: Status, call: Call, arguments: String) -> OutputItem {
    let Call { id: call_id, namespace, name } = call;
    OutputItem::FunctionCall { id, status, call_id, namespace, name, arguments }
}

fn custom(id: String, status: Status, call: Call, input: String) -> OutputItem {
    let Call { id: call_id, namespace, name } = call;
    OutputItem::CustomToolCall { id, status, call_id, namespace, name, input }
}
