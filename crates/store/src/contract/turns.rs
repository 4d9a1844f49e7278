//! The laws about kept answers.

use std::sync::Arc;

use super::sample::{key_id, noise, noon, turn};
use crate::{ErrorKind, Store, StoredTurn};

type Dyn = Arc<dyn Store>;

pub async fn an_answer_is_read_back_as_it_was_put(store: Dyn) {
    let long = "tell me more ".repeat(60_000);
    for (id, payload) in [
        ("a", "{}"),
        ("b", ""),
        ("c'", "\0 \u{1b} é 😀 \\u0000 \r\n"),
        ("é", &long),
        ("d", &noise(1_100_000)),
    ] {
        let put = StoredTurn { payload: payload.to_owned(), ..turn(id) };
        store.put_turn(&put).await.unwrap();
        assert!(store.turn(id, &key_id(1), noon()).await.unwrap() == Some(put), "{id}");
    }
    assert_eq!(store.turn("e", &key_id(1), noon()).await.unwrap(), None);
}

pub async fn an_id_is_given_once(store: Dyn) {
    let puts: Vec<_> = (0..16)
        .map(|n| {
            let (store, turn) = (Arc::clone(&store), StoredTurn { payload: n.to_string(), ..turn("a") });
            tokio::spawn(async move { store.put_turn(&turn).await.map(|()| turn) })
        })
        .collect();
    let mut winners = Vec::new();
    for put in puts {
        match put.await.unwrap() {
            Ok(turn) => winners.push(turn),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.turn("a", &key_id(1), noon()).await.unwrap(), winners.pop());
}

pub async fn to_another_key_an_answer_is_not_there(store: Dyn) {
    store.put_turn(&turn("a")).await.unwrap();
    assert_eq!(store.turn("a", &key_id(2), noon()).await.unwrap(), None);
    let refused = store.remove_turn("a", &key_id(2), noon()).await.unwrap_err();
    let unknown = store.remove_turn("b", &key_id(2), noon()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.to_string()), (ErrorKind::NotFound, unknown.to_string()));
    assert_eq!(store.turn("a", &key_id(1), noon()).await.unwrap(), Some(turn("a")));
}

pub async fn an_answer_is_there_until_its_instant_and_no_longer(store: Dyn) {
    store.put_turn(&turn("a")).await.unwrap();
    let over = turn("a").expires_at;
    assert_eq!(store.turn("a", &key_id(1), over.plus_millis(-1)).await.unwrap(), Some(turn("a")));
    assert_eq!(store.turn("a", &key_id(1), over).await.unwrap(), None);
    assert_eq!(store.remove_turn("a", &key_id(1), over).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub async fn of_parallel_removals_one_succeeds_and_nothing_is_left(store: Dyn) {
    let long = StoredTurn { payload: noise(900_000), ..turn("a") };
    store.put_turn(&long).await.unwrap();
    store.put_turn(&turn("b")).await.unwrap();
    let removals: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.remove_turn("a", &key_id(1), noon()).await })
        })
        .collect();
    let mut removed = 0;
    for removal in removals {
        match removal.await.unwrap() {
            Ok(()) => removed += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    }
    assert_eq!(removed, 1);
    assert_eq!(store.turn("a", &key_id(1), noon()).await.unwrap(), None);
    assert_eq!(store.turn("b", &key_id(1), noon()).await.unwrap(), Some(turn("b")));
    store.put_turn(&turn("a")).await.unwrap();
    assert_eq!(store.turn("a", &key_id(1), noon()).await.unwrap(), Some(turn("a")));
}

pub async fn what_is_too_large_is_not_put_and_an_impossible_id_is_not_found(store: Dyn) {
    let most = StoredTurn { payload: noise(StoredTurn::MOST_BYTES), ..turn("most") };
    store.put_turn(&most).await.unwrap();
    assert!(store.turn("most", &key_id(1), noon()).await.unwrap() == Some(most));
    let long_id = "x".repeat(StoredTurn::MOST_ID_BYTES + 1);
    for wrong in [
        StoredTurn { payload: "x".repeat(StoredTurn::MOST_BYTES + 1), ..turn("a") },
        turn(""),
        turn(&long_id),
        turn(&"x".repeat(5_000)),
    ] {
        assert_eq!(store.put_turn(&wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(store.turn(&wrong.id, &key_id(1), noon()).await.unwrap(), None);
        let removed = store.remove_turn(&wrong.id, &key_id(1), noon()).await;
        assert_eq!(removed.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// Or none, where the database forgets them by itself.
pub async fn pruning_takes_what_is_over_the_oldest_first_and_nothing_else(store: Dyn) {
    let ends = |n: i64| noon().plus_millis(n * 1_000);
    for n in 1..=5 {
        store.put_turn(&StoredTurn { expires_at: ends(n), ..turn(&n.to_string()) }).await.unwrap();
    }
    let there = async |n: i64| store.turn(&n.to_string(), &key_id(1), noon()).await.unwrap().is_some();
    let forgets = store.prune_turns(ends(3), 2).await.unwrap() == 0;
    assert!(there(3).await && there(4).await && there(5).await);
    if !forgets {
        assert!(!there(1).await && !there(2).await);
        assert_eq!(store.prune_turns(ends(3), 2).await.unwrap(), 1);
        assert!(!there(3).await && there(4).await && there(5).await);
    }
    assert_eq!(store.prune_turns(ends(3), 2).await.unwrap(), 0);
}
