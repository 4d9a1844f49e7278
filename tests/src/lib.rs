//! What the black-box tests share: a gateway in front of a scripted simulator, and a caller that speaks plain HTTP.
//!
//! Both run over real TCP. The caller is written by hand because tests need what client libraries hide: half a request, a
//! reply read byte by byte, a connection that is dropped.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on fails its test"
)]
#![expect(clippy::missing_panics_doc, reason = "as above")]

mod books;
mod caller;
mod gateway;
mod process;

pub use books::{assert_as_served, assert_summed_up, booked_rows, eventually, put_key, spent_and_leased};
pub use caller::{Caller, OpenAiError, Reply, chunks, events, metric, response_events};
pub use gateway::{BEDROCK_KEY, Gateway, HASH_SECRET, MASTER, Options, in_front_of, on_file, on_tables};
pub use process::Process;

/// A model of each lane.
pub const CLAUDE: &str = "claude-sonnet-4-6";
/// An open model: Converse.
pub const QWEN: &str = "qwen.qwen3-coder-480b-a35b-v1:0";
/// Both lanes.
pub const LANES: [&str; 2] = [CLAUDE, QWEN];

/// A small request.
pub fn hello(model: &str, text: &str, stream: bool) -> serde_json::Value {
    serde_json::json!({
        "model": model,
        "max_tokens": 300,
        "stream": stream,
        "messages": [{ "role": "user", "content": text }],
    })
}
