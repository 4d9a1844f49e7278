//! What operators configure while gateways run: names of models, prices, beta flags. Each is a row of its own type
//! ([`MappingRow`], [`PriceRow`], [`BetaRow`]); the store keeps all three by one mechanism, as [`ConfigRow`]s.
//!
//! They are few, and every gateway reads all of them every few seconds; hence no pages.

mod rows;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Error, ErrorKind, Result, Store};

pub use rows::{
    BetaKind, BetaRow, MOST_MICRO_USD, MappingRow, PriceBand, PriceFigures, PriceRow, PriceSource,
    PriceStatus,
};

/// The kinds of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    /// Names of models: [`MappingRow`].
    Mapping,
    /// Prices: [`PriceRow`].
    Price,
    /// Beta flags: [`BetaRow`].
    Beta,
}

impl ConfigKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Mapping, Self::Price, Self::Beta];

    /// The name of its table, without a prefix.
    pub fn table(self) -> &'static str {
        match self {
            Self::Mapping => "model-mapping",
            Self::Price => "model-pricing",
            Self::Beta => "beta-headers",
        }
    }

    /// The member that holds a row's id.
    pub fn id_member(self) -> &'static str {
        match self {
            Self::Mapping | Self::Price => "model_id",
            Self::Beta => "header_name",
        }
    }
}

/// A row as a backend keeps it: what kind of values it has is the affair of [`Row`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRow {
    /// Unique among the rows of its kind; never empty.
    pub id: String,
    /// Counts the changes, from 1. What is put names the version it takes the place of: 0 for a row that is new.
    pub version: u64,
    /// Everything else.
    pub members: Map<String, Value>,
}

/// A row with a type: what [`list`], [`put`] and [`remove`] work with.
pub trait Row: Serialize + DeserializeOwned + Clone {
    /// Where such rows are kept.
    const KIND: ConfigKind;

    /// Its id.
    fn id(&self) -> &str;

    /// The version it was read with; 0 for a new row.
    fn version(&self) -> u64;

    /// The same row as another version.
    #[must_use]
    fn with_version(self, version: u64) -> Self;

    /// Whether the row keeps the rules of its members. `Invalid` says which one it breaks.
    fn check(&self) -> Result<()>;
}

const VERSION: &str = "version";

/// Every row of a kind, in the order of their ids. `Broken`, with the row's id, when one of them cannot be read or
/// breaks a rule: half of a configuration is none.
pub async fn list<R: Row>(store: &dyn Store) -> Result<Vec<R>> {
    store.config_rows(R::KIND).await?.into_iter().map(read).collect()
}

/// Keeps a row, and returns it as it stands now. One with version 0 is new; `Conflict` when there is one with its id. Any
/// other takes the place of the version that it names; `Conflict` when that is not the stored one, `NotFound` when there
/// is none. `Invalid` when it breaks a rule.
pub async fn put<R: Row>(store: &dyn Store, row: &R) -> Result<R> {
    row.check()?;
    let version = store.put_config_row(R::KIND, &written(row)?).await?;
    Ok(row.clone().with_version(version))
}

/// Removes a row, where `version` is given that version of it alone. `NotFound`; `Conflict` for another version.
pub async fn remove<R: Row>(store: &dyn Store, id: &str, version: Option<u64>) -> Result<()> {
    store.remove_config_row(R::KIND, id, version).await
}

fn written<R: Row>(row: &R) -> Result<ConfigRow> {
    let value = serde_json::to_value(row)
        .map_err(|error| Error::invalid("a row that cannot be written").caused_by(error))?;
    let Value::Object(mut members) = value else { return Err(Error::invalid("a row without members")) };
    members.remove(R::KIND.id_member());
    members.remove(VERSION);
    // What is absent and what is null mean the same, and one of our databases has no null.
    members.retain(|_, value| !value.is_null());
    Ok(ConfigRow { id: row.id().to_owned(), version: row.version(), members })
}

fn read<R: Row>(row: ConfigRow) -> Result<R> {
    let ConfigRow { id, version, mut members } = row;
    let broken = |why: String| {
        let shown: String = id.chars().filter(|c| !c.is_control()).take(128).collect();
        Error::new(ErrorKind::Broken, format!("the row `{shown}` of {} {why}", R::KIND.table()))
    };
    members.insert(R::KIND.id_member().to_owned(), id.clone().into());
    members.insert(VERSION.to_owned(), version.into());
    let read: R = serde_json::from_value(Value::Object(members))
        .map_err(|error| broken(format!("cannot be read: {error}")))?;
    read.check().map_err(|error| broken(format!("breaks a rule: {error}")))?;
    Ok(read)
}

/// What a backend says where no row has the id.
pub(crate) fn missing(kind: ConfigKind, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no row `{id}` in {}", kind.table()))
}

/// What a backend says where there is a row already, or another version of it.
pub(crate) fn stands(kind: ConfigKind, row: &ConfigRow) -> Error {
    let what = if row.version == 0 { "exists already" } else { "was changed meanwhile" };
    Error::new(ErrorKind::Conflict, format!("the row `{}` of {} {what}", row.id, kind.table()))
}
