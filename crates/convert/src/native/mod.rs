//! The native lane: Claude, which speaks the Messages format on Bedrock itself, so that the caller's bytes travel.
//!
//! A body is read once into a tape ([`parse`]); [`peek`] tells what the policy and the router need from it, and
//! [`request`] writes it again with the few edits that InvokeModel needs. What is not edited is byte-identical:
//! prompt caching depends on it, thinking signatures depend on it, and so do fields that nobody knows yet. The
//! answer's events are relayed as they come ([`Relay`]).

mod ask;
pub mod beta;
mod blank;
mod block;
mod cache;
mod doc;
mod edit;
mod fields;
mod fold;
mod format;
mod relay;
mod remark;
mod request;
mod scan;
mod synthetic;
mod thinking;
mod tools;
pub mod version;

pub use ask::{Ask, peek};
pub use cache::Ttl;
pub use doc::{Doc, Kind, Member, Value};
pub use relay::{Message, Relay, message};
pub use remark::{remarked, repointed, with_member};
pub use request::{Addressed, Fetched, Options, addressed, embedded, request};
pub use scan::{Fault, MAX_DEPTH, parse};

/// Reasons of losses that only this lane has; the others are in [`crate::outcome::reason`].
pub mod reason {
    /// A beta flag that no table knows.
    pub const FLAG_UNKNOWN: &str = "unknown beta flag";
    /// A beta flag that the operator's list blocks, or that the upstream has refused.
    pub const FLAG_BLOCKED: &str = "blocked beta flag";
    /// The upstream has refused the field before.
    pub const REFUSED_BEFORE: &str = "refused by the upstream before";
    /// Said in another way that the model understands.
    pub const TRANSLATED: &str = "translated for this model";
    /// A thinking block without a signature, which no model takes back.
    pub const UNSIGNED: &str = "thinking without a signature";
    /// The last tool call was made without thinking, and budgeted thinking wants some before each call.
    pub const UNTHOUGHT_CALL: &str = "the last tool call has no thinking before it";
    /// The gateway does not offer it.
    pub const NOT_OFFERED: &str = "not offered on Bedrock";
}
