//! What the writer's thread does with the disk.

use std::{io, mem, path::Path, sync::atomic::Ordering::Relaxed};

use super::{BATCH, Counters, Leftover, Line, Place, UsageRow, Worker};
use crate::Result;

impl Worker {
    /// Rows that the store did not take. Those that left memory meanwhile come back from the disk.
    pub(super) fn take_back(&mut self, rest: impl DoubleEndedIterator<Item = (UsageRow, Option<Place>)>) {
        for (row, place) in rest.rev() {
            if self.journal.has_left(place) {
                Counters::add(&self.counters.spooled, 1);
                self.counters.queued.fetch_sub(1, Relaxed);
            } else {
                self.pending.push_front((row, place));
            }
        }
    }

    /// Rows that left memory, from disk to the store.
    pub(super) async fn bring_back(&mut self) -> Result<()> {
        while let Some(id) = self.journal.owing() {
            let lines = match self.journal.lines(id, BATCH) {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::error!(%error, "usage rows on disk cannot be read; the file stays");
                    self.journal.give_up(id);
                    continue;
                }
            };
            let count = lines.len();
            let rows = self.readable(lines);
            let whole = rows.len() == count;
            let (brought, done) = match self.bring(rows, true).await {
                Ok(()) => (Ok(()), count),
                // Where each line is a row, what is left says which are done.
                Err((error, rest)) => (Err(error), if whole { count - rest.len() } else { 0 }),
            };
            self.journal.brought(id, done);
            Counters::add(&self.counters.replayed, done);
            brought?;
        }
        Ok(())
    }

    /// Files of which the store has everything are used again.
    pub(super) fn turn(&mut self) {
        let turned = self.journal.turn(&self.spool);
        let was_broken = mem::replace(&mut self.spool_broken, turned.is_err());
        if let (Err(error), false) = (turned, was_broken) {
            tracing::error!(%error, dir = %self.options.spool_dir.display(),
                "the directory for usage rows cannot be used; a kill would lose those that are in memory");
        }
    }

    /// Rows from memory to disk. When the disk does not take them, they stay.
    pub(super) fn spill(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let rows = self.pending.len();
        let loose = self.pending.iter().filter(|(_, place)| place.is_none()).map(|(row, _)| row);
        match self.journal.let_go(&self.spool, loose) {
            Ok(()) => {
                self.pending.clear();
                self.spill_at = self.options.queue_rows.max(1);
                Counters::add(&self.counters.spooled, rows);
                self.counters.queued.fetch_sub(rows, Relaxed);
            }
            Err(error) => {
                tracing::error!(%error, rows, "usage rows could not be written to the spool directory");
                // Try again some rows later, not at each of them.
                self.spill_at = rows + self.options.queue_rows.div_ceil(4).max(1);
                if self.stopping {
                    let lost = self.pending.iter().filter(|(_, place)| place.is_none()).count();
                    Counters::add(&self.counters.lost, lost);
                }
            }
        }
    }

    /// What earlier processes left, and others that died: from disk to the store, file by file. What the disk fails at is no
    /// fault of the store's, and costs the other files nothing: the file stays, for the next look or start to try again.
    pub(super) async fn adopt(&mut self) -> Result<()> {
        self.spool_due = false;
        let files = self.spool.files().unwrap_or_else(|error| {
            tracing::error!(%error, "the spool directory cannot be read");
            Vec::new()
        });
        let mut unreadable = 0;
        for path in files {
            match self.adopt_file(&path).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    self.spool_due = true;
                    return Err(error);
                }
                Err(error) => {
                    unreadable += 1;
                    tracing::error!(%error, file = %path.display(), "a file of usage rows cannot be brought back; it stays");
                }
            }
        }
        self.counters.unreadable_files.store(unreadable, Relaxed);
        Ok(())
    }

    /// The outer failure is the disk's, the inner one the store's.
    async fn adopt_file(&mut self, path: &Path) -> io::Result<Result<()>> {
        let Some(mut file) = Leftover::open(path)? else { return Ok(Ok(())) };
        let mut brought = 0;
        loop {
            let lines = file.next(BATCH)?;
            if lines.is_empty() {
                break;
            }
            let rows = self.readable(lines);
            brought += rows.len();
            if let Err((error, _)) = self.bring(rows, false).await {
                // The file is still there, whole.
                return Ok(Err(error));
            }
        }
        file.remove()?;
        Counters::add(&self.counters.adopted, brought);
        tracing::info!(rows = brought, file = %path.display(), "usage rows brought back from disk");
        Ok(Ok(()))
    }

    fn readable(&self, lines: Vec<Line>) -> Vec<UsageRow> {
        let mut rows = Vec::with_capacity(lines.len());
        for line in lines {
            match line {
                Line::Row(row) => rows.push(*row),
                Line::Unreadable(line) => self.reject(&line),
            }
        }
        rows
    }

    pub(super) fn reject(&self, line: &[u8]) {
        match self.spool.reject(line) {
            Ok(()) => Counters::add(&self.counters.rejected, 1),
            Err(error) => {
                tracing::error!(%error, "a refused usage row could not be kept");
                Counters::add(&self.counters.lost, 1);
            }
        }
    }
}
