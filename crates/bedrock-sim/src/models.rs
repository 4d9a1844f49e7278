//! What the simulator knows of models: a table of its own, so that it judges the gateway's catalogue instead of
//! echoing it.
//!
//! Ids and limits: <https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html>; generation rules:
//! <https://platform.claude.com/docs/en/about-claude/models/overview>.

/// Who made a model, as far as the rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Claude,
    Nova,
    OpenAi,
    GptOss,
    DeepSeek,
    Qwen,
    Kimi,
    MiniMax,
    Glm,
    Grok,
    Llama,
    Mistral,
    /// Titan and Cohere vectors; these answer InvokeModel alone.
    Embedding,
    Other,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model {
    /// The id without a geographic prefix.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    /// Major and minor of a Claude model; zero for the others.
    pub(crate) version: (u8, u8),
    /// Context window in tokens.
    pub(crate) window: usize,
    /// Most output tokens.
    pub(crate) output: i64,
    /// The prefixes of its inference profiles.
    pub(crate) profiles: &'static [&'static str],
    /// Whether the bare id can be invoked.
    pub(crate) on_demand: bool,
}

/// What a Claude model makes of `thinking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    None,
    Enabled,
    EnabledOrAdaptive,
    Adaptive,
    /// Adaptive, and cannot be switched off.
    Always,
}

const US_EU: &[&str] = &["us", "eu"];
const WIDE: &[&str] = &["us", "eu", "apac", "au", "jp", "global", "us-gov"];
const NEW: &[&str] = &["us", "global"];
const GEO: &[&str] = &["us", "eu", "apac", "jp", "global", "us-gov"];

const fn claude(
    id: &'static str,
    name: &'static str,
    version: (u8, u8),
    window: usize,
    output: i64,
    profiles: &'static [&'static str],
) -> Model {
    Model { id, name, family: Family::Claude, version, window, output, profiles, on_demand: false }
}

const fn open(id: &'static str, family: Family, window: usize, output: i64) -> Model {
    Model { id, name: id, family, version: (0, 0), window, output, profiles: GEO, on_demand: true }
}

const fn profiled(id: &'static str, family: Family, window: usize, output: i64) -> Model {
    Model { id, name: id, family, version: (0, 0), window, output, profiles: NEW, on_demand: false }
}

const fn also_bare(model: Model) -> Model {
    Model { on_demand: true, ..model }
}

const K200: usize = 200_000;
const M1: usize = 1_000_000;

