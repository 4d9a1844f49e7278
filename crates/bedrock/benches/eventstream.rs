//! Reading a stream of 500 events: ours beside `aws-smithy-eventstream`'s decoder. Both check both checksums.
//!
//! On a busy two-core machine ours takes 0.25 µs an event and the other 1.7 µs (0.14): it copies no payload and keeps no
//! list of headers.
#![expect(clippy::expect_used, reason = "a benchmark that cannot run has to stop")]

use std::hint::black_box;

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use outcrop_bedrock::bench::take_frame;

const EVENTS: usize = 500;

fn stream() -> Bytes {
    let mut bytes = Vec::new();
    for i in 0..EVENTS {
        let padding = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[..i % 60].to_owned();
        let payload = format!(r#"{{"contentBlockIndex":0,"delta":{{"text":" word{i}"}},"p":"{padding}"}}"#);
        let mut message = Message::new(payload);
        for (name, value) in [
            (":event-type", "contentBlockDelta"),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ] {
            message = message.add_header(Header::new(name, HeaderValue::String(value.into())));
        }
        write_message_to(&message, &mut bytes).expect("it fits");
    }
    bytes.into()
}

fn reading(c: &mut Criterion) {
    let stream = stream();
    let mut group = c.benchmark_group("500 events");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("ours", |b| {
        b.iter_batched(
            || stream.clone(),
            |mut bytes| {
                let mut count = 0;
                while let Some(frame) = take_frame(&mut bytes).expect("frames") {
                    black_box(&frame);
                    count += 1;
                }
                assert_eq!(count, EVENTS);
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("aws-smithy-eventstream", |b| {
        b.iter_batched(
            || stream.clone(),
            |mut bytes| {
                let (mut decoder, mut count) = (MessageFrameDecoder::new(), 0);
                while let DecodedFrame::Complete(message) = decoder.decode_frame(&mut bytes).expect("frames")
                {
                    black_box(&message);
                    count += 1;
                }
                assert_eq!(count, EVENTS);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
