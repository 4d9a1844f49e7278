//! What is on disk before an answer ends, and who brings it.

use super::*;
use crate::usage::{journal::Journal, spool::Spool};

/// Notes which rows it was told of.
#[derive(Debug, Default)]
struct Holder(Mutex<BTreeMap<String, usize>>);

impl LeaseHolder for Holder {
    fn paid_by(&self, _rows: &[UsageRow]) -> Option<PaidBy> {
        None
    }
    fn booked(&self, rows: &[UsageRow], _paid: Option<&PaidBy>) {
        let mut told = self.0.lock().unwrap();
        for row in rows {
            *told.entry(row.request_id.clone()).or_default() += 1;
        }
    }
}

impl Holder {
    fn assert_told_once_of(&self, count: usize) {
        let told = self.0.lock().unwrap();
        let twice: Vec<_> = told.iter().filter(|(_, times)| **times != 1).collect();
        assert_eq!((told.len(), twice), (count, Vec::new()));
    }
}

fn journaled(dir: &Path, lanes: usize) -> (WriterOptions, Arc<Holder>) {
    let holder = Arc::new(Holder::default());
    let leases = Some(Arc::clone(&holder) as Arc<dyn LeaseHolder>);
    (WriterOptions { lanes, leases, ..options(dir) }, holder)
}

/// The request ids on disk, in any order.
fn on_disk(dir: &Path) -> Vec<String> {
    let rows = files(dir).into_iter().flat_map(|name| {
        let text = fs::read_to_string(dir.join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<UsageRow>>()
    });
    let mut ids: Vec<_> = rows.map(|row| row.request_id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_row_is_on_disk_when_record_returns_and_no_more_when_the_store_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let (options, holder) = journaled(dir.path(), 2);
    let (recorder, handle) = start(&store, &options);
    // After the first look at the directory nothing happens by itself.
    handle.flush().await;
    for round in 0..5 {
        for n in 0..3 {
            // Each on a thread of its own: in any lane.
            let (recorder, id) = (recorder.clone(), format!("{round}-{n}"));
            thread::spawn(move || recorder.record(row(&id))).join().unwrap();
        }
        assert_eq!(on_disk(&options.spool_dir), (0..3).map(|n| format!("{round}-{n}")).collect::<Vec<_>>());
        handle.flush().await;
        assert_eq!(on_disk(&options.spool_dir), [""; 0]);
        assert!(files(&options.spool_dir).len() <= 4, "files are used again");
    }
    assert_eq!(handle.stats().spooled, 0);
    assert_eq!(handle.stop().await.written, 15);
    assert_eq!(files(&options.spool_dir), [""; 0]);
    holder.assert_told_once_of(15);
}

#[tokio::test]
async fn what_a_killed_process_had_recorded_is_brought_by_the_next_one_and_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let (theirs, _) = journaled(dir.path(), 1);
    let (recorder, their_handle) = start(&store, &theirs);
    record_many(&recorder, 0..40);
    their_handle.flush().await;
    record_many(&recorder, 40..80);
    // What a kill would leave: the bytes as they are, and nobody who holds them.
    let (ours, holder) = journaled(&dir.path().join("next"), 1);
    fs::create_dir_all(&ours.spool_dir).unwrap();
    for name in files(&theirs.spool_dir) {
        fs::copy(theirs.spool_dir.join(&name), ours.spool_dir.join(&name)).unwrap();
    }
    let (_recorder, handle) = start(&store, &ours);
    until(async || store.requests().await == 80).await;
    let stats = handle.stop().await;
    assert_eq!((stats.adopted, stats.written, stats.repeated), (40, 40, 0));
    holder.assert_told_once_of(0);
    assert_eq!(files(&ours.spool_dir), [""; 0]);
    let stats = their_handle.stop().await;
    assert_eq!((stats.repeated, store.requests().await), (40, 80));
}

#[tokio::test]
async fn the_journal_of_a_process_that_lives_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let (options, _) = journaled(dir.path(), 1);
    let (recorder, their_handle) = start(&store, &options);
    their_handle.flush().await;
    record_many(&recorder, 0..5);
    let (_recorder, handle) = start(&store, &options);
    handle.flush().await;
    assert_eq!((handle.stop().await.adopted, store.requests().await), (0, 0));
    assert_eq!(on_disk(&options.spool_dir).len(), 5);
    their_handle.stop().await;
    assert_eq!((store.requests().await, files(&options.spool_dir).len()), (5, 0));
}

