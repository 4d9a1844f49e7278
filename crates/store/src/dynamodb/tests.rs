use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification,
};

use super::tables::State;
use super::*;
use crate::{
    BetaRow, MappingRow, PicoUsd, StoredTurn, config,
    contract::{
        fault::{Fate, FaultProxy},
        rate::{TOKEN, ask},
        sample::{hash, key_id, mapping_row, noise, noon, record, row, turn},
        stand_in,
    },
};

async fn handles<const N: usize>(settings: &DynamoDbSettings) -> [Arc<DynamoDb>; N] {
    let mut handles = Vec::new();
    for _ in 0..N {
        handles.push(Arc::new(DynamoDb::open(settings).await.unwrap()));
    }
    handles.try_into().unwrap()
}

/// A store behind a proxy that can spoil its calls, and the same tables without it.
async fn behind_a_proxy() -> Option<(FaultProxy, Arc<DynamoDb>, Arc<DynamoDb>)> {
    let settings = stand_in::tables().await?;
    let proxy = FaultProxy::start(stand_in::url()?).await;
    let spoilt = DynamoDbSettings { endpoint_url: Some(proxy.url()), ..settings.clone() };
    let ([spoilt], [direct]) = (handles(&spoilt).await, handles(&settings).await);
    Some((proxy, spoilt, direct))
}

async fn total(store: &DynamoDb, n: u32) -> Totals {
    store.usage_totals(&key_id(n), &Bucket::Total).await.unwrap()
}

