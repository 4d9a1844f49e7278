//! The laws about keys, names and calls.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
};

use super::sample::{hash, key_id, noon, record};
use crate::{ErrorKind, KeyFilter, KeyId, KeyRecord, KeyStatus, Page, Store, Timestamp};

type Dyn = Arc<dyn Store>;

async fn all(store: &Dyn, filter: &KeyFilter) -> Vec<KeyId> {
    let listing = store.list_keys(filter, &Page::first(1_000)).await.unwrap();
    assert_eq!(listing.next, None);
    listing.items.into_iter().map(|record| record.key_id).collect()
}

pub async fn a_key_is_found_by_its_hash_and_by_its_id(store: Dyn) {
    let full = record(1);
    let bare = KeyRecord {
        owner_name: None,
        deactivated_reason: None,
        created_by: None,
        expires_at: None,
        allowed_models: None,
        denied_models: None,
        rate_limit: None,
        tpm_limit: None,
        concurrency_limit: None,
        target: None,
        allowed_ips: None,
        service_tier: None,
        cache_ttl: None,
        metadata: BTreeMap::new(),
        previous: Vec::new(),
        ..record(2)
    };
    store.put_new_key(&hash(1), &full).await.unwrap();
    store.put_new_key(&hash(2), &bare).await.unwrap();
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(full.clone()));
    assert_eq!(store.key_by_id(&key_id(1)).await.unwrap(), Some(full));
    assert_eq!(store.key_by_hash(&hash(2)).await.unwrap(), Some(bare));
}

pub async fn what_was_never_put_is_not_found(store: Dyn) {
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), None);
    assert_eq!(store.key_by_id(&key_id(1)).await.unwrap(), None);
    assert_eq!(store.update_key(&record(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.meta_get("nothing").await.unwrap(), None);
    assert_eq!(all(&store, &KeyFilter::default()).await, []);
}

pub async fn an_id_or_a_hash_belongs_to_the_first_who_puts_it(store: Dyn) {
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    let same_id = KeyRecord { name: "another".to_owned(), ..record(1) };
    for (hash, record) in [(hash(2), same_id.clone()), (hash(1), record(2)), (hash(1), same_id)] {
        assert_eq!(store.put_new_key(&hash, &record).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(record(1)));
    assert_eq!(store.key_by_hash(&hash(2)).await.unwrap(), None);
    assert_eq!(store.key_by_id(&key_id(2)).await.unwrap(), None);
    assert_eq!(all(&store, &KeyFilter::default()).await, [key_id(1)]);
}

pub async fn of_parallel_puts_of_one_hash_one_succeeds(store: Dyn) {
    let puts: Vec<_> = (0..32)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put_new_key(&hash(1), &record(n)).await.map(|()| n) })
        })
        .collect();
    let mut winners = Vec::new();
    for put in puts {
        match put.await.unwrap() {
            Ok(n) => winners.push(n),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
    let [winner] = winners[..] else { panic!("{winners:?}") };
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(record(winner)));
    assert_eq!(all(&store, &KeyFilter::default()).await, [key_id(winner)]);
}

pub async fn a_record_that_breaks_a_rule_is_not_written(store: Dyn) {
    let good = record(1);
    let long = "x".repeat(129);
    let pairs = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
    let broken = [
        KeyRecord { user_id: String::new(), ..good.clone() },
        KeyRecord { name: long.clone(), ..good.clone() },
        KeyRecord { name: "two\nlines".to_owned(), ..good.clone() },
        KeyRecord { owner_name: Some(long), ..good.clone() },
        KeyRecord { allowed_models: Some(Vec::new()), ..good.clone() },
        KeyRecord { denied_models: Some(Vec::new()), ..good.clone() },
        KeyRecord { allowed_models: Some(vec![String::new()]), ..good.clone() },
        KeyRecord { tpm_limit: Some(0), ..good.clone() },
        KeyRecord { tpm_limit: Some(u64::MAX), ..good.clone() },
        KeyRecord { budget_daily: Some(0), ..good.clone() },
        KeyRecord { budget_total: Some(u64::MAX), ..good.clone() },
        KeyRecord { concurrency_limit: Some(0), ..good.clone() },
        KeyRecord { target: Some(String::new()), ..good.clone() },
        KeyRecord { allowed_ips: Some(Vec::new()), ..good.clone() },
        KeyRecord { allowed_ips: Some(vec!["::1".parse().unwrap(); 65]), ..good.clone() },
        KeyRecord { metadata: pairs(17), ..good.clone() },
        KeyRecord { metadata: [("k".repeat(65), String::new())].into(), ..good.clone() },
        KeyRecord { metadata: [("k".to_owned(), "v".repeat(257))].into(), ..good.clone() },
        KeyRecord { key_id: KeyId::master(), ..good.clone() },
    ];
    for record in &broken {
        let error = store.put_new_key(&hash(1), record).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{record:?}");
    }
    let at_the_limit = KeyRecord { name: "ø".repeat(128), metadata: pairs(16), ..good };
    store.put_new_key(&hash(1), &at_the_limit).await.unwrap();
    for record in &broken {
        assert_eq!(store.update_key(record).await.unwrap_err().kind(), ErrorKind::Invalid, "{record:?}");
    }
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(at_the_limit));
}

