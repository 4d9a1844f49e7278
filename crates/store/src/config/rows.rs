//! The three types of rows and their rules.

use serde::{Deserialize, Serialize};

use super::{ConfigKind, Row};
use crate::{Error, Result, Timestamp};

/// The highest price, in micro-dollars per million tokens: 1000 dollars. A price that was meant for one token is far
/// above it.
pub const MOST_MICRO_USD: u64 = 1_000_000_000;
/// DynamoDB takes keys of up to 2048 bytes; an ARN has at most as many.
const LONGEST_ID: usize = 2048;
/// More flags or patterns in one row nobody would read.
const MOST_IN_LIST: usize = 64;

/// What a name of a model means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingRow {
    /// The name that callers type.
    pub model_id: String,
    /// What Bedrock is called with: a base id, a profile id or an ARN; or a name of the catalogue.
    pub bedrock_model_id: String,
    /// The model behind a target that hides it.
    #[serde(default)]
    pub base_model_id: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who changed it.
    #[serde(default)]
    pub updated_by: Option<String>,
    /// Counts the changes, from 1; 0 before it is kept.
    #[serde(default)]
    pub version: u64,
}

/// What a model costs. Amounts are micro-dollars per million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceRow {
    /// The id that is called, or the base id, which the ids with a prefix go by too.
    pub model_id: String,
    /// Who made the model.
    pub provider: String,
    /// For people.
    pub display_name: String,
    /// What its tokens cost.
    #[serde(flatten)]
    pub figures: PriceFigures,
    /// What ids of a geography and of the region itself cost, in percent of the price.
    #[serde(default = "whole")]
    pub regional_multiplier: u16,
    /// What a request with much input costs instead.
    #[serde(default)]
    pub band: Option<PriceBand>,
    /// Who set it.
    pub source: PriceSource,
    /// Whether it counts.
    pub status: PriceStatus,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts the changes, from 1; 0 before it is kept.
    #[serde(default)]
    pub version: u64,
}

/// Micro-dollars per million tokens, by kind. Cached tokens without a figure of their own cost what input costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceFigures {
    /// Uncached input.
    pub input: u64,
    /// Output, thinking included.
    pub output: u64,
    /// Read from the cache.
    #[serde(default)]
    pub cache_read: Option<u64>,
    /// Written with the 5-minute TTL.
    #[serde(default)]
    pub cache_write_5m: Option<u64>,
    /// Written with the 1-hour TTL.
    #[serde(default)]
    pub cache_write_1h: Option<u64>,
}

/// Whole other figures above a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceBand {
    /// The bound, in input tokens, cached ones included.
    pub above_input_tokens: u32,
    /// What applies above it.
    #[serde(flatten)]
    pub figures: PriceFigures,
}

/// Who set a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceSource {
    /// The catalogue of some build; a later build may bring it up to date.
    Default,
    /// A file.
    Import,
    /// A person; no import changes it unless told to.
    Manual,
}

/// Whether a price counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceStatus {
    /// It counts.
    Active,
    /// It is kept and does not count: the model costs what it would without the row.
    Disabled,
}

impl PriceStatus {
    /// Its name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

impl PriceSource {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Import => "import",
            Self::Manual => "manual",
        }
    }
}

/// What becomes of a beta flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BetaRow {
    /// The flag.
    pub header_name: String,
    /// What becomes of it.
    pub header_type: BetaKind,
    /// The flags that are sent in its place.
    #[serde(default)]
    pub mapped_to: Vec<String>,
    /// Patterns of Bedrock ids that the row is about; none is every model.
    #[serde(default)]
    pub models: Vec<String>,
    /// Why, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts the changes, from 1; 0 before it is kept.
    #[serde(default)]
    pub version: u64,
}

/// What a row says about its flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BetaKind {
    /// Others are sent in its place.
    Mapping,
    /// It is never sent.
    Blocklist,
    /// It is sent, although the catalogue does not know that the model takes it.
    Allow,
}

