//! The statements about buckets of limits. They run in the writer's transaction, which no other writer enters.

use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    Error, ErrorKind, RateAsk, RateDrawn, Result, Timestamp,
    rate::{self, RateState},
};

pub(super) fn draw(db: &Connection, ask: &RateAsk) -> Result<RateDrawn> {
    let (key, name) = (ask.key_id.as_str(), ask.rate.as_str());
    let found = db
        .prepare_cached("SELECT full, nanos, spent, at FROM rates WHERE key_id = ?1 AND rate = ?2")?
        .query_row([key, name], |row| {
            let text = |column| row.get::<_, String>(column);
            Ok((text(0)?, text(1)?, text(2)?, row.get::<_, i64>(3)?))
        })
        .optional()?;
    let found = match found {
        Some((limit, window, spent, at)) => Some(RateState {
            limit: number(&limit)?,
            window: number(&window)?,
            spent: number(&spent)?,
            at: Timestamp::from_unix_millis(at),
        }),
        None => None,
    };
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

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::new(ErrorKind::Broken, "a limit in the database cannot be read"))
}
