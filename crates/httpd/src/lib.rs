//! hyper, once: accept, limits, deadlines, drain, bodies.
//!
//! The crate knows HTTP and nothing else: no routes, no policy, no dialects. A program hands it a [`Service`] and gets
//!
//! * one current-thread runtime a core, connections dealt to the worker with the fewest, so that a request never
//!   crosses threads ([`Server::run`]);
//! * deadlines for the header, for idle keep-alive connections and for a reader that stalls, with one lazy timer a
//!   connection ([`Config`]);
//! * bodies that are read within a size and a gap ([`read_body`]) and bodies that are streamed with backpressure:
//!   hyper polls the stream only when the socket takes more ([`Body::stream`]);
//! * a drain in two steps: finish what is open, then cut what is left ([`Drain`]).

mod body;
mod config;
mod conn;
mod drain;
mod io;
mod server;

pub use body::{Abort, Body, BodyError, read_body};
pub use config::Config;
pub use drain::{Drain, DrainHandle};
pub use io::Peer;
pub use server::Server;

use std::future::Future;

/// The body of a request, as hyper reads it.
pub type RequestBody = hyper::body::Incoming;
/// A request whose body has not been read yet.
pub type Request = http::Request<RequestBody>;
/// A reply.
pub type Response = http::Response<Body>;

/// What answers requests. One instance a worker thread.
///
/// The future is dropped when the caller goes away, at whatever point it stands: what must happen then belongs in
/// a `Drop`.
pub trait Service: Send + Sync + 'static {
    /// Answers one request.
    fn call(&self, request: Request, peer: Peer) -> impl Future<Output = Response> + Send;
}
