//! The calls of one assistant turn, and which of them a result answers.
//!
//! A turn may hold a hundred thousand of them: each is found by what it is asked for, and passed over once.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use super::{refusal, tool};
use crate::Refusal;

/// Which call a result answers.
pub(crate) enum Answers<'r> {
    /// The one of this id; none, or an empty one, is the first that has no result yet.
    Id(Option<&'r str>),
    /// The first of this function that has no result yet.
    Function(Option<&'r str>),
}

/// A call that may still be answered.
struct Call {
    /// Its id as it is sent.
    sent: String,
    answered: bool,
}

/// Calls in order. The queues hold places among them; those that were answered by another way are dropped when met.
#[derive(Default)]
pub(super) struct Calls<'r> {
    all: Vec<Call>,
    open: VecDeque<usize>,
    /// By the id as the caller wrote it; empty where it wrote none.
    by_id: HashMap<&'r str, VecDeque<usize>>,
    by_name: HashMap<&'r str, VecDeque<usize>>,
}

impl<'r> Calls<'r> {
    pub(super) fn add(&mut self, id: &'r str, name: &'r str, sent: String) {
        let at = self.all.len();
        self.all.push(Call { sent, answered: false });
        self.open.push_back(at);
        self.by_id.entry(id).or_default().push_back(at);
        self.by_name.entry(name).or_default().push_back(at);
    }

    /// The id, as it is sent, of the call that a result answers, which is answered by it. `at` is the place of what names
    /// the call.
    pub(super) fn answer(&mut self, which: &Answers<'r>, at: &str) -> Result<Cow<'r, str>, Refusal> {
        let queue = match which {
            Answers::Id(Some(id)) if !id.is_empty() => match self.by_id.get_mut(id) {
                // A result without its call is the lane's to refuse, in Anthropic's words.
                None => return Ok(tool::id(id)),
                Some(queue) => Some(queue),
            },
            Answers::Function(Some(name)) => self.by_name.get_mut(name),
            Answers::Id(_) | Answers::Function(None) => Some(&mut self.open),
        };
        let open = queue.and_then(|queue| {
            std::iter::from_fn(|| queue.pop_front())
                .find(|at| self.all.get(*at).is_some_and(|call| !call.answered))
        });
        match (open.and_then(|at| self.all.get_mut(at)), which) {
            (Some(call), _) => {
                call.answered = true;
                Ok(Cow::Owned(call.sent.clone()))
            }
            (None, Answers::Id(Some(id))) if !id.is_empty() => {
                Err(refusal(at, format!("each call must have a single result: '{id}' has two")))
            }
            (None, Answers::Id(_) | Answers::Function(_)) => {
                Err(refusal(at, "no call before it that has no result yet"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(calls: &mut Calls<'static>, which: &Answers<'static>) -> String {
        calls.answer(which, "at").map_or_else(|refused| refused.message, Cow::into_owned)
    }

    #[test]
    fn a_result_answers_what_it_names_and_no_call_is_answered_twice() {
        let mut calls = Calls::default();
        for (id, name, sent) in [("a", "f", "1"), ("", "f", "2"), ("a", "g", "3"), ("b", "g", "4")] {
            calls.add(id, name, sent.to_owned());
        }
        assert_eq!(answer(&mut calls, &Answers::Function(Some("g"))), "3");
        assert_eq!(answer(&mut calls, &Answers::Id(Some("a"))), "1");
        assert!(answer(&mut calls, &Answers::Id(Some("a"))).contains("'a' has two"));
        assert_eq!(answer(&mut calls, &Answers::Id(Some("c"))), "c");
        assert_eq!(answer(&mut calls, &Answers::Id(None)), "2");
        for which in [Answers::Function(Some("f")), Answers::Function(Some("h"))] {
            assert!(answer(&mut calls, &which).contains("no result yet"));
        }
        assert_eq!(answer(&mut calls, &Answers::Id(Some(""))), "4");
        assert!(answer(&mut calls, &Answers::Function(None)).contains("no result yet"));
    }
}
