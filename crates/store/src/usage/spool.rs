//! Files of rows: one JSON row a line.
//!
//! A file that is in use is locked by its process, so that another one that shares the directory does not replay it
//! half-way; when the process dies, its files are anybody's. Nothing here has to be exact: a row that is replayed twice
//! counts once.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use super::UsageRow;

const PREFIX: &str = "usage-";
const SUFFIX: &str = ".jsonl";
const REJECTED: &str = "rejected.jsonl";

/// The directory. It is made when the first file is.
pub(super) struct Spool {
    dir: PathBuf,
}

/// A file of this process, locked while this lives.
pub(super) struct Kept {
    file: Arc<File>,
    path: PathBuf,
    /// Of what was appended whole.
    length: u64,
    /// Half a line may follow.
    torn: bool,
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
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// A new file.
    pub(super) fn begin(&self) -> io::Result<Kept> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        make_private_dir(&self.dir)?;
        // The time makes the name unique among the processes that ever had this id, and sorts the files by age.
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let (id, serial) = (process::id(), SERIAL.fetch_add(1, Relaxed));
        let name = format!("{PREFIX}{nanos:020}-{id}-{serial}{SUFFIX}");
        let (hidden, path) = (self.dir.join(format!(".{name}")), self.dir.join(name));
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&hidden)?;
        // Locked before it can be found: another process would take it for a finished one, and remove it.
        file.lock()?;
        fs::rename(&hidden, &path)?;
        Ok(Kept { file: Arc::new(file), path, length: 0, torn: false })
    }

    /// The files, oldest first. Those that a process is busy with are among them, and cannot be opened.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
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
            if ours {
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
}

impl Kept {
    /// Appends whole lines. After an error none of them counts as kept.
    pub(super) fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        if let Err(error) = self.file.as_ref().write_all(text) {
            // Half a line would spoil the next one.
            self.torn = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// To read what is here, and to have it on the disk.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.length, self.torn) = (0, false);
        Ok(())
    }

    pub(super) fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// Reads a file from some byte on, whoever appends to it meanwhile.
pub(super) struct Onward<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
}

impl io::Read for Onward<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Up to `most` lines; none at the end.
pub(super) fn lines(reader: &mut impl BufRead, most: usize) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    while lines.len() < most {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
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

impl Leftover {
    /// Opens a file to bring its rows back; `None` when another process has it, or had it and finished.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        // Writable, although it is only read: over NFS the exclusive lock is a byte range's, which wants that (flock(2)).
        let file = match OpenOptions::new().read(true).write(true).open(path) {
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
        lines(&mut self.reader, most)
    }

    /// Removes the file: all of it was brought back.
    pub(super) fn remove(self) -> io::Result<()> {
        remove(&self.path)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_is_open_for_writing_so_that_it_can_be_locked_over_nfs_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = Spool::new(dir.path().to_owned()).begin().unwrap();
        kept.append(b"{}\n").unwrap();
        assert!(Leftover::open(&kept.path).unwrap().is_none(), "its process lives");
        let path = kept.path.clone();
        drop(kept);
        let leftover = Leftover::open(&path).unwrap().unwrap();
        leftover.reader.get_ref().set_len(3).unwrap();
    }
}
