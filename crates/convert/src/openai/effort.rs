//! Reasoning effort, as thinking and effort of the Messages API. How much a model can be told is the lanes' to know.

use protocol::anthropic::request::{Adaptive, Disabled, OutputConfig, OutputFormat, Thinking};
use protocol::raw::Extra;

use super::refusal;
use crate::Refusal;

/// What an effort asks for.
pub(crate) struct Effort {
    pub(crate) thinking: Thinking<'static>,
    pub(crate) effort: Option<&'static str>,
}

/// The meaning of a word: `none` and `minimal` switch thinking off, the others come with thinking at that effort.
///
/// An effort without `thinking` is refused by models that think adaptively, so that the two always come together.
pub(crate) fn effort(path: &str, word: &str) -> Result<Effort, Refusal> {
    let effort = match word {
        "none" | "minimal" => {
            let thinking = Thinking::Disabled(Disabled { extra: Extra::default() });
            return Ok(Effort { thinking, effort: None });
        }
        "low" => "low",
        "medium" => "medium",
        "high" => "high",
        "xhigh" => "xhigh",
        "max" => "max",
        _ => {
            let message = "Input should be 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' or 'max'";
            return Err(refusal(path, message));
        }
    };
    let thinking = Thinking::Adaptive(Adaptive { display: None, extra: Extra::default() });
    Ok(Effort { thinking, effort: Some(effort) })
}

/// `output_config`, where there is something to say in it.
pub(crate) fn output_config<'a>(
    effort: Option<&'static str>,
    format: Option<OutputFormat<'a>>,
) -> Option<OutputConfig<'a>> {
    let said = effort.is_some() || format.is_some();
    said.then(|| OutputConfig { effort: effort.map(Into::into), format, extra: Extra::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effort_never_comes_without_thinking() {
        for word in ["low", "medium", "high", "xhigh", "max"] {
            let found = effort("reasoning_effort", word).unwrap();
            assert!(matches!(found.thinking, Thinking::Adaptive(_)));
            assert_eq!(found.effort, Some(word));
        }
        for word in ["none", "minimal"] {
            let found = effort("reasoning_effort", word).unwrap();
            assert!(matches!(found.thinking, Thinking::Disabled(_)));
            assert_eq!(found.effort, None);
        }
        assert_eq!(effort("reasoning.effort", "much").err().unwrap().path, "reasoning.effort");
    }
}
