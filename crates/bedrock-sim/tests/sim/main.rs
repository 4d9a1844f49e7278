//! The simulator over real TCP, judged by the AWS SDK, by AWS's frame decoder and by its own texts.
//! Modules are marked as tests, so that the lints know their helpers for what they are.
#[cfg(test)]
mod answers;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod common;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod refusals_claude;
#[cfg(test)]
mod refusals_converse;
#[cfg(test)]
mod sdk;