pub async fn an_update_changes_all_but_identity_and_last_use(store: Dyn) {
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    store.touch_last_used(&[(key_id(1), noon())]).await.unwrap();
    let wanted = KeyRecord {
        user_id: "mallory".to_owned(),
        name: "desk".to_owned(),
        owner_name: None,
        prefix: "other".to_owned(),
        last4: "0000".to_owned(),
        is_active: false,
        deactivated_reason: Some("revoked".to_owned()),
        created_at: noon().plus_millis(-5),
        created_by: None,
        updated_at: noon().plus_millis(60_000),
        last_used_at: None,
        expires_at: None,
        allowed_models: None,
        denied_models: Some(vec!["meta.*".to_owned()]),
        rate_limit: Some(7),
        tpm_limit: None,
        concurrency_limit: Some(1),
        target: Some("frankfurt".to_owned()),
        allowed_ips: None,
        metadata: BTreeMap::new(),
        previous: Vec::new(),
        ..record(1)
    };
    let before = record(1);
    let after = KeyRecord {
        user_id: before.user_id,
        prefix: before.prefix,
        last4: before.last4,
        created_at: before.created_at,
        created_by: before.created_by,
        last_used_at: Some(noon()),
        previous: before.previous,
        version: 2,
        ..wanted.clone()
    };
    assert_eq!(store.update_key(&wanted).await.unwrap(), after);
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(after.clone()));
    assert_eq!(store.key_by_id(&key_id(1)).await.unwrap(), Some(after.clone()));
    let revoked = KeyFilter { status: Some((KeyStatus::Revoked, noon())), ..KeyFilter::default() };
    assert_eq!(all(&store, &revoked).await, [key_id(1)]);
    // And back: what was switched off can be switched on.
    let again = store.update_key(&KeyRecord { is_active: true, ..after }).await.unwrap();
    assert_eq!((again.is_active, again.version), (true, 3));
}

pub async fn an_update_from_an_old_version_is_a_conflict(store: Dyn) {
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    let newer = store.update_key(&KeyRecord { name: "newer".to_owned(), ..record(1) }).await.unwrap();
    for version in [0, 1, 3, u64::MAX] {
        let late = KeyRecord { name: "late".to_owned(), version, ..record(1) };
        assert_eq!(store.update_key(&late).await.unwrap_err().kind(), ErrorKind::Conflict, "{version}");
    }
    assert_eq!(store.key_by_id(&key_id(1)).await.unwrap(), Some(newer));
}

pub async fn of_parallel_updates_from_one_version_one_succeeds(store: Dyn) {
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    let updates: Vec<_> = (0..32)
        .map(|n| {
            let store = Arc::clone(&store);
            let wanted = KeyRecord { name: format!("by {n}"), ..record(1) };
            tokio::spawn(async move { store.update_key(&wanted).await })
        })
        .collect();
    let mut winners = Vec::new();
    for update in updates {
        match update.await.unwrap() {
            Ok(record) => winners.push(record),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.key_by_id(&key_id(1)).await.unwrap(), winners.pop());
}

pub async fn last_use_moves_forward_alone_and_makes_no_version(store: Dyn) {
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    let later = noon().plus_millis(500);
    store
        .touch_last_used(&[(key_id(1), noon()), (key_id(9), noon()), (KeyId::master(), noon())])
        .await
        .unwrap();
    store.touch_last_used(&[(key_id(1), later), (key_id(1), noon())]).await.unwrap();
    store.touch_last_used(&[(key_id(1), noon())]).await.unwrap();
    store.touch_last_used(&[]).await.unwrap();
    let expected = KeyRecord { last_used_at: Some(later), ..record(1) };
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(expected));
    assert_eq!(store.key_by_id(&key_id(9)).await.unwrap(), None);
}

