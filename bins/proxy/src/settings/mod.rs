//! Settings: one struct a topic, each member an environment variable with its default and its meaning.
//!
//! `--help`, `.env.example` (compared by a test), `--print-config` and the messages about wrong values are all made
//! from these declarations.

mod features;
mod read;
mod routes;
mod targets;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use features::{Betas, Budgets, Caching, Fetching, RateLimits, Responses, Switches, Tiers};
pub use read::{Problem, command, effective, read};
pub(crate) use routes::Routes;
pub(crate) use targets::{Accounts, Target, Targets};
pub(crate) use values::{Flag, Hosts, List, Mapping, Millis, Seconds, Secret, Trust};

/// Outcrop's data plane: the Anthropic Messages API in front, AWS Bedrock behind.
#[derive(Debug, Parser)]
#[command(name = "outcrop-proxy", version, about)]
pub struct Cli {
    /// Without a command, the gateway runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Start a strict simulated Bedrock in this process, keep everything in memory unless STORE is set, and print a
    /// fresh key with the lines to try it.
    #[arg(long)]
    pub simulate: bool,
    /// Environment file to read [default: .env when it is there]; the real environment wins.
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
    /// Check every setting, print every problem, and exit: 0 for none, 2 otherwise.
    #[arg(long)]
    pub check_config: bool,
    /// Print the values in effect, secrets masked, and exit.
    #[arg(long)]
    pub print_config: bool,
    /// All settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// What else the program can do.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Ask the gateway on HOST and PORT whether it is ready: exit 0 or 1. For containers without curl.
    Healthcheck,
}

/// All settings.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    pub(crate) general: General,
    #[command(flatten)]
    pub(crate) listen: Listen,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) bedrock: Bedrock,
    #[command(flatten)]
    pub(crate) accounts: Accounts,
    #[command(flatten)]
    pub(crate) models: Models,
    #[command(flatten)]
    pub(crate) betas: Betas,
    #[command(flatten)]
    pub(crate) caching: Caching,
    #[command(flatten)]
    pub(crate) tiers: Tiers,
    #[command(flatten)]
    pub(crate) switches: Switches,
    #[command(flatten)]
    pub(crate) fetching: Fetching,
    #[command(flatten)]
    pub(crate) responses: Responses,
    #[command(flatten)]
    pub(crate) keys: Keys,
    #[command(flatten)]
    pub(crate) rates: RateLimits,
    #[command(flatten)]
    pub(crate) budgets: Budgets,
    #[command(flatten)]
    pub(crate) store: StoreSettings,
    #[command(flatten)]
    pub(crate) dynamodb: boot::dynamodb::DynamoDb,
    #[command(flatten)]
    pub(crate) observe: Observe,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "General")]
pub(crate) struct General {
    /// Name shown at `/`.
    #[arg(long, env = "APP_NAME", default_value = "Outcrop", value_name = "TEXT")]
    pub(crate) app_name: String,
    /// Where this runs; production refuses weak secrets and REQUIRE_API_KEY=false.
    #[arg(long, env = "ENVIRONMENT", default_value = "development", value_name = "NAME",
        value_parser = ["development", "staging", "production"], ignore_case = true)]
    pub(crate) environment: String,
    /// Level (debug, info, warn, error) or tracing filter.
    #[arg(long, env = "LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: boot::logs::Level,
    /// text, json, or auto: text on a terminal, JSON elsewhere.
    #[arg(long, env = "LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub(crate) log_format: boot::logs::Format,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Listening")]
pub(crate) struct Listen {
    /// Address to listen on.
    #[arg(long, env = "HOST", default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0 asks the system for one.
    #[arg(long, env = "PORT", default_value = "8000", value_name = "PORT")]
    pub(crate) port: u16,
    /// Worker threads [default: one a core].
    #[arg(long, env = "WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// Prefix of the API's paths.
    #[arg(long, env = "API_PREFIX", default_value = "/v1", value_name = "PATH", value_parser = values::prefix)]
    pub(crate) api_prefix: String,
    /// Origins that browsers may call from, comma-separated; `*` is any.
    #[arg(long, env = "CORS_ORIGINS", default_value = "*", value_name = "LIST")]
    pub(crate) cors_origins: List,
    /// Methods that browsers may use; `*` is any.
    #[arg(long, env = "CORS_ALLOW_METHODS", default_value = "*", value_name = "LIST")]
    pub(crate) cors_allow_methods: List,
    /// Headers that browsers may send; `*` is any.
    #[arg(long, env = "CORS_ALLOW_HEADERS", default_value = "*", value_name = "LIST")]
    pub(crate) cors_allow_headers: List,
    /// Whether browsers may send credentials; refused together with origin `*`.
    #[arg(long, env = "CORS_ALLOW_CREDENTIALS", default_value = "false", value_name = "BOOL")]
    pub(crate) cors_allow_credentials: Flag,
    /// Silence in a stream before a ping, in seconds.
    #[arg(long, env = "PING_INTERVAL_SECONDS", default_value = "10", value_name = "SECONDS",
        value_parser = values::ping)]
    pub(crate) ping_interval: Seconds,
    /// After SIGTERM: readiness is 503 and requests are still accepted, in seconds.
    #[arg(long, env = "DRAIN_GRACE_SECONDS", default_value = "5", value_name = "SECONDS")]
    pub(crate) drain_grace: Seconds,
    /// Then open requests may finish, in seconds; what is left gets an error event.
    #[arg(long, env = "DRAIN_TIMEOUT_SECONDS", default_value = "600", value_name = "SECONDS")]
    pub(crate) drain_timeout: Seconds,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits towards callers")]
