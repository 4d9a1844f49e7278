//! The answer: events and messages as they came, under the name that the caller used for the model.
//!
//! On InvokeModel with a response stream a frame's payload is `{"bytes":"<base64 of one event>","p":"<padding>"}`:
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html>

use base64_simd::STANDARD;

use super::doc::{Doc, Value};
use super::edit::Edits;
use super::scan::{self, Fault};
use super::synthetic::{self, Fate, Synthetic};
use crate::Names;
use crate::usage::Usage;

/// Bedrock's own members, which are no part of the Messages API.
const OWN: &str = "amazon-bedrock-";
const METRICS: &str = "amazon-bedrock-invocationMetrics";
/// `INTERVENED` where a guardrail put its own words in the place of the model's; a stream says so with its last event:
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/guardrails-test.html>.
const GUARDRAIL: &str = "amazon-bedrock-guardrailAction";

/// Figures seen so far. They are cumulative: the largest counts and nothing is added up.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    usage: Usage,
    /// All cache writes, where the answer does not tell the TTLs apart.
    writes: u64,
}

impl Figures {
    fn seen(&mut self, value: Option<Value<'_>>, place: impl FnOnce(&mut Self) -> &mut u64) {
        if let Some(count) = value.and_then(|value| value.u64()) {
            self.usage.reported = true;
            let place = place(self);
            *place = count.max(*place);
        }
    }

    /// `usage` of a message or a delta.
    fn usage(&mut self, usage: Value<'_>) {
        self.seen(usage.get("input_tokens"), |all| &mut all.usage.input);
        self.seen(usage.get("output_tokens"), |all| &mut all.usage.output);
        self.seen(usage.get("cache_read_input_tokens"), |all| &mut all.usage.cache_read);
        self.seen(usage.get("cache_creation_input_tokens"), |all| &mut all.writes);
        if let Some(writes) = usage.get("cache_creation") {
            self.seen(writes.get("ephemeral_5m_input_tokens"), |all| &mut all.usage.cache_write_5m);
            self.seen(writes.get("ephemeral_1h_input_tokens"), |all| &mut all.usage.cache_write_1h);
        }
        let details = usage.get("output_tokens_details");
        self.seen(details.and_then(|details| details.get("thinking_tokens")), |all| &mut all.usage.reasoning);
    }

    /// Bedrock's own count at the end of a stream.
    fn metrics(&mut self, metrics: Value<'_>) {
        self.seen(metrics.get("inputTokenCount"), |all| &mut all.usage.input);
        self.seen(metrics.get("outputTokenCount"), |all| &mut all.usage.output);
        self.seen(metrics.get("cacheReadInputTokenCount"), |all| &mut all.usage.cache_read);
        self.seen(metrics.get("cacheWriteInputTokenCount"), |all| &mut all.writes);
    }

    /// The best that is known; writes of an untold TTL are those that were asked for.
    fn best(&self, hour: bool) -> Usage {
        let mut usage = self.usage;
        let untold = self.writes.saturating_sub(usage.cache_write_5m.saturating_add(usage.cache_write_1h));
        *(if hour { &mut usage.cache_write_1h } else { &mut usage.cache_write_5m }) += untold;
        usage
    }
}

/// Relays the events of one stream.
#[derive(Debug)]
pub struct Relay {
    /// The caller's name for the model, as JSON text.
    model: String,
    event: Vec<u8>,
    figures: Figures,
    hour: bool,
    finished: bool,
    /// The event that says why the answer ended. It waits for the next one, which may tell that a guardrail ended it.
    ending: Vec<u8>,
    intervened: bool,
    /// Of a request whose output format became a tool.
    synthetic: Option<Synthetic>,
}

impl Relay {
    /// A relay that calls the model what the caller called it.
    pub fn new(model: &str) -> Self {
        Self {
            model: quoted(model),
            event: Vec::new(),
            figures: Figures::default(),
            hour: false,
            finished: false,
            ending: Vec::new(),
            intervened: false,
            synthetic: None,
        }
    }

