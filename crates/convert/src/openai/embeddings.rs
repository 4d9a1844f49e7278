//! Embeddings: a list of texts becomes calls of InvokeModel, as many as the model needs, and their vectors one answer.

use std::borrow::Cow;

use base64_simd::STANDARD;
use catalog::{Embedding, EmbeddingFormat};
use protocol::embedding as wire;
use protocol::openai::embeddings as openai;
use serde_json::value::RawValue;

use crate::native::{Doc, Value};
use crate::outcome::reason;
use crate::{Loss, Refusal};

/// Most texts of one request: <https://platform.openai.com/docs/api-reference/embeddings/create>.
const MOST_TEXTS: usize = 2048;
/// Bytes of text that make a token, at the least.
const BYTES_PER_TOKEN: usize = 3;
/// What vectors may be for; an extension, because OpenAI's models do not ask.
const INPUT_TYPES: [&str; 4] = ["search_document", "search_query", "classification", "clustering"];

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As lists of numbers.
    #[default]
    Float,
    /// As little-endian 32-bit floats in base64, the default of OpenAI's own SDK for Python.
    Base64,
}

/// What a caller asks for, whatever the model.
#[derive(Clone, Debug)]
pub struct Asked<'d> {
    /// The model as the caller named it.
    pub model: Cow<'d, str>,
    texts: Vec<Cow<'d, str>>,
    dimensions: Option<u64>,
    encoding: Encoding,
    input_type: Option<&'static str>,
    /// Members that nobody reads.
    unread: Vec<String>,
}

/// One call of InvokeModel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its body.
    pub body: Vec<u8>,
    /// How many vectors it makes.
    pub texts: usize,
    /// Upper estimate of its input, in tokens.
    pub input_estimate: u64,
}

/// What one call answered.
#[derive(Clone, Debug)]
pub struct Answer {
    vectors: Vec<Box<RawValue>>,
    /// Tokens of the input, where the body tells; elsewhere a header does.
    pub tokens: Option<u64>,
}

/// An answer that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Reads a request.
pub fn request<'d>(doc: &'d Doc<'_>) -> Result<Asked<'d>, Refusal> {
    let root = doc.root();
    if !root.is_object() {
        return Err(refusal("", "The request body must be a JSON object"));
    }
    let model = member(root, "model").ok_or_else(|| refusal("model", "Field required"))?;
    let known = ["model", "input", "dimensions", "encoding_format", "input_type"];
    let names = root.members().filter_map(|member| member.key.str().map(Cow::into_owned));
    Ok(Asked {
        model: model.str().ok_or_else(|| refusal("model", "Input should be a valid string"))?,
        texts: texts(root)?,
        dimensions: dimensions(root)?,
        encoding: encoding(root)?,
        input_type: input_type(root)?,
        unread: names.filter(|name| !known.contains(&name.as_str())).collect(),
    })
}

/// A member that is there and not null.
fn member<'d>(root: Value<'d>, name: &str) -> Option<Value<'d>> {
    root.get(name).filter(|value| !value.is_null())
}

fn texts(root: Value<'_>) -> Result<Vec<Cow<'_, str>>, Refusal> {
    let input = member(root, "input").ok_or_else(|| refusal("input", "Field required"))?;
    if input.is_string() {
        return text(input, "input").map(|text| vec![text]);
    }
    if !input.is_array() {
        return Err(refusal("input", "Input should be a string or a list of strings"));
    }
    let count = input.items().count();
    if !(1..=MOST_TEXTS).contains(&count) {
        return Err(refusal("input", &format!("Input should be a list of 1 to {MOST_TEXTS} strings")));
    }
    input.items().enumerate().map(|(index, item)| text(item, &format!("input.{index}"))).collect()
}

fn text<'d>(value: Value<'d>, path: &str) -> Result<Cow<'d, str>, Refusal> {
    match value.str() {
        Some(text) if text.is_empty() => Err(refusal(path, "Input should not be an empty string")),
        Some(text) => Ok(text),
        None if value.u64().is_some() || value.is_array() => Err(refusal(
            "input",
            "Lists of tokens are not supported: their numbers mean another text to each model",
        )),
        None => Err(refusal(path, "Input should be a string")),
    }
}

