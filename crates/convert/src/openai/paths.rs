//! Where the parts of a Messages body come from, so that what is said of them later can be said in the caller's words.

/// Places in the Messages body, and the caller's places that they were made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(Vec<(String, String)>);

impl Paths {
    /// Notes where a place comes from; what lies deeper comes from there too, unless it is noted itself.
    pub(crate) fn note(&mut self, messages: impl Into<String>, caller: impl Into<String>) {
        self.0.push((messages.into(), caller.into()));
    }

    /// The caller's place of a place in the Messages body. One that was not noted is called the same in both.
    pub fn caller(&self, messages: &str) -> String {
        let covers = |place: &str| {
            messages.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let noted = self.0.iter().filter(|(place, _)| covers(place)).max_by_key(|(place, _)| place.len());
        noted.map_or_else(|| messages.to_owned(), |(_, caller)| caller.clone())
    }

    /// All of them, in the order in which they were noted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(messages, caller)| (&**messages, &**caller))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_noted_place_decides_and_ends_at_a_dot() {
        let mut paths = Paths::default();
        paths.note("messages.1", "messages.2");
        paths.note("messages.1.content.0", "messages.2.tool_calls.0");
        paths.note("max_tokens", "max_completion_tokens");
        assert_eq!(paths.caller("messages.1.content.0.input.x"), "messages.2.tool_calls.0");
        assert_eq!(paths.caller("messages.1.content"), "messages.2");
        assert_eq!(paths.caller("messages.10.content.0"), "messages.10.content.0");
        assert_eq!(paths.caller("max_tokens"), "max_completion_tokens");
        assert_eq!(paths.caller("temperature"), "temperature");
    }
}