    /// Says that the request's markers ask for an hour: cache writes whose TTL is not told are counted as such.
    #[must_use]
    pub fn with_hour_writes(mut self, hour: bool) -> Self {
        self.hour = hour;
        self
    }

    /// Says what the request was sent with: input of the synthetic tool becomes text.
    #[must_use]
    pub fn with_names(mut self, names: Names) -> Self {
        self.synthetic = names.structured_output.map(Synthetic::new);
        self
    }

    /// Appends the event of one `chunk` frame to `out`, framed for the caller.
    pub fn on_chunk(&mut self, frame_payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut event = std::mem::take(&mut self.event);
        event.clear();
        let relayed = decode(frame_payload, &mut event).and_then(|()| self.on_event(&event, out));
        self.event = event;
        relayed
    }

    /// The same for an event that is decoded already.
    pub fn on_event(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        match name(event) {
            Some(b"message_start" | b"message_delta" | b"message_stop") | None => self.read(event, out),
            Some(name) if self.synthetic.is_some() && name.starts_with(b"content_block_") => {
                self.read(event, out)
            }
            Some(name) => {
                self.end(out)?;
                frame(out, name, event);
                Ok(())
            }
        }
    }

    /// An event that has something to read or to change, or whose type does not stand first.
    fn read(&mut self, event: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let text = std::str::from_utf8(event).map_err(|_| unreadable("event is not UTF-8"))?;
        let doc = scan::parse(text)?;
        let root = doc.root();
        let kind =
            root.get("type").filter(Value::is_string).ok_or_else(|| unreadable("event without a type"))?;
        let mut edits = Edits::default();
        if let Some(message) = root.get("message") {
            rename(message, &self.model, &mut edits);
            self.count(message.get("usage"));
            self.intervened |= intervened(message);
            strip(message, &mut edits);
        }
        self.intervened |= intervened(root);
        self.end(out)?;
        self.count(root.get("usage"));
        if let Some(metrics) = root.get(METRICS) {
            self.figures.metrics(metrics);
        }
        self.finished |= kind.is("message_stop");
        strip(root, &mut edits);
        match self.synthetic.as_mut().map_or(Fate::Leaves, |own| own.edit(root, kind, &mut edits)) {
            Fate::Leaves => {}
            Fate::BehindEmpty(index) => {
                let delta = r#""delta":{"type":"text_delta","text":"{}"}"#;
                let event = format!("{{\"type\":\"content_block_delta\",\"index\":{index},{delta}}}");
                frame(out, b"content_block_delta", event.as_bytes());
            }
            Fate::Stays => return Ok(()),
        }
        let ends = kind.is("message_delta") && stop_reason(root).is_some();
        let event = edits.apply(&doc);
        if ends {
            self.ending = event;
        } else {
            frame(out, kind.inner().as_bytes(), &event);
        }
        Ok(())
    }

    /// Lets go of the event that waited.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let event = std::mem::take(&mut self.ending);
        if !event.is_empty() {
            let event = if self.intervened { refused(event)? } else { event };
            frame(out, b"message_delta", &event);
        }
        Ok(())
    }

    fn count(&mut self, usage: Option<Value<'_>>) {
        if let Some(usage) = usage {
            self.figures.usage(usage);
        }
    }

    /// What has been used, as far as the events so far tell.
    pub fn usage(&self) -> Usage {
        self.figures.best(self.hour)
    }

    /// Whether the message is complete: a stream that ends before is broken.
    pub fn finished(&self) -> bool {
        self.finished
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// For the caller.
    pub body: Vec<u8>,
    /// For the books.
    pub usage: Usage,
}

