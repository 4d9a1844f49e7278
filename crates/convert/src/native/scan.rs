//! One pass over the text of a request: strict JSON grammar, and a tape of where everything is.
//!
//! The tape lists the values in document order, each with its span and the index behind its subtree. Nothing is
//! decoded and nothing is copied; what is not edited later leaves as it came. There is no recursion: depth is a
//! counter, so that no input can exhaust the stack.

use std::borrow::Cow;
use std::collections::HashSet;

use super::doc::{Doc, Kind, Node};

/// Deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 128;

/// What is wrong with a body, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON path of the value at fault; empty for the body itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// Byte offset.
    pub offset: usize,
}

/// Reads a body into a tape.
///
/// Beside malformed JSON these are faults: a duplicate key at the top level (readers disagree about which one
/// counts), nesting deeper than [`MAX_DEPTH`], and surrogate escapes without their partner.
pub fn parse(body: &str) -> Result<Doc<'_>, Fault> {
    if u32::try_from(body.len()).is_err() {
        return Err(Fault { path: String::new(), message: "body too large".to_owned(), offset: 0 });
    }
    let nodes = Vec::with_capacity(64 + body.len() / 128);
    let mut scanner = Scanner { text: body.as_bytes(), at: 0, nodes, open: Vec::with_capacity(16) };
    if let Err(message) = scanner.run() {
        let path = scanner.path();
        return Err(Fault { path, message: message.to_owned(), offset: scanner.at });
    }
    let doc = Doc::new(body, scanner.nodes);
    match duplicate(&doc) {
        Some((key, offset)) => {
            Err(Fault { path: key.into_owned(), message: "Duplicate key".to_owned(), offset })
        }
        None => Ok(doc),
    }
}

/// The first key of the outermost object that stands there twice.
fn duplicate<'d>(doc: &'d Doc<'_>) -> Option<(Cow<'d, str>, usize)> {
    let mut seen = HashSet::new();
    doc.root().members().find_map(|member| {
        let key = member.key.str().unwrap_or_default();
        (!seen.insert(key.clone())).then(|| (key, member.key.start()))
    })
}

type Step = Result<(), &'static str>;

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// Indices of the containers that are still open, outermost first.
    open: Vec<u32>,
}

