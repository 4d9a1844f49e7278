//! Making the tables, and comparing them with what they should be.

use std::time::Duration;

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata,
    operation::create_table::builders::CreateTableFluentBuilder,
    types::{
        AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
        GlobalSecondaryIndexUpdate, IndexStatus, KeySchemaElement, KeyType, Projection, ProjectionType,
        ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
    },
};

use super::{
    Db, LAYOUT, VERSION, failure,
    keys::{self, incomplete},
    tables::{Index, TABLES, Table},
};
use crate::{Error, ErrorKind, Result};

/// How often a table is looked at that is being made, and for how long: an index over many items takes minutes.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const LOOKS: usize = 600;

/// A table and how it was found or left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// Its full name.
    pub name: String,
    /// How it is.
    pub state: State,
}

/// How a table was found or left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    InOrder,
    /// It was not there and was made.
    Made,
    /// This was added to it.
    Changed(Vec<String>),
    /// It is not there.
    Missing,
    /// In this it is not as it should be.
    Differs(Vec<String>),
}

impl State {
    /// Whether the table can be used now.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::InOrder | Self::Made | Self::Changed(_) => true,
            Self::Missing | Self::Differs(_) => false,
        }
    }
}

pub(super) async fn run(db: &Db, only_compare: bool) -> Result<Vec<TableState>> {
    let mut states = Vec::new();
    for table in &TABLES {
        let name = db.names.of(table);
        let state =
            if only_compare { compare(db, table, &name).await? } else { make(db, table, &name).await? };
        states.push(TableState { name, state });
    }
    if !only_compare && states.iter().all(|table| table.state.is_usable()) {
        keys::put_meta_if_absent(db, VERSION, &LAYOUT.to_string()).await?;
    }
    Ok(states)
}

async fn compare(db: &Db, table: &Table, name: &str) -> Result<State> {
    let Some(found) = describe(db, name).await? else { return Ok(State::Missing) };
    let mut differences = unchangeable(table, &found);
    differences.extend(missing_indexes(table, &found).map(|index| format!("no index {}", index.name)));
    if let Some(difference) = ttl_difference(db, table, name).await? {
        differences.push(difference.text());
    }
    Ok(if differences.is_empty() { State::InOrder } else { State::Differs(differences) })
}

async fn make(db: &Db, table: &Table, name: &str) -> Result<State> {
    let was_there = describe(db, name).await?.is_some();
    if !was_there {
        create(db, table, name).await?;
    }
    let found = settled(db, name).await?;
    let mut differences = unchangeable(table, &found);
    let mut changes = Vec::new();
    // One index at a time: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateTable.html
    for index in missing_indexes(table, &found) {
        add_index(db, table, index, name).await?;
        settled(db, name).await?;
        changes.push(format!("index {}", index.name));
    }
    match ttl_difference(db, table, name).await? {
        None => {}
        Some(Ttl::Off(attribute)) => {
            switch_ttl_on(db, attribute, name).await?;
            changes.push(format!("TTL by {attribute}"));
        }
        Some(other @ Ttl::Other(_)) => differences.push(other.text()),
    }
    Ok(match (was_there, differences.is_empty(), changes.is_empty()) {
        (_, false, _) => State::Differs(differences),
        (false, true, _) => State::Made,
        (true, true, true) => State::InOrder,
        (true, true, false) => State::Changed(changes),
    })
}

async fn describe(db: &Db, name: &str) -> Result<Option<TableDescription>> {
    match db.clients.writes.describe_table().table_name(name).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error) if error.code() == Some(failure::MISSING) => Ok(None),
        Err(error) => Err(failure::of(&format!("describing {name}"), &error)),
    }
}

