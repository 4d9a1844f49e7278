//! Server-sent events, as the Messages API frames them.
