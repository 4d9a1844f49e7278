//! The statements about usage.
//!
//! A row is two items: the row itself at its key and time, and at `once#<request_id>` and its round a mark that it was
//! counted. The mark is put on the condition that it is not there, in the transaction that puts the row and adds it to
//! its four totals: so a row counts once, whoever sends it, with whatever key and time. A batch becomes as many
//! transactions as its size needs. When marks are there already, the transaction is written again without their rows.

use std::collections::{BTreeMap, HashSet};

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};

use super::{
    Db, budget, failure,
    item::{self, Item, broken, number, read_number, second, text},
    keys::incomplete,
    tables::{USAGE, USAGE_STATS},
    transact::{self, Outcome},
};
use crate::{
    Bucket, Error, KeyId, Listing, Page, PaidBy, PicoUsd, Recorded, Result, Timestamp, Totals, UsageQuery,
    UsageRow,
    cursor::{self, RowPlace},
};

/// How long the totals of a day are kept after the last row of that day.
pub(super) const DAYS_KEPT_MILLIS: i64 = 400 * 86_400_000;
/// DynamoDB's numbers have 38 digits, one too few for every sum of ours: what is above 24 digits is added up apart.
const HIGH: u128 = 1_000_000_000_000_000_000_000_000;

pub(super) async fn record(db: &Db, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<Recorded> {
    let mut seen = HashSet::new();
    let mut new: Vec<_> = rows.iter().filter(|row| seen.insert((&row.request_id, row.round))).collect();
    let mut recorded = Recorded { written: 0, repeated: rows.len() - new.len() };
    // Rows that share totals side by side, so that a transaction touches few.
    new.sort_by(|a, b| {
        let group = |row: &UsageRow| (row.key_id.clone(), row.ts.date());
        group(a).cmp(&group(b)).then_with(|| a.base_model.cmp(&b.base_model))
    });
    for part in parts(&new, paid)? {
        let sent = part.len();
        let written = write(db, part, paid).await?;
        recorded.written += written;
        recorded.repeated += sent - written;
    }
    Ok(recorded)
}

/// The rows in as few transactions as their limits allow.
fn parts<'a>(rows: &[&'a UsageRow], paid: Option<&PaidBy>) -> Result<Vec<Vec<&'a UsageRow>>> {
    let mut parts = Vec::new();
    let (mut part, mut bytes, mut totals) = (Vec::new(), 0, HashSet::new());
    // A key's lease is one more item beside its totals.
    let leased = |key_id: &KeyId| paid.is_some_and(|paid| paid.keys.contains(key_id));
    for row in rows {
        let weight = serde_json::to_vec(row).map_err(unwritable)?.len();
        let mut added: HashSet<_> = buckets(row).map(|bucket| (&row.key_id, bucket.to_string())).collect();
        if leased(&row.key_id) {
            added.insert((&row.key_id, String::new()));
        }
        let items = 2 * (part.len() + 1) + totals.union(&added).count();
        if !part.is_empty() && (items > transact::ITEMS || bytes + weight > transact::BYTES) {
            parts.push(std::mem::take(&mut part));
            totals.clear();
            bytes = 0;
        }
        part.push(*row);
        totals.extend(added);
        bytes += weight;
    }
    if !part.is_empty() {
        parts.push(part);
    }
    Ok(parts)
}

fn buckets(row: &UsageRow) -> impl Iterator<Item = Bucket> {
    Bucket::of(row).into_iter()
}

/// Writes the rows whose marks are not there, all in one transaction; returns how many these were.
async fn write(db: &Db, mut rows: Vec<&UsageRow>, paid: Option<&PaidBy>) -> Result<usize> {
    while !rows.is_empty() {
        let items = transaction(db, &rows, paid, Timestamp::now())?;
        match transact::write(&db.clients.writes, "writing usage", &items).await? {
            Outcome::Written => break,
            // Only marks have a condition, and the marks come first.
            Outcome::Refused(places) => {
                let repeated: HashSet<_> = places.into_iter().collect();
                let mut place = 0..;
                rows.retain(|_| place.next().is_some_and(|place| !repeated.contains(&place)));
            }
        }
    }
    Ok(rows.len())
}

