//! A key that gets another hash, and a key that goes.
//!
//! A record stays where it was put, at its first hash. A later hash is an item of its own, which names the record's
//! place and its owner; the record names the present hash. What was rotated away carries `valid_until` and, if it is not the
//! record itself, a TTL. So a key that was never rotated is read at once, any other in two steps.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};

use super::{
    Db,
    item::{Item, broken, number, read_number, read_text, second, text},
    keys::{hash_pk, id_pk, incomplete, json, located, record},
    rate,
    tables::{API_KEYS, LEDGER},
    transact::{self, Outcome},
};
use crate::{Error, ErrorKind, KeyHash, KeyId, KeyRecord, Rate, Result, Timestamp};

const HOME: &str = "home";
const PRESENT: &str = "present";
/// Of the record: its older hashes that are items of their own, and when each ends.
const OLDER: &str = "older";
const VALID_UNTIL: &str = "valid_until";
/// How often a key is read again that others change at the same time.
const TRIES: usize = 5;

/// The record that an item at a hash stands for.
pub(super) async fn behind(db: &Db, item: Item) -> Result<Option<KeyRecord>> {
    let until: Option<i64> = read_number(&item, VALID_UNTIL)?;
    let valid_until = until.map(Timestamp::from_unix_millis);
    if valid_until.is_some_and(|until| until <= Timestamp::now()) {
        return Ok(None);
    }
    let home = if item.contains_key(HOME) {
        let place = Item::from([("pk".to_owned(), text(read_text(&item, HOME)?))]);
        let Some(home) = db.get(&API_KEYS, place).await? else { return Ok(None) };
        // After a deletion somebody else's key may have moved in.
        if read_text(&home, "key_id")? != read_text(&item, "key_id")? {
            return Ok(None);
        }
        home
    } else {
        item
    };
    Ok(Some(KeyRecord { valid_until, ..record(&home)? }))
}

pub(super) async fn rotate(db: &Db, wanted: &KeyRecord, new: &KeyHash) -> Result<KeyRecord> {
    let until = wanted.old_valid_until()?;
    let conflict = || {
        let message = format!("key {} was changed meanwhile, or the hash exists", wanted.key_id);
        Error::new(ErrorKind::Conflict, message)
    };
    let Some((home, found)) = located(db, &wanted.key_id).await? else { return Err(missing(&wanted.key_id)) };
    let stored = record(&found)?;
    let (rotated, pk) = (stored.rotated_with(wanted), hash_pk(new));
    // A transaction may not name an item twice.
    let is_own = pk == home || read_text(&found, PRESENT).is_ok_and(|present| present == pk);
    if stored.version != wanted.version || is_own {
        return Err(conflict());
    }
    let table = db.names.of(&API_KEYS);
    let mut items = vec![alias(&table, &pk, &home, &wanted.key_id)?];
    let mut older = older(&found);
    older.retain(|_, ends| {
        let ends = ends.as_n().ok().and_then(|ends| ends.parse::<i64>().ok());
        ends.is_some_and(|ends| ends > wanted.updated_at.unix_millis())
    });
    if let (Some(until), Ok(old)) = (until, read_text(&found, PRESENT)) {
        older.insert(old.to_owned(), number(until.unix_millis()));
    }
    let mut set = "SET #record = :record, #version = :new, #present = :present, #older = :older".to_owned();
    let mut update = Update::builder()
        .table_name(&table)
        .key("pk", text(&home))
        .condition_expression("#version = :old")
        .expression_attribute_names("#record", "record")
        .expression_attribute_names("#version", "version")
        .expression_attribute_names("#present", PRESENT)
        .expression_attribute_names("#older", OLDER)
        .expression_attribute_values(":older", AttributeValue::M(older))
        .expression_attribute_values(":record", text(json(&rotated)?))
        .expression_attribute_values(":present", text(&pk))
        .expression_attribute_values(":new", number(rotated.version))
        .expression_attribute_values(":old", number(stored.version));
    if found.contains_key(PRESENT) {
        items.push(ended(&table, read_text(&found, PRESENT)?, until)?);
    } else {
        // The record itself stays; only its hash ends.
        set.push_str(", #until = :until");
        update = update
            .expression_attribute_names("#until", VALID_UNTIL)
            .expression_attribute_values(":until", number(until.map_or(0, Timestamp::unix_millis)));
    }
    items.push(transact::update(update.update_expression(set).build().map_err(incomplete)?));
    match transact::write(&db.clients.writes, "rotating a key", &items).await? {
        Outcome::Written => Ok(KeyRecord { last_used_at: stored.last_used_at, ..rotated }),
        Outcome::Refused(_) => Err(conflict()),
    }
}

