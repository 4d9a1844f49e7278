//! The tables as data: what `outcrop-keys setup` makes, what the statements name, and what a template is made from.
//!
//! Indexes hold keys alone. A key of an item never changes, so an index is written once an item and costs nothing when
//! totals or last use move; who reads one fetches the items by their keys, consistently.

pub use super::setup::{State, TableState};

/// The name of a key attribute. It holds text, unless its table says otherwise.
type Attribute = &'static str;

/// A table, under its name without the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// The name behind `DYNAMODB_TABLE_PREFIX`.
    pub name: &'static str,
    /// The partition key.
    pub partition: Attribute,
    /// The sort key.
    pub sort: Option<Attribute>,
    /// Global secondary indexes; they project keys only.
    pub indexes: &'static [Index],
    /// The key attributes that hold numbers.
    pub numbers: &'static [Attribute],
    /// The attribute with the second (Unix time) in which an item expires.
    pub ttl: Option<Attribute>,
}

/// A global secondary index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// The partition key.
    pub partition: Attribute,
    /// The sort key.
    pub sort: Option<Attribute>,
}

/// `pk` is `hash#<hex>` for a record and `id#<key_id>` for the pointer to it.
pub const API_KEYS: Table = Table {
    name: "api-keys",
    partition: "pk",
    sort: None,
    // `created_at` is the instant and the key id, so that keys of one millisecond have an order too.
    indexes: &[Index { name: "user_id-index", partition: "user_id", sort: Some("created_at") }],
    numbers: &[],
    ttl: Some("ttl"),
};

/// A row is at its key and `<ts>#<request_id>#<round>`; beside it `once#<request_id>` and the round mark it as counted.
pub const USAGE: Table = Table {
    name: "usage",
    partition: "key_id",
    sort: Some("sk"),
    indexes: &[Index { name: "request_id-index", partition: "request_id", sort: None }],
    numbers: &[],
    ttl: Some("ttl"),
};

/// Totals, by key and period.
pub const USAGE_STATS: Table = Table {
    name: "usage-stats",
    partition: "key_id",
    sort: Some("bucket"),
    indexes: &[Index { name: "bucket-index", partition: "bucket", sort: Some("key_id") }],
    numbers: &[],
    ttl: Some("ttl"),
};

/// Leases of budgets: `lease#<replica>` at the key's id, and `budget#version` beside them; at `claim#<key_id>`, what was
/// claimed about a key. Buckets of limits: `rate#<rate>` at its id.
pub const LEDGER: Table =
    Table { name: "ledger", partition: "pk", sort: Some("sk"), indexes: &[], numbers: &[], ttl: Some("ttl") };

/// Names of models.
pub const MODEL_MAPPING: Table =
    Table { name: "model-mapping", partition: "model_id", sort: None, indexes: &[], numbers: &[], ttl: None };

/// Prices.
pub const MODEL_PRICING: Table = Table {
    name: "model-pricing",
    partition: "model_id",
    sort: None,
    indexes: &[Index { name: "provider-index", partition: "provider", sort: None }],
    numbers: &[],
    ttl: None,
};

/// Beta flags.
pub const BETA_HEADERS: Table = Table {
    name: "beta-headers",
    partition: "header_name",
    sort: None,
    indexes: &[],
    numbers: &[],
    ttl: None,
};

/// Kept answers, in chunks from 0 on.
pub const RESPONSE_CONTEXT: Table = Table {
    name: "response-context",
    partition: "response_id",
    sort: Some("chunk"),
    indexes: &[],
    numbers: &["chunk"],
    ttl: Some("expires_at"),
};

/// Names with one value each.
pub const META: Table =
    Table { name: "meta", partition: "name", sort: None, indexes: &[], numbers: &[], ttl: None };

/// Every table there is.
pub const TABLES: [Table; 9] = [
    API_KEYS,
    USAGE,
    USAGE_STATS,
    LEDGER,
    MODEL_MAPPING,
    MODEL_PRICING,
    BETA_HEADERS,
    RESPONSE_CONTEXT,
    META,
];

impl Table {
    /// Whether a key attribute holds a number.
    pub(super) fn holds_number(&self, name: &str) -> bool {
        self.numbers.contains(&name)
    }

    /// The attributes that keys are made of, each once.
    pub(super) fn key_attributes(&self) -> Vec<Attribute> {
        let own = [Some(self.partition), self.sort];
        let indexed = self.indexes.iter().flat_map(|index| [Some(index.partition), index.sort]);
        let mut names: Vec<_> = own.into_iter().chain(indexed).flatten().collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// How the tables are called in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNames {
    /// `DYNAMODB_TABLE_PREFIX`.
    pub prefix: String,
    /// Full names that replace prefix and name, by the name.
    pub full: Vec<(&'static str, String)>,
}

impl TableNames {
    /// All names with this prefix.
    pub fn with_prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), full: Vec::new() }
    }

    /// The full name of a table.
    pub fn of(&self, table: &Table) -> String {
        let own = self.full.iter().find(|(name, _)| *name == table.name);
        own.map_or_else(|| format!("{}{}", self.prefix, table.name), |(_, full)| full.clone())
    }
}
