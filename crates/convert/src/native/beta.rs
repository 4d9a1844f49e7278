//! Which `anthropic-beta` flags reach a model.
//!
//! Bedrock answers an unknown flag with `invalid beta flag` and does not say which one, so only flags that the
//! model's row lists are sent. On InvokeModel they stand in the body; the header is not read:
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html>

use catalog::Model;

use super::doc::{Value, items};
use super::reason;
use crate::{Loss, outcome};

/// Reads and searches deferred tools.
pub const TOOL_SEARCH: &str = "tool-search-tool-2025-10-19";
/// `input_examples` of a tool.
pub const TOOL_EXAMPLES: &str = "tool-examples-2025-10-29";
/// Tool input that streams before it is valid JSON.
pub const FINE_GRAINED: &str = "fine-grained-tool-streaming-2025-05-14";
/// `context_management`.
pub const CONTEXT_MANAGEMENT: &str = "context-management-2025-06-27";
/// Compaction as one of its edits.
pub const COMPACT: &str = "compact-2026-01-12";
/// `output_config.effort` where it is not generally available.
pub const EFFORT: &str = "effort-2025-11-24";
/// The window of a million tokens.
pub const CONTEXT_1M: &str = "context-1m-2025-08-07";
/// `safeguards`; refused without that field.
pub const SAFEGUARDS: &str = "dangerous-tool-use-2026-09-03";
/// `computer_20250124`.
pub const COMPUTER_JANUARY: &str = "computer-use-2025-01-24";
/// `computer_20251124`.
pub const COMPUTER_NOVEMBER: &str = "computer-use-2025-11-24";
/// `output_config` of a single message.
pub const TURN_OUTPUT_CONFIG: &str = "mid-conversation-output-config-2026-07-01";

/// What is known and never sent: general availability made it needless, or Bedrock refuses it everywhere.
const NEVER: &[&str] = &[
    "adaptive-thinking-2026-01-28",
    "advisor-tool-2026-03-01",
    "claude-code-20250219",
    "code-execution-2025-08-25",
    "extended-cache-ttl-2025-04-11",
    "fast-mode-2026-02-01",
    "files-api-2025-04-14",
    "max-tokens-3-5-sonnet-2024-07-15",
    "mcp-servers-2025-12-04",
    "message-batches-2024-09-24",
    "oauth-2025-04-20",
    "pdfs-2024-09-25",
    "per-turn-control-2026-07-01",
    "prompt-caching-2024-07-31",
    "prompt-caching-scope-2026-01-05",
    "redact-thinking-2026-02-12",
    "request-tags-2026-08-21",
    "skills-2025-10-02",
    "structured-outputs-2025-11-13",
    "structured-outputs-2025-12-15",
    "token-counting-2024-11-01",
    "web-fetch-2025-09-10",
    "web-search-2025-03-05",
];

/// The mapping of a fresh installation.
pub const DEFAULT_MAPPING: &[(&str, &[&str])] =
    &[("advanced-tool-use-2025-11-20", &[TOOL_EXAMPLES, TOOL_SEARCH])];

/// The default mapping, owned, as [`Policy::mapping`] wants it.
pub fn default_mapping() -> Vec<(String, Vec<String>)> {
    let own = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect();
    DEFAULT_MAPPING.iter().map(|(from, to)| ((*from).to_owned(), own(to))).collect()
}

/// What the operator decided about flags.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy<'a> {
    /// Flags that become others; empty for a model that the mapping does not apply to.
    pub mapping: &'a [(String, Vec<String>)],
    /// Flags that are never sent.
    pub blocklist: &'a [String],
    /// Flags that are sent although the model's row does not list them.
    pub allowlist: &'a [String],
    /// Whether flags that nobody knows are let through.
    pub pass_unknown: bool,
    /// Send only what the body itself needs: the repeat after an `invalid beta flag` answer.
    pub certain_only: bool,
}

impl Policy<'_> {
    /// Whether the operator's list keeps a flag back.
    pub fn blocks(&self, flag: &str) -> bool {
        self.blocklist.iter().any(|blocked| blocked == flag)
    }

    fn allows(&self, flag: &str) -> bool {
        self.allowlist.iter().any(|allowed| allowed == flag)
    }
}

