//! The simulator over real TCP, judged by the AWS SDK, by AWS's frame decoder and by its own texts.
mod answers;
mod auth;
mod common;
mod faults;
mod refusals_claude;
mod refusals_converse;
mod sdk;
