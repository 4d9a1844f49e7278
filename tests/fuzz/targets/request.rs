//! Any request, for models of every kind: nothing panics, what leaves is JSON, the same request gives the same bytes, and
//! members that nobody knows leave as they came.
#![no_main]

use std::sync::OnceLock;

use catalog::{Catalog, Lane, Model};
use convert::converse::request as to_converse;
use convert::native::{self, Ttl, beta};
use libfuzzer_sys::fuzz_target;
use outcrop_fuzz::{Input, cases};
use protocol::anthropic::request::{parse_for_count, parse_for_invoke};
use serde::de::IgnoredAny;
use serde_json::Value;

/// One of each way of thinking, sampling, calling tools and taking media.
const MODELS: &[&str] = &[
    "claude-3-haiku-20240307",
    "claude-3-7-sonnet",
    "claude-opus-4-5",
    "claude-sonnet-4-6",
    "claude-opus-5-5",
    "amazon.nova-pro-v1:0",
    "amazon.nova-2-lite-v1:0",
    "qwen.qwen3-coder-480b-a35b-v1:0",
    "openai.gpt-oss-120b-1:0",
    "meta.llama3-8b-instruct-v1:0",
    "mistral.pixtral-large-2502-v1:0",
];

struct Material {
    models: Vec<&'static Model>,
    requests: Vec<String>,
}

fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let catalog = Catalog::builtin();
        let models =
            MODELS.iter().map(|id| catalog.find(id).unwrap_or_else(|| panic!("no row for {id}"))).collect();
        let native = cases("native/request").into_iter().map(|case| {
            let case: Value = serde_json::from_str(&case).expect("a case");
            case["request_text"].as_str().expect("a request").to_owned()
        });
        let converse = cases("converse/request").into_iter().map(|case| {
            let doc = native::parse(&case).expect("a case");
            doc.root().get("request").expect("a request").raw().to_owned()
        });
        Material { models, requests: native.chain(converse).collect() }
    })
}

fn native_lane(text: &str, model: &'static Model, switches: u8) {
    let Ok(doc) = native::parse(text) else { return };
    serde_json::from_str::<IgnoredAny>(text).expect("what the scanner takes is JSON");
    let _ = native::peek(&doc);
    assert_eq!(native::embedded(&doc, &[]).expect("nothing to embed"), text.as_bytes());
    let mapping = beta::default_mapping();
    let drop_fields = ["tools.0.custom.strict".to_owned(), "thinking".to_owned()];
    let options = native::Options {
        beta_headers: &["interleaved-thinking-2025-05-14,advanced-tool-use-2025-11-20"],
        betas: beta::Policy { mapping: &mapping, pass_unknown: switches & 1 != 0, ..beta::Policy::default() },
        forced_ttl: (switches & 2 != 0).then_some(Ttl::OneHour),
        caching_off: switches & 4 != 0,
        no_thinking: switches & 8 != 0,
        counting: switches & 16 != 0,
        drop_fields: if switches & 32 != 0 { &drop_fields } else { &[] },
        ..native::Options::default()
    };
    let Ok(converted) = native::request(&doc, model, &options) else { return };
    serde_json::from_slice::<IgnoredAny>(&converted.value).expect("what leaves is JSON");
    let again = native::request(&doc, model, &options).expect("the same again");
    assert_eq!(again.value, converted.value, "the same request gives the same bytes");
    let sent = std::str::from_utf8(&converted.value).expect("UTF-8");
    for member in doc.root().members().filter(|member| member.key.inner().starts_with("x_")) {
        assert!(sent.contains(member.value.raw()), "an unknown member is changed: {}", member.value.raw());
    }
}

fn converse_lane(text: &str, model: &'static Model, switches: u8) {
    let options = to_converse::Options {
        prompt_caching: switches & 4 == 0,
        cache_ttl: (switches & 2 != 0).then_some(to_converse::Ttl::OneHour),
        thinking: switches & 8 == 0,
        ..to_converse::Options::default()
    };
    let parsed = if switches & 16 == 0 { parse_for_count(text) } else { parse_for_invoke(text) };
    let Ok(parsed) = parsed else { return };
    let Ok(converted) = to_converse::request(&parsed, model, &options) else { return };
    let body = serde_json::to_vec(&converted.value).expect("writes");
    serde_json::from_slice::<IgnoredAny>(&body).expect("what leaves is JSON");
    let again = to_converse::request(&parsed, model, &options).expect("the same again");
    assert_eq!(
        serde_json::to_vec(&again.value).expect("writes"),
        body,
        "the same request gives the same bytes"
    );
}

fuzz_target!(|data: &[u8]| {
    let Material { models, requests } = material();
    let mut input = Input::new(data);
    let model = models[usize::from(input.byte()) % models.len()];
    let switches = input.byte();
    let bytes = match input.byte() {
        0 => input.rest().to_vec(),
        _ => {
            let at = input.below(requests.len());
            input.spliced(requests[at].as_bytes())
        }
    };
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    match model.lane {
        Lane::Native => native_lane(text, model, switches),
        Lane::Converse => converse_lane(text, model, switches),
    }
});
