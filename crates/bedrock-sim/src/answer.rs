//! What the simulator answers: text, tool calls, thinking, structured output; the same for the same request.
use crate::ask::{Ask, Choice, Think, Tool};
use crate::directives::Directives;
use crate::dummy;
use crate::models::Model;
use crate::sign;
use crate::usage::tokens;

/// One block of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A text and its signature; models that are not Claude sign nothing.
    Thinking {
        text: String,
        signature: Option<String>,
    },
    Redacted(String),
    /// A text, in the pieces that a stream sends.
    Text(Vec<String>),
    /// A call: id, name, input as JSON text.
    Tool {
        id: String,
        name: String,
        input: String,
    },
}

/// An answer without its costs.
pub(crate) struct Answer {
    pub(crate) parts: Vec<Part>,
    pub(crate) stop: &'static str,
    /// The stop sequence that ended the text.
    pub(crate) stop_sequence: Option<String>,
    pub(crate) output_tokens: usize,
}

/// What an answer depends on besides the request.
pub(crate) struct Context {
    pub(crate) model: &'static Model,
    /// How many text deltas every plain answer has; for load tests.
    pub(crate) events: Option<usize>,
    /// Makes ids unique.
    pub(crate) serial: u64,
    /// How the route writes ids of tool calls.
    pub(crate) id_prefix: &'static str,
}

/// Answers a request.
pub(crate) fn to(ask: &Ask<'_>, context: &Context, directives: &Directives) -> Answer {
    let mut parts = Vec::new();
    let mut bytes = 0;
    if directives.redacted && context.model.is_claude() {
        parts.push(Part::Redacted(sign::redacted(&format!("{}", context.serial))));
    }
    if ask.think != Think::No {
        let text = thought(ask);
        bytes += text.len();
        parts.push(thinking(ask.think, text));
    }
    let calls = calls(ask, context);
    if !calls.is_empty() {
        let spent = |part: &Part| {
            if let Part::Tool { name, input, .. } = part { name.len() + input.len() } else { 0 }
        };
        bytes += calls.iter().map(spent).sum::<usize>();
        parts.extend(calls);
        return Answer { parts, stop: "tool_use", stop_sequence: None, output_tokens: tokens(bytes).max(1) };
    }
    let mut pieces = text(ask, context, directives);
    let mut stop = directives.stop.unwrap_or("end_turn");
    let stop_sequence = cut_at_stop(&mut pieces, &ask.stops);
    if stop_sequence.is_some() {
        stop = "stop_sequence";
    }
    let left = ask.max_tokens.unwrap_or(usize::MAX).saturating_sub(tokens(bytes)).max(1);
    let length: usize = pieces.iter().map(String::len).sum();
    if tokens(length) > left {
        cut(&mut pieces, left * 4);
        stop = "max_tokens";
    }
    bytes += pieces.iter().map(String::len).sum::<usize>();
    if !pieces.is_empty() {
        parts.push(Part::Text(pieces));
    }
    let stop_sequence = stop_sequence.filter(|_| stop == "stop_sequence");
    Answer { parts, stop, stop_sequence, output_tokens: tokens(bytes).max(1) }
}

fn thought(ask: &Ask<'_>) -> String {
    let about: String = ask.said.chars().take(80).collect();
    match ask.result {
        Some(_) => "The tool has answered; I pass its result on.".to_owned(),
        None => format!("The user says: {about}. I answer briefly."),
    }
}

fn thinking(think: Think, text: String) -> Part {
    match think {
        Think::Omitted => Part::Thinking { text: String::new(), signature: Some(sign::signature("")) },
        Think::Unsigned => Part::Thinking { text, signature: None },
        Think::Shown | Think::No => {
            let signature = Some(sign::signature(&text));
            Part::Thinking { text, signature }
        }
    }
}

