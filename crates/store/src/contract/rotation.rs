//! The laws about rotation and deletion.

use std::sync::Arc;

use super::sample::{hash, key_id, noon, record, row};
use crate::{Bucket, ErrorKind, KeyFilter, KeyRecord, NewKey, Page, Store, Timestamp};

type Dyn = Arc<dyn Store>;

const DAY: i64 = Timestamp::DAY_MILLIS;

/// A record without older keys, made now: what expires does so by the clock.
fn fresh(n: u32) -> KeyRecord {
    let now = Timestamp::now();
    KeyRecord { created_at: now, updated_at: now, previous: Vec::new(), ..record(n) }
}

fn rotated(record: &KeyRecord, overlap: i64) -> KeyRecord {
    record.rotated(&NewKey::generate(&mut rand::rng()), overlap, None, Timestamp::now()).unwrap()
}

pub async fn a_rotated_key_is_found_by_both_hashes_until_the_old_one_ends(store: Dyn) {
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    store.touch_last_used(&[(key_id(1), noon())]).await.unwrap();
    let before = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
    let wanted = rotated(&before, DAY);
    let after = store.rotate_key(&wanted, &hash(2)).await.unwrap();
    assert_eq!(after, KeyRecord { version: 2, ..wanted });
    assert_eq!((after.last_used_at, after.rate_limit), (Some(noon()), before.rate_limit));
    let until = after.updated_at.plus_millis(DAY);
    let by_old = KeyRecord { valid_until: Some(until), ..after.clone() };
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(by_old));
    assert_eq!(store.key_by_hash(&hash(2)).await.unwrap(), Some(after.clone()));
    assert_eq!(store.key_by_id(&key_id(1)).await.unwrap(), Some(after.clone()));
    for filter in
        [KeyFilter::default(), KeyFilter { user_id: Some("amalia".to_owned()), ..KeyFilter::default() }]
    {
        let listed = store.list_keys(&filter, &Page::first(9)).await.unwrap();
        assert_eq!(listed.items, std::slice::from_ref(&after));
    }
    let taken = store.put_new_key(&hash(1), &fresh(2)).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
}

pub async fn a_rotation_without_overlap_forgets_the_old_hash_at_once(store: Dyn) {
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    let mut record = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
    for n in 2..5 {
        record = store.rotate_key(&rotated(&record, 0), &hash(n)).await.unwrap();
        for old in 1..n {
            assert_eq!(store.key_by_hash(&hash(old)).await.unwrap(), None, "{old} after {n}");
        }
        assert_eq!(store.key_by_hash(&hash(n)).await.unwrap(), Some(record.clone()));
    }
}

pub async fn a_second_rotation_leaves_each_older_key_its_own_end(store: Dyn) {
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    let mut record = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
    for n in 1..4 {
        record = store.rotate_key(&rotated(&record, DAY * i64::from(4 - n)), &hash(n + 1)).await.unwrap();
    }
    for n in 1..5 {
        let found = store.key_by_hash(&hash(n)).await.unwrap().unwrap();
        let until = record.previous.get(n as usize - 1).map(|old| old.valid_until);
        assert_eq!(found, KeyRecord { valid_until: until, ..record.clone() }, "{n}");
    }
    // The newest ends at once, the others go on.
    store.rotate_key(&rotated(&record, 0), &hash(9)).await.unwrap();
    assert_eq!(store.key_by_hash(&hash(4)).await.unwrap(), None);
    assert!(store.key_by_hash(&hash(1)).await.unwrap().unwrap().valid_until.is_some());
}

