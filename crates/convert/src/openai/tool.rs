//! Tools, the choice among them, and calls in both directions.

use std::borrow::Cow;
use std::collections::HashSet;

use protocol::anthropic::request::{
    CacheControl, ChoiceAny, ChoiceAuto, ChoiceNone, ChoiceTool, CustomTool, Tool, ToolChoice,
};
use protocol::anthropic::response::Json;
use protocol::openai::tool as openai;
use protocol::raw::{Extra, MAX_DEPTH, Object, Raw, nests_within};
use serde::Serialize;

use super::{Notes, refusal, strict};
use crate::converse::request::{name, schema};
use crate::converse::response::mended;
use crate::outcome::reason;
use crate::{Refusal, fold};

/// The schema of a custom tool's function.
const TEXT_SCHEMA: &str = r#"{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}"#;

/// The member that allows several calls in one answer.
const PARALLEL: &str = "parallel_tool_calls";

/// A tool as the Messages API has it.
pub(crate) struct Definition<'r> {
    pub(crate) tool: CustomTool<'r>,
    /// Where it comes from, and where its schema does.
    pub(crate) origin: String,
    /// Whether it takes text, so that its calls are answered as those of a custom tool.
    pub(crate) freeform: bool,
}

/// The members of a function, wherever the dialect has them.
pub(crate) struct Function<'r, 'a> {
    pub(crate) name: &'r str,
    pub(crate) description: Option<&'r str>,
    pub(crate) parameters: Option<&'r Object<'a>>,
    pub(crate) strict: Option<bool>,
}

/// A function. `at` is the place of its members.
pub(crate) fn function<'r>(notes: &mut Notes, at: &str, function: &Function<'r, '_>) -> Definition<'r> {
    let parameters = function.parameters.map(|parameters| {
        Object::new(schema::input(parameters, false)).unwrap_or_else(|| parameters.reborrow())
    });
    let strict = function.strict.filter(|strict| *strict);
    let loose =
        strict.is_some() && parameters.as_ref().is_some_and(|schema| strict::constrains(schema.get()));
    if loose {
        notes.lose(format!("{at}.strict"), reason::ILL_FORMED);
    }
    let schema = parameters.unwrap_or_else(no_parameters);
    Definition {
        tool: CustomTool {
            strict: strict.filter(|_| !loose),
            ..custom_tool(function.name, function.description.map(Cow::Borrowed), schema)
        },
        origin: at.to_owned(),
        freeform: false,
    }
}

/// A tool that takes text: a function with one string, whose grammar is told to the model and not enforced.
pub(crate) fn freeform<'r>(
    notes: &mut Notes,
    at: &str,
    name: &'r str,
    description: Option<&'r str>,
    format: Option<&openai::CustomFormat<'_>>,
) -> Definition<'r> {
    let grammar = format.and_then(|format| match &format.grammar {
        Some(grammar) => Some((&*grammar.syntax, &*grammar.definition)),
        None => format.definition.as_deref().map(|text| (format.syntax.as_deref().unwrap_or("lark"), text)),
    });
    let description = match grammar {
        None => description.map(Cow::Borrowed),
        Some((syntax, definition)) => {
            notes.lose(format!("{at}.format"), reason::NO_PLACE);
            let told = description.map(|text| format!("{text}\n\n")).unwrap_or_default();
            Some(Cow::Owned(format!("{told}The input must match this {syntax} grammar:\n{definition}")))
        }
    };
    let schema = Raw::from_text(TEXT_SCHEMA.to_owned()).and_then(Object::new).unwrap_or_else(Object::empty);
    Definition { tool: custom_tool(name, description, schema), origin: at.to_owned(), freeform: true }
}