impl Scanner<'_> {
    fn run(&mut self) -> Step {
        loop {
            if self.begin()? && !self.resume()? {
                return Ok(());
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) -> Option<u8> {
        while let Some(byte) = self.peek() {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Reads a scalar or opens a container; says whether a whole value has been read.
    fn begin(&mut self) -> Result<bool, &'static str> {
        match self.space() {
            Some(b'{') => {
                self.enter(Kind::Object)?;
                if self.space() == Some(b'}') {
                    self.leave();
                    return Ok(true);
                }
                self.key()?;
                Ok(false)
            }
            Some(b'[') => {
                self.enter(Kind::Array)?;
                if self.space() == Some(b']') {
                    self.leave();
                    return Ok(true);
                }
                Ok(false)
            }
            Some(b'"') => self.string().map(|()| true),
            Some(b't') => self.word(b"true", Kind::True).map(|()| true),
            Some(b'f') => self.word(b"false", Kind::False).map(|()| true),
            Some(b'n') => self.word(b"null", Kind::Null).map(|()| true),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| true),
            Some(_) => Err("Invalid JSON: expected a value"),
            None => Err("Invalid JSON: unexpected end of input"),
        }
    }

    /// Goes on behind a value; says whether another one follows.
    fn resume(&mut self) -> Result<bool, &'static str> {
        loop {
            let Some(top) = self.open.last() else {
                return match self.space() {
                    None => Ok(false),
                    Some(_) => Err("Invalid JSON: unexpected characters behind the value"),
                };
            };
            let object = self.nodes.get(*top as usize).is_some_and(|node| node.kind == Kind::Object);
            match (self.space(), object) {
                (Some(b','), true) => {
                    self.at += 1;
                    self.space();
                    self.key()?;
                    return Ok(true);
                }
                (Some(b','), false) => {
                    self.at += 1;
                    return Ok(true);
                }
                (Some(b'}'), true) | (Some(b']'), false) => self.leave(),
                (Some(_), true) => return Err("Invalid JSON: expected `,` or `}`"),
                (Some(_), false) => return Err("Invalid JSON: expected `,` or `]`"),
                (None, _) => return Err("Invalid JSON: unexpected end of input"),
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the length of the body was checked to fit")]
    fn push(&mut self, kind: Kind, start: usize) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { start: start as u32, end: self.at as u32, next, kind });
    }

    fn enter(&mut self, kind: Kind) -> Step {
        if self.open.len() == MAX_DEPTH {
            return Err("Invalid JSON: nested deeper than 128 levels");
        }
        self.open.push(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.push(kind, self.at);
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.at += 1;
        let behind = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let node = self.open.pop().and_then(|top| self.nodes.get_mut(top as usize));
        if let Some(node) = node {
            node.next = behind;
            node.end = u32::try_from(self.at).unwrap_or(u32::MAX);
        }
    }

    fn key(&mut self) -> Step {
        if self.peek() != Some(b'"') {
            return Err("Invalid JSON: expected a key");
        }
        self.string()?;
        if self.space() != Some(b':') {
            return Err("Invalid JSON: expected `:`");
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Step {
        if !self.text[self.at..].starts_with(word) {
            return Err("Invalid JSON: expected a value");
        }
        let start = self.at;
        self.at += word.len();
        self.push(kind, start);
        Ok(())
    }

    fn digits(&mut self) -> Step {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err("Invalid JSON: invalid number") } else { Ok(()) }
    }

    fn number(&mut self) -> Step {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.push(Kind::Number, start);
        Ok(())
    }

    fn string(&mut self) -> Step {
        let start = self.at;
        let text = self.text;
        let mut kind = Kind::String;
        let mut at = start + 1;
        loop {
            at += plain(text.get(at..).unwrap_or_default());
            match text.get(at..) {
                Some([b'"', ..]) => break,
                Some([b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..]) => at += 2,
                Some([b'\\', ..]) => {
                    self.at = at;
                    self.escape()?;
                    at = self.at;
                }
                Some([_, ..]) => {
                    self.at = at;
                    return Err("Invalid JSON: control character in a string");
                }
                Some([]) | None => {
                    self.at = at;
                    return Err("Invalid JSON: unexpected end of input");
                }
            }
            kind = Kind::Escaped;
        }
        self.at = at + 1;
        self.push(kind, start);
        Ok(())
    }

    /// A `\uXXXX`, or two of them for a character outside the basic plane.
    fn escape(&mut self) -> Step {
        let width = match self.unit(self.at)? {
            0xD800..=0xDBFF if matches!(self.unit(self.at + 6), Ok(0xDC00..=0xDFFF)) => 12,
            0xD800..=0xDFFF => return Err("Invalid JSON: lone surrogate in a string"),
            _ => 6,
        };
        self.at += width;
        Ok(())
    }

    /// The UTF-16 unit of a `\uXXXX` that begins at `at`.
    fn unit(&self, at: usize) -> Result<u32, &'static str> {
        let bytes = self.text.get(at..at + 6).filter(|bytes| bytes.starts_with(b"\\u"));
        let digits = bytes.ok_or("Invalid JSON: invalid escape")?;
        digits[2..].iter().try_fold(0, |unit, byte| {
            let digit = char::from(*byte).to_digit(16).ok_or("Invalid JSON: invalid escape")?;
            Ok(unit * 16 + digit)
        })
    }

    /// Where the scan stands, as a path; only worth its while when something is wrong.
    fn path(&self) -> String {
        let mut path = String::new();
        let ends = self.open.iter().skip(1).copied().chain([u32::MAX]);
        for (container, child) in self.open.iter().zip(ends) {
            let object = self.nodes.get(*container as usize).is_some_and(|node| node.kind == Kind::Object);
            let mut at = *container as usize + 1;
            let mut index = 0;
            let mut last = None;
            while at < self.nodes.len() && at < child as usize {
                last = self.nodes.get(at);
                index += 1;
                at = last.map_or(usize::MAX, |node| node.next as usize);
                if object && at < self.nodes.len() && at < child as usize {
                    at = self.nodes.get(at).map_or(usize::MAX, |node| node.next as usize);
                }
            }
            let name = if object {
                let key = last.and_then(|node| self.text.get(node.start as usize + 1..node.end as usize - 1));
                String::from_utf8_lossy(key.unwrap_or_default()).into_owned()
            } else {
                index.to_string()
            };
            super::doc::join(&mut path, &name);
        }
        path
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Bytes that are looked at in words of eight before `memchr` is called: text with an escape in every line never
/// pays for that call, and the payload of a picture does not notice.
const BY_WORDS: usize = 128;

/// How many bytes at the start hold neither a quote, a backslash nor a control character.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < BY_WORDS {
        let rest = &bytes[at..];
        let Some(chunk) = rest.first_chunk::<8>() else {
            return at + rest.iter().position(|byte| stops(*byte)).unwrap_or(rest.len());
        };
        let found = stop_mask(u64::from_le_bytes(*chunk));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + long(&bytes[at..])
}

#[inline(never)]
fn long(bytes: &[u8]) -> usize {
    let run = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
    let run = &bytes[..run];
    // Without a branch a byte, so that the compiler takes many at a time.
    if run.iter().fold(0, |any, byte| any | u8::from(*byte < 0x20)) != 0 {
        return run.iter().position(|byte| *byte < 0x20).unwrap_or(run.len());
    }
    run.len()
}

#[inline]
fn stops(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of the first byte that stops a plain run; bits above it may be wrong.
#[inline]
fn stop_mask(word: u64) -> u64 {
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    control | zero_in(word ^ (ONES * u64::from(b'"'))) | zero_in(word ^ (ONES * u64::from(b'\\')))
}
