//! What Converse checks beyond its shapes, before the model sees anything.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html>
use std::collections::HashSet;

use crate::converse_family;
use crate::json::Json;
use crate::models::Model;
use crate::reject::Reject;

/// A rule is kept, or the refusal.
pub(crate) type Rule = Result<(), Reject>;

/// Checks a body whose shape is good.
pub(crate) fn check(model: &'static Model, body: &Json<'_>) -> Rule {
    let messages = body.list("messages");
    let tools = body.get("toolConfig").map_or(&[][..], |config| config.list("tools"));
    check_tools(body, tools)?;
    extra_fields(body)?;
    for (index, block) in body.list("system").iter().enumerate() {
        if block.text("text").is_some_and(|text| text.trim().is_empty()) {
            return Err(Reject::invalid(format!(
                "The text field in the SystemContentBlock object at system.{index} is blank. Add text to the text \
                 field, and try again."
            )));
        }
    }
    let mut talk = Conversation::default();
    for (at, message) in messages.iter().enumerate() {
        talk.message(at, message)?;
    }
    talk.end(messages.len(), tools.is_empty())?;
    cache_points(body)?;
    structured(body)?;
    converse_family::check(model, body)
}

fn check_tools(body: &Json<'_>, tools: &[Json<'_>]) -> Rule {
    let mut names = HashSet::new();
    for (index, tool) in tools.iter().enumerate() {
        if tool.get("systemTool").is_some() {
            names.insert("");
        }
        let Some(spec) = tool.get("toolSpec") else { continue };
        let path = format_args!("toolConfig.tools.{index}.toolSpec.inputSchema.json").to_string();
        let schema = spec.at(&["inputSchema", "json"]);
        if !schema.is_some_and(Json::is_object) {
            return Err(not_an_object(&path));
        }
        if schema.and_then(|schema| schema.text("type")) != Some("object") {
            return Err(Reject::invalid(format!(
                "The value at {path}.type must be one of the following: object."
            )));
        }
        if !names.insert(spec.text("name").unwrap_or_default()) {
            return Err(Reject::from_model("tools: Tool names must be unique."));
        }
    }
    if !tools.is_empty() && names.is_empty() {
        return Err(Reject::invalid(
            "The value at toolConfig.tools failed to satisfy constraint: Member must contain at least one tool",
        ));
    }
    match body.at(&["toolConfig", "toolChoice", "tool", "name"]).and_then(Json::as_str) {
        Some(name) if !names.contains(name) => {
            Err(Reject::from_model(format_args!("Tool '{name}' not found in provided tools")))
        }
        _ => Ok(()),
    }
}

/// The text for a document that is no JSON object.
fn not_an_object(path: &str) -> Reject {
    Reject::invalid(format!(
        "The format of the value at {path} is invalid. Provide a json object for the field and try again."
    ))
}

/// `additionalModelRequestFields` may not repeat what Converse has a member for.
fn extra_fields(body: &Json<'_>) -> Rule {
    let Some(extra) = body.get("additionalModelRequestFields") else { return Ok(()) };
    if !extra.is_object() {
        return Err(not_an_object("additionalModelRequestFields"));
    }
    for name in ["max_tokens", "messages", "system"] {
        if extra.get(name).is_some() {
            return Err(conflict(name));
        }
    }
    if extra.get("tool_choice").is_some() && body.at(&["toolConfig", "toolChoice"]).is_some() {
        return Err(conflict("tool_choice"));
    }
    for name in ["model", "modelId", "stream", "anthropic_version"] {
        if extra.get(name).is_some() {
            return Err(Reject::from_model(format_args!("{name}: Extra inputs are not permitted")));
        }
    }
    Ok(())
}

fn conflict(name: &str) -> Reject {
    Reject::invalid(format!(
        "The additional field {name} conflicts with an existing field. Remove the additional field and try again."
    ))
}

/// What has to be remembered from turn to turn.
#[derive(Default)]
struct Conversation<'r> {
    role: &'r str,
    open: Vec<&'r str>,
    ids: HashSet<&'r str>,
    documents: HashSet<&'r str>,
    tools_used: bool,
}

impl<'r> Conversation<'r> {
    fn message(&mut self, at: usize, message: &'r Json<'r>) -> Rule {
        let role = message.text("role").unwrap_or_default();
        let content = message.list("content");
        if role == "system" {
            return tool_changes_only(at, content);
        }
        if self.role.is_empty() && role != "user" {
            return Err(starts_with_user());
        }
        if self.role == role {
            return Err(Reject::invalid(
                "A conversation must alternate between user and assistant roles. Make sure the conversation \
                 alternates between user and assistant roles and try again.",
            ));
        }
        self.role = role;
        if content.is_empty() {
            return Err(Reject::invalid(format!(
                "The content field in the Message object at messages.{at} is empty. Add a ContentBlock object to the \
                 content field and try again."
            )));
        }
        let mut calls = Vec::new();
        let mut results = Vec::new();
        for (index, block) in content.iter().enumerate() {
            self.block(at, index, role, block)?;
            if let Some(id) = block.at(&["toolUse", "toolUseId"]).and_then(Json::as_str) {
                self.tools_used = true;
                if !self.ids.insert(id) {
                    return Err(Reject::from_model(format_args!(
                        "messages.{at}.content.{index}: `tool_use` ids must be unique"
                    )));
                }
                calls.push(id);
            }
            if let Some(id) = block.at(&["toolResult", "toolUseId"]).and_then(Json::as_str) {
                self.tools_used = true;
                results.push(id);
            }
        }
        documents_need_text(at, content)?;
        if role == "user" {
            self.answered(at, &results)?;
        }
        self.open = calls;
        Ok(())
    }

