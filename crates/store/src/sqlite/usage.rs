//! The statements about usage.

use std::{collections::BTreeMap, str::FromStr};

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use time::Date;

use super::{budget, rate};
use crate::{
    Bucket, CacheTtl, Error, ErrorKind, KeyId, Listing, Page, PaidBy, PicoUsd, Recorded, Result, RowStatus,
    Timestamp, Totals, UsageQuery, UsageRow, cursor,
};

/// Writes the rows that are new, and adds them up once per total, not once per row.
pub(super) fn record(db: &Connection, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<Recorded> {
    let mut recorded = Recorded::default();
    // First by key, day and model: a batch has few of those, and naming buckets row by row cost as much as the rows.
    let mut days: BTreeMap<(&str, Date, &str), (&UsageRow, Totals)> = BTreeMap::new();
    for row in rows {
        if !insert(db, row)? {
            recorded.repeated += 1;
            continue;
        }
        recorded.written += 1;
        let place = (row.key_id.as_str(), row.ts.date(), row.base_model.as_str());
        days.entry(place).or_insert((row, Totals::default())).1.add(row);
    }
    let mut sums: BTreeMap<(&str, String), Totals> = BTreeMap::new();
    for ((key_id, ..), (row, day)) in &days {
        for bucket in Bucket::of(row) {
            let sum = sums.entry((key_id, bucket.to_string())).or_default();
            *sum = sum.merged(day);
        }
    }
    for ((key_id, bucket), sum) in &sums {
        let stands = stored_totals(db, key_id, bucket)?;
        put_totals(db, key_id, bucket, &stands.merged(sum))?;
    }
    if let Some(paid) = paid {
        for ((key_id, ..), (row, day)) in &days {
            if paid.keys.contains(&row.key_id) {
                budget::lower(db, key_id, &paid.replica, day.cost_pico_usd)?;
            }
        }
    }
    Ok(recorded)
}

pub(super) fn totals(db: &Connection, key_id: &KeyId, bucket: &str) -> Result<Totals> {
    stored_totals(db, key_id.as_str(), bucket)
}

pub(super) fn list(db: &Connection, query: &UsageQuery, page: &Page) -> Result<Listing<UsageRow>> {
    let after = page.cursor.as_deref().map(cursor::row_place).transpose()?;
    let limit = page.limit.max(1);
    // Before the first row of all: no row has an empty id and a negative round.
    let (at, request_id, round) = after.unwrap_or((query.since, String::new(), 0));
    let first = page.cursor.is_none();
    let mut statement = db.prepare_cached(
        "SELECT * FROM usage
         WHERE key_id = :key AND ts >= :since AND ts < :until
           AND (:first OR (ts, request_id, round) > (:at, :request, :round))
         ORDER BY ts, request_id, round LIMIT :limit",
    )?;
    let found = statement.query_map(
        named_params! {
            ":key": query.key_id.as_str(), ":first": first,
            ":since": query.since.max(at).unix_millis(), ":until": query.until.unix_millis(),
            ":at": at.unix_millis(), ":request": request_id, ":round": round,
            ":limit": i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
        },
        |row| Ok(usage_row(row)),
    )?;
    let mut items = Vec::new();
    for item in found {
        items.push(item??);
    }
    Ok(Listing::cut(items, limit, cursor::of_row))
}

pub(super) fn prune(db: &Connection, older_than: Timestamp, max_rows: usize) -> Result<usize> {
    let mut statement = db.prepare_cached(
        "DELETE FROM usage WHERE rowid IN
             (SELECT rowid FROM usage WHERE ts < ?1 ORDER BY ts, request_id, round LIMIT ?2)",
    )?;
    let most = i64::try_from(max_rows).unwrap_or(i64::MAX);
    let pruned = statement.execute(params![older_than.unix_millis(), most])?;
    // Once a round: they are looked at one by one.
    if pruned < max_rows {
        rate::prune(db, older_than, max_rows)?;
    }
    Ok(pruned)
}

/// Whether the row was new.
fn insert(db: &Connection, row: &UsageRow) -> Result<bool> {
    let mut statement = db.prepare_cached(
        "INSERT INTO usage (request_id, round, key_id, user_id, ts, surface, requested_model, resolved_model, base_model,
             lane, target, region, stream, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
             cache_write_1h_tokens, reasoning_tokens, cost_pico_usd, estimated, status, http_status, error_type,
             stop_reason, attempts, latency_ms, ttft_ms, upstream_request_id, session, tier_requested, tier_served,
             cache_ttl)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
             ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33)
         ON CONFLICT (request_id, round) DO NOTHING",
    )?;
    // By position: looking thirty names up cost as much as the insert.
    let changed = statement.execute(params![
        row.request_id,
        row.round,
        row.key_id.as_str(),
        row.user_id,
        row.ts.unix_millis(),
        row.surface,
        row.requested_model,
        row.resolved_model,
        row.base_model,
        row.lane,
        row.target,
        row.region,
        row.stream,
        signed(row.input_tokens),
        signed(row.output_tokens),
        signed(row.cache_read_tokens),
        signed(row.cache_write_5m_tokens),
        signed(row.cache_write_1h_tokens),
        row.reasoning_tokens.map(signed),
        row.cost_pico_usd.map(|cost| cost.0.to_string()),
        row.estimated,
        row.status.as_str(),
        row.http_status,
        row.error_type,
        row.stop_reason,
        row.attempts,
        signed(row.latency_ms),
        row.ttft_ms.map(signed),
        row.upstream_request_id,
        row.session,
        row.tier_requested.as_str(),
        row.tier_served.as_str(),
        row.cache_ttl.map(CacheTtl::as_str),
    ])?;
    Ok(changed == 1)
}