/// The marks of the rows in their order, then the rows, then what they add up to, then the leases that pay them.
fn transaction(
    db: &Db,
    rows: &[&UsageRow],
    paid: Option<&PaidBy>,
    now: Timestamp,
) -> Result<Vec<TransactWriteItem>> {
    let mut items = Vec::with_capacity(2 * rows.len() + 4);
    // From now on, not from the row's time: a row that waited on disk for long must not be forgotten at once.
    let ttl = db
        .keep_usage
        .map(|keep| second(now.plus_millis(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX))));
    for row in rows {
        items.push(mark(db, row, ttl.clone(), now)?);
    }
    for row in rows {
        let mut item = item::from_json(serde_json::to_value(row.clamped()).map_err(unwritable)?);
        let place = (row.ts, row.request_id.clone(), row.round);
        item.insert("sk".to_owned(), text(sort_key(&place)));
        item.extend(ttl.clone().map(|ttl| ("ttl".to_owned(), ttl)));
        let put = Put::builder().table_name(db.names.of(&USAGE)).set_item(Some(item));
        items.push(transact::put(put.build().map_err(incomplete)?));
    }
    let mut sums: BTreeMap<(&KeyId, String), (Bucket, Totals)> = BTreeMap::new();
    for row in rows {
        for bucket in buckets(row) {
            let place = (&row.key_id, bucket.to_string());
            sums.entry(place).or_insert((bucket, Totals::default())).1.add(row);
        }
    }
    for ((key_id, name), (bucket, sum)) in &sums {
        items.push(transact::update(addition(db, key_id, name, bucket, sum, now)?));
        if let Some(paid) = paid.filter(|paid| *bucket == Bucket::Total && paid.keys.contains(*key_id)) {
            items.push(budget::payment(db, key_id, &paid.replica, sum.cost_pico_usd)?);
        }
    }
    Ok(items)
}

fn mark(
    db: &Db,
    row: &UsageRow,
    ttl: Option<aws_sdk_dynamodb::types::AttributeValue>,
    now: Timestamp,
) -> Result<TransactWriteItem> {
    let put = Put::builder()
        .table_name(db.names.of(&USAGE))
        .item("key_id", text(format!("once#{}", row.request_id)))
        .item("sk", text(format!("{:010}", row.round)));
    let put = match ttl {
        Some(ttl) => put.item("ttl", ttl),
        None => put,
    };
    // An expired mark is no mark, although it may lie there for days.
    put.condition_expression("attribute_not_exists(key_id) OR #ttl <= :now")
        .expression_attribute_names("#ttl", "ttl")
        .expression_attribute_values(":now", second(now))
        .build()
        .map(transact::put)
        .map_err(incomplete)
}

/// Adds a sum to a total.
fn addition(
    db: &Db,
    key_id: &KeyId,
    name: &str,
    bucket: &Bucket,
    sum: &Totals,
    now: Timestamp,
) -> Result<Update> {
    let mut update = Update::builder()
        .table_name(db.names.of(&USAGE_STATS))
        .key("key_id", text(key_id.as_str()))
        .key("bucket", text(name));
    let mut added = Vec::new();
    for (place, (name, more)) in figures(sum).into_iter().enumerate().filter(|(_, (_, more))| *more > 0) {
        added.push(format!("#f{place} :f{place}"));
        update = update
            .expression_attribute_names(format!("#f{place}"), name)
            .expression_attribute_values(format!(":f{place}"), number(more));
    }
    let mut expression = format!("ADD {}", added.join(", "));
    let expires = match bucket {
        Bucket::Total | Bucket::Month(_) => false,
        Bucket::Day(_) | Bucket::DayModel(..) => true,
    };
    if expires {
        expression.push_str(" SET #ttl = :ttl");
        update = update
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":ttl", second(now.plus_millis(DAYS_KEPT_MILLIS)));
    }
    update.update_expression(expression).build().map_err(incomplete)
}

