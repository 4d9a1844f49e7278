//! From the caller's bytes to the upstream's: a long agent session with 30 tools, about 150 KB, and 1 MB of pictures.

#![expect(clippy::expect_used, reason = "a benchmark stops where it fails")]

use std::fmt::Write as _;
use std::hint::black_box;

use catalog::Catalog;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outcrop_convert::converse::request::{Options, request};
use protocol::anthropic::parse;
use serde_json::json;

/// As coding agents send it: schemas with `$schema`, three system blocks, tool calls whose results are source code.
fn body() -> String {
    let tools: Vec<_> = (0..30)
        .map(|n| {
            let properties: serde_json::Map<_, _> = (0..8)
                .map(|p| (format!("argument_{p}"), json!({"type": "string", "description": "What the tool should look at. ".repeat(4)})))
                .collect();
            json!({"name": format!("mcp__server__tool_{n}"), "description": "Does one thing well. ".repeat(20),
                "input_schema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
                    "properties": properties, "required": ["argument_0"], "additionalProperties": false}})
        })
        .collect();
    let mut code = String::new();
    for line in 0..40 {
        let _ =
            writeln!(code, "    {line}\tlet value = map.get(\"key_{line}\").copied().unwrap_or_default();");
    }
    let mut messages =
        vec![json!({"role": "user", "content": [{"type": "text", "text": "Read the tree and fix it."}]})];
    for n in 0..24 {
        messages.push(json!({"role": "assistant", "content": [
            {"type": "thinking", "thinking": "The next file matters. ".repeat(5), "signature": ""},
            {"type": "text", "text": "I read the next file."},
            {"type": "tool_use", "id": format!("toolu_{n:024}"), "name": "mcp__server__tool_1", "input": {"argument_0": format!("src/file_{n}.rs")}}]}));
        messages.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": format!("toolu_{n:024}"), "content": [{"type": "text", "text": code}]}]}));
    }
    json!({"model": "qwen3-coder", "max_tokens": 32000, "stream": true, "tools": tools, "messages": messages,
        "system": [{"type": "text", "text": "x-anthropic-billing-header: cc_version=2"},
            {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Work carefully. ".repeat(500), "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
        "metadata": {"user_id": "{\"device_id\":\"d\"}"}, "context_management": {"edits": []}})
    .to_string()
}

/// A megabyte, nearly all of it pictures.
fn pictures() -> String {
    let image = |_| {
        json!({"type": "image", "source":
            {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoA".repeat(16_500)}})
    };
    let content: Vec<_> = (0..5).map(image).collect();
    json!({"model": "m", "max_tokens": 1024, "messages": [{"role": "user", "content": content}]}).to_string()
}

fn benches(criterion: &mut Criterion) {
    convert(criterion, "request", "qwen.qwen3-coder-480b-a35b-v1:0", &body());
    convert(criterion, "pictures 1 MB", "amazon.nova-pro-v1:0", &pictures());
}

fn convert(criterion: &mut Criterion, name: &str, model: &str, body: &str) {
    let catalog = Catalog::builtin();
    let rules = catalog.find(model).expect("a row");
    let options = Options::default();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| parse(black_box(body)).expect("fits").messages.len());
    });
    group.bench_function("parse, convert, write", |bencher| {
        bencher.iter(|| {
            let parsed = parse(black_box(body)).expect("fits");
            let converted = request(&parsed, rules, &options).expect("converts");
            serde_json::to_vec(&converted.value).expect("writes").len()
        });
    });
    group.finish();
}

criterion_group!(request_benches, benches);
criterion_main!(request_benches);
