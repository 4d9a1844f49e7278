//! The Bedrock Runtime client: signing, transport, event streams, deadlines, retries.
//!
//! What is sent is the caller's own bytes and what comes back is handed on as bytes: nothing here reads a message. The
//! AWS SDK only finds region, endpoint and credentials; requests are signed ([Signature Version 4]) and sent over a small
//! HTTP/1.1 client of our own, and streams are read as [event-stream frames].
//!
//! ```no_run
//! # use outcrop_bedrock as bedrock;
//! use bedrock::{Call, Client, Operation, Settings};
//!
//! # async fn run() -> Result<(), bedrock::Error> {
//! let client = Client::connect(Settings { region: Some("eu-west-1".into()), ..Settings::default() }).await?;
//! let call = Call {
//!     operation: Operation::ConverseStream,
//!     model_id: "eu.amazon.nova-lite-v1:0",
//!     body: r#"{"messages":[{"role":"user","content":[{"text":"Hello"}]}]}"#.into(),
//!     headers: &[],
//! };
//! let mut stream = client.stream(&call).await?;
//! while let Some(frame) = stream.next().await {
//!     let frame = frame?;
//!     println!("{}: {} bytes", frame.event_type, frame.payload.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [Signature Version 4]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
//! [event-stream frames]: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html

mod call;
mod client;
mod clock;
mod credentials;
mod endpoint;
mod error;
mod eventstream;
mod health;
mod http1;
mod pool;
mod retry;
mod settings;
mod sigv4;
mod sse;
mod stream;

#[doc(hidden)]
pub mod bench;

pub use call::{Call, Operation, Reply, Site};
pub use client::Client;
pub use credentials::Readiness;
pub use error::{Error, Kind};
pub use eventstream::Frame;
pub use health::Health;
pub use settings::{CredentialsSource, Role, Secret, Settings};
pub use stream::EventStream;
