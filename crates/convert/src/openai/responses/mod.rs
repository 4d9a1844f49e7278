//! The Responses API ⇄ Messages.
//!
//! [`request()`] makes the bytes of a Messages body; [`response()`] and [`Stream`] make of a Messages answer what the caller
//! reads. An item's id is made of the reply's id and the item's place, so that events, the whole response and a stored
//! turn name it alike without anything being remembered.

mod building;
pub mod compact;
pub mod request;
pub mod response;
pub mod seal;
pub mod stream;
pub mod turn;

pub use request::{Asked, Options, Wants, convert, parse, request, wants};
pub use response::{Called, Recall, Reply, answer, response};
pub use stream::Stream;
pub use turn::{History, Turn};
