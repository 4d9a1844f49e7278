//! Usage: rows, what they add up to, and how they are written behind the request.

mod journal;
mod money;
mod rebuild;
mod row;
mod spool;
mod stats;
mod totals;
mod uses;
mod worker;
mod writer;

pub use money::PicoUsd;
pub use rebuild::Corrected;
pub(crate) use rebuild::Rebuild;
pub use row::{RowStatus, UsageQuery, UsageRow};
pub use stats::WriterStats;
pub use totals::{Bucket, PeriodQuery, Span, Totals};
pub use writer::{Recorder, Writer, WriterHandle, WriterOptions};