fn dimensions(root: Value<'_>) -> Result<Option<u64>, Refusal> {
    let Some(value) = member(root, "dimensions") else { return Ok(None) };
    let dimensions = value.u64().filter(|dimensions| *dimensions > 0);
    dimensions.map(Some).ok_or_else(|| refusal("dimensions", "Input should be a positive integer"))
}

fn encoding(root: Value<'_>) -> Result<Encoding, Refusal> {
    match member(root, "encoding_format") {
        None => Ok(Encoding::Float),
        Some(value) if value.is("float") => Ok(Encoding::Float),
        Some(value) if value.is("base64") => Ok(Encoding::Base64),
        Some(_) => Err(refusal("encoding_format", "Input should be 'float' or 'base64'")),
    }
}

fn input_type(root: Value<'_>) -> Result<Option<&'static str>, Refusal> {
    let Some(value) = member(root, "input_type") else { return Ok(None) };
    let known = INPUT_TYPES.into_iter().find(|known| value.is(known));
    known
        .map(Some)
        .ok_or_else(|| refusal("input_type", &format!("Input should be one of {}", INPUT_TYPES.join(", "))))
}

fn refusal(path: &str, message: &str) -> Refusal {
    Refusal { path: path.to_owned(), message: message.to_owned() }
}

impl Asked<'_> {
    /// Upper estimate of all inputs, in tokens.
    pub fn input_estimate(&self) -> u64 {
        self.texts.iter().map(|text| estimate(text)).sum()
    }

    /// The calls that make the vectors, in order.
    pub fn calls(&self, model: &Embedding) -> Result<Vec<Call>, Refusal> {
        let dimensions = self.length(model)?;
        let call = |texts: &[Cow<'_, str>]| Call {
            body: self.body(texts, model.format, dimensions),
            texts: texts.len(),
            input_estimate: texts.iter().map(|text| estimate(text)).sum(),
        };
        Ok(self.texts.chunks(model.texts.max(1).into()).map(call).collect())
    }

    /// The length to ask for, where the model's own will not do.
    fn length(&self, model: &Embedding) -> Result<Option<u16>, Refusal> {
        let Some(asked) = self.dimensions else { return Ok(None) };
        let chosen = model.choices.iter().copied().find(|choice| u64::from(*choice) == asked);
        if chosen.is_some() || asked == u64::from(model.dimensions) {
            return Ok(chosen);
        }
        let message = match model.choices {
            [] => format!("This model makes vectors of {} dimensions alone", model.dimensions),
            choices => {
                let choices: Vec<_> = choices.iter().map(ToString::to_string).collect();
                format!("This model makes vectors of {} dimensions", choices.join(", "))
            }
        };
        Err(refusal("dimensions", &message))
    }

    fn body(&self, texts: &[Cow<'_, str>], format: EmbeddingFormat, length: Option<u16>) -> Vec<u8> {
        let json = match format {
            EmbeddingFormat::Titan => serde_json::to_vec(&wire::TitanRequest {
                input_text: texts.first().map(AsRef::as_ref).unwrap_or_default(),
                dimensions: length,
            }),
            EmbeddingFormat::Cohere => serde_json::to_vec(&wire::CohereRequest {
                texts: texts.iter().map(AsRef::as_ref).collect(),
                input_type: self.input_type.unwrap_or(INPUT_TYPES[0]),
                embedding_types: ["float"],
                output_dimension: length,
            }),
        };
        // Strings and numbers are always JSON.
        json.unwrap_or_default()
    }

    /// What is not carried to a model of this format.
    pub fn losses(&self, format: EmbeddingFormat) -> Vec<Loss> {
        let unread = self.unread.iter().map(|path| Loss { path: path.clone(), reason: reason::NO_PLACE });
        let purpose = self.input_type.filter(|_| format == EmbeddingFormat::Titan);
        let purpose = purpose.map(|_| Loss { path: "input_type".to_owned(), reason: reason::NOT_TAKEN });
        unread.chain(purpose).collect()
    }

    /// The answer to the caller, of the answers to all calls in their order.
    pub fn response(&self, answers: &[Answer], prompt_tokens: u64) -> Result<Vec<u8>, Unreadable> {
        let vectors = answers.iter().flat_map(|answer| &answer.vectors);
        let data = vectors.enumerate().map(|(index, vector)| {
            let embedding = self.written(vector)?;
            Ok(openai::Embedding { object: "embedding", index, embedding })
        });
        let response = openai::Response {
            object: "list",
            data: data.collect::<Result<_, Unreadable>>()?,
            model: &self.model,
            usage: openai::Usage { prompt_tokens, total_tokens: prompt_tokens },
        };
        serde_json::to_vec(&response).map_err(|_| Unreadable)
    }

    fn written<'v>(&self, vector: &'v RawValue) -> Result<openai::Vector<'v>, Unreadable> {
        match self.encoding {
            Encoding::Float => Ok(openai::Vector::Numbers(vector)),
            Encoding::Base64 => {
                let numbers: Vec<f32> = serde_json::from_str(vector.get()).map_err(|_| Unreadable)?;
                let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                Ok(openai::Vector::Base64(STANDARD.encode_to_string(bytes)))
            }
        }
    }
}

