//! What each generation of Claude takes: sampling, thinking, effort, forced tools, prefill, beta flags.
//!
//! Both dialects come here, InvokeModel with its body and Converse with `additionalModelRequestFields`.
//! <https://platform.claude.com/docs/en/build-with-claude/extended-thinking>,
//! <https://platform.claude.com/docs/en/build-with-claude/effort>
use crate::claude_shape;
use crate::json::Json;
use crate::models::{Model, Thinking};

/// A rule is kept, or Claude's text says what is wrong.
pub(crate) type Rule = Result<(), String>;

/// The way a request wants its answer generated.
pub(crate) struct Generation<'r> {
    pub(crate) model: &'static Model,
    pub(crate) max_tokens: Option<i64>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: bool,
    pub(crate) thinking: Option<&'r Json<'r>>,
    pub(crate) effort: Option<&'r str>,
    /// Whether the tool choice forces a call.
    pub(crate) forced: bool,
    pub(crate) betas: Betas<'r>,
    /// The text that the last message ends with, when that message is the assistant's.
    pub(crate) prefill: Option<&'r str>,
}

/// The beta flags of one request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Betas<'r>(pub(crate) &'r [Json<'r>]);

impl Betas<'_> {
    /// Whether a flag that begins so is set.
    pub(crate) fn has(self, prefix: &str) -> bool {
        self.0.iter().any(|flag| flag.as_str().is_some_and(|flag| flag.starts_with(prefix)))
    }

    /// Whether all flags are known on this route. The refusal never names the flag.
    pub(crate) fn check(self, known: &[&[&str]]) -> Rule {
        let good = |flag: &str| known.iter().any(|set| set.contains(&flag));
        if self.0.iter().all(|flag| flag.as_str().is_some_and(good)) {
            Ok(())
        } else {
            Err("invalid beta flag".to_owned())
        }
    }
}

/// Flags that both routes take.
pub(crate) const BOTH: &[&str] = &[
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "effort-2025-11-24",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "structured-outputs-2025-11-13",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
];

/// Flags that InvokeModel takes besides.
pub(crate) const INVOKE: &[&str] = &[
    "compact-2026-01-12",
    "context-management-2025-06-27",
    "dangerous-tool-use-2026-09-03",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-tool-changes-2026-07-01",
    "thinking-token-count-2026-05-13",
    "tool-examples-2025-10-29",
    "tool-search-tool-2025-10-19",
];

/// Flags of one generation.
pub(crate) const LEGACY: &[&str] = &["output-128k-2025-02-19", "token-efficient-tools-2025-02-19"];

