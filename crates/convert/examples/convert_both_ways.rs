//! A Messages request becomes a Converse request, and a Converse answer becomes a Messages answer: no network, no
//! credentials, no AWS crate. `cargo run -p outcrop-convert --example convert_both_ways [model-id] < request.json`
#![expect(clippy::print_stdout, reason = "the example shows what it converts")]

use std::error::Error;
use std::io::{IsTerminal, Read};

use catalog::Catalog;
use outcrop_convert::converse::request::{Options, request};
use outcrop_convert::converse::response::{Reply, response};

const ASK: &str = r#"{"model": "qwen3-coder", "max_tokens": 200, "top_k": 5,
    "tools": [{"name": "files/read.v1", "description": "Reads a file.",
               "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}],
    "messages": [{"role": "user", "content": "What is in README.md?"}]}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let model = std::env::args().nth(1).unwrap_or_else(|| "qwen.qwen3-coder-480b-a35b-v1:0".to_owned());
    let mut body = String::new();
    if !std::io::stdin().is_terminal() {
        std::io::stdin().read_to_string(&mut body)?;
    }
    let body = if body.trim().is_empty() { ASK } else { &body };

    let asked = protocol::anthropic::parse(body)?;
    let catalog = Catalog::builtin();
    let rules = catalog.find(&model).ok_or("no row for this model")?;
    let options = Options::default();
    let converted = request(&asked, rules, &options)?;
    println!("POST /model/{}/converse\n{}\n", rules.id, serde_json::to_string(&converted.value)?);
    for loss in &converted.losses {
        println!("left out: {} ({})", loss.path, loss.reason);
    }

    // What the upstream might answer: it calls the tool by the name it was given.
    let tool = converted.names.tools.first().map_or("read", |(upstream, _)| upstream);
    let answer = serde_json::json!({
        "output": {"message": {"role": "assistant", "content": [
            {"toolUse": {"toolUseId": "tooluse_1", "name": tool, "input": {"path": "README.md"}}}]}},
        "stopReason": "tool_use", "metrics": {"latencyMs": 7},
        "usage": {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14}});
    let reply = Reply { id: "msg_example".to_owned(), model: asked.model.clone().into_owned() };
    let message = response(answer.to_string().as_bytes(), &converted.names, &reply)?;
    println!("\n{}", serde_json::to_string(&message)?);
    Ok(())
}