pub async fn a_rotation_from_an_old_version_or_to_a_taken_hash_is_a_conflict(store: Dyn) {
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    store.put_new_key(&hash(2), &fresh(2)).await.unwrap();
    let old = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
    let record = store.update_key(&old).await.unwrap();
    let conflict = async |record: &KeyRecord, new| {
        let error = store.rotate_key(&rotated(record, DAY), &hash(new)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    };
    conflict(&old, 3).await;
    conflict(&record, 2).await;
    conflict(&record, 1).await;
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(record.clone()));
    assert_eq!(store.key_by_hash(&hash(3)).await.unwrap(), None);
    let rotated_once = store.rotate_key(&rotated(&record, DAY), &hash(3)).await.unwrap();
    conflict(&rotated_once, 1).await;
    let nobody = KeyRecord { version: 1, ..fresh(7) };
    let error = store.rotate_key(&rotated(&nobody, DAY), &hash(8)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let unprepared = store.rotate_key(&record, &hash(8)).await.unwrap_err();
    assert_eq!(unprepared.kind(), ErrorKind::Invalid);
}

pub async fn of_parallel_rotations_from_one_version_one_succeeds(store: Dyn) {
    store.put_new_key(&hash(100), &fresh(1)).await.unwrap();
    let record = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
    let rotations: Vec<_> = (0..32)
        .map(|n| {
            let (store, wanted) = (Arc::clone(&store), rotated(&record, DAY));
            tokio::spawn(async move { store.rotate_key(&wanted, &hash(n)).await })
        })
        .collect();
    let mut won = Vec::new();
    for rotation in rotations {
        match rotation.await.unwrap() {
            Ok(record) => won.push(record),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
    let [winner] = &won[..] else { panic!("{}", won.len()) };
    let mut found = Vec::new();
    for n in 0..32 {
        found.extend(store.key_by_hash(&hash(n)).await.unwrap());
    }
    assert_eq!(&found[..], std::slice::from_ref(winner));
    assert!(store.key_by_hash(&hash(100)).await.unwrap().unwrap().valid_until.is_some());
}

pub async fn what_happens_to_a_rotated_key_happens_under_each_of_its_hashes(store: Dyn) {
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    let record = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
    let record = store.rotate_key(&rotated(&record, DAY), &hash(2)).await.unwrap();
    let off = KeyRecord { is_active: false, previous: Vec::new(), ..record.clone() };
    let off = store.update_key(&off).await.unwrap();
    assert_eq!((off.version, &off.previous), (3, &record.previous));
    store.touch_last_used(&[(key_id(1), noon())]).await.unwrap();
    for n in [1, 2] {
        let found = store.key_by_hash(&hash(n)).await.unwrap().unwrap();
        let seen = (found.is_active, found.version, found.last_used_at, found.valid_until.is_some());
        assert_eq!(seen, (false, 3, Some(noon()), n == 1));
    }
}

pub async fn a_deleted_key_is_found_by_nothing_and_its_usage_stays(store: Dyn) {
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    let record = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
    store.rotate_key(&rotated(&record, DAY), &hash(2)).await.unwrap();
    store.put_new_key(&hash(3), &fresh(3)).await.unwrap();
    store.record_usage(&[row("a")]).await.unwrap();
    store.delete_key(&key_id(1)).await.unwrap();
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), None);
    assert_eq!(store.key_by_hash(&hash(2)).await.unwrap(), None);
    assert_eq!(store.key_by_id(&key_id(1)).await.unwrap(), None);
    let left = store.list_keys(&KeyFilter::default(), &Page::first(9)).await.unwrap().items;
    assert_eq!(left.iter().map(|record| record.key_id.clone()).collect::<Vec<_>>(), [key_id(3)]);
    assert_eq!(store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap().requests, 1);
    assert_eq!(store.usage_keys(&Page::first(9)).await.unwrap().items, [key_id(1)]);
    assert_eq!(store.update_key(&record).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.delete_key(&key_id(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    store.touch_last_used(&[(key_id(1), noon())]).await.unwrap();
    // Its place may be taken again, and what led to the old record does not lead to the new one.
    store.put_new_key(&hash(2), &fresh(4)).await.unwrap();
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), None);
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    assert_eq!(store.key_by_hash(&hash(2)).await.unwrap().unwrap().key_id, key_id(4));
}

pub async fn the_hash_of_a_key_is_its_newest_ones(store: Dyn) {
    assert_eq!(store.key_hash(&key_id(1)).await.unwrap(), None);
    store.put_new_key(&hash(9), &fresh(2)).await.unwrap();
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    assert_eq!(store.key_hash(&key_id(1)).await.unwrap(), Some(hash(1)));
    let mut record = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
    for (n, overlap) in [(2, DAY), (3, 0), (4, DAY)] {
        record = store.rotate_key(&rotated(&record, overlap), &hash(n)).await.unwrap();
        assert_eq!(store.key_hash(&key_id(1)).await.unwrap(), Some(hash(n)));
    }
    store.delete_key(&key_id(1)).await.unwrap();
    assert_eq!(store.key_hash(&key_id(1)).await.unwrap(), None);
    assert_eq!(store.key_hash(&key_id(2)).await.unwrap(), Some(hash(9)));
}

pub async fn of_parallel_deletions_one_succeeds(store: Dyn) {
    store.put_new_key(&hash(1), &fresh(1)).await.unwrap();
    let deletions: Vec<_> = (0..16)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.delete_key(&key_id(1)).await })
        })
        .collect();
    let mut won = 0;
    for deletion in deletions {
        match deletion.await.unwrap() {
            Ok(()) => won += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    }
    assert_eq!(won, 1);
}
