//! The statements about kept answers.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    KeyId, Result, StoredTurn, Timestamp,
    turn::{missing, stands},
};

pub(super) fn put(db: &Connection, turn: &StoredTurn) -> Result<()> {
    turn.check()?;
    let put = db
        .prepare_cached(
            "INSERT INTO turns (id, key_id, created_at, expires_at, payload) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            turn.id,
            turn.key_id.as_str(),
            turn.created_at.unix_millis(),
            turn.expires_at.unix_millis(),
            turn.payload,
        ])?;
    if put == 0 { Err(stands()) } else { Ok(()) }
}

pub(super) fn get(db: &Connection, id: &str, key_id: &KeyId, now: Timestamp) -> Result<Option<StoredTurn>> {
    let found = db
        .prepare_cached(
            "SELECT created_at, expires_at, payload FROM turns WHERE id = ?1 AND key_id = ?2 AND expires_at > ?3",
        )?
        .query_row(params![id, key_id.as_str(), now.unix_millis()], |row| {
            Ok(StoredTurn {
                id: id.to_owned(),
                key_id: key_id.clone(),
                created_at: Timestamp::from_unix_millis(row.get(0)?),
                expires_at: Timestamp::from_unix_millis(row.get(1)?),
                payload: row.get(2)?,
            })
        })
        .optional()?;
    Ok(found)
}

pub(super) fn remove(db: &Connection, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
    let removed = db
        .prepare_cached("DELETE FROM turns WHERE id = ?1 AND key_id = ?2 AND expires_at > ?3")?
        .execute(params![id, key_id.as_str(), now.unix_millis()])?;
    if removed == 0 { Err(missing()) } else { Ok(()) }
}

/// Those that expired first go first.
pub(super) fn prune(db: &Connection, now: Timestamp, max_rows: usize) -> Result<usize> {
    let mut statement = db.prepare_cached(
        "DELETE FROM turns WHERE rowid IN
             (SELECT rowid FROM turns WHERE expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2)",
    )?;
    let most = i64::try_from(max_rows).unwrap_or(i64::MAX);
    Ok(statement.execute(params![now.unix_millis(), most])?)
}
