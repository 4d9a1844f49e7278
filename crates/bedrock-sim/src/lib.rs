//! A strict Bedrock Runtime on a local port: real wire format, real error texts, scripted faults.
//!
//! [`Sim::start`] binds a port on the loopback interface and serves Converse, InvokeModel, their streams, CountTokens,
//! the native Messages route and the lists of the control plane. It checks signatures with AWS's own signer, refuses
//! what Bedrock refuses in Bedrock's words, and answers usefully enough to try every client by hand.
//!
//! What is said to it decides what it answers:
//!
//! * `run echo hi` calls a tool named `Bash`, `read src/lib.rs` one named `Read`, `call <tool> with {json}` and
//!   `use the <tool> tool` any other; a result is quoted back;
//! * `Reply with exactly: pong` is answered with `pong`; everything else is repeated;
//! * words such as `sim:words=300`, `sim:slow=50ms`, `sim:throttle`, `sim:midstream=throttlingException@3`,
//!   `sim:reset@5`, `sim:stall=90`, `sim:error=424:500` or `sim:redacted` ask for a fault; [`Fault`] lists them, and
//!   [`Sim::script`] queues the same for requests to come.
mod answer;
mod ask;
mod auth;
mod claude_generation;
mod claude_messages;
mod claude_rules;
mod claude_shape;
mod control;
mod converse;
mod converse_family;
mod converse_rules;
mod converse_shape;
mod count;
mod directives;
mod dummy;
mod fault;
mod frames;
mod invoke;
mod json;
mod media;
mod models;
mod play;
mod reject;
mod render_claude;
mod render_converse;
mod routes;
mod server;
mod shape;
mod sign;
mod state;
mod usage;

pub use fault::{Fault, Place};
pub use server::{Config, Sim};
pub use state::{Captured, Served};
