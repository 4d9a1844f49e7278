//! The statements about buckets of limits. They run in the writer's transaction, which no other writer enters.

use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    Error, ErrorKind, RateAsk, RateDrawn, Result, Timestamp,
    rate::{self, RateState},
};

pub(super) fn draw(db: &Connection, ask: &RateAsk) -> Result<RateDrawn> {
    let (key, name) = (ask.key_id.as_str(), ask.rate.as_str());
    let found = db
        .prepare_cached("SELECT full, nanos, spent, at FROM rates WHERE key_id = ?1 AND rate = ?2")?
        .query_row([key, name], |row| Ok(state(row)))
        .optional()?
        .transpose()?;
    let (state, drawn) = rate::draw(found, ask);
    if found != Some(state) {
        let RateState { limit, window, spent, at } = state;
        let numbers = (limit.to_string(), window.to_string(), spent.to_string());
        db.prepare_cached(
            "INSERT OR REPLACE INTO rates (key_id, rate, full, nanos, spent, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![key, name, numbers.0, numbers.1, numbers.2, at.unix_millis()])?;
    }
    Ok(drawn)
}

/// Forgets buckets that have been full since `older_than`, at most so many: one that is not there is full too.
pub(super) fn prune(db: &Connection, older_than: Timestamp, most: usize) -> Result<()> {
    let mut full = Vec::new();
    let mut old =
        db.prepare_cached("SELECT full, nanos, spent, at, key_id, rate FROM rates WHERE at < ?1")?;
    let mut rows = old.query([older_than.unix_millis()])?;
    while let Some(row) = rows.next()? {
        let state = state(row)?;
        if full.len() < most && state.at.plus_millis(state.fills_in()) <= older_than {
            full.push((row.get::<_, String>(4)?, row.get::<_, String>(5)?));
        }
    }
    for (key_id, rate) in full {
        db.prepare_cached("DELETE FROM rates WHERE key_id = ?1 AND rate = ?2")?.execute([key_id, rate])?;
    }
    Ok(())
}

/// Of the columns `full, nanos, spent, at`.
fn state(row: &Row<'_>) -> Result<RateState> {
    let text = |column| row.get::<_, String>(column);
    Ok(RateState {
        limit: number(&text(0)?)?,
        window: number(&text(1)?)?,
        spent: number(&text(2)?)?,
        at: Timestamp::from_unix_millis(row.get(3)?),
    })
}

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::new(ErrorKind::Broken, "a limit in the database cannot be read"))
}
