//! What can be typed about budgets, beside their limits.

use clap::{Args, Subcommand, ValueEnum};
use store::{Period, Timestamp};

use crate::values;

#[derive(Debug, Subcommand)]
pub(crate) enum Budget {
    /// Let what was spent until now no longer count against budgets; rows and totals of usage stay as they are
    Reset(Reset),
    /// Let more be spent until a moment; then the limit is what it was, by itself
    Extend(Extend),
}

#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Which key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,

    /// Only this budget (repeatable; default: every one that the key has)
    #[arg(long, value_name = "PERIOD")]
    pub(crate) period: Vec<Which>,

    /// Only if the record still has this version
    #[arg(long, value_name = "N")]
    pub(crate) if_version: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Extend {
    /// Which key
    #[arg(value_name = "KEY")]
    pub(crate) key: String,

    /// How many dollars more than the limit; they take the place of an earlier extension
    #[arg(long, value_name = "USD", value_parser = values::micro_dollars, required_unless_present = "end",
        conflicts_with = "end")]
    pub(crate) by: Option<u64>,

    /// Until when: a date (its beginning, UTC) or a time in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = values::instant,
        required_unless_present_any = ["lasting", "end"], conflicts_with_all = ["lasting", "end"])]
    pub(crate) until: Option<Timestamp>,

    /// For how long from now on: a number and s, m, h, d or w
    #[arg(long = "for", id = "lasting", value_name = "2h", value_parser = values::duration_millis,
        conflicts_with = "end")]
    pub(crate) lasting: Option<i64>,

    /// End an extension now
    #[arg(long)]
    pub(crate) end: bool,

    /// Which budget; not needed where the key has one alone
    #[arg(long, value_name = "PERIOD")]
    pub(crate) period: Option<Which>,

    /// Only if the record still has this version
    #[arg(long, value_name = "N")]
    pub(crate) if_version: Option<u64>,
}

/// A budget by its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    Daily,
    Monthly,
    Total,
}

impl From<Which> for Period {
    fn from(which: Which) -> Self {
        match which {
            Which::Daily => Self::Daily,
            Which::Monthly => Self::Monthly,
            Which::Total => Self::Total,
        }
    }
}