pub(super) fn usage_row(row: &Row<'_>) -> Result<UsageRow> {
    let status: String = row.get("status")?;
    Ok(UsageRow {
        key_id: row.get::<_, String>("key_id")?.parse().map_err(|_| broken())?,
        user_id: row.get("user_id")?,
        ts: Timestamp::from_unix_millis(row.get("ts")?),
        request_id: row.get("request_id")?,
        round: row.get("round")?,
        surface: row.get("surface")?,
        requested_model: row.get("requested_model")?,
        resolved_model: row.get("resolved_model")?,
        base_model: row.get("base_model")?,
        lane: row.get("lane")?,
        target: row.get("target")?,
        region: row.get("region")?,
        stream: row.get("stream")?,
        input_tokens: count(row, "input_tokens")?,
        output_tokens: count(row, "output_tokens")?,
        cache_read_tokens: count(row, "cache_read_tokens")?,
        cache_write_5m_tokens: count(row, "cache_write_5m_tokens")?,
        cache_write_1h_tokens: count(row, "cache_write_1h_tokens")?,
        reasoning_tokens: maybe_count(row, "reasoning_tokens")?,
        cost_pico_usd: row.get::<_, Option<String>>("cost_pico_usd")?.as_deref().map(money).transpose()?,
        estimated: row.get("estimated")?,
        status: RowStatus::from_name(&status).ok_or_else(broken)?,
        http_status: row.get("http_status")?,
        error_type: row.get("error_type")?,
        stop_reason: row.get("stop_reason")?,
        attempts: row.get("attempts")?,
        latency_ms: count(row, "latency_ms")?,
        ttft_ms: maybe_count(row, "ttft_ms")?,
        upstream_request_id: row.get("upstream_request_id")?,
        session: row.get("session")?,
        tier_requested: named(row, "tier_requested")?.ok_or_else(broken)?,
        tier_served: named(row, "tier_served")?.ok_or_else(broken)?,
        cache_ttl: named(row, "cache_ttl")?,
    })
}

fn stored_totals(db: &Connection, key_id: &str, bucket: &str) -> Result<Totals> {
    let stored = db
        .prepare_cached("SELECT * FROM usage_stats WHERE key_id = ?1 AND bucket = ?2")?
        .query_row([key_id, bucket], |row| Ok(totals_row(row)))
        .optional()?;
    stored.unwrap_or_else(|| Ok(Totals::default()))
}

pub(super) fn totals_row(row: &Row<'_>) -> Result<Totals> {
    Ok(Totals {
        requests: count(row, "requests")?,
        errors: count(row, "errors")?,
        input_tokens: count(row, "input_tokens")?,
        output_tokens: count(row, "output_tokens")?,
        cache_read_tokens: count(row, "cache_read_tokens")?,
        cache_write_5m_tokens: count(row, "cache_write_5m_tokens")?,
        cache_write_1h_tokens: count(row, "cache_write_1h_tokens")?,
        reasoning_tokens: count(row, "reasoning_tokens")?,
        unpriced_requests: count(row, "unpriced_requests")?,
        estimated_requests: count(row, "estimated_requests")?,
        cost_pico_usd: money(&row.get::<_, String>("cost_pico_usd")?)?,
    })
}

pub(super) fn put_totals(db: &Connection, key_id: &str, bucket: &str, totals: &Totals) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO usage_stats (key_id, bucket, requests, errors, input_tokens, output_tokens,
             cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, unpriced_requests,
             estimated_requests, cost_pico_usd)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute(params![
        key_id,
        bucket,
        signed(totals.requests),
        signed(totals.errors),
        signed(totals.input_tokens),
        signed(totals.output_tokens),
        signed(totals.cache_read_tokens),
        signed(totals.cache_write_5m_tokens),
        signed(totals.cache_write_1h_tokens),
        signed(totals.reasoning_tokens),
        signed(totals.unpriced_requests),
        signed(totals.estimated_requests),
        totals.cost_pico_usd.0.to_string(),
    ])?;
    Ok(())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count(row: &Row<'_>, column: &str) -> Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| broken())
}

fn maybe_count(row: &Row<'_>, column: &str) -> Result<Option<u64>> {
    row.get::<_, Option<i64>>(column)?.map(|count| u64::try_from(count).map_err(|_| broken())).transpose()
}

fn named<T: FromStr>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    row.get::<_, Option<String>>(column)?.map(|name| name.parse().map_err(|_| broken())).transpose()
}

fn money(text: &str) -> Result<PicoUsd> {
    text.parse().map_err(|_| broken())
}

fn broken() -> Error {
    Error::new(ErrorKind::Broken, "a usage row in the database cannot be read")
}
