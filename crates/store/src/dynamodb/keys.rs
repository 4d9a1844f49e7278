//! The statements about keys and names.
//!
//! A key is two items: the record at `hash#<hex>`, where a request looks for it, and at `id#<key_id>` a pointer to it.
//! Both are put in one transaction, which is what makes hash and id unique.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, Get, Put, ReturnValue};

use super::{
    Db, client, failure,
    item::{self, Item, broken, number, read_number, read_text, text},
    rotation,
    tables::{API_KEYS, META},
    transact::{self, Outcome},
};
use crate::{
    Error, ErrorKind, KeyFilter, KeyHash, KeyId, KeyRecord, Listing, Page, Result, Timestamp,
    cursor::{self, KeyPlace},
};

const HASH: &str = "hash#";

/// How many records one transaction of a listing reads: large ones must fit its 4 MB too.
const READ_AT_ONCE: usize = 25;

pub(super) async fn put_new(db: &Db, hash: &KeyHash, record: &KeyRecord) -> Result<()> {
    let pk = hash_pk(hash);
    let mut item = Item::from([
        ("pk".to_owned(), text(&pk)),
        ("key_id".to_owned(), text(record.key_id.as_str())),
        ("user_id".to_owned(), text(&record.user_id)),
        ("created_at".to_owned(), text(place(&(record.created_at, record.key_id.clone())))),
        ("version".to_owned(), number(record.version)),
        ("record".to_owned(), text(json(record)?)),
    ]);
    if let Some(at) = record.last_used_at {
        item.insert("last_used_at".to_owned(), number(at.unix_millis()));
    }
    let pointer =
        Item::from([("pk".to_owned(), text(id_pk(&record.key_id))), ("hash".to_owned(), text(&pk))]);
    let table = db.names.of(&API_KEYS);
    let items = [item, pointer]
        .into_iter()
        .map(|item| {
            let put = Put::builder().table_name(&table).set_item(Some(item));
            let put = put.condition_expression("attribute_not_exists(pk)").build();
            put.map(transact::put).map_err(incomplete)
        })
        .collect::<Result<Vec<_>>>()?;
    match transact::write(&db.clients.writes, "putting a key", &items).await? {
        Outcome::Written => Ok(()),
        Outcome::Refused(_) => Err(Error::new(ErrorKind::Conflict, "a key with this id or hash exists")),
    }
}

pub(super) async fn by_hash(db: &Db, hash: &KeyHash) -> Result<Option<KeyRecord>> {
    let found = db.get(&API_KEYS, Item::from([("pk".to_owned(), text(hash_pk(hash)))])).await?;
    match found {
        Some(item) => rotation::behind(db, item).await,
        None => Ok(None),
    }
}

pub(super) async fn by_id(db: &Db, key_id: &KeyId) -> Result<Option<KeyRecord>> {
    located(db, key_id).await?.map(|(_, item)| record(&item)).transpose()
}

pub(super) async fn hash_of(db: &Db, key_id: &KeyId) -> Result<Option<KeyHash>> {
    let Some((home, found)) = located(db, key_id).await? else { return Ok(None) };
    hash_at(rotation::present(&found).unwrap_or(&home)).map(Some)
}

/// Where the record is, and its item.
pub(super) async fn located(db: &Db, key_id: &KeyId) -> Result<Option<(String, Item)>> {
    let Some(pk) = pointed_at(db, key_id).await? else { return Ok(None) };
    let found = db.get(&API_KEYS, Item::from([("pk".to_owned(), text(&pk))])).await?;
    Ok(found.map(|item| (pk, item)))
}

async fn pointed_at(db: &Db, key_id: &KeyId) -> Result<Option<String>> {
    let pointer = db.get(&API_KEYS, Item::from([("pk".to_owned(), text(id_pk(key_id)))])).await?;
    pointer.map(|item| Ok(read_text(&item, "hash")?.to_owned())).transpose()
}

