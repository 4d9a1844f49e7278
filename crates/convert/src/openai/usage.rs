//! What an answer used, in OpenAI's figures.

use protocol::anthropic::response as anthropic;
use protocol::openai::chat::response::{CompletionDetails, PromptDetails, Usage};
use protocol::openai::responses::response as responses;

use crate::usage::Usage as Counts;

/// Usage of a chat completion: the prompt's figure holds cache reads and writes, which Anthropic's does not.
pub(crate) fn chat(usage: &anthropic::Usage) -> Usage {
    let counts = Counts::from_anthropic(usage);
    let prompt = counts.input_total();
    let told = usage.cache_read_input_tokens.is_some() || usage.cache_creation_input_tokens.is_some();
    Usage {
        prompt_tokens: prompt,
        completion_tokens: counts.output,
        total_tokens: prompt.saturating_add(counts.output),
        prompt_tokens_details: told.then_some(PromptDetails {
            cached_tokens: counts.cache_read,
            cache_write_tokens: counts.cache_write(),
        }),
        completion_tokens_details: CompletionDetails { reasoning_tokens: counts.reasoning },
        cache_creation_input_tokens: usage.cache_creation_input_tokens.map(|_| counts.cache_write()),
    }
}

/// Usage of a response. Its details are always there: clients read them without asking.
pub(crate) fn responses(usage: &anthropic::Usage) -> responses::Usage {
    let counts = Counts::from_anthropic(usage);
    responses::Usage {
        input_tokens: counts.input_total(),
        input_tokens_details: responses::InputDetails {
            cached_tokens: counts.cache_read,
            cache_write_tokens: counts.cache_write(),
        },
        output_tokens: counts.output,
        output_tokens_details: responses::OutputDetails { reasoning_tokens: counts.reasoning },
        total_tokens: counts.input_total().saturating_add(counts.output),
    }
}

/// OpenAI's word for the tier that served.
pub(crate) fn tier(usage: &anthropic::Usage) -> Option<&str> {
    usage.service_tier.as_deref().map(|tier| if tier == "standard" { "default" } else { tier })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> anthropic::Usage {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_prompt_holds_cache_reads_and_writes() {
        let found = chat(&read(
            r#"{"input_tokens":3,"output_tokens":5,"cache_read_input_tokens":800,"cache_creation_input_tokens":20,"output_tokens_details":{"thinking_tokens":2}}"#,
        ));
        assert_eq!((found.prompt_tokens, found.completion_tokens, found.total_tokens), (823, 5, 828));
        assert_eq!(
            found.prompt_tokens_details,
            Some(PromptDetails { cached_tokens: 800, cache_write_tokens: 20 })
        );
        assert_eq!(found.completion_tokens_details.reasoning_tokens, 2);
        assert_eq!(found.cache_creation_input_tokens, Some(20));
    }

    #[test]
    fn cache_figures_that_were_not_told_are_absent() {
        let json = serde_json::to_string(&chat(&read(r#"{"input_tokens":3,"output_tokens":5}"#))).unwrap();
        assert_eq!(
            json,
            r#"{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8,"completion_tokens_details":{"reasoning_tokens":0}}"#
        );
    }

    #[test]
    fn the_standard_tier_is_called_default() {
        assert_eq!(tier(&read(r#"{"service_tier":"standard"}"#)), Some("default"));
        assert_eq!(tier(&read(r#"{"service_tier":"flex"}"#)), Some("flex"));
        assert_eq!(tier(&read("{}")), None);
    }
}
