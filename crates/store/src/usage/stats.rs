//! What the writer has done so far, for metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// A look at the writer's counters. All but `queued` and `unreadable_files` only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriterStats {
    /// Rows in memory now: recorded, and neither in the store nor on disk yet.
    pub queued: usize,
    /// Rows that the store took.
    pub written: u64,
    /// Rows that the store had already.
    pub repeated: u64,
    /// Rows that went to disk because the queue was full, the store away, or the program ending.
    pub spooled: u64,
    /// Of those, how many have come back from disk into the store.
    pub replayed: u64,
    /// Rows of processes that have ended, brought from disk into the store.
    pub adopted: u64,
    /// Files of processes that have ended that could not be brought back at the last look: the disk does not give them.
    /// They stay, for a person to see to.
    pub unreadable_files: usize,
    /// Rows that the disk did not take when they were recorded: a kill would have lost them until the store had them.
    pub unkept: u64,
    /// Rows, or lines of a spool file, that nothing can be done with; they are kept in `rejected.jsonl`.
    pub rejected: u64,
    /// Rows that are gone: the store away, the disk unusable and the queue at its last limit. Alert on any.
    pub lost: u64,
    /// Store calls that failed or took too long.
    pub failed_calls: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) queued: AtomicUsize,
    pub(super) written: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) spooled: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) adopted: AtomicU64,
    pub(super) unreadable_files: AtomicUsize,
    pub(super) unkept: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) failed_calls: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Relaxed);
    }

    pub(super) fn snapshot(&self) -> WriterStats {
        WriterStats {
            queued: self.queued.load(Relaxed),
            written: self.written.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            spooled: self.spooled.load(Relaxed),
            replayed: self.replayed.load(Relaxed),
            adopted: self.adopted.load(Relaxed),
            unreadable_files: self.unreadable_files.load(Relaxed),
            unkept: self.unkept.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            lost: self.lost.load(Relaxed),
            failed_calls: self.failed_calls.load(Relaxed),
        }
    }
}
