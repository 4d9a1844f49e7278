//! Rows are on disk from the moment they are recorded, so that a process that is killed loses none.
//!
//! A row is one small `write` to a file of its thread's lane, then it enters the queue. What was written outlives the
//! process in the page cache; only rows that leave memory for the disk are waited for until they are safe from a loss of
//! power too. The writer's thread gives the lanes other files as soon as the store has taken rows, and empties a file when
//! the store has all of it.
//!
//! Within a file, rows are recorded, queued and brought to the store in the order of their lines. So three numbers say
//! where each is: lines up to `done` are in the store, those up to `left` on disk alone, those up to `taken` in memory.

use std::{
    cmp,
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{
    UsageRow,
    spool::{self, Kept, Line, Onward, Spool},
};

/// More lanes are of no use: rows are small.
const MOST_LANES: usize = 16;
/// About what a row takes as JSON.
const ROW_BYTES: usize = 1024;

/// Where a row is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    file: u64,
    /// From 1.
    line: u64,
}

/// What rows are recorded into: threads that record at once do not wait for each other.
#[derive(Default)]
pub(super) struct Lanes(Box<[Mutex<Option<Open>>]>);

/// A file that takes rows.
struct Open {
    kept: Kept,
    id: u64,
    lines: u64,
}

fn lock(lane: &Mutex<Option<Open>>) -> MutexGuard<'_, Option<Open>> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lanes {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count.min(MOST_LANES)).map(|_| Mutex::default()).collect())
    }

    /// Puts a row on disk and hands it on, with the failure where there was one. Both happen under the lane's lock: rows
    /// travel in the order of their lines.
    pub(super) fn keep<T>(
        &self,
        row: UsageRow,
        hand_on: impl FnOnce(UsageRow, io::Result<Option<Place>>) -> T,
    ) -> T {
        let Some(lane) = self.own() else { return hand_on(row, Ok(None)) };
        let mut text = Vec::with_capacity(ROW_BYTES);
        let encoded = line(&mut text, &row);
        let mut lane = lock(lane);
        let place = encoded.and_then(|()| match lane.as_mut() {
            Some(open) => open.append(&text).map(Some),
            None => Err(io::Error::other("no file could be made")),
        });
        hand_on(row, place)
    }

    /// The lane of this thread.
    fn own(&self) -> Option<&Mutex<Option<Open>>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static OWN: usize = NEXT.fetch_add(1, Relaxed));
        // A thread that is ending has no such numbers any more.
        let own = OWN.try_with(|own| *own).unwrap_or_default();
        self.0.get(own % self.0.len().max(1))
    }
}

fn line(text: &mut Vec<u8>, row: &UsageRow) -> io::Result<()> {
    serde_json::to_writer(&mut *text, row)?;
    text.push(b'\n');
    Ok(())
}

impl Open {
    fn append(&mut self, text: &[u8]) -> io::Result<Place> {
        self.kept.append(text)?;
        self.lines += 1;
        Ok(Place { file: self.id, line: self.lines })
    }
}

/// What the writer's thread knows of this process's files.
pub(super) struct Journal {
    lanes: Arc<Lanes>,
    files: BTreeMap<u64, Track>,
    /// Empty files.
    spare: Vec<Kept>,
    next_id: u64,
}

/// One file.
struct Track {
    file: Arc<File>,
    taken: u64,
    left: u64,
    done: u64,
    /// It takes no more rows, and has so many.
    full: Option<(Kept, u64)>,
    /// A line that was read last, and the byte after it.
    read: (u64, u64),
}

impl Track {
    fn new(kept: &Kept) -> Self {
        Self { file: kept.file(), taken: 0, left: 0, done: 0, full: None, read: (0, 0) }
    }

    fn is_done(&self) -> bool {
        self.full.as_ref().is_some_and(|(_, lines)| *lines == self.done)
    }

    /// Lines that are on disk alone, from the first.
    fn lines(&mut self, most: usize) -> io::Result<Vec<Line>> {
        let mut reader = BufReader::new(Onward { file: &self.file, offset: self.read.1 });
        while self.read.0 < self.done {
            let passed = reader.skip_until(b'\n')?;
            self.read = (self.read.0 + 1, self.read.1 + passed as u64);
        }
        let owed = usize::try_from(self.left - self.done).unwrap_or(usize::MAX);
        spool::lines(&mut reader, cmp::min(most, owed))
    }
}

impl Journal {
    pub(super) fn new(lanes: Arc<Lanes>) -> Self {
        Self { lanes, files: BTreeMap::new(), spare: Vec::new(), next_id: 0 }
    }

    /// Gives every lane that has rows, or nothing, an empty file, and empties the files that are done with: those first,
    /// because a full volume has room for a new one only then. What fails for one lane is tried for the others.
    pub(super) fn turn(&mut self, spool: &Spool) -> io::Result<()> {
        let lanes = Arc::clone(&self.lanes);
        let mut turned = self.empty();
        for lane in &lanes.0 {
            let renewed = self.renew(lane, spool);
            turned = turned.and(renewed).and(self.empty());
        }
        turned
    }

