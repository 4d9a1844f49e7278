//! InvokeModel for embedding models: Titan and Cohere.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html>,
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html>
use http::HeaderValue;
use httpd::Response;

use crate::converse::parse;
use crate::json::{Json, put, quote};
use crate::models::Model;
use crate::reject::Reject;
use crate::routes::Call;
use crate::usage::{Usage, tokens};

/// Bytes of a text that Titan takes, and characters of one that Cohere's third generation takes.
const TITAN_BYTES: usize = 50_000;
const COHERE_CHARACTERS: usize = 2048;

/// Answers.
pub(crate) async fn answer(call: &Call<'_>, model: &'static Model) -> Result<Response, Reject> {
    let body = parse(call.body)?;
    for fault in &call.directives(&said(&body)).faults {
        if let Some(response) = call.early(fault).await {
            return Ok(response);
        }
    }
    let (json, count) =
        if model.id.starts_with("cohere.") { cohere(call, model, &body)? } else { titan(model, &body)? };
    call.state.answered(call.serial, &Usage { input: count, ..Usage::default() });
    let mut response = call.json(json);
    response.headers_mut().insert("x-amzn-bedrock-input-token-count", HeaderValue::from(count));
    Ok(response)
}

/// All texts.
fn said(body: &Json<'_>) -> String {
    let texts = body.list("texts").iter().filter_map(Json::as_str);
    texts.chain(body.text("inputText")).collect::<Vec<_>>().join(" ")
}

/// The wording of native bodies that are not Claude's.
fn malformed(what: &str) -> Reject {
    Reject::invalid(format!("Malformed input request: {what}, please reformat your input and try again."))
}

fn keys(body: &Json<'_>, known: &[&str], required: &str) -> Result<(), Reject> {
    if let Some((key, _)) = body.members().iter().find(|(key, _)| !known.contains(&key.as_ref())) {
        return Err(malformed(&format!("#: extraneous key [{key}] is not permitted")));
    }
    if body.get(required).is_none() {
        return Err(malformed(&format!("#: required key [{required}] not found")));
    }
    Ok(())
}

fn titan(model: &Model, body: &Json<'_>) -> Result<(String, usize), Reject> {
    let second = model.id.contains("v2");
    let known: &[&str] =
        if second { &["inputText", "dimensions", "normalize", "embeddingTypes"] } else { &["inputText"] };
    keys(body, known, "inputText")?;
    let Some(text) = body.text("inputText") else {
        return Err(malformed("#/inputText: expected type: String"));
    };
    if text.is_empty() {
        return Err(malformed("#/inputText: expected minLength: 1, actual: 0"));
    }
    if text.len() > TITAN_BYTES {
        return Err(malformed(&format!(
            "#/inputText: expected maxLength: {TITAN_BYTES}, actual: {}",
            text.len()
        )));
    }
    let read = tokens(text.len());
    if read > model.window(false) {
        return Err(Reject::invalid(format!(
            "Too many input tokens. Max input tokens: {}, request input token count: {read} ",
            model.window(false)
        )));
    }
    let length = match body.get("dimensions").map(Json::as_int) {
        None if second => 1024,
        None => 1536,
        Some(Some(length @ (256 | 512 | 1024))) => length,
        Some(_) => return Err(malformed("#/dimensions: value not found in enum [256, 512, 1024]")),
    };
    let count = read;
    let mut out = String::from("{\"embedding\":");
    vector(&mut out, text, length);
    put!(out, ",\"inputTextTokenCount\":{count}}}");
    Ok((out, count))
}

fn cohere(call: &Call<'_>, model: &Model, body: &Json<'_>) -> Result<(String, usize), Reject> {
    const INPUT_TYPES: &[&str] = &["search_document", "search_query", "classification", "clustering"];
    let fourth = model.id.contains("v4");
    let mut known = vec!["texts", "input_type", "truncate", "embedding_types"];
    if fourth {
        known.extend(["output_dimension", "max_tokens"]);
    }
    keys(body, &known, "texts")?;
    if !body.text("input_type").is_some_and(|kind| INPUT_TYPES.contains(&kind)) {
        return Err(malformed(&format!(
            "#/input_type: value not found in enum [{}]",
            INPUT_TYPES.join(", ")
        )));
    }
    let texts = body.list("texts");
    if texts.is_empty() || texts.len() > 96 {
        return Err(malformed("#/texts: expected 1 to 96 items"));
    }
    if body.get("embedding_types").is_some_and(|types| !matches!(types, Json::List(_))) {
        return Err(malformed("#/embedding_types: expected type: JSONArray"));
    }
    let length = match body.get("output_dimension").map(Json::as_int) {
        None if fourth => 1536,
        None => 1024,
        Some(Some(length @ (256 | 512 | 1024 | 1536))) => length,
        Some(_) => {
            return Err(malformed("#/output_dimension: value not found in enum [256, 512, 1024, 1536]"));
        }
    };
    let mut count = 0;
    let mut vectors = String::from("[");
    let mut echoed = String::from("[");
    for (index, text) in texts.iter().enumerate() {
        let Some(text) = text.as_str().filter(|text| !text.is_empty()) else {
            return Err(malformed(&format!("#/texts/{index}: expected minLength: 1")));
        };
        let characters = text.chars().count();
        if !fourth && characters > COHERE_CHARACTERS {
            return Err(malformed(&format!(
                "#/texts/{index}: expected maxLength: {COHERE_CHARACTERS}, actual: {characters}"
            )));
        }
        if index > 0 {
            vectors.push(',');
            echoed.push(',');
        }
        count += tokens(text.len());
        vector(&mut vectors, text, length);
        quote(&mut echoed, text);
    }
    vectors.push(']');
    echoed.push(']');
    let typed = body.get("embedding_types").is_some();
    let (kind, vectors) =
        if typed { ("by_type", format!("{{\"float\":{vectors}}}")) } else { ("floats", vectors) };
    let out = format!(
        "{{\"id\":\"sim-{}\",\"response_type\":\"embeddings_{kind}\",\"embeddings\":{vectors},\"texts\":{echoed}}}",
        call.serial
    );
    Ok((out, count))
}

/// A unit vector that depends on the text alone.
fn vector(out: &mut String, text: &str, length: i64) {
    let mut seed = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let scale = (3.0 / f64::from(i32::try_from(length).unwrap_or(1))).sqrt();
    out.push('[');
    for index in 0..length {
        if index > 0 {
            out.push(',');
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value =
            f64::from(u32::try_from(seed >> 32).unwrap_or_default()) / f64::from(u32::MAX) * 2.0 - 1.0;
        put!(out, "{:.7}", value * scale);
    }
    out.push(']');
}
