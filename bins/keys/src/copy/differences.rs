//! What the other store has and this one has not, or not so: a copy leaves it there, and somebody must know.

use std::collections::{BTreeMap, BTreeSet};

use store::{
    BudgetReset, ConfigKind, ConfigRow, KeyFilter, KeyHash, KeyId, KeyRecord, Page, Period, PicoUsd, Store,
    Timestamp,
};

use super::KEYS;
use crate::failure::Failure;

/// Of a key that is there already: whether it is the same. By what they say: each side counts versions by itself.
pub(super) async fn key(
    to: &dyn Store,
    hash: &KeyHash,
    record: &KeyRecord,
    with_resets: bool,
    now: Timestamp,
) -> Result<Option<String>, Failure> {
    let key_id = &record.key_id;
    let Some(there) = to.key_by_id(key_id).await? else {
        return Ok(Some(format!("{key_id}: another record has its key there.")));
    };
    let says = |record: &KeyRecord| neutral(record, with_resets, now);
    if to.key_hash(key_id).await?.as_ref() == Some(hash) && says(&there) == says(record) {
        return Ok(None);
    }
    Ok(Some(format!(
        "{key_id}: version {} was not copied over version {}, which is there; it is {} here and {} there. \
         Delete that to have it copied.",
        record.version,
        there.version,
        record.status(now),
        there.status(now)
    )))
}

/// Without what is each store's own, and with what holds at an instant. What resets forgive depends on what is in the
/// totals.
fn neutral(record: &KeyRecord, with_resets: bool, now: Timestamp) -> KeyRecord {
    let mut neutral = KeyRecord {
        version: 0,
        updated_at: Timestamp::EPOCH,
        last_used_at: None,
        previous: Vec::new(),
        valid_until: None,
        ..record.clone()
    };
    for period in Period::ALL {
        let change = neutral.budget_changes.get_mut(period);
        *change = change.tidied(period, now);
        let reset = change.reset.filter(|_| with_resets);
        change.reset = reset.map(|reset| BudgetReset { spent: PicoUsd::ZERO, ..reset });
    }
    neutral
}

/// The keys that are there and not `here`.
pub(super) async fn keys_without(
    to: &dyn Store,
    here: &BTreeSet<KeyId>,
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    let (mut more, mut page) = (Vec::new(), Page::first(KEYS));
    loop {
        let listing = to.list_keys(&KeyFilter::default(), &page).await?;
        for record in listing.items.iter().filter(|record| !here.contains(&record.key_id)) {
            let (key_id, status) = (&record.key_id, record.status(now));
            more.push(format!(
                "{key_id}: is there ({status}) and not here; delete it there if it was deleted here."
            ));
        }
        let Some(next) = listing.next else { return Ok(more) };
        page = Page::after(next, KEYS);
    }
}

/// The rows of a kind that are there and not so here. Catalogue prices that only the other has are nobody's change.
pub(super) async fn rows(from: &dyn Store, to: &dyn Store, kind: ConfigKind) -> Result<Vec<String>, Failure> {
    let what = match kind {
        ConfigKind::Mapping => "name",
        ConfigKind::Price => "price of",
        ConfigKind::Beta => "beta flag",
    };
    let here: BTreeMap<_, _> =
        from.config_rows(kind).await?.into_iter().map(|row| (row.id.clone(), row)).collect();
    let mut differences = Vec::new();
    for there in to.config_rows(kind).await? {
        let id = &there.id;
        match here.get(id) {
            Some(row) if says(row) == says(&there) => {}
            Some(_) => differences.push(format!(
                "{what} {id}: was not copied over another one, which is there; remove that to have it copied."
            )),
            None if there.members.get("source").is_some_and(|source| source == "default") => {}
            None => differences
                .push(format!("{what} {id}: is there and not here; remove it there if it was removed here.")),
        }
    }
    Ok(differences)
}

/// What a row says, whoever says it and when; absent and null are one.
fn says(row: &ConfigRow) -> BTreeMap<&String, &serde_json::Value> {
    let own = |member: &str| matches!(member, "updated_at" | "updated_by" | "version");
    row.members.iter().filter(|(member, value)| !own(member) && !value.is_null()).collect()
}