fn estimate(text: &str) -> u64 {
    (text.len() / BYTES_PER_TOKEN) as u64 + 1
}

/// Reads the answer to one call. One vector for each of its texts, or it is none.
pub fn answer(body: &[u8], call: &Call, format: EmbeddingFormat) -> Result<Answer, Unreadable> {
    let answer = match format {
        EmbeddingFormat::Titan => {
            let answer: wire::TitanAnswer = serde_json::from_slice(body).map_err(|_| Unreadable)?;
            Answer { vectors: vec![answer.embedding], tokens: answer.input_text_token_count }
        }
        EmbeddingFormat::Cohere => {
            let answer: wire::CohereAnswer<'_> = serde_json::from_slice(body).map_err(|_| Unreadable)?;
            let text = answer.embeddings.get();
            let vectors = if text.starts_with('{') {
                serde_json::from_str::<wire::CohereByType>(text).map(|by_type| by_type.float)
            } else {
                serde_json::from_str(text)
            };
            let vectors = vectors.map_err(|_| Unreadable)?;
            Answer { vectors, tokens: None }
        }
    };
    let whole = answer.vectors.len() == call.texts
        && answer.vectors.iter().all(|vector| vector.get().starts_with('['));
    if whole { Ok(answer) } else { Err(Unreadable) }
}

#[cfg(test)]
mod tests {
    use catalog::Catalog;

    use super::*;

    fn model(id: &str) -> Embedding {
        Catalog::builtin().find(id).unwrap().embedding.unwrap()
    }

    const TITAN_V2: &str = "amazon.titan-embed-text-v2:0";
    const COHERE_V4: &str = "cohere.embed-v4:0";

    /// The bodies that a request becomes, or its refusal.
    fn bodies(id: &str, request: &str) -> Result<Vec<String>, String> {
        let doc = crate::native::parse(request).unwrap();
        let asked = super::request(&doc).map_err(|refusal| refusal.to_string())?;
        let calls = asked.calls(&model(id)).map_err(|refusal| refusal.to_string())?;
        assert_eq!(calls.iter().map(|call| call.input_estimate).sum::<u64>(), asked.input_estimate());
        Ok(calls.into_iter().map(|call| String::from_utf8(call.body).unwrap()).collect())
    }