/// A function or a custom tool, nested or flat. What OpenAI would run itself is refused by its type: a model without its
/// tool answers from memory, and nobody notices.
pub(crate) fn definition<'r>(
    notes: &mut Notes,
    at: &str,
    tool: &'r openai::Tool<'_>,
) -> Result<Definition<'r>, Refusal> {
    notes.lose_extra(at, &tool.extra);
    match (tool.kind.as_deref(), &tool.function, &tool.custom) {
        (None | Some("function"), Some(nested), _) => {
            let at = format!("{at}.function");
            notes.lose_extra(&at, &nested.extra);
            Ok(function(notes, &at, &members(nested)))
        }
        (Some("custom"), _, Some(nested)) => {
            let at = format!("{at}.custom");
            notes.lose_extra(&at, &nested.extra);
            let description = nested.description.as_deref();
            Ok(freeform(notes, &at, &nested.name, description, nested.format.as_ref()))
        }
        (None | Some("function" | "custom"), _, _) => {
            let Some(name) = tool.name.as_deref() else {
                return Err(refusal(format!("{at}.name"), "Field required"));
            };
            let description = tool.description.as_deref();
            if tool.kind.as_deref() == Some("custom") {
                return Ok(freeform(notes, at, name, description, tool.format.as_ref()));
            }
            let flat =
                Function { name, description, parameters: tool.parameters.as_ref(), strict: tool.strict };
            Ok(function(notes, at, &flat))
        }
        (Some(kind), _, _) => {
            let shown: String = kind.chars().take(64).collect();
            Err(refusal(at, format!("tool type '{shown}' is not supported by this gateway")))
        }
    }
}

/// The members of a nested function.
pub(crate) fn members<'r, 'a>(function: &'r openai::Function<'a>) -> Function<'r, 'a> {
    Function {
        name: &function.name,
        description: function.description.as_deref(),
        parameters: function.parameters.as_ref(),
        strict: function.strict,
    }
}

/// The marker that stands on a tool or in its function.
pub(crate) fn marker<'r, 'a>(tool: &'r openai::Tool<'a>) -> Option<&'r CacheControl<'a>> {
    let nested = tool.function.as_ref().and_then(|function| function.cache_control.as_ref());
    tool.cache_control.as_ref().or(nested)
}

fn custom_tool<'r>(name: &'r str, description: Option<Cow<'r, str>>, schema: Object<'r>) -> CustomTool<'r> {
    CustomTool {
        kind: None,
        name: name.into(),
        description,
        input_schema: schema,
        strict: None,
        defer_loading: None,
        eager_input_streaming: None,
        input_examples: None,
        allowed_callers: None,
        cache_control: None,
        extra: Extra::default(),
    }
}

fn no_parameters<'a>() -> Object<'a> {
    let text = r#"{"type":"object","properties":{}}"#;
    Raw::from_text(text.to_owned()).and_then(Object::new).unwrap_or_else(Object::empty)
}

/// Tools as they are sent: those that the choice allows, each once, with their places noted.
pub(crate) fn offered<'r>(
    notes: &mut Notes,
    definitions: Vec<Definition<'r>>,
    allowed: Option<&Allowed<'_>>,
) -> Result<(Vec<Tool<'r>>, Vec<String>), Refusal> {
    let (mut tools, mut custom, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    let permits = |name: &str| allowed.is_none_or(|allowed| allowed.names.contains(name));
    for definition in definitions {
        let Definition { tool, origin, freeform } = definition;
        if !names.insert(tool.name.clone()) {
            let message = format!("Tool names must be unique: '{}' is there twice", tool.name);
            return Err(refusal(format!("{origin}.name"), message));
        }
        if !permits(&tool.name) {
            continue;
        }
        let place = format!("tools.{}", tools.len());
        notes.paths.note(format!("{place}.name"), format!("{origin}.name"));
        notes.paths.note(format!("{place}.input_schema"), format!("{origin}.parameters"));
        notes.paths.note(place, origin);
        if freeform {
            custom.push(tool.name.clone().into_owned());
        }
        tools.push(Tool::Custom(tool));
    }
    match allowed {
        Some(allowed) if tools.is_empty() => {
            Err(refusal(allowed.at.clone(), "none of these is among the tools of this request"))
        }
        Some(_) | None => Ok((tools, custom)),
    }
}

/// Which tools may be called.
pub(crate) struct Choice<'r> {
    pub(crate) mode: Mode<'r>,
    /// The tools that it is limited to. The others are not sent: the Messages API has no such limit.
    pub(crate) allowed: Option<Allowed<'r>>,
}

