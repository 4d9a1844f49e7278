//! What a request costs: a token is four bytes, and prefixes that were seen before are read from a cache.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::json::Json;

/// Tokens below which a cache point is silently ignored. The vendor's minimum differs from model to model (512 to
/// 4 096); one figure keeps callers' tests readable.
const MINIMUM: usize = 1024;
/// How many blocks before a cache point are searched for a known prefix.
const LOOK_BACK: usize = 20;
/// Prefixes that are remembered at most.
const REMEMBERED: usize = 100_000;

/// Tokens of one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Neither read from nor written to the cache.
    pub(crate) input: usize,
    pub(crate) read: usize,
    pub(crate) write_5m: usize,
    pub(crate) write_1h: usize,
    pub(crate) output: usize,
}

impl Usage {
    pub(crate) fn write(&self) -> usize {
        self.write_5m + self.write_1h
    }

    /// Everything that the prompt holds.
    pub(crate) fn prompt(&self) -> usize {
        self.input + self.read + self.write()
    }
}

/// Bytes as tokens.
pub(crate) fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(4)
}

/// The prompt, block by block.
pub(crate) struct Prompt {
    bytes: usize,
    hash: Fold,
    hashing: bool,
    /// Hash and bytes of the prefix that ends with each block.
    bounds: Vec<(u64, usize)>,
    /// Which bounds are cache points, and whether they live for an hour.
    marks: Vec<(usize, bool)>,
}

impl Prompt {
    /// Reads a Claude body.
    pub(crate) fn claude(body: &Json<'_>, model: &str) -> Self {
        Self::read(model, |prompt| {
            prompt.tools(body.list("tools"));
            prompt.content(body.get("system"));
            for message in body.list("messages") {
                prompt.content(message.get("content"));
            }
        })
    }

    /// Reads a Converse body.
    pub(crate) fn converse(body: &Json<'_>, model: &str) -> Self {
        Self::read(model, |prompt| {
            prompt.tools(body.get("toolConfig").map_or(&[][..], |config| config.list("tools")));
            prompt.content(body.get("system"));
            for message in body.list("messages") {
                prompt.content(message.get("content"));
            }
        })
    }

    /// Most requests hold no cache point; only those that do are hashed.
    fn read(model: &str, walk: impl Fn(&mut Self)) -> Self {
        let mut prompt =
            Self { bytes: 0, hash: Fold(0), hashing: false, bounds: Vec::new(), marks: Vec::new() };
        walk(&mut prompt);
        if !prompt.marks.is_empty() {
            prompt = Self { bytes: 0, hash: Fold(0), hashing: true, bounds: Vec::new(), marks: Vec::new() };
            prompt.hash.bytes(model.as_bytes());
            walk(&mut prompt);
        }
        prompt
    }

    fn tools(&mut self, tools: &[Json<'_>]) {
        for tool in tools {
            self.block(tool, size(tool));
        }
    }

    fn content(&mut self, content: Option<&Json<'_>>) {
        match content {
            Some(Json::List(blocks)) => blocks.iter().for_each(|block| self.block(block, weight(block))),
            Some(text) => self.block(text, weight(text)),
            None => {}
        }
    }

    fn block(&mut self, block: &Json<'_>, bytes: usize) {
        if let Some(point) = block.get("cachePoint") {
            self.mark(point);
            return;
        }
        self.bytes += bytes;
        if self.hashing {
            self.hash.json(block);
            self.bounds.push((self.hash.0, self.bytes));
        }
        let inner = block.list("content").iter().rev().find_map(|item| item.get("cache_control"));
        if let Some(point) = block.get("cache_control").or(inner) {
            self.mark(point);
        }
    }

    fn mark(&mut self, point: &Json<'_>) {
        self.marks.push((self.bounds.len().saturating_sub(1), point.text("ttl") == Some("1h")));
    }

    /// Tokens of the whole prompt.
    pub(crate) fn total(&self) -> usize {
        tokens(self.bytes).max(1)
    }

    /// What is read, what is written, what is neither.
    pub(crate) fn usage(&self, cache: &Cache, now: Instant) -> Usage {
        let mut usage = Usage { input: self.total(), ..Usage::default() };
        let at = |bound: usize| self.bounds.get(bound).map_or(0, |(_, bytes)| tokens(*bytes));
        let marks: Vec<(usize, bool)> =
            self.marks.iter().filter(|(bound, _)| at(*bound) >= MINIMUM).copied().collect();
        let Some((last, _)) = marks.last().copied() else { return usage };
        usage.read = cache.longest(self, &marks, now).map_or(0, at);
        let mut reached = usage.read;
        for (bound, long) in &marks {
            let more = at(*bound).saturating_sub(reached);
            *(if *long { &mut usage.write_1h } else { &mut usage.write_5m }) += more;
            reached += more;
            if let Some((hash, _)) = self.bounds.get(*bound) {
                cache.remember(*hash, *long, now);
            }
        }
        usage.input = self.total().saturating_sub(at(last).max(usage.read));
        usage
    }
}

/// Prefixes that were written, until they expire.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<u64, (Instant, bool)>>);

impl Cache {
    /// The bound of the longest known prefix that one of the marks may look back to.
    fn longest(&self, prompt: &Prompt, marks: &[(usize, bool)], now: Instant) -> Option<usize> {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (mark, _) in marks.iter().rev() {
            for bound in (mark.saturating_sub(LOOK_BACK)..=*mark).rev() {
                let (hash, bytes) = prompt.bounds.get(bound)?;
                if tokens(*bytes) < MINIMUM {
                    break;
                }
                if let Some((until, long)) = known.get_mut(hash)
                    && *until > now
                {
                    *until = now + lifetime(*long);
                    return Some(bound);
                }
            }
        }
        None
    }

