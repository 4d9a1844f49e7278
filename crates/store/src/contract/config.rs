//! The laws about configuration.

use std::sync::Arc;

use super::sample::{beta_row, mapping_row, noon, price_row};
use crate::{
    BetaKind, BetaRow, ConfigKind, ErrorKind, MappingRow, PriceBand, PriceFigures, PriceRow, Store,
    config::{self, MOST_MICRO_USD, Row},
};

type Dyn = Arc<dyn Store>;

async fn put<R: Row>(store: &Dyn, row: &R) -> R {
    config::put(store.as_ref(), row).await.unwrap()
}

async fn put_fails<R: Row>(store: &Dyn, row: &R) -> ErrorKind {
    config::put(store.as_ref(), row).await.map(|_| ()).unwrap_err().kind()
}

async fn all<R: Row>(store: &Dyn) -> Vec<R> {
    config::list(store.as_ref()).await.unwrap()
}

async fn remove_fails(store: &Dyn, id: &str, version: Option<u64>) -> ErrorKind {
    config::remove::<MappingRow>(store.as_ref(), id, version).await.unwrap_err().kind()
}

pub async fn a_row_of_each_kind_is_read_back_as_it_was_put(store: Dyn) {
    let mapping = put(&store, &mapping_row("a")).await;
    let bare_mapping =
        put(&store, &MappingRow { base_model_id: None, updated_by: None, ..mapping_row("b") }).await;
    let price = put(&store, &price_row("a")).await;
    let figures = PriceFigures {
        input: 0,
        output: MOST_MICRO_USD,
        cache_read: None,
        cache_write_5m: None,
        cache_write_1h: None,
    };
    let bare_price = put(&store, &PriceRow { figures, band: None, ..price_row("b") }).await;
    let beta = put(&store, &beta_row("a-2026-01-01")).await;
    let bare_beta = BetaRow {
        header_type: BetaKind::Allow,
        mapped_to: Vec::new(),
        models: Vec::new(),
        description: None,
        ..beta_row("b-2026-01-01")
    };
    let bare_beta = put(&store, &bare_beta).await;
    assert_eq!((mapping.version, price.version, beta.version), (1, 1, 1));
    assert_eq!(all::<MappingRow>(&store).await, [mapping, bare_mapping]);
    assert_eq!(all::<PriceRow>(&store).await, [price, bare_price]);
    assert_eq!(all::<BetaRow>(&store).await, [beta, bare_beta]);
}

pub async fn rows_are_listed_whole_in_the_order_of_their_ids_and_kinds_stay_apart(store: Dyn) {
    assert_eq!(all::<MappingRow>(&store).await, []);
    let mut ids: Vec<String> = (0..60).map(|n| format!("name-{:02}", (n * 37) % 60)).collect();
    ids.extend(["Z", "é", "arn:aws:bedrock:us-east-1:1:provisioned-model/x", "a'b"].map(str::to_owned));
    for id in &ids {
        put(&store, &mapping_row(id)).await;
    }
    put(&store, &price_row("name-01")).await;
    ids.sort();
    let listed: Vec<_> = all::<MappingRow>(&store).await.into_iter().map(|row| row.model_id).collect();
    assert_eq!(listed, ids);
    assert_eq!(all::<PriceRow>(&store).await.len(), 1);
    assert_eq!(all::<BetaRow>(&store).await, []);
}

pub async fn a_new_row_is_put_once(store: Dyn) {
    let first = put(&store, &mapping_row("a")).await;
    let other = MappingRow { bedrock_model_id: "other".to_owned(), ..mapping_row("a") };
    assert_eq!(put_fails(&store, &other).await, ErrorKind::Conflict);
    assert_eq!(all::<MappingRow>(&store).await, [first]);
}

pub async fn a_row_takes_the_place_of_the_version_it_names_and_of_no_other(store: Dyn) {
    let first = put(&store, &price_row("a")).await;
    let second = put(&store, &PriceRow { band: None, ..first.clone() }).await;
    assert_eq!((second.version, second.band), (2, None));
    assert_eq!(put_fails(&store, &first).await, ErrorKind::Conflict);
    assert_eq!(put_fails(&store, &PriceRow { version: 3, ..first.clone() }).await, ErrorKind::Conflict);
    assert_eq!(put_fails(&store, &PriceRow { version: 1, ..price_row("b") }).await, ErrorKind::NotFound);
    assert_eq!(all::<PriceRow>(&store).await, [second]);
}

