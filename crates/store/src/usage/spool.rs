//! Rows on disk, while the store is away: files of one JSON row a line.
//!
//! A file that is being written is locked by its process, so that another one that shares the directory does not
//! replay it half-way. Nothing here has to be exact: a row that is replayed twice counts once.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    time::SystemTime,
};

use super::UsageRow;

const PREFIX: &str = "usage-";
const SUFFIX: &str = ".jsonl";
const REJECTED: &str = "rejected.jsonl";

pub(super) struct Spool {
    dir: PathBuf,
    active: Option<Active>,
    /// Files of this process: their rows are paid from its leases.
    own: HashSet<PathBuf>,
}

struct Active {
    file: File,
    path: PathBuf,
    length: u64,
}

/// A file from which rows are brought back; locked while this lives.
pub(super) struct Leftover {
    reader: BufReader<File>,
    path: PathBuf,
}

/// A line of a spool file.
pub(super) enum Line {
    Row(Box<UsageRow>),
    /// Torn by a crash, or damaged.
    Unreadable(Vec<u8>),
}

impl Spool {
    /// The directory is made when the first row goes there.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, active: None, own: HashSet::new() }
    }

    /// Appends rows and waits until they are on disk. After an error none of them counts as kept.
    pub(super) fn append<'a>(&mut self, rows: impl Iterator<Item = &'a UsageRow>) -> io::Result<()> {
        let mut text = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut text, row)?;
            text.push(b'\n');
        }
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.begin()?,
        };
        let appended = active.file.write_all(&text).and_then(|()| active.file.sync_data());
        if let Err(error) = appended {
            // Half a line would spoil the next one; the next append begins a new file in any case.
            let _ = active.file.set_len(active.length);
            if active.length == 0 {
                let _ = fs::remove_file(&active.path);
            }
            return Err(error);
        }
        active.length += text.len() as u64;
        self.own.insert(active.path.clone());
        self.active = Some(active);
        Ok(())
    }

    /// Whether this process wrote the file.
    pub(super) fn is_own(&self, path: &Path) -> bool {
        self.own.contains(path)
    }

    /// The file is gone.
    pub(super) fn forget(&mut self, path: &Path) {
        self.own.remove(path);
    }

    /// Ends the file that is being written, and with it its lock.
    pub(super) fn close(&mut self) {
        self.active = None;
    }

    /// The finished files, oldest first, that no other process is busy with.
    pub(super) fn leftovers(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let ours = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX));
            let active = self.active.as_ref().is_some_and(|active| active.path == path);
            if ours && !active {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Keeps what cannot be counted for a person to look at.
    pub(super) fn reject(&self, line: &[u8]) -> io::Result<()> {
        make_private_dir(&self.dir)?;
        let path = self.dir.join(REJECTED);
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let mut line = line.to_vec();
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_data()
    }

    fn begin(&self) -> io::Result<Active> {
        make_private_dir(&self.dir)?;
        // The time makes the name unique among the processes that ever had this id, and sorts the files by age.
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let name = format!("{PREFIX}{nanos:020}-{}{SUFFIX}", process::id());
        let (hidden, path) = (self.dir.join(format!(".{name}")), self.dir.join(name));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&hidden)?;
        // Locked before it can be found: another process would take it for a finished one, and remove it.
        file.lock()?;
        fs::rename(&hidden, &path)?;
        Ok(Active { file, path, length: 0 })
    }
}

impl Leftover {
    /// Opens a file to bring its rows back; `None` when another process has it, or had it and finished.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { reader: BufReader::new(file), path: path.to_owned() })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Up to `most` lines; none at the end.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        while lines.len() < most {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.ends_with(b"\n") {
                line.pop();
            }
            lines.push(match serde_json::from_slice(&line) {
                Ok(row) => Line::Row(Box::new(row)),
                Err(_) => Line::Unreadable(line),
            });
        }
        Ok(lines)
    }

    /// Removes the file: all of it was brought back.
    pub(super) fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