impl BetaKind {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mapping => "mapping",
            Self::Blocklist => "blocklist",
            Self::Allow => "allow",
        }
    }
}

impl Row for MappingRow {
    const KIND: ConfigKind = ConfigKind::Mapping;

    fn id(&self) -> &str {
        &self.model_id
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    fn check(&self) -> Result<()> {
        word("model_id", &self.model_id, LONGEST_ID)?;
        word("bedrock_model_id", &self.bedrock_model_id, LONGEST_ID)?;
        self.base_model_id.as_deref().map_or(Ok(()), |id| word("base_model_id", id, LONGEST_ID))?;
        self.updated_by.as_deref().map_or(Ok(()), |by| line("updated_by", by, 1, 128))
    }
}

impl Row for PriceRow {
    const KIND: ConfigKind = ConfigKind::Price;

    fn id(&self) -> &str {
        &self.model_id
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    fn check(&self) -> Result<()> {
        word("model_id", &self.model_id, LONGEST_ID)?;
        line("provider", &self.provider, 1, 128)?;
        line("display_name", &self.display_name, 1, 128)?;
        self.figures.check("")?;
        if !(100..=1000).contains(&self.regional_multiplier) {
            return Err(Error::invalid("regional_multiplier: from 1 to 10 times the price"));
        }
        let Some(band) = self.band else { return Ok(()) };
        if band.above_input_tokens == 0 {
            return Err(Error::invalid("band.above_input_tokens: at least 1"));
        }
        band.figures.check("band.")
    }
}

impl PriceFigures {
    fn check(&self, path: &str) -> Result<()> {
        for (name, figure) in [
            ("input", Some(self.input)),
            ("output", Some(self.output)),
            ("cache_read", self.cache_read),
            ("cache_write_5m", self.cache_write_5m),
            ("cache_write_1h", self.cache_write_1h),
        ] {
            if figure.is_some_and(|figure| figure > MOST_MICRO_USD) {
                let message = format!(
                    "{path}{name}: a price is in USD per million tokens and at most 1000; was it meant for one token?"
                );
                return Err(Error::invalid(message));
            }
        }
        Ok(())
    }
}

impl Row for BetaRow {
    const KIND: ConfigKind = ConfigKind::Beta;

    fn id(&self) -> &str {
        &self.header_name
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn with_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    fn check(&self) -> Result<()> {
        flag("header_name", &self.header_name)?;
        let maps = self.header_type == BetaKind::Mapping;
        if maps == self.mapped_to.is_empty() {
            let message = "mapped_to: a mapping names the flags that are sent instead, and nothing else does";
            return Err(Error::invalid(message));
        }
        if self.mapped_to.len() > MOST_IN_LIST || self.models.len() > MOST_IN_LIST {
            return Err(Error::invalid(format!("mapped_to, models: at most {MOST_IN_LIST} entries")));
        }
        self.mapped_to.iter().try_for_each(|to| flag("mapped_to", to))?;
        self.models.iter().try_for_each(|pattern| word("models", pattern, 256))?;
        self.description.as_deref().map_or(Ok(()), |text| line("description", text, 1, 512))
    }
}

fn whole() -> u16 {
    100
}

/// Flags travel in a list that is split at commas.
fn flag(member: &str, value: &str) -> Result<()> {
    word(member, value, 256)?;
    if value.contains(',') || !value.is_ascii() {
        return Err(Error::invalid(format!("{member}: not a beta flag")));
    }
    Ok(())
}

fn word(member: &str, value: &str, longest: usize) -> Result<()> {
    line(member, value, 1, longest)?;
    if value.chars().any(char::is_whitespace) {
        return Err(Error::invalid(format!("{member}: no blanks")));
    }
    Ok(())
}

fn line(member: &str, value: &str, shortest: usize, longest: usize) -> Result<()> {
    if !(shortest..=longest).contains(&value.len()) {
        return Err(Error::invalid(format!("{member}: {shortest} to {longest} bytes")));
    }
    // Control characters would let a name rewrite the terminal or the log line it is shown in.
    if value.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{member}: no control characters")));
    }
    Ok(())
}
