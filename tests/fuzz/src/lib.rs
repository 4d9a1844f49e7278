//! What the fuzz targets share: an input read as instructions, and the golden cases as raw material.
//!
//! A fuzzer that starts from nothing needs hours to spell a request. Here it starts from the cases of `fixtures/`: it
//! picks one and changes bytes of it, or brings bytes of its own. No corpus has to be kept, and a new case is fuzzed
//! from the day on which it is written.

use std::fs;
use std::path::{Path, PathBuf};

/// The fuzzer's bytes, taken from the front. What is missing is zero.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// From the first byte on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number below `limit`; 0 where that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let word = usize::from(self.byte()) << 8 | usize::from(self.byte());
        word.checked_rem(limit).unwrap_or(0)
    }

    /// Up to `length` bytes.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(self.0.len())
    }

    /// Replaces a few stretches of `text` with bytes of the fuzzer's.
    pub fn spliced(&mut self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for _ in 0..self.byte() % 4 {
            let at = self.below(text.len() + 1);
            let end = text.len().min(at + usize::from(self.byte() % 32));
            let length = usize::from(self.byte() % 32);
            text.splice(at..end, self.take(length).iter().copied());
        }
        text
    }
}

/// The `in.json` of every case below this folder of `fixtures/`, in a stable order.
pub fn cases(folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(root)
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").path().join("in.json"))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).expect("a case")).collect()
}
