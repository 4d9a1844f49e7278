//! The statements about kept answers.
//!
//! An item holds 400 KB, an answer more: it is compressed and cut into chunks, which are written, and removed, in one
//! transaction. The first one says whose it is, until when, and how many there are.
//!
//! Compressing takes milliseconds: it is done beside the thread that everybody's calls run on.

use std::{
    io::{Read as _, Write as _},
    mem,
};

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, Delete, Put},
};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use tokio::task;

use super::{
    Db, failure, gone,
    item::{Item, broken, number, read_number, read_text, second, text},
    keys::incomplete,
    tables::RESPONSE_CONTEXT,
    transact::{self, Outcome},
};
use crate::{
    Error, KeyId, Result, StoredTurn, Timestamp,
    turn::{missing, stands},
};

/// How much of an item is payload:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>.
const CHUNK_BYTES: usize = 380 * 1024;

const ID: &str = "response_id";
const CHUNK: &str = "chunk";
const CHUNKS: &str = "chunks";
const PAYLOAD: &str = "payload";
const KEY_ID: &str = "key_id";
const CREATED_AT: &str = "created_at";
/// The instant in milliseconds; the TTL beside it has seconds.
const UNTIL: &str = "until_millis";
const EXPIRES_AT: &str = "expires_at";

pub(super) async fn put(db: &Db, mut turn: StoredTurn) -> Result<()> {
    turn.check()?;
    let payload = mem::take(&mut turn.payload);
    let packed = packed(payload).await?;
    let chunks: Vec<_> = packed.chunks(CHUNK_BYTES).collect();
    let mut items = Vec::with_capacity(chunks.len());
    for (at, chunk) in chunks.iter().enumerate() {
        let put = Put::builder()
            .table_name(db.names.of(&RESPONSE_CONTEXT))
            .set_item(Some(place(&turn.id, at)))
            .item(PAYLOAD, AttributeValue::B(Blob::new(*chunk)))
            // Rounded up: what is removed early would be missed.
            .item(EXPIRES_AT, second(turn.expires_at.plus_millis(999)));
        let put = if at == 0 {
            put.item(KEY_ID, text(turn.key_id.as_str()))
                .item(CREATED_AT, text(turn.created_at.to_string()))
                .item(UNTIL, number(turn.expires_at.unix_millis()))
                .item(CHUNKS, number(chunks.len()))
                .condition_expression("attribute_not_exists(response_id)")
        } else {
            put
        };
        items.push(transact::put(put.build().map_err(incomplete)?));
    }
    match transact::write(&db.clients.writes, "keeping an answer", &items).await? {
        Outcome::Written => Ok(()),
        Outcome::Refused(_) => Err(stands()),
    }
}

pub(super) async fn get(db: &Db, id: &str, key_id: &KeyId, now: Timestamp) -> Result<Option<StoredTurn>> {
    if !StoredTurn::is_possible(id) {
        return Ok(None);
    }
    let chunks = read(db, id).await?;
    let Some(head) = chunks.first().map(Head::read).transpose()?.flatten() else { return Ok(None) };
    // It is written whole and removed whole: where parts are missing, it was removed between two pages.
    if !head.is_there(key_id, now) || head.chunks != chunks.len() {
        return Ok(None);
    }
    let payload = unpacked(chunks).await?;
    Ok(Some(StoredTurn {
        id: id.to_owned(),
        key_id: key_id.clone(),
        created_at: head.created_at,
        expires_at: head.until,
        payload,
    }))
}

