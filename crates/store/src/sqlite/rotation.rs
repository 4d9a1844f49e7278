//! A key that gets another hash, and a key that goes.

use rusqlite::{Connection, OptionalExtension, params};

use super::keys::{COLUMNS, by_hash, by_id, record, text, version};
use crate::{Error, ErrorKind, KeyHash, KeyId, KeyRecord, Result, Timestamp};

/// Whether an older key had this hash, and maybe goes on with it.
pub(super) fn is_old(db: &Connection, hash: &KeyHash) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM old_hashes WHERE key_hash = ?1")?.exists([hash.as_bytes()])?)
}

pub(super) fn by_old_hash(db: &Connection, hash: &KeyHash) -> Result<Option<KeyRecord>> {
    db.prepare_cached(&format!(
        "SELECT {COLUMNS}, valid_until FROM old_hashes JOIN api_keys USING (key_id) WHERE old_hashes.key_hash = ?1"
    ))?
    .query_row([hash.as_bytes()], |row| Ok((record(row), row.get::<_, i64>("valid_until")?)))
    .optional()?
    .map(|(record, until)| {
        Ok(KeyRecord { valid_until: Some(Timestamp::from_unix_millis(until)), ..record? })
    })
    .transpose()
}

pub(super) fn rotate(db: &Connection, wanted: &KeyRecord, new: &KeyHash) -> Result<KeyRecord> {
    let until = wanted.old_valid_until()?;
    let (id, now) = (wanted.key_id.as_str(), wanted.updated_at.unix_millis());
    let Some(stored) = by_id(db, &wanted.key_id)? else { return Err(missing(&wanted.key_id)) };
    // Its own hash is a taken one too, and setting it again would break no constraint.
    if stored.version != wanted.version || by_hash(db, new)?.is_some() || is_old(db, new)? {
        let message = format!("key {id} was changed meanwhile, or the hash exists");
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    db.prepare_cached("DELETE FROM old_hashes WHERE key_id = ?1 AND valid_until <= ?2")?
        .execute(params![id, now])?;
    if let Some(until) = until {
        db.prepare_cached(
            "INSERT INTO old_hashes (key_hash, key_id, valid_until)
             SELECT key_hash, key_id, ?2 FROM api_keys WHERE key_id = ?1",
        )?
        .execute(params![id, until.unix_millis()])?;
    }
    let rotated = stored.rotated_with(wanted);
    db.prepare_cached("UPDATE api_keys SET key_hash = ?2, version = ?3, record = ?4 WHERE key_id = ?1")?
        .execute(params![id, new.as_bytes(), version(rotated.version)?, text(&rotated)?])?;
    Ok(rotated)
}

pub(super) fn delete(db: &Connection, key_id: &KeyId) -> Result<()> {
    for table in ["old_hashes", "rates"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE key_id = ?1"))?.execute([key_id.as_str()])?;
    }
    let deleted = db.prepare_cached("DELETE FROM api_keys WHERE key_id = ?1")?.execute([key_id.as_str()])?;
    if deleted == 1 { Ok(()) } else { Err(missing(key_id)) }
}

fn missing(key_id: &KeyId) -> Error {
    Error::new(ErrorKind::NotFound, format!("no key {key_id}"))
}
