//! Limits and deadlines of a server.

use std::time::Duration;

use bytes::Bytes;

/// Limits and deadlines of a [`crate::Server`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads, each with its own runtime; 0 serves on the runtime that calls [`crate::Server::run`].
    pub workers: usize,
    /// Open connections; one more is answered with [`Config::overload_reply`] and closed.
    pub max_connections: usize,
    /// Bytes of a request head; hyper answers 431 above it.
    pub max_header_bytes: usize,
    /// From the first byte of a request to the end of its head.
    pub header_timeout: Duration,
    /// An idle connection is closed after this long.
    pub keep_alive: Duration,
    /// How long a write may make no progress before the reader counts as gone.
    pub write_timeout: Duration,
    /// A whole HTTP/1.1 reply for connections above the limit; empty closes without a word.
    pub overload_reply: Bytes,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 0,
            max_connections: 10_000,
            max_header_bytes: 65_536,
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(620),
            write_timeout: Duration::from_mins(1),
            overload_reply: Bytes::new(),
        }
    }
}