impl Generation<'_> {
    /// Checks all rules; the first that is broken answers.
    pub(crate) fn check(&self) -> Rule {
        self.sampling()?;
        self.thinking()?;
        self.effort()?;
        self.prefill()
    }

    fn thinks(&self) -> bool {
        let kind = self.thinking.and_then(|thinking| thinking.text("type"));
        match kind {
            Some("enabled" | "adaptive" | "between_tools") => true,
            Some(_) => false,
            None => self.model.thinking() == Thinking::Always,
        }
    }

    fn sampling(&self) -> Rule {
        if self.model.at_least(4, 7) {
            let refused = [
                ("temperature", self.temperature.is_some()),
                ("top_p", self.top_p.is_some()),
                ("top_k", self.top_k),
            ];
            return match refused.iter().find(|(_, set)| *set) {
                Some((name, _)) => Err(format!("`{name}` is deprecated for this model.")),
                None => Ok(()),
            };
        }
        if self.model.at_least(4, 1) && self.temperature.is_some() && self.top_p.is_some() {
            return Err(
                "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn thinking(&self) -> Rule {
        let Some(thinking) = self.thinking else { return self.forced_always() };
        claude_shape::check(&claude_shape::THINKING, thinking)
            .map_err(|fault| format!("thinking.{}", fault.message()))?;
        let kind = thinking.text("type").unwrap_or_default();
        let can = self.model.thinking();
        match (kind, can) {
            ("between_tools", _) if !self.model.id.ends_with("claude-sonnet-5-5") => {
                return Err("thinking.type: Input should be 'adaptive' or 'disabled'".to_owned());
            }
            ("enabled" | "adaptive", Thinking::None) => {
                return Err("thinking is not supported on this model".to_owned());
            }
            ("enabled", Thinking::Adaptive) => {
                return Err("thinking.type: Input should be 'adaptive' or 'disabled'".to_owned());
            }
            ("enabled" | "disabled", Thinking::Always) => {
                return Err("thinking.type: Input should be 'adaptive'".to_owned());
            }
            ("adaptive", Thinking::Enabled) => {
                return Err("adaptive thinking is not supported on this model".to_owned());
            }
            ("disabled", Thinking::Adaptive)
                if self.model.id.ends_with("claude-opus-5")
                    && matches!(self.effort, Some("xhigh" | "max")) =>
            {
                return Err(
                    "thinking.type: disabled is not supported with effort 'xhigh' or 'max'".to_owned()
                );
            }
            _ => {}
        }
        self.forced_always()?;
        if kind == "enabled" { self.budget(thinking) } else { Ok(()) }?;
        if self.thinks() { self.while_thinking() } else { Ok(()) }
    }

    /// Models that always think refuse a forced tool even when the request says nothing of thinking.
    fn forced_always(&self) -> Rule {
        if self.forced && self.model.thinking() == Thinking::Always && !self.model.forced_choice() {
            return Err("Thinking may not be enabled when tool_choice forces tool use.".to_owned());
        }
        Ok(())
    }

    fn budget(&self, thinking: &Json<'_>) -> Rule {
        let budget = thinking.get("budget_tokens").and_then(Json::as_int).unwrap_or_default();
        let within = self.max_tokens.is_none_or(|max| budget < max);
        if within || self.betas.has("interleaved-thinking") {
            return Ok(());
        }
        Err("`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at \
             https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"
            .to_owned())
    }

    fn while_thinking(&self) -> Rule {
        let rules = [
            (self.forced, "Thinking may not be enabled when tool_choice forces tool use."),
            (
                self.temperature.is_some_and(|t| (t - 1.0).abs() > f64::EPSILON),
                "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation at \
                 https://docs.claude.com/en/docs/build-with-claude/extended-thinking#important-considerations-when-using-extended-thinking",
            ),
            (
                self.top_p.is_some_and(|p| p < 0.95),
                "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.",
            ),
            (self.top_k, "`top_k` must be unset when thinking is enabled."),
            (
                self.prefill.is_some(),
                "Prefilling the assistant response is not supported when thinking is enabled.",
            ),
        ];
        // Prefill has its own refusal on the models that never take it.
        match rules.iter().find(|(broken, _)| *broken) {
            Some((_, text)) if !(self.prefill.is_some() && self.model.at_least(4, 6)) => {
                Err((*text).to_owned())
            }
            _ => Ok(()),
        }
    }

    fn effort(&self) -> Rule {
        let Some(effort) = self.effort else { return Ok(()) };
        let known = self.model.efforts();
        if known.is_empty() || (self.model.version == (4, 5) && !self.betas.has("effort-2025-11-24")) {
            return Err("output_config.effort: Extra inputs are not permitted".to_owned());
        }
        if known.contains(&effort) {
            return Ok(());
        }
        let known: Vec<String> = known.iter().map(|level| format!("'{level}'")).collect();
        let list = match known.split_last() {
            Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
            _ => known.join(""),
        };
        Err(format!("output_config.effort: Input should be {list}"))
    }

    fn prefill(&self) -> Rule {
        let Some(text) = self.prefill else { return Ok(()) };
        if self.model.at_least(4, 6) {
            return Err("This model does not support assistant message prefill. The conversation must end with a user \
                        message."
                .to_owned());
        }
        if text.trim_end() != text {
            return Err("messages: final assistant content cannot end with trailing whitespace".to_owned());
        }
        Ok(())
    }
}
