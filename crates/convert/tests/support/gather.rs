//! A client that gathers chunks of a chat completion.

use serde_json::{Value, json};

/// The data of every event; what is no well-formed SSE fails.
pub(crate) fn data(sse: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(sse).unwrap();
    let body = text.strip_suffix("\n\n").unwrap_or_else(|| panic!("no end: {text}"));
    body.split("\n\n")
        .map(|event| {
            assert!(!event.contains('\n'), "one line an event: {event}");
            event.strip_prefix("data: ").unwrap().to_owned()
        })
        .collect()
}

fn append(whole: &mut Value, piece: &Value) {
    match piece {
        Value::Null => {}
        piece if whole.is_null() => *whole = piece.clone(),
        piece => *whole = json!(format!("{}{}", whole.as_str().unwrap(), piece.as_str().unwrap())),
    }
}

/// What a client gathers from chunks: the message, the reason, the usage.
pub(crate) fn gathered(chunks: &[String]) -> Value {
    let mut message = json!({"content": null, "refusal": null});
    let (mut reason, mut usage, mut tier) = (Value::Null, Value::Null, Value::Null);
    for chunk in &chunks[..chunks.len() - 1] {
        let chunk: Value = serde_json::from_str(chunk).unwrap();
        assert_eq!(chunk["object"], "chat.completion.chunk");
        if let Some(told) = chunk.get("service_tier") {
            tier = told.clone();
        }
        let Some(choice) = chunk["choices"].get(0) else {
            usage = chunk["usage"].clone();
            continue;
        };
        assert!(reason.is_null(), "nothing follows the reason");
        reason = choice["finish_reason"].clone();
        for (key, value) in choice["delta"].as_object().unwrap() {
            match key.as_str() {
                "role" => message["role"] = value.clone(),
                "reasoning_details" => {
                    let list = message.as_object_mut().unwrap().entry(key).or_insert_with(|| json!([]));
                    list.as_array_mut().unwrap().extend(value.as_array().unwrap().clone());
                }
                "tool_calls" => calls(&mut message, value),
                _ => append(&mut message[key], value),
            }
        }
    }
    json!({"message": message, "finish_reason": reason, "usage": usage, "service_tier": tier})
}

fn calls(message: &mut Value, pieces: &Value) {
    let list = message.as_object_mut().unwrap().entry("tool_calls").or_insert_with(|| json!([]));
    let list = list.as_array_mut().unwrap();
    for piece in pieces.as_array().unwrap() {
        let index = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
        if index == list.len() {
            let mut first = piece.clone();
            first.as_object_mut().unwrap().remove("index");
            list.push(first);
            continue;
        }
        assert!(piece.get("id").is_none() && piece.get("type").is_none(), "told once: {piece}");
        for (member, text) in [("function", "arguments"), ("custom", "input")] {
            if let Some(more) = piece.get(member) {
                assert!(more.get("name").is_none(), "told once: {piece}");
                append(&mut list[index][member][text], &more[text]);
            }
        }
    }
}