#[tokio::test]
async fn rows_that_left_memory_come_back_from_the_journal_in_their_order_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::refusing(Some("req_00333"));
    let (options, holder) = journaled(dir.path(), 1);
    let (recorder, handle) = start(&store, &options);
    store.go_away();
    for n in 0..1_500 {
        record_many(&recorder, n..n + 1);
        until(async || handle.stats().queued < 300).await;
    }
    assert!(handle.stats().spooled >= 1_200, "{:?}", handle.stats());
    assert!(files(&options.spool_dir).len() <= 2, "one file, however long it takes");
    store.come_back();
    handle.flush().await;
    let stats = handle.stop().await;
    assert_eq!((stats.written, stats.repeated, stats.rejected, stats.lost), (1_499, 0, 1, 0));
    holder.assert_told_once_of(1_500);
    assert_eq!(files(&options.spool_dir), ["rejected.jsonl"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outages_amid_many_lanes_lose_and_repeat_nothing_and_every_cost_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let (options, holder) = journaled(dir.path(), 3);
    let options = WriterOptions { flush_interval: Duration::from_millis(1), ..options };
    let (recorder, handle) = start(&store, &options);
    let recorders: Vec<_> = (0..8)
        .map(|n| {
            let recorder = recorder.clone();
            thread::spawn(move || {
                for step in 0..500 {
                    recorder.record(row(&format!("{n}-{step}")));
                    while recorder.stats().queued > 250 {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    for _ in 0..20 {
        store.go_away();
        tokio::time::sleep(Duration::from_millis(3)).await;
        store.come_back();
        handle.flush().await;
    }
    for recorder in recorders {
        recorder.join().unwrap();
    }
    let stats = handle.stop().await;
    assert_eq!((stats.lost, stats.unkept, stats.queued, stats.repeated), (0, 0, 0, 0));
    assert_eq!((store.requests().await, stats.written, stats.spooled - stats.replayed), (4_000, 4_000, 0));
    holder.assert_told_once_of(4_000);
    assert_eq!(files(&options.spool_dir), [""; 0]);
}

/// A directory in which no file can be made any more, while those that are there are as good as before; where they are.
fn closed(dir: &Path) -> PathBuf {
    let aside = dir.with_extension("aside");
    fs::rename(dir, &aside).unwrap();
    fs::write(dir, "in the way").unwrap();
    aside
}

#[tokio::test]
async fn where_no_file_can_be_made_a_lane_goes_on_with_its_own_once_the_store_has_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let (options, holder) = journaled(dir.path(), 1);
    let (recorder, handle) = start(&store, &options);
    handle.flush().await;
    let aside = closed(&options.spool_dir);
    for round in 0..3 {
        record_many(&recorder, round * 5..round * 5 + 5);
        assert_eq!(on_disk(&aside).len(), 5, "{round}");
        handle.flush().await;
        assert_eq!(on_disk(&aside), [""; 0], "{round}");
    }
    let stats = handle.stop().await;
    assert_eq!((stats.written, stats.repeated, stats.unkept, stats.lost), (15, 0, 0, 0));
    holder.assert_told_once_of(15);
}

#[test]
fn where_no_file_can_be_made_those_that_are_done_with_are_emptied_all_the_same_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::new(dir.path().join("spool"));
    let lanes = Arc::new(Lanes::new(1));
    let mut journal = Journal::new(Arc::clone(&lanes));
    let record = |id: &str| lanes.keep(row(id), |_, place| place.unwrap());
    journal.turn(&spool).unwrap();
    let first = record("first");
    journal.took(first);
    journal.turn(&spool).unwrap();
    let second = record("second");
    journal.took(second);
    let aside = closed(&dir.path().join("spool"));
    // Nothing is done with, so there is no other file.
    journal.turn(&spool).unwrap_err();
    assert_eq!(on_disk(&aside), ["first", "second"]);
    journal.done(first);
    journal.turn(&spool).unwrap();
    assert_eq!(on_disk(&aside), ["second"]);
    record("third");
    journal.done(second);
    journal.turn(&spool).unwrap();
    assert_eq!(on_disk(&aside), ["third"]);
}

#[tokio::test]
async fn without_a_directory_rows_are_written_all_the_same_and_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let (options, holder) = journaled(dir.path(), 1);
    fs::write(&options.spool_dir, "in the way").unwrap();
    let (recorder, handle) = start(&store, &options);
    record_many(&recorder, 0..5);
    handle.flush().await;
    // The way is clear: the next rows are kept.
    fs::remove_file(&options.spool_dir).unwrap();
    handle.flush().await;
    record_many(&recorder, 5..7);
    assert_eq!((handle.stats().unkept, on_disk(&options.spool_dir).len()), (5, 2));
    let stats = handle.stop().await;
    assert_eq!((stats.written, stats.lost), (7, 0));
    holder.assert_told_once_of(7);
}

#[tokio::test]
async fn the_cost_of_what_is_lost_is_told_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = Flaky::new();
    let (options, holder) = journaled(dir.path(), 1);
    fs::write(&options.spool_dir, "in the way").unwrap();
    store.go_away();
    let (recorder, handle) = start(&store, &options);
    record_many(&recorder, 0..1_000);
    handle.flush().await;
    assert_eq!(handle.stats().lost, 600);
    holder.assert_told_once_of(600);
    store.come_back();
    handle.flush().await;
    holder.assert_told_once_of(1_000);
    assert_eq!(handle.stop().await.lost, 600);
    record_many(&recorder, 1_000..1_002);
    assert_eq!(recorder.stats().lost, 602);
    holder.assert_told_once_of(1_002);
}