/// Whether a tool must be called.
#[derive(Clone, Copy)]
pub(crate) enum Mode<'r> {
    Unsaid,
    Auto,
    Any,
    None,
    Named(&'r str),
}

/// Tools by name.
pub(crate) struct Allowed<'r> {
    at: String,
    /// As they are sent.
    pub(crate) names: HashSet<&'r str>,
}

/// What a choice says, in any of its forms. `at` is its place.
pub(crate) fn choice<'r>(
    notes: &mut Notes,
    at: &str,
    choice: Option<&'r openai::ToolChoice<'_>>,
) -> Result<Choice<'r>, Refusal> {
    let plain = |mode| Ok(Choice { mode, allowed: None });
    let spec = match choice {
        None => return plain(Mode::Unsaid),
        Some(openai::ToolChoice::Word(word)) => return word_mode(at, word).and_then(plain),
        Some(openai::ToolChoice::Spec(spec)) => spec,
    };
    notes.lose_extra(at, &spec.extra);
    match spec.kind.as_deref() {
        None | Some("function" | "custom") => match spec.named() {
            Some(name) => plain(Mode::Named(name)),
            None => Err(refusal(format!("{at}.name"), "Field required")),
        },
        Some("allowed_tools") => {
            let (mode, tools, at_tools) = match &spec.allowed_tools {
                Some(nested) => {
                    (nested.mode.as_deref(), &nested.tools[..], format!("{at}.allowed_tools.tools"))
                }
                None => {
                    (spec.mode.as_deref(), spec.tools.as_deref().unwrap_or_default(), format!("{at}.tools"))
                }
            };
            let mode = word_mode(&format!("{at}.mode"), mode.unwrap_or("auto"))?;
            let names = tools.iter().filter_map(openai::AllowedTool::named).collect();
            Ok(Choice { mode, allowed: Some(Allowed { at: at_tools, names }) })
        }
        Some(kind) => {
            let shown: String = kind.chars().take(64).collect();
            Err(refusal(
                format!("{at}.type"),
                format!("tool choice '{shown}' is not supported by this gateway"),
            ))
        }
    }
}

fn word_mode(at: &str, word: &str) -> Result<Mode<'static>, Refusal> {
    match word {
        "none" => Ok(Mode::None),
        "auto" => Ok(Mode::Auto),
        "required" => Ok(Mode::Any),
        _ => Err(refusal(at, "Input should be 'none', 'auto', 'required' or a tool")),
    }
}

/// `tool_choice`. `parallel` is whether one answer may hold several calls; without tools neither is sent, for either
/// alone is refused upstream, and who counts on a call is refused here.
pub(crate) fn tool_choice<'r>(
    notes: &mut Notes,
    at: &str,
    mode: Mode<'r>,
    parallel: Option<bool>,
    no_tools: bool,
) -> Result<Option<ToolChoice<'r>>, Refusal> {
    if no_tools {
        let tools = if at == "function_call" { "functions" } else { "tools" };
        return match mode {
            Mode::Unsaid | Mode::Auto | Mode::None => Ok(None),
            Mode::Any | Mode::Named(_) => {
                Err(refusal(at, format!("'{at}' is only allowed when '{tools}' are specified.")))
            }
        };
    }
    let disable_parallel_tool_use = parallel.filter(|parallel| !parallel).map(|_| true);
    let serial = disable_parallel_tool_use.is_some();
    notes.paths.note("tool_choice", if serial && matches!(mode, Mode::Unsaid) { PARALLEL } else { at });
    if serial {
        notes.paths.note("tool_choice.disable_parallel_tool_use", PARALLEL);
    }
    let extra = Extra::default;
    Ok(Some(match mode {
        Mode::Unsaid if disable_parallel_tool_use.is_none() => return Ok(None),
        Mode::Unsaid | Mode::Auto => {
            ToolChoice::Auto(ChoiceAuto { disable_parallel_tool_use, extra: extra() })
        }
        Mode::Any => ToolChoice::Any(ChoiceAny { disable_parallel_tool_use, extra: extra() }),
        Mode::Named(name) => {
            ToolChoice::Tool(ChoiceTool { name: name.into(), disable_parallel_tool_use, extra: extra() })
        }
        Mode::None => ToolChoice::None(ChoiceNone { extra: extra() }),
    }))
}

