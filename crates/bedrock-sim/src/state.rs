//! What requests share: credentials, scripts, the prompt cache, totals, captures.
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::auth::Accepted;
use crate::fault::Fault;
use crate::json::quote;
use crate::routes::request_id;
use crate::usage::{Cache, Usage};

/// Requests that a recording keeps; older ones make room.
const KEPT: usize = 10_000;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Captured {
    /// `POST`.
    pub method: String,
    /// Path and query as they stood on the wire.
    pub path: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Bytes,
    /// Where it came from: one address is one connection.
    pub peer: SocketAddr,
}

impl Captured {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The capture as JSON: `{"path","method","headers","body"}`, with the body as text.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.body.len() + 512);
        out.push_str("{\"path\":");
        quote(&mut out, &self.path);
        out.push_str(",\"method\":");
        quote(&mut out, &self.method);
        out.push_str(",\"headers\":{");
        for (index, (name, value)) in self.headers.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            quote(&mut out, name);
            out.push(':');
            quote(&mut out, value);
        }
        out.push_str("},\"body\":");
        quote(&mut out, &String::from_utf8_lossy(&self.body));
        out.push('}');
        out
    }
}

/// What was answered so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Answers of a model, streams included, also those that a fault cut short.
    pub answers: u64,
    /// Refusals and scripted errors.
    pub refusals: u64,
    /// Tokens neither read from nor written to the cache.
    pub input_tokens: u64,
    /// Tokens of the answers.
    pub output_tokens: u64,
    /// Tokens read from the cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the cache.
    pub cache_write_tokens: u64,
}

/// One answer of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// `x-amzn-requestid`.
    pub request_id: String,
    /// What it was charged with, though a fault cut it short.
    pub served: Served,
}

#[derive(Default)]
struct Totals {
    answers: AtomicU64,
    refusals: AtomicU64,
    input: AtomicU64,
    output: AtomicU64,
    read: AtomicU64,
    write: AtomicU64,
}

/// Faults that wait for requests of some models.
struct Script {
    glob: String,
    faults: VecDeque<Fault>,
}

/// Shared by all workers.
pub(crate) struct State {
    pub(crate) accepted: Accepted,
    pub(crate) record: bool,
    pub(crate) delay: Duration,
    pub(crate) gather: bool,
    pub(crate) events: Option<usize>,
    /// ARNs of application inference profiles and the models behind them.
    pub(crate) profiles: Vec<(String, String)>,
    pub(crate) reservations: Vec<String>,
    pub(crate) cache: Cache,
    serial: AtomicU64,
    /// How many faults wait; the lock is only taken when there are any.
    waiting: AtomicUsize,
    scripts: Mutex<VecDeque<Script>>,
    captured: Mutex<VecDeque<Captured>>,
    answers: Mutex<VecDeque<Answered>>,
    /// How often the same words were refused on their own wish.
    tries: Mutex<HashMap<String, u32>>,
    totals: Totals,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(crate) fn has_reserved(&self, model: &str) -> bool {
        self.reservations.iter().any(|reserved| reserved == model)
    }

    pub(crate) fn new(accepted: Accepted) -> Self {
        Self {
            accepted,
            record: false,
            delay: Duration::ZERO,
            gather: false,
            events: None,
            profiles: Vec::new(),
            reservations: Vec::new(),
            cache: Cache::default(),
            serial: AtomicU64::new(1),
            waiting: AtomicUsize::new(0),
            scripts: Mutex::default(),
            captured: Mutex::default(),
            answers: Mutex::default(),
            tries: Mutex::default(),
            totals: Totals::default(),
        }
    }

    /// Whether these words are to be refused once more.
    pub(crate) fn throttled(&self, said: &str, times: u32) -> bool {
        let mut tries = lock(&self.tries);
        if tries.len() >= KEPT {
            tries.clear();
        }
        let so_far = tries.entry(said.to_owned()).or_default();
        *so_far += 1;
        if *so_far > times {
            tries.remove(said);
            return false;
        }
        true
    }

