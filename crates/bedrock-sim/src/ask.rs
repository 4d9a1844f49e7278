//! What a request asks for, whichever dialect it came in.
use crate::json::Json;
use crate::models::{Family, Model, Thinking};

/// One tool on offer.
pub(crate) struct Tool<'r> {
    pub(crate) name: &'r str,
    pub(crate) schema: Option<&'r Json<'r>>,
}

/// How far the choice of a tool is free.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice<'r> {
    Auto,
    None,
    Any,
    Named(&'r str),
}

/// Whether and how to think.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Think {
    No,
    /// The text is shown.
    Shown,
    /// The text is left out, the signature stays.
    Omitted,
    /// As models that are not Claude do: shown, without a signature.
    Unsigned,
}

/// A request, reduced to what the answer depends on.
pub(crate) struct Ask<'r> {
    /// What the user said last, without the reminders that clients put into user turns.
    pub(crate) said: String,
    /// The result of the last tool call, when the conversation ends with one.
    pub(crate) result: Option<String>,
    pub(crate) tools: Vec<Tool<'r>>,
    pub(crate) choice: Choice<'r>,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stops: Vec<&'r str>,
    pub(crate) think: Think,
    /// The schema that the answer has to follow.
    pub(crate) schema: Option<Json<'r>>,
}

impl<'r> Ask<'r> {
    /// Reads a Claude body.
    pub(crate) fn claude(model: &Model, body: &'r Json<'r>) -> Self {
        let last = body.list("messages").iter().rfind(|message| message.text("role") == Some("user"));
        let blocks = last.map_or(&[][..], |message| message.list("content"));
        let texts = last.and_then(|message| message.text("content")).into_iter().chain(
            blocks.iter().filter(|block| block.text("type") == Some("text")).filter_map(|b| b.text("text")),
        );
        let result = blocks.iter().rfind(|block| block.text("type") == Some("tool_result"));
        let choice = body.get("tool_choice");
        Self {
            said: said(texts),
            result: result.map(|block| said(std::iter::once(joined(block.get("content")).as_str()))),
            tools: body
                .list("tools")
                .iter()
                .filter_map(|tool| Some(Tool { name: tool.text("name")?, schema: tool.get("input_schema") }))
                .collect(),
            choice: choice.map_or(Choice::Auto, |choice| match choice.text("type") {
                Some("any") => Choice::Any,
                Some("none") => Choice::None,
                Some("tool") => Choice::Named(choice.text("name").unwrap_or_default()),
                _ => Choice::Auto,
            }),
            max_tokens: positive(body.get("max_tokens")),
            stops: body.list("stop_sequences").iter().filter_map(Json::as_str).collect(),
            think: think(model, body.get("thinking")),
            schema: body.at(&["output_config", "format", "schema"]).cloned(),
        }
    }

    /// Reads a Converse body.
    pub(crate) fn converse(model: &Model, body: &'r Json<'r>) -> Self {
        let last = body.list("messages").iter().rfind(|message| message.text("role") == Some("user"));
        let blocks = last.map_or(&[][..], |message| message.list("content"));
        let result = blocks.iter().rev().find_map(|block| block.get("toolResult"));
        let config = body.get("toolConfig");
        let choice = config.and_then(|config| config.get("toolChoice"));
        let named = choice.and_then(|choice| choice.at(&["tool", "name"])).and_then(Json::as_str);
        let extra = body.get("additionalModelRequestFields");
        let schema = ["outputConfig", "textFormat", "structure", "jsonSchema", "schema"];
        let inference = body.get("inferenceConfig");
        Self {
            said: said(blocks.iter().filter_map(|block| block.text("text"))),
            result: result.map(|result| said(std::iter::once(joined(result.get("content")).as_str()))),
            tools: config
                .map_or(&[][..], |config| config.list("tools"))
                .iter()
                .filter_map(|tool| {
                    let spec = tool.get("toolSpec")?;
                    Some(Tool { name: spec.text("name")?, schema: spec.at(&["inputSchema", "json"]) })
                })
                .collect(),
            choice: match (named, choice) {
                (Some(name), _) => Choice::Named(name),
                (None, Some(choice)) if choice.get("any").is_some() => Choice::Any,
                _ => Choice::Auto,
            },
            max_tokens: positive(inference.and_then(|config| config.get("maxTokens"))),
            stops: inference
                .map_or(&[][..], |config| config.list("stopSequences"))
                .iter()
                .filter_map(Json::as_str)
                .collect(),
            think: if model.is_claude() {
                think(model, extra.and_then(|e| e.get("thinking").or(e.get("reasoning_config"))))
            } else {
                reasons(model, extra)
            },
            schema: body
                .at(&schema)
                .and_then(Json::as_str)
                .and_then(|text| Json::parse(text.as_bytes()).ok()),
        }
    }
}