    fn renew(&mut self, lane: &Mutex<Option<Open>>, spool: &Spool) -> io::Result<()> {
        if lock(lane).as_ref().is_some_and(|open| open.lines == 0) {
            return Ok(());
        }
        match self.spare.pop().map_or_else(|| spool.begin(), Ok) {
            Ok(kept) => {
                let id = self.track(&kept);
                let before = lock(lane).replace(Open { kept, id, lines: 0 });
                self.fill(before);
                Ok(())
            }
            Err(error) => {
                self.empty_in_place(lane).and_then(|emptied| if emptied { Ok(()) } else { Err(error) })
            }
        }
    }

    /// Where there is no other file for a lane, its own will do, if the store has all of it. Nobody records meanwhile.
    fn empty_in_place(&mut self, lane: &Mutex<Option<Open>>) -> io::Result<bool> {
        let mut lane = lock(lane);
        let Some(open) = lane.as_mut() else { return Ok(false) };
        if self.files.get(&open.id).is_none_or(|track| track.done != open.lines) {
            return Ok(false);
        }
        open.kept.clear()?;
        self.files.remove(&open.id);
        (open.id, open.lines) = (self.track(&open.kept), 0);
        Ok(true)
    }

    fn empty(&mut self) -> io::Result<()> {
        let mut emptied = Ok(());
        for mut kept in self.finished() {
            if self.spare.len() < self.lanes.0.len() {
                match kept.clear() {
                    Ok(()) => self.spare.push(kept),
                    // Its rows count for nothing a second time.
                    Err(error) => emptied = Err(error),
                }
            } else {
                emptied = emptied.and(kept.remove());
            }
        }
        emptied
    }

    fn track(&mut self, kept: &Kept) -> u64 {
        self.next_id += 1;
        self.files.insert(self.next_id, Track::new(kept));
        self.next_id
    }

    fn fill(&mut self, open: Option<Open>) {
        let Some(Open { kept, id, lines }) = open else { return };
        if let Some(track) = self.files.get_mut(&id) {
            track.full = Some((kept, lines));
        }
    }

    fn finished(&mut self) -> Vec<Kept> {
        let done = self.files.extract_if(.., |_, track| track.is_done());
        done.filter_map(|(_, track)| track.full).map(|(kept, _)| kept).collect()
    }

    /// A row came through the queue.
    pub(super) fn took(&mut self, place: Option<Place>) {
        if let Some((track, line)) = self.at(place) {
            track.taken = line;
        }
    }

    /// The store has it, or it was refused for good.
    pub(super) fn done(&mut self, place: Option<Place>) {
        if let Some((track, line)) = self.at(place) {
            track.done = track.done.max(line);
        }
    }

    /// Whether it has left memory, and is brought back from the disk.
    pub(super) fn has_left(&mut self, place: Option<Place>) -> bool {
        self.at(place).is_some_and(|(track, line)| line <= track.left)
    }

    fn at(&mut self, place: Option<Place>) -> Option<(&mut Track, u64)> {
        let Place { file, line } = place?;
        Some((self.files.get_mut(&file)?, line))
    }

    /// Every row that was taken leaves memory; `loose` are those without a place. Waits until they are on disk. After an
    /// error nothing has changed.
    pub(super) fn let_go<'a>(
        &mut self,
        spool: &Spool,
        loose: impl Iterator<Item = &'a UsageRow>,
    ) -> io::Result<()> {
        for track in self.files.values().filter(|track| track.taken > track.left) {
            track.file.sync_data()?;
        }
        let (mut text, mut lines) = (Vec::new(), 0);
        for row in loose {
            line(&mut text, row)?;
            lines += 1;
        }
        if lines > 0 {
            let mut kept = spool.begin()?;
            if let Err(error) = kept.append(&text).and_then(|()| kept.file().sync_data()) {
                // An empty file does no harm.
                let _ = kept.remove();
                return Err(error);
            }
            let id = self.track(&kept);
            if let Some(track) = self.files.get_mut(&id) {
                (track.taken, track.full) = (lines, Some((kept, lines)));
            }
        }
        self.files.values_mut().for_each(|track| track.left = track.taken);
        Ok(())
    }

    /// The oldest file with rows that are on disk alone.
    pub(super) fn owing(&self) -> Option<u64> {
        self.files.iter().find(|(_, track)| track.done < track.left).map(|(id, _)| *id)
    }

    /// Some of those rows; fewer than there are only where the disk fails.
    pub(super) fn lines(&mut self, id: u64, most: usize) -> io::Result<Vec<Line>> {
        let track = self.files.get_mut(&id).ok_or(io::ErrorKind::NotFound)?;
        let lines = track.lines(most)?;
        if lines.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(lines) }
    }

    /// The store has so many more of them.
    pub(super) fn brought(&mut self, id: u64, lines: usize) {
        if let Some(track) = self.files.get_mut(&id) {
            track.done = track.left.min(track.done + lines as u64);
        }
    }

    /// Gives a file up that cannot be read: it stays where it is, for whoever can.
    pub(super) fn give_up(&mut self, id: u64) {
        for lane in &self.lanes.0 {
            lock(lane).take_if(|open| open.id == id);
        }
        self.files.remove(&id);
    }

    /// The end: lanes take nothing more, and only files with rows that the store does not have stay.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let lanes = Arc::clone(&self.lanes);
        for lane in &lanes.0 {
            let open = lock(lane).take();
            self.fill(open);
        }
        let done = self.finished();
        self.files.clear();
        done.into_iter().chain(self.spare.drain(..)).try_for_each(Kept::remove)
    }
}
