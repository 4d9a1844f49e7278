//! Tool names and tool-use ids that the upstream accepts.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use catalog::ToolIds;
use protocol::anthropic::request::{Block, Content, Request, ToolChoice};
use sha2::{Digest, Sha256};

use crate::{Names, structured};

/// Longest tool name and tool-use id of Converse.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolSpecification.html>
const LONGEST: usize = 64;

/// The names that had to change: the caller's name → the upstream's. Tools, tool choice and history share it.
pub(super) struct ToolNames<'a> {
    changed: BTreeMap<&'a str, String>,
    taken: BTreeSet<String>,
}

impl<'a> ToolNames<'a> {
    pub(super) fn of(request: &'a Request<'_>) -> Self {
        let all = all_names(request);
        let mut names = Self { changed: BTreeMap::new(), taken: BTreeSet::new() };
        let (legal, illegal): (Vec<_>, Vec<_>) = all.into_iter().partition(|name| is_legal(name));
        names.taken.extend(legal.into_iter().map(str::to_owned));
        for name in illegal {
            if !names.changed.contains_key(name) {
                let short = names.unique(name);
                names.changed.insert(name, short);
            }
        }
        names
    }

    /// The name that goes upstream.
    pub(super) fn upstream<'n>(&self, name: &'n str) -> Cow<'n, str> {
        self.changed.get(name).map_or(Cow::Borrowed(name), |changed| Cow::Owned(changed.clone()))
    }

    /// A name for the synthetic tool that no tool of this request has.
    pub(super) fn structured_output(&self) -> String {
        structured::name(&self.taken)
    }

    fn unique(&mut self, name: &str) -> String {
        let short = shortened(name, 0, &self.taken);
        self.taken.insert(short.clone());
        short
    }

    pub(super) fn reverse(self, structured_output: Option<String>) -> Names {
        let tools =
            self.changed.into_iter().map(|(caller, upstream)| (upstream, caller.to_owned())).collect();
        Names { tools, structured_output }
    }
}

fn all_names<'a>(request: &'a Request<'_>) -> Vec<&'a str> {
    let tools = request.tools.iter().flatten().filter_map(|tool| tool.name());
    let choice = match &request.tool_choice {
        Some(ToolChoice::Tool(choice)) => Some(&*choice.name),
        Some(ToolChoice::Auto(_) | ToolChoice::Any(_) | ToolChoice::None(_) | ToolChoice::Unknown(_))
        | None => None,
    };
    tools.chain(choice).chain(used(request)).collect()
}

/// The names of the tools that the history calls, in order, repeated where they are.
pub(super) fn used<'a>(request: &'a Request<'_>) -> impl Iterator<Item = &'a str> {
    request
        .messages
        .iter()
        .flat_map(|message| match &message.content {
            Content::Blocks(blocks) => blocks.as_slice(),
            Content::Text(_) | Content::Absent => &[],
        })
        .filter_map(|block| if let Block::ToolUse(tool) = block { Some(&*tool.name) } else { None })
}

fn is_legal(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The readable start of a name and a hash of all of it: the same in every request that has the name.
pub(crate) fn shortened(name: &str, first_salt: u32, taken: &BTreeSet<String>) -> String {
    let readable = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let prefix: String = name.chars().map(readable).take(51).collect();
    let mut salt = first_salt;
    loop {
        let hash = hex(&format!("{name}\0{salt}"), 12);
        let short = if prefix.is_empty() { format!("tool_{hash}") } else { format!("{prefix}_{hash}") };
        if !taken.contains(&short) {
            return short;
        }
        salt += 1;
    }
}

/// A tool-use id in the form that the model takes. The same id gives the same result everywhere.
pub(super) fn tool_use_id(rule: ToolIds, id: &str) -> Cow<'_, str> {
    match rule {
        ToolIds::Converse => {
            let legal = |byte: u8| is_name_byte(byte) || byte == b'.' || byte == b':';
            if (1..=LONGEST).contains(&id.len()) && id.bytes().all(legal) {
                Cow::Borrowed(id)
            } else {
                Cow::Owned(format!("tooluse_{}", hex(id, 40)))
            }
        }
        ToolIds::NineAlphanumeric => {
            if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                Cow::Borrowed(id)
            } else {
                Cow::Owned(nine(id))
            }
        }
    }
}

fn nine(id: &str) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = Sha256::digest(id.as_bytes());
    let mut number = digest.iter().take(16).fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    let mut out = String::with_capacity(9);
    for _ in 0..9 {
        let index = usize::try_from(number % 62).unwrap_or_default();
        out.push(char::from(ALPHABET[index]));
        number /= 62;
    }
    out
}

pub(crate) fn hex(text: &str, length: usize) -> String {
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    out.truncate(length);
    out
}
