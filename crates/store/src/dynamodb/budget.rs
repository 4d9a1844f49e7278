//! The statements about leases of budgets.
//!
//! A key's leases lie side by side at its id, each at `lease#<replica>`, with a version at `budget#version`. A lease is
//! granted on the condition that the version is still the one that was read before, so of two who read the same one
//! succeeds. Leases are read before the totals: a row that is booked in between has moved from the ones to the others and
//! is seen in both, which refuses too much for a moment and never grants too much.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};

use super::{
    Db, failure,
    item::{Item, broken, number, read_number, read_text, second, text},
    keys::incomplete,
    tables::LEDGER,
    transact::{self, Outcome},
    usage,
};
use crate::{
    BudgetAsk, BudgetGrant, ByPeriod, Error, ErrorKind, KeyId, PicoUsd, Result, Timestamp,
    budget::{self, KEPT_MILLIS, signed},
};

/// How often a grant is tried that others get in the way of.
const TRIES: u32 = 60;
const VERSION: &str = "budget#version";
const LEASE: &str = "lease#";
const CLAIM: &str = "claim#";

/// What is known of a key's leases.
#[derive(Debug, Default)]
struct Leases {
    version: Option<u64>,
    others: i128,
    /// The replica's own, while it is alive.
    own: Option<i128>,
}

pub(super) async fn lease(db: &Db, ask: &BudgetAsk) -> Result<BudgetGrant> {
    for attempt in 1..=TRIES {
        let leases = read(db, ask).await?;
        let mut spent = ByPeriod::default();
        for (period, _) in ask.limits.set() {
            let totals = usage::totals(db, &ask.key_id, &period.bucket(ask.at).to_string()).await?;
            *spent.get_mut(period) = totals.cost_pico_usd;
        }
        let grant = budget::grant(ask, spent, leases.others, leases.own.unwrap_or(0));
        if grant.granted == PicoUsd::ZERO {
            return Ok(grant);
        }
        let items = [version(db, ask, leases.version)?, addition(db, ask, &leases, grant.granted)?];
        match transact::write(&db.clients.writes, "leasing a budget", &items).await? {
            Outcome::Written => return Ok(grant),
            Outcome::Refused(_) => transact::pause(attempt).await,
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "DynamoDB, leasing a budget: others were always faster"))
}

async fn read(db: &Db, ask: &BudgetAsk) -> Result<Leases> {
    let mut leases = Leases::default();
    let mut from = None;
    loop {
        let answer = db
            .clients
            .reads
            .query()
            .table_name(db.names.of(&LEDGER))
            .consistent_read(true)
            .key_condition_expression("pk = :key")
            .expression_attribute_values(":key", text(ask.key_id.as_str()))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failure::of("reading leases", &error))?;
        for found in answer.items() {
            note(&mut leases, found, ask)?;
        }
        from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            return Ok(leases);
        }
    }
}

fn note(leases: &mut Leases, found: &Item, ask: &BudgetAsk) -> Result<()> {
    let place = read_text(found, "sk")?;
    if place == VERSION {
        leases.version = read_number(found, "version")?;
        return Ok(());
    }
    let Some(replica) = place.strip_prefix(LEASE) else { return Ok(()) };
    // One without an end was made by a row that came after the end.
    let ends: i64 = read_number(found, "expires_at")?.unwrap_or(i64::MIN);
    if ends <= ask.now.unix_millis() {
        return Ok(());
    }
    let amount: i128 = read_number(found, "amount")?.ok_or_else(|| broken("amount"))?;
    if replica == ask.replica {
        leases.own = Some(amount);
    } else {
        leases.others = leases.others.saturating_add(amount.max(0));
    }
    Ok(())
}

fn version(db: &Db, ask: &BudgetAsk, read: Option<u64>) -> Result<TransactWriteItem> {
    let update = Update::builder()
        .table_name(db.names.of(&LEDGER))
        .key("pk", text(ask.key_id.as_str()))
        .key("sk", text(VERSION))
        .update_expression("SET #version = :next")
        .expression_attribute_names("#version", "version")
        .expression_attribute_values(":next", number(read.unwrap_or(0).wrapping_add(1)));
    let update = match read {
        Some(read) => {
            update.condition_expression("#version = :read").expression_attribute_values(":read", number(read))
        }
        None => update.condition_expression("attribute_not_exists(pk)"),
    };
    Ok(transact::update(update.build().map_err(incomplete)?))
}