pub(crate) struct Limits {
    /// Largest request body in bytes.
    #[arg(long, env = "MAX_BODY_BYTES", default_value = "33554432", value_name = "BYTES")]
    pub(crate) max_body_bytes: usize,
    /// Largest request head in bytes.
    #[arg(long, env = "MAX_HEADER_BYTES", default_value = "65536", value_name = "BYTES")]
    pub(crate) max_header_bytes: usize,
    /// Open connections; above it 503.
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "10000", value_name = "N")]
    pub(crate) max_connections: usize,
    /// Requests being answered at once; above it 503.
    #[arg(long, env = "MAX_IN_FLIGHT", default_value = "2000", value_name = "N")]
    pub(crate) max_in_flight: usize,
    /// Bytes of request bodies, and of kept conversations that they go on from, held at once; above it 503.
    #[arg(long, env = "MAX_IN_FLIGHT_BYTES", default_value = "536870912", value_name = "BYTES")]
    pub(crate) max_in_flight_bytes: usize,
    /// Time for a whole request head, in seconds.
    #[arg(long, env = "CLIENT_HEADER_TIMEOUT_SECONDS", default_value = "10", value_name = "SECONDS")]
    pub(crate) header_timeout: Seconds,
    /// Longest gap between bytes of a request body, in seconds.
    #[arg(long, env = "CLIENT_BODY_TIMEOUT_SECONDS", default_value = "30", value_name = "SECONDS")]
    pub(crate) body_timeout: Seconds,
    /// How long a reader may take nothing, in seconds.
    #[arg(long, env = "CLIENT_WRITE_TIMEOUT_SECONDS", default_value = "60", value_name = "SECONDS")]
    pub(crate) write_timeout: Seconds,
    /// Life of an idle connection, in seconds; longer than the load balancer's.
    #[arg(long, env = "KEEP_ALIVE_TIMEOUT_SECONDS", default_value = "620", value_name = "SECONDS")]
    pub(crate) keep_alive: Seconds,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Bedrock")]
