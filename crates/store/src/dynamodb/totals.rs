//! The statements about totals: reading many, and counting them again.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};

use super::{
    Db, failure,
    item::{self, Item, broken, number, read_text, second, text},
    keys::incomplete,
    tables::USAGE_STATS,
    transact::{self, Outcome},
    usage,
};
use crate::{
    Bucket, Corrected, Error, ErrorKind, KeyId, Listing, Page, PeriodQuery, Result, Timestamp, Totals,
    UsageQuery, cursor, usage::Rebuild,
};

/// How often a key is counted that is being booked meanwhile.
const TRIES: usize = 10;
/// How many rows are held at a time.
const ROWS: usize = 1_000;
const TOTAL: &str = "total";

pub(super) async fn keys(db: &Db, page: &Page) -> Result<Listing<KeyId>> {
    let after = page.cursor.as_deref().map(cursor::id_place).transpose()?;
    // Every id is later than a blank.
    let after = after.map_or_else(|| " ".to_owned(), |key_id| key_id.to_string());
    let wanted = page.limit.max(1).saturating_add(1);
    let (mut found, mut from) = (BTreeSet::new(), None);
    loop {
        let answer = db
            .clients
            .reads
            .query()
            .table_name(db.names.of(&USAGE_STATS))
            .index_name("bucket-index")
            .key_condition_expression("#bucket = :total AND key_id > :after")
            .expression_attribute_names("#bucket", "bucket")
            .expression_attribute_values(":total", text(TOTAL))
            .expression_attribute_values(":after", text(&after))
            .limit(i32::try_from(wanted).unwrap_or(i32::MAX))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failure::of("listing whose usage there is", &error))?;
        for item in answer.items() {
            found.insert(read_text(item, "key_id")?.parse::<KeyId>().map_err(|_| broken("key_id"))?);
        }
        from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() || found.len() >= wanted {
            let items = found.into_iter().take(wanted).collect();
            return Ok(Listing::cut(items, page.limit.max(1), cursor::of_id));
        }
    }
}

pub(super) async fn periods(db: &Db, query: &PeriodQuery) -> Result<Vec<(Bucket, Totals)>> {
    let (first, last) = query.names();
    let found = between(db, &query.key_id, &first, &last).await?;
    found.into_iter().map(|(name, totals)| Ok((name.parse()?, totals))).collect()
}

/// The totals of a key whose names lie between these.
async fn between(db: &Db, key_id: &KeyId, first: &str, last: &str) -> Result<Vec<(String, Totals)>> {
    let (mut found, mut from) = (Vec::new(), None);
    // The service refuses a range that ends before it begins.
    let mut more = first <= last;
    while more {
        let query = db.clients.reads.query().table_name(db.names.of(&USAGE_STATS)).consistent_read(true);
        let answer = query
            .key_condition_expression("key_id = :key AND #bucket BETWEEN :first AND :last")
            .expression_attribute_names("#bucket", "bucket")
            .expression_attribute_values(":key", text(key_id.as_str()))
            .expression_attribute_values(":first", text(first))
            .expression_attribute_values(":last", text(last))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failure::of("listing totals", &error))?;
        let now = Timestamp::now();
        for item in answer.items().iter().filter(|item| item::is_alive(item, now)) {
            found.push((read_text(item, "bucket")?.to_owned(), usage::read_totals(item)?));
        }
        from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        more = from.is_some();
    }
    Ok(found)
}

/// Every booking counts in the total of all time, so as long as that stands still, rows and totals do: it is read first
/// and is a condition of what is written.
pub(super) async fn rebuild(
    db: &Db,
    key_id: &KeyId,
    since: Timestamp,
    only_compare: bool,
) -> Result<Vec<Corrected>> {
    for _ in 0..TRIES {
        let before = all_requests(db, key_id).await?;
        let stood = between(db, key_id, " ", "~").await?;
        let corrected = counted(db, key_id, since).await?.compare(stood.into_iter());
        let done = if only_compare || corrected.is_empty() {
            all_requests(db, key_id).await? == before
        } else {
            write(db, key_id, before.as_ref(), &corrected).await?
        };
        if done {
            return Ok(corrected);
        }
    }
    Err(Error::new(ErrorKind::Unavailable, format!("usage of {key_id} is being booked; try again")))
}

async fn all_requests(db: &Db, key_id: &KeyId) -> Result<Option<AttributeValue>> {
    let found = db.get(&USAGE_STATS, place(key_id, TOTAL)).await?;
    Ok(found.and_then(|mut item| item.remove("requests")))
}

