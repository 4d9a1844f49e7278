//! A key that gets another secret, and a key that goes.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write as _};

use store::{ErrorKind, KeyRecord, KeyStatus, NewKey, Store, Timestamp, hash_secret};

use crate::{
    args::{Delete, Rotate},
    failure::Failure,
    verbs::{TRIES, find},
    view::{self, Answer, Form},
};

/// Makes a new key for a record and shows it. A repeat under one idempotency key is a conflict, and no success without a
/// key: whoever stores what is printed would store nothing.
pub(crate) async fn rotate(
    store: &dyn Store,
    secret: Option<&str>,
    wanted: &Rotate,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let mut record = find(store, &wanted.key).await?;
    let hasher = hash_secret(store, secret).await?;
    for _ in 0..TRIES {
        let in_the_way = match record.status(now) {
            KeyStatus::Active | KeyStatus::BudgetExceeded => None,
            KeyStatus::Revoked => Some("is revoked; `reactivate` it first"),
            KeyStatus::Expired => Some("has expired; `update` it with --expires-in first"),
        };
        if let Some(why) = in_the_way {
            return Err(Failure::conflict(format!("{} {why}", record.key_id)));
        }
        let key = NewKey::generate(&mut rand::rng());
        let rotated = record.rotated(&key, wanted.overlap, wanted.idempotency_key.as_deref(), now)?;
        match store.rotate_key(&rotated, &hasher.hash_new(&key)).await {
            Err(error) if error.kind() == ErrorKind::Conflict => record = again(store, &record).await?,
            done => {
                let done = done?;
                let mut answer = view::created(&done, Some(key.reveal()), form, now)?;
                if form == Form::People {
                    answer.notes.extend(done.previous.last().map(|old| ending(old.valid_until, now)));
                }
                return Ok(answer);
            }
        }
    }
    Err(Failure::conflict(format!("{} is being changed by somebody else", record.key_id)))
}

fn ending(until: Timestamp, now: Timestamp) -> String {
    if until > now {
        format!("The old key goes on until {until}.")
    } else {
        "The old key has ended: gateways refuse it within KEY_CACHE_TTL_SECONDS.".to_owned()
    }
}

async fn again(store: &dyn Store, record: &KeyRecord) -> Result<KeyRecord, Failure> {
    let found = store.key_by_id(&record.key_id).await?;
    found.ok_or_else(|| Failure::not_found("the key was deleted meanwhile"))
}

/// Removes a record for good. Asks first, where there is somebody to ask.
pub(crate) async fn delete(
    store: &dyn Store,
    wanted: &Delete,
    stdin: &mut dyn Read,
    form: Form,
) -> Result<Answer, Failure> {
    let record = find(store, &wanted.key).await?;
    if !wanted.yes {
        if !io::stdin().is_terminal() {
            return Err(Failure::usage("a key is deleted for good: say --yes where nobody can be asked"));
        }
        let mut stderr = io::stderr();
        // Without a stderr there is nobody to ask, and the answer will not be yes.
        let _ =
            write!(stderr, "Delete {} ({}, {}) for good? [y/N] ", record.key_id, record.user_id, record.name);
        let mut line = String::new();
        let read = BufReader::new(stdin.take(16)).read_line(&mut line);
        if read.is_err() || !["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str()) {
            return Err(Failure::failed("nothing was deleted"));
        }
    }
    store.delete_key(&record.key_id).await?;
    view::deleted(&record.key_id, form)
}
