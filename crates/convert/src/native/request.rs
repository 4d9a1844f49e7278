//! The request: which edits a body needs before InvokeModel takes it.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html>

use catalog::{Effort, Model};

use super::beta;
use super::blank;
use super::block::{self, Block};
use super::cache::{self, Marker, Ttl};
use super::doc::{Doc, Kind, Member, Value};
use super::edit::{Edits, Losses};
use super::format::Format;
use super::{fields, fold, format, reason, thinking, tools};
use crate::outcome::reason as common;
use crate::{Converted, Loss, Names, Refusal};

/// What the caller's headers, the key and the operator's settings add to a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Values of the `anthropic-beta` header lines.
    pub beta_headers: &'a [&'a str],
    /// What the operator decided about flags.
    pub betas: beta::Policy<'a>,
    /// Whether the model was named with `[1m]`.
    pub wants_1m: bool,
    /// TTL of every marker, whatever the caller wrote.
    pub forced_ttl: Option<Ttl>,
    /// TTL of markers that name none.
    pub default_ttl: Option<Ttl>,
    /// Takes all markers out.
    pub caching_off: bool,
    /// Takes the wish to think out.
    pub no_thinking: bool,
    /// The body is made for CountTokens, which wants a `max_tokens` that its callers do not send.
    pub counting: bool,
    /// Fields that the upstream has refused with `X: Extra inputs are not permitted`. A number in such a path means
    /// every element: what one tool may not have, no tool of this model may have.
    pub drop_fields: &'a [String],
    /// Media that was fetched for `url` sources.
    pub fetched: &'a [Fetched],
}

/// What stands behind a `url` source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// As the caller wrote it.
    pub url: String,
    /// MIME type, by the bytes.
    pub media_type: String,
    /// Base64.
    pub data: String,
}

/// Everything that the rules work on.
pub(super) struct Work<'d, 'o> {
    pub(super) root: Value<'d>,
    /// `model` and `stream` stay in the body.
    pub(super) addressed: bool,
    pub(super) model: &'o Model,
    pub(super) options: &'o Options<'o>,
    pub(super) edits: Edits<'d>,
    pub(super) losses: Losses,
    /// Flags that fields of the body need.
    pub(super) needs: Vec<&'static str>,
    /// Flags that stood in the body.
    pub(super) body_flags: Vec<String>,
    /// `max_tokens` as it will be sent, and whether it was clamped.
    pub(super) max_tokens: u64,
    pub(super) clamped: bool,
    /// Effort that replaces a thinking budget.
    pub(super) effort: Option<Effort>,
    /// Thinking is switched off by the request that leaves.
    pub(super) thinking_off: bool,
    /// Thinking was asked for and had to leave.
    pub(super) thinking_gone: bool,
    /// Output format that becomes a tool.
    pub(super) format: Option<Format<'d>>,
    pub(super) names: Names,
    pub(super) markers: Vec<Marker<'d>>,
}

impl<'d> Work<'d, '_> {
    /// Takes a top-level member out.
    pub(super) fn leave_out(&mut self, member: Member<'d>, reason: &'static str) {
        self.drop_from(self.root, member, reason);
    }

    /// Takes a member out and says so; `null` says nothing and is missed by nobody.
    pub(super) fn drop_from(&mut self, object: Value<'d>, member: Member<'d>, reason: &'static str) {
        if !member.value.is_null() {
            self.losses.add(member.value, reason);
        }
        self.edits.remove(object, member.key);
    }

    fn converted<T>(self, value: impl FnOnce(Edits<'d>) -> T) -> Converted<T> {
        let cache_ttl = Ttl::longest(self.markers.iter().filter_map(cache::sent));
        Converted { value: value(self.edits), losses: self.losses.0, cache_ttl, names: self.names }
    }

    /// Marks a flag as needed; says whether it will be sent.
    pub(super) fn need(&mut self, flag: &'static str) -> bool {
        if !self.needs.contains(&flag) {
            self.needs.push(flag);
        }
        self.model.betas.contains(&flag) && !self.options.betas.blocks(flag)
    }
}

