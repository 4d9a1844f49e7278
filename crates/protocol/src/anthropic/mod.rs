//! The Anthropic Messages API: <https://platform.claude.com/docs/en/api/messages>.

pub mod event;
pub mod request;
pub mod response;

pub use event::{Delta, Event};
pub use request::{Fault, Request, parse};
pub use response::{ErrorBody, StopReason, Usage};
