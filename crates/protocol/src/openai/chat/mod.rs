//! Chat completions: <https://platform.openai.com/docs/api-reference/chat>.

pub mod request;
pub mod response;

pub use request::{Request, parse};
