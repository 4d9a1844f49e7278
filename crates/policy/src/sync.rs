//! The locks of what threads share. With the feature `model` they are a model checker's: its tests try one order of the
//! threads' steps after another.

#[cfg(feature = "model")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(feature = "model"))]
pub(crate) use std::sync::{Mutex, MutexGuard};
