//! The tape of a body, and the view of one value on it.

use std::borrow::Cow;

/// What a value is. A string is `Escaped` when it holds a backslash, so that its text is not its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are JSON's own")]
pub enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Escaped,
    Array,
    Object,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Index of the node behind this subtree.
    pub(super) next: u32,
    pub(super) kind: Kind,
}

/// A body that was read.
#[derive(Debug)]
pub struct Doc<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

impl<'a> Doc<'a> {
    pub(super) fn new(text: &'a str, nodes: Vec<Node>) -> Self {
        Self { text, nodes }
    }

    /// The body as it came.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value { text: self.text, nodes: &self.nodes, at: 0 }
    }
}

/// One value of a [`Doc`].
#[derive(Clone, Copy)]
pub struct Value<'d> {
    text: &'d str,
    nodes: &'d [Node],
    at: usize,
}

/// A key of an object and what belongs to it.
#[derive(Clone, Copy)]
pub struct Member<'d> {
    /// The key, a string.
    pub key: Value<'d>,
    /// The value.
    pub value: Value<'d>,
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<'d> Value<'d> {
    fn node(&self) -> Node {
        self.nodes.get(self.at).copied().unwrap_or(Node { start: 0, end: 0, next: 0, kind: Kind::Null })
    }

    /// Index on the tape; values of one document are ordered by it.
    pub(super) fn index(&self) -> usize {
        self.at
    }

    /// Kind.
    pub fn kind(&self) -> Kind {
        self.node().kind
    }

    /// First byte.
    pub fn start(&self) -> usize {
        self.node().start as usize
    }

    /// Byte behind the last.
    pub fn end(&self) -> usize {
        self.node().end as usize
    }

    /// The bytes as they came.
    pub fn raw(&self) -> &'d str {
        self.text.get(self.start()..self.end()).unwrap_or_default()
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        self.kind() == Kind::True
    }

    /// Whether it is a string.
    pub fn is_string(&self) -> bool {
        matches!(self.kind(), Kind::String | Kind::Escaped)
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        self.kind() == Kind::Array
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.kind() == Kind::Object
    }

    /// The text between the quotes, escapes as they came; empty for anything but a string.
    pub fn inner(&self) -> &'d str {
        match self.kind() {
            Kind::String | Kind::Escaped => {
                self.text.get(self.start() + 1..self.end() - 1).unwrap_or_default()
            }
            Kind::Null | Kind::True | Kind::False | Kind::Number | Kind::Array | Kind::Object => "",
        }
    }

    /// The text of a string.
    pub fn str(&self) -> Option<Cow<'d, str>> {
        match self.kind() {
            Kind::String => Some(Cow::Borrowed(self.inner())),
            Kind::Escaped => serde_json::from_str(self.raw()).ok().map(Cow::Owned),
            Kind::Null | Kind::True | Kind::False | Kind::Number | Kind::Array | Kind::Object => None,
        }
    }

    /// Whether it is this string.
    pub fn is(&self, text: &str) -> bool {
        let node = self.node();
        match node.kind {
            // The length tells most names apart without a look at the text.
            Kind::String => {
                let (start, end) = (node.start as usize + 1, node.end as usize - 1);
                end - start == text.len() && self.text.as_bytes().get(start..end) == Some(text.as_bytes())
            }
            Kind::Escaped => self.str().is_some_and(|own| own == text),
            Kind::Null | Kind::True | Kind::False | Kind::Number | Kind::Array | Kind::Object => false,
        }
    }

    /// A whole number that is not negative; `3.0` is one.
    pub fn u64(&self) -> Option<u64> {
        if self.kind() != Kind::Number {
            return None;
        }
        self.raw().parse().ok().or_else(|| {
            let number: f64 = self.raw().parse().ok()?;
            let whole = number.fract() == 0.0 && (0.0..9e15).contains(&number);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bounds were checked"
            )]
            whole.then_some(number as u64)
        })
    }

    /// Members of an object, in order; none for anything else.
    pub fn members(&self) -> impl Iterator<Item = Member<'d>> + use<'d> {
        let mut children = self.children(Kind::Object);
        std::iter::from_fn(move || {
            let key = children.next()?;
            Some(Member { key, value: children.next()? })
        })
    }

    /// Elements of an array, in order; none for anything else.
    pub fn items(&self) -> impl Iterator<Item = Value<'d>> + use<'d> {
        self.children(Kind::Array)
    }

    /// Where each child begins and ends (with its key, in an object).
    pub(super) fn spans(&self) -> Vec<(usize, usize, usize)> {
        if self.is_object() {
            let span = |member: Member<'_>| (member.key.at, member.key.start(), member.value.end());
            return self.members().map(span).collect();
        }
        self.items().map(|item| (item.at, item.start(), item.end())).collect()
    }

    fn children(&self, of: Kind) -> Children<'d> {
        let node = self.node();
        let end = if node.kind == of { node.next as usize } else { 0 };
        Children { of: *self, at: self.at + 1, end }
    }

    /// The member of this name. Where a key stands twice the last one counts, as it does upstream.
    pub fn get(&self, name: &str) -> Option<Value<'d>> {
        self.member(name).map(|member| member.value)
    }

    /// The same, with its key.
    pub fn member(&self, name: &str) -> Option<Member<'d>> {
        self.members().filter(|member| member.key.is(name)).last()
    }

    /// Where it stands: `messages.0.content.1.text`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        let mut here = Value { at: 0, ..*self };
        while here.at < self.at {
            let inside = |child: Value<'_>| child.at <= self.at && self.at < child.node().next as usize;
            let step = if here.is_object() {
                let found = here.members().find(|member| member.key == *self || inside(member.value));
                found.map(|member| {
                    let name = member.key.str().unwrap_or_default().into_owned();
                    (name, if member.key == *self { member.key } else { member.value })
                })
            } else {
                let found = here.items().enumerate().find(|(_, item)| inside(*item));
                found.map(|(index, item)| (index.to_string(), item))
            };
            let Some((name, value)) = step else { break };
            join(&mut path, &name);
            here = value;
        }
        path
    }
}

struct Children<'d> {
    of: Value<'d>,
    at: usize,
    end: usize,
}

impl<'d> Iterator for Children<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Value<'d>> {
        if self.at >= self.end {
            return None;
        }
        let child = Value { at: self.at, ..self.of };
        self.at = child.node().next as usize;
        Some(child)
    }
}

/// Elements of an array that may be absent.
pub(super) fn items(list: Option<Value<'_>>) -> impl Iterator<Item = Value<'_>> {
    list.into_iter().flat_map(|list| list.items())
}

/// Adds a step to a path.
pub(super) fn join(path: &mut String, step: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(step);
}