pub(super) async fn list(db: &Db, filter: &KeyFilter, page: &Page) -> Result<Listing<KeyRecord>> {
    let after = page.cursor.as_deref().map(cursor::key_place).transpose()?;
    let wanted = page.limit.max(1).saturating_add(1);
    let whole_id = filter.id_prefix.as_deref().and_then(|prefix| prefix.parse::<KeyId>().ok());
    let items = match (whole_id, &filter.user_id) {
        // Nobody's name is empty, and the index cannot be asked for such a one.
        (_, Some(user_id)) if user_id.is_empty() => Vec::new(),
        (Some(key_id), _) => by_id(db, &key_id)
            .await?
            .filter(|record| after.as_ref().is_none_or(|after| place_of(record) > *after))
            .filter(|record| filter.admits(record))
            .into_iter()
            .collect(),
        (None, Some(user_id)) => of_user(db, user_id, filter, after.as_ref(), wanted).await?,
        (None, None) => of_all(db, filter, after.as_ref(), wanted).await?,
    };
    Ok(Listing::cut(items, page.limit.max(1), cursor::of_key))
}

/// By the index, which holds a user's keys in order.
async fn of_user(
    db: &Db,
    user_id: &str,
    filter: &KeyFilter,
    after: Option<&KeyPlace>,
    wanted: usize,
) -> Result<Vec<KeyRecord>> {
    let doing = "listing the keys of a user";
    // Every place is later than a blank.
    let after = after.map_or_else(|| " ".to_owned(), place);
    let (mut items, mut from) = (Vec::new(), None);
    loop {
        let answer = db
            .clients
            .reads
            .query()
            .table_name(db.names.of(&API_KEYS))
            .index_name("user_id-index")
            .key_condition_expression("user_id = :user AND created_at > :after")
            .expression_attribute_values(":user", text(user_id))
            .expression_attribute_values(":after", text(&after))
            .limit(i32::try_from(wanted).unwrap_or(i32::MAX))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failure::of(doing, &error))?;
        let keys = answer.items.unwrap_or_default();
        for some in keys.chunks(READ_AT_ONCE) {
            let gets = some.iter().map(|key| get(db, key)).collect::<Result<Vec<_>>>()?;
            let found = transact::read(&db.clients.reads, doing, gets).await?;
            let now = Timestamp::now();
            for item in found.iter().flatten().filter(|item| item::is_alive(item, now)) {
                let record = record(item)?;
                if filter.admits(&record) {
                    items.push(record);
                }
            }
            if items.len() >= wanted {
                return Ok(items);
            }
        }
        from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            return Ok(items);
        }
    }
}

/// By reading every key: nothing that requests wait for does this. Of what passes, only a page's worth is held.
async fn of_all(
    db: &Db,
    filter: &KeyFilter,
    after: Option<&KeyPlace>,
    wanted: usize,
) -> Result<Vec<KeyRecord>> {
    let mut first: BTreeMap<KeyPlace, KeyRecord> = BTreeMap::new();
    let mut from: Option<HashMap<String, AttributeValue>> = None;
    loop {
        let answer = db
            .clients
            .reads
            .scan()
            .table_name(db.names.of(&API_KEYS))
            .consistent_read(true)
            // A later hash of a key is no record of its own.
            .filter_expression("begins_with(pk, :hash) AND attribute_exists(#record)")
            .expression_attribute_names("#record", "record")
            .expression_attribute_values(":hash", text(HASH))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failure::of("listing the keys", &error))?;
        let now = Timestamp::now();
        for item in answer.items().iter().filter(|item| item::is_alive(item, now)) {
            let record = record(item)?;
            let place = place_of(&record);
            if filter.admits(&record) && after.is_none_or(|after| place > *after) {
                first.insert(place, record);
                if first.len() > wanted {
                    first.pop_last();
                }
            }
        }
        from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            return Ok(first.into_values().collect());
        }
    }
}

pub(super) async fn update(db: &Db, wanted: &KeyRecord) -> Result<KeyRecord> {
    let Some((pk, found)) = located(db, &wanted.key_id).await? else {
        return Err(Error::new(ErrorKind::NotFound, format!("no key {}", wanted.key_id)));
    };
    let changed = || {
        let message = format!("key {} was changed meanwhile", wanted.key_id);
        Error::new(ErrorKind::Conflict, message)
    };
    let stored = record(&found)?;
    if stored.version != wanted.version {
        return Err(changed());
    }
    let new = stored.updated_with(wanted);
    let updated = db
        .clients
        .writes
        .update_item()
        .table_name(db.names.of(&API_KEYS))
        .key("pk", text(pk))
        .update_expression("SET #record = :record, #version = :new")
        .condition_expression("#version = :old")
        .expression_attribute_names("#record", "record")
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":record", text(json(&new)?))
        .expression_attribute_values(":new", number(new.version))
        .expression_attribute_values(":old", number(stored.version))
        .return_values(ReturnValue::AllNew)
        .customize()
        .config_override(client::once())
        .send()
        .await;
    let item = match updated {
        Ok(answer) => answer.attributes.ok_or_else(|| broken("no attributes"))?,
        Err(error) => {
            let error = failure::of("updating a key", &error);
            return Err(if error.kind() == ErrorKind::Conflict { changed() } else { error });
        }
    };
    record(&item)
}