pub async fn of_parallel_changes_of_one_version_one_succeeds(store: Dyn) {
    let row = put(&store, &mapping_row("a")).await;
    let changes: Vec<_> = (0..16)
        .map(|n| {
            let (store, row) = (Arc::clone(&store), row.clone());
            tokio::spawn(async move {
                let row = MappingRow { bedrock_model_id: format!("target-{n}"), ..row };
                config::put(store.as_ref(), &row).await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for change in changes {
        match change.await.unwrap() {
            Ok(row) => winners.push(row),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(all::<MappingRow>(&store).await, winners);
}

pub async fn a_removed_row_is_gone_and_may_be_put_anew(store: Dyn) {
    assert_eq!(remove_fails(&store, "a", None).await, ErrorKind::NotFound);
    assert_eq!(remove_fails(&store, "a", Some(1)).await, ErrorKind::NotFound);
    let row = put(&store, &mapping_row("a")).await;
    put(&store, &price_row("a")).await;
    assert_eq!(remove_fails(&store, "a", Some(2)).await, ErrorKind::Conflict);
    config::remove::<MappingRow>(store.as_ref(), "a", Some(1)).await.unwrap();
    assert_eq!(all::<MappingRow>(&store).await, []);
    assert_eq!(all::<PriceRow>(&store).await.len(), 1, "another kind's row stays");
    assert_eq!(put(&store, &mapping_row("a")).await, row);
    config::remove::<MappingRow>(store.as_ref(), "a", None).await.unwrap();
    assert_eq!(remove_fails(&store, "a", None).await, ErrorKind::NotFound);
}

pub async fn a_row_that_breaks_a_rule_is_not_put(store: Dyn) {
    let (mapping, price, beta) = (mapping_row("a"), price_row("a"), beta_row("a-2026-01-01"));
    for row in [
        MappingRow { model_id: String::new(), ..mapping.clone() },
        MappingRow { model_id: "a b".to_owned(), ..mapping.clone() },
        MappingRow { bedrock_model_id: "a\u{1b}[2J".to_owned(), ..mapping.clone() },
        MappingRow { base_model_id: Some(String::new()), ..mapping.clone() },
        MappingRow { model_id: "x".repeat(2049), ..mapping },
    ] {
        assert_eq!(put_fails(&store, &row).await, ErrorKind::Invalid, "{row:?}");
    }
    let dear = PriceFigures { output: MOST_MICRO_USD + 1, ..price.figures };
    for row in [
        PriceRow { figures: dear, ..price.clone() },
        PriceRow { band: Some(PriceBand { above_input_tokens: 1, figures: dear }), ..price.clone() },
        PriceRow { band: Some(PriceBand { above_input_tokens: 0, figures: price.figures }), ..price.clone() },
        PriceRow { regional_multiplier: 99, ..price.clone() },
        PriceRow { provider: String::new(), ..price },
    ] {
        assert_eq!(put_fails(&store, &row).await, ErrorKind::Invalid, "{row:?}");
    }
    for row in [
        BetaRow { header_name: "a,b".to_owned(), ..beta.clone() },
        BetaRow { mapped_to: Vec::new(), ..beta.clone() },
        BetaRow { header_type: BetaKind::Blocklist, ..beta.clone() },
        BetaRow { mapped_to: vec!["ü".to_owned()], ..beta.clone() },
        BetaRow { models: vec![String::new()], ..beta },
    ] {
        assert_eq!(put_fails(&store, &row).await, ErrorKind::Invalid, "{row:?}");
    }
    assert_eq!(all::<MappingRow>(&store).await, []);
    assert_eq!(all::<PriceRow>(&store).await, []);
    assert_eq!(all::<BetaRow>(&store).await, []);
}

pub async fn a_row_of_another_hand_that_breaks_a_rule_is_broken_and_named(store: Dyn) {
    put(&store, &price_row("good")).await;
    let row = crate::ConfigRow {
        id: "bad".to_owned(),
        version: 0,
        members: serde_json::Map::from_iter([("updated_at".to_owned(), noon().to_string().into())]),
    };
    store.put_config_row(ConfigKind::Price, &row).await.unwrap();
    let error = config::list::<PriceRow>(store.as_ref()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains("`bad` of model-pricing"), "{error}");
}