fn calls(ask: &Ask<'_>, context: &Context) -> Vec<Part> {
    let mut found = match ask.choice {
        Choice::None => Vec::new(),
        Choice::Named(name) => match asked_for(ask).into_iter().find(|(tool, _)| tool == name) {
            Some(call) => vec![call],
            None => vec![(name.to_owned(), made(ask, name))],
        },
        Choice::Any => {
            let first = ask.tools.first().map(|tool| (tool.name.to_owned(), made(ask, tool.name)));
            let asked = asked_for(ask);
            if asked.is_empty() { first.into_iter().collect() } else { asked }
        }
        Choice::Auto if ask.result.is_some() => Vec::new(),
        Choice::Auto => asked_for(ask),
    };
    found.truncate(8);
    let call = |(index, (name, input)): (usize, (String, String))| Part::Tool {
        id: format!("{}{:018x}{index:04x}", context.id_prefix, context.serial),
        name,
        input,
    };
    found.into_iter().enumerate().map(call).collect()
}

/// The input of a call that the user did not spell out.
fn made(ask: &Ask<'_>, name: &str) -> String {
    let schema = ask.tools.iter().find(|tool| tool.name == name).and_then(|tool| tool.schema);
    schema.map_or_else(|| "{}".to_owned(), |schema| dummy::value(schema, &ask.said))
}

/// Calls that the user's words ask for.
fn asked_for(ask: &Ask<'_>) -> Vec<(String, String)> {
    let tool = |name: &str| ask.tools.iter().find(|tool| tool.name == name);
    let mut calls = spelled_out(ask);
    if !calls.is_empty() {
        return calls;
    }
    if let Some(name) = named(&ask.said).filter(|name| tool(name).is_some()) {
        return vec![(name.to_owned(), made(ask, name))];
    }
    if tool("Bash").is_some()
        && let Some(command) = after(&ask.said, "run ").map(|rest| rest.lines().next().unwrap_or(rest).trim())
        && !command.is_empty()
    {
        let command = crate::json::quoted(command.trim_matches('`'));
        calls.push((
            "Bash".to_owned(),
            format!("{{\"command\":{command},\"description\":\"Run what was asked for\"}}"),
        ));
    }
    if tool("Read").is_some() {
        let mut rest = ask.said.as_str();
        while let Some(tail) = after(rest, "read ") {
            let path = tail.split_whitespace().next().unwrap_or_default().trim_matches(['`', '"', '\'', ',']);
            if path.contains(['/', '.']) {
                calls.push(("Read".to_owned(), format!("{{\"file_path\":{}}}", crate::json::quoted(path))));
            }
            rest = tail;
        }
    }
    if calls.is_empty() && ask.tools.len() <= 8 {
        calls.extend(
            ask.tools
                .iter()
                .find(|tool| sounds_like(tool, &ask.said))
                .map(|tool| (tool.name.to_owned(), made(ask, tool.name))),
        );
    }
    calls
}

/// `call <tool> with {json}`, as often as it stands there.
fn spelled_out(ask: &Ask<'_>) -> Vec<(String, String)> {
    let mut calls = Vec::new();
    let mut rest = ask.said.as_str();
    while let Some(tail) = after(rest, "call ") {
        rest = tail;
        let Some((name, json)) = tail.split_once(" with ") else { continue };
        if !ask.tools.iter().any(|tool| tool.name == name.trim()) {
            continue;
        }
        let mut values =
            serde_json::Deserializer::from_str(json).into_iter::<Box<serde_json::value::RawValue>>();
        if let Some(Ok(value)) = values.next() {
            calls.push((name.trim().to_owned(), value.get().to_owned()));
        }
    }
    calls
}

/// `use the <tool> tool`, or `call <tool>`.
fn named(said: &str) -> Option<&str> {
    let between = after(said, "use the ").and_then(|rest| rest.split_once(" tool")).map(|(name, _)| name);
    let called = || after(said, "call ").and_then(|rest| rest.split_whitespace().next());
    let name = between.or_else(called)?;
    Some(name.trim_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')))
}

/// `get_weather` is meant by "what is the weather in Paris?"; one-word names would be heard everywhere.
fn sounds_like(tool: &Tool<'_>, said: &str) -> bool {
    const VERBS: &[&str] = &["get", "fetch", "find", "list", "lookup", "search", "create", "current", "tool"];
    let said = said.to_ascii_lowercase();
    let words: Vec<&str> = tool.name.split('_').filter(|word| !VERBS.contains(word)).collect();
    tool.name.contains('_')
        && !words.is_empty()
        && words.iter().all(|word| said.contains(&word.to_ascii_lowercase()))
}

/// What follows the word, at the start of a word and whatever its case.
fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(word.len() - 1)).find_map(|at| {
        // The first letter settles most places; words here begin with a lower-case one.
        let here = word.as_bytes().first().is_some_and(|first| bytes[at] | 0x20 == *first)
            && bytes[at..at + word.len()].eq_ignore_ascii_case(word.as_bytes());
        let start = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        (here && start).then(|| &text[at + word.len()..])
    })
}

