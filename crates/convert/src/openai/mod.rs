//! OpenAI ⇄ Messages. The Messages API is the hub: a request becomes the bytes of a Messages body, whatever the model, and
//! goes on from there as a Messages caller's would; an answer comes back as a Messages message or its events.
//!
//! What depends on the model (kinds of thinking, effort, sampling, limits, formats, cache points) is said in the words
//! of the Messages API and left to the lanes.

mod cache;
mod calls;
pub mod chat;
mod conversation;
mod effort;
pub mod embeddings;
mod error;
mod format;
mod freeform;
mod media;
mod parameter;
mod paths;
pub mod responses;
mod strict;
mod tool;
mod usage;

pub use freeform::Freeform;
pub use paths::Paths;

use protocol::raw::Extra;

use crate::outcome::{MOST_LOSSES, reason};
use crate::{Loss, Refusal};

/// What a conversion gathers beside the body.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) losses: Vec<Loss>,
    pub(crate) paths: Paths,
}

impl Notes {
    pub(crate) fn lose(&mut self, path: impl Into<String>, reason: &'static str) {
        if self.losses.len() < MOST_LOSSES {
            self.losses.push(Loss { path: path.into(), reason });
        }
    }

    /// Members that no schema knows: nobody has asked for them in words that could be carried.
    pub(crate) fn lose_extra(&mut self, at: &str, extra: &Extra<'_>) {
        for key in extra.keys() {
            let path = if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
            self.lose(path, reason::NO_PLACE);
        }
    }
}

pub(crate) fn refusal(path: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal { path: path.into(), message: message.into() }
}
