//! Frames of our own making: <https://smithy.io/2.0/aws/amazon-eventstream.html>.

use base64_simd::STANDARD;
use serde_json::json;

/// Appends a `chunk` frame that holds one event of the Messages API.
pub(super) fn chunk(out: &mut Vec<u8>, event: &[u8]) {
    let payload = format!("{{\"bytes\":\"{}\"}}", STANDARD.encode_to_string(event));
    write(out, &[(":event-type", "chunk"), JSON, (":message-type", "event")], payload.as_bytes());
}

/// Appends an exception frame, after which nothing follows. `name` is the member's: `throttlingException`.
pub(super) fn exception(out: &mut Vec<u8>, name: &str, message: &str, original_status: Option<u16>) {
    let mut payload = json!({ "message": message });
    if let Some(status) = original_status {
        payload["originalStatusCode"] = status.into();
    }
    let headers = [(":exception-type", name), JSON, (":message-type", "exception")];
    write(out, &headers, payload.to_string().as_bytes());
}

const JSON: (&str, &str) = (":content-type", "application/json");

fn write(out: &mut Vec<u8>, headers: &[(&str, &str)], payload: &[u8]) {
    const STRING: u8 = 7;
    let start = out.len();
    let block: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    put(out, block + payload.len() + 16);
    put(out, block);
    seal(out, start);
    for (name, value) in headers {
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name.as_bytes());
        out.push(STRING);
        out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(payload);
    seal(out, start);
}

fn put(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

/// Appends the checksum of everything since the frame began.
fn seal(out: &mut Vec<u8>, start: usize) {
    let sum = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_lengths_checksums_and_headers_of_the_format() {
        let mut out = b"before".to_vec();
        exception(&mut out, "modelStreamErrorException", "no", Some(503));
        let frame = &out[6..];
        let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
        assert_eq!(word(0) as usize, frame.len());
        assert_eq!(word(8), crc32fast::hash(&frame[..8]));
        assert_eq!(word(frame.len() - 4), crc32fast::hash(&frame[..frame.len() - 4]));
        let (headers, payload) = frame[12..frame.len() - 4].split_at(word(4) as usize);
        assert!(headers.starts_with(b"\x0f:exception-type\x07\x00\x19modelStreamErrorException"));
        assert_eq!(payload, br#"{"message":"no","originalStatusCode":503}"#);
    }
}
