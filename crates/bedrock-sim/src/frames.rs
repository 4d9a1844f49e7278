//! `application/vnd.amazon.eventstream`, byte for byte.
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>
use bytes::{BufMut, BytesMut};

/// What a frame announces itself as.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'k> {
    Event(&'k str),
    Exception(&'k str),
}

/// Appends one frame.
pub(crate) fn write(out: &mut BytesMut, kind: Kind<'_>, payload: &[u8]) {
    let start = out.len();
    let (name, value, message) = match kind {
        Kind::Event(name) => (":event-type", name, "event"),
        Kind::Exception(name) => (":exception-type", name, "exception"),
    };
    let header = |name: &str, value: &str| name.len() + value.len() + 4;
    let headers =
        header(name, value) + header(":content-type", "application/json") + header(":message-type", message);
    let total = 12 + headers + payload.len() + 4;
    out.reserve(total);
    out.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(headers).unwrap_or(u32::MAX));
    out.put_u32(crc32fast::hash(&out[start..start + 8]));
    put_header(out, name, value);
    put_header(out, ":content-type", "application/json");
    put_header(out, ":message-type", message);
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out[start..]));
}

/// A string header: type 7.
fn put_header(out: &mut BytesMut, name: &str, value: &str) {
    out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.put_slice(name.as_bytes());
    out.put_u8(7);
    out.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
    out.put_slice(value.as_bytes());
}

/// The padding that hides how long a payload is: a member `p` of varying length.
pub(crate) fn padding(index: usize) -> &'static str {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let length = 4 + index.wrapping_mul(29) % (LETTERS.len() - 4);
    &LETTERS[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_lengths_checksums_and_headers_of_the_format() {
        let mut out = BytesMut::new();
        write(&mut out, Kind::Event("messageStart"), br#"{"p":"ab","role":"assistant"}"#);
        let word = |at: usize| u32::from_be_bytes(out[at..at + 4].try_into().expect("four bytes"));
        assert_eq!(word(0) as usize, out.len());
        assert_eq!(word(8), crc32fast::hash(&out[..8]));
        assert_eq!(word(out.len() - 4), crc32fast::hash(&out[..out.len() - 4]));
        let headers = &out[12..12 + word(4) as usize];
        assert_eq!(
            headers,
            b"\x0b:event-type\x07\x00\x0cmessageStart\x0d:content-type\x07\x00\x10application/json\x0d:message-type\
              \x07\x00\x05event"
        );
    }
}
