//! Idle connections of one worker. The one used last is used next, so that the others can grow old and go.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::http1::Connection;

/// More idle connections than this are not kept.
const MOST: usize = 1024;

pub(crate) struct Pool {
    /// Oldest first. Only this worker's calls come here, so the lock is free.
    idle: Mutex<Vec<(Instant, Connection)>>,
    limit: Duration,
}

impl Pool {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { idle: Mutex::default(), limit }
    }

    /// A connection that is, as far as can be known, still open.
    pub(crate) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, mut connection)) = idle.pop() {
            if since.elapsed() >= self.limit {
                // All others are older still.
                idle.clear();
                return None;
            }
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose exchange ended cleanly.
    pub(crate) fn put(&self, mut connection: Connection) {
        if self.limit.is_zero() || !connection.buffer.is_empty() {
            return;
        }
        connection.used = true;
        connection.shrink();
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = idle.iter().take_while(|(since, _)| now.duration_since(*since) >= self.limit).count();
        idle.drain(..spent);
        if idle.len() < MOST {
            idle.push((now, connection));
        }
    }
}
