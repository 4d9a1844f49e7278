//! What real clients have sent, played back through both lanes: every request is served, and what goes upstream for it
//! is judged by an independent reader of AWS's service model.
//!
//! `OUTCROP_RECORDINGS` names a directory of JSON files, `{"requests": [{"method", "path", "headers": [[name, value]],
//! "body"}]}`; `OUTCROP_VALIDATOR` a program that checks captures of Bedrock calls (`python3 $OUTCROP_VALIDATOR auto
//! FILE --model-rules error --sigv4 ID:SECRET`). Without them the tests say so and pass, except on CI.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use outcrop_tests::{CLAUDE, Caller, Gateway, Options, QWEN, Reply, events};
use serde_json::Value;

/// Headers that belong to the recorded connection or name the recorded caller.
const NOT_PLAYED: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "transfer-encoding",
    "x-api-key",
];
/// A client can know a model before Bedrock has it; until then an operator maps its name.
const MAPPING: &str = r#"--default-model-mapping={"claude-fable-5-2": "global.anthropic.claude-fable-5-1"}"#;
/// Tools that a server would have to run: refused by name, never dropped.
const SERVER_TOOLS: &[&str] = &["web_search_", "web_fetch_", "advisor_", "mcp_toolset"];

/// A request as a client sent it.
struct Recorded {
    /// File and position.
    name: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Recorded {
    fn is_message(&self) -> bool {
        self.method == "POST" && self.path.split('?').next() == Some("/v1/messages")
    }

    fn has_server_tool(&self) -> bool {
        let tools = self.body["tools"].as_array().map_or(&[][..], Vec::as_slice);
        let server = |kind: &str| SERVER_TOOLS.iter().any(|prefix| kind.starts_with(prefix));
        tools.iter().filter_map(|tool| tool["type"].as_str()).any(server)
    }

    /// The model for the native lane: the recorded one where it is Claude.
    fn claude(&self) -> String {
        let own = self.body["model"].as_str().unwrap();
        if own.contains("claude") { own.to_owned() } else { CLAUDE.to_owned() }
    }
}

/// A variable that names something to test with. Without it the test is skipped where a person can see it, and fails
/// where nobody looks.
fn named_by(variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
        return Some(path.into());
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{variable} must be set on CI");
    // Past the harness's capture: a skipped test must not look like one that ran.
    let line = format!("\n*** SKIPPED: {variable} is not set, recorded requests are not played back ***\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// The Messages requests of all recordings.
fn recorded(directory: &Path) -> Vec<Recorded> {
    let mut all = everything(directory);
    all.retain(Recorded::is_message);
    all
}

fn everything(directory: &Path) -> Vec<Recorded> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files.iter().flat_map(|path| requests_of(path)).collect()
}

fn requests_of(path: &Path) -> Vec<Recorded> {
    let file = path.file_stem().unwrap().to_string_lossy().into_owned();
    let content: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let list = content.as_array().or_else(|| content["requests"].as_array()).unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |(n, mut request): (usize, Value)| {
        let headers = request["headers"].as_array().unwrap().iter();
        Recorded {
            name: format!("{file}#{n}"),
            method: text(&request["method"]),
            headers: headers.map(|pair| (text(&pair[0]).to_ascii_lowercase(), text(&pair[1]))).collect(),
            path: text(&request["path"]),
            body: request["body"].take(),
        }
    };
    list.into_iter().enumerate().map(one).collect()
}

/// Thinking of earlier turns was signed by whoever answered the recording; here the simulator is the one who answers, and
/// it knows its own signatures alone. An empty signature stays: it stands for models that sign nothing.
fn sign_again(body: &mut Value) {
    let messages = body["messages"].as_array_mut().into_iter().flatten();
    for block in messages.filter_map(|message| message["content"].as_array_mut()).flatten() {
        if block["type"] == "thinking" && block["signature"].as_str().is_some_and(|own| !own.is_empty()) {
            block["signature"] = bedrock_sim::signature(block["thinking"].as_str().unwrap()).into();
        }
    }
}

async fn play(caller: &Caller, recorded: &Recorded, model: &str) -> Reply {
    let mut body = recorded.body.clone();
    body["model"] = model.into();
    sign_again(&mut body);
    with_headers(caller, recorded).header("x-outcrop-debug", "1").messages_at(&recorded.path, &body).await
}

fn with_headers(caller: &Caller, recorded: &Recorded) -> Caller {
    let played = recorded.headers.iter().filter(|(name, _)| !NOT_PLAYED.contains(&name.as_str()));
    played.fold(caller.clone(), |caller, (name, value)| caller.header(name, value))
}

/// What is wrong with an answer; nothing when it is whole.
fn fault(recorded: &Recorded, lane: &str, reply: &Reply) -> Option<String> {
    if recorded.has_server_tool() {
        let said = reply.text();
        let named = reply.status == 400 && said.contains("is not supported by this gateway");
        return (!named)
            .then(|| format!("a server tool must be refused by name, not {} {said}", reply.status));
    }
    if reply.status != 200 {
        return Some(format!("{} {}", reply.status, reply.text()));
    }
    if reply.header("x-outcrop-lane") != Some(lane) {
        return Some(format!("went by {:?}", reply.header("x-outcrop-lane")));
    }
    if !reply.complete {
        return Some("the reply was cut off".to_owned());
    }
    if recorded.body["stream"] != true {
        return (reply.json()["type"] != "message").then(|| reply.text());
    }
    let events = events(&reply.text());
    let ended = events.last().is_some_and(|(name, _)| name == "message_stop");
    let failed = events.iter().any(|(name, _)| name == "error");
    (failed || !ended).then(|| reply.text())
}

/// Runs the validator over what the simulator has received.
fn validate(validator: &Path, gateway: &Gateway, credentials: &str) -> Output {
    let captured: Vec<_> = gateway.sim.requests().iter().map(bedrock_sim::Captured::to_json).collect();
    assert!(!captured.is_empty());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("captures.ndjson");
    std::fs::write(&file, captured.join("\n") + "\n").unwrap();
    let mut python = Command::new("python3");
    python.arg(validator).arg("auto").arg(&file).args(["--model-rules", "error", "--sigv4", credentials]);
    python.output().unwrap()
}

fn assert_valid(output: &Output, requests: usize) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors: Vec<_> = said.lines().filter(|line| line.contains(": ERROR ")).collect();
    assert!(output.status.success(), "{}\n{}", errors.join("\n"), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("checked {requests}, errors 0")), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_request_is_served_by_both_lanes_and_what_goes_upstream_is_valid() {
    let Some(directory) = named_by("OUTCROP_RECORDINGS") else { return };
    let recorded = recorded(&directory);
    assert!(!recorded.is_empty(), "no recorded Messages request in {}", directory.display());
    let gateway = Gateway::with(Options::with(&[MAPPING])).await;
    let mut faults = Vec::new();
    for request in &recorded {
        for (lane, model) in [("native", request.claude()), ("converse", QWEN.to_owned())] {
            let reply = play(&gateway.caller(), request, &model).await;
            faults.extend(
                fault(request, lane, &reply)
                    .map(|why| format!("{} by {lane} ({model}): {why}", request.name)),
            );
        }
    }
    assert!(faults.is_empty(), "{} of {} failed:\n{}", faults.len(), 2 * recorded.len(), faults.join("\n"));
    let Some(validator) = named_by("OUTCROP_VALIDATOR") else { return };
    assert_valid(&validate(&validator, &gateway, "none:none"), gateway.sim.requests().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_request_is_served_by_the_messages_api_of_bedrock_too() {
    let Some(directory) = named_by("OUTCROP_RECORDINGS") else { return };
    let mut faults = Vec::new();
    for route in ["messages", "mantle"] {
        let routes = format!("--bedrock-routes={{\"*\":[\"{route}\"]}}");
        let gateway = Gateway::with(Options::with(&[MAPPING, &routes])).await;
        for request in recorded(&directory) {
            let model = request.claude();
            let reply = play(&gateway.caller(), &request, &model).await;
            faults.extend(
                fault(&request, "native", &reply)
                    .map(|why| format!("{} by {route} ({model}): {why}", request.name)),
            );
        }
    }
    assert!(faults.is_empty(), "{} failed:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_ask_of_other_routes_is_served_too() {
    let Some(directory) = named_by("OUTCROP_RECORDINGS") else { return };
    let gateway = Gateway::start().await;
    let mut served = 0;
    // The Responses API has recordings of its own, which belong to its own tests.
    let other = |request: &Recorded| !request.is_message() && !request.path.contains("/responses");
    for mut request in everything(&directory).into_iter().filter(other) {
        let caller = with_headers(&gateway.caller(), &request);
        sign_again(&mut request.body);
        let body = if request.method == "POST" { request.body.to_string() } else { String::new() };
        let mut paths = vec![request.path.clone()];
        if let Some((_, operation)) =
            request.path.strip_prefix("/model/").and_then(|rest| rest.rsplit_once('/'))
        {
            // The same for a model that is spoken to through Converse.
            paths.push(format!("/model/{QWEN}/{operation}"));
        }
        for path in paths {
            let reply = caller.request(&request.method, &path, body.as_bytes()).await;
            assert_eq!(reply.status, 200, "{} at {path}: {}", request.name, reply.text());
            assert!(reply.complete, "{} at {path}", request.name);
            let streamed = path.ends_with("-response-stream");
            let exception = streamed && reply.text().contains(":exception-type");
            assert!(!exception, "{} at {path}: {}", request.name, reply.text());
            served += 1;
        }
    }
    assert!(served > 50, "{served} requests of other routes");
}

/// The credentials that the simulator accepts, as a process finds them in its environment.
fn credentials() -> (String, String) {
    let accepted = bedrock_sim::Config::default();
    (accepted.access_key_id, accepted.secret_access_key)
}

/// Signed calls need credentials of the AWS chain, which reads the environment of the process: this program is started
/// once more with one that holds them.
#[test]
fn recorded_requests_are_signed_as_aws_wants_it() {
    if named_by("OUTCROP_RECORDINGS").is_none() || named_by("OUTCROP_VALIDATOR").is_none() {
        return;
    }
    let (id, secret) = credentials();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "signed_inside", "--ignored", "--nocapture"])
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_BEARER_TOKEN_BEDROCK")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by recorded_requests_are_signed_as_aws_wants_it, with credentials in the environment"]
async fn signed_inside() {
    let directory = named_by("OUTCROP_RECORDINGS").unwrap();
    let validator = named_by("OUTCROP_VALIDATOR").unwrap();
    let gateway = Gateway::with(Options { signed: true, ..Options::default() }).await;
    let mut served = 0;
    // Each call is signed in the same way: a few, of either lane, streamed and whole, show it.
    for request in recorded(&directory).iter().filter(|request| !request.has_server_tool()).step_by(12) {
        for model in [CLAUDE, QWEN] {
            let reply = play(&gateway.caller(), request, model).await;
            assert_eq!(reply.status, 200, "{}: {}", request.name, reply.text());
            served += 1;
        }
    }
    let requests = gateway.sim.requests();
    assert_eq!(requests.len(), served);
    for request in &requests {
        assert!(request.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 "));
    }
    let (id, secret) = credentials();
    assert_valid(&validate(&validator, &gateway, &format!("{id}:{secret}")), served);
}