/// An id in the form that Claude takes, the same for the same id: other models' ids hold dots and colons.
pub(crate) fn id(id: &str) -> Cow<'_, str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.bytes().all(legal) {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("call_{}", name::hex(id, 24)))
    }
}

/// How deep the input of a call lies: body, messages, message, content, block.
const INPUT_DEPTH: usize = 5;

/// The input of a call from its arguments. Nothing, and null, are no arguments; text that is no JSON object, or nests too
/// deep for one, is kept in one, for a history that holds it must go on. Half characters, which models emit, are mended.
pub(crate) fn input(notes: &mut Notes, at: &str, arguments: &str) -> Object<'static> {
    let text = arguments.trim();
    if text.is_empty() || text == "null" {
        return Object::empty();
    }
    let fits = nests_within(text, MAX_DEPTH - INPUT_DEPTH);
    let mended = || mended(text.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
    let whole = fits.then(|| mended().unwrap_or_else(|| text.to_owned())).and_then(Raw::from_text);
    let whole = whole.and_then(Object::new);
    whole.unwrap_or_else(|| {
        notes.lose(at, reason::ILL_FORMED);
        kept(&fold::partial(arguments))
    })
}

/// The same from the member as the caller wrote it: JSON text in a string, or, as some clients have it, the object.
pub(crate) fn written_input(notes: &mut Notes, at: &str, arguments: Option<&Raw<'_>>) -> Object<'static> {
    let Some(raw) = arguments else { return Object::empty() };
    match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
        Ok(text) => input(notes, at, &text),
        Err(_) => input(notes, at, raw.get()),
    }
}

/// The input of a custom tool's call.
pub(crate) fn freeform_input(text: &str) -> Object<'static> {
    #[derive(Serialize)]
    struct Input<'a> {
        input: &'a str,
    }
    Raw::of(&Input { input: text }).and_then(Object::new).unwrap_or_else(Object::empty)
}

fn kept(json: &Json) -> Object<'static> {
    Raw::from_text(json.get().to_owned()).and_then(Object::new).unwrap_or_else(Object::empty)
}

