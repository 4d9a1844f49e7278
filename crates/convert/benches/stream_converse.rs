//! A stream of 500 events: payloads as Bedrock frames hold them, to the SSE bytes that a caller gets.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nothing to measure")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outcrop_convert::Names;
use outcrop_convert::converse::{Reply, Stream};

fn events() -> Vec<(&'static str, String)> {
    let mut events = vec![("messageStart", r#"{"p":"abcd","role":"assistant"}"#.to_owned())];
    for at in 0..494 {
        // Bedrock pads every payload to hide the length of its text.
        let padding = &"abcdefghijklmnopqrstuvwxyz"[..at % 26];
        let text = ["The grass ", "is green", ",\\n", " and so is \\\"it\\\".", " Grün "][at % 5];
        let payload = format!(r#"{{"contentBlockIndex":0,"delta":{{"text":"{text}"}},"p":"{padding}"}}"#);
        events.push(("contentBlockDelta", payload));
    }
    events.push(("contentBlockStop", r#"{"contentBlockIndex":0,"p":"ab"}"#.to_owned()));
    events.push((
        "contentBlockStart",
        r#"{"contentBlockIndex":1,"start":{"toolUse":{"name":"get","toolUseId":"tooluse_1"}}}"#.to_owned(),
    ));
    events.push((
        "contentBlockDelta",
        r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"q\":1}"}},"p":"abc"}"#.to_owned(),
    ));
    events.push(("messageStop", r#"{"p":"abc","stopReason":"tool_use"}"#.to_owned()));
    events.push(("metadata", r#"{"metrics":{"latencyMs":420},"p":"a","usage":{"inputTokens":12,"outputTokens":500,"totalTokens":512}}"#.to_owned()));
    events
}

fn stream_converse(criterion: &mut Criterion) {
    let events = events();
    let reply = Reply { id: "msg_0123456789abcdefghijABCD".into(), model: "qwen3-coder".into() };
    let mut group = criterion.benchmark_group("stream_converse");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("500 events to SSE", |bencher| {
        let mut out = Vec::with_capacity(1 << 16);
        bencher.iter(|| {
            out.clear();
            let mut stream = Stream::new(Names::default(), reply.clone());
            for (event_type, payload) in &events {
                stream.on_event(event_type, black_box(payload.as_bytes()), &mut out).unwrap();
            }
            stream.on_end(&mut out).unwrap();
            black_box(out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, stream_converse);
criterion_main!(benches);
