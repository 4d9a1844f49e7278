//! Whatever is asked, in whatever order: a database answers as the specification in memory does.

use std::{fmt, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    Bucket, BudgetAsk, BudgetLimits, ConfigKind, ConfigRow, DynamoDb, Error, ErrorKind, KeyFilter, KeyId,
    KeyRecord, KeyStatus, Memory, NewKey, Page, PaidBy, PicoUsd, Rate, RateAsk, Result, RowStatus, Sqlite,
    Store, StoredTurn, Timestamp, UsageQuery, UsageRow,
    contract::{
        sample::{hash, key_id, noon, record, row, turn},
        stand_in,
    },
};

#[derive(Debug, Clone)]
enum Step {
    Put { hash: u32, record: KeyRecord },
    ByHash(u32),
    Update(KeyRecord),
    Rotate { hash: u32, record: KeyRecord },
    Delete(KeyId),
    Touch(Vec<(KeyId, Timestamp)>),
    List { filter: KeyFilter, limit: usize },
    Record(Vec<UsageRow>),
    Totals(KeyId, Bucket),
    Rows { query: UsageQuery, limit: usize },
    Prune(Timestamp, usize),
    Meta(String, String),
    Lease(BudgetAsk),
    Release(KeyId, &'static str, Option<PicoUsd>),
    Extend(&'static str, Vec<KeyId>, Timestamp, Timestamp),
    Paid(Vec<UsageRow>, &'static str),
    Config(ConfigKind),
    PutConfig(ConfigKind, ConfigRow),
    RemoveConfig(ConfigKind, String, Option<u64>),
    Draw(RateAsk),
    Turn(TurnStep),
}

#[derive(Debug, Clone)]
enum TurnStep {
    Put(StoredTurn),
    Get(&'static str, KeyId, Timestamp),
    Remove(&'static str, KeyId, Timestamp),
    Prune(Timestamp, usize),
}

/// Few ids, few moments, few texts: collisions are what is interesting.
fn id() -> impl Strategy<Value = u32> {
    0..4_u32
}

fn moment() -> impl Strategy<Value = Timestamp> {
    // Around a month's end, some milliseconds or some hours apart.
    (-3..3_i64, select(vec![1, 3_600_000, 86_400_000]))
        .prop_map(|(steps, size)| noon().plus_millis(10 * 86_400_000 - 43_200_000 + steps * size))
}

fn a_record() -> impl Strategy<Value = KeyRecord> {
    (id(), moment(), select(vec!["amalia", "bea", "", "a'b"]), any::<bool>(), option::of(moment()), 0..3_u64)
        .prop_map(|(n, created_at, user, is_active, expires_at, version)| KeyRecord {
            created_at,
            user_id: user.to_owned(),
            is_active,
            expires_at,
            version,
            ..record(n)
        })
}

fn a_row() -> impl Strategy<Value = UsageRow> {
    let name = select(vec!["a", "a.b", "b\0", "é"]);
    let status = select(vec![RowStatus::Ok, RowStatus::ClientClosed, RowStatus::UpstreamError]);
    let tokens = prop_oneof![0..1_000_u64, Just(u64::MAX)];
    let cost = option::of(any::<u128>().prop_map(PicoUsd));
    (id(), moment(), name, 0..12_u32, status, tokens, cost, select(vec!["m", "m#n"])).prop_map(
        |(key, ts, request_id, round, status, tokens, cost_pico_usd, model)| UsageRow {
            key_id: key_id(key),
            ts,
            round,
            status,
            output_tokens: tokens,
            cost_pico_usd,
            base_model: model.to_owned(),
            ..row(request_id)
        },
    )
}

fn a_bucket() -> impl Strategy<Value = Bucket> {
    (moment(), 0..4, select(vec!["m", "m#n"])).prop_map(|(at, which, model)| match which {
        0 => Bucket::Total,
        1 => Bucket::Month(at),
        2 => Bucket::Day(at),
        _ => Bucket::DayModel(at, model.to_owned()),
    })
}

fn a_filter() -> impl Strategy<Value = KeyFilter> {
    let user = option::of(select(vec!["amalia".to_owned(), "a'b".to_owned()]));
    let prefix =
        option::of(select(vec!["key_000000000000000".to_owned(), key_id(2).to_string(), "%".to_owned()]));
    (user, option::of((select(KeyStatus::ALL.to_vec()), moment())), prefix).prop_map(
        |(user_id, status, id_prefix)| KeyFilter { user_id, status, id_prefix, ..KeyFilter::default() },
    )
}

fn replica() -> impl Strategy<Value = &'static str> {
    select(vec!["one", "two", "budget#version"])
}

fn an_ask() -> impl Strategy<Value = BudgetAsk> {
    let amount = || prop_oneof![(0..1_000_u128).prop_map(PicoUsd), any::<u128>().prop_map(PicoUsd)];
    let limits = (option::of(amount()), option::of(amount()), option::of(amount()))
        .prop_map(|(total, monthly, daily)| BudgetLimits { total, monthly, daily });
    (id(), replica(), amount(), 0..=100_u8, limits, moment(), moment(), moment()).prop_map(
        |(id, replica, need, share_percent, limits, at, now, expires_at)| BudgetAsk {
            key_id: key_id(id),
            replica: replica.to_owned(),
            need,
            share_percent,
            limits,
            at,
            now,
            expires_at,
        },
    )
}

fn a_draw() -> impl Strategy<Value = RateAsk> {
    let amount = || prop_oneof![3 => Just(0), 3 => 0..100_000_000_000_u128, 1 => any::<u128>()];
    let limit = prop_oneof![0..100_u64, any::<u64>()];
    let window = select(vec![1_000_000_u64, 1_000_000_000, 60_000_000_000, u64::MAX]);
    (0..2_u32, select(Rate::ALL.to_vec()), limit, window, amount(), 0..=100_u8, amount(), amount(), moment())
        .prop_map(|(id, rate, limit, nanos, need, share_percent, back, debt, now)| RateAsk {
            key_id: key_id(id),
            rate,
            limit,
            window: Duration::from_nanos(nanos),
            need,
            share_percent,
            back,
            debt,
            now,
        })
}

/// A row whose cost is near the amounts of leases.
fn a_cheap_row() -> impl Strategy<Value = UsageRow> {
    let cost = option::of((0..1_000_u128).prop_map(PicoUsd));
    (a_row(), cost).prop_map(|(row, cost_pico_usd)| UsageRow { cost_pico_usd, ..row })
}

fn a_config_row() -> impl Strategy<Value = ConfigRow> {
    let member = select(vec![serde_json::json!("x"), serde_json::json!(7), serde_json::json!(["a", "b"])]);
    (select(vec!["a", "b'"]), 0..3_u64, member).prop_map(|(id, version, member)| ConfigRow {
        id: id.to_owned(),
        version,
        // The index of prices goes by it.
        members: [("provider".to_owned(), "p".into()), ("m".to_owned(), member)].into_iter().collect(),
    })
}

fn turn_id() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "a'", "é", ""])
}

fn a_turn() -> impl Strategy<Value = StoredTurn> {
    (turn_id(), 0..2_u32, moment(), select(vec!["", "x", "\0"])).prop_map(|(id, key, expires_at, payload)| {
        StoredTurn { key_id: key_id(key), expires_at, payload: payload.to_owned(), ..turn(id) }
    })
}

fn a_turn_step() -> impl Strategy<Value = TurnStep> {
    let asked = || (turn_id(), (0..2_u32).prop_map(key_id), moment());
    prop_oneof![
        2 => a_turn().prop_map(TurnStep::Put),
        2 => asked().prop_map(|(id, key_id, now)| TurnStep::Get(id, key_id, now)),
        1 => asked().prop_map(|(id, key_id, now)| TurnStep::Remove(id, key_id, now)),
        1 => (moment(), 0..3_usize).prop_map(|(now, rows)| TurnStep::Prune(now, rows)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let query = (id(), moment(), moment()).prop_map(|(id, since, until)| UsageQuery {
        key_id: key_id(id),
        since,
        until,
    });
    let kind = || select(ConfigKind::ALL.to_vec());
    let text = || select(vec!["x".to_owned(), "y".to_owned()]);
    prop_oneof![
        3 => (id(), a_record()).prop_map(|(hash, record)| Step::Put { hash, record }),
        1 => (0..8_u32).prop_map(Step::ByHash),
        3 => a_record().prop_map(Step::Update),
        2 => (0..8_u32, a_record()).prop_map(|(hash, record)| Step::Rotate { hash, record }),
        1 => id().prop_map(|id| Step::Delete(key_id(id))),
        1 => vec((id().prop_map(key_id), moment()), 0..4).prop_map(Step::Touch),
        2 => (a_filter(), 1..4_usize).prop_map(|(filter, limit)| Step::List { filter, limit }),
        5 => vec(a_row(), 0..6).prop_map(Step::Record),
        3 => (id().prop_map(key_id), a_bucket()).prop_map(|(id, bucket)| Step::Totals(id, bucket)),
        2 => (query, 1..4_usize).prop_map(|(query, limit)| Step::Rows { query, limit }),
        1 => (moment(), 0..5_usize).prop_map(|(at, rows)| Step::Prune(at, rows)),
        1 => (text(), text()).prop_map(|(name, value)| Step::Meta(name, value)),
        6 => an_ask().prop_map(Step::Lease),
        1 => (id().prop_map(key_id), replica(), option::of((0..500_u128).prop_map(PicoUsd)))
            .prop_map(|(id, replica, amount)| Step::Release(id, replica, amount)),
        1 => (replica(), vec(id().prop_map(key_id), 0..3), moment(), moment())
            .prop_map(|(replica, keys, now, ends)| Step::Extend(replica, keys, now, ends)),
        4 => a_draw().prop_map(Step::Draw),
        3 => (vec(a_cheap_row(), 0..4), replica()).prop_map(|(rows, replica)| Step::Paid(rows, replica)),
        1 => kind().prop_map(Step::Config),
        3 => (kind(), a_config_row()).prop_map(|(kind, row)| Step::PutConfig(kind, row)),
        1 => (kind(), a_config_row(), any::<bool>()).prop_map(|(kind, row, named)| {
            Step::RemoveConfig(kind, row.id, named.then_some(row.version))
        }),
        4 => a_turn_step().prop_map(Step::Turn),
    ]
}

fn shown<T: fmt::Debug>(result: Result<T>) -> String {
    format!("{:?}", result.map_err(|error| error.kind()))
}

async fn turn_answer(store: &dyn Store, step: &TurnStep) -> String {
    match step {
        TurnStep::Put(turn) => shown(store.put_turn(turn).await),
        TurnStep::Get(id, key_id, now) => {
            let found = store.turn(id, key_id, *now).await;
            shown(found.map(|found| found.map(|turn| (turn.created_at, turn.expires_at, turn.payload))))
        }
        TurnStep::Remove(id, key_id, now) => shown(store.remove_turn(id, key_id, *now).await),
        TurnStep::Prune(now, rows) => shown(store.prune_turns(*now, *rows).await),
    }
}

/// What a store answers, as text.
async fn answer(store: &dyn Store, step: &Step) -> String {
    match step {
        Step::Put { hash: n, record } => shown(store.put_new_key(&hash(*n), record).await),
        Step::ByHash(n) => shown(store.key_by_hash(&hash(*n)).await),
        Step::Update(record) => shown(store.update_key(record).await),
        Step::Rotate { hash: n, record } => {
            // From what stands, but for the version. No old key ends: when its hash is free again is not promised.
            let stored = store.key_by_id(&record.key_id).await.unwrap().unwrap_or_else(|| record.clone());
            let key = NewKey::chosen("a-key-of-twenty-characters").unwrap();
            let wanted = stored.rotated(&key, 36_500 * Timestamp::DAY_MILLIS, None, noon());
            match wanted.map(|wanted| KeyRecord { version: record.version, ..wanted }) {
                Ok(wanted) => shown(store.rotate_key(&wanted, &hash(*n)).await.map(|record| record.version)),
                Err(error) => format!("{:?}", error.kind()),
            }
        }
        Step::Delete(id) => shown(store.delete_key(id).await),
        Step::Touch(uses) => shown(store.touch_last_used(uses).await),
        Step::List { filter, limit } => {
            let first = store.list_keys(filter, &Page::first(*limit)).await.unwrap();
            let second = match &first.next {
                Some(next) => store.list_keys(filter, &Page::after(next, *limit)).await,
                None => Err(Error::new(ErrorKind::NotFound, "no second page")),
            };
            format!("{first:?} {}", shown(second))
        }
        Step::Record(rows) => shown(store.record_usage(rows).await),
        Step::Totals(id, bucket) => shown(store.usage_totals(id, bucket).await),
        Step::Rows { query, limit } => {
            let first = store.usage_rows(query, &Page::first(*limit)).await.unwrap();
            let second = match &first.next {
                Some(next) => store.usage_rows(query, &Page::after(next, *limit)).await,
                None => Err(Error::new(ErrorKind::NotFound, "no second page")),
            };
            format!("{first:?} {}", shown(second))
        }
        Step::Prune(at, rows) => shown(store.prune_usage(*at, *rows).await),
        Step::Lease(ask) => shown(store.lease_budget(ask).await),
        Step::Release(id, replica, amount) => shown(store.release_budget(id, replica, *amount).await),
        Step::Extend(replica, keys, now, ends) => {
            let mut extended = store.extend_leases(replica, keys, *now, *ends).await;
            if let Ok(keys) = &mut extended {
                keys.sort();
            }
            shown(extended)
        }
        Step::Paid(rows, replica) => {
            let paid = PaidBy { replica: (*replica).to_owned(), keys: [key_id(0), key_id(1)].into() };
            shown(store.record_paid_usage(rows, Some(&paid)).await)
        }
        Step::Draw(ask) => shown(store.draw_rate(ask).await),
        Step::Meta(name, value) => shown(store.meta_put_if_absent(name, value).await),
        Step::Config(kind) => shown(store.config_rows(*kind).await),
        Step::PutConfig(kind, row) => shown(store.put_config_row(*kind, row).await),
        Step::RemoveConfig(kind, id, version) => shown(store.remove_config_row(*kind, id, *version).await),
        Step::Turn(step) => turn_answer(store, step).await,
    }
}

async fn agree(memory: &Memory, database: &dyn Store, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        prop_assert_eq!(answer(memory, step).await, answer(database, step).await, "{:?}", step);
    }
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Nobody asks for limits as of before what was pruned: `SQLite` forgets buckets that were full by then.
fn after_pruning(mut steps: Vec<Step>) -> Vec<Step> {
    let mut pruned = Timestamp::EPOCH;
    for step in &mut steps {
        match step {
            Step::Prune(at, _) => pruned = pruned.max(*at),
            Step::Draw(ask) => ask.now = ask.now.max(pruned),
            _ => {}
        }
    }
    steps
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn memory_and_sqlite_agree(steps in vec(step(), 1..60)) {
        let steps = after_pruning(steps);
        let dir = tempfile::tempdir().unwrap();
        let (memory, sqlite) = (Memory::new(), Sqlite::open(dir.path().join("outcrop.db")).unwrap());
        runtime().block_on(agree(&memory, &sqlite, &steps))?;
    }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn memory_and_dynamodb_agree(steps in vec(step(), 1..60)) {
        // It forgets rows by itself, so that it is not asked to.
        let forgotten = |step: &Step| matches!(step, Step::Prune(..) | Step::Turn(TurnStep::Prune(..)));
        let steps: Vec<_> = steps.into_iter().filter(|step| !forgotten(step)).collect();
        runtime().block_on(async {
            let Some(settings) = stand_in::tables().await else { return Ok(()) };
            let dynamodb = DynamoDb::open(&settings).await.unwrap();
            agree(&Memory::new(), &dynamodb, &steps).await
        })?;
    }
}