/// All models.
pub(crate) static MODELS: &[Model] = &[
    also_bare(claude(
        "anthropic.claude-3-5-haiku-20241022-v1:0",
        "Claude 3.5 Haiku",
        (3, 5),
        K200,
        8_192,
        US_EU,
    )),
    also_bare(claude(
        "anthropic.claude-3-7-sonnet-20250219-v1:0",
        "Claude 3.7 Sonnet",
        (3, 7),
        K200,
        64_000,
        US_EU,
    )),
    also_bare(claude("anthropic.claude-sonnet-4-20250514-v1:0", "Claude Sonnet 4", (4, 0), M1, 64_000, WIDE)),
    claude("anthropic.claude-opus-4-1-20250805-v1:0", "Claude Opus 4.1", (4, 1), K200, 32_000, US_EU),
    claude("anthropic.claude-sonnet-4-5-20250929-v1:0", "Claude Sonnet 4.5", (4, 5), M1, 64_000, WIDE),
    claude("anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5", (4, 5), K200, 64_000, WIDE),
    claude("anthropic.claude-opus-4-5-20251101-v1:0", "Claude Opus 4.5", (4, 5), K200, 64_000, WIDE),
    claude("anthropic.claude-opus-4-6-v1", "Claude Opus 4.6", (4, 6), M1, 128_000, WIDE),
    claude("anthropic.claude-sonnet-4-6", "Claude Sonnet 4.6", (4, 6), M1, 64_000, WIDE),
    claude("anthropic.claude-opus-4-7", "Claude Opus 4.7", (4, 7), M1, 128_000, WIDE),
    claude("anthropic.claude-opus-4-8", "Claude Opus 4.8", (4, 8), M1, 128_000, WIDE),
    claude("anthropic.claude-sonnet-5", "Claude Sonnet 5", (5, 0), M1, 128_000, WIDE),
    claude("anthropic.claude-opus-5", "Claude Opus 5", (5, 0), M1, 128_000, WIDE),
    claude("anthropic.claude-fable-5", "Claude Fable 5", (5, 0), M1, 128_000, WIDE),
    claude("anthropic.claude-fable-5-1", "Claude Fable 5.1", (5, 1), M1, 128_000, WIDE),
    claude("anthropic.claude-mythos-preview", "Claude Mythos Preview", (5, 0), M1, 128_000, WIDE),
    claude("anthropic.claude-mythos-5", "Claude Mythos 5", (5, 0), M1, 128_000, WIDE),
    claude("anthropic.claude-mythos-5-1", "Claude Mythos 5.1", (5, 1), M1, 128_000, WIDE),
    claude("anthropic.claude-haiku-5-5", "Claude Haiku 5.5", (5, 5), M1, 128_000, WIDE),
    claude("anthropic.claude-sonnet-5-5", "Claude Sonnet 5.5", (5, 5), M1, 128_000, WIDE),
    claude("anthropic.claude-opus-5-5", "Claude Opus 5.5", (5, 5), M1, 128_000, WIDE),
    open("amazon.nova-micro-v1:0", Family::Nova, 128_000, 10_000),
    open("amazon.nova-lite-v1:0", Family::Nova, 300_000, 10_000),
    open("amazon.nova-pro-v1:0", Family::Nova, 300_000, 10_000),
    open("amazon.nova-premier-v1:0", Family::Nova, M1, 32_000),
    open("amazon.nova-2-lite-v1:0", Family::Nova, M1, 65_535),
    open("openai.gpt-oss-20b-1:0", Family::GptOss, 128_000, 32_768),
    open("openai.gpt-oss-120b-1:0", Family::GptOss, 128_000, 32_768),
    profiled("openai.gpt-5.4", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-5.5", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-5.6-luna", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-5.6-sol", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-5.6-terra", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-6-luna", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-6-sol", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-6-astra", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-6.1-sol", Family::OpenAi, 400_000, 128_000),
    profiled("openai.gpt-6.1-terra", Family::OpenAi, 400_000, 128_000),
    profiled("deepseek.r1-v1:0", Family::DeepSeek, 128_000, 32_768),
    open("deepseek.v3-v1:0", Family::DeepSeek, 163_840, 81_920),
    open("deepseek.v3.2", Family::DeepSeek, 163_840, 81_920),
    open("qwen.qwen3-32b-v1:0", Family::Qwen, 131_072, 16_384),
    open("qwen.qwen3-235b-a22b-2507-v1:0", Family::Qwen, 262_144, 131_072),
    open("qwen.qwen3-coder-30b-a3b-v1:0", Family::Qwen, 262_144, 131_072),
    open("qwen.qwen3-coder-480b-a35b-v1:0", Family::Qwen, 262_144, 65_536),
    open("qwen.qwen3-coder-next", Family::Qwen, 262_144, 65_536),
    open("qwen.qwen3-next-80b-a3b", Family::Qwen, 262_144, 65_536),
    open("qwen.qwen3-vl-235b-a22b", Family::Qwen, 262_144, 65_536),
    open("moonshot.kimi-k2-thinking", Family::Kimi, 262_144, 65_536),
    open("moonshotai.kimi-k2.5", Family::Kimi, 262_144, 65_536),
    open("moonshotai.kimi-k3", Family::Kimi, 262_144, 65_536),
    open("minimax.minimax-m2", Family::MiniMax, 196_608, 65_536),
    open("minimax.minimax-m2.1", Family::MiniMax, 196_608, 65_536),
    open("minimax.minimax-m2.5", Family::MiniMax, 196_608, 65_536),
    open("zai.glm-4.7", Family::Glm, 200_000, 65_536),
    open("zai.glm-4.7-flash", Family::Glm, 200_000, 65_536),
    open("zai.glm-5", Family::Glm, 200_000, 65_536),
    profiled("zai.glm-5.3", Family::Glm, 200_000, 65_536),
    open("meta.llama3-1-8b-instruct-v1:0", Family::Llama, 128_000, 8_192),
    open("meta.llama3-1-70b-instruct-v1:0", Family::Llama, 128_000, 8_192),
    open("meta.llama3-3-70b-instruct-v1:0", Family::Llama, 128_000, 8_192),
    open("meta.llama4-maverick-17b-instruct-v1:0", Family::Llama, 128_000, 8_192),
    open("meta.llama4-scout-17b-instruct-v1:0", Family::Llama, 128_000, 8_192),
    open("mistral.mistral-large-3-675b-instruct", Family::Mistral, 262_144, 65_536),
    open("mistral.devstral-2-123b", Family::Mistral, 262_144, 65_536),
    open("mistral.magistral-small-2509", Family::Mistral, 128_000, 40_000),
    open("mistral.pixtral-large-2502-v1:0", Family::Mistral, 128_000, 8_192),
    open("google.gemma-3-27b-it", Family::Other, 131_072, 8_192),
    open("google.gemma-3-12b-it", Family::Other, 131_072, 8_192),
    open("google.gemma-3-4b-it", Family::Other, 131_072, 8_192),
    profiled("xai.grok-4.6", Family::Grok, 256_000, 65_536),
    profiled("xai.grok-4.7", Family::Grok, 256_000, 65_536),
    open("cohere.command-r-plus-v1:0", Family::Other, 128_000, 4_096),
    open("cohere.command-r-v1:0", Family::Other, 128_000, 4_096),
    open("ai21.jamba-1-5-large-v1:0", Family::Other, 256_000, 4_096),
    open("amazon.titan-embed-text-v1", Family::Embedding, 8_192, 0),
    open("amazon.titan-embed-text-v2:0", Family::Embedding, 8_192, 0),
    open("cohere.embed-english-v3", Family::Embedding, 512, 0),
    open("cohere.embed-multilingual-v3", Family::Embedding, 512, 0),
    open("cohere.embed-v4:0", Family::Embedding, 128_000, 0),
];

