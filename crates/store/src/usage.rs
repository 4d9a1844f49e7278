//! Usage: rows, what they add up to, and how they are written behind the request.

mod money;
mod row;
mod totals;

pub use money::PicoUsd;
pub use row::{RowStatus, UsageQuery, UsageRow};
pub use totals::{Bucket, Totals};
