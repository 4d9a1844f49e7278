use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, thread};

use super::*;
use crate::{
    ErrorKind, PicoUsd, Rate, ServiceTier,
    contract::{
        rate::{TOKEN, ask},
        sample::{hash, key_id, noon, record, row},
    },
    usage::{Writer, WriterOptions},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = Sqlite::open(&path).unwrap();
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    store.record_usage(&[row("a")]).await.unwrap();
    store.meta_put_if_absent("name", "value").await.unwrap();
    drop(store);
    let store = Sqlite::open(&path).unwrap();
    assert_eq!(store.key_by_hash(&hash(1)).await.unwrap(), Some(record(1)));
    assert_eq!(store.record_usage(&[row("a")]).await.unwrap(), Recorded { written: 0, repeated: 1 });
    assert_eq!(store.usage_totals(&key_id(1), &Bucket::Day(noon())).await.unwrap().requests, 1);
    assert_eq!(store.meta_get("name").await.unwrap().as_deref(), Some("value"));
}

#[tokio::test]
async fn the_database_and_its_log_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = Sqlite::open(&path).unwrap();
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    for name in ["outcrop.db", "outcrop.db-wal", "outcrop.db-shm"] {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(Sqlite::open(&path).unwrap());
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn many_may_open_a_new_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || Sqlite::open(path).map(drop))
        })
        .collect();
    for opener in openers {
        opener.join().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_on_one_file_lose_and_repeat_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let handles = [Arc::new(Sqlite::open(&path).unwrap()), Arc::new(Sqlite::open(&path).unwrap())];
    let writers: Vec<_> = (0..8_usize)
        .map(|n| {
            let store = Arc::clone(&handles[n % 2]);
            tokio::spawn(async move {
                for step in 0..20 {
                    // Every row is sent through both handles.
                    store.record_usage(&[row(&format!("{}-{step}", n / 2))]).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for store in &handles {
        let totals = store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap();
        assert_eq!((totals.requests, totals.output_tokens), (80, 80 * 550));
    }
}

#[tokio::test]
async fn a_write_is_seen_by_the_other_handle_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let (one, two) = (Sqlite::open(&path).unwrap(), Sqlite::open(&path).unwrap());
    for n in 0..50 {
        one.put_new_key(&hash(n), &record(n)).await.unwrap();
        assert!(two.key_by_hash(&hash(n)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn buckets_of_limits_go_with_their_key_and_when_they_have_long_been_full() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = Sqlite::open(&path).unwrap();
    let left = || {
        let db = Connection::open(&path).unwrap();
        db.query_row("SELECT count(*) FROM rates", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    for n in [1, 2] {
        store.put_new_key(&hash(n), &record(n)).await.unwrap();
        for rate in Rate::ALL {
            store.draw_rate(&RateAsk { key_id: key_id(n), rate, ..ask(50) }).await.unwrap();
        }
    }
    assert_eq!(left(), 6);
    store.delete_key(&key_id(1)).await.unwrap();
    assert_eq!(left(), 3);
    // Of a second key one limit has a debt, which takes another minute.
    store.draw_rate(&RateAsk { key_id: key_id(2), debt: 50 * TOKEN, ..ask(0) }).await.unwrap();
    for (seconds, rows) in [(59, 3), (60, 1), (119, 1), (120, 0)] {
        store.prune_usage(noon().plus_millis(seconds * 1_000), 10).await.unwrap();
        assert_eq!(left(), rows, "after {seconds} s");
    }
}

#[test]
fn a_database_of_a_newer_build_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    drop(Sqlite::open(&path).unwrap());
    Connection::open(&path)
        .unwrap()
        .execute("UPDATE meta SET value = '999' WHERE name = 'schema_version'", [])
        .unwrap();
    let error = Sqlite::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(error.to_string().contains("999"), "{error}");
}

#[tokio::test]
async fn a_database_from_before_there_were_tiers_opens_and_its_rows_were_of_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID")
        .unwrap();
    old.execute_batch(include_str!("schema/1.sql")).unwrap();
    old.execute_batch("INSERT INTO meta VALUES ('schema_version', '1')").unwrap();
    old.execute(
        "INSERT INTO usage VALUES ('a', 0, ?1, 'u', ?2, 'messages', 'm', 'm', 'm', 'native', 'default', 'r', 0, 1, 2, 3, 4,
             5, NULL, '7', 0, 'ok', 200, NULL, NULL, 1, 2, NULL, NULL, NULL)",
        rusqlite::params![key_id(1).as_str(), noon().unix_millis()],
    )
    .unwrap();
    drop(old);
    let store = Sqlite::open(&path).unwrap();
    store.record_usage(&[row("b")]).await.unwrap();
    let query = UsageQuery { key_id: key_id(1), since: noon(), until: noon().plus_millis(1) };
    let rows = store.usage_rows(&query, &Page::first(10)).await.unwrap().items;
    assert_eq!((rows[0].tier_requested, rows[0].tier_served), (ServiceTier::Default, ServiceTier::Default));
    assert_eq!((rows[0].cache_ttl, rows[0].cost_pico_usd), (None, Some(PicoUsd(7))));
    assert_eq!(rows[1], row("b"));
    drop(store);
    drop(Sqlite::open(&path).unwrap());
}

#[test]
fn a_file_that_is_no_database_and_a_missing_directory_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    fs::write(&path, "not a database at all, just some words of sufficient length".repeat(40)).unwrap();
    assert_eq!(Sqlite::open(&path).unwrap_err().kind(), ErrorKind::Broken);
    let error = Sqlite::open(dir.path().join("missing/outcrop.db")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("missing/outcrop.db"), "{error}");
}

#[tokio::test]
async fn a_failing_call_spoils_none_of_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = Sqlite::open(&path).unwrap();
    store.put_new_key(&hash(1), &record(1)).await.unwrap();
    // Another connection holds the write lock, so that the calls below wait and are taken together.
    let blocker = Connection::open(&path).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (two, again, three) = (record(2), record(1), record(3));
    let (hash_two, hash_one, hash_three) = (hash(2), hash(1), hash(3));
    let calls = async {
        tokio::join!(
            store.put_new_key(&hash_two, &two),
            store.put_new_key(&hash_one, &again),
            store.put_new_key(&hash_three, &three),
        )
    };
    let release = async { blocker.execute_batch("COMMIT").unwrap() };
    let ((first, second, third), ()) = tokio::join!(calls, release);
    first.unwrap();
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Conflict);
    third.unwrap();
    assert!(store.key_by_hash(&hash(2)).await.unwrap().is_some());
    assert!(store.key_by_hash(&hash(3)).await.unwrap().is_some());
}

#[tokio::test]
async fn no_secret_and_no_hash_shows_in_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path().join("outcrop.db")).unwrap();
    store.put_new_key(&hash(0x6162_6364), &record(1)).await.unwrap();
    let error = store.put_new_key(&hash(0x6162_6364), &record(2)).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("abcd") && !shown.contains("61626364") && !shown.contains("97, 98"), "{shown}");
}