/// Why an id leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    Unknown,
    /// The model exists and must be called through an inference profile.
    NoOnDemand,
}

/// Finds the model behind an id, a profile id or an ARN of either. With a region, a profile of another geography is
/// unknown, as it is at AWS.
pub(crate) fn resolve(id: &str, region: Option<&str>) -> Result<&'static Model, Unresolved> {
    let id = if id.starts_with("arn:") { id.rsplit_once('/').map_or(id, |(_, tail)| tail) } else { id };
    if let Some(model) = bare(id) {
        return if model.on_demand { Ok(model) } else { Err(Unresolved::NoOnDemand) };
    }
    let (prefix, rest) = id.split_once('.').ok_or(Unresolved::Unknown)?;
    let model = bare(rest).ok_or(Unresolved::Unknown)?;
    let served = model.profiles.contains(&prefix) && region.is_none_or(|region| reaches(prefix, region));
    if served { Ok(model) } else { Err(Unresolved::Unknown) }
}

/// The model with this id and no prefix.
pub(crate) fn bare(id: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.id == id)
}

/// Whether profiles with this prefix exist in the region.
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html>
fn reaches(prefix: &str, region: &str) -> bool {
    let gov = region.starts_with("us-gov-");
    match prefix {
        "global" => !gov,
        "us-gov" => gov,
        "us" => !gov && (region.starts_with("us-") || region.starts_with("ca-")),
        "eu" => region.starts_with("eu-"),
        "jp" => matches!(region, "ap-northeast-1" | "ap-northeast-3"),
        "au" => matches!(region, "ap-southeast-2" | "ap-southeast-4"),
        "apac" => region.starts_with("ap-"),
        _ => false,
    }
}

impl Model {
    pub(crate) fn is_claude(&self) -> bool {
        self.family == Family::Claude
    }

    /// Whether tools may be used in a stream:
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html>.
    pub(crate) fn streams_tools(&self) -> bool {
        !self.id.starts_with("meta.llama3-")
    }

    /// Whether this is a Claude model of at least that version.
    pub(crate) fn at_least(&self, major: u8, minor: u8) -> bool {
        self.is_claude() && self.version >= (major, minor)
    }

    /// The context window; two models have the large one behind a flag.
    pub(crate) fn window(&self, long_context: bool) -> usize {
        let gated = self.is_claude() && self.version <= (4, 5) && !long_context;
        if gated { self.window.min(K200) } else { self.window }
    }

