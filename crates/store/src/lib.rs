//! What Outcrop remembers: keys and usage, behind one trait.
//!
//! [`Store`] is the interface and its promises; [`Memory`] is the specification in code, [`Sqlite`] the embedded
//! default, [`DynamoDb`] serves a fleet. `contract` (feature `contract`) holds one test per promise and runs against each
//! of them.
//! [`secret`] makes, recognises and hashes keys; [`config`] holds what operators change while gateways run;
//! [`StoredTurn`]s are answers that callers may go on from.
//!
//! Nothing here but AWS's own chain of regions and credentials reads the environment, and nothing but
//! [`Timestamp::now`] and pauses look at a clock.

#[cfg(test)]
mod agreement;
mod allowance;
mod base62;
mod budget;
mod cidr;
pub mod config;
#[cfg(any(test, feature = "contract"))]
#[doc(hidden)]
pub mod contract;
mod cursor;
mod dynamodb;
mod error;
mod key;
mod memory;
mod rate;
mod rotation;
pub mod secret;
mod sqlite;
mod store;
mod tier;
mod timestamp;
mod turn;
pub mod usage;

use std::{path::PathBuf, sync::Arc};

pub use allowance::{Allowance, BudgetChange, BudgetExtension, BudgetPlan, BudgetReset};
pub use budget::{BudgetAsk, BudgetGrant, BudgetLimits, ByPeriod, LeaseHolder, PaidBy, Period};
pub use cidr::Cidr;
pub use config::{
    BetaKind, BetaRow, ConfigKind, ConfigRow, MappingRow, PriceBand, PriceFigures, PriceRow, PriceSource,
    PriceStatus,
};
pub use dynamodb::{DynamoDb, DynamoDbSettings, tables};
pub use error::{Error, ErrorKind, Result};
pub use key::{KeyHash, KeyId, KeyRecord, KeyStatus};
pub use memory::Memory;
pub use rate::{Rate, RateAsk, RateDrawn};
pub use rotation::Previous;
pub use secret::{KeyForm, KeyHasher, NewKey, PresentedKey, hash_secret};
pub use sqlite::Sqlite;
pub use store::{KeyFilter, Listing, Page, Recorded, Store};
pub use tier::{CacheTtl, ServiceTier};
pub use timestamp::Timestamp;
pub use turn::StoredTurn;
pub use usage::{Bucket, Corrected, PeriodQuery, PicoUsd, RowStatus, Span, Totals, UsageQuery, UsageRow};

/// Where the memory is: `STORE`, and `OUTCROP_DB` or `DYNAMODB_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In this process, and gone with it.
    Memory,
    /// In a database file; made, with mode 0600, when it is not there.
    Sqlite(PathBuf),
    /// In tables that [`DynamoDb::setup`] made.
    DynamoDb(DynamoDbSettings),
}

/// Opens the store. Blocks while a new database file is set up: call it at start.
pub async fn open(location: &Location) -> Result<Arc<dyn Store>> {
    Ok(match location {
        Location::Memory => Arc::new(Memory::new()),
        Location::Sqlite(path) => Arc::new(Sqlite::open(path)?),
        Location::DynamoDb(settings) => Arc::new(DynamoDb::open(settings).await?),
    })
}