pub(super) async fn touch(db: &Db, key_id: &KeyId, at: Timestamp) -> Result<()> {
    let Some(pk) = pointed_at(db, key_id).await? else { return Ok(()) };
    let touched = db
        .clients
        .writes
        .update_item()
        .table_name(db.names.of(&API_KEYS))
        .key("pk", text(pk))
        .update_expression("SET last_used_at = :at")
        .condition_expression(
            "attribute_exists(pk) AND (attribute_not_exists(last_used_at) OR last_used_at < :at)",
        )
        .expression_attribute_values(":at", number(at.unix_millis()))
        .send()
        .await;
    match touched.map_err(|error| failure::of("noting the last use of a key", &error)) {
        // A later use was noted, or the key is gone.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        done => done.map(|_| ()),
    }
}

pub(super) async fn meta(db: &Db, name: &str) -> Result<Option<String>> {
    let found = db.get(&META, Item::from([("name".to_owned(), text(name))])).await?;
    found.map(|item| Ok(read_text(&item, "value")?.to_owned())).transpose()
}

pub(super) async fn put_meta_if_absent(db: &Db, name: &str, value: &str) -> Result<String> {
    let put = db
        .clients
        .writes
        .put_item()
        .table_name(db.names.of(&META))
        .item("name", text(name))
        .item("value", text(value))
        .condition_expression("attribute_not_exists(#name)")
        .expression_attribute_names("#name", "name")
        .send()
        .await;
    match put.map_err(|error| failure::of("putting a name", &error)) {
        Ok(_) => Ok(value.to_owned()),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            meta(db, name).await?.ok_or_else(|| broken("a name that was just there is not"))
        }
        Err(error) => Err(error),
    }
}

fn get(db: &Db, key: &Item) -> Result<Get> {
    let pk = text(read_text(key, "pk")?);
    Get::builder().table_name(db.names.of(&API_KEYS)).key("pk", pk).build().map_err(incomplete)
}

/// The JSON and the two attributes that change by themselves.
pub(super) fn record(item: &Item) -> Result<KeyRecord> {
    let mut record: KeyRecord = serde_json::from_str(read_text(item, "record")?)
        .map_err(|error| broken("a key record").caused_by(error))?;
    record.version = read_number(item, "version")?.ok_or_else(|| broken("version"))?;
    record.last_used_at = read_number(item, "last_used_at")?.map(Timestamp::from_unix_millis);
    Ok(record)
}

pub(super) fn json(record: &KeyRecord) -> Result<String> {
    serde_json::to_string(record).map_err(|error| Error::invalid("a record without JSON").caused_by(error))
}

pub(super) fn hash_pk(hash: &KeyHash) -> String {
    use std::fmt::Write as _;
    hash.as_bytes().iter().fold(HASH.to_owned(), |mut pk, byte| {
        let _ = write!(pk, "{byte:02x}");
        pk
    })
}

/// The other way round.
fn hash_at(pk: &str) -> Result<KeyHash> {
    let digits = pk.strip_prefix(HASH).unwrap_or_default();
    let mut bytes = [0_u8; 32];
    if digits.len() != 2 * bytes.len() {
        return Err(broken("the hash of a key"));
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        let pair = digits.get(2 * n..2 * n + 2).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).map_err(|_| broken("the hash of a key"))?;
    }
    Ok(KeyHash::from_bytes(bytes))
}

pub(super) fn id_pk(key_id: &KeyId) -> String {
    format!("id#{key_id}")
}

/// Text that sorts as places do: the instant has a fixed length.
fn place((at, key_id): &KeyPlace) -> String {
    format!("{at}#{key_id}")
}

fn place_of(record: &KeyRecord) -> KeyPlace {
    (record.created_at, record.key_id.clone())
}

pub(super) fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> Error {
    Error::new(ErrorKind::Broken, "a request without a required part").caused_by(error)
}