    /// The name that Claude's own texts use for the model.
    pub(crate) fn short_id(&self) -> &'static str {
        let id = self.id.strip_prefix("anthropic.").unwrap_or(self.id);
        id.strip_suffix("-v1:0").or_else(|| id.strip_suffix("-v1")).unwrap_or(id)
    }

    /// <https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking>
    pub(crate) fn thinking(&self) -> Thinking {
        let always = self.id.contains("fable")
            || self.id.contains("mythos")
            || (self.version == (5, 5) && !self.id.contains("haiku"));
        match self.version {
            (0, 0) | (3, 0..=6) => Thinking::None,
            _ if always => Thinking::Always,
            (4, 6) => Thinking::EnabledOrAdaptive,
            (major, minor) if (major, minor) >= (4, 7) => Thinking::Adaptive,
            _ => Thinking::Enabled,
        }
    }

    /// The accepted values of `output_config.effort`.
    /// <https://platform.claude.com/docs/en/build-with-claude/effort>
    pub(crate) fn efforts(&self) -> &'static [&'static str] {
        match self.version {
            (4, 5) if self.id.contains("opus") => &["low", "medium", "high"],
            (4, 6) => &["low", "medium", "high", "max"],
            version if version >= (4, 7) => &["low", "medium", "high", "xhigh", "max"],
            _ => &[],
        }
    }

    /// Structured output and strict tools.
    /// <https://platform.claude.com/docs/en/build-with-claude/structured-outputs>
    pub(crate) fn structured(&self) -> bool {
        !self.is_claude() || self.version == (4, 5) || self.version == (4, 6)
    }

    /// Whether a tool choice may force a tool while thinking cannot be switched off.
    pub(crate) fn forced_choice(&self) -> bool {
        !(self.id.ends_with("fable-5-1") || (self.version == (5, 5) && !self.id.contains("haiku")))
    }

    /// Whether the tier is served. Claude, Nova Lite v1 and Grok refuse the two priced ones.
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/service-tiers-inference.html>
    pub(crate) fn takes_tier(&self, tier: &str) -> bool {
        match tier {
            "default" => true,
            "priority" | "flex" => match self.family {
                Family::Claude
                | Family::Grok
                | Family::Llama
                | Family::Mistral
                | Family::Embedding
                | Family::Other => false,
                Family::Nova => matches!(
                    self.id,
                    "amazon.nova-pro-v1:0" | "amazon.nova-2-lite-v1:0" | "amazon.nova-premier-v1:0"
                ),
                Family::OpenAi
                | Family::GptOss
                | Family::DeepSeek
                | Family::Qwen
                | Family::Kimi
                | Family::MiniMax
                | Family::Glm => true,
            },
            _ => false,
        }
    }

    /// Whether cache points are taken at all.
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>
    pub(crate) fn caches(&self) -> bool {
        matches!(self.family, Family::Claude | Family::Nova)
    }

    /// Whether CountTokens takes the bare id.
    pub(crate) fn countable(&self) -> bool {
        self.is_claude() && self.version < (5, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_profiles_and_arns_lead_to_the_model() {
        for id in [
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ] {
            assert_eq!(resolve(id, Some("us-east-1")).map(|m| m.name), Ok("Claude Sonnet 4.5"), "{id}");
        }
        assert_eq!(resolve("qwen.qwen3-32b-v1:0", None).map(|m| m.family), Ok(Family::Qwen));
    }

    #[test]
    fn a_bare_id_without_on_demand_and_a_foreign_profile_are_told_apart() {
        let refused = |id: &str, region| resolve(id, region).map(|m| m.id);
        assert_eq!(refused("anthropic.claude-opus-5", None), Err(Unresolved::NoOnDemand));
        assert_eq!(refused("eu.anthropic.claude-opus-5", Some("us-east-1")), Err(Unresolved::Unknown));
        assert_eq!(refused("claude-opus-5", None), Err(Unresolved::Unknown));
        assert_eq!(refused("gpt-4o", None), Err(Unresolved::Unknown));
    }

    #[test]
    fn generations_follow_the_version() {
        let of = |id: &str| bare(id).expect("known").thinking();
        assert_eq!(of("anthropic.claude-3-5-haiku-20241022-v1:0"), Thinking::None);
        assert_eq!(of("anthropic.claude-opus-4-5-20251101-v1:0"), Thinking::Enabled);
        assert_eq!(of("anthropic.claude-sonnet-4-6"), Thinking::EnabledOrAdaptive);
        assert_eq!(of("anthropic.claude-opus-5"), Thinking::Adaptive);
        assert_eq!(of("anthropic.claude-haiku-5-5"), Thinking::Adaptive);
        assert_eq!(of("anthropic.claude-opus-5-5"), Thinking::Always);
        assert_eq!(of("anthropic.claude-fable-5"), Thinking::Always);
    }
}
