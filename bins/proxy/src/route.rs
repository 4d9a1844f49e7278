//! Paths to routes, and the dialect that answers.

use bedrock::Operation;
use http::{HeaderMap, Method};

use crate::stored::Question;

/// The shape of replies, errors and events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Anthropic,
    OpenAi,
    Bedrock,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Messages,
    CountTokens,
    Chat,
    Responses,
    Compact,
    Embeddings,
    /// About a response that was kept.
    Stored(Question, String),
    Models,
    Model(String),
    Health,
    Live,
    Ready,
    Metrics,
    Root,
    Hello,
    EventLogging,
    /// An operation of Bedrock's own on a model.
    Bedrock(Operation, String),
    Profiles,
    Profile(String),
    /// A part of the Messages API that Bedrock has nothing for.
    NotSupported(&'static str),
    Preflight,
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    NotFound,
    /// A part of the OpenAI API that there is no route for: it is no id either.
    Unsupported(&'static str),
    /// The path exists; these methods would do.
    Method(&'static str),
}

impl Route {
    /// The label in metrics and usage rows: few, fixed values.
    pub(crate) fn surface(&self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::CountTokens => "count_tokens",
            Self::Chat => "chat",
            Self::Responses | Self::Compact => "responses",
            Self::Stored(..) => "stored_responses",
            Self::Embeddings => "embeddings",
            Self::Models | Self::Model(_) => "models",
            Self::Health | Self::Live | Self::Ready => "health",
            Self::Metrics => "metrics",
            Self::Bedrock(..) | Self::Profiles | Self::Profile(_) => crate::ingress::SURFACE,
            Self::Root | Self::Hello | Self::EventLogging | Self::NotSupported(_) | Self::Preflight => {
                "other"
            }
        }
    }

    /// Finds the route of a path. The path is matched as it was sent, without its query: nothing is decoded,
    /// collapsed or redirected, so no spelling of a path can reach a route by a way that skips a check.
    pub(crate) fn parse(method: &Method, path: &str, prefix: &str) -> Result<Self, Miss> {
        if method == Method::OPTIONS {
            return Ok(Self::Preflight);
        }
        let path = if path.len() > 1 { path.strip_suffix('/').unwrap_or(path) } else { path };
        match path {
            "/" => {
                return pick(method, "GET, HEAD, POST", |m| match m {
                    "GET" | "HEAD" => Some(Self::Root),
                    "POST" => Some(Self::Messages),
                    _ => None,
                });
            }
            "/health" => return get(method, Self::Health),
            "/health/live" | "/liveness" => return get(method, Self::Live),
            "/health/ready" | "/ready" => return get(method, Self::Ready),
            "/metrics" => return get(method, Self::Metrics),
            "/api/hello" => return get(method, Self::Hello),
            "/api/event_logging/batch" => return post(method, Self::EventLogging),
            "/inference-profiles" => return get(method, Self::Profiles),
            _ => {}
        }
        if let Some(rest) = path.strip_prefix("/model/") {
            return Self::model(method, rest);
        }
        if let Some(id) = path.strip_prefix("/inference-profiles/") {
            return get(method, Self::Profile(percent_decoded(id)));
        }
        let dialectal = path.strip_prefix("/anthropic").or_else(|| path.strip_prefix("/openai"));
        let rest =
            path.strip_prefix(prefix).or_else(|| dialectal?.strip_prefix("/v1")).ok_or(Miss::NotFound)?;
        Self::api(method, rest)
    }

    /// The part behind `/model/`: one label and an operation. SDKs escape the label, ARNs come with their slash too.
    fn model(method: &Method, rest: &str) -> Result<Self, Miss> {
        let (label, name) = rest.rsplit_once('/').ok_or(Miss::NotFound)?;
        let operation = match name {
            "invoke" => Operation::InvokeModel,
            "invoke-with-response-stream" => Operation::InvokeModelWithResponseStream,
            "converse" => Operation::Converse,
            "converse-stream" => Operation::ConverseStream,
            "count-tokens" => Operation::CountTokens,
            _ => return Err(Miss::NotFound),
        };
        if label.is_empty() || (label.contains('/') && !label.starts_with("arn:")) {
            return Err(Miss::NotFound);
        }
        post(method, Self::Bedrock(operation, percent_decoded(label)))
    }

    /// The part behind `/responses/`: an id, and maybe what is asked of it.
    fn stored(method: &Method, rest: &str) -> Result<Self, Miss> {
        let (id, question) = match rest.split_once('/') {
            None => (rest, None),
            Some((id, "input_items")) => (id, Some(Question::InputItems)),
            Some((id, "cancel")) => (id, Some(Question::Cancel)),
            Some(_) => return Err(Miss::NotFound),
        };
        let route = |question| Self::Stored(question, percent_decoded(id));
        match question {
            _ if id.is_empty() => Err(Miss::NotFound),
            Some(Question::Cancel) => post(method, route(Question::Cancel)),
            Some(question) => get(method, route(question)),
            None => pick(method, "GET, HEAD, DELETE", |method| match method {
                "GET" | "HEAD" => Some(route(Question::Retrieve)),
                "DELETE" => Some(route(Question::Delete)),
                _ => None,
            }),
        }
    }

    /// The part behind `/v1`.
    fn api(method: &Method, rest: &str) -> Result<Self, Miss> {
        match rest {
            "/messages" => post(method, Self::Messages),
            "/messages/count_tokens" => post(method, Self::CountTokens),
            "/chat/completions" => post(method, Self::Chat),
            "/responses" => post(method, Self::Responses),
            "/responses/compact" => post(method, Self::Compact),
            "/responses/input_tokens" => Err(Miss::Unsupported("counting the tokens of a response's input")),
            "/embeddings" => post(method, Self::Embeddings),
            "/models" => get(method, Self::Models),
            _ => {
                if let Some(id) = rest.strip_prefix("/models/") {
                    return get(method, Self::Model(percent_decoded(id)));
                }
                if let Some(rest) = rest.strip_prefix("/responses/") {
                    return Self::stored(method, rest);
                }
                let unsupported = [
                    ("/messages/batches", "Message Batches"),
                    ("/files", "the Files API"),
                    ("/skills", "Skills"),
                ];
                let found = unsupported.iter().find(|(path, _)| {
                    rest.strip_prefix(path).is_some_and(|tail| tail.is_empty() || tail.starts_with('/'))
                });
                found.map(|(_, feature)| Self::NotSupported(feature)).ok_or(Miss::NotFound)
            }
        }
    }
}

fn pick(method: &Method, allow: &'static str, choose: impl Fn(&str) -> Option<Route>) -> Result<Route, Miss> {
    choose(method.as_str()).ok_or(Miss::Method(allow))
}

fn get(method: &Method, route: Route) -> Result<Route, Miss> {
    if method == Method::GET || method == Method::HEAD { Ok(route) } else { Err(Miss::Method("GET, HEAD")) }
}

fn post(method: &Method, route: Route) -> Result<Route, Miss> {
    if method == Method::POST { Ok(route) } else { Err(Miss::Method("POST")) }
}

/// A parameter of a query, decoded.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.map(percent_decoded)
}

