//! The simulator over real TCP, judged by the AWS SDK, by AWS's frame decoder and by its own texts.
mod auth;
mod common;
mod refusals_claude;
mod refusals_converse;
