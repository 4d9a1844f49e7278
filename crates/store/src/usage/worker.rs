//! The thread behind [`Writer`](super::Writer): takes rows in, brings them to the store, or to disk.

mod disk;

use std::{
    collections::VecDeque,
    future::Future,
    mem,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{
    UsageRow, WriterOptions,
    journal::{Journal, Lanes, Place},
    spool::{Leftover, Line, Spool},
    stats::Counters,
    uses::LastUses,
    writer::Message,
};
use crate::{Error, ErrorKind, PaidBy, Recorded, Result, Store, Timestamp};

/// How many rows go into one store call.
const BATCH: usize = 500;
/// The longest pause between two tries while the store is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many rows are removed at once, how soon the next ones are, and how often somebody looks.
const PRUNE_ROWS: usize = 1_000;
const PRUNE_PAUSE: Duration = Duration::from_millis(200);
const PRUNE_EVERY: Duration = Duration::from_mins(10);

pub(super) struct Worker {
    store: Arc<dyn Store>,
    options: WriterOptions,
    inbox: mpsc::UnboundedReceiver<Message>,
    urgent: Arc<Notify>,
    counters: Arc<Counters>,
    spool: Spool,
    /// Whether the directory could not be used when it was last needed.
    spool_broken: bool,
    journal: Journal,
    pending: VecDeque<(UsageRow, Option<Place>)>,
    uses: LastUses,
    waiters: Vec<oneshot::Sender<()>>,
    stopping: bool,
    /// Whether rows of others may lie on disk.
    spool_due: bool,
    /// With how many rows in memory they go to disk.
    spill_at: usize,
    /// How long to wait before the next try; zero while the store answers.
    pause: Duration,
    next_round: Instant,
    next_prune: Instant,
    /// At a stop: when to leave the rest to the disk.
    deadline: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        store: Arc<dyn Store>,
        options: WriterOptions,
        inbox: mpsc::UnboundedReceiver<Message>,
        urgent: Arc<Notify>,
        counters: Arc<Counters>,
        lanes: Arc<Lanes>,
    ) -> Self {
        let mut worker = Self {
            store,
            inbox,
            urgent,
            counters,
            spool: Spool::new(options.spool_dir.clone()),
            spool_broken: false,
            journal: Journal::new(lanes),
            pending: VecDeque::new(),
            uses: LastUses::default(),
            waiters: Vec::new(),
            stopping: false,
            spool_due: true,
            spill_at: options.queue_rows.max(1),
            pause: Duration::ZERO,
            next_round: Instant::now(),
            next_prune: Instant::now(),
            deadline: None,
            options,
        };
        worker.turn();
        worker
    }

    pub(super) async fn run(mut self) {
        while !self.stopping {
            if self.waiters.is_empty() {
                self.wait().await;
            }
            if self.stopping || !self.waiters.is_empty() || self.is_due() {
                self.round().await;
            }
            if !self.stopping {
                self.prune().await;
            }
        }
        // What arrives from now on is refused at the door; what had arrived is brought home.
        self.inbox.close();
        while let Some(message) = self.inbox.recv().await {
            self.take(message);
        }
        // Also when the store was away a moment ago: the disk of a container may end with it.
        self.deadline = Some(Instant::now() + self.options.call_timeout);
        self.round().await;
        self.spill();
        if let Err(error) = self.journal.close() {
            tracing::warn!(%error, "files of usage rows that were written stay, and count for nothing");
        }
        for waiter in mem::take(&mut self.waiters) {
            let _ = waiter.send(());
        }
    }

    /// Until something arrives or is due.
    async fn wait(&mut self) {
        if !self.pending.is_empty() {
            return self.nap().await;
        }
        let work = self.has_work();
        tokio::select! {
            message = self.inbox.recv() => self.take_or_stop(message),
            () = sleep_until(self.next_round), if work => {}
            () = sleep_until(self.next_prune) => {}
        }
    }

    /// Rows that come while others wait for the next round do not wake the thread: one wake a row would cost the
    /// requests more than the row.
    async fn nap(&mut self) {
        tokio::select! {
            () = sleep_until(self.next_round) => {}
            () = self.urgent.notified() => {}
        }
        loop {
            match self.inbox.try_recv() {
                Ok(message) => self.take(message),
                Err(mpsc::error::TryRecvError::Empty) => return,
                Err(mpsc::error::TryRecvError::Disconnected) => return self.take_or_stop(None),
            }
        }
    }

    /// Removes some of the rows that have been kept long enough, when it is time to. In small steps, because a long one
    /// would hold up everybody else who writes.
    async fn prune(&mut self) {
        if self.next_prune > Instant::now() {
            return;
        }
        let more = match self.options.keep {
            Some(keep) => self.prune_older_than(keep).await,
            None => false,
        };
        // Others that share the directory may have died.
        self.spool_due |= !more;
        self.next_prune = Instant::now() + if more { PRUNE_PAUSE } else { PRUNE_EVERY };
    }

    /// Whether there may be more of them.
    async fn prune_older_than(&mut self, keep: Duration) -> bool {
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let store = Arc::clone(&self.store);
        let pruned = self.attend(store.prune_usage(Timestamp::now().plus_millis(-keep), PRUNE_ROWS)).await;
        match pruned {
            Ok(rows) => rows >= PRUNE_ROWS,
            Err(error) => {
                tracing::debug!(%error, "old usage rows not removed");
                false
            }
        }
    }

    fn has_work(&self) -> bool {
        !self.pending.is_empty() || self.spool_due || self.journal.owing().is_some()
    }

    fn is_due(&self) -> bool {
        // Half a queue does not wait for the clock, unless the store is known to be away.
        let crowded =
            self.pause.is_zero() && self.pending.len() >= self.options.queue_rows.div_ceil(2).max(1);
        self.has_work() && (crowded || self.next_round <= Instant::now())
    }

    fn take_or_stop(&mut self, message: Option<Message>) {
        match message {
            Some(message) => self.take(message),
            None => self.stopping = true,
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Row(row, place) => {
                if !self.has_work() {
                    self.next_round = Instant::now() + self.options.flush_interval;
                }
                self.journal.took(place);
                self.pending.push_back((*row, place));
                if self.pending.len() > self.spill_at {
                    self.spill();
                }
            }
            Message::Flush(waiter) => self.waiters.push(waiter),
            Message::Stop(waiter) => {
                self.waiters.push(waiter);
                self.stopping = true;
            }
        }
    }

    /// Brings to the store what is here now, then what lies on disk. Whoever waits is answered at the end; when
    /// the store is away, that is when the rows are on disk.
    async fn round(&mut self) {
        // A stop is answered when everything is done.
        let waiters = if self.stopping { Vec::new() } else { mem::take(&mut self.waiters) };
        let outcome = self.bring_all().await;
        match outcome {
            Ok(()) => self.note_success(),
            Err(error) => {
                self.note_failure(&error);
                if !waiters.is_empty() {
                    self.spill();
                }
            }
        }
        for waiter in waiters {
            let _ = waiter.send(());
        }
    }

    async fn bring_all(&mut self) -> Result<()> {
        // Rows that arrive meanwhile wait for the next round, so that this one ends.
        let mut left = self.pending.len();
        loop {
            // First, because they are the older ones.
            self.bring_back().await?;
            left = left.min(self.pending.len());
            if left == 0 {
                break;
            }
            let (batch, places): (Vec<_>, Vec<_>) = self.pending.drain(..left.min(BATCH)).unzip();
            left -= batch.len();
            let (brought, rest) = match self.bring(batch, true).await {
                Ok(()) => (Ok(()), Vec::new()),
                Err((error, rest)) => (Err(error), rest),
            };
            let done = places.len() - rest.len();
            places.iter().take(done).for_each(|place| self.journal.done(*place));
            self.counters.queued.fetch_sub(done, Relaxed);
            self.take_back(rest.into_iter().zip(places.into_iter().skip(done)));
            brought?;
        }
        self.turn();
        if self.spool_due { self.adopt().await } else { Ok(()) }
    }

    /// Rows into the store. When it is away, those that are not there yet come back with the error. `own` rows are of this
    /// process: its leases pay them, and those of an earlier one have ended.
    async fn bring(&mut self, batch: Vec<UsageRow>, own: bool) -> Result<(), (Error, Vec<UsageRow>)> {
        let holder = self.options.leases.clone().filter(|_| own);
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            let paid = holder.as_ref().and_then(|holder| holder.paid_by(&part));
            let sent = self.send(&part, paid.as_ref()).await;
            if let Some(holder) = holder.as_ref().filter(|_| sent.is_ok()) {
                holder.booked(&part, paid.as_ref());
            }
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Invalid => {
                    if let (Some(holder), [_]) = (&holder, &part[..]) {
                        holder.booked(&part, None);
                    }
                    self.narrow_down(part, &mut parts, &error);
                }
                Err(error) => {
                    parts.push(part);
                    return Err((error, parts.into_iter().rev().flatten().collect()));
                }
            }
        }
        Ok(())
    }

    /// One bad row must not drop the others: halves are tried by themselves until it stands alone.
    fn narrow_down(&self, mut part: Vec<UsageRow>, parts: &mut Vec<Vec<UsageRow>>, error: &Error) {
        if part.len() > 1 {
            let rest = part.split_off(part.len() / 2);
            parts.extend([rest, part]);
        } else if let Some(row) = part.pop() {
            tracing::error!(request_id = row.request_id, %error, "the store refused a usage row");
            let line = serde_json::to_vec(&row).unwrap_or_default();
            self.reject(&line);
        }
    }

    /// A store call. Rows are taken in while it lasts.
    async fn send(&mut self, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<()> {
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::new(ErrorKind::Unavailable, "no time left before the stop"));
        }
        let store = Arc::clone(&self.store);
        let recorded = self.attend(store.record_paid_usage(rows, paid)).await?;
        let Recorded { written, repeated } = recorded;
        Counters::add(&self.counters.written, written);
        Counters::add(&self.counters.repeated, repeated);
        let uses = self.uses.due(rows);
        if !uses.is_empty() {
            match self.attend(store.touch_last_used(&uses)).await {
                Ok(()) => self.uses.told(uses),
                // The rows are safe, and the next use says the same again.
                Err(error) => tracing::debug!(%error, "last use of keys not noted"),
            }
        }
        Ok(())
    }

    async fn attend<T>(&mut self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let mut call = pin!(timeout(self.options.call_timeout, call));
        loop {
            tokio::select! {
                biased;
                done = &mut call => return done.unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::Unavailable, "the store did not answer in time"))
                }),
                message = self.inbox.recv(), if !self.stopping => self.take_or_stop(message),
            }
        }
    }

    fn note_success(&mut self) {
        if !mem::take(&mut self.pause).is_zero() {
            tracing::info!("the store takes usage rows again");
        }
        self.next_round = Instant::now() + self.options.flush_interval;
    }

    fn note_failure(&mut self, error: &Error) {
        Counters::add(&self.counters.failed_calls, 1);
        if self.pause.is_zero() {
            tracing::warn!(%error, "the store does not take usage rows; they wait in memory, then on disk");
        }
        let shortest = self.options.flush_interval.max(Duration::from_millis(100));
        self.pause = (self.pause * 2).clamp(shortest, LONGEST_PAUSE.max(shortest));
        self.next_round = Instant::now() + self.pause;
    }
}
