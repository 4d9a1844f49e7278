//! Any OpenAI request: nothing panics, what leaves is a Messages request that both lanes convert or refuse, the same request
//! gives the same bytes, and every place of the body has one of the caller's.
#![no_main]

use std::sync::OnceLock;

use catalog::{Catalog, Lane, Model};
use convert::converse::request as to_converse;
use convert::native;
use convert::openai::chat;
use libfuzzer_sys::fuzz_target;
use outcrop_fuzz::{Input, cases};

const MODELS: &[&str] =
    &["claude-sonnet-4-6", "claude-opus-4-5", "qwen.qwen3-coder-480b-a35b-v1:0", "amazon.nova-pro-v1:0"];

struct Material {
    models: Vec<&'static Model>,
    chat: Vec<String>,
}

fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let catalog = Catalog::builtin();
        let models =
            MODELS.iter().map(|id| catalog.find(id).unwrap_or_else(|| panic!("no row for {id}"))).collect();
        let requests = |folder| {
            let cases = cases(folder).into_iter();
            let request = |case: String| {
                let doc = native::parse(&case).expect("a case");
                doc.root().get("request").expect("a request").raw().to_owned()
            };
            cases.map(request).collect()
        };
        Material { models, chat: requests("openai/chat/request") }
    })
}

/// What follows in the lane of this model.
fn lane(text: &str, model: &'static Model) {
    let doc = native::parse(text).expect("the body is JSON");
    native::peek(&doc).expect("the body names a model");
    match model.lane {
        Lane::Native => drop(native::request(&doc, model, &native::Options::default())),
        Lane::Converse => {
            let parsed = protocol::anthropic::parse(text).expect("the body is a Messages request");
            let _ = to_converse::request(&parsed, model, &to_converse::Options::default());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Material { models, chat } = material();
    let mut input = Input::new(data);
    let model = models[usize::from(input.byte()) % models.len()];
    let switches = input.byte();
    let bytes = match input.byte() {
        0 => input.rest().to_vec(),
        _ => {
            let at = input.below(chat.len());
            input.spliced(chat[at].as_bytes())
        }
    };
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let options = chat::Options {
        automatic_caching: switches & 1 != 0,
        cache_minimum_tokens: if switches & 2 == 0 { 0 } else { 1024 },
        ..chat::Options::default()
    };
    let first = chat::request(text, &options);
    assert_eq!(first, chat::request(text, &options), "the same request gives the same bytes");
    let Ok(asked) = first else { return };
    let body = std::str::from_utf8(&asked.body).expect("UTF-8");
    protocol::anthropic::parse(body).expect("the body is a Messages request");
    lane(body, model);
    for (place, _) in asked.paths.iter() {
        assert!(!asked.paths.caller(place).is_empty(), "{place} comes from nowhere");
    }
});