fn positive(number: Option<&Json<'_>>) -> Option<usize> {
    number.and_then(Json::as_int).and_then(|number| usize::try_from(number).ok())
}

fn think(model: &Model, thinking: Option<&Json<'_>>) -> Think {
    let shown = |thinking: &Json<'_>| {
        if thinking.text("display") == Some("omitted") { Think::Omitted } else { Think::Shown }
    };
    match thinking {
        Some(thinking) if thinking.text("type") == Some("disabled") => Think::No,
        Some(thinking) => shown(thinking),
        None if model.thinking() == Thinking::Always => Think::Omitted,
        None => Think::No,
    }
}

/// Some open models always reason; others do when a field of theirs says so.
fn reasons(model: &Model, extra: Option<&Json<'_>>) -> Think {
    let always = matches!(model.family, Family::MiniMax)
        || model.id.contains("kimi-k2-thinking")
        || model.id.starts_with("deepseek.r1");
    let names = [
        "reasoning_effort",
        "reasoning",
        "reasoning_config",
        "reasoningConfig",
        "thinking",
        "enable_thinking",
    ];
    let asked = extra.is_some_and(|extra| {
        names.iter().any(|name| {
            extra.get(name).is_some_and(|value| {
                value.text("type") != Some("disabled")
                    && value.as_str() != Some("none")
                    && *value != Json::Bool(false)
            })
        })
    });
    if always || asked { Think::Unsigned } else { Think::No }
}

/// The texts of a turn without `<system-reminder>` parts.
fn said<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut out = String::new();
    for text in texts {
        let mut rest = text;
        let mut kept = String::new();
        while let Some((before, after)) = rest.split_once("<system-reminder>") {
            kept.push_str(before);
            rest = after.split_once("</system-reminder>").map_or("", |(_, tail)| tail);
        }
        kept.push_str(rest);
        let kept = kept.trim();
        if !kept.is_empty() {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(kept);
        }
    }
    shortened(out)
}

/// Wishes stand at either end of a text; what lies between in a long one is not searched for any.
fn shortened(text: String) -> String {
    const HEAD: usize = 2_048;
    const TAIL: usize = 6_144;
    if text.len() <= HEAD + TAIL {
        return text;
    }
    let head = &text[..text.floor_char_boundary(HEAD)];
    let tail = &text[text.ceil_char_boundary(text.len() - TAIL)..];
    format!("{head}\n{tail}")
}

/// What a tool answered, as one text.
fn joined(content: Option<&Json<'_>>) -> String {
    let mut out = String::new();
    match content {
        Some(Json::Str(text)) => out.push_str(text),
        Some(Json::List(items)) => {
            for item in items {
                if !out.is_empty() {
                    out.push('\n');
                }
                match (item.text("text"), item.get("json")) {
                    (Some(text), _) => out.push_str(text),
                    (None, Some(json)) => json.write(&mut out),
                    (None, None) => out.push_str("(something that is not text)"),
                }
            }
        }
        _ => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_are_not_what_the_user_said() {
        let texts = [
            "<system-reminder>be nice</system-reminder>",
            "run echo hi <system-reminder>x</system-reminder>",
        ];
        assert_eq!(said(texts.into_iter()), "run echo hi");
    }

    #[test]
    fn wishes_are_heard_at_both_ends_of_a_long_text() {
        let long = format!("sim:words=3 {} run echo hi", "é".repeat(50_000));
        let said = said(std::iter::once(long.as_str()));
        assert!(said.len() < 9_000 && said.starts_with("sim:words=3 ") && said.ends_with(" run echo hi"));
    }
}
