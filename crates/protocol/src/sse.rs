//! Server-sent events, as the Messages API frames them:
//! <https://platform.claude.com/docs/en/build-with-claude/streaming>.
//!
//! An event is an `event:` line, one `data:` line and an empty line. Bytes are appended to a buffer of the caller's,
//! so that events that are ready together leave in one write.

use serde::Serialize;

/// A keep-alive that every Messages client knows: valid JSON, no content.
pub const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// Appends one event whose data is `data` as JSON.
///
/// A value that JSON cannot hold (a map whose keys are no strings) writes nothing at all: half an event would take
/// the next one with it. No type of this crate is such a value.
pub fn write_event(out: &mut Vec<u8>, event_name: &str, data: &impl Serialize) {
    let before = out.len();
    open(out, event_name);
    if serde_json::to_writer(&mut *out, data).is_ok() {
        out.extend_from_slice(b"\n\n");
    } else {
        out.truncate(before);
    }
}

/// Appends one event whose data is already JSON text.
///
/// Line breaks between the tokens of the text become spaces: in the framing they would end the `data:` line.
pub fn write_raw(out: &mut Vec<u8>, event_name: &str, json_text: &[u8]) {
    open(out, event_name);
    let text = out.len();
    out.extend_from_slice(json_text);
    for byte in &mut out[text..] {
        // JSON strings cannot hold either byte unescaped, so only white space is touched.
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\n\n");
}

/// Appends a value as JSON; nothing if JSON cannot hold it.
pub(crate) fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
    }
}

fn open(out: &mut Vec<u8>, event_name: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event_name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_event_is_a_name_line_a_data_line_and_an_empty_line() {
        let mut out = b"before".to_vec();
        write_event(&mut out, "ping", &serde_json::json!({"type": "ping"}));
        assert_eq!(out, [b"before", PING].concat());
    }

    #[test]
    fn a_value_that_json_cannot_hold_leaves_no_half_event() {
        let mut out = b"before".to_vec();
        write_event(&mut out, "x", &BTreeMap::from([(vec![1], 1)]));
        assert_eq!(out, b"before");
    }

    #[test]
    fn raw_json_with_line_breaks_stays_one_event() {
        let mut out = Vec::new();
        write_raw(&mut out, "x", b"{\r\n \"a\": \"b\\n\"\n}");
        assert_eq!(out, b"event: x\ndata: {   \"a\": \"b\\n\" }\n\n");
    }
}