/// Relays a whole answer: the model's name is the caller's, Bedrock's own members leave. `hour` says that the
/// request's markers asked for an hour, `names` what the request was sent with: input of the synthetic tool becomes text.
pub fn message(body: &[u8], model: &str, hour: bool, names: &Names) -> Result<Message, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| unreadable("answer is not UTF-8"))?;
    let doc = scan::parse(text)?;
    let root = doc.root();
    if !root.is_object() {
        return Err(unreadable("answer is not an object"));
    }
    let mut edits = Edits::default();
    let mut figures = Figures::default();
    rename(root, &quoted(model), &mut edits);
    if let Some(usage) = root.get("usage") {
        figures.usage(usage);
    }
    strip(root, &mut edits);
    if let Some(name) = &names.structured_output {
        synthetic::edit(root, name, &mut edits);
    }
    let body = edits.apply(&doc);
    let body = if intervened(root) { refused(body)? } else { body };
    Ok(Message { body, usage: figures.best(hour) })
}

/// Whether a guardrail has ended the answer.
fn intervened(value: Value<'_>) -> bool {
    value.get(GUARDRAIL).is_some_and(|action| action.is("INTERVENED"))
}

/// Why a message ended, or says an event that it did.
fn stop_reason(root: Value<'_>) -> Option<Value<'_>> {
    root.get("delta").unwrap_or(root).get("stop_reason").filter(Value::is_string)
}

/// The message or the event, ended by a refusal: the same word as in the Converse lane.
fn refused(ended: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let text = std::str::from_utf8(&ended).map_err(|_| unreadable("answer is not UTF-8"))?;
    let doc = scan::parse(text)?;
    let Some(reason) = stop_reason(doc.root()) else { return Ok(ended) };
    let mut edits = Edits::default();
    edits.replace(reason, "\"refusal\"");
    Ok(edits.apply(&doc))
}

fn rename<'d>(message: Value<'d>, model: &str, edits: &mut Edits<'d>) {
    if let Some(name) = message.get("model") {
        edits.replace(name, model.to_owned());
    }
}

fn strip<'d>(root: Value<'d>, edits: &mut Edits<'d>) {
    for member in root.members().filter(|member| member.key.inner().starts_with(OWN)) {
        edits.remove(root, member.key);
    }
}

pub(super) fn quoted(text: &str) -> String {
    // A string is always JSON.
    serde_json::to_string(text).unwrap_or_default()
}

fn unreadable(message: &str) -> Fault {
    Fault { path: String::new(), message: message.to_owned(), offset: 0 }
}

/// The type of an event in which it stands first, as it always has.
fn name(event: &[u8]) -> Option<&[u8]> {
    let rest = event.strip_prefix(b"{\"type\":\"")?;
    let end = rest.iter().take(64).position(|byte| *byte == b'"')?;
    let name = &rest[..end];
    // Anything stranger than a word is looked at properly.
    name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_').then_some(name)
}

fn frame(out: &mut Vec<u8>, name: &[u8], event: &[u8]) {
    out.reserve(name.len() + event.len() + 16);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name);
    out.extend_from_slice(b"\ndata: ");
    let data = out.len();
    out.extend_from_slice(event);
    if memchr::memchr2(b'\n', b'\r', event).is_some() {
        // Only white space between tokens: JSON strings hold neither byte. In the framing they would end the line.
        for byte in out[data..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\n\n");
}

/// Decodes the event of a frame's payload.
fn decode(payload: &[u8], event: &mut Vec<u8>) -> Result<(), Fault> {
    let simple = payload.strip_prefix(b"{\"bytes\":\"").and_then(|rest| {
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        (rest.get(end) == Some(&b'"')).then(|| &rest[..end])
    });
    if let Some(base64) = simple {
        return append(base64, event);
    }
    let text = std::str::from_utf8(payload).map_err(|_| unreadable("frame is not UTF-8"))?;
    let doc: Doc<'_> = scan::parse(text)?;
    let bytes = doc.root().get("bytes").and_then(|bytes| bytes.str());
    append(bytes.ok_or_else(|| unreadable("frame without bytes"))?.as_bytes(), event)
}

fn append(base64: &[u8], event: &mut Vec<u8>) -> Result<(), Fault> {
    STANDARD.decode_append(base64, event).map_err(|_| unreadable("frame whose bytes are not base64"))
}
