//! The statements about buckets of limits.
//!
//! A bucket is an item at its key's id, under `rate#<rate>`. It is written on the condition that its version is still the one
//! that was read before, so of two who read the same one succeeds.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    Db, failure,
    item::{Item, broken, number, read_number, read_text, second, text},
    tables::LEDGER,
    transact,
};
use crate::{
    Error, ErrorKind, KeyId, Rate, RateAsk, RateDrawn, Result, Timestamp,
    rate::{self, RateState},
};

/// How often an ask is tried that others get in the way of.
const TRIES: u32 = 60;

pub(super) async fn draw(db: &Db, ask: &RateAsk) -> Result<RateDrawn> {
    for attempt in 1..=TRIES {
        let (found, version) = match read(db, ask).await? {
            Some((state, version)) => (Some(state), Some(version)),
            None => (None, None),
        };
        let (state, drawn) = rate::draw(found, ask);
        if found == Some(state) || write(db, ask, &state, version).await? {
            return Ok(drawn);
        }
        transact::pause(attempt).await;
    }
    Err(Error::new(ErrorKind::Unavailable, "DynamoDB, drawing from a limit: others were always faster"))
}

/// Where the bucket of a key's limit is.
pub(super) fn place(key_id: &KeyId, rate: Rate) -> [(String, AttributeValue); 2] {
    [("pk".to_owned(), text(key_id.as_str())), ("sk".to_owned(), text(format!("rate#{rate}")))]
}

/// The bucket and its version. One whose TTL has passed is full, whether it is there or not.
async fn read(db: &Db, ask: &RateAsk) -> Result<Option<(RateState, u64)>> {
    let Some(item) = db.get(&LEDGER, place(&ask.key_id, ask.rate).into()).await? else { return Ok(None) };
    // Beyond the digits of a number of DynamoDB's, hence text.
    let state = RateState {
        limit: read_text(&item, "full")?.parse().map_err(|_| broken("full"))?,
        window: read_text(&item, "nanos")?.parse().map_err(|_| broken("nanos"))?,
        spent: read_text(&item, "spent")?.parse().map_err(|_| broken("spent"))?,
        at: Timestamp::from_unix_millis(read_number(&item, "at")?.ok_or_else(|| broken("at"))?),
    };
    Ok(Some((state, read_number(&item, "version")?.ok_or_else(|| broken("version"))?)))
}

/// False when somebody else has written meanwhile.
async fn write(db: &Db, ask: &RateAsk, state: &RateState, read: Option<u64>) -> Result<bool> {
    let kept = Timestamp::now().plus_millis(state.fills_in().saturating_add(Timestamp::DAY_MILLIS));
    let mut item: Item = place(&ask.key_id, ask.rate).into();
    item.extend(
        [
            ("full", text(state.limit.to_string())),
            ("nanos", text(state.window.to_string())),
            ("spent", text(state.spent.to_string())),
            ("at", number(state.at.unix_millis())),
            ("version", number(read.unwrap_or(0).wrapping_add(1))),
            ("ttl", second(kept)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let put = db.clients.writes.put_item().table_name(db.names.of(&LEDGER)).set_item(Some(item));
    let put = match read {
        Some(read) => put
            .condition_expression("#version = :read")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":read", number(read)),
        // One that has expired counts as absent, and may be there for days.
        None => put
            .condition_expression("attribute_not_exists(pk) OR #ttl <= :now")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":now", second(Timestamp::now())),
    };
    // A repeat of a put that arrived finds a version that is its own, and the ask is made again: to draw twice costs the key
    // a share until the refill, but what is owed or given back must not be so twice.
    let sent = if ask.back == 0 && ask.debt == 0 {
        put.send().await
    } else {
        put.customize().config_override(super::client::once()).send().await
    };
    match sent.map_err(|error| failure::of("drawing from a limit", &error)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
        Err(error) => Err(error),
    }
}
