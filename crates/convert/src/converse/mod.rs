//! Messages ⇄ Converse.

pub mod request;
pub mod response;
pub mod stream;