pub(crate) struct Bedrock {
    /// Region of AWS services [default: the AWS chain's, else us-east-1].
    #[arg(long, env = "AWS_REGION", value_name = "REGION")]
    pub(crate) aws_region: Option<String>,
    /// Region of Bedrock [default: AWS_REGION].
    #[arg(long, env = "BEDROCK_REGION", value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// Overrides the address of the Bedrock runtime.
    #[arg(long, env = "BEDROCK_ENDPOINT_URL", value_name = "URL", value_parser = values::url)]
    pub(crate) endpoint_url: Option<String>,
    /// Overrides the address of bedrock-mantle, which only the route `mantle` calls.
    #[arg(long, env = "BEDROCK_MANTLE_ENDPOINT_URL", value_name = "URL", value_parser = values::url)]
    pub(crate) mantle_endpoint_url: Option<String>,
    /// JSON object {pattern: [route]}, or @path to a file with one: by which routes Claude is called whose Bedrock id fits
    /// the pattern, in order of preference. `invoke` is InvokeModel, `messages` the Messages API of bedrock-runtime,
    /// `mantle` that of bedrock-mantle; where one fails before the first byte, the next is tried.
    #[arg(long, env = "BEDROCK_ROUTES", default_value = "{}", value_name = "JSON")]
    pub(crate) routes: Routes,
    /// How long a target or route that failed is passed over for a model where there is another, in seconds, unless the
    /// upstream itself says how long.
    #[arg(long, env = "TARGET_COOLDOWN_SECONDS", default_value = "30", value_name = "SECONDS")]
    pub(crate) target_cooldown: Seconds,
    /// Overrides the address of Bedrock's control plane [default: BEDROCK_ENDPOINT_URL where that is on this machine, else
    /// the region's own].
    #[arg(long, env = "BEDROCK_CONTROL_ENDPOINT_URL", value_name = "URL", value_parser = values::url)]
    pub(crate) control_endpoint_url: Option<String>,
    /// Bedrock API key, used instead of SigV4 (alias BEDROCK_API_KEY).
    #[arg(long, env = "AWS_BEARER_TOKEN_BEDROCK", value_name = "SECRET", hide_env_values = true)]
    pub(crate) bearer_token: Option<Secret>,
    /// Time to connect, in seconds.
    #[arg(long, env = "BEDROCK_CONNECT_TIMEOUT_SECONDS", default_value = "5", value_name = "SECONDS")]
    pub(crate) connect_timeout: Seconds,
    /// Time until the reply's headers, in seconds.
    #[arg(long, env = "BEDROCK_FIRST_BYTE_TIMEOUT_SECONDS", default_value = "600", value_name = "SECONDS")]
    pub(crate) first_byte_timeout: Seconds,
    /// Longest silence inside a stream, in seconds.
    #[arg(long, env = "BEDROCK_IDLE_TIMEOUT_SECONDS", default_value = "330", value_name = "SECONDS")]
    pub(crate) idle_timeout: Seconds,
    /// A whole call that is not streamed, in seconds; streams have no total cap.
    #[arg(long, env = "BEDROCK_TIMEOUT", default_value = "1800", value_name = "SECONDS")]
    pub(crate) total_timeout: Seconds,
    /// Tries of one request over all targets and routes, the first included.
    #[arg(long, env = "BEDROCK_MAX_ATTEMPTS", default_value = "3", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) max_attempts: u32,
    /// First back-off, in milliseconds; doubled each time, with full jitter.
    #[arg(long, env = "BEDROCK_RETRY_BASE_MS", default_value = "250", value_name = "MS")]
    pub(crate) retry_base: Millis,
    /// A longer Retry-After is passed on to the caller, in seconds.
    #[arg(long, env = "BEDROCK_RETRY_MAX_WAIT_SECONDS", default_value = "5", value_name = "SECONDS")]
    pub(crate) retry_max_wait: Seconds,
    /// Retries, moves to another target or route included, may be this many percent of requests.
    #[arg(long, env = "BEDROCK_RETRY_BUDGET_PERCENT", default_value = "20", value_name = "PERCENT",
        value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) retry_budget_percent: u32,
    /// Calls at once to each target; 0 is no limit.
    #[arg(long, env = "BEDROCK_MAX_CONCURRENCY", default_value = "0", value_name = "N")]
    pub(crate) max_concurrency: usize,
    /// Life of an idle upstream connection, in seconds; shorter than Bedrock's.
    #[arg(long, env = "BEDROCK_POOL_IDLE_SECONDS", default_value = "50", value_name = "SECONDS")]
    pub(crate) pool_idle: Seconds,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct Models {
    /// JSON object {name: Bedrock id}, or @path to a file with one; adds to the catalogue's names or overrides them. Where
    /// an id hides its model: {name: {"target": ARN, "base_model": Bedrock id}}.
    #[arg(long, env = "DEFAULT_MODEL_MAPPING", default_value = "{}", value_name = "JSON")]
    pub(crate) default_model_mapping: Mapping,
    /// Inference profile given to ids that name none: global, geo or base.
    #[arg(long, env = "BEDROCK_INFERENCE_SCOPE", default_value = "global", value_name = "SCOPE",
        value_parser = ["global", "geo", "base"], ignore_case = true)]
    pub(crate) inference_scope: String,
    /// Whether a name that nothing knows is passed on to Bedrock; otherwise 404.
    #[arg(long, env = "ALLOW_UNKNOWN_MODELS", default_value = "true", value_name = "BOOL")]
    pub(crate) allow_unknown: Flag,
    /// What becomes of models without a price: refuse_with_budget (to keys with a budget), refuse, or flag. Their use is
    /// marked in any case.
    #[arg(long, env = "UNPRICED_MODELS", default_value = "refuse_with_budget", value_name = "FATE",
        value_parser = ["refuse_with_budget", "refuse", "flag"], ignore_case = true)]
    pub(crate) unpriced: String,
    /// Most tokens of an answer, for callers of the OpenAI API who name no number.
    #[arg(long, env = "DEFAULT_MAX_TOKENS", default_value = "4096", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) default_max_tokens: u32,
    /// How long it is remembered which model is behind an application inference profile, in seconds.
    #[arg(long, env = "INFERENCE_PROFILE_CACHE_TTL_SECONDS", default_value = "3600", value_name = "SECONDS")]
    pub(crate) profile_ttl: Seconds,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Keys")]
