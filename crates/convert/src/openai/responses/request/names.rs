//! Names of tools: a namespace is a prefix upstream, which has none, and is told apart again in the answer.

use std::collections::{HashMap, HashSet};

use protocol::openai::responses::Item;
use protocol::openai::responses::tool::Tool;

use super::super::response::Called;
use super::Placed;
use crate::converse::request::name::hex;

/// The longest name that every upstream takes.
const LONGEST: usize = 64;
/// How much of a hash tells apart what was cut.
const HASH: usize = 8;

/// The tools of namespaces, and their names upstream.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Vec<Known>,
    /// Places in `known`, by namespace and name.
    places: HashMap<String, HashMap<String, usize>>,
    /// Upstream names, and those of tools without a namespace.
    taken: HashSet<String>,
}

#[derive(Debug)]
struct Known {
    namespace: String,
    name: String,
    upstream: String,
}

impl Names {
    /// Of the tools on offer, and of the calls in the history, whose tools may not be on offer any more.
    pub(super) fn of(tools: &[Tool<'_>], items: &[Placed<'_>]) -> Self {
        let mut names = Self::default();
        for tool in tools {
            if let Tool::Single(tool) = tool {
                names.taken.extend(tool.name.as_deref().map(str::to_owned));
            }
        }
        for tool in tools {
            if let Tool::Namespace(space) = tool {
                for tool in &space.tools {
                    names.add(&space.name, tool.name.as_deref().unwrap_or_default());
                }
            }
        }
        for (item, _) in items {
            match &**item {
                Item::FunctionCall(call) => names.call(call.namespace.as_deref(), &call.name),
                Item::CustomToolCall(call) => names.call(call.namespace.as_deref(), &call.name),
                Item::Message(_)
                | Item::FunctionCallOutput(_)
                | Item::CustomToolCallOutput(_)
                | Item::LocalShellCall(_)
                | Item::LocalShellCallOutput(_)
                | Item::Reasoning(_)
                | Item::Compaction(_)
                | Item::Reference(_)
                | Item::Unknown(_) => {}
            }
        }
        names
    }

    fn call(&mut self, namespace: Option<&str>, name: &str) {
        if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
            self.add(namespace, name);
        }
    }

    fn add(&mut self, namespace: &str, name: &str) {
        if self.find(namespace, name).is_some() {
            return;
        }
        let mut upstream = flattened(namespace, name);
        if self.taken.contains(&upstream) {
            upstream = hashed(&upstream, namespace, name);
        }
        self.taken.insert(upstream.clone());
        self.places.entry(namespace.to_owned()).or_default().insert(name.to_owned(), self.known.len());
        self.known.push(Known { namespace: namespace.to_owned(), name: name.to_owned(), upstream });
    }

    fn find(&self, namespace: &str, name: &str) -> Option<&Known> {
        self.places.get(namespace)?.get(name).and_then(|place| self.known.get(*place))
    }

    /// A tool's name upstream.
    pub(super) fn upstream<'r>(&'r self, namespace: Option<&str>, name: &'r str) -> &'r str {
        let known = namespace.and_then(|namespace| self.find(namespace, name));
        known.map_or(name, |known| &known.upstream)
    }

    /// What the answer must restore: tools that have another name upstream, and `custom` ones, by their upstream names.
    pub(super) fn called(&self, custom: &[String]) -> Vec<(String, Called)> {
        let spaced: HashSet<&str> = self.known.iter().map(|known| &*known.upstream).collect();
        let freeform: HashSet<&str> = custom.iter().map(|name| &**name).collect();
        let flat = custom.iter().filter(|name| !spaced.contains(&***name));
        let flat =
            flat.map(|name| (name.clone(), Called { namespace: None, name: name.clone(), custom: true }));
        let spaced = self.known.iter().map(|known| {
            let custom = freeform.contains(&*known.upstream);
            let called =
                Called { namespace: Some(known.namespace.clone()), name: known.name.clone(), custom };
            (known.upstream.clone(), called)
        });
        spaced.chain(flat).collect()
    }
}

/// Both names as one that every upstream takes.
fn flattened(namespace: &str, name: &str) -> String {
    let whole = format!("{namespace}__{name}");
    let legal = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    if whole.len() <= LONGEST && whole.chars().all(legal) {
        return whole;
    }
    let spelled: String = whole.chars().map(|it| if legal(it) { it } else { '_' }).collect();
    hashed(&spelled, namespace, name)
}

/// A name of ASCII with a hash of both names at its end.
fn hashed(spelled: &str, namespace: &str, name: &str) -> String {
    let start = spelled.get(..LONGEST - HASH - 1).unwrap_or(spelled);
    format!("{start}_{}", hex(&format!("{namespace}\n{name}"), HASH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_flattened_the_same_way_and_fits_every_upstream() {
        assert_eq!(flattened("agents", "spawn"), "agents__spawn");
        let long = flattened(&"n".repeat(60), "spawn");
        assert_eq!(long.len(), LONGEST);
        assert_ne!(long, flattened(&"n".repeat(60), "spawn2"));
        assert!(flattened("mcp.ä", "a b").starts_with("mcp____a_b_"));
    }

    #[test]
    fn names_that_would_meet_are_kept_apart() {
        let mut names = Names::default();
        names.taken.insert("a__b".to_owned());
        names.add("a", "b");
        names.add("a__b", "c");
        names.add("a", "b__c");
        assert_ne!(names.upstream(Some("a"), "b"), "a__b");
        assert_ne!(names.upstream(Some("a__b"), "c"), names.upstream(Some("a"), "b__c"));
        assert_eq!(names.upstream(None, "b"), "b");
        assert_eq!(names.upstream(Some("gone"), "b"), "b");
    }
}