    /// A number that no other request has.
    pub(crate) fn next(&self) -> u64 {
        self.serial.fetch_add(1, Relaxed)
    }

    pub(crate) fn script(&self, glob: &str, faults: Vec<Fault>) {
        self.waiting.fetch_add(faults.len(), Relaxed);
        lock(&self.scripts).push_back(Script { glob: glob.to_owned(), faults: faults.into() });
    }

    /// The fault that waits for a request of this model.
    pub(crate) fn fault(&self, model: &str) -> Option<Fault> {
        if self.waiting.load(Relaxed) == 0 {
            return None;
        }
        let mut scripts = lock(&self.scripts);
        let at = scripts.iter().position(|script| matches(&script.glob, model))?;
        let script = scripts.get_mut(at)?;
        let fault = script.faults.pop_front();
        if script.faults.is_empty() {
            scripts.remove(at);
        }
        if fault.is_some() {
            self.waiting.fetch_sub(1, Relaxed);
        }
        fault
    }

    pub(crate) fn capture(
        &self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        body: &Bytes,
        peer: SocketAddr,
    ) {
        if !self.record {
            return;
        }
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut captured = lock(&self.captured);
        if captured.len() >= KEPT {
            captured.pop_front();
        }
        captured.push_back(Captured {
            peer,
            method: method.to_string(),
            path: target.to_owned(),
            headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: body.clone(),
        });
    }

    pub(crate) fn requests(&self) -> Vec<Captured> {
        lock(&self.captured).iter().cloned().collect()
    }

    pub(crate) fn answers(&self) -> Vec<Answered> {
        lock(&self.answers).iter().cloned().collect()
    }

    pub(crate) fn answered(&self, serial: u64, usage: &Usage) {
        self.totals.answers.fetch_add(1, Relaxed);
        self.totals.input.fetch_add(usage.input as u64, Relaxed);
        self.totals.output.fetch_add(usage.output as u64, Relaxed);
        self.totals.read.fetch_add(usage.read as u64, Relaxed);
        self.totals.write.fetch_add(usage.write() as u64, Relaxed);
        if !self.record {
            return;
        }
        let served = Served {
            answers: 1,
            refusals: 0,
            input_tokens: usage.input as u64,
            output_tokens: usage.output as u64,
            cache_read_tokens: usage.read as u64,
            cache_write_tokens: usage.write() as u64,
        };
        let mut answers = lock(&self.answers);
        if answers.len() >= KEPT {
            answers.pop_front();
        }
        answers.push_back(Answered { request_id: request_id(serial), served });
    }

    pub(crate) fn refused(&self) {
        self.totals.refusals.fetch_add(1, Relaxed);
    }

    pub(crate) fn served(&self) -> Served {
        Served {
            answers: self.totals.answers.load(Relaxed),
            refusals: self.totals.refusals.load(Relaxed),
            input_tokens: self.totals.input.load(Relaxed),
            output_tokens: self.totals.output.load(Relaxed),
            cache_read_tokens: self.totals.read.load(Relaxed),
            cache_write_tokens: self.totals.write.load(Relaxed),
        }
    }
}

/// `*` stands for any characters; an empty pattern matches every model.
fn matches(glob: &str, id: &str) -> bool {
    if glob.is_empty() {
        return true;
    }
    let mut parts = glob.split('*');
    let Some(mut rest) = id.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(end) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_any_part_of_an_id() {
        assert!(matches("", "any.model") && matches("*", "any.model"));
        assert!(matches("us.anthropic.*", "us.anthropic.claude-opus-5"));
        assert!(matches("*claude*5", "us.anthropic.claude-opus-5"));
        assert!(!matches("*claude*6", "us.anthropic.claude-opus-5"));
        assert!(!matches("us.*", "eu.anthropic.claude-opus-5"));
    }
}