/// Each figure under the name of its attribute; of a sum of at least one row, `requests` is not zero.
pub(super) fn figures(sum: &Totals) -> [(&'static str, u128); 12] {
    [
        ("requests", sum.requests.into()),
        ("errors", sum.errors.into()),
        ("input_tokens", sum.input_tokens.into()),
        ("output_tokens", sum.output_tokens.into()),
        ("cache_read_tokens", sum.cache_read_tokens.into()),
        ("cache_write_5m_tokens", sum.cache_write_5m_tokens.into()),
        ("cache_write_1h_tokens", sum.cache_write_1h_tokens.into()),
        ("reasoning_tokens", sum.reasoning_tokens.into()),
        ("unpriced_requests", sum.unpriced_requests.into()),
        ("estimated_requests", sum.estimated_requests.into()),
        ("cost_pico_usd", sum.cost_pico_usd.0 % HIGH),
        ("cost_pico_usd_e24", sum.cost_pico_usd.0 / HIGH),
    ]
}

pub(super) async fn totals(db: &Db, key_id: &KeyId, bucket: &str) -> Result<Totals> {
    let key = Item::from([("key_id".to_owned(), text(key_id.as_str())), ("bucket".to_owned(), text(bucket))]);
    let found = db.get(&USAGE_STATS, key).await?;
    found.as_ref().map_or(Ok(Totals::default()), read_totals)
}

pub(super) fn read_totals(item: &Item) -> Result<Totals> {
    // Sums are exact beyond what a total shows; it is cut here instead of where it is added.
    let count = |name: &str| -> Result<u64> {
        let sum: u128 = read_number(item, name)?.unwrap_or(0);
        Ok(u64::try_from(sum).unwrap_or(u64::MAX).min(i64::MAX as u64))
    };
    let high: u128 = read_number(item, "cost_pico_usd_e24")?.unwrap_or(0);
    let low: u128 = read_number(item, "cost_pico_usd")?.unwrap_or(0);
    Ok(Totals {
        requests: count("requests")?,
        errors: count("errors")?,
        input_tokens: count("input_tokens")?,
        output_tokens: count("output_tokens")?,
        cache_read_tokens: count("cache_read_tokens")?,
        cache_write_5m_tokens: count("cache_write_5m_tokens")?,
        cache_write_1h_tokens: count("cache_write_1h_tokens")?,
        reasoning_tokens: count("reasoning_tokens")?,
        unpriced_requests: count("unpriced_requests")?,
        estimated_requests: count("estimated_requests")?,
        cost_pico_usd: PicoUsd(high.saturating_mul(HIGH).saturating_add(low)),
    })
}

pub(super) async fn list(db: &Db, query: &UsageQuery, page: &Page) -> Result<Listing<UsageRow>> {
    let after = page.cursor.as_deref().map(cursor::row_place).transpose()?;
    let wanted = page.limit.max(1).saturating_add(1);
    // An instant alone sorts before every row of its millisecond, a row's key with something behind it after the row.
    let since = after.map(|place| sort_key(&place) + "#").unwrap_or_default().max(query.since.to_string());
    let (key_id, until) = (query.key_id.as_str(), query.until.to_string());
    let mut items = Vec::new();
    // The service refuses a range that ends before it begins.
    let mut more = since < until;
    let mut from = None;
    while more && items.len() < wanted {
        let query = db.clients.reads.query().table_name(db.names.of(&USAGE)).consistent_read(true);
        let answer = query
            .key_condition_expression("key_id = :key AND sk BETWEEN :since AND :until")
            .expression_attribute_values(":key", text(key_id))
            .expression_attribute_values(":since", text(&since))
            .expression_attribute_values(":until", text(&until))
            .limit(i32::try_from(wanted - items.len()).unwrap_or(i32::MAX))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failure::of("listing usage", &error))?;
        let now = Timestamp::now();
        for item in answer.items().iter().filter(|item| item::is_alive(item, now)) {
            let row = serde_json::from_value(item::to_json(item));
            items.push(row.map_err(|error| broken("a usage row").caused_by(error))?);
        }
        from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        more = from.is_some();
    }
    Ok(Listing::cut(items, page.limit.max(1), cursor::of_row))
}

/// Text that sorts as places do: by time, request id, round. Signs up to the one that stands between them are escaped by
/// the one after it, which keeps the order; ids of ours hold none of them.
fn sort_key((ts, request_id, round): &RowPlace) -> String {
    let mut key = format!("{ts}#");
    for char in request_id.chars() {
        if char <= '$' {
            key.push('$');
            // Above every sign that separates, in order, and printable.
            key.push(char::from_u32(u32::from(char) + 0x30).unwrap_or(char));
        } else {
            key.push(char);
        }
    }
    key + &format!("#{round:010}")
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::invalid("a usage row without JSON").caused_by(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::contract::sample::{noon, row};

    proptest! {
        #[test]
        fn keys_of_rows_sort_as_the_rows_do(
            places in proptest::collection::vec((0..2_i64, "[\0-&a.é]{0,4}", 0..12_u32), 2..12)
        ) {
            let mut places: Vec<RowPlace> =
                places.into_iter().map(|(at, id, round)| (noon().plus_millis(at), id, round)).collect();
            let mut keys: Vec<_> = places.iter().map(sort_key).collect();
            places.sort();
            keys.sort();
            prop_assert_eq!(keys, places.iter().map(sort_key).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_part_fits_a_transaction_and_no_row_is_left_out() {
        let rows: Vec<_> = (0..500_u32)
            .map(|n| UsageRow { key_id: crate::contract::sample::key_id(n % 7), ..row(&n.to_string()) })
            .collect();
        let mut rows: Vec<_> = rows.iter().collect();
        for sorted in [false, true] {
            if sorted {
                rows.sort_by(|a, b| a.key_id.cmp(&b.key_id));
            }
            let parts = parts(&rows, None).unwrap();
            assert_eq!(parts.concat(), rows);
            for part in &parts {
                let totals: HashSet<_> =
                    part.iter().flat_map(|row| buckets(row).map(|b| (&row.key_id, b.to_string()))).collect();
                assert!(2 * part.len() + totals.len() <= transact::ITEMS);
            }
            assert!(!sorted || parts.len() <= 12, "{}", parts.len());
        }
        let large = UsageRow { session: Some("x".repeat(300_000)), ..row("a") };
        assert!(parts(&[&large; 20], None).unwrap().iter().all(|part| part.len() <= 9));
    }
}
