//! The native lane: what reading, editing and relaying cost.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::hint::black_box;

use catalog::Catalog;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outcrop_convert::native::{self, Options, Relay, Ttl, beta};
use serde_json::{Value, json};

const BETAS: &[&str] = &[
    "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,\
    per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01,advanced-tool-use-2025-11-20,effort-2025-11-24",
];

/// A turn in the middle of a coding session: about 150 KB of tools, prompt and history.
fn coding() -> String {
    let property = |name: &str| json!({"type": "string", "description": format!("The {name}.\nIn words.")});
    let tools: Vec<Value> = (0..24)
        .map(|index| {
            json!({"name": format!("Tool{index}"), "description": "Does \"one\" thing well.\n".repeat(40),
                "input_schema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
                    "properties": {"path": property("path"), "pattern": property("pattern")},
                    "required": ["path"], "additionalProperties": false}})
        })
        .collect();
    let marker = json!({"type": "ephemeral"});
    let mut messages = vec![json!({"role": "user", "content": [{"type": "text", "text": "Please fix it."}]})];
    messages.push(json!({"role": "system", "content": [{"type": "text", "text": "Be brief."}],
        "output_config": {"effort": "medium"}}));
    for index in 0..40 {
        let id = format!("toolu_{index}");
        messages.push(json!({"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Let me look.", "signature": "RXFRQg==".repeat(20)},
            {"type": "tool_use", "id": id, "name": "Tool1", "input": {"path": "/src/main.rs", "pattern": "fn \"x\""}},
        ]}));
        let code = "    let value = source.get(\"key\")?;\n\tprintln!(\"{value}\");\n".repeat(32);
        messages.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": code}]},
        ]}));
    }
    json!({"model": "claude-opus-5-5", "max_tokens": 128_000, "stream": true,
        "system": [{"type": "text", "text": "prompt\n".repeat(2500), "cache_control": marker}],
        "tools": tools, "messages": messages,
        "thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "medium"}})
    .to_string()
}

/// A megabyte, nearly all of it pictures.
fn pictures() -> String {
    let image = |_| {
        json!({"type": "image", "source":
        {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo".repeat(18_000)}})
    };
    let content: Vec<Value> = (0..5).map(image).collect();
    json!({"model": "m", "max_tokens": 1024, "messages": [{"role": "user", "content": content}]}).to_string()
}

fn chunk(event: &str) -> Vec<u8> {
    let bytes = base64_simd::STANDARD.encode_to_string(event);
    format!("{{\"bytes\":\"{bytes}\",\"p\":\"abcdefghijklmnopqrstuvwxyz\"}}").into_bytes()
}

fn requests(criterion: &mut Criterion) {
    let mapping = beta::default_mapping();
    let catalog = Catalog::builtin();
    for (name, body) in [("coding 150 KB", coding()), ("pictures 1 MB", pictures())] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("scan", |bencher| bencher.iter(|| native::parse(black_box(&body)).unwrap()));
        let doc = native::parse(&body).unwrap();
        group.bench_function("peek", |bencher| {
            bencher.iter(|| native::peek(black_box(&doc)).unwrap().input_estimate);
        });
        for model in ["claude-opus-5-5", "claude-sonnet-4-6"] {
            let row = catalog.find(model).unwrap();
            let betas = beta::Policy { mapping: &mapping, ..beta::Policy::default() };
            let forced_ttl = Some(Ttl::OneHour);
            let options = Options { beta_headers: BETAS, betas, forced_ttl, ..Options::default() };
            group.bench_function(format!("scan and edit for {model}"), |bencher| {
                bencher.iter(|| {
                    let doc = native::parse(black_box(&body)).unwrap();
                    native::request(&doc, row, &options).unwrap().value.len()
                });
            });
        }
        group.finish();
    }
}

fn relay(criterion: &mut Criterion) {
    let delta = |index| {
        let text = format!("word {index} and \\\"more\\\" ");
        format!(
            "{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}"
        )
    };
    let start = json!({"type": "message_start", "message": {"model": "x", "id": "msg_bdrk_1", "type": "message",
        "role": "assistant", "content": [], "usage": {"input_tokens": 10, "output_tokens": 1}}});
    let mut frames = vec![chunk(&start.to_string())];
    frames.extend((0..500).map(|index| chunk(&delta(index))));
    frames.push(chunk(
        "{\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":10}}",
    ));
    let mut group = criterion.benchmark_group("relay");
    group.throughput(Throughput::Elements(frames.len() as u64));
    group.bench_function("500 deltas", |bencher| {
        let mut out = Vec::with_capacity(1 << 17);
        bencher.iter(|| {
            out.clear();
            let mut relay = Relay::new("claude-opus-5");
            for frame in &frames {
                relay.on_chunk(black_box(frame), &mut out).unwrap();
            }
            (relay.finished(), out.len())
        });
    });
    group.finish();
}

criterion_group!(benches, requests, relay);
criterion_main!(benches);