pub(crate) struct Keys {
    /// Header that carries the key, beside Authorization: Bearer.
    #[arg(long, env = "API_KEY_HEADER", default_value = "x-api-key", value_name = "NAME",
        value_parser = values::header)]
    pub(crate) api_key_header: String,
    /// Whether a key is needed; without one, requests run as caller `anonymous`.
    #[arg(long, env = "REQUIRE_API_KEY", default_value = "true", value_name = "BOOL")]
    pub(crate) require_api_key: Flag,
    /// A static key for bootstrap and single-key set-ups (alias BEARER_TOKEN).
    #[arg(long, env = "MASTER_API_KEY", value_name = "SECRET", hide_env_values = true)]
    pub(crate) master_api_key: Option<Secret>,
    /// Pepper of the stored key hashes, 32 bytes or more; required by STORE=dynamodb [default: made once and kept in the
    /// store].
    #[arg(long, env = "KEY_HASH_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub(crate) key_hash_secret: Option<Secret>,
    /// How long a key's record is trusted without asking the store, in seconds.
    #[arg(long, env = "KEY_CACHE_TTL_SECONDS", default_value = "5", value_name = "SECONDS")]
    pub(crate) cache_ttl: Seconds,
    /// Keys remembered, and as many unknown ones.
    #[arg(long, env = "KEY_CACHE_SIZE", default_value = "100000", value_name = "N")]
    pub(crate) cache_size: usize,
    /// Cached keys keep working this long while the store is away, in seconds.
    #[arg(long, env = "STORE_GRACE_SECONDS", default_value = "300", value_name = "SECONDS")]
    pub(crate) store_grace: Seconds,
    /// Wrong keys a minute from one address before 429; 0 is no limit.
    #[arg(long, env = "AUTH_FAILURE_LIMIT", default_value = "120", value_name = "N")]
    pub(crate) auth_failure_limit: u32,
    /// How many hops at the end of X-Forwarded-For are ours.
    #[arg(long, env = "TRUSTED_PROXY_HOPS", default_value = "0", value_name = "N")]
    pub(crate) trusted_proxy_hops: usize,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreSettings {
    /// Where keys and usage are kept: sqlite, dynamodb (for several gateways), or memory (gone at the end).
    #[arg(long, env = "STORE", default_value = "sqlite", value_name = "KIND",
        value_parser = ["sqlite", "dynamodb", "memory"])]
    pub(crate) store: String,
    /// Database file of the sqlite store.
    #[arg(long, env = "OUTCROP_DB", default_value = "./outcrop.db", value_name = "PATH")]
    pub(crate) database: PathBuf,
    /// How often names of models, prices and beta flags are read from the store anew, in seconds.
    #[arg(long, env = "CONFIG_REFRESH_SECONDS", default_value = "30", value_name = "SECONDS",
        value_parser = values::refresh)]
    pub(crate) config_refresh: Seconds,
    /// Usage rows waiting in memory; more wait on disk alone.
    #[arg(long, env = "USAGE_QUEUE_ROWS", default_value = "10000", value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) usage_queue_rows: u32,
    /// Longest wait of a usage row before it is written, in milliseconds.
    #[arg(long, env = "USAGE_FLUSH_INTERVAL_MS", default_value = "500", value_name = "MS")]
    pub(crate) usage_flush_interval: Millis,
    /// Directory where usage rows are until the store has them; a kill loses none that is there.
    #[arg(long, env = "USAGE_SPOOL_DIR", default_value = "./outcrop-spool", value_name = "PATH")]
    pub(crate) usage_spool_dir: PathBuf,
    /// Days that usage rows are kept; 0 is for ever.
    #[arg(long, env = "USAGE_TTL_DAYS", default_value = "30", value_name = "DAYS")]
    pub(crate) usage_ttl_days: u32,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Observing")]
pub(crate) struct Observe {
    /// Whether /metrics is served.
    #[arg(long, env = "ENABLE_METRICS", default_value = "true", value_name = "BOOL")]
    pub(crate) enable_metrics: Flag,
    /// Own listener for /metrics, such as 127.0.0.1:9464; unset serves it with the API.
    #[arg(long, env = "METRICS_ADDR", value_name = "ADDRESS:PORT")]
    pub(crate) metrics_addr: Option<SocketAddr>,
    /// Whether every reply carries the x-outcrop-* headers, as with `x-outcrop-debug: 1`.
    #[arg(long, env = "DEBUG_HEADERS", default_value = "false", value_name = "BOOL")]
    pub(crate) debug_headers: Flag,
}
