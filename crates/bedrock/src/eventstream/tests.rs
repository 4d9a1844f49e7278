use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use proptest::prelude::*;

use super::*;

fn frame(headers: &[(&'static str, &'static str)], payload: &[u8]) -> Bytes {
    let mut message = Message::new(Bytes::copy_from_slice(payload));
    for (name, value) in headers {
        message = message.add_header(Header::new(*name, HeaderValue::String((*value).into())));
    }
    encode(&message)
}

fn encode(message: &Message) -> Bytes {
    let mut bytes = Vec::new();
    write_message_to(message, &mut bytes).unwrap();
    bytes.into()
}

const EVENT: [(&str, &str); 3] =
    [(":event-type", "contentBlockDelta"), (":content-type", "application/json"), (":message-type", "event")];

#[test]
fn an_event_comes_out_as_it_was_written() {
    let bytes = frame(&EVENT, br#"{"p":"abc"}"#);
    assert_eq!(frame_length(&bytes).unwrap(), Some(bytes.len()));
    let read = read(bytes.clone()).unwrap();
    assert_eq!(read.event_type, "contentBlockDelta");
    assert!(matches!(read.event_type, Cow::Borrowed(_)));
    assert_eq!(&read.payload[..], br#"{"p":"abc"}"#);
    assert_eq!(read.whole, bytes);
}

#[test]
fn an_unknown_event_keeps_its_name_and_payload() {
    let read = read(frame(&[(":message-type", "event"), (":event-type", "novelty")], b"{}")).unwrap();
    assert_eq!((read.event_type.as_ref(), &read.payload[..]), ("novelty", &b"{}"[..]));
}

#[test]
fn headers_of_every_type_are_stepped_over() {
    let mut message = Message::new(Bytes::from_static(b"{}"));
    for (name, value) in [
        ("a", HeaderValue::Bool(true)),
        ("b", HeaderValue::Bool(false)),
        ("c", HeaderValue::Byte(1)),
        ("d", HeaderValue::Int16(1)),
        ("e", HeaderValue::Int32(1)),
        ("f", HeaderValue::Int64(1)),
        ("g", HeaderValue::ByteArray(Bytes::from_static(b"xyz"))),
        ("h", HeaderValue::Timestamp(aws_smithy_types::DateTime::from_secs(1))),
        ("i", HeaderValue::Uuid(7)),
        (":message-type", HeaderValue::String("event".into())),
        (":event-type", HeaderValue::String("chunk".into())),
    ] {
        message = message.add_header(Header::new(name, value));
    }
    assert_eq!(read(encode(&message)).unwrap().event_type, "chunk");
}

#[test]
fn exception_and_error_frames_are_errors() {
    let headers = [(":message-type", "exception"), (":exception-type", "throttlingException")];
    let error = read(frame(&headers, br#"{"message":"slow down"}"#)).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Throttling, "slow down"));

    let headers = [(":message-type", "error"), (":error-code", "internalError"), (":error-message", "sorry")];
    let error = read(frame(&headers, b"")).unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::InternalServer, "sorry"));
}

#[test]
fn json_is_not_taken_for_a_long_frame() {
    assert_eq!(frame_length(br#"{"message""#).unwrap(), None);
    assert_eq!(frame_length(br#"{"message":"no"}"#).unwrap_err().kind, Kind::Protocol);
}

#[test]
fn lengths_out_of_bounds_are_refused_although_their_checksum_is_right() {
    for (total, headers) in
        [(15_u32, 0_u32), (16, 1), (25 << 20, 0), (1 << 20, (128 << 10) + 1), (u32::MAX, 0)]
    {
        let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        assert_eq!(frame_length(&bytes).unwrap_err().kind, Kind::Protocol, "{total} {headers}");
    }
}

#[test]
fn a_change_of_any_bit_is_noticed() {
    let good = frame(&EVENT, br#"{"text":"hello"}"#);
    for at in 0..good.len() * 8 {
        let mut bad = good.to_vec();
        bad[at / 8] ^= 1 << (at % 8);
        let outcome = frame_length(&bad).and_then(|_| read(bad.into()));
        assert_eq!(outcome.unwrap_err().kind, Kind::Protocol, "bit {at}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = frame_length(&bytes);
        let _ = read(Bytes::from(bytes.clone()));
        // Past the checksums too.
        let mut sealed = bytes;
        if sealed.len() >= SMALLEST {
            let end = sealed.len() - 4;
            let total = u32::try_from(sealed.len()).unwrap();
            sealed[..4].copy_from_slice(&total.to_be_bytes());
            sealed[4..6].fill(0);
            let sum = crc32fast::hash(&sealed[..8]);
            sealed[8..12].copy_from_slice(&sum.to_be_bytes());
            let sum = crc32fast::hash(&sealed[..end]);
            sealed[end..].copy_from_slice(&sum.to_be_bytes());
            let _ = frame_length(&sealed);
            let _ = read(sealed.into());
        }
    }
}
