//! The OpenAI Responses API: <https://developers.openai.com/api/reference/resources/responses>.

pub mod event;
pub mod item;
pub mod request;
pub mod response;
pub mod tool;

pub use event::Event;
pub use item::Item;
pub use request::{Request, parse};
pub use response::{OutputItem, Response};
