//! Messages ⇄ Converse.

pub mod request;
pub mod response;
pub mod stream;

pub use response::{Answer, Fault, Reply, response};
pub use stream::{Machine, Stream};