/// A body for the Messages API that Bedrock itself offers, which takes versions and flags in headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// The body, with the model and the wish to stream in it.
    pub body: Vec<u8>,
    /// Values of `anthropic-beta`; may be none.
    pub betas: Vec<String>,
}

/// Makes the InvokeModel body of a Messages body.
///
/// `model`, `stream` and the flags leave; `anthropic_version` and `anthropic_beta` enter at the end; what the model's
/// row does not take is left out with a [`Loss`]. Everything else is byte-identical, in the caller's order. An output
/// format that the model does not take becomes a tool: [`Names::structured_output`] has its name then, and the answer
/// must be read with it.
pub fn request(doc: &Doc<'_>, model: &Model, options: &Options<'_>) -> Result<Converted<Vec<u8>>, Refusal> {
    let (mut work, flags) = edited(doc, model, options, false)?;
    let root = work.root;
    work.edits.append(root, "\"anthropic_version\":\"bedrock-2023-05-31\"".to_owned());
    if !flags.is_empty() {
        // Strings and nothing else: this cannot fail.
        let list = serde_json::to_string(&flags).unwrap_or_default();
        work.edits.append(root, format!("\"anthropic_beta\":{list}"));
    }
    Ok(work.converted(|edits| edits.apply(doc)))
}

/// Makes a body for the Messages API of Bedrock, where the model is called `upstream_id`.
///
/// The same as [`request`], but `model` and `stream` stay and the flags go into a header. The route takes no output
/// format and no strict tools from any model, and turns `metadata` into request metadata, whose narrow charset refuses
/// what clients send there.
pub fn addressed(
    doc: &Doc<'_>,
    model: &Model,
    options: &Options<'_>,
    upstream_id: &str,
) -> Result<Converted<Addressed>, Refusal> {
    let model = Model { structured_output: false, strict_tools: false, ..model.clone() };
    let (mut work, betas) = edited(doc, &model, options, true)?;
    if let Some(name) = work.root.get("model") {
        work.edits.replace(name, serde_json::to_string(upstream_id).unwrap_or_default());
    }
    if let Some(metadata) = work.root.member("metadata") {
        work.leave_out(metadata, common::NO_PLACE);
    }
    Ok(work.converted(|edits| Addressed { body: edits.apply(doc), betas }))
}

/// The edits that either form needs, and the flags that go with them.
fn edited<'d, 'o>(
    doc: &'d Doc<'_>,
    model: &'o Model,
    options: &'o Options<'o>,
    addressed: bool,
) -> Result<(Work<'d, 'o>, Vec<String>), Refusal> {
    let root = doc.root();
    if !root.is_object() {
        return Err(refusal("", "Input should be a valid JSON object"));
    }
    let blocks = block::all(root);
    let mut work = Work {
        root,
        addressed,
        model,
        options,
        edits: Edits::default(),
        losses: Losses::default(),
        needs: Vec::new(),
        body_flags: Vec::new(),
        max_tokens: 0,
        clamped: false,
        effort: None,
        thinking_off: false,
        thinking_gone: false,
        format: format::format(root, model)?,
        names: Names::default(),
        markers: cache::markers(&blocks, &mut cache::Plan::new(model, options))?,
    };
    max_tokens(&mut work)?;
    messages(&mut work)?;
    sources(&mut work, &blocks)?;
    tools::edit(&mut work)?;
    format::offer(&mut work)?;
    tools::references(&mut work, &blocks);
    thinking::edit(&mut work);
    fields::edit(&mut work)?;
    let flags = flags(&mut work);
    turns(&mut work, flags.iter().any(|flag| flag == beta::TURN_OUTPUT_CONFIG));
    blank::edit(&mut work);
    for marker in &work.markers {
        cache::edit(marker, &mut work.edits, &mut work.losses);
    }
    refused_before(&mut work);
    if work.options.counting && root.get("max_tokens").is_none() {
        work.edits.append(root, format!("\"max_tokens\":{}", work.max_tokens));
    }
    Ok((work, flags))
}

pub(super) fn refusal(path: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal { path: path.into(), message: message.into() }
}