fn text(ask: &Ask<'_>, context: &Context, directives: &Directives) -> Vec<String> {
    if let Some(schema) = &ask.schema {
        return pieces(&dummy::value(schema, &ask.said), 24);
    }
    // Claude Code's permission classifier only reads a tag, and asks to stop at its end.
    for (end, verdict) in [("</severity>", "<severity>0</severity>"), ("</block>", "<block>no</block>")] {
        if ask.stops.contains(&end) {
            return vec![verdict.to_owned()];
        }
    }
    if let Some(count) = directives.words.or(context.events) {
        return (0..count).map(|index| format!("word{} ", index % 10)).collect();
    }
    let mut text = String::new();
    if let Some(result) = &ask.result {
        let quoted: String = result.chars().take(200).collect();
        text.push_str("The tool answered: ");
        text.push_str(&quoted);
    } else if let Some(wish) = wished(&ask.said) {
        text.push_str(wish);
    } else if ask.said.is_empty() {
        text.push_str("Hello! This is the Bedrock simulator. Say something and I will repeat it.");
    } else {
        text.push_str("Hello! This is the Bedrock simulator, answering as ");
        text.push_str(context.model.name);
        text.push_str(". You said: ");
        text.extend(ask.said.chars().take(400));
    }
    if directives.utf8 {
        text.push_str(" Grüße 🦀 日本語 ✓");
    }
    pieces(&text, 12)
}

/// "Reply with exactly: pong" is answered with "pong".
fn wished(said: &str) -> Option<&str> {
    const WISHES: &[&str] = &["say", "reply with", "respond with", "answer with", "reply", "repeat"];
    let line = said.lines().next_back()?.trim();
    let rest = WISHES.iter().find_map(|wish| {
        let head = line.get(..wish.len())?;
        head.eq_ignore_ascii_case(wish).then(|| &line[wish.len()..])
    })?;
    let mut rest = rest.strip_prefix([' ', ':'])?.trim_start();
    for filler in ["exactly", "only", "just", "the word"] {
        if let Some(tail) = rest.strip_prefix(filler).filter(|tail| tail.starts_with([' ', ':'])) {
            rest = tail.trim_start_matches([' ', ':']);
        }
    }
    let wish =
        rest.trim_matches(['"', '\'', '`', ':', ' ']).trim_end_matches('.').trim_matches(['"', '\'', '`']);
    (!wish.is_empty()).then_some(wish)
}

/// A text in pieces of about so many bytes, cut between words.
fn pieces(text: &str, size: usize) -> Vec<String> {
    let mut out = Vec::with_capacity(text.len() / size + 1);
    let mut piece = String::new();
    for word in text.split_inclusive(' ') {
        piece.push_str(word);
        if piece.len() >= size {
            out.push(std::mem::take(&mut piece));
        }
    }
    if !piece.is_empty() {
        out.push(piece);
    }
    out
}

/// Cuts the text before the first stop sequence in it.
fn cut_at_stop(pieces: &mut Vec<String>, stops: &[&str]) -> Option<String> {
    if stops.is_empty() {
        return None;
    }
    let text = pieces.concat();
    let (at, stop) =
        stops.iter().filter_map(|stop| text.find(stop).map(|at| (at, *stop))).min_by_key(|(at, _)| *at)?;
    cut(pieces, at);
    Some(stop.to_owned())
}

/// Keeps the first `length` bytes, or a few fewer where a character would be cut.
fn cut(pieces: &mut Vec<String>, length: usize) {
    let mut left = length;
    pieces.retain_mut(|piece| {
        let keep = (0..=left.min(piece.len())).rev().find(|at| piece.is_char_boundary(*at)).unwrap_or(0);
        let short = keep < piece.len();
        piece.truncate(keep);
        left = if short { 0 } else { left - keep };
        keep > 0
    });
}
