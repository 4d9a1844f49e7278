//! One row of the catalogue: what a model takes, refuses and costs.
//!
//! Every per-model rule of the converters and of the policy is a member here, so that a new model is a new row
//! and never a new `if`.

/// Which upstream protocol a model is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// InvokeModel with a Messages body: the caller's bytes travel.
    Native,
    /// Converse, with typed conversion both ways.
    Converse,
}

/// A way to a model of the native lane, in the order of preference that its row gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// InvokeModel and its stream.
    InvokeModel,
    /// The Messages API of `bedrock-runtime`:
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-messages-api.html>.
    Messages,
    /// The Messages API of `bedrock-mantle`, which knows base ids alone and needs permissions of its own.
    Mantle,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 3] = [Self::InvokeModel, Self::Messages, Self::Mantle];

    /// Its name in settings, headers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvokeModel => "invoke",
            Self::Messages => "messages",
            Self::Mantle => "mantle",
        }
    }
}

/// Who made the model; decides defaults that a row does not state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the vendors' own")]
pub enum Family {
    Claude,
    Nova,
    OpenAi,
    DeepSeek,
    Qwen,
    Kimi,
    MiniMax,
    Glm,
    Llama,
    Mistral,
    Gemma,
    Nemotron,
    Grok,
    Palmyra,
    Jamba,
    Cohere,
    Titan,
    /// A model that no row knows; it is spoken to through Converse with the most careful settings.
    Unknown,
}

/// How a model is asked to think, and in which member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// No reasoning field is sent.
    None,
    /// Claude ≤ 4.5: `thinking {type: enabled, budget_tokens}`; adaptive is translated to a budget.
    Budget,
    /// Claude 4.6: both `enabled` and `adaptive`.
    BudgetOrAdaptive,
    /// Claude 4.7 to 5: `adaptive` or `disabled`; `enabled` is translated.
    Adaptive,
    /// Fable, Mythos, Opus 5.5, Sonnet 5.5: always on, `disabled` is refused by the model and therefore left out.
    Always,
    /// Nova 2: `reasoningConfig {type, maxReasoningEffort}`; with `high` no sampling and no maxTokens may be set.
    NovaReasoningConfig,
    /// gpt-oss, GLM: flat `reasoning_effort` string.
    FlatEffort,
    /// GPT-5.x and later, Grok: `reasoning {effort}`.
    NestedEffort,
    /// DeepSeek V3.x: `reasoning_config` as a string.
    ConfigString,
    /// Kimi: `thinking {type: enabled | disabled}`.
    Switch,
}

/// Effort levels, weakest first (`output_config.effort`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are Anthropic's own")]
pub enum Effort {
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// Which of `temperature` and `top_p` a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Both, together too.
    Both,
    /// Either, not both: `temperature` wins (Claude 4.1 to 4.6).
    OneOf,
    /// Neither: both are left out (Claude ≥ 4.7, GPT-5.x, Grok).
    Neither,
}

/// Where `top_k` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopK {
    /// Refused: left out.
    Refused,
    /// `top_k` (Converse: in `additionalModelRequestFields`).
    Plain,
    /// Nova: `inferenceConfig.topK` inside `additionalModelRequestFields`.
    NovaNested,
    /// Cohere: `k`.
    Cohere,
}

/// Prompt caching as a model offers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caching {
    /// Smallest prefix, in tokens, that a checkpoint can hold.
    pub min_tokens: u32,
    /// Whether tools may carry a marker.
    pub tools: bool,
    /// Whether `ttl: "1h"` is known not to work. A list may deny 1h, none has to allow it.
    pub no_1h: bool,
}

/// Which tool-use ids a model accepts in replayed history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolIds {
    /// `[a-zA-Z0-9_.:-]{1,64}`, Converse's own rule.
    Converse,
    /// Mistral: exactly nine alphanumeric characters.
    NineAlphanumeric,
}

/// Prices in micro-dollars per 1,000,000 tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Uncached input.
    pub input: u64,
    /// Output, thinking included.
    pub output: u64,
    /// Cache reads; `None` means that the input price applies.
    pub cache_read: Option<u64>,
    /// Writes with the 5-minute TTL.
    pub cache_write_5m: Option<u64>,
    /// Writes with the 1-hour TTL.
    pub cache_write_1h: Option<u64>,
    /// Whole other prices above this many input tokens.
    pub band: Option<&'static Band>,
    /// Geo and in-region ids cost this many percent of the price (110 for Claude ≥ 4.5).
    pub regional_percent: u16,
}