/// Checks `max_tokens` and brings it within the model's limit.
fn max_tokens(work: &mut Work<'_, '_>) -> Result<(), Refusal> {
    let Some(value) = work.root.get("max_tokens") else {
        if !work.options.counting {
            return Err(refusal("max_tokens", "Field required"));
        }
        // A budget must stay below it; the count does not depend on it.
        let budget = work.root.get("thinking").and_then(|thinking| thinking.get("budget_tokens")?.u64());
        work.max_tokens = budget.unwrap_or(0).saturating_add(1);
        return Ok(());
    };
    let asked = match value.u64() {
        Some(0) => return Err(refusal("max_tokens", "Input should be greater than or equal to 1")),
        Some(asked) => asked,
        None if value.kind() == Kind::Number && value.raw().starts_with('-') => {
            return Err(refusal("max_tokens", "Input should be greater than or equal to 1"));
        }
        None => return Err(refusal("max_tokens", "Input should be a valid integer")),
    };
    let most = u64::from(work.model.max_output);
    work.max_tokens = asked.min(most);
    work.clamped = asked > most;
    if work.clamped {
        work.losses.add(value, common::LIMITED);
        work.edits.replace(value, most.to_string());
    }
    Ok(())
}

/// Checks that there are messages and that the last one may end them.
fn messages(work: &mut Work<'_, '_>) -> Result<(), Refusal> {
    let Some(messages) = work.root.get("messages") else {
        return Err(refusal("messages", "Field required"));
    };
    if !messages.is_array() {
        return Err(refusal("messages", "Input should be a valid list"));
    }
    let Some(last) = messages.items().last() else {
        return Err(refusal("messages", "at least one message is required"));
    };
    if let Some(odd) = messages.items().find(|message| !message.is_object()) {
        return Err(refusal(odd.path(), "Input should be a valid dictionary"));
    }
    if !work.model.prefill && last.get("role").is_some_and(|role| role.is("assistant")) {
        let message = "This model does not support assistant message prefill. \
                       The conversation must end with a user message.";
        return Err(refusal("", message));
    }
    Ok(())
}

/// Puts fetched media in the place of `url` sources; refuses what was not fetched and what cannot be.
fn sources<'d>(work: &mut Work<'d, '_>, blocks: &[Block<'d>]) -> Result<(), Refusal> {
    for block in blocks.iter().filter(|block| block.is_media()) {
        let Some((source, kind)) = block.source.and_then(|source| Some((source, source.get("type")?))) else {
            continue;
        };
        if kind.is("file") {
            return Err(refusal(source.path(), "file sources are not supported by this gateway"));
        }
        if kind.is("url") && !embed(&mut work.edits, work.options.fetched, block, source)? {
            let message =
                "url sources are fetched only with ENABLE_IMAGE_URL_FETCH=true; send base64 instead";
            return Err(refusal(source.path(), message));
        }
    }
    Ok(())
}

/// Puts fetched media in the place of one `url` source; says whether there was any.
fn embed<'d>(
    edits: &mut Edits<'d>,
    fetched: &[Fetched],
    block: &Block<'d>,
    source: Value<'d>,
) -> Result<bool, Refusal> {
    let url = source.get("url").and_then(|url| url.str()).unwrap_or_default();
    let Some(media) = fetched.iter().find(|media| media.url == url) else { return Ok(false) };
    let document = block.kind.is_some_and(|kind| kind.is("document"));
    if document == media.media_type.starts_with("image/") {
        let (wanted, found) = if document { ("document", "an image") } else { ("image", "a document") };
        return Err(refusal(source.path(), format!("the URL of this {wanted} leads to {found}")));
    }
    let media_type = serde_json::to_string(&media.media_type).unwrap_or_default();
    let data = serde_json::to_string(&media.data).unwrap_or_default();
    edits.replace(source, format!("{{\"type\":\"base64\",\"media_type\":{media_type},\"data\":{data}}}"));
    Ok(true)
}