/// What lies in a table, expired or not.
async fn raw(store: &DynamoDb, table: &Table) -> Vec<Item> {
    let name = store.db.names.of(table);
    let store = store.call(|db| async move {
        let sent = db.clients.reads.scan().table_name(name).consistent_read(true).send().await;
        sent.map_err(|error| failure::of("looking", &error))
    });
    store.await.unwrap().items.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_writers_of_one_batch_all_together_write_it_once() {
    let Some(settings) = stand_in::tables().await else { return };
    let handles: [_; 4] = handles(&settings).await;
    let batch: Arc<Vec<_>> = Arc::new(
        (0..120_u32).map(|n| UsageRow { key_id: key_id(n % 3), ..row(&format!("req_{n}")) }).collect(),
    );
    let writers: Vec<_> = (0..64)
        .map(|n| {
            let (store, batch) = (Arc::clone(&handles[n % 4]), Arc::clone(&batch));
            tokio::spawn(async move { store.record_usage(&batch).await.unwrap() })
        })
        .collect();
    let mut written = 0;
    for writer in writers {
        let recorded = writer.await.unwrap();
        assert_eq!(recorded.written + recorded.repeated, 120);
        written += recorded.written;
    }
    assert_eq!(written, 120);
    for n in 0..3 {
        let totals = total(&handles[0], n).await;
        assert_eq!((totals.requests, totals.output_tokens), (40, 40 * 550));
        assert_eq!(totals.cost_pico_usd, PicoUsd(40 * 54_399_000_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost_among_many_that_try_again() {
    let Some(settings) = stand_in::tables().await else { return };
    let handles: [_; 2] = handles(&settings).await;
    handles[0].put_new_key(&hash(1), &KeyRecord { metadata: [].into(), ..record(1) }).await.unwrap();
    let writers: Vec<_> = (0..8_usize)
        .map(|n| {
            let store = Arc::clone(&handles[n % 2]);
            tokio::spawn(async move {
                loop {
                    let mut record = store.key_by_id(&key_id(1)).await.unwrap().unwrap();
                    record.metadata.insert(n.to_string(), String::new());
                    match store.update_key(&record).await {
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
                        Ok(_) => return store.touch_last_used(&[(key_id(1), noon())]).await.unwrap(),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let stands = handles[0].key_by_hash(&hash(1)).await.unwrap().unwrap();
    assert_eq!((stands.version, stands.metadata.len()), (9, 8));
    assert_eq!(stands.last_used_at, Some(noon()));
}

#[tokio::test]
async fn a_database_that_is_away_or_overloaded_is_unavailable_and_nothing_counts_twice() {
    let Some((proxy, store, direct)) = behind_a_proxy().await else { return };
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    let batch: Vec<_> = (0..60).map(|n| row(&format!("req_{n}"))).collect();
    for fate in [
        Fate::Cut,
        Fate::error(500, "InternalServerError"),
        Fate::Answer(503, "not even JSON".to_owned()),
        Fate::error(400, "ThrottlingException"),
        Fate::error(400, "ProvisionedThroughputExceededException"),
        Fate::error(400, "AccessDeniedException"),
    ] {
        proxy.all(fate.clone());
        let errors = [
            store.key_by_hash(&hash(1)).await.unwrap_err(),
            store.put_new_key(&hash(2), &record(2)).await.unwrap_err(),
            store.update_key(&record(1)).await.unwrap_err(),
            store.touch_last_used(&[(key_id(1), noon())]).await.unwrap_err(),
            store.list_keys(&KeyFilter::default(), &Page::first(5)).await.unwrap_err(),
            store.record_usage(&batch).await.unwrap_err(),
            store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap_err(),
            store.meta_put_if_absent("name", "value").await.unwrap_err(),
            config::put(store.as_ref(), &mapping_row("a")).await.unwrap_err(),
            config::list::<MappingRow>(store.as_ref()).await.unwrap_err(),
            config::remove::<MappingRow>(store.as_ref(), "a", None).await.unwrap_err(),
            store.draw_rate(&ask(1)).await.unwrap_err(),
            store.probe().await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.is_retryable(), "{fate:?}: {error}");
        }
        assert_eq!(total(&direct, 1).await, Totals::default());
    }
    proxy.all(Fate::Pass);
    assert_eq!(store.record_usage(&batch).await.unwrap(), Recorded { written: 60, repeated: 0 });
    assert_eq!(direct.key_by_hash(&hash(1)).await.unwrap(), Some(record(1)));
}

#[tokio::test]
async fn a_batch_whose_answers_were_lost_may_be_sent_again() {
    let Some((proxy, store, direct)) = behind_a_proxy().await else { return };
    let batch: Vec<_> = (0..60).map(|n| row(&format!("req_{n}"))).collect();
    // Every answer is lost: the call fails, although its first part was written, by whichever of its tries.
    proxy.all(Fate::Forget);
    assert!(store.record_usage(&batch).await.unwrap_err().is_retryable());
    let first = total(&direct, 1).await.requests;
    assert!(first > 0 && first < 60, "{first}");
    // One answer is lost: the SDK's repeat carries the same token and learns that all is well.
    proxy.next([Fate::Pass, Fate::Forget]);
    let recorded = store.record_usage(&batch).await.unwrap();
    assert_eq!(recorded.written as u64 + first, 60);
    assert_eq!(total(&direct, 1).await.requests, 60);
    assert_eq!(store.record_usage(&batch).await.unwrap(), Recorded { written: 0, repeated: 60 });
    assert_eq!(total(&direct, 1).await.output_tokens, 60 * 550);
}

#[tokio::test]
async fn transactions_that_meet_others_are_tried_again_and_not_for_ever() {
    let Some((proxy, store, direct)) = behind_a_proxy().await else { return };
    proxy.next(vec![Fate::conflict(); 3]);
    assert_eq!(store.record_usage(&[row("a")]).await.unwrap().written, 1);
    proxy.next([Fate::conflict()]);
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    proxy.all(Fate::conflict());
    let error = store.record_usage(&[row("b")]).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("TransactionConflict"), "{error}");
    assert_eq!(total(&direct, 1).await.requests, 1);
}

#[tokio::test]
async fn an_update_is_sent_once_and_a_lost_answer_is_no_false_conflict() {
    let Some((proxy, store, _)) = behind_a_proxy().await else { return };
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    // The pointer, the record, and the update.
    proxy.next([Fate::Pass, Fate::Pass, Fate::Forget]);
    let before = proxy.seen();
    assert!(store.update_key(&record(1)).await.unwrap_err().is_retryable());
    assert_eq!(proxy.seen() - before, 3);
    assert_eq!(store.key_by_id(&key_id(1)).await.unwrap().unwrap().version, 2);
}

#[tokio::test]
async fn what_is_owed_or_given_back_is_so_once_although_answers_are_lost() {
    let Some((proxy, store, direct)) = behind_a_proxy().await else { return };
    let spent = async || direct.draw_rate(&ask(0)).await.unwrap().spent / TOKEN;
    assert_eq!(store.draw_rate(&ask(40)).await.unwrap().granted, 40 * TOKEN);
    for (changed, left) in
        [(RateAsk { back: 20 * TOKEN, ..ask(0) }, 20), (RateAsk { debt: 5 * TOKEN, ..ask(0) }, 25)]
    {
        // The bucket is read, and written.
        proxy.next([Fate::Pass, Fate::Forget]);
        let before = proxy.seen();
        assert!(store.draw_rate(&changed).await.unwrap_err().is_retryable());
        assert_eq!((proxy.seen() - before, spent().await), (2, left));
    }
    // A draw is made again, at the key's expense.
    proxy.next([Fate::Pass, Fate::Forget]);
    assert_eq!(store.draw_rate(&ask(5)).await.unwrap().granted, 5 * TOKEN);
    assert_eq!(spent().await, 35);
    // Of two who read the same version one writes; the other reads again.
    proxy.next([Fate::Pass, Fate::error(400, "ConditionalCheckFailedException")]);
    assert_eq!(store.draw_rate(&ask(5)).await.unwrap().granted, 5 * TOKEN);
    assert_eq!(spent().await, 40);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unavailable_and_named() {
    let settings = DynamoDbSettings {
        region: None,
        endpoint_url: Some("http://127.0.0.1:1".to_owned()),
        tables: TableNames::with_prefix("nothing-"),
        keep_usage: None,
    };
    let error = DynamoDb::open(&settings).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nothing-api-keys"), "{error}");
}

#[tokio::test]
async fn what_has_expired_is_absent_although_it_is_still_there() {
    let Some(settings) = stand_in::tables().await else { return };
    let [lasting] = handles(&settings).await;
    let [store] = handles(&DynamoDbSettings { keep_usage: Some(Duration::ZERO), ..settings.clone() }).await;
    let query = UsageQuery { key_id: key_id(1), since: noon(), until: noon().plus_millis(1) };
    lasting.record_usage(&[row("kept")]).await.unwrap();
    assert_eq!(store.record_usage(&[row("kept"), row("gone")]).await.unwrap().written, 1);
    for store in [&store, &lasting] {
        let rows = store.usage_rows(&query, &Page::first(5)).await.unwrap().items;
        assert_eq!(rows, [row("kept")], "an expired row is not listed");
    }
    // The first is not kept, so the second counts; what was counted stays counted.
    assert_eq!(store.record_usage(&[row("gone")]).await.unwrap().written, 1);
    assert_eq!(total(&store, 1).await.requests, 3);
    assert!(raw(&store, &tables::USAGE).await.iter().any(|item| item.contains_key("ttl")));
    let has_ttl = |item: &Item| (item["bucket"].as_s().unwrap().clone(), item.contains_key("ttl"));
    let stats: BTreeSet<_> = raw(&store, &tables::USAGE_STATS).await.iter().map(has_ttl).collect();
    let expected = [
        ("day#2026-11-21", true),
        ("day#2026-11-21#anthropic.claude-opus-5", true),
        ("month#2026-11", false),
        ("total", false),
    ];
    assert_eq!(stats, expected.map(|(bucket, ttl)| (bucket.to_owned(), ttl)).into());
}

#[tokio::test]
async fn a_key_is_a_record_and_a_pointer_and_nothing_else() {
    let Some(settings) = stand_in::tables().await else { return };
    let [store] = handles(&settings).await;
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    let names = |item: &Item| item.keys().cloned().collect::<BTreeSet<_>>();
    let items = raw(&store, &tables::API_KEYS).await;
    let kept: BTreeSet<_> = items.iter().map(names).collect();
    let expected = [&["created_at", "key_id", "pk", "record", "user_id", "version"][..], &["hash", "pk"]];
    let of = |list: &[&str]| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(kept, expected.into_iter().map(of).collect());
}

#[tokio::test]
async fn a_row_made_by_hand_with_a_set_is_broken_and_not_read_as_one_without_it() {
    let Some(settings) = stand_in::tables().await else { return };
    let [store] = handles(&settings).await;
    let name = settings.tables.of(&tables::BETA_HEADERS);
    let sent = store.call(|db| async move {
        let put = db.clients.writes.put_item().table_name(name).item("header_name", text("a-2030-01-01"));
        let put = put.item("header_type", text("allow")).item("updated_at", text(noon().to_string()));
        let put = put.item("models", AttributeValue::Ss(vec!["*opus*".to_owned()]));
        put.send().await.map_err(|error| failure::of("putting", &error))
    });
    sent.await.unwrap();
    let error = config::list::<BetaRow>(store.as_ref()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains("a-2030-01-01"), "{error}");
}

#[tokio::test]
async fn missing_tables_are_named_with_what_makes_them() {
    let Some(settings) = stand_in::untouched() else { return };
    let error = DynamoDb::open(&settings).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    let text = error.to_string();
    assert!(text.contains(&settings.tables.of(&tables::API_KEYS)), "{text}");
    assert!(text.contains("outcrop-keys setup"), "{text}");
}

#[tokio::test]
async fn setup_makes_what_is_missing_once_and_can_only_look() {
    let Some(settings) = stand_in::untouched() else { return };
    let all = |state: &State| TABLES.map(|table| (settings.tables.of(&table), state.clone())).to_vec();
    let run = async |only_compare| {
        let states = DynamoDb::setup(&settings, only_compare).await.unwrap();
        states.into_iter().map(|table| (table.name, table.state)).collect::<Vec<_>>()
    };
    assert_eq!(run(true).await, all(&State::Missing));
    assert_eq!(run(true).await, all(&State::Missing), "looking makes nothing");
    assert_eq!(run(false).await, all(&State::Made));
    assert_eq!(run(false).await, all(&State::InOrder));
    assert_eq!(run(true).await, all(&State::InOrder));
    // Another full name for one of them.
    let mut moved = settings.clone();
    moved.tables.full.push(("meta", format!("{}elsewhere", settings.tables.prefix)));
    let states = DynamoDb::setup(&moved, true).await.unwrap();
    let missing: Vec<_> = states.iter().filter(|table| !table.state.is_usable()).collect();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].name.ends_with("elsewhere"));
}

/// A table with one key of its own, and nothing else.
async fn make_table(settings: &DynamoDbSettings, table: &Table, key: &str, ttl: Option<&str>) {
    let store = DynamoDb::connect(settings).await.unwrap();
    let (name, key, ttl) = (settings.tables.of(table), key.to_owned(), ttl.map(str::to_owned));
    let made = store.call(|db| async move {
        let text = AttributeDefinition::builder().attribute_name(&key).attribute_type(ScalarAttributeType::S);
        let hash = KeySchemaElement::builder().attribute_name(&key).key_type(KeyType::Hash);
        let creation = db.clients.writes.create_table().table_name(&name);
        let creation =
            creation.attribute_definitions(text.build().unwrap()).key_schema(hash.build().unwrap());
        let sent = creation.billing_mode(BillingMode::PayPerRequest).send().await;
        sent.map_err(|error| failure::of("making", &error))?;
        if let Some(ttl) = ttl {
            let on = TimeToLiveSpecification::builder().enabled(true).attribute_name(ttl).build().unwrap();
            let sent = db.clients.writes.update_time_to_live().table_name(&name);
            let sent = sent.time_to_live_specification(on).send().await;
            sent.map_err(|error| failure::of("making", &error))?;
        }
        Ok(())
    });
    made.await.unwrap();
}

#[tokio::test]
async fn setup_adds_an_index_and_a_ttl_and_leaves_alone_what_it_cannot_change() {
    let Some(settings) = stand_in::untouched() else { return };
    make_table(&settings, &tables::API_KEYS, "pk", None).await;
    make_table(&settings, &tables::USAGE, "id", Some("expires")).await;
    let of = |states: &[TableState], table: &Table| {
        states.iter().find(|state| state.name == settings.tables.of(table)).unwrap().state.clone()
    };
    let state = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let looked = DynamoDb::setup(&settings, true).await.unwrap();
    let missing = state(&["no index user_id-index", "no TTL by ttl"]);
    assert_eq!(of(&looked, &tables::API_KEYS), State::Differs(missing));
    assert_eq!(of(&looked, &tables::META), State::Missing);
    let made = DynamoDb::setup(&settings, false).await.unwrap();
    let added = state(&["index user_id-index", "TTL by ttl"]);
    assert_eq!(of(&made, &tables::API_KEYS), State::Changed(added));
    assert_eq!(of(&made, &tables::META), State::Made);
    let State::Differs(differences) = of(&made, &tables::USAGE) else { panic!("{made:?}") };
    assert_eq!(differences, state(&["its key is not key_id and sk", "its TTL goes by expires"]));
    let error = DynamoDb::open(&settings).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains("other keys"), "{error}");
}

#[tokio::test]
async fn tables_of_a_newer_build_are_left_alone() {
    let Some(settings) = stand_in::tables().await else { return };
    let [store] = handles(&settings).await;
    assert_eq!(store.meta_get(VERSION).await.unwrap(), Some(LAYOUT.to_string()));
    let name = settings.tables.of(&tables::META);
    let sent = store.call(|db| async move {
        let put = db.clients.writes.put_item().table_name(name).item("name", text(VERSION));
        put.item("value", text("999")).send().await.map_err(|error| failure::of("putting", &error))
    });
    sent.await.unwrap();
    assert_eq!(DynamoDb::open(&settings).await.unwrap_err().kind(), ErrorKind::Broken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_that_went_wrong_are_counted_again_in_as_many_transactions_as_it_takes() {
    let Some(settings) = stand_in::tables().await else { return };
    let [store] = handles(&settings).await;
    let rows: Vec<_> = (0..60)
        .map(|day| UsageRow {
            ts: noon().plus_millis(day * Timestamp::DAY_MILLIS),
            ..row(&format!("req_{day}"))
        })
        .collect();
    store.record_usage(&rows).await.unwrap();
    let (right, stood) = (total(&store, 1).await, raw(&store, &tables::USAGE_STATS).await.len());
    let forget = async |kept: &str| {
        for item in raw(&store, &tables::USAGE_STATS).await {
            let place = ["key_id", "bucket"].map(|name| (name.to_owned(), item[name].clone()));
            let kept = item::read_text(&item, "bucket").unwrap().starts_with(kept);
            let table = store.db.names.of(&tables::USAGE_STATS);
            let delete = store.call(move |db| async move {
                let delete = db.clients.writes.delete_item().table_name(table).set_key(Some(place.into()));
                delete.send().await.map(|_| ()).map_err(|error| failure::of("forgetting", &error))
            });
            if !kept {
                delete.await.unwrap();
            }
        }
    };
    for kept in ["total", "month", "day", "nothing"] {
        forget(kept).await;
        let seen = store.rebuild_usage(&key_id(1), Timestamp::EPOCH, true).await.unwrap();
        assert!(!seen.is_empty(), "{kept}");
        assert_eq!(store.rebuild_usage(&key_id(1), Timestamp::EPOCH, false).await.unwrap(), seen, "{kept}");
        assert_eq!(store.rebuild_usage(&key_id(1), Timestamp::EPOCH, true).await.unwrap(), [], "{kept}");
        assert_eq!(total(&store, 1).await, right);
        assert_eq!(raw(&store, &tables::USAGE_STATS).await.len(), stood);
    }
    // Bookings add to what was corrected.
    store.record_usage(&[row("another")]).await.unwrap();
    assert_eq!(total(&store, 1).await.requests, 61);
}

#[tokio::test]
async fn a_long_answer_lies_in_chunks_that_expire_no_earlier_than_it_and_go_together() {
    let Some(settings) = stand_in::tables().await else { return };
    let [store] = handles(&settings).await;
    let payload = noise(1_000_000);
    store.put_turn(&StoredTurn { payload, ..turn("a") }).await.unwrap();
    let chunks = raw(&store, &tables::RESPONSE_CONTEXT).await;
    assert!(chunks.len() > 1, "{}", chunks.len());
    let ends = (turn("a").expires_at.unix_millis() / 1_000) + 1;
    assert!(chunks.iter().all(|chunk| chunk["expires_at"] == AttributeValue::N(ends.to_string())));
    store.remove_turn("a", &key_id(1), noon()).await.unwrap();
    assert_eq!(raw(&store, &tables::RESPONSE_CONTEXT).await.len(), 0);
}
