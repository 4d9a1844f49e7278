//! The statements about leases of budgets. They run in the writer's transaction, which no other writer enters.

use rusqlite::{Connection, OptionalExtension, params};

use super::usage;
use crate::{
    BudgetAsk, BudgetGrant, ByPeriod, Error, ErrorKind, KeyId, PicoUsd, Result, Timestamp,
    budget::{self, signed},
};

pub(super) fn lease(db: &Connection, ask: &BudgetAsk) -> Result<BudgetGrant> {
    let key = ask.key_id.as_str();
    let now = ask.now.unix_millis();
    db.prepare_cached("DELETE FROM budget_leases WHERE key_id = ?1 AND expires_at <= ?2")?
        .execute(params![key, now.saturating_sub(budget::KEPT_MILLIS)])?;
    let (mut others, mut own) = (0_i128, 0_i128);
    let mut statement =
        db.prepare_cached("SELECT replica, amount FROM budget_leases WHERE key_id = ?1 AND expires_at > ?2")?;
    let found = statement
        .query_map(params![key, now], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    for lease in found {
        let (replica, amount) = lease?;
        let amount = signed_text(&amount)?;
        if replica == ask.replica {
            own = amount;
        } else {
            others = others.saturating_add(amount.max(0));
        }
    }
    let mut spent = ByPeriod::default();
    for (period, _) in ask.limits.set() {
        let totals = usage::totals(db, &ask.key_id, &period.bucket(ask.at).to_string())?;
        *spent.get_mut(period) = totals.cost_pico_usd;
    }
    let grant = budget::grant(ask, spent, others, own);
    if grant.granted > PicoUsd::ZERO {
        let has = own.saturating_add(signed(grant.granted));
        db.prepare_cached(
            "INSERT OR REPLACE INTO budget_leases (key_id, replica, amount, expires_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![key, ask.replica, has.to_string(), ask.expires_at.unix_millis()])?;
    }
    Ok(grant)
}

/// Takes an amount from a lease, where there is one.
pub(super) fn lower(db: &Connection, key_id: &str, replica: &str, amount: PicoUsd) -> Result<()> {
    let has = db
        .prepare_cached("SELECT amount FROM budget_leases WHERE key_id = ?1 AND replica = ?2")?
        .query_row([key_id, replica], |row| row.get::<_, String>(0))
        .optional()?;
    let Some(has) = has else { return Ok(()) };
    let left = signed_text(&has)?.saturating_sub(signed(amount));
    db.prepare_cached("UPDATE budget_leases SET amount = ?3 WHERE key_id = ?1 AND replica = ?2")?
        .execute([key_id, replica, &left.to_string()])?;
    Ok(())
}

pub(super) fn end(db: &Connection, key_id: &KeyId, replica: &str) -> Result<()> {
    db.prepare_cached("DELETE FROM budget_leases WHERE key_id = ?1 AND replica = ?2")?
        .execute([key_id.as_str(), replica])?;
    Ok(())
}

pub(super) fn extend(
    db: &Connection,
    replica: &str,
    keys: &[KeyId],
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Vec<KeyId>> {
    let mut statement = db.prepare_cached(
        "UPDATE budget_leases SET expires_at = ?3 WHERE key_id = ?1 AND replica = ?2 AND expires_at > ?4",
    )?;
    let mut extended = Vec::new();
    for key_id in keys {
        let place = params![key_id.as_str(), replica, expires_at.unix_millis(), now.unix_millis()];
        if statement.execute(place)? > 0 {
            extended.push(key_id.clone());
        }
    }
    Ok(extended)
}

/// Those that have ended leave with the next claim of anybody.
pub(super) fn claim(
    db: &Connection,
    key_id: &KeyId,
    name: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool> {
    db.prepare_cached("DELETE FROM claims WHERE until <= ?1")?.execute([now.unix_millis()])?;
    let claimed = db
        .prepare_cached(
            "INSERT INTO claims (key_id, name, until) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute(params![key_id.as_str(), name, until.unix_millis()])?;
    Ok(claimed > 0)
}

fn signed_text(text: &str) -> Result<i128> {
    text.parse().map_err(|_| Error::new(ErrorKind::Broken, "a lease in the database cannot be read"))
}