/// The body with fetched media in the place of its `url` sources, and everything else byte for byte: for what reads the
/// body as a whole, the Converse lane for one. [`request`] does the same with [`Options::fetched`].
pub fn embedded(doc: &Doc<'_>, fetched: &[Fetched]) -> Result<Vec<u8>, Refusal> {
    let blocks = block::all(doc.root());
    let mut edits = Edits::default();
    for block in blocks.iter().filter(|block| block.is_media()) {
        let source = block.source.filter(|source| source.get("type").is_some_and(|kind| kind.is("url")));
        if let Some(source) = source {
            embed(&mut edits, fetched, block, source)?;
        }
    }
    Ok(edits.apply(doc))
}

/// The flags to send.
fn flags(work: &mut Work<'_, '_>) -> Vec<String> {
    if work.options.wants_1m {
        work.need(beta::CONTEXT_1M);
    }
    let headers = work.options.beta_headers;
    let policy = &work.options.betas;
    let (mut flags, mut losses) = beta::flags(headers, &work.body_flags, &work.needs, work.model, policy);
    let guarded = work.root.member("safeguards").filter(|_| work.model.fields.contains(&"safeguards"));
    match guarded {
        // The flag and its field are taken only together.
        Some(member) if !flags.iter().any(|flag| flag == beta::SAFEGUARDS) => {
            work.leave_out(member, common::NOT_TAKEN);
        }
        Some(member) if !member.value.is_null() => {}
        nothing => {
            if let Some(member) = nothing {
                work.edits.remove(work.root, member.key);
            }
            if let Some(at) = flags.iter().position(|flag| flag == beta::SAFEGUARDS) {
                let path = format!("anthropic-beta.{}", flags.remove(at));
                losses.push(Loss { path, reason: common::NOT_TAKEN });
            }
        }
    }
    work.losses.0.extend(losses);
    flags
}

/// What single messages may not carry: their own output configuration, unsigned thinking, the role `system`.
fn turns(work: &mut Work<'_, '_>, own_config: bool) {
    let Some(messages) = work.root.get("messages") else { return };
    for message in messages.items() {
        if let Some(config) = message.member("output_config").filter(|_| !own_config) {
            work.drop_from(message, config, common::NOT_TAKEN);
        }
        let role = message.get("role");
        if role.is_some_and(|role| role.is("assistant")) {
            thinking::unsigned(work, messages, message);
        } else if role.is_some_and(|role| role.is("system")) {
            let empty = message.get("content").is_none_or(|content| content.items().next().is_none());
            let said = message.get("content").is_some_and(|content| !content.inner().is_empty());
            if work.model.mid_system
                && empty
                && !said
                && (message.get("output_config").is_none() || !own_config)
            {
                work.edits.remove(messages, message);
            }
        }
    }
    if !work.model.mid_system {
        fold::system(work, messages);
    }
}

/// Takes out what the upstream has refused by name before.
fn refused_before(work: &mut Work<'_, '_>) {
    const NEEDED: &[&str] = &["messages", "max_tokens", "anthropic_version", "anthropic_beta", "model"];
    for path in work.options.drop_fields.iter().filter(|path| !NEEDED.contains(&path.as_str())) {
        let mut here = vec![work.root];
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let last = steps.peek().is_none();
            let mut next = Vec::new();
            for value in here {
                if value.is_array() && step.bytes().all(|byte| byte.is_ascii_digit()) {
                    next.extend(value.items());
                    continue;
                }
                let member = value.member(step);
                match member {
                    Some(member) if last => work.drop_from(value, member, reason::REFUSED_BEFORE),
                    Some(member) => next.push(member.value),
                    None => {}
                }
                if !last && is_tag(value, step, member.is_some()) {
                    next.push(value);
                }
            }
            here = next;
        }
    }
}

/// Whether a step names the branch of a union (`tools.0.custom.…`, `content.0.text.…`): it is in the path and not in
/// the body.
fn is_tag(value: Value<'_>, step: &str, is_member: bool) -> bool {
    match value.get("type") {
        // A translated body has other tags than the one that came.
        Some(kind) => kind.is(step) || !is_member,
        None => step == "custom",
    }
}