/// Decodes `%XX` in a model id: ids hold `:` and, in ARNs, `/`.
pub(crate) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

impl Dialect {
    /// Who is asking: by the path where it tells, else by the headers that only one side's clients send.
    pub(crate) fn of(path: &str, prefix: &str, headers: &HeaderMap, key_header: &str) -> Self {
        let rest = path.strip_prefix(prefix).unwrap_or(path);
        if path.starts_with("/openai/")
            || ["/chat/completions", "/responses", "/embeddings"].iter().any(|p| rest.starts_with(p))
        {
            return Self::OpenAi;
        }
        if path.starts_with("/model/") || path.starts_with("/inference-profiles") {
            return Self::Bedrock;
        }
        if path == "/" || path.starts_with("/anthropic/") || rest.starts_with("/messages") {
            return Self::Anthropic;
        }
        let anthropic = ["anthropic-version", key_header, "x-api-key"];
        if anthropic.iter().any(|name| headers.contains_key(*name)) { Self::Anthropic } else { Self::OpenAi }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, path: &str) -> Result<Route, Miss> {
        Route::parse(&method.parse().unwrap(), path, "/v1")
    }

    #[test]
    fn known_paths_have_their_routes() {
        for (method, path, route) in [
            ("POST", "/v1/messages", Route::Messages),
            ("POST", "/v1/messages/", Route::Messages),
            ("POST", "/", Route::Messages),
            ("POST", "/anthropic/v1/messages", Route::Messages),
            ("POST", "/v1/messages/count_tokens", Route::CountTokens),
            ("POST", "/anthropic/v1/messages/count_tokens", Route::CountTokens),
            ("POST", "/v1/chat/completions", Route::Chat),
            ("POST", "/openai/v1/chat/completions", Route::Chat),
            ("POST", "/v1/responses", Route::Responses),
            ("POST", "/v1/responses/compact", Route::Compact),
            ("POST", "/v1/embeddings", Route::Embeddings),
            ("POST", "/openai/v1/embeddings", Route::Embeddings),
            ("HEAD", "/", Route::Root),
            ("GET", "/v1/models", Route::Models),
            ("GET", "/openai/v1/models", Route::Models),
            ("GET", "/v1/models/a%3Ab%2Fc", Route::Model("a:b/c".to_owned())),
            ("GET", "/liveness", Route::Live),
            ("POST", "/v1/messages/batches/x/cancel", Route::NotSupported("Message Batches")),
            (
                "POST",
                "/model/us.anthropic.claude-x-v1:0/invoke",
                Route::Bedrock(Operation::InvokeModel, "us.anthropic.claude-x-v1:0".to_owned()),
            ),
            (
                "POST",
                "/model/arn:aws:bedrock:us-east-1:1:inference-profile%2Fa/converse-stream",
                Route::Bedrock(
                    Operation::ConverseStream,
                    "arn:aws:bedrock:us-east-1:1:inference-profile/a".to_owned(),
                ),
            ),
            ("GET", "/v1/responses/resp_1", Route::Stored(Question::Retrieve, "resp_1".to_owned())),
            ("DELETE", "/openai/v1/responses/r%2F", Route::Stored(Question::Delete, "r/".to_owned())),
            ("GET", "/v1/responses/r/input_items", Route::Stored(Question::InputItems, "r".to_owned())),
            ("POST", "/v1/responses/r/cancel", Route::Stored(Question::Cancel, "r".to_owned())),
            ("GET", "/inference-profiles", Route::Profiles),
            ("GET", "/inference-profiles/us.a%3A0", Route::Profile("us.a:0".to_owned())),
            ("OPTIONS", "/anything", Route::Preflight),
        ] {
            assert_eq!(parse(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn other_spellings_of_a_path_are_no_route() {
        for path in [
            "//v1/messages",
            "/v1/../v1/messages",
            "/V1/messages",
            "/v1/messages;x",
            "/v1/%6dessages",
            "/v1",
            "/model/a/b/invoke",
            "/model//invoke",
            "/model/a/invoke-async",
            "/v1/responses//cancel",
            "/v1/responses/r/cancel/x",
        ] {
            assert_eq!(parse("POST", path), Err(Miss::NotFound), "{path}");
        }
        assert!(matches!(parse("POST", "/v1/responses/input_tokens"), Err(Miss::Unsupported(_))));
        assert_eq!(parse("GET", "/v1/messages"), Err(Miss::Method("POST")));
        assert_eq!(parse("DELETE", "/health"), Err(Miss::Method("GET, HEAD")));
        assert_eq!(parse("PUT", "/v1/responses/r"), Err(Miss::Method("GET, HEAD, DELETE")));
    }

    #[test]
    fn the_dialect_follows_path_then_headers() {
        let none = HeaderMap::new();
        let mut versioned = HeaderMap::new();
        versioned.insert("anthropic-version", http::HeaderValue::from_static("2023-06-01"));
        let of = |path, headers| Dialect::of(path, "/v1", headers, "x-api-key");
        assert_eq!(of("/v1/messages", &none), Dialect::Anthropic);
        assert_eq!(of("/v1/chat/completions", &versioned), Dialect::OpenAi);
        assert_eq!(of("/model/x/invoke", &none), Dialect::Bedrock);
        assert_eq!(of("/v1/models", &none), Dialect::OpenAi);
        assert_eq!(of("/v1/models", &versioned), Dialect::Anthropic);
        assert_eq!(of("/v1/nope", &none), Dialect::OpenAi);
    }
}
