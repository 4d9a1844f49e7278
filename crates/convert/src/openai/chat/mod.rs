//! Chat Completions ⇄ Messages.

pub mod request;
pub mod response;
pub mod stream;

pub use request::{Asked, Options, request};
pub use response::{Reply, response};
pub use stream::Stream;

/// What an answer must know of its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Tools that take text: their calls are answered as those of custom tools.
    pub custom: Vec<String>,
    /// Whether the caller offered legacy `functions`: the first call is answered as `function_call`, the only one that
    /// there is room for.
    pub functions: bool,
    /// Whether a stream ends with a chunk that tells the usage.
    pub include_usage: bool,
}
