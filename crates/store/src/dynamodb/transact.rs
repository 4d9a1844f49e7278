//! Transactions: all of their items or none, each at most once.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    operation::{transact_get_items::TransactGetItemsError, transact_write_items::TransactWriteItemsError},
    types::{CancellationReason, Delete, Get, Put, TransactGetItem, TransactWriteItem, Update},
};

use super::{failure, item::Item};
use crate::{Error, ErrorKind, Result};

/// The most items of one transaction:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>.
pub(super) const ITEMS: usize = 100;
/// Of the 4 MB that a transaction may have, what items may fill by our rough measure.
pub(super) const BYTES: usize = 3_000_000;

/// How often a transaction is tried that meets others on the same items.
const TRIES: u32 = 10;
const FIRST_PAUSE_MILLIS: u64 = 20;
const LONGEST_PAUSE_MILLIS: u64 = 400;

/// What became of a transaction that reached the database.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// Nothing was written, because the conditions of these items (by their place) did not hold.
    Refused(Vec<usize>),
}

/// Writes. The SDK gives each call a token, under which its own repeat of a call whose answer was lost counts once.
pub(super) async fn write(client: &Client, doing: &str, items: &[TransactWriteItem]) -> Result<Outcome> {
    for attempt in 1.. {
        let sent = client.transact_write_items().set_transact_items(Some(items.to_vec())).send().await;
        let Err(error) = sent else { break };
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
        else {
            return Err(failure::of(doing, &error));
        };
        match judge(doing, cancelled.cancellation_reasons(), attempt)? {
            Verdict::Refused(places) => return Ok(Outcome::Refused(places)),
            Verdict::Again => pause(attempt).await,
        }
    }
    Ok(Outcome::Written)
}

/// Reads up to [`ITEMS`] items as they are at one moment, in the order of the asking.
pub(super) async fn read(client: &Client, doing: &str, gets: Vec<Get>) -> Result<Vec<Option<Item>>> {
    let items: Vec<_> = gets.into_iter().map(|get| TransactGetItem::builder().get(get).build()).collect();
    let mut attempt = 1;
    loop {
        let sent = client.transact_get_items().set_transact_items(Some(items.clone())).send().await;
        let error = match sent {
            Ok(answer) => {
                return Ok(answer
                    .responses
                    .unwrap_or_default()
                    .into_iter()
                    .map(|found| found.item)
                    .collect());
            }
            Err(error) => error,
        };
        let Some(TransactGetItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
        else {
            return Err(failure::of(doing, &error));
        };
        match judge(doing, cancelled.cancellation_reasons(), attempt)? {
            Verdict::Refused(_) => return Err(Error::new(ErrorKind::Broken, "a read with a condition")),
            Verdict::Again => pause(attempt).await,
        }
        attempt += 1;
    }
}

enum Verdict {
    Refused(Vec<usize>),
    Again,
}

/// Why a transaction was cancelled. A cancelled one has written nothing for certain, so it may be sent again.
fn judge(doing: &str, reasons: &[CancellationReason], attempt: u32) -> Result<Verdict> {
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().unwrap_or("None")).collect();
    let refused: Vec<_> = codes
        .iter()
        .enumerate()
        .filter_map(|(place, code)| (*code == "ConditionalCheckFailed").then_some(place))
        .collect();
    if !refused.is_empty() {
        return Ok(Verdict::Refused(refused));
    }
    let said = |code: &str| {
        let why = reasons.iter().find(|reason| reason.code() == Some(code));
        let message = why.and_then(|reason| reason.message()).unwrap_or("no message");
        format!("DynamoDB, {doing}: {code}: {message}")
    };
    for code in ["ValidationError", "ItemCollectionSizeLimitExceeded"] {
        if codes.contains(&code) {
            return Err(Error::invalid(said(code)));
        }
    }
    if attempt < TRIES {
        return Ok(Verdict::Again);
    }
    let code = codes.iter().find(|code| **code != "None").unwrap_or(&"cancelled");
    Err(Error::new(ErrorKind::Unavailable, said(code)))
}

/// Full jitter, so that those who met do not meet again.
pub(super) async fn pause(attempt: u32) {
    let most = FIRST_PAUSE_MILLIS.saturating_mul(1 << attempt.min(10)).min(LONGEST_PAUSE_MILLIS);
    let millis = rand::random_range(0..=most);
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

pub(super) fn put(put: Put) -> TransactWriteItem {
    TransactWriteItem::builder().put(put).build()
}

pub(super) fn delete(delete: Delete) -> TransactWriteItem {
    TransactWriteItem::builder().delete(delete).build()
}

pub(super) fn update(update: Update) -> TransactWriteItem {
    TransactWriteItem::builder().update(update).build()
}
