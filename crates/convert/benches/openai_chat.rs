//! A chat completion of 150 KB on its way to each lane, and chunks out of events.

#![expect(clippy::expect_used, reason = "a benchmark stops where it fails")]

use std::fmt::Write as _;
use std::hint::black_box;

use catalog::Catalog;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outcrop_convert::converse::request as to_converse;
use outcrop_convert::native;
use outcrop_convert::openai::chat::{Form, Options, Reply, Stream, request};
use protocol::anthropic::Event;
use serde_json::json;

/// As coding agents send it: 30 tools, tool calls whose results are source code, reasoning with signatures.
fn body() -> String {
    let tools: Vec<_> = (0..30)
        .map(|n| {
            let properties: serde_json::Map<_, _> = (0..8)
                .map(|p| {
                    (
                        format!("argument_{p}"),
                        json!({"type": "string", "description": "What the tool should look at. ".repeat(4)}),
                    )
                })
                .collect();
            json!({"type": "function", "function": {"name": format!("mcp__server__tool_{n}"),
                "description": "Does one thing well. ".repeat(20), "parameters": {"type": "object",
                    "properties": properties, "required": ["argument_0"], "additionalProperties": false}}})
        })
        .collect();
    let mut code = String::new();
    for line in 0..40 {
        let _ =
            writeln!(code, "    {line}\tlet value = map.get(\"key_{line}\").copied().unwrap_or_default();");
    }
    let mut messages = vec![
        json!({"role": "system", "content": "Work carefully. ".repeat(500)}),
        json!({"role": "user", "content": [{"type": "text", "text": "Read the tree and fix it."}]}),
    ];
    for n in 0..24 {
        messages.push(json!({"role": "assistant", "content": "I read the next file.",
            "reasoning_details": [{"type": "reasoning.text", "text": "The next file matters. ".repeat(5),
                "signature": "c2lnbmF0dXJl".repeat(20), "index": 0}],
            "tool_calls": [{"id": format!("call_{n:024}"), "type": "function", "function":
                {"name": "mcp__server__tool_1", "arguments": json!({"argument_0": format!("src/file_{n}.rs")}).to_string()}}]}));
        messages.push(json!({"role": "tool", "tool_call_id": format!("call_{n:024}"), "content": code}));
    }
    json!({"model": "m", "stream": true, "tools": tools, "messages": messages, "reasoning_effort": "high"})
        .to_string()
}

fn requests(criterion: &mut Criterion) {
    let body = body();
    let options = Options::default();
    let catalog = Catalog::builtin();
    let claude = catalog.find("claude-sonnet-4-6").expect("a row");
    let qwen = catalog.find("qwen.qwen3-coder-480b-a35b-v1:0").expect("a row");
    let mut group = criterion.benchmark_group("chat request");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("to Messages", |bencher| {
        bencher.iter(|| request(black_box(&body), &options).expect("converts").body.len());
    });
    group.bench_function("to Messages, to InvokeModel", |bencher| {
        bencher.iter(|| {
            let asked = request(black_box(&body), &options).expect("converts");
            let doc = native::parse(std::str::from_utf8(&asked.body).expect("text")).expect("JSON");
            let peeked = native::peek(&doc).expect("a model").messages;
            let sent = native::request(&doc, claude, &native::Options::default()).expect("converts");
            sent.value.len() + peeked as usize
        });
    });
    group.bench_function("to Messages, to Converse", |bencher| {
        bencher.iter(|| {
            let asked = request(black_box(&body), &options).expect("converts");
            let text = std::str::from_utf8(&asked.body).expect("text");
            let peeked = native::peek(&native::parse(text).expect("JSON")).expect("a model").messages;
            let parsed = protocol::anthropic::parse(text).expect("fits");
            let options = to_converse::Options::default();
            let sent = to_converse::request(&parsed, qwen, &options).expect("converts");
            serde_json::to_vec(&sent.value).expect("writes").len() + peeked as usize
        });
    });
    group.finish();
}

fn chunks(criterion: &mut Criterion) {
    const DELTAS: u64 = 500;
    let start = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}"#;
    let block = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    let mut lines = vec![start.to_owned(), block.to_owned()];
    for at in 0..DELTAS {
        let text = ["The grass ", "is green", ",\\n", " and so is \\\"it\\\".", " Grün "][(at % 5) as usize];
        lines.push(format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
        ));
    }
    let reply = Reply {
        id: "chatcmpl-0123456789abcdefghijABCD".into(),
        model: "qwen3-coder".into(),
        created: 1_790_000_000,
        form: Form::default(),
    };
    let mut group = criterion.benchmark_group("chat stream");
    group.throughput(Throughput::Elements(DELTAS));
    let events: Vec<_> = lines.iter().map(|line| Event::parse(line).expect("an event")).collect();
    let mut out = Vec::with_capacity(1 << 17);
    group.bench_function("500 events to chunks", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut stream = Stream::new(reply.clone());
            for event in &events {
                stream.on_event(black_box(event), &mut out);
            }
            out.len()
        });
    });
    group.bench_function("500 events, read and to chunks", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut stream = Stream::new(reply.clone());
            for line in &lines {
                stream.on_event(&Event::parse(black_box(line)).expect("an event"), &mut out);
            }
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, requests, chunks);
criterion_main!(benches);
