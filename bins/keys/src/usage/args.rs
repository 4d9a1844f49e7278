//! What can be typed about usage.

use clap::{Args, Subcommand, ValueEnum};
use store::{RowStatus, Timestamp};

use crate::values;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Usage {
    #[command(subcommand)]
    pub(crate) rebuild: Option<Rebuild>,

    /// Whose usage: an id, `master` or `anonymous`, also of a key that was deleted (default: everybody's)
    #[arg(value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// From when on: a date (UTC) or, with --rows, a time in RFC 3339 (default: 30 days, by month a year)
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    pub(crate) since: Option<Timestamp>,

    /// Until before when (default: now)
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    pub(crate) until: Option<Timestamp>,

    /// What a line is for; months count whole (default: day with KEY, else key)
    #[arg(long, value_name = "WHAT", conflicts_with = "rows")]
    pub(crate) by: Option<By>,

    /// The calls themselves instead of totals
    #[arg(long)]
    pub(crate) rows: bool,

    /// Only keys of this user
    #[arg(long, short, value_name = "USER", conflicts_with = "key")]
    pub(crate) user_id: Option<String>,

    /// Only this base model (anthropic.claude-…)
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Only calls that ended so: ok, client_closed, upstream_error
    #[arg(long, requires = "rows", value_parser = values::row_status)]
    pub(crate) status: Option<RowStatus>,

    /// At most so many rows
    #[arg(long, requires = "rows", default_value_t = 100,
        value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) limit: u16,

    /// Go on where other rows of this key ended
    #[arg(long, value_name = "CURSOR", requires_all = ["rows", "key"])]
    pub(crate) cursor: Option<String>,

    /// Answer with CSV; what a spreadsheet would take for a formula gets an apostrophe
    #[arg(long, conflicts_with_all = ["json", "quiet"])]
    pub(crate) csv: bool,

    /// Days that the gateway keeps rows; 0 is for ever
    #[arg(
        long = "usage-ttl-days",
        global = true,
        env = "USAGE_TTL_DAYS",
        default_value = "30",
        value_name = "DAYS"
    )]
    pub(crate) days_kept: u32,
}

/// What a line of totals is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Day,
    Month,
    Model,
    Key,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rebuild {
    /// Count totals again from the rows that are kept, also while gateways book
    Rebuild {
        /// Whose totals
        #[arg(value_name = "KEY", required_unless_present = "all")]
        key: Option<String>,
        /// Everybody's
        #[arg(long, conflicts_with = "key")]
        all: bool,
        /// Only show what is not right
        #[arg(long)]
        dry_run: bool,
        /// Count the days from this date on (default: all whose rows are kept), also where rows are missing
        #[arg(long = "from", value_name = "DATE", value_parser = values::instant)]
        from: Option<Timestamp>,
    },
}