    fn answered(&self, at: usize, results: &[&str]) -> Rule {
        let missing: Vec<&str> = self.open.iter().filter(|id| !results.contains(id)).copied().collect();
        if !missing.is_empty() {
            return Err(Reject::invalid(format!(
                "Expected toolResult blocks at messages.{at}.content for the following Ids: {}",
                missing.join(", ")
            )));
        }
        if results.len() > self.open.len() {
            return Err(Reject::invalid(format!(
                "The number of toolResult blocks at messages.{at}.content exceeds the number of toolUse blocks of \
                 previous turn."
            )));
        }
        Ok(())
    }

    fn end(&self, count: usize, no_tools: bool) -> Rule {
        if self.role.is_empty() {
            return Err(starts_with_user());
        }
        if !self.open.is_empty() {
            return Err(Reject::invalid(format!(
                "Expected toolResult blocks at messages.{count}.content for the following Ids: {}",
                self.open.join(", ")
            )));
        }
        if self.tools_used && no_tools {
            return Err(Reject::invalid(
                "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
            ));
        }
        Ok(())
    }

    fn block(&mut self, at: usize, index: usize, role: &str, block: &'r Json<'r>) -> Rule {
        let path = || format!("messages.{at}.content.{index}");
        if block.text("text").is_some_and(|text| text.trim().is_empty()) {
            return Err(Reject::invalid(format!(
                "The text field in the ContentBlock object at {} is blank. Add text to the text field, and try again.",
                path()
            )));
        }
        let owner = [
            ("toolUse", "assistant"),
            ("reasoningContent", "assistant"),
            ("toolResult", "user"),
            ("image", "user"),
            ("document", "user"),
            ("video", "user"),
        ];
        if let Some((key, owner)) =
            owner.iter().find(|(key, owner)| *owner != role && block.get(key).is_some())
        {
            return Err(Reject::invalid(format!(
                "The {key} block at {} is only allowed in {owner} messages. Remove the block and try again.",
                path()
            )));
        }
        if block.at(&["toolUse", "input"]).is_some_and(|input| !input.is_object()) {
            return Err(not_an_object(&format!("{}.toolUse.input", path())));
        }
        if let Some(result) = block.get("toolResult") {
            for (inner, item) in result.list("content").iter().enumerate() {
                if item.get("json").is_some_and(|json| !json.is_object()) {
                    return Err(not_an_object(&format!("{}.toolResult.content.{inner}.json", path())));
                }
                self.document(item)?;
            }
        }
        self.document(block)
    }

    /// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html>
    fn document(&mut self, block: &'r Json<'r>) -> Rule {
        let Some(document) = block.get("document") else { return Ok(()) };
        let name = document.text("name").unwrap_or_default();
        let good = |c: char| c.is_ascii_alphanumeric() || c.is_whitespace() || "-()[]".contains(c);
        let double =
            name.chars().zip(name.chars().skip(1)).any(|(a, b)| a.is_whitespace() && b.is_whitespace());
        if !name.chars().all(good) || double {
            return Err(Reject::invalid(
                "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, \
                 parentheses, and square brackets. The name can't contain more than one consecutive whitespace \
                 character.",
            ));
        }
        if !self.documents.insert(name) {
            return Err(Reject::invalid(format!(
                "Found duplicate document name: {name}. Document names must be unique. Rename your documents and try \
                 again."
            )));
        }
        Ok(())
    }
}

fn starts_with_user() -> Reject {
    Reject::invalid(
        "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
    )
}

fn tool_changes_only(at: usize, content: &[Json<'_>]) -> Rule {
    let change = |block: &Json<'_>| block.get("toolAddition").is_some() || block.get("toolRemoval").is_some();
    if content.iter().all(change) {
        return Ok(());
    }
    Err(Reject::invalid(format!(
        "The system role at messages.{at} only supports toolAddition and toolRemoval blocks."
    )))
}

fn documents_need_text(at: usize, content: &[Json<'_>]) -> Rule {
    let documents = content.iter().any(|block| block.get("document").is_some());
    if documents && !content.iter().any(|block| block.get("text").is_some()) {
        return Err(Reject::invalid(format!(
            "A text block must be included in the content field at messages.{at} when using documents. Add a text \
             block and try again."
        )));
    }
    Ok(())
}

/// Evaluated in the order tools, system, messages: a long-lived point may not follow a short-lived one.
fn cache_points(body: &Json<'_>) -> Rule {
    let tools = body.get("toolConfig").map_or(&[][..], |config| config.list("tools"));
    let messages = body.list("messages").iter().flat_map(|message| message.list("content"));
    let all = tools.iter().chain(body.list("system")).chain(messages);
    let mut count = 0;
    let mut short = false;
    for point in all.filter_map(|block| block.get("cachePoint")) {
        count += 1;
        let long = point.text("ttl") == Some("1h");
        if long && short {
            return Err(Reject::from_model(
                "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks \
                 are processed in the following order: `tools`, `system`, `messages`.",
            ));
        }
        short |= !long;
    }
    if count > 4 {
        return Err(Reject::from_model(format_args!(
            "A maximum of 4 blocks with cache_control may be provided. Found {count}."
        )));
    }
    Ok(())
}

/// The schema of structured output travels as a string.
fn structured(body: &Json<'_>) -> Rule {
    let path = ["outputConfig", "textFormat", "structure", "jsonSchema", "schema"];
    let Some(schema) = body.at(&path).and_then(Json::as_str) else { return Ok(()) };
    match Json::parse(schema.as_bytes()) {
        Ok(schema) if schema.is_object() => Ok(()),
        _ => Err(not_an_object("outputConfig.textFormat.structure.jsonSchema.schema")),
    }
}
