//! The data plane: the Anthropic Messages API and the OpenAI API in front, AWS Bedrock behind.
//!
//! One request, top to bottom: [`httpd`] accepts it · `handle` gives it an id, a route and a record · `messages` reads it top
//! to bottom: authenticate, read, admit, convert, call, answer, settle; `openai` puts what its callers say into those words · `switches` refuses what the operator has switched
//! off, `fetch` gets what stands behind URLs · `profiles` finds the model that an ARN hides · `lane` knows the two ways to Bedrock and `answer` the ways back, `voice` in whose words ·
//! `targets` says where it may go and in which order, `tour` when it moves on, `upstream` makes the call · `stream` relays what comes · `error` is the one table of what goes wrong.
//!
//! Beside it: `refresh` reads the operator's rows anew, `betas` says what they decide about flags · `count_tokens` counts and runs nothing · `embeddings` makes vectors, in several calls where the model needs them · `ingress` takes Bedrock's own operations, bytes in and frames out.

mod answer;
mod auth;
mod betas;
mod cors;
mod count_tokens;
mod debug;
mod embeddings;
mod encoding;
mod error;
mod fetch;
mod gateway;
mod handle;
mod health;
mod healthcheck;
mod ingress;
mod lane;
mod learned;
mod measured;
mod messages;
mod metrics;
mod models;
mod openai;
mod profiles;
mod quiet;
mod rates;
mod record;
mod refresh;
mod refusal;
mod request_id;
mod route;
mod run;
pub mod settings;
mod simulate;
mod spending;
mod start;
mod stored;
mod stream;
mod switches;
mod targets;
mod tiers;
mod tour;
mod turns;
mod upstream;
mod voice;
mod ways;
mod wishes;

pub use run::main;
pub use start::{Gate, StartError};