pub async fn a_listing_shows_each_key_once_in_order_of_creation(store: Dyn) {
    // Put out of order, with two born in the same millisecond.
    for n in [5, 2, 4, 1, 3] {
        let created_at = noon().plus_millis(i64::from(n.min(4)));
        store.put_new_key(&hash(n), &KeyRecord { created_at, ..record(n) }).await.unwrap();
    }
    let (mut seen, mut pages, mut page) = (Vec::new(), 0, Page::first(2));
    loop {
        let listing = store.list_keys(&KeyFilter::default(), &page).await.unwrap();
        assert!(listing.items.len() <= 2);
        seen.extend(listing.items.into_iter().map(|record| record.key_id));
        pages += 1;
        let Some(next) = listing.next else { break };
        page = Page::after(next, 2);
    }
    assert_eq!(seen, [1, 2, 3, 4, 5].map(key_id));
    assert_eq!(pages, 3);
    let exact = store.list_keys(&KeyFilter::default(), &Page::first(5)).await.unwrap();
    assert_eq!((exact.items.len(), exact.next), (5, None));
    let at_least_one = store.list_keys(&KeyFilter::default(), &Page::first(0)).await.unwrap();
    assert_eq!(at_least_one.items.len(), 1);
}

pub async fn a_listing_goes_on_where_it_ended_whatever_was_added(store: Dyn) {
    for n in [10, 20, 30] {
        store.put_new_key(&hash(n), &record(n)).await.unwrap();
    }
    let first = store.list_keys(&KeyFilter::default(), &Page::first(2)).await.unwrap();
    for n in [5, 25] {
        store.put_new_key(&hash(n), &record(n)).await.unwrap();
    }
    let rest = store.list_keys(&KeyFilter::default(), &Page::after(first.next.unwrap(), 10)).await.unwrap();
    let ids: Vec<_> = rest.items.into_iter().map(|record| record.key_id).collect();
    assert_eq!(ids, [25, 30].map(key_id));
}

pub async fn a_listing_filters_by_user_status_and_id(store: Dyn) {
    let now = noon().plus_millis(10);
    let bea = KeyRecord { user_id: "bea".to_owned(), expires_at: None, ..record(1) };
    let expired = KeyRecord { expires_at: Some(now), ..record(2) };
    let revoked = KeyRecord { is_active: false, expires_at: Some(now), ..record(3) };
    let lasting = KeyRecord { expires_at: Some(now.plus_millis(1)), ..record(21) };
    for (n, record) in [(1, &bea), (2, &expired), (3, &revoked), (21, &lasting)] {
        store.put_new_key(&hash(n), record).await.unwrap();
    }
    let by_status =
        |status, now: Timestamp| KeyFilter { status: Some((status, now)), ..KeyFilter::default() };
    assert_eq!(all(&store, &by_status(KeyStatus::Active, now)).await, [1, 21].map(key_id));
    assert_eq!(all(&store, &by_status(KeyStatus::Expired, now)).await, [2].map(key_id));
    assert_eq!(all(&store, &by_status(KeyStatus::Revoked, now)).await, [3].map(key_id));
    let earlier = by_status(KeyStatus::Active, now.plus_millis(-1));
    assert_eq!(all(&store, &earlier).await, [1, 2, 21].map(key_id));
    let user = KeyFilter { user_id: Some("bea".to_owned()), ..KeyFilter::default() };
    assert_eq!(all(&store, &user).await, [1].map(key_id));
    for (prefix, found) in [
        ("key_00000000000000", vec![1, 2, 3, 21]),
        ("key_000000000000002", vec![21]),
        (key_id(2).as_str(), vec![2]),
        ("KEY_", vec![]),
        ("", vec![1, 2, 3, 21]),
    ] {
        let filter = KeyFilter { id_prefix: Some(prefix.to_owned()), ..KeyFilter::default() };
        assert_eq!(all(&store, &filter).await, found.into_iter().map(key_id).collect::<Vec<_>>(), "{prefix}");
    }
    // A filter that hides keys between two pages must not end the listing early.
    let amalia = KeyFilter { user_id: Some("amalia".to_owned()), ..KeyFilter::default() };
    let page = store.list_keys(&amalia, &Page::first(1)).await.unwrap();
    assert_eq!(page.items[0].key_id, key_id(2));
    assert!(page.next.is_some());
}

pub async fn a_listing_filters_by_name_owner_and_pairs_whatever_the_page(store: Dyn) {
    let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    for n in 0..30 {
        let odd = if n % 2 == 1 { "odd" } else { "even" };
        let record = KeyRecord {
            name: format!("laptop {}", n % 3),
            owner_name: (n % 10 != 0).then(|| "Bea".to_owned()),
            metadata: pairs(&[("team", "geology"), ("row", odd)]),
            ..record(n)
        };
        store.put_new_key(&hash(n), &record).await.unwrap();
    }
    let some = |filter: fn(&u32) -> bool| (0..30).filter(filter).map(key_id).collect::<Vec<_>>();
    let name = KeyFilter { name: Some("laptop 1".to_owned()), ..KeyFilter::default() };
    assert_eq!(all(&store, &name).await, some(|n| n % 3 == 1));
    let owner = KeyFilter { owner_name: Some("Bea".to_owned()), user_id: Some("amalia".to_owned()), ..name };
    assert_eq!(all(&store, &owner).await, some(|n| n % 3 == 1 && n % 10 != 0));
    let odd = KeyFilter { metadata: pairs(&[("row", "odd")]), ..KeyFilter::default() };
    assert_eq!(all(&store, &odd).await, some(|n| n % 2 == 1));
    let mut page = Page::first(4);
    let mut paged = Vec::new();
    loop {
        let listing = store.list_keys(&odd, &page).await.unwrap();
        paged.extend(listing.items.into_iter().map(|record| record.key_id));
        let Some(next) = listing.next else { break };
        page = Page::after(next, 4);
    }
    assert_eq!(paged, some(|n| n % 2 == 1));
    for none in [&[("row", "")][..], &[("team", "geology"), ("row", "")], &[("absent", "x")]] {
        let filter = KeyFilter { metadata: pairs(none), ..KeyFilter::default() };
        assert_eq!(all(&store, &filter).await, [], "{none:?}");
    }
}

