//! The OpenAI API: <https://platform.openai.com/docs/api-reference>.
//!
//! Requests are read as those of the Messages API are ([`crate::raw`]): borrowed from the body, nulls count as absent,
//! and what a schema does not know stays visible. Answers are written.

pub mod chat;
pub mod embeddings;
mod error;
pub mod responses;
pub mod tool;

pub use error::{ErrorBody, ErrorDetail};

use serde::Serialize;

use crate::sse;

/// What keeps a stream of chat chunks alive: a comment, ended by a single newline. Older SDKs take the empty line of a
/// whole event for an empty chunk and fail.
pub const PING: &[u8] = b": ping\n";

/// What ends a stream of chat chunks that is complete.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// Appends a nameless event whose data is `data` as JSON; nothing if JSON cannot hold it.
pub fn write_data(out: &mut Vec<u8>, data: &impl Serialize) {
    let before = out.len();
    out.extend_from_slice(b"data: ");
    let start = out.len();
    sse::write_json(out, data);
    if out.len() == start {
        out.truncate(before);
    } else {
        out.extend_from_slice(b"\n\n");
    }
}

/// Appends a value as JSON; nothing if JSON cannot hold it.
pub fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    sse::write_json(out, value);
}