/// The arguments of a call that a model made: its own text. A call that was cut off has what there is of it.
pub(crate) fn arguments(input: &Json) -> Cow<'_, str> {
    fold::kept(input).map_or_else(|| Cow::Borrowed(input.get()), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loss;

    fn tool(json: &str) -> (String, Vec<Loss>) {
        let mut notes = Notes::default();
        let raw: Box<serde_json::value::RawValue> = serde_json::from_str(json).unwrap();
        let tool: openai::Tool<'_> = protocol::raw::Read::from_raw(&raw).unwrap();
        let text = match definition(&mut notes, "tools.0", &tool) {
            Ok(definition) => serde_json::to_string(&definition.tool).unwrap(),
            Err(refusal) => refusal.to_string(),
        };
        (text, notes.losses)
    }

    #[test]
    fn a_tool_is_read_nested_and_flat() {
        let expected = r#"{"name":"f","description":"d","input_schema":{"type":"object","z":1}}"#;
        for json in [
            r#"{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","z":1}}}"#,
            r#"{"type":"function","name":"f","description":"d","parameters":{"type":"object","z":1},"strict":false}"#,
            r#"{"function":{"name":"f","description":"d","parameters":{"type":"object","z":1}}}"#,
        ] {
            assert_eq!(tool(json), (expected.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn a_schema_that_strict_mode_does_not_take_is_sent_without_it() {
        let (text, losses) = tool(
            r#"{"type":"function","name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{"type":"string","minLength" : 2}}}}"#,
        );
        assert!(!text.contains("strict"), "{text}");
        assert_eq!(losses[0].path, "tools.0.strict");
        let (text, losses) = tool(
            r#"{"type":"function","name":"f","strict":true,"parameters":{"type":"object","description":"minLength"}}"#,
        );
        assert!(text.contains(r#""strict":true"#) && losses.is_empty(), "{text}");
    }

    #[test]
    fn a_tool_that_openai_runs_is_refused_by_its_type() {
        let (text, _) = tool(r#"{"type":"web_search_20250305","name":"web_search"}"#);
        assert_eq!(text, "tools.0: tool type 'web_search_20250305' is not supported by this gateway");
    }

    #[test]
    fn arguments_that_are_no_object_are_kept_as_text() {
        for (arguments, expected, lost) in [
            ("", "{}", false),
            ("  ", "{}", false),
            ("null", "{}", false),
            ("{}", "{}", false),
            (r#" {"b":1.0, "a":[]} "#, r#"{"b":1.0, "a":[]}"#, false),
            ("[1]", r#"{"partial_json":"[1]"}"#, true),
            ("not json", r#"{"partial_json":"not json"}"#, true),
            (r#"{"a":1}{"b":2}"#, r#"{"partial_json":"{\"a\":1}{\"b\":2}"}"#, true),
        ] {
            let mut notes = Notes::default();
            assert_eq!(input(&mut notes, "p", arguments).get(), expected);
            assert_eq!(notes.losses.len(), usize::from(lost), "{arguments}");
        }
    }

    #[test]
    fn an_input_nests_as_deep_as_a_body_that_holds_it_may() {
        let most = MAX_DEPTH - INPUT_DEPTH;
        for (depth, kept) in [(most, false), (most + 1, true), (MAX_DEPTH, true), (100_000, true)] {
            let deep = format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
            let found = input(&mut Notes::default(), "p", &deep);
            assert_eq!(found.get().starts_with(r#"{"partial_json""#), kept, "{depth}");
            let content = format!(r#"[{{"input":{}}}]"#, found.get());
            let body = format!(r#"{{"messages":[{{"content":{content}}}]}}"#);
            assert!(crate::native::parse(&body).is_ok(), "{depth}");
        }
    }

    #[test]
    fn a_ban_on_parallel_calls_is_called_by_its_own_name() {
        let place = "tool_choice.disable_parallel_tool_use";
        for (mode, whole) in [(Mode::Unsaid, PARALLEL), (Mode::Any, "function_call")] {
            let mut notes = Notes::default();
            assert!(tool_choice(&mut notes, "function_call", mode, Some(false), false).unwrap().is_some());
            assert_eq!((&*notes.paths.caller("tool_choice"), &*notes.paths.caller(place)), (whole, PARALLEL));
        }
    }

    #[test]
    fn ids_that_claude_refuses_change_the_same_way_everywhere() {
        assert_eq!(id("call_Ab-1"), "call_Ab-1");
        assert_eq!(id("functions.get:0"), id("functions.get:0"));
        assert_ne!(id("functions.get:0"), id("functions.get:1"));
        assert!(id("").starts_with("call_"));
    }

    #[test]
    fn a_call_that_was_cut_off_gives_its_text_back() {
        assert_eq!(arguments(&fold::partial(r#"{"a": "b"#)), r#"{"a": "b"#);
        let own = Json::parse(r#"{"partial_json":"{}"}"#.to_owned()).unwrap();
        assert_eq!(arguments(&own), r#"{"partial_json":"{}"}"#);
    }
}
