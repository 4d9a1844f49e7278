//! The conversation of an InvokeModel body for Claude: order, blank text, tool pairing, media, signatures.
use std::collections::HashSet;

use crate::claude_generation::Rule;
use crate::json::Json;
use crate::media;
use crate::models::Model;
use crate::sign;

/// Checks the messages of a body whose shape is good.
pub(crate) fn check(model: &'static Model, body: &Json<'_>) -> Rule {
    let messages = body.list("messages");
    let betas = crate::claude_generation::Betas(body.list("anthropic_beta"));
    if messages.is_empty() {
        return Err("messages: at least one message is required".to_owned());
    }
    for (at, message) in messages.iter().enumerate() {
        let role = message.text("role").unwrap_or_default();
        if role == "system" {
            if !model.at_least(5, 0) {
                return Err(format!("messages.{at}.role: Input should be 'user' or 'assistant'"));
            }
        } else if message.get("content").is_none() {
            return Err(format!("messages.{at}.content: Field required"));
        }
        if message.get("output_config").is_some() && !betas.has("mid-conversation-output-config-") {
            return Err(format!("messages.{at}.output_config: Extra inputs are not permitted"));
        }
        content(message, role, at, at + 1 == messages.len())?;
    }
    let first = messages.iter().find(|message| message.text("role") != Some("system"));
    if first.is_none_or(|message| message.text("role") != Some("user")) {
        return Err("messages: first message must use the \"user\" role".to_owned());
    }
    pairing(messages)?;
    thinking_first(body, messages)
}

fn content(message: &Json<'_>, role: &str, at: usize, last: bool) -> Rule {
    let prefill = last && role == "assistant";
    let empty = match message.get("content") {
        Some(Json::Str(text)) if !text.is_empty() => return not_blank(text),
        Some(Json::List(blocks)) => blocks.is_empty(),
        _ => true,
    };
    // After a compaction, Claude Code sends system turns that carry settings and no content.
    if empty && role != "system" && !prefill {
        return Err(format!(
            "messages.{at}: all messages must have non-empty content except for the optional final assistant message"
        ));
    }
    message.list("content").iter().enumerate().try_for_each(|(index, item)| {
        let path = format_args!("messages.{at}.content.{index}").to_string();
        block(item, role, &path)
    })
}

/// <https://platform.claude.com/docs/en/api/messages>: text is never blank.
fn not_blank(text: &str) -> Rule {
    if text.is_empty() {
        return Err("messages: text content blocks must be non-empty".to_owned());
    }
    if text.trim().is_empty() {
        return Err("messages: text content blocks must contain non-whitespace text".to_owned());
    }
    Ok(())
}

fn block(item: &Json<'_>, role: &str, path: &str) -> Rule {
    match item.text("type").unwrap_or_default() {
        "text" => not_blank(item.text("text").unwrap_or_default()),
        kind @ ("image" | "document") => {
            if role == "assistant" {
                return Err(format!("{path}: `{kind}` blocks are not permitted in assistant messages"));
            }
            media::claude(item, path)
        }
        "tool_use" if role != "assistant" => {
            Err(format!("{path}: `tool_use` blocks can only be in `assistant` messages"))
        }
        "tool_result" => {
            if role != "user" {
                return Err(format!("{path}: `tool_result` blocks can only be in `user` messages"));
            }
            item.list("content").iter().enumerate().try_for_each(|(index, inner)| {
                let inner_path = format!("{path}.tool_result.content.{index}");
                match inner.text("type") {
                    Some("text") => not_blank(inner.text("text").unwrap_or_default()),
                    Some("image" | "document") => media::claude(inner, &inner_path),
                    _ => Ok(()),
                }
            })
        }
        "thinking" => {
            let text = item.text("thinking").unwrap_or_default();
            if sign::holds(text, item.text("signature").unwrap_or_default()) {
                Ok(())
            } else {
                Err(format!("{path}: Invalid `signature` in `thinking` block"))
            }
        }
        "redacted_thinking" if !sign::holds_redacted(item.text("data").unwrap_or_default()) => {
            Err(format!("{path}: Invalid `data` in `redacted_thinking` block"))
        }
        _ => Ok(()),
    }
}

/// Every call of an assistant turn has one result in the user turn right after it, and no result is without a call.
fn pairing(messages: &[Json<'_>]) -> Rule {
    let mut all: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = Vec::new();
    let mut opened_at = 0;
    let mut calls: Vec<&str> = Vec::new();
    let mut results: Vec<&str> = Vec::new();
    let mut role = "";
    for (at, message) in messages.iter().enumerate() {
        let now = message.text("role").unwrap_or_default();
        // A system turn stands beside the conversation.
        if now == "system" {
            continue;
        }
        if now != role {
            if role == "user" {
                unanswered(&open, &results, opened_at)?;
                open.clear();
            } else {
                open = std::mem::take(&mut calls);
            }
            results.clear();
            role = now;
        }
        for (index, item) in message.list("content").iter().enumerate() {
            match item.text("type") {
                Some("tool_use") => {
                    let id = item.text("id").unwrap_or_default();
                    if !all.insert(id) {
                        return Err(format!("messages.{at}.content.{index}: `tool_use` ids must be unique"));
                    }
                    calls.push(id);
                    opened_at = at;
                }
                Some("tool_result") => {
                    let id = item.text("tool_use_id").unwrap_or_default();
                    if !open.contains(&id) {
                        return Err(format!(
                            "messages.{at}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: \
                             {id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous \
                             message."
                        ));
                    }
                    if results.contains(&id) {
                        return Err(format!(
                            "messages.{at}.content.{index}: each tool_use must have a single result. Found multiple \
                             `tool_result` blocks with id: {id}"
                        ));
                    }
                    results.push(id);
                }
                _ => {}
            }
        }
    }
    unanswered(if role == "user" { &open } else { &calls }, &results, opened_at)
}

fn unanswered(calls: &[&str], results: &[&str], at: usize) -> Rule {
    let missing: Vec<&str> = calls.iter().filter(|id| !results.contains(id)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` \
         block must have a corresponding `tool_result` block in the next message.",
        missing.join(", ")
    ))
}

/// With budgeted thinking, an assistant turn that called tools is replayed with its thinking in front.
fn thinking_first(body: &Json<'_>, messages: &[Json<'_>]) -> Rule {
    if body.at(&["thinking", "type"]).and_then(Json::as_str) != Some("enabled") {
        return Ok(());
    }
    let Some((at, last)) =
        messages.iter().enumerate().rfind(|(_, message)| message.text("role") == Some("assistant"))
    else {
        return Ok(());
    };
    let blocks = last.list("content");
    let calls = blocks.iter().any(|item| item.text("type") == Some("tool_use"));
    match blocks.first().and_then(|item| item.text("type")) {
        Some(kind) if calls && !matches!(kind, "thinking" | "redacted_thinking") => Err(format!(
            "messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kind}`. When \
             `thinking` is enabled, a final `assistant` message must start with a thinking block"
        )),
        _ => Ok(()),
    }
}
