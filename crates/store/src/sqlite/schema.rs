//! The file, its pragmas, its tables and how old ones become new ones.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    thread,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::{Error, ErrorKind, Result};

/// The meta entry that counts the migrations that were made.
pub(super) const VERSION: &str = "schema_version";

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);

/// Each brings the schema one version on. Append only: a database out there has made the earlier ones.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
];

/// Makes the file, or makes it private: it holds the hashes, and maybe the secret behind them.
pub(super) fn make_private(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Unavailable, format!("cannot open the database {}: {error}", path.display()))
            .caused_by(error)
    };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let mode = file.and_then(|file| file.metadata()).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}

/// A connection that may write.
pub(super) fn connect(path: &Path) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    use_write_ahead_log(&db)?;
    // Acknowledged means on disk, a power cut included; batching makes it affordable.
    db.pragma_update(None, "synchronous", "FULL")?;
    Ok(db)
}

/// A connection that cannot write.
pub(super) fn connect_to_read(path: &Path) -> Result<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// Switching the mode needs the file for itself for a moment, and SQLite does not always wait for that itself.
fn use_write_ahead_log(db: &Connection) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut left = BUSY;
    loop {
        let busy =
            match db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => {
                    return Err(Error::new(ErrorKind::Broken, format!("no write-ahead log, but `{mode}`")));
                }
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => error,
                Err(error) => return Err(error.into()),
            };
        if left.is_zero() {
            return Err(busy.into());
        }
        thread::sleep(PAUSE);
        left = left.saturating_sub(PAUSE);
    }
}

/// Brings the schema to the version of this build.
pub(super) fn migrate(db: &Connection) -> Result<()> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let migrated = migrate_locked(db);
    db.execute_batch(if migrated.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    migrated
}

fn migrate_locked(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    )?;
    let text = meta(db, VERSION)?.unwrap_or_else(|| "0".to_owned());
    let made: usize = text.parse().map_err(|_| {
        Error::new(ErrorKind::Broken, format!("the database has the unknown version `{text}`"))
    })?;
    let Some(missing) = MIGRATIONS.get(made..) else {
        return Err(Error::new(
            ErrorKind::Broken,
            format!(
                "the database has version {made}, this build knows {}: use a newer one",
                MIGRATIONS.len()
            ),
        ));
    };
    for sql in missing {
        db.execute_batch(sql)?;
    }
    if !missing.is_empty() {
        db.execute(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
            params![VERSION, MIGRATIONS.len().to_string()],
        )?;
    }
    Ok(())
}

pub(super) fn meta(db: &Connection, name: &str) -> Result<Option<String>> {
    let mut statement = db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn put_meta_if_absent(db: &Connection, name: &str, value: &str) -> Result<String> {
    db.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
        [name, value],
    )?;
    meta(db, name)?.ok_or_else(|| Error::new(ErrorKind::Broken, "a name that was just put is not there"))
}
