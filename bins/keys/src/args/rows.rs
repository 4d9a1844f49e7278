//! What can be typed about names of models, prices and beta flags.

use std::path::PathBuf;

use boot::mapping::Mapping as NamesOfSettings;
use catalog::Scope;
use clap::{ArgAction, ArgGroup, Args as ClapArgs, Subcommand, ValueEnum, builder::BoolishValueParser};

use crate::values;

#[derive(Debug, Subcommand)]
pub(crate) enum Mapping {
    /// Give a model a name of your own, or a known name another model
    Add(AddMapping),
    /// List the names
    List,
    /// Take a name away; what the settings or the catalogue say about it holds again
    Remove {
        /// Which name
        #[arg(value_name = "MODEL")]
        model: String,
    },
    /// Show what a name means to a gateway with the settings of this environment
    Test(TestMapping),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AddMapping {
    /// The name that callers use
    #[arg(value_name = "MODEL", required_unless_present = "anthropic_id", conflicts_with = "anthropic_id")]
    pub(crate) model: Option<String>,

    /// What Bedrock is called with: a base id, a profile id, an ARN, or a name of the catalogue
    #[arg(value_name = "TARGET", required_unless_present = "bedrock_id", conflicts_with = "bedrock_id")]
    pub(crate) target: Option<String>,

    /// MODEL, as a flag
    #[arg(long, value_name = "MODEL", requires = "bedrock_id")]
    pub(crate) anthropic_id: Option<String>,

    /// TARGET, as a flag
    #[arg(long, value_name = "TARGET", requires = "anthropic_id")]
    pub(crate) bedrock_id: Option<String>,

    /// The model behind a TARGET that hides it
    #[arg(long, value_name = "ID")]
    pub(crate) base_model: Option<String>,

    /// Change the name where it is there already
    #[arg(long)]
    pub(crate) replace: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TestMapping {
    /// The name, in any form that a gateway takes
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,

    /// As the gateway's
    #[arg(long, env = "DEFAULT_MODEL_MAPPING", default_value = "{}", value_name = "JSON")]
    pub(crate) default_model_mapping: NamesOfSettings,

    /// As the gateway's: global, geo or base
    #[arg(long, env = "BEDROCK_INFERENCE_SCOPE", default_value = "global", value_name = "SCOPE", value_parser = values::scope)]
    pub(crate) bedrock_inference_scope: Scope,

    /// As the gateway's
    #[arg(long, env = "ALLOW_UNKNOWN_MODELS", default_value = "true", value_name = "BOOL", action = ArgAction::Set,
        value_parser = BoolishValueParser::new())]
    pub(crate) allow_unknown_models: bool,

    /// As the gateway's [default: AWS_REGION, else us-east-1]
    #[arg(long, env = "BEDROCK_REGION", value_name = "REGION")]
    pub(crate) bedrock_region: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pricing {
    /// List the prices that are kept; models without one cost what the catalogue says
    List,
    /// Set what a model costs; what is not named stays as it is in force now
    Set(Box<SetPrice>),
    /// Take a price away; the catalogue's holds again, where it has one
    Remove {
        /// Which model
        #[arg(value_name = "MODEL")]
        model: String,
    },
    /// Read prices from a file: CSV with a line of names, or a JSON list, as `pricing list --json` writes it
    Import {
        /// CSV or JSON; `-` is stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
        /// Change prices that were set by hand too
        #[arg(long)]
        overwrite: bool,
    },
}

/// Amounts are USD per million tokens.
#[derive(Debug, ClapArgs)]
pub(crate) struct SetPrice {
    /// Base id, which ids with a prefix go by too, or the very id that is called
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,

    /// Who made it (default: the first part of the id)
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,

    /// What people call it
    #[arg(long, value_name = "NAME")]
    pub(crate) display_name: Option<String>,

    /// Uncached input
    #[arg(long, value_name = "USD", value_parser = values::price)]
    pub(crate) input: Option<u64>,

    /// Output, thinking included
    #[arg(long, value_name = "USD", value_parser = values::price)]
    pub(crate) output: Option<u64>,

    /// Cache reads; `none` for the price of input
    #[arg(long, value_name = "USD", value_parser = values::price_or_none)]
    pub(crate) cache_read: Option<values::Maybe>,

    /// Cache writes with the 5-minute TTL; `none` for the price of input
    #[arg(long, value_name = "USD", value_parser = values::price_or_none)]
    pub(crate) cache_write: Option<values::Maybe>,

    /// Cache writes with the 1-hour TTL; `none` for the price of input
    #[arg(long = "cache-write-1h", value_name = "USD", value_parser = values::price_or_none)]
    pub(crate) cache_write_1h: Option<values::Maybe>,

    /// How many times the price geo and in-region ids cost: 1 to 10
    #[arg(long, value_name = "FACTOR", value_parser = values::multiplier)]
    pub(crate) regional_multiplier: Option<u16>,

    /// Whether it counts
    #[arg(long)]
    pub(crate) status: Option<Status>,

    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    Active,
    Disabled,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Beta {
    /// List what was decided about beta flags
    List,
    /// Decide about a flag; the settings and the catalogue give way
    Set(SetBeta),
    /// Take a decision away
    Remove {
        /// Which flag
        #[arg(value_name = "FLAG")]
        flag: String,
    },
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("fate").required(true).args(["map_to", "block", "allow"]))]
pub(crate) struct SetBeta {
    /// The flag, as callers send it
    #[arg(value_name = "FLAG")]
    pub(crate) flag: String,

    /// Send this flag in its place (repeatable)
    #[arg(long, value_name = "FLAG")]
    pub(crate) map_to: Vec<String>,

    /// Never send it
    #[arg(long)]
    pub(crate) block: bool,

    /// Send it, although the catalogue does not know that the model takes it
    #[arg(long)]
    pub(crate) allow: bool,

    /// A pattern of Bedrock ids that this is about (repeatable; none = all)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) model: Vec<String>,

    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
}
