//! What upstream refusals have taught about a model: fields and beta flags that its table row did not know of.

use std::collections::HashMap;
use std::sync::Arc;

use std::sync::{PoisonError, RwLock};

/// What to leave out for one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lessons {
    /// Paths that were refused with "Extra inputs are not permitted".
    pub(crate) drop_fields: Vec<String>,
    /// Whether a flag was refused: the upstream never says which, so only the certain ones are sent.
    pub(crate) certain_betas_only: bool,
}

/// Fields remembered per model: more would be a caller's nonsense and not the model's rules.
const MOST_FIELDS: usize = 64;
/// Models remembered.
const MOST_MODELS: usize = 1024;

/// The lessons of all models. Read once a request, written when something new is learnt.
#[derive(Debug, Default)]
pub(crate) struct Learned(RwLock<HashMap<String, Arc<Lessons>>>);

impl Learned {
    pub(crate) fn of(&self, model: &str) -> Arc<Lessons> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned().unwrap_or_default()
    }

    /// Learns from a 400. `None` when there is nothing to learn, or it was known and did not help.
    pub(crate) fn learn(&self, model: &str, refusal: &str) -> Option<Arc<Lessons>> {
        let mut lessons = Lessons::clone(&self.of(model));
        if refusal.contains("invalid beta flag") && !lessons.certain_betas_only {
            lessons.certain_betas_only = true;
        } else {
            let field = extra_input(refusal)?;
            if lessons.drop_fields.iter().any(|known| known == field)
                || lessons.drop_fields.len() >= MOST_FIELDS
            {
                return None;
            }
            lessons.drop_fields.push(field.to_owned());
        }
        tracing::info!(
            model,
            ?lessons,
            "the upstream refused a part of a request; it is left out from now on"
        );
        let lessons = Arc::new(lessons);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST_MODELS || all.contains_key(model) {
            all.insert(model.to_owned(), Arc::clone(&lessons));
        }
        Some(lessons)
    }
}

/// The path in `… X: Extra inputs are not permitted`.
fn extra_input(refusal: &str) -> Option<&str> {
    let (before, _) = refusal.split_once(": Extra inputs are not permitted")?;
    let path = before.rsplit([' ', '\n', '"']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (!path.is_empty() && path.len() <= 200 && path.chars().all(plain)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_field_is_learnt_once_per_model() {
        let learned = Learned::default();
        let refusal = "The model returned the following errors: tools.0.custom.defer_loading: Extra inputs are not permitted";
        let lessons = learned.learn("a", refusal).unwrap();
        assert_eq!(lessons.drop_fields, ["tools.0.custom.defer_loading"]);
        assert_eq!(
            learned.learn("a", refusal),
            None,
            "it was left out and refused again: that is the caller's answer"
        );
        assert_eq!(*learned.of("b"), Lessons::default());
        assert_eq!(learned.of("a"), lessons);
    }

    #[test]
    fn a_refused_flag_leaves_only_the_certain_ones() {
        let learned = Learned::default();
        assert!(learned.learn("a", "invalid beta flag").unwrap().certain_betas_only);
        assert_eq!(learned.learn("a", "invalid beta flag"), None);
        assert_eq!(learned.learn("a", "max_tokens: must be positive"), None);
    }
}
