//! The statements about totals: reading many, and counting them again.

use rusqlite::{Connection, params};

use super::usage::{put_totals, totals_row, usage_row};
use crate::{
    Bucket, Corrected, Error, ErrorKind, KeyId, Listing, Page, PeriodQuery, Result, Timestamp, Totals,
    cursor, usage::Rebuild,
};

pub(super) fn keys(db: &Connection, page: &Page) -> Result<Listing<KeyId>> {
    let after = page.cursor.as_deref().map(cursor::id_place).transpose()?;
    let limit = page.limit.max(1);
    let mut statement = db.prepare_cached(
        "SELECT key_id FROM usage_stats WHERE bucket = 'total' AND key_id > ?1 ORDER BY key_id LIMIT ?2",
    )?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let after = after.as_ref().map_or("", KeyId::as_str);
    let found = statement.query_map(params![after, most], |row| row.get::<_, String>(0))?;
    let broken = || Error::new(ErrorKind::Broken, "a total in the database is nobody's");
    let items = found.map(|id| id?.parse().map_err(|_| broken())).collect::<Result<Vec<_>>>()?;
    Ok(Listing::cut(items, limit, cursor::of_id))
}

pub(super) fn periods(db: &Connection, query: &PeriodQuery) -> Result<Vec<(Bucket, Totals)>> {
    let (first, last) = query.names();
    let mut statement = db.prepare_cached(
        "SELECT * FROM usage_stats WHERE key_id = ?1 AND bucket >= ?2 AND bucket < ?3 ORDER BY bucket",
    )?;
    let found = statement.query_map([query.key_id.as_str(), &first, &last], |row| {
        Ok((row.get::<_, String>("bucket")?, totals_row(row)))
    })?;
    found
        .map(|total| {
            let (name, totals) = total?;
            Ok((name.parse()?, totals?))
        })
        .collect()
}

pub(super) fn compared(db: &Connection, key_id: &KeyId, since: Timestamp) -> Result<Vec<Corrected>> {
    let mut rebuild = Rebuild::from_day(since);
    let mut rows = db.prepare_cached("SELECT * FROM usage WHERE key_id = ?1 AND ts >= ?2")?;
    let found =
        rows.query_map(params![key_id.as_str(), rebuild.first().unix_millis()], |row| Ok(usage_row(row)))?;
    for row in found {
        rebuild.add(&row??);
    }
    let mut totals = db.prepare_cached("SELECT * FROM usage_stats WHERE key_id = ?1")?;
    let stood = totals
        .query_map([key_id.as_str()], |row| Ok((row.get::<_, String>("bucket")?, totals_row(row))))?
        .map(|total| {
            let (name, totals) = total?;
            Ok((name, totals?))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(rebuild.compare(stood.into_iter()))
}

/// Within the writer's transaction, so that nobody books meanwhile.
pub(super) fn rebuild(db: &Connection, key_id: &KeyId, since: Timestamp) -> Result<Vec<Corrected>> {
    let corrected = compared(db, key_id, since)?;
    for Corrected { bucket, right, .. } in &corrected {
        match right {
            Some(right) => put_totals(db, key_id.as_str(), bucket, right)?,
            None => {
                db.prepare_cached("DELETE FROM usage_stats WHERE key_id = ?1 AND bucket = ?2")?
                    .execute([key_id.as_str(), bucket])?;
            }
        }
    }
    Ok(corrected)
}
