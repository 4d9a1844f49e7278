//! Usage written behind the requests: [`Recorder::record`] costs a small write and a push to a queue, a thread does the
//! rest.
//!
//! The thread batches rows into [`Store::record_usage`]. Until the store has a row it is in a file too
//! (`USAGE_SPOOL_DIR`), and with many of them while the store is away, there alone; they come back from there when it
//! answers again, also after the process was killed. Because a row counts once however often it is sent, every doubt is
//! resolved by sending it again. The same thread removes rows that
//! have been kept long enough, a little at a time.

use std::{
    fmt, io,
    path::PathBuf,
    slice,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::{
    Notify,
    mpsc::{self, error::SendError},
    oneshot,
};

use super::{
    UsageRow, WriterStats,
    journal::{Lanes, Place},
    stats::Counters,
    worker::Worker,
};
use crate::{Error, ErrorKind, LeaseHolder, Result, Store};

/// How many queues' worth of rows may be in memory when the disk cannot take them either.
const LAST_LIMIT: usize = 4;

/// How the writer works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// `USAGE_QUEUE_ROWS`: with more rows in memory, they stay on disk alone.
    pub queue_rows: usize,
    /// `USAGE_FLUSH_INTERVAL_MS`: how long a row waits for company.
    pub flush_interval: Duration,
    /// `USAGE_SPOOL_DIR`: made, with mode 0700, when it is needed.
    pub spool_dir: PathBuf,
    /// How many threads record at once without waiting for each other. With none, rows go to disk only when they leave
    /// memory: for a store that ends with the process.
    pub lanes: usize,
    /// After this time a store call counts as failed; its rows are sent again.
    pub call_timeout: Duration,
    /// `USAGE_TTL_DAYS`: how long the store keeps a row; `None` = for ever. Totals stay.
    pub keep: Option<Duration>,
    /// Who pays the rows of keys with a budget.
    pub leases: Option<Arc<dyn LeaseHolder>>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            queue_rows: 10_000,
            flush_interval: Duration::from_millis(500),
            spool_dir: "./outcrop-spool".into(),
            lanes: 1,
            call_timeout: Duration::from_secs(10),
            keep: Some(Duration::from_hours(30 * 24)),
            leases: None,
        }
    }
}

pub(super) enum Message {
    Row(Box<UsageRow>, Option<Place>),
    /// Answered when every row sent before is in the store, or on disk because the store is away.
    Flush(oneshot::Sender<()>),
    /// Like `Flush`, and the last.
    Stop(oneshot::Sender<()>),
}

/// The way in: cheap to clone, usable from any thread and from `Drop`.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::UnboundedSender<Message>,
    counters: Arc<Counters>,
    lanes: Arc<Lanes>,
    leases: Option<Arc<dyn LeaseHolder>>,
    /// Wakes the thread before its next round: a full queue, or somebody who waits.
    urgent: Arc<Notify>,
    crowded: usize,
    last_limit: usize,
}

impl Recorder {
    /// Takes a row on its way. Never waits for the store and never fails; what becomes of rows shows in
    /// [`Recorder::stats`].
    pub fn record(&self, row: UsageRow) {
        let queued = self.counters.queued.fetch_add(1, Relaxed);
        if queued >= self.last_limit {
            self.lost(&row);
        } else {
            self.lanes.keep(row, |row, place| self.hand_on(row, place));
        }
        if queued + 1 >= self.crowded {
            self.urgent.notify_one();
        }
    }

    fn hand_on(&self, row: UsageRow, kept: io::Result<Option<Place>>) {
        let place = kept.unwrap_or_else(|error| {
            let unkept = self.counters.unkept.fetch_add(1, Relaxed) + 1;
            if unkept.is_power_of_two() {
                tracing::error!(%error, unkept, "a usage row could not be written to the spool directory; it is in memory alone");
            }
            None
        });
        let Err(SendError(refused)) = self.queue.send(Message::Row(Box::new(row), place)) else { return };
        // The writer has ended; what is on disk is found at the next start.
        if place.is_some() {
            self.counters.queued.fetch_sub(1, Relaxed);
            Counters::add(&self.counters.spooled, 1);
        } else if let Message::Row(row, _) = refused {
            self.lost(&row);
        }
    }

    fn lost(&self, row: &UsageRow) {
        self.counters.queued.fetch_sub(1, Relaxed);
        // Or its cost would lie on the lease for ever.
        if let Some(holder) = &self.leases {
            holder.booked(slice::from_ref(row), None);
        }
        // The first, the second, the fourth … so that a flood of losses does not drown the log.
        let lost = self.counters.lost.fetch_add(1, Relaxed) + 1;
        if lost.is_power_of_two() {
            tracing::error!(lost, "a usage row was lost: the queue is at its last limit, or has been closed");
        }
    }

    /// The counters.
    pub fn stats(&self) -> WriterStats {
        self.counters.snapshot()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Starts the thread; see [`Writer::start`].
#[derive(Debug)]
pub struct Writer;

impl Writer {
    /// Starts the thread that writes. Rows that an earlier process left on disk are brought back first.
    pub fn start(store: Arc<dyn Store>, options: WriterOptions) -> Result<(Recorder, WriterHandle)> {
        let failed = |error: io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot start the usage writer").caused_by(error)
        };
        // A runtime of its own: the writer goes on while the callers' runtimes are busy, or shut down.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (queue, inbox) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        let last_limit = options.queue_rows.max(1).saturating_mul(LAST_LIMIT);
        let crowded = options.queue_rows.div_ceil(2).max(1);
        let urgent = Arc::new(Notify::new());
        let lanes = Arc::new(Lanes::new(options.lanes));
        let leases = options.leases.clone();
        let worker = Worker::new(
            store,
            options,
            inbox,
            Arc::clone(&urgent),
            Arc::clone(&counters),
            Arc::clone(&lanes),
        );
        let thread = thread::Builder::new()
            .name("usage-writer".to_owned())
            .spawn(move || runtime.block_on(worker.run()))
            .map_err(failed)?;
        let recorder = Recorder { queue, counters, lanes, leases, urgent, crowded, last_limit };
        Ok((recorder.clone(), WriterHandle { recorder, thread }))
    }
}

/// The thread that writes. When this and every [`Recorder`] are dropped, it finishes by itself; [`WriterHandle::stop`]
/// waits for it.
#[derive(Debug)]
pub struct WriterHandle {
    recorder: Recorder,
    thread: JoinHandle<()>,
}

impl WriterHandle {
    /// Waits until every row recorded before is in the store, or on disk because the store is away.
    pub async fn flush(&self) {
        self.ask(Message::Flush).await;
    }

    /// The same, and ends the thread. Rows recorded later are lost (and counted): stop when nobody records any more.
    pub async fn stop(self) -> WriterStats {
        self.ask(Message::Stop).await;
        // The answer was its last act, so this does not wait.
        if self.thread.join().is_err() {
            tracing::error!("the usage writer had stopped early");
        }
        self.recorder.stats()
    }

    /// The counters.
    pub fn stats(&self) -> WriterStats {
        self.recorder.stats()
    }

    async fn ask(&self, message: impl FnOnce(oneshot::Sender<()>) -> Message) {
        let (reply, answer) = oneshot::channel();
        if self.recorder.queue.send(message(reply)).is_ok() {
            self.recorder.urgent.notify_one();
            // An error means that the thread is gone, and then there is nothing to wait for.
            let _ = answer.await;
        }
    }
}

#[cfg(test)]
mod tests;