async fn counted(db: &Db, key_id: &KeyId, since: Timestamp) -> Result<Rebuild> {
    let mut rebuild = Rebuild::from_day(since);
    let until = Timestamp::from_unix_millis(i64::MAX);
    let query = UsageQuery { key_id: key_id.clone(), since: rebuild.first(), until };
    let mut page = Page::first(ROWS);
    loop {
        let listing = usage::list(db, &query, &page).await?;
        listing.items.iter().for_each(|row| rebuild.add(row));
        let Some(next) = listing.next else { return Ok(rebuild) };
        page = Page::after(next, ROWS);
    }
}

/// Writes in as many transactions as it takes; false as soon as a booking came in between.
async fn write(
    db: &Db,
    key_id: &KeyId,
    before: Option<&AttributeValue>,
    corrected: &[Corrected],
) -> Result<bool> {
    let (total, others): (Vec<_>, Vec<_>) = corrected.iter().partition(|total| total.bucket == TOTAL);
    let mut parts: Vec<Vec<&Corrected>> =
        others.chunks(transact::ITEMS - 1).map(<[&Corrected]>::to_vec).collect();
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let last = parts.len() - 1;
    for (at, part) in parts.into_iter().enumerate() {
        // The total of all time comes with the last of them: what is a condition must not change before.
        let own = total.first().filter(|_| at == last);
        let mut items = vec![guard(db, key_id, before, own.copied())?];
        for corrected in part {
            items.push(replacement(db, key_id, corrected)?);
        }
        match transact::write(&db.clients.writes, "correcting totals", &items).await? {
            Outcome::Written => {}
            Outcome::Refused(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// The total of all time, replaced or only marked, if it is still what was read.
fn guard(
    db: &Db,
    key_id: &KeyId,
    before: Option<&AttributeValue>,
    own: Option<&Corrected>,
) -> Result<TransactWriteItem> {
    let table = db.names.of(&USAGE_STATS);
    let condition = before.map_or("attribute_not_exists(requests)", |_| "requests = :before");
    if let Some(right) = own.and_then(|own| own.right) {
        let put = Put::builder()
            .table_name(table)
            .set_item(Some(item(key_id, TOTAL, &right)))
            .condition_expression(condition)
            .set_expression_attribute_values(before.map(|n| Item::from([(":before".to_owned(), n.clone())])));
        return put.build().map(transact::put).map_err(incomplete);
    }
    if own.is_some() {
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(place(key_id, TOTAL)))
            .condition_expression(condition)
            .set_expression_attribute_values(before.map(|n| Item::from([(":before".to_owned(), n.clone())])));
        let delete = delete.build().map_err(incomplete)?;
        return Ok(TransactWriteItem::builder().delete(delete).build());
    }
    let mut values = Item::from([(":now".to_owned(), number(Timestamp::now().unix_millis()))]);
    values.extend(before.map(|requests| (":before".to_owned(), requests.clone())));
    Update::builder()
        .table_name(table)
        .set_key(Some(place(key_id, TOTAL)))
        .update_expression("SET rebuilt_at = :now")
        .condition_expression(condition)
        .set_expression_attribute_values(Some(values))
        .build()
        .map(transact::update)
        .map_err(incomplete)
}

fn replacement(db: &Db, key_id: &KeyId, corrected: &Corrected) -> Result<TransactWriteItem> {
    let table = db.names.of(&USAGE_STATS);
    let Some(right) = corrected.right else {
        let delete =
            Delete::builder().table_name(table).set_key(Some(place(key_id, &corrected.bucket))).build();
        return delete.map(|delete| TransactWriteItem::builder().delete(delete).build()).map_err(incomplete);
    };
    let put = Put::builder().table_name(table).set_item(Some(item(key_id, &corrected.bucket, &right)));
    put.build().map(transact::put).map_err(incomplete)
}

fn place(key_id: &KeyId, bucket: &str) -> Item {
    Item::from([("key_id".to_owned(), text(key_id.as_str())), ("bucket".to_owned(), text(bucket))])
}

fn item(key_id: &KeyId, bucket: &str, totals: &Totals) -> Item {
    let mut item = place(key_id, bucket);
    let figures =
        usage::figures(totals).into_iter().filter(|(name, figure)| *figure > 0 || *name == "requests");
    item.extend(figures.map(|(name, figure)| (name.to_owned(), number(figure))));
    if bucket.starts_with("day#") {
        item.insert("ttl".to_owned(), second(Timestamp::now().plus_millis(usage::DAYS_KEPT_MILLIS)));
    }
    item
}