#[tokio::test]
async fn a_batch_with_a_refused_row_leaves_no_trace_and_the_writer_saves_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outcrop.db");
    let store = Arc::new(Sqlite::open(&path).unwrap());
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON usage WHEN new.request_id = 'bad'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    let batch = [row("a"), row("bad"), row("c")];
    assert_eq!(store.record_usage(&batch).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap(), Totals::default());
    let options = WriterOptions { spool_dir: dir.path().join("spool"), ..WriterOptions::default() };
    let (recorder, handle) = Writer::start(Arc::clone(&store) as Arc<dyn Store>, options).unwrap();
    for row in batch {
        recorder.record(row);
    }
    let stats = handle.stop().await;
    assert_eq!((stats.written, stats.rejected, stats.queued), (2, 1, 0));
    assert_eq!(store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap().requests, 2);
}

#[tokio::test]
async fn totals_that_went_wrong_are_counted_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path().join("outcrop.db")).unwrap();
    let rows: Vec<_> = (0..40)
        .map(|day| UsageRow {
            ts: noon().plus_millis(day * Timestamp::DAY_MILLIS),
            ..row(&format!("req_{day}"))
        })
        .collect();
    store.record_usage(&rows).await.unwrap();
    store.record_usage(&[UsageRow { key_id: key_id(2), ..row("other") }]).await.unwrap();
    let standing =
        async |key| store.read(move |db| totals::compared(db, &key_id(key), noon())).await.unwrap();
    let all = async |store: &Sqlite| store.usage_totals(&key_id(1), &Bucket::Total).await.unwrap();
    let right = all(&store).await;
    for spoil in [
        "UPDATE usage_stats SET requests = 99, cost_pico_usd = '1'",
        "DELETE FROM usage_stats WHERE bucket <> 'day#2026-11-21'",
        "UPDATE usage_stats SET bucket = 'day#2026-12-25#invented' WHERE bucket = 'day#2026-11-25'",
    ] {
        store.write(move |db| Ok(db.execute(spoil, [])?)).await.unwrap();
        let seen = store.rebuild_usage(&key_id(1), Timestamp::EPOCH, true).await.unwrap();
        assert!(!seen.is_empty(), "{spoil}");
        assert_eq!(store.rebuild_usage(&key_id(1), Timestamp::EPOCH, false).await.unwrap(), seen);
        assert_eq!(store.rebuild_usage(&key_id(1), Timestamp::EPOCH, true).await.unwrap(), []);
        assert_eq!(all(&store).await, right, "{spoil}");
    }
    assert!(!standing(2).await.is_empty(), "nobody asked for the other key's");
}