/// Onto a lease that is alive, or a new one in the place of one that has ended.
fn addition(db: &Db, ask: &BudgetAsk, leases: &Leases, granted: PicoUsd) -> Result<TransactWriteItem> {
    let rest = "expires_at = :ends, #ttl = :ttl";
    let expression = match leases.own {
        Some(_) => format!("ADD amount :granted SET {rest}"),
        None => format!("SET amount = :granted, {rest}"),
    };
    let update = at(db, ask.key_id.as_str(), &ask.replica)
        .update_expression(expression)
        .expression_attribute_names("#ttl", "ttl")
        .expression_attribute_values(":granted", number(signed(granted)))
        .expression_attribute_values(":ends", number(ask.expires_at.unix_millis()))
        .expression_attribute_values(":ttl", second(Timestamp::now().plus_millis(KEPT_MILLIS)));
    Ok(transact::update(update.build().map_err(incomplete)?))
}

/// Takes what rows cost from the lease that pays them, in their transaction. Without a condition, because a lease that has
/// ended must not keep rows from being written; so it may leave an item that counts for nothing.
pub(super) fn payment(db: &Db, key_id: &KeyId, replica: &str, cost: PicoUsd) -> Result<TransactWriteItem> {
    let update = at(db, key_id.as_str(), replica)
        .update_expression("ADD amount :cost SET #ttl = if_not_exists(#ttl, :ttl)")
        .expression_attribute_names("#ttl", "ttl")
        .expression_attribute_values(":cost", number(-signed(cost)))
        .expression_attribute_values(":ttl", second(Timestamp::now().plus_millis(KEPT_MILLIS)));
    Ok(transact::update(update.build().map_err(incomplete)?))
}

fn at(db: &Db, key_id: &str, replica: &str) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
    let update = Update::builder().table_name(db.names.of(&LEDGER));
    update.key("pk", text(key_id)).key("sk", text(format!("{LEASE}{replica}")))
}

pub(super) async fn release(db: &Db, key_id: &KeyId, replica: &str, amount: Option<PicoUsd>) -> Result<()> {
    let (table, place) = (db.names.of(&LEDGER), text(format!("{LEASE}{replica}")));
    let doing = "giving a lease back";
    let Some(amount) = amount else {
        let sent = db.clients.writes.delete_item().table_name(table);
        let sent = sent.key("pk", text(key_id.as_str())).key("sk", place).send().await;
        return sent.map(|_| ()).map_err(|error| failure::of(doing, &error));
    };
    let sent = db
        .clients
        .writes
        .update_item()
        .table_name(table)
        .key("pk", text(key_id.as_str()))
        .key("sk", place)
        .update_expression("ADD amount :back")
        .condition_expression("attribute_exists(expires_at)")
        .expression_attribute_values(":back", number(-signed(amount)))
        .customize()
        // Twice would be too much.
        .config_override(super::client::once())
        .send()
        .await;
    none_is_well(sent.map(|_| ()).map_err(|error| failure::of(doing, &error))).map(|_| ())
}

pub(super) async fn extend(
    db: &Db,
    key_id: &KeyId,
    replica: &str,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<bool> {
    let sent = db
        .clients
        .writes
        .update_item()
        .table_name(db.names.of(&LEDGER))
        .key("pk", text(key_id.as_str()))
        .key("sk", text(format!("{LEASE}{replica}")))
        .update_expression("SET expires_at = :ends, #ttl = :ttl")
        .condition_expression("expires_at > :now")
        .expression_attribute_names("#ttl", "ttl")
        .expression_attribute_values(":ends", number(expires_at.unix_millis()))
        .expression_attribute_values(":now", number(now.unix_millis()))
        .expression_attribute_values(":ttl", second(Timestamp::now().plus_millis(KEPT_MILLIS)))
        .send()
        .await;
    none_is_well(sent.map(|_| ()).map_err(|error| failure::of("extending a lease", &error)))
}

/// Apart from the leases, which every grant reads.
pub(super) async fn claim(
    db: &Db,
    key_id: &KeyId,
    name: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    let sent = db
        .clients
        .writes
        .put_item()
        .table_name(db.names.of(&LEDGER))
        .item("pk", text(format!("{CLAIM}{key_id}")))
        .item("sk", text(name))
        .item("expires_at", number(until.unix_millis()))
        .item("ttl", second(until.plus_millis(1_000)))
        .condition_expression("attribute_not_exists(pk) OR expires_at <= :now")
        .expression_attribute_values(":now", number(now.unix_millis()))
        .customize()
        // A repetition would find its own claim and take it for another's.
        .config_override(super::client::once())
        .send()
        .await;
    none_is_well(sent.map(|_| ()).map_err(|error| failure::of("claiming a name", &error)))
}

/// Whether the condition held.
fn none_is_well(sent: Result<()>) -> Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}