pub async fn a_cursor_from_elsewhere_is_invalid(store: Dyn) {
    for cursor in ["", "7", "x.key_0000000000000001", "7.nobody", "' OR 1=1 --"] {
        let page = Page::after(cursor, 5);
        let error = store.list_keys(&KeyFilter::default(), &page).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{cursor}");
    }
}

pub async fn text_is_text_and_never_a_command(store: Dyn) {
    let hostile = "x'); DROP TABLE keys; --";
    let evil = KeyRecord { user_id: hostile.to_owned(), name: "%_\\".to_owned(), ..record(1) };
    store.put_new_key(&hash(1), &evil).await.unwrap();
    store.put_new_key(&hash(2), &record(2)).await.unwrap();
    let user = KeyFilter { user_id: Some(hostile.to_owned()), ..KeyFilter::default() };
    assert_eq!(all(&store, &user).await, [key_id(1)]);
    for wildcard in ["key_%", "key_0*", "%", "_", "key_?", "*", "'"] {
        let filter = KeyFilter { id_prefix: Some(wildcard.to_owned()), ..KeyFilter::default() };
        assert_eq!(all(&store, &filter).await, [], "{wildcard}");
    }
    assert_eq!(store.meta_put_if_absent(hostile, hostile).await.unwrap(), hostile);
    assert_eq!(store.meta_get(hostile).await.unwrap().as_deref(), Some(hostile));
    assert_eq!(all(&store, &KeyFilter::default()).await, [1, 2].map(key_id));
}

pub async fn a_name_gets_its_value_once(store: Dyn) {
    assert_eq!(store.meta_put_if_absent("a", "1").await.unwrap(), "1");
    assert_eq!(store.meta_put_if_absent("a", "2").await.unwrap(), "1");
    assert_eq!(store.meta_put_if_absent("b", "").await.unwrap(), "");
    assert_eq!(store.meta_get("a").await.unwrap().as_deref(), Some("1"));
    assert_eq!(store.meta_get("b").await.unwrap().as_deref(), Some(""));
}

pub async fn parallel_puts_of_a_name_agree(store: Dyn) {
    let puts: Vec<_> = (0..32)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.meta_put_if_absent("secret", &n.to_string()).await.unwrap() })
        })
        .collect();
    let mut values = Vec::new();
    for put in puts {
        values.push(put.await.unwrap());
    }
    let standing = store.meta_get("secret").await.unwrap().unwrap();
    assert!(values.iter().all(|value| *value == standing), "{values:?}");
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub async fn any_executor_will_do(store: Dyn) {
    let elsewhere = Arc::clone(&store);
    let found = thread::spawn(move || {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut call = pin!(async {
            elsewhere.put_new_key(&hash(1), &record(1)).await?;
            elsewhere.key_by_hash(&hash(1)).await
        });
        loop {
            match call.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(found) => return found,
                Poll::Pending => thread::park(),
            }
        }
    });
    assert_eq!(found.join().unwrap().unwrap(), Some(record(1)));
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(record(1)));
}

pub async fn a_call_that_was_dropped_leaves_the_store_whole(store: Dyn) {
    for n in 0..20 {
        let dropped_record = record(n);
        let dropped_hash = hash(n);
        let mut call = pin!(store.put_new_key(&dropped_hash, &dropped_record));
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    store.put_new_key(&hash(99), &record(99)).await.unwrap();
    for id in all(&store, &KeyFilter::default()).await {
        let by_id = store.key_by_id(&id).await.unwrap().unwrap();
        let n: u32 = id.as_str()["key_".len()..].parse().unwrap();
        assert_eq!(store.key_by_hash(&hash(n)).await.unwrap(), Some(by_id));
    }
}

pub async fn a_store_in_order_answers_its_probe(store: Dyn) {
    store.probe().await.unwrap();
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    store.probe().await.unwrap();
}