/// The table when nothing about it is being made any more.
async fn settled(db: &Db, name: &str) -> Result<TableDescription> {
    for _ in 0..LOOKS {
        if let Some(found) = describe(db, name).await?
            && found.table_status() == Some(&TableStatus::Active)
            && found
                .global_secondary_indexes()
                .iter()
                .all(|index| index.index_status() == Some(&IndexStatus::Active))
        {
            return Ok(found);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(Error::new(ErrorKind::Unavailable, format!("{name} is still being made; run setup again later")))
}

async fn create(db: &Db, table: &Table, name: &str) -> Result<()> {
    let creation = described(db.clients.writes.create_table(), table)?;
    match creation.table_name(name).billing_mode(BillingMode::PayPerRequest).send().await {
        // Somebody else makes it at this moment.
        Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
        Err(error) => Err(failure::of(&format!("making {name}"), &error)),
        Ok(_) => Ok(()),
    }
}

fn described(mut creation: CreateTableFluentBuilder, table: &Table) -> Result<CreateTableFluentBuilder> {
    creation = creation
        .set_attribute_definitions(Some(attributes(table, &table.key_attributes())?))
        .set_key_schema(Some(schema(table.partition, table.sort)?));
    for index in table.indexes {
        let index = GlobalSecondaryIndex::builder()
            .index_name(index.name)
            .set_key_schema(Some(schema(index.partition, index.sort)?))
            .projection(keys_only())
            .build()
            .map_err(incomplete)?;
        creation = creation.global_secondary_indexes(index);
    }
    Ok(creation)
}

async fn add_index(db: &Db, table: &Table, index: &Index, name: &str) -> Result<()> {
    let action = CreateGlobalSecondaryIndexAction::builder()
        .index_name(index.name)
        .set_key_schema(Some(schema(index.partition, index.sort)?))
        .projection(keys_only())
        .build()
        .map_err(incomplete)?;
    let own = [Some(table.partition), table.sort, Some(index.partition), index.sort];
    let mut names: Vec<_> = own.into_iter().flatten().collect();
    names.sort_unstable();
    names.dedup();
    db.clients
        .writes
        .update_table()
        .table_name(name)
        .set_attribute_definitions(Some(attributes(table, &names)?))
        .global_secondary_index_updates(GlobalSecondaryIndexUpdate::builder().create(action).build())
        .send()
        .await
        .map(|_| ())
        .map_err(|error| failure::of(&format!("adding {} to {name}", index.name), &error))
}

async fn switch_ttl_on(db: &Db, attribute: &str, name: &str) -> Result<()> {
    let specification = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute);
    let sent = db
        .clients
        .writes
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(specification.build().map_err(incomplete)?)
        .send()
        .await;
    sent.map(|_| ()).map_err(|error| failure::of(&format!("switching on the TTL of {name}"), &error))
}

/// What only a new table could mend.
fn unchangeable(table: &Table, found: &TableDescription) -> Vec<String> {
    let mut differences = Vec::new();
    if !is_keyed(found.key_schema(), table.partition, table.sort) {
        differences.push(format!("its key is not {}", key_text(table.partition, table.sort)));
    }
    for name in table.key_attributes() {
        let other = |kind: &AttributeDefinition| {
            kind.attribute_name() == name && *kind.attribute_type() != kind_of(table, name)
        };
        if found.attribute_definitions().iter().any(other) {
            let what = if table.holds_number(name) { "a number" } else { "text" };
            differences.push(format!("{name} is not {what}"));
        }
    }
    for index in table.indexes {
        let named = found.global_secondary_indexes().iter().find(|own| own.index_name() == Some(index.name));
        if named.is_some_and(|own| !is_keyed(own.key_schema(), index.partition, index.sort)) {
            let key = key_text(index.partition, index.sort);
            differences.push(format!("the key of {} is not {key}", index.name));
        }
    }
    differences
}

fn missing_indexes<'a>(
    table: &Table,
    found: &'a TableDescription,
) -> impl Iterator<Item = &'static Index> + 'a {
    let is_there = |index: &Index| {
        found.global_secondary_indexes().iter().any(|own| own.index_name() == Some(index.name))
    };
    table.indexes.iter().filter(move |index| !is_there(index))
}

/// What is wrong with a table's TTL.
enum Ttl {
    Off(&'static str),
    /// By another attribute.
    Other(String),
}

impl Ttl {
    fn text(&self) -> String {
        match self {
            Self::Off(attribute) => format!("no TTL by {attribute}"),
            Self::Other(attribute) => format!("its TTL goes by {attribute}"),
        }
    }
}

async fn ttl_difference(db: &Db, table: &Table, name: &str) -> Result<Option<Ttl>> {
    let Some(wanted) = table.ttl else { return Ok(None) };
    let answer = db.clients.writes.describe_time_to_live().table_name(name).send().await;
    let answer = answer.map_err(|error| failure::of(&format!("describing the TTL of {name}"), &error))?;
    let on = answer.time_to_live_description().filter(|found| {
        matches!(found.time_to_live_status(), Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
    });
    let by = on.map(|found| found.attribute_name().unwrap_or_default());
    Ok(match by {
        None => Some(Ttl::Off(wanted)),
        Some(by) if by == wanted => None,
        Some(by) => Some(Ttl::Other(by.to_owned())),
    })
}

fn kind_of(table: &Table, name: &str) -> ScalarAttributeType {
    if table.holds_number(name) { ScalarAttributeType::N } else { ScalarAttributeType::S }
}

fn attributes(table: &Table, names: &[&str]) -> Result<Vec<AttributeDefinition>> {
    let definition = |name: &&str| {
        let kind = AttributeDefinition::builder().attribute_type(kind_of(table, name));
        kind.attribute_name(*name).build().map_err(incomplete)
    };
    names.iter().map(definition).collect()
}

fn schema(partition: &str, sort: Option<&str>) -> Result<Vec<KeySchemaElement>> {
    [(Some(partition), KeyType::Hash), (sort, KeyType::Range)]
        .into_iter()
        .filter_map(|(name, kind)| {
            Some(KeySchemaElement::builder().attribute_name(name?).key_type(kind).build().map_err(incomplete))
        })
        .collect()
}

fn is_keyed(found: &[KeySchemaElement], partition: &str, sort: Option<&str>) -> bool {
    let named = |kind: &KeyType| {
        found.iter().find(|key| key.key_type() == kind).map(KeySchemaElement::attribute_name)
    };
    named(&KeyType::Hash) == Some(partition) && named(&KeyType::Range) == sort
}

fn key_text(partition: &str, sort: Option<&str>) -> String {
    sort.map_or_else(|| partition.to_owned(), |sort| format!("{partition} and {sort}"))
}

fn keys_only() -> Projection {
    Projection::builder().projection_type(ProjectionType::KeysOnly).build()
}