/// The flags to send, each once, in the order in which they were first named; and what was left out.
///
/// `headers` are the values of the `anthropic-beta` header lines, `body` the flags found in the body, `needs` those
/// that its fields bring with them.
pub fn flags(
    headers: &[&str],
    body: &[String],
    needs: &[&'static str],
    model: &Model,
    policy: &Policy<'_>,
) -> (Vec<String>, Vec<Loss>) {
    let mut sent: Vec<String> = Vec::new();
    let mut losses: Vec<Loss> = Vec::new();
    let asked = headers.iter().flat_map(|line| line.split(',')).chain(body.iter().map(String::as_str));
    for flag in asked.map(str::trim).filter(|flag| !flag.is_empty()) {
        if policy.certain_only || policy.blocks(flag) {
            lose(&mut losses, flag, reason::FLAG_BLOCKED);
            continue;
        }
        let Some((_, targets)) = policy.mapping.iter().find(|(from, _)| from == flag) else {
            offer(&mut sent, &mut losses, flag, model, policy);
            continue;
        };
        // Examples that no tool has need no flag.
        let wanted = |target: &&String| *target != TOOL_EXAMPLES || needs.contains(&TOOL_EXAMPLES);
        for target in targets.iter().filter(wanted) {
            offer(&mut sent, &mut losses, target, model, policy);
        }
    }
    for flag in needs.iter().filter(|flag| model.betas.contains(flag) && !policy.blocks(flag)) {
        add(&mut sent, flag);
    }
    (sent, losses)
}

/// The flags without which fields of this body are refused, for a body that is sent as it is.
pub fn needed(root: Value<'_>) -> Vec<&'static str> {
    let said = |name: &str| root.get(name).filter(|value| !value.is_null());
    let tools = || items(root.get("tools"));
    let tool = |name: &str| tools().any(|tool| tool.get(name).is_some());
    let typed = |start: &str| {
        tools().any(|tool| {
            tool.get("type").and_then(|kind| kind.str()).is_some_and(|kind| kind.starts_with(start))
        })
    };
    let edits = || said("context_management").into_iter().flat_map(|field| items(field.get("edits")));
    let compacts = edits().any(|edit| edit.get("type").is_some_and(|kind| kind.is("compact_20260112")));
    [
        (tool("defer_loading") || typed("tool_search_tool_"), TOOL_SEARCH),
        (tool("input_examples"), TOOL_EXAMPLES),
        (said("context_management").is_some(), CONTEXT_MANAGEMENT),
        (compacts, COMPACT),
        (said("safeguards").is_some(), SAFEGUARDS),
        (typed("computer_20250124"), COMPUTER_JANUARY),
        (typed("computer_20251124"), COMPUTER_NOVEMBER),
    ]
    .into_iter()
    .filter_map(|(needed, flag)| needed.then_some(flag))
    .collect()
}

fn offer(sent: &mut Vec<String>, losses: &mut Vec<Loss>, flag: &str, model: &Model, policy: &Policy<'_>) {
    let strange = !NEVER.contains(&flag) && !known_elsewhere(flag);
    if policy.blocks(flag) {
        lose(losses, flag, reason::FLAG_BLOCKED);
    } else if model.betas.contains(&flag) || policy.allows(flag) || (strange && policy.pass_unknown) {
        add(sent, flag);
    } else if strange {
        lose(losses, flag, reason::FLAG_UNKNOWN);
    } else {
        lose(losses, flag, outcome::reason::NOT_TAKEN);
    }
}

/// Whether another model's row lists the flag, so that this row leaves it out on purpose.
fn known_elsewhere(flag: &str) -> bool {
    catalog::is_known_beta(flag)
}

fn add(sent: &mut Vec<String>, flag: &str) {
    if !sent.iter().any(|own| own == flag) {
        sent.push(flag.to_owned());
    }
}

/// Losses are shown in headers and logs: a caller's invention is cut to a bounded, printable length.
fn lose(losses: &mut Vec<Loss>, flag: &str, reason: &'static str) {
    let shown: String = flag.chars().filter(char::is_ascii_graphic).take(64).collect();
    let path = format!("anthropic-beta.{shown}");
    if losses.len() < outcome::MOST_LOSSES && !losses.iter().any(|loss| loss.path == path) {
        losses.push(Loss { path, reason });
    }
}
