//! What can be typed.

pub(crate) mod rows;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use store::{CacheTtl, Cidr, KeyStatus, ServiceTier, Timestamp};

use crate::{budgets::args::Budget, copy::Copy, usage::args::Usage, values};

/// Creates, shows, changes, rotates and revokes the keys of an Outcrop gateway, shows what was used, and says what models are
/// called and cost.
#[derive(Debug, Parser)]
#[command(name = "outcrop-keys", version, about, after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,

    /// Where keys are kept
    #[arg(long, global = true, env = "STORE", default_value = "sqlite")]
    pub(crate) store: Backend,

    /// The database file of `--store sqlite`
    #[arg(long, global = true, env = "OUTCROP_DB", default_value = "./outcrop.db", value_name = "PATH")]
    pub(crate) db: PathBuf,

    /// The region of `--store dynamodb`
    #[arg(long, global = true, env = "AWS_REGION", value_name = "REGION")]
    pub(crate) region: Option<String>,

    #[command(flatten)]
    pub(crate) dynamodb: boot::dynamodb::DynamoDb,

    /// Read settings from this file (default: .env, when it is there); the real environment wins
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) env_file: Option<PathBuf>,

    /// Answer with one JSON document
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub(crate) json: bool,

    /// Answer with the key or the ids alone
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// Level of the log on stderr, or a tracing filter
    #[arg(long, global = true, env = "LOG_LEVEL", default_value = "INFO", hide = true)]
    pub(crate) log_level: boot::logs::Level,

    /// Form of the log: auto, text, json
    #[arg(long, global = true, env = "LOG_FORMAT", default_value = "auto", hide = true)]
    pub(crate) log_format: boot::logs::Format,
}