    fn remember(&self, hash: u64, long: bool, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(hash, (now + lifetime(long), long));
    }
}

fn lifetime(long: bool) -> Duration {
    if long { Duration::from_hours(1) } else { Duration::from_mins(5) }
}

/// Bytes of what a model reads of a block: its texts, without the names of the members around them.
fn weight(value: &Json<'_>) -> usize {
    /// What an image or a document counts, however many bytes it has.
    const MEDIA: usize = 6_000;
    match value {
        Json::Str(text) => text.len(),
        Json::Null => 0,
        Json::Bool(_) | Json::Int(_) | Json::Float(_) => 4,
        Json::List(items) => items.iter().map(weight).sum(),
        Json::Object(members) => members
            .iter()
            .map(|(key, value)| match key.as_ref() {
                "type" | "cache_control" | "cachePoint" | "signature" => 0,
                "data" | "bytes" => weight(value).min(MEDIA),
                _ => weight(value),
            })
            .sum(),
    }
}

/// Bytes of compact JSON, near enough.
fn size(value: &Json<'_>) -> usize {
    match value {
        Json::Str(text) => text.len() + 2,
        Json::Null | Json::Bool(_) | Json::Int(_) | Json::Float(_) => 4,
        Json::List(items) => items.iter().map(|item| size(item) + 1).sum::<usize>() + 1,
        Json::Object(members) => {
            let known = members.iter().filter(|(key, _)| key != "cache_control");
            known.map(|(key, value)| key.len() + size(value) + 4).sum::<usize>() + 1
        }
    }
}

/// A fast hash over trees; good enough to tell prompts apart, not to resist anyone.
struct Fold(u64);

impl Fold {
    fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut tail = [0; 8];
        tail[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(tail));
        self.word(bytes.len() as u64);
    }

    fn json(&mut self, value: &Json<'_>) {
        match value {
            Json::Null => self.word(1),
            Json::Bool(value) => self.word(2 + u64::from(*value)),
            Json::Int(value) => self.word(value.cast_unsigned() ^ 4),
            Json::Float(value) => self.word(value.to_bits() ^ 5),
            Json::Str(text) => self.bytes(text.as_bytes()),
            Json::List(items) => {
                self.word(6);
                for item in items {
                    self.json(item);
                }
            }
            Json::Object(members) => {
                self.word(7);
                // The mark itself is no part of the prefix: it moves from turn to turn.
                for (key, value) in members.iter().filter(|(key, _)| key != "cache_control") {
                    self.bytes(key.as_bytes());
                    self.json(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(turns: &[(&str, bool)]) -> String {
        let blocks: Vec<String> = turns
            .iter()
            .map(|(text, mark)| {
                let mark = if *mark { ",\"cache_control\":{\"type\":\"ephemeral\"}" } else { "" };
                format!("{{\"type\":\"text\",\"text\":\"{text}\"{mark}}}")
            })
            .collect();
        format!("{{\"messages\":[{{\"role\":\"user\",\"content\":[{}]}}]}}", blocks.join(","))
    }

    fn usage(cache: &Cache, turns: &[(&str, bool)]) -> Usage {
        let text = body(turns);
        let tree = Json::parse(text.as_bytes()).expect("valid");
        Prompt::claude(&tree, "model").usage(cache, Instant::now())
    }

    #[test]
    fn a_token_is_four_bytes_of_text() {
        let cache = Cache::default();
        assert_eq!(usage(&cache, &[("hello", false)]), Usage { input: 2, ..Usage::default() });
    }

    #[test]
    fn a_prefix_is_written_once_and_read_when_the_mark_moves_on() {
        let cache = Cache::default();
        let long = "x".repeat(8_000);
        let first = usage(&cache, &[(&long, true), ("tail", false)]);
        assert_eq!(first, Usage { input: 1, write_5m: 2_000, ..Usage::default() });
        let again = usage(&cache, &[(&long, true), ("tail", false)]);
        assert_eq!(again, Usage { input: 1, read: 2_000, ..Usage::default() });
        let moved = usage(&cache, &[(&long, false), ("tail", false), ("more text", true)]);
        assert_eq!(moved, Usage { input: 0, read: 2_000, write_5m: 4, ..Usage::default() });
    }

    #[test]
    fn a_short_prefix_is_ignored_in_silence() {
        let cache = Cache::default();
        assert_eq!(usage(&cache, &[("short", true)]), Usage { input: 2, ..Usage::default() });
    }
}
