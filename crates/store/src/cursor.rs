//! Where a page of a listing ended, as text that a caller hands back.

use crate::{Error, KeyId, KeyRecord, Result, Timestamp, UsageRow};

/// The place of a key in a listing.
pub(crate) type KeyPlace = (Timestamp, KeyId);
/// The place of a row in a listing.
pub(crate) type RowPlace = (Timestamp, String, u32);

pub(crate) fn of_key(record: &KeyRecord) -> String {
    format!("{}.{}", record.created_at.unix_millis(), record.key_id)
}

pub(crate) fn of_row(row: &UsageRow) -> String {
    // The request id comes last: it may hold any character.
    format!("{}.{}.{}", row.ts.unix_millis(), row.round, row.request_id)
}

pub(crate) fn of_id(key_id: &KeyId) -> String {
    key_id.to_string()
}

pub(crate) fn id_place(cursor: &str) -> Result<KeyId> {
    cursor.parse().map_err(|_| unknown())
}

pub(crate) fn key_place(cursor: &str) -> Result<KeyPlace> {
    let (at, id) = cursor.split_once('.').ok_or_else(unknown)?;
    Ok((instant(at)?, id.parse().map_err(|_| unknown())?))
}

pub(crate) fn row_place(cursor: &str) -> Result<RowPlace> {
    let (at, rest) = cursor.split_once('.').ok_or_else(unknown)?;
    let (round, request_id) = rest.split_once('.').ok_or_else(unknown)?;
    Ok((instant(at)?, request_id.to_owned(), round.parse().map_err(|_| unknown())?))
}

fn instant(text: &str) -> Result<Timestamp> {
    text.parse().map(Timestamp::from_unix_millis).map_err(|_| unknown())
}

fn unknown() -> Error {
    Error::invalid("cursor: not one that a listing returned")
}