const AFTER_HELP: &str = "KEY is a key id (key_…) or an unambiguous beginning of one.
KEY_HASH_SECRET (at least 32 bytes) must be the gateway's, where the gateway has one; with dynamodb it must.
Exit codes: 0 done, 1 failed, 2 wrong usage or value, 3 not found, 4 conflict.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    Sqlite,
    #[value(name = "dynamodb")]
    DynamoDb,
    /// Of the gateway's own process: out of reach from here
    #[value(hide = true)]
    Memory,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a key and show it, this once
    Create(Create),
    /// List keys, oldest first
    List(List),
    /// Show a key's record and what was used with it
    Show {
        /// Which key
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Change what a key's record says; what is not named stays
    Update(Update),
    /// Make a new key for a record and show it, this once; the old one goes on for a while
    Rotate(Rotate),
    /// Switch a key off; the gateway refuses it within seconds
    Revoke {
        /// Which key
        #[arg(value_name = "KEY")]
        key: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT", default_value = "revoked")]
        reason: String,
    },
    /// Switch a revoked key on again
    Reactivate {
        /// Which key
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Remove a key's record for good; what was used with it stays known
    Delete(Delete),
    /// Reset a key's budgets, or extend one for a time; limits are changed by `update`
    #[command(subcommand)]
    Budget(Budget),
    /// Show what was used: totals, or the calls themselves
    Usage(Usage),
    /// Names of models: what callers type, and what Bedrock is called with
    Mapping {
        #[command(subcommand)]
        what: rows::Mapping,
    },
    /// Prices of models
    Pricing {
        #[command(subcommand)]
        what: rows::Pricing,
    },
    /// Beta flags: what becomes of those that callers send
    Beta {
        #[command(subcommand)]
        what: rows::Beta,
    },
    /// Bring keys, usage, names, prices and beta flags to another store; safe to repeat, what is there stays (exit code 4 where it differs)
    Copy(Copy),
    /// Show the secret that a store keeps where no KEY_HASH_SECRET was set; for the gateways of another store
    HashSecret,
    /// Make or complete the tables of `--store dynamodb`; safe to repeat
    Setup {
        /// Write the catalogue's prices where there are none, and bring those up to date that were written so
        #[arg(long, conflicts_with = "check")]
        prices: bool,

        /// Make nothing: only compare, and exit with 4 when something is missing or differs
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Create {
    /// Whom its usage is counted for
    #[arg(long, short, value_name = "USER")]
    pub(crate) user_id: String,

    /// What people call it
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) wishes: Wishes,

    /// Bring a key along: read it from stdin, one line of at least 20 characters
    #[arg(long)]
    pub(crate) from_stdin: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Rotate {
    /// Which key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,

    /// How long the old key goes on: a number and s, m, h, d or w; 0 = not at all
    #[arg(long, value_name = "24h", default_value = "24h", value_parser = values::overlap_millis)]
    pub(crate) overlap: i64,

    /// A name for this rotation: within a day, a second one under it is refused
    #[arg(long, value_name = "NAME")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Delete {
    /// Which key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,

    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// What a record may say; `create` and `update` alike.
#[derive(Debug, ClapArgs)]
pub(crate) struct Wishes {
    /// Who answers for it
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,

    /// How long it is good: a number and s, m, h, d or w
    #[arg(long, value_name = "90d", value_parser = values::duration_millis, conflicts_with = "expires_at")]
    pub(crate) expires_in: Option<i64>,

    /// Until when it is good: a date (its beginning, UTC) or a time in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    pub(crate) expires_at: Option<Timestamp>,

    /// A pattern of base model ids that it may use (repeatable; none = all)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) allow_model: Vec<String>,

    /// A pattern of base model ids that it may not use (repeatable; wins)
    #[arg(long, value_name = "PATTERN")]
    pub(crate) deny_model: Vec<String>,

    /// Requests per RATE_LIMIT_WINDOW of the gateway; 0 = none (default: the gateway's RATE_LIMIT_REQUESTS)
    #[arg(long, short, value_name = "N")]
    pub(crate) rate_limit: Option<u32>,

    /// Tokens per minute (default: the gateway's RATE_LIMIT_TOKENS)
    #[arg(long, value_name = "N")]
    pub(crate) tpm_limit: Option<u64>,

    /// Requests and streams open at once (default: the gateway's CONCURRENCY_LIMIT)
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<u32>,

    /// The target of the gateway, a name in BEDROCK_TARGETS, that it is bound to (default: any)
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// An address or block of addresses from which it may be used (repeatable; none = all)
    #[arg(long, value_name = "CIDR")]
    pub(crate) allow_ip: Vec<Cidr>,

    /// The service tier of its calls: default, flex, priority or reserved (default: what a request asks for, or the gateway's DEFAULT_SERVICE_TIER)
    #[arg(long, short = 't', value_name = "TIER")]
    pub(crate) service_tier: Option<ServiceTier>,

    /// How long its prompt caches live, whatever its requests say: 5m, 1h, or none to take the markers out
    #[arg(long, value_name = "TTL")]
    pub(crate) cache_ttl: Option<CacheTtl>,

    /// Dollars that it may spend in all
    #[arg(long, value_name = "USD", value_parser = values::micro_dollars)]
    pub(crate) budget: Option<u64>,

    /// Dollars that it may spend in a day (UTC)
    #[arg(long, value_name = "USD", value_parser = values::micro_dollars)]
    pub(crate) budget_daily: Option<u64>,

    /// Dollars that it may spend in a calendar month (UTC)
    #[arg(long, value_name = "USD", value_parser = values::micro_dollars)]
    pub(crate) budget_monthly: Option<u64>,

    /// A pair for the record (repeatable, at most 16)
    #[arg(long, value_name = "K=V", value_parser = values::pair)]
    pub(crate) meta: Vec<(String, String)>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Update {
    /// Which key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,

    /// What people call it
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) wishes: Wishes,

    /// Take a value away, so that the default holds (repeatable)
    #[arg(long, value_name = "FIELD")]
    pub(crate) clear: Vec<Field>,

    /// Only if the record still has this version
    #[arg(long, value_name = "N")]
    pub(crate) if_version: Option<u64>,
}

/// A value that a record can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Field {
    Owner,
    Expires,
    AllowModel,
    DenyModel,
    RateLimit,
    TpmLimit,
    Concurrency,
    Target,
    AllowIp,
    ServiceTier,
    CacheTtl,
    Budget,
    BudgetDaily,
    BudgetMonthly,
    Meta,
}

impl Wishes {
    /// Whether they give the field a value.
    pub(crate) fn give(&self, field: Field) -> bool {
        match field {
            Field::Owner => self.owner.is_some(),
            Field::Expires => self.expires_in.is_some() || self.expires_at.is_some(),
            Field::AllowModel => !self.allow_model.is_empty(),
            Field::DenyModel => !self.deny_model.is_empty(),
            Field::RateLimit => self.rate_limit.is_some(),
            Field::TpmLimit => self.tpm_limit.is_some(),
            Field::Concurrency => self.concurrency.is_some(),
            Field::Target => self.target.is_some(),
            Field::AllowIp => !self.allow_ip.is_empty(),
            Field::ServiceTier => self.service_tier.is_some(),
            Field::CacheTtl => self.cache_ttl.is_some(),
            Field::Budget => self.budget.is_some(),
            Field::BudgetDaily => self.budget_daily.is_some(),
            Field::BudgetMonthly => self.budget_monthly.is_some(),
            Field::Meta => !self.meta.is_empty(),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    /// Only those of this user
    #[arg(long, short, value_name = "USER")]
    pub(crate) user_id: Option<String>,

    /// Only those of this name
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Only those that this one answers for
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,

    /// Only those with this pair (repeatable: with all of them)
    #[arg(long, value_name = "K=V", value_parser = values::pair)]
    pub(crate) meta: Vec<(String, String)>,

    /// Only those that are active, revoked, expired or `budget_exceeded`
    #[arg(long, value_parser = values::status)]
    pub(crate) status: Option<KeyStatus>,

    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,

    /// Go on where another listing ended
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
}
