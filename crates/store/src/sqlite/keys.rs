//! The statements about keys.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, named_params, params};

use crate::{
    Error, ErrorKind, KeyFilter, KeyHash, KeyId, KeyRecord, KeyStatus, Listing, Page, Result, Timestamp,
    cursor,
};

use super::rotation;

/// What a record is made of; see [`record`].
pub(super) const COLUMNS: &str = "record, version, last_used_at";

pub(super) fn put_new(db: &Connection, hash: &KeyHash, record: &KeyRecord) -> Result<()> {
    if rotation::is_old(db, hash)? {
        return Err(Error::new(ErrorKind::Conflict, "a key with this id or hash exists"));
    }
    let put = db
        .prepare_cached(
            "INSERT INTO api_keys (key_id, key_hash, user_id, created_at, is_active, expires_at, last_used_at, version,
                                   record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            record.key_id.as_str(),
            hash.as_bytes(),
            record.user_id,
            record.created_at.unix_millis(),
            record.is_active,
            record.expires_at.map(Timestamp::unix_millis),
            record.last_used_at.map(Timestamp::unix_millis),
            version(record.version)?,
            text(record)?,
        ]);
    match put {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(Error::new(ErrorKind::Conflict, "a key with this id or hash exists"))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn by_hash(db: &Connection, hash: &KeyHash) -> Result<Option<KeyRecord>> {
    let found = db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE key_hash = ?1"))?
        .query_row([hash.as_bytes()], |row| Ok(record(row)))
        .optional()?
        .transpose()?;
    found.map_or_else(|| rotation::by_old_hash(db, hash), |record| Ok(Some(record)))
}

pub(super) fn by_id(db: &Connection, key_id: &KeyId) -> Result<Option<KeyRecord>> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE key_id = ?1"))?
        .query_row([key_id.as_str()], |row| Ok(record(row)))
        .optional()?
        .transpose()
}

pub(super) fn hash_of(db: &Connection, key_id: &KeyId) -> Result<Option<KeyHash>> {
    let found = db
        .prepare_cached("SELECT key_hash FROM api_keys WHERE key_id = ?1")?
        .query_row([key_id.as_str()], |row| row.get(0))
        .optional()?;
    Ok(found.map(KeyHash::from_bytes))
}

pub(super) fn list(db: &Connection, filter: &KeyFilter, page: &Page) -> Result<Listing<KeyRecord>> {
    let after = page.cursor.as_deref().map(cursor::key_place).transpose()?;
    let limit = page.limit.max(1);
    let (status, now) = filter.status.unzip();
    let (at, id) = after.unzip();
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM api_keys
         WHERE (:id IS NULL OR (created_at, key_id) > (:at, :id))
           AND (:user IS NULL OR user_id = :user)
           AND (:prefix IS NULL OR substr(key_id, 1, length(:prefix)) = :prefix)
           AND (:status IS NULL OR :status =
                CASE WHEN NOT is_active THEN 'revoked' WHEN expires_at <= :now THEN 'expired' ELSE 'active' END)
         ORDER BY created_at, key_id"
    ))?;
    let found = statement.query_map(
        named_params! {
            ":id": id.as_ref().map(KeyId::as_str),
            ":at": at.map(Timestamp::unix_millis),
            ":user": filter.user_id,
            ":prefix": filter.id_prefix,
            ":status": status.map(KeyStatus::as_str),
            ":now": now.map(Timestamp::unix_millis),
        },
        |row| Ok(record(row)),
    )?;
    let mut items = Vec::new();
    for item in found {
        let record = item??;
        // The rest of the filter is inside the JSON.
        if filter.admits(&record) {
            items.push(record);
            if items.len() > limit {
                break;
            }
        }
    }
    Ok(Listing::cut(items, limit, cursor::of_key))
}

pub(super) fn update(db: &Connection, wanted: &KeyRecord) -> Result<KeyRecord> {
    let Some(stored) = by_id(db, &wanted.key_id)? else {
        return Err(Error::new(ErrorKind::NotFound, format!("no key {}", wanted.key_id)));
    };
    if stored.version != wanted.version {
        let message = format!("key {} was changed meanwhile", wanted.key_id);
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    let new = stored.updated_with(wanted);
    db.prepare_cached(
        "UPDATE api_keys SET is_active = ?2, expires_at = ?3, version = ?4, record = ?5 WHERE key_id = ?1",
    )?
    .execute(params![
        new.key_id.as_str(),
        new.is_active,
        new.expires_at.map(Timestamp::unix_millis),
        version(new.version)?,
        text(&new)?,
    ])?;
    Ok(new)
}

pub(super) fn touch(db: &Connection, uses: &[(KeyId, Timestamp)]) -> Result<()> {
    let mut statement = db.prepare_cached(
        "UPDATE api_keys SET last_used_at = ?2
         WHERE key_id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)",
    )?;
    for (key_id, at) in uses {
        statement.execute(params![key_id.as_str(), at.unix_millis()])?;
    }
    Ok(())
}

/// The JSON and the two columns that change by themselves.
pub(super) fn record(row: &Row<'_>) -> Result<KeyRecord> {
    let mut record: KeyRecord =
        serde_json::from_str(row.get_ref("record")?.as_str().map_err(broken)?).map_err(broken)?;
    record.version = u64::try_from(row.get::<_, i64>("version")?).map_err(broken)?;
    record.last_used_at = row.get::<_, Option<i64>>("last_used_at")?.map(Timestamp::from_unix_millis);
    Ok(record)
}

pub(super) fn text(record: &KeyRecord) -> Result<String> {
    serde_json::to_string(record).map_err(|error| Error::invalid("a record without JSON").caused_by(error))
}

pub(super) fn version(version: u64) -> Result<i64> {
    i64::try_from(version).map_err(|_| Error::invalid("version: beyond what is counted"))
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Broken, "a key record in the database cannot be read").caused_by(error)
}