pub(super) async fn remove(db: &Db, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()> {
    if !StoredTurn::is_possible(id) {
        return Err(missing());
    }
    let first = db.get(&RESPONSE_CONTEXT, place(id, 0)).await?;
    let head = first.as_ref().map(Head::read).transpose()?.flatten();
    let head = head.filter(|head| head.is_there(key_id, now)).ok_or_else(missing)?;
    let mut items = Vec::with_capacity(head.chunks);
    for at in 0..head.chunks.min(transact::ITEMS) {
        let delete =
            Delete::builder().table_name(db.names.of(&RESPONSE_CONTEXT)).set_key(Some(place(id, at)));
        let delete =
            if at == 0 { delete.condition_expression("attribute_exists(response_id)") } else { delete };
        items.push(transact::delete(delete.build().map_err(incomplete)?));
    }
    match transact::write(&db.clients.writes, "removing an answer", &items).await? {
        Outcome::Written => Ok(()),
        Outcome::Refused(_) => Err(missing()),
    }
}

/// What the first chunk says of all.
struct Head {
    key_id: String,
    created_at: Timestamp,
    until: Timestamp,
    chunks: usize,
}

impl Head {
    /// `None` where the item is a later chunk.
    fn read(item: &Item) -> Result<Option<Self>> {
        let Some(chunks) = read_number(item, CHUNKS)? else { return Ok(None) };
        let until = read_number(item, UNTIL)?.ok_or_else(|| broken(UNTIL))?;
        Ok(Some(Self {
            key_id: read_text(item, KEY_ID)?.to_owned(),
            created_at: read_text(item, CREATED_AT)?.parse().map_err(|_| broken(CREATED_AT))?,
            until: Timestamp::from_unix_millis(until),
            chunks,
        }))
    }

    fn is_there(&self, key_id: &KeyId, now: Timestamp) -> bool {
        self.key_id == key_id.as_str() && self.until > now
    }
}

fn place(id: &str, chunk: usize) -> Item {
    Item::from([(ID.to_owned(), text(id)), (CHUNK.to_owned(), number(chunk))])
}

/// Every chunk, in order.
async fn read(db: &Db, id: &str) -> Result<Vec<Item>> {
    let (mut chunks, mut from) = (Vec::new(), None);
    loop {
        let answer = db
            .clients
            .reads
            .query()
            .table_name(db.names.of(&RESPONSE_CONTEXT))
            .key_condition_expression("response_id = :id")
            .expression_attribute_values(":id", text(id))
            .consistent_read(true)
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failure::of("reading an answer", &error))?;
        chunks.extend(answer.items.unwrap_or_default());
        from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            return Ok(chunks);
        }
    }
}

async fn packed(payload: String) -> Result<Vec<u8>> {
    aside(move || {
        let failed = |error| Error::invalid("an answer that cannot be compressed").caused_by(error);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(payload.as_bytes()).map_err(failed)?;
        encoder.finish().map_err(failed)
    })
    .await
}

async fn unpacked(chunks: Vec<Item>) -> Result<String> {
    aside(move || {
        let mut packed = Vec::new();
        for chunk in &chunks {
            let part =
                chunk.get(PAYLOAD).and_then(|value| value.as_b().ok()).ok_or_else(|| broken(PAYLOAD))?;
            packed.extend_from_slice(part.as_ref());
        }
        let mut payload = String::new();
        let most = u64::try_from(StoredTurn::MOST_BYTES).unwrap_or(u64::MAX);
        ZlibDecoder::new(&packed[..])
            .take(most)
            .read_to_string(&mut payload)
            .map_err(|error| broken(PAYLOAD).caused_by(error))?;
        Ok(payload)
    })
    .await
}

/// Has something done that takes time and waits for nothing.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    task::spawn_blocking(work).await.unwrap_or_else(|_| Err(gone()))
}

#[cfg(test)]
mod tests {
    use std::{future::ready, pin::pin, sync::mpsc};

    use super::*;

    /// What `work` comes to. Nothing can be done beside the thread until it has been left to others once.
    async fn beside_others<T>(work: impl Future<Output = T>) -> T {
        let (begin, may_begin) = mpsc::channel();
        let before = task::spawn_blocking(move || may_begin.recv());
        let mut work = pin!(work);
        tokio::select! {
            biased;
            _ = &mut work => panic!("done on the thread that serves everybody"),
            () = ready(()) => {}
        }
        begin.send(()).unwrap();
        before.await.unwrap().unwrap();
        work.await
    }

    #[test]
    fn an_answer_is_packed_and_unpacked_beside_the_thread_that_serves_everybody() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let packed = beside_others(packed("tell me more ".repeat(1_000))).await.unwrap();
            assert!(packed.len() < 1_000, "{}", packed.len());
            let item = |part: &[u8]| Item::from([(PAYLOAD.to_owned(), AttributeValue::B(Blob::new(part)))]);
            let payload = beside_others(unpacked(packed.chunks(20).map(item).collect())).await.unwrap();
            assert!(payload == "tell me more ".repeat(1_000));
        });
    }
}
