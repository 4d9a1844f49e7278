//! The statements about configuration.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    ConfigKind, ConfigRow, Error, ErrorKind, Result,
    config::{missing, stands},
};

pub(super) fn list(db: &Connection, kind: ConfigKind) -> Result<Vec<ConfigRow>> {
    let mut statement =
        db.prepare_cached("SELECT id, version, members FROM config WHERE kind = ?1 ORDER BY id")?;
    let rows = statement.query_map([kind.table()], |row| Ok(read(kind, row)))?;
    rows.map(|row| row?).collect()
}

pub(super) fn put(db: &Connection, kind: ConfigKind, row: &ConfigRow) -> Result<u64> {
    let stored = stored(db, kind, &row.id)?;
    match stored {
        None if row.version > 0 => return Err(missing(kind, &row.id)),
        Some(version) if version != row.version => return Err(stands(kind, row)),
        None | Some(_) => {}
    }
    let version = row.version.saturating_add(1);
    let members = serde_json::to_string(&row.members)
        .map_err(|error| Error::invalid("a row that cannot be written").caused_by(error))?;
    db.prepare_cached(
        "INSERT INTO config (kind, id, version, members) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (kind, id) DO UPDATE SET version = ?3, members = ?4",
    )?
    .execute(params![kind.table(), row.id, i64::try_from(version).map_err(broken)?, members])?;
    Ok(version)
}

pub(super) fn remove(db: &Connection, kind: ConfigKind, id: &str, version: Option<u64>) -> Result<()> {
    let stored = stored(db, kind, id)?.ok_or_else(|| missing(kind, id))?;
    if let Some(version) = version.filter(|version| *version != stored) {
        let row = ConfigRow { id: id.to_owned(), version, members: serde_json::Map::new() };
        return Err(stands(kind, &row));
    }
    db.prepare_cached("DELETE FROM config WHERE kind = ?1 AND id = ?2")?.execute([kind.table(), id])?;
    Ok(())
}

fn stored(db: &Connection, kind: ConfigKind, id: &str) -> Result<Option<u64>> {
    let version: Option<i64> = db
        .prepare_cached("SELECT version FROM config WHERE kind = ?1 AND id = ?2")?
        .query_row([kind.table(), id], |row| row.get(0))
        .optional()?;
    version.map(|version| u64::try_from(version).map_err(broken)).transpose()
}

fn read(kind: ConfigKind, row: &Row<'_>) -> Result<ConfigRow> {
    let id: String = row.get("id")?;
    let version = u64::try_from(row.get::<_, i64>("version")?).map_err(broken)?;
    let members =
        serde_json::from_str(row.get_ref("members")?.as_str().map_err(broken)?).map_err(|error| {
            let message = format!("the row `{id}` of {} cannot be read", kind.table());
            Error::new(ErrorKind::Broken, message).caused_by(error)
        })?;
    Ok(ConfigRow { id, version, members })
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Broken, "a row of the configuration cannot be read").caused_by(error)
}