    #[test]
    fn titan_is_called_once_a_text_and_cohere_once_for_96() {
        let three = r#"{"model":"m","input":["a","b\"","c"],"dimensions":512}"#;
        assert_eq!(
            bodies(TITAN_V2, three).unwrap(),
            [
                r#"{"inputText":"a","dimensions":512}"#,
                r#"{"inputText":"b\"","dimensions":512}"#,
                r#"{"inputText":"c","dimensions":512}"#
            ]
        );
        assert_eq!(
            bodies(COHERE_V4, r#"{"model":"m","input":"a","dimensions":512,"input_type":"search_query"}"#)
                .unwrap(),
            [
                r#"{"texts":["a"],"input_type":"search_query","embedding_types":["float"],"output_dimension":512}"#
            ]
        );
        let many = format!(r#"{{"model":"m","input":[{}"z"]}}"#, r#""a","#.repeat(192));
        let calls = bodies(COHERE_V4, &many).unwrap();
        assert_eq!(calls.len(), 3);
        assert_eq!(calls[2], r#"{"texts":["z"],"input_type":"search_document","embedding_types":["float"]}"#);
    }

    #[test]
    fn dimensions_that_the_model_does_not_make_are_refused() {
        let with =
            |id, dimensions| bodies(id, &format!(r#"{{"model":"m","input":"a","dimensions":{dimensions}}}"#));
        assert_eq!(with("amazon.titan-embed-text-v1", "1536").unwrap(), [r#"{"inputText":"a"}"#]);
        for (id, dimensions) in [
            ("amazon.titan-embed-text-v1", "256"),
            ("cohere.embed-english-v3", "512"),
            (TITAN_V2, "1536"),
            (COHERE_V4, "3072"),
            (TITAN_V2, "0"),
            (TITAN_V2, "-256"),
            (TITAN_V2, "\"256\""),
        ] {
            let refused = with(id, dimensions).unwrap_err();
            assert!(refused.starts_with("dimensions: "), "{refused}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_by_name() {
        for (request, path) in [
            (r#"{"input":"a"}"#, "model"),
            (r#"{"model":"m"}"#, "input"),
            (r#"{"model":"m","input":[]}"#, "input"),
            (r#"{"model":"m","input":""}"#, "input"),
            (r#"{"model":"m","input":["a",""]}"#, "input.1"),
            (r#"{"model":"m","input":["a",null]}"#, "input.1"),
            (r#"{"model":"m","input":[1,2,3]}"#, "input"),
            (r#"{"model":"m","input":[[1,2],[3]]}"#, "input"),
            (r#"{"model":"m","input":5}"#, "input"),
            (r#"{"model":"m","input":"a","encoding_format":"int8"}"#, "encoding_format"),
            (r#"{"model":"m","input":"a","input_type":"image"}"#, "input_type"),
        ] {
            let refused = bodies(TITAN_V2, request).unwrap_err();
            assert!(refused.starts_with(&format!("{path}: ")), "{request}: {refused}");
        }
        assert!(bodies(TITAN_V2, "[]").is_err());
    }

    #[test]
    fn vectors_leave_in_the_format_that_was_asked_for() {
        let call = |texts| Call { body: Vec::new(), texts, input_estimate: 1 };
        let titan = br#"{"embedding":[1.5,-2],"inputTextTokenCount":3}"#;
        let typed = br#"{"id":"x","embeddings":{"float":[[0.10],[1e0]]},"texts":["a","b"]}"#;
        let plain = br#"{"embeddings":[[0.25]],"response_type":"embeddings_floats"}"#;
        let titan = answer(titan, &call(1), EmbeddingFormat::Titan).unwrap();
        assert_eq!(titan.tokens, Some(3));
        let typed = answer(typed, &call(2), EmbeddingFormat::Cohere).unwrap();
        let plain = answer(plain, &call(1), EmbeddingFormat::Cohere).unwrap();
        let answers = [titan, typed, plain];
        let respond = |format: &str| {
            let request = format!(r#"{{"model":"m","input":["a"],"encoding_format":"{format}","user":"u"}}"#);
            let doc = crate::native::parse(&request).unwrap();
            let asked = super::request(&doc).unwrap();
            assert_eq!(asked.losses(EmbeddingFormat::Titan)[0].path, "user");
            String::from_utf8(asked.response(&answers, 7).unwrap()).unwrap()
        };
        assert_eq!(
            respond("float"),
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.5,-2]},{"object":"embedding","index":1,"embedding":[0.10]},{"object":"embedding","index":2,"embedding":[1e0]},{"object":"embedding","index":3,"embedding":[0.25]}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#
        );
        let bytes = [1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat();
        assert!(respond("base64").contains(&format!("\"{}\"", STANDARD.encode_to_string(bytes))));
    }

    #[test]
    fn an_answer_with_fewer_vectors_than_texts_is_none() {
        let two = Call { body: Vec::new(), texts: 2, input_estimate: 1 };
        for body in [r#"{"embeddings":[[0.25]]}"#, r#"{"embeddings":[[0.25],null]}"#, "{}", ""] {
            assert!(answer(body.as_bytes(), &two, EmbeddingFormat::Cohere).is_err(), "{body}");
        }
    }
}