/// A hash that is not where the record is.
fn alias(table: &str, pk: &str, home: &str, key_id: &KeyId) -> Result<TransactWriteItem> {
    Put::builder()
        .table_name(table)
        .item("pk", text(pk))
        .item(HOME, text(home))
        .item("key_id", text(key_id.as_str()))
        .condition_expression("attribute_not_exists(pk)")
        .build()
        .map(transact::put)
        .map_err(incomplete)
}

/// Where the newest hash of a record is, if that was rotated.
pub(super) fn present(item: &Item) -> Option<&str> {
    read_text(item, PRESENT).ok()
}

fn older(item: &Item) -> Item {
    item.get(OLDER).and_then(|older| older.as_m().ok()).cloned().unwrap_or_default()
}

/// The end of a hash that is an item of its own: at once, or at an instant.
fn ended(table: &str, pk: &str, until: Option<Timestamp>) -> Result<TransactWriteItem> {
    let Some(until) = until else { return remove(table, pk, None) };
    Update::builder()
        .table_name(table)
        .key("pk", text(pk))
        .update_expression("SET #until = :until, #ttl = :ttl")
        .condition_expression("attribute_exists(pk)")
        .expression_attribute_names("#until", VALID_UNTIL)
        .expression_attribute_names("#ttl", "ttl")
        .expression_attribute_values(":until", number(until.unix_millis()))
        // A TTL counts in seconds, and may not come before the instant.
        .expression_attribute_values(":ttl", second(until.plus_millis(999)))
        .build()
        .map(transact::update)
        .map_err(incomplete)
}

pub(super) async fn delete(db: &Db, key_id: &KeyId) -> Result<()> {
    let table = db.names.of(&API_KEYS);
    for _ in 0..TRIES {
        let Some((home, found)) = located(db, key_id).await? else { return Err(missing(key_id)) };
        let version: u64 = read_number(&found, "version")?.ok_or_else(|| broken("version"))?;
        let mut items = vec![remove(&table, &home, Some(version))?, remove(&table, &id_pk(key_id), None)?];
        for hash in older(&found).keys().map(String::as_str).chain(read_text(&found, PRESENT)) {
            items.push(remove(&table, hash, None)?);
        }
        for rate in Rate::ALL {
            let bucket = Delete::builder().table_name(db.names.of(&LEDGER));
            let bucket =
                bucket.set_key(Some(rate::place(key_id, rate).into())).build().map_err(incomplete)?;
            items.push(transact::delete(bucket));
        }
        match transact::write(&db.clients.writes, "deleting a key", &items).await? {
            Outcome::Written => return Ok(()),
            // Somebody changed it, or deleted it too.
            Outcome::Refused(_) => {}
        }
    }
    Err(Error::new(ErrorKind::Unavailable, format!("key {key_id} is being changed by others")))
}

fn remove(table: &str, pk: &str, version: Option<u64>) -> Result<TransactWriteItem> {
    let delete = Delete::builder().table_name(table).key("pk", text(pk));
    let delete = match version {
        None => delete,
        Some(version) => delete
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(version)),
    };
    let delete = delete.build().map_err(incomplete)?;
    Ok(transact::delete(delete))
}

fn missing(key_id: &KeyId) -> Error {
    Error::new(ErrorKind::NotFound, format!("no key {key_id}"))
}
