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
//! * words that begin with `sim:` shape the answer or ask for a fault; [`Sim::script`] queues the same faults for
//!   requests to come.
//!
//! | word | meaning |
//! | --- | --- |
//! | `sim:words=300` | so many words, one a delta; 0 is an answer without text |
//! | `sim:slow=50ms` | a pause between events |
//! | `sim:redacted` | a redacted thinking block first |
//! | `sim:stop=REASON` | this stop reason, in either dialect's words |
//! | `sim:served=default` | this tier serves, whichever was asked for |
//! | `sim:throttle`, `sim:throttle=2` | 429 always, or twice for the same words |
//! | `sim:retry-after=3` | 429 with that header |
//! | `sim:not-ready`, `sim:unavailable`, `sim:html` | 429 ModelNotReady, 503, 503 with an HTML page |
//! | `sim:error=500`, `sim:error=424:500` | that status, with the model's own behind the colon |
//! | `sim:midstream=throttlingException@3` | an exception frame after three events |
//! | `sim:stall=90`, `sim:stall=90@3`, `sim:stall-headers=90` | seconds of silence before the events, after three, before the head |
//! | `sim:reset`, `sim:reset@5` | a TCP reset before the head, after five events |
//! | `sim:truncate@5` | an orderly end after five events |
//! | `sim:bytes`, `sim:utf8` | every byte in a write of its own; characters cut between writes |
//! | `sim:empty-start`, `sim:unknown-event`, `sim:unknown-member`, `sim:empty-input`, `sim:no-metadata`, `sim:crc@2` | odd streams |
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
mod embed;
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
pub use sign::signature;
pub use state::{Answered, Captured, Served};