/// Prices of a request whose input exceeds a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The bound, in input tokens (cached ones included).
    pub above_input_tokens: u32,
    /// What applies above it.
    pub price: Price,
}

/// The format in which an embedding model is asked, on InvokeModel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingFormat {
    /// One text a call: <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html>.
    Titan,
    /// Several texts a call, and what they are for:
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html>.
    Cohere,
}

/// How an embedding model is asked, and what it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// Its request and its answer.
    pub format: EmbeddingFormat,
    /// Most texts of one call.
    pub texts: u16,
    /// Length of its vectors where no other is asked for.
    pub dimensions: u16,
    /// Lengths that may be asked for; empty: none may, and the member does not exist.
    pub choices: &'static [u16],
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Base id, without a profile prefix: `anthropic.claude-sonnet-4-6`.
    pub id: &'static str,
    /// For people: `Claude Sonnet 4.6`.
    pub display_name: &'static str,
    /// Public names that mean this model, the preferred one first (dated and `-latest` forms included).
    pub names: &'static [&'static str],
    /// Maker.
    pub family: Family,
    /// Lane.
    pub lane: Lane,
    /// Native lane: the ways to it; where one fails, the next is tried.
    pub routes: &'static [Route],
    /// Inference-profile prefixes that exist, such as `us`, `eu`, `global`; empty: base id only.
    pub prefixes: &'static [&'static str],
    /// Whether the base id itself can be invoked on demand.
    pub on_demand: bool,
    /// Whether a public name goes to the base id although profiles exist.
    pub prefer_base: bool,
    /// Day of release, `YYYY-MM-DD`.
    pub released: &'static str,
    /// Input and output tokens together.
    pub context_window: u32,
    /// Largest `max_tokens`.
    pub max_output: u32,
    /// Smallest `max_tokens` (16 for GPT, Grok, Kimi K3).
    pub min_output: u32,
    /// Reasoning.
    pub thinking: Thinking,
    /// Highest effort taken; `None`: no effort member at all.
    pub max_effort: Option<Effort>,
    /// Whether `xhigh` is refused although `max` is taken (Claude 4.6).
    pub no_xhigh: bool,
    /// Whether effort works only together with its beta flag (Opus 4.5).
    pub effort_needs_beta: bool,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// `top_k`.
    pub top_k: TopK,
    /// Most stop sequences; 0: refused.
    pub stop_sequences: u16,
    /// Whether the conversation may end with an assistant turn.
    pub prefill: bool,
    /// Prompt caching, if any.
    pub caching: Option<Caching>,
    /// Whether tools work at all.
    pub tools: bool,
    /// Whether tools work while streaming (not on Llama 3.x).
    pub streaming_tools: bool,
    /// Whether `tool_choice` any/tool works.
    pub forced_tool_choice: bool,
    /// Whether images may stand inside a tool result.
    pub tool_result_media: bool,
    /// Whether `status: "error"` of a tool result is understood.
    pub tool_result_status: bool,
    /// Whether `$schema` must leave tool schemas.
    pub strip_schema_keyword: bool,
    /// Rule for replayed tool-use ids.
    pub tool_ids: ToolIds,
    /// Whether a system prompt is taken.
    pub system: bool,
    /// Native lane: whether `role: "system"` may stand among the messages.
    pub mid_system: bool,
    /// Whether images are seen.
    pub vision: bool,
    /// Whether documents are read.
    pub documents: bool,
    /// Whether `output_config.format` / `outputConfig.textFormat` is native.
    pub structured_output: bool,
    /// Whether `tools[].strict` is taken.
    pub strict_tools: bool,
    /// Whether reasoning of earlier turns may be replayed without a signature.
    pub replays_reasoning: bool,
    /// Of an embedding model, which no conversation can be held with: how it is asked.
    pub embedding: Option<Embedding>,
    /// Whether Bedrock CountTokens takes the base id.
    pub countable: bool,
    /// `anthropic_beta` flags that this model takes on InvokeModel.
    pub betas: &'static [&'static str],
    /// Top-level Messages fields beside the common ones that InvokeModel takes for this model.
    pub fields: &'static [&'static str],
    /// What a token of output counts against a limit of tokens, as Bedrock's own quotas count it (5 for Claude ≥ 3.7):
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html>
    pub output_weight: u8,
    /// Service tiers.
    pub tiers: crate::Tiers,
    /// List price; `None` is unpriced, which is flagged and never free.
    pub price: Option<Price>,
}
