//! Custom tools take text of any form. Upstream each is a function with one string argument, and here the text comes out
//! of the arguments again, piece by piece as they come.

/// Reads the text out of `{"input":"…"}`, cut anywhere.
///
/// What is no such object passes as it is: a model that writes the text itself has still answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freeform {
    state: State,
    /// What could not be judged yet: the beginning of the object, or of an escape.
    pending: String,
    /// The first half of a character that is escaped in two.
    high: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Before,
    Inside,
    After,
    /// Not such an object.
    Plain,
}

enum Opening {
    /// It may still become one.
    Unclear,
    /// The text begins here.
    At(usize),
    /// It is none.
    None,
}

impl Freeform {
    /// The text of complete arguments.
    pub fn whole(arguments: &str) -> String {
        let mut reader = Self::default();
        let mut out = String::new();
        reader.push(arguments, &mut out);
        reader.finish(&mut out);
        out
    }

    /// Takes a piece of the arguments and appends the text that is certain by now.
    pub fn push(&mut self, piece: &str, out: &mut String) {
        match self.state {
            State::Before => {
                self.pending.push_str(piece);
                match opening(&self.pending) {
                    Opening::Unclear => {}
                    Opening::At(start) => {
                        let pending = std::mem::take(&mut self.pending);
                        self.state = State::Inside;
                        self.inside(&pending[start..], out);
                    }
                    Opening::None => {
                        self.state = State::Plain;
                        out.push_str(&std::mem::take(&mut self.pending));
                    }
                }
            }
            State::Inside => self.inside(piece, out),
            State::After => {}
            State::Plain => out.push_str(piece),
        }
    }

    /// The arguments are complete: appends what was held back.
    pub fn finish(&mut self, out: &mut String) {
        self.flush(out);
        let pending = std::mem::take(&mut self.pending);
        // Nothing, an empty object, or an object that was cut off before the text.
        if self.state == State::Before && !pending.trim_start().starts_with('{') {
            out.push_str(&pending);
        }
        self.state = State::After;
    }

    fn inside(&mut self, piece: &str, out: &mut String) {
        let mut rest = piece;
        while let Some(first) = rest.chars().next() {
            if !self.pending.is_empty() {
                self.pending.push(first);
                rest = &rest[first.len_utf8()..];
                self.escape(out);
                continue;
            }
            let end = rest.find(['"', '\\']).unwrap_or(rest.len());
            if end > 0 {
                self.flush(out);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            if rest.starts_with('"') {
                self.flush(out);
                self.state = State::After;
                return;
            }
            if let Some(behind) = rest.strip_prefix('\\') {
                self.pending.push('\\');
                rest = behind;
            }
        }
    }

    /// Decodes the escape in `pending`, if it is complete.
    fn escape(&mut self, out: &mut String) {
        let escape = &self.pending[1..];
        if let Some(digits) = escape.strip_prefix('u') {
            if digits.chars().count() < 4 {
                return;
            }
            let unit = u32::from_str_radix(digits, 16).unwrap_or(0xFFFD);
            self.pending.clear();
            return self.unit(unit, out);
        }
        let character = match escape {
            "n" => '\n',
            "t" => '\t',
            "r" => '\r',
            "b" => '\u{8}',
            "f" => '\u{c}',
            other => other.chars().next().unwrap_or('\\'),
        };
        self.pending.clear();
        self.flush(out);
        out.push(character);
    }

    fn unit(&mut self, unit: u32, out: &mut String) {
        match (self.high.take(), unit) {
            (Some(high), 0xDC00..=0xDFFF) => {
                let code = 0x1_0000 + ((high - 0xD800) << 10) + (unit - 0xDC00);
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            (before, 0xD800..=0xDBFF) => {
                self.high = before;
                self.flush(out);
                self.high = Some(unit);
            }
            (before, _) => {
                self.high = before;
                self.flush(out);
                out.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
    }

    /// A first half without its second.
    fn flush(&mut self, out: &mut String) {
        if self.high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// Where the text begins in the beginning of an object.
fn opening(text: &str) -> Opening {
    let mut rest = text;
    for token in ["{", "\"input\"", ":", "\""] {
        rest = rest.trim_start();
        match rest.strip_prefix(token) {
            Some(behind) => rest = behind,
            None if token.starts_with(rest) => return Opening::Unclear,
            // An empty object says that there is no text.
            None if token == "\"input\"" && rest.trim_end() == "}" => return Opening::Unclear,
            None => return Opening::None,
        }
    }
    Opening::At(text.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_such_object_passes_as_it_is() {
        for (arguments, text) in [
            ("", ""),
            ("{}", ""),
            (r#"{ "input" : "a\n\"b\"\u00e9\ud83d\ude00" } "#, "a\n\"b\"é😀"),
            (r#"{"input":"cut of"#, "cut of"),
            (r#"{"input":"lone \ud83d!"#, "lone \u{FFFD}!"),
            (r#"{"inp"#, ""),
            (r#"{"patch":"x"}"#, r#"{"patch":"x"}"#),
            (r#"{"input":7}"#, r#"{"input":7}"#),
            ("*** Begin Patch", "*** Begin Patch"),
        ] {
            assert_eq!(Freeform::whole(arguments), text, "{arguments}");
        }
    }

    /// As some models write JSON.
    fn escaped(json: &str) -> String {
        let mut out = String::new();
        for unit in json.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
                Ok(_) | Err(_) => write!(out, "\\u{unit:04x}").unwrap(),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn text_comes_out_as_it_went_in_wherever_it_is_cut(text in any::<String>(), cuts in 1..7_usize, ascii in any::<bool>()) {
            let mut arguments = serde_json::json!({"input": text}).to_string();
            if ascii {
                arguments = escaped(&arguments);
            }
            let (mut reader, mut out) = (Freeform::default(), String::new());
            let characters: Vec<char> = arguments.chars().collect();
            for piece in characters.chunks(cuts) {
                reader.push(&piece.iter().collect::<String>(), &mut out);
            }
            reader.finish(&mut out);
            prop_assert_eq!(out, text);
        }
    }
}
