//! The client against the strict simulator: every operation signed and read back, and AWS's service model as the judge.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use bedrock_sim::{Config, Fault, Sim};
use http::{HeaderName, HeaderValue};
use outcrop_bedrock::{Call, Client, CredentialsSource, Kind, Operation, Settings, Site};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-6";
const QWEN: &str = "qwen.qwen3-coder-480b-a35b-v1:0";
const CONVERSE: &str = r#"{"messages":[{"role":"user","content":[{"text":"Hello"}]}],"inferenceConfig":{"maxTokens":50,"temperature":0.7}}"#;
const INVOKE: &str = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}"#;
const COUNT: &str = r#"{"input":{"converse":{"messages":[{"role":"user","content":[{"text":"Hello"}]}]}}}"#;

async fn sim() -> Sim {
    Sim::start(Config { record: true, region: Some("us-east-1".into()), ..Config::default() }).await.unwrap()
}

fn settings(sim: &Sim) -> Settings {
    let accepted = Config::default();
    Settings {
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(sim.url()),
        mantle_endpoint_url: Some(sim.mantle_url()),
        credentials: CredentialsSource::Static {
            access_key_id: accepted.access_key_id,
            secret_access_key: accepted.secret_access_key.into(),
            session_token: None,
        },
        retry_base: Duration::from_millis(1),
        retry_budget_percent: 100,
        ..Settings::default()
    }
}

fn call<'a>(operation: Operation, model_id: &'a str, body: &'static str) -> Call<'a> {
    Call { operation, model_id, body: body.into(), headers: &[] }
}

async fn client(sim: &Sim) -> Client {
    Client::connect(settings(sim)).await.unwrap()
}

#[tokio::test]
async fn every_operation_is_signed_as_aws_wants_it_and_read_back() {
    let sim = sim().await;
    let client = client(&sim).await;
    let unary = [
        (Operation::Converse, QWEN, CONVERSE),
        (Operation::InvokeModel, CLAUDE, INVOKE),
        (Operation::CountTokens, "anthropic.claude-sonnet-4-20250514-v1:0", COUNT),
    ];
    for (operation, model, body) in unary {
        let reply = client.send(&call(operation, model, body)).await.unwrap();
        assert_eq!(reply.status, 200, "{operation:?}");
        assert!(reply.request_id.is_some() && reply.attempts == 1);
        assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap().is_object());
    }
    let streams = [
        (Operation::ConverseStream, QWEN, CONVERSE, "metadata"),
        (Operation::InvokeModelWithResponseStream, CLAUDE, INVOKE, "chunk"),
    ];
    for (operation, model, body, last) in streams {
        let mut stream = client.stream(&call(operation, model, body)).await.unwrap();
        let mut names = Vec::new();
        while let Some(frame) = stream.next().await {
            names.push(frame.unwrap().event_type.into_owned());
        }
        assert_eq!(names.last().map(String::as_str), Some(last), "{operation:?}");
    }
    judge(&sim);
}

/// One call of the Messages API: an endpoint, and whether a stream is asked for.
struct Messages {
    site: Site,
    stream: bool,
    headers: [(HeaderName, HeaderValue); 2],
}

impl Messages {
    fn new(site: Site, stream: bool) -> Self {
        let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let flag = "fine-grained-tool-streaming-2025-05-14";
        let headers = [header("anthropic-version", "2023-06-01"), header("anthropic-beta", flag)];
        Self { site, stream, headers }
    }

    fn call(&self, said: &str) -> Call<'_> {
        let model = match self.site {
            Site::Runtime => CLAUDE,
            Site::Mantle => "anthropic.claude-sonnet-4-6",
        };
        let (site, stream) = (self.site, self.stream);
        let body = format!(
            r#"{{"model":"{model}","max_tokens":50,"stream":{stream},"messages":[{{"role":"user","content":"{said}"}}]}}"#
        );
        Call {
            operation: Operation::Messages { site, stream },
            model_id: model,
            body: body.into(),
            headers: &self.headers,
        }
    }
}

const SITES: [Site; 2] = [Site::Runtime, Site::Mantle];

#[tokio::test]
async fn the_messages_api_of_each_endpoint_is_signed_for_its_own_service() {
    let sim = sim().await;
    let client = client(&sim).await;
    for site in SITES {
        let whole = client.send(&Messages::new(site, false).call("Reply with exactly: pong")).await.unwrap();
        assert!(String::from_utf8_lossy(&whole.body).contains("pong"), "{site:?}");
        assert!(whole.request_id.is_some());
        // Cut into single bytes on the way, it is the same stream.
        for said in ["Reply with exactly: pong", "sim:bytes Reply with exactly: pong"] {
            let mut stream = client.stream(&Messages::new(site, true).call(said)).await.unwrap();
            let mut names = Vec::new();
            while let Some(event) = stream.next().await {
                let event = event.unwrap();
                let data: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
                assert_eq!(data["type"], event.event_type.as_ref());
                names.push(event.event_type.into_owned());
            }
            assert_eq!(names.first().map(String::as_str), Some("message_start"), "{site:?}");
            assert_eq!(names.last().map(String::as_str), Some("message_stop"), "{site:?}");
        }
    }
}

#[tokio::test]
async fn refusals_of_the_messages_api_have_their_kind_in_either_form() {
    let sim = sim().await;
    let client = client(&sim).await;
    for site in SITES {
        for stream in [false, true] {
            let messages = Messages::new(site, stream);
            let call = Call { body: r#"{"max_tokens":1,"messages":[]}"#.into(), ..messages.call("") };
            let error =
                if stream { client.stream(&call).await.err() } else { client.send(&call).await.err() };
            let error = error.unwrap();
            assert_eq!((error.kind, error.message.as_str()), (Kind::Validation, "model: Field required"));
        }
        let mut broken =
            client.stream(&Messages::new(site, true).call("sim:midstream=x@2 hi")).await.unwrap();
        let mut seen = 0;
        let error = loop {
            match broken.next().await.unwrap() {
                Ok(_) => seen += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((seen, error.kind), (2, Kind::InternalServer));
        assert!(broken.next().await.is_none());
    }
}

/// Asks the script that knows AWS's service model about everything the simulator was sent.
fn judge(sim: &Sim) {
    let Some(script) = std::env::var_os("OUTCROP_VALIDATOR") else {
        assert!(std::env::var_os("CI").is_none(), "CI must name the validator in OUTCROP_VALIDATOR");
        eprintln!("SKIPPED: OUTCROP_VALIDATOR is not set, so nobody judges our requests");
        return;
    };
    let accepted = Config::default();
    let captures: Vec<String> = sim.requests().iter().map(bedrock_sim::Captured::to_json).collect();
    let mut judge = Command::new("python3")
        .arg(script)
        .args(["auto", "-", "--model-rules", "error", "--sigv4"])
        .arg(format!("{}:{}", accepted.access_key_id, accepted.secret_access_key))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    judge.stdin.take().unwrap().write_all(format!("[{}]", captures.join(",")).as_bytes()).unwrap();
    let said = judge.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

#[tokio::test]
async fn a_wrong_secret_and_a_wrong_region_are_our_own_fault() {
    let sim = sim().await;
    let wrong_secret = Settings {
        credentials: CredentialsSource::Static {
            access_key_id: Config::default().access_key_id,
            secret_access_key: "wrong".into(),
            session_token: None,
        },
        ..settings(&sim)
    };
    let wrong_region = Settings { region: Some("eu-west-1".to_owned()), ..settings(&sim) };
    for settings in [wrong_secret, wrong_region] {
        let client = Client::connect(settings).await.unwrap();
        let error = client.send(&call(Operation::Converse, QWEN, CONVERSE)).await.unwrap_err();
        assert_eq!(error.kind, Kind::Credentials, "{error:?}");
    }
}

#[tokio::test]
async fn faults_of_the_service_come_out_as_what_they_are() {
    let sim = sim().await;
    let client = client(&sim).await;
    let converse = call(Operation::ConverseStream, QWEN, CONVERSE);
    sim.script("", vec![Fault::throttle(), Fault::unavailable()]);
    assert_eq!(client.stream(&converse).await.unwrap().attempts(), 3);
    sim.script("", vec![Fault::mid_stream("modelStreamErrorException", 2)]);
    let mut stream = client.stream(&converse).await.unwrap();
    let mut last = None;
    while let Some(frame) = stream.next().await {
        last = Some(frame);
    }
    assert_eq!(last.unwrap().unwrap_err().kind, Kind::ModelStream);
    let refused = call(Operation::Converse, QWEN, r#"{"messages":[],"unknown":1}"#);
    assert_eq!(client.send(&refused).await.unwrap_err().kind, Kind::Validation);
}

/// Profiles of an account, one a region, and a model behind each.
const PROFILE: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
const ELSEWHERE: &str = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/def456";

async fn sim_with_profiles(bearer: &str) -> Sim {
    let own = |arn: &str, id: &str| (arn.to_owned(), id.to_owned());
    let config = Config {
        record: true,
        bearer_tokens: vec![bearer.to_owned()],
        profiles: vec![own(PROFILE, CLAUDE), own(ELSEWHERE, QWEN)],
        ..Config::default()
    };
    Sim::start(config).await.unwrap()
}

#[tokio::test]
async fn the_models_behind_a_profile_are_asked_for_in_its_region_signed_or_with_a_key() {
    let sim = sim_with_profiles("ABSKtest").await;
    let signing = client(&sim).await;
    let bearing = Settings { bearer_token: Some("ABSKtest".into()), ..settings(&sim) };
    let bearing = Client::connect(bearing).await.unwrap();
    for client in [&signing, &bearing] {
        let models = client.models_behind(PROFILE, "us-east-1").await.unwrap();
        assert_eq!(models[0], "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6");
        let models = client.models_behind(ELSEWHERE, "eu-west-1").await.unwrap();
        assert_eq!(models.len(), 1);
    }
    let asked = sim.requests();
    let escaped = PROFILE.replace(':', "%3A").replace('/', "%2F");
    assert!(asked.iter().all(|request| request.method == "GET" && request.body.is_empty()));
    assert_eq!(asked[0].path, format!("/inference-profiles/{escaped}"));
    for (request, region) in asked.iter().zip(["us-east-1", "eu-west-1"]) {
        let signed = request.header("authorization").unwrap();
        assert!(signed.contains(&format!("/{region}/bedrock/aws4_request")), "{signed}");
        assert_eq!(request.header("content-type"), None);
    }
    assert_eq!(asked[2].header("authorization"), Some("Bearer ABSKtest"));
}

#[tokio::test]
async fn the_control_plane_is_asked_twice_at_most_and_its_refusals_come_out_as_what_they_are() {
    let sim = sim_with_profiles("ABSKtest").await;
    let client = client(&sim).await;
    let control = "/inference-profiles/*";
    sim.script(control, vec![Fault::throttle()]);
    assert!(client.models_behind(PROFILE, "us-east-1").await.is_ok());
    sim.script(control, vec![Fault::throttle(); 2]);
    let error = client.models_behind(PROFILE, "us-east-1").await.unwrap_err();
    assert_eq!((error.kind, error.attempts), (Kind::Throttling, 2));
    assert_eq!(sim.requests().len(), 4);
    let denial = Fault::error(403, "AccessDeniedException", "no");
    sim.script(control, vec![denial]);
    assert_eq!(client.models_behind(PROFILE, "us-east-1").await.unwrap_err().kind, Kind::AccessDenied);
    let missing = client.models_behind(&PROFILE.replace("abc", "xyz"), "us-east-1").await.unwrap_err();
    assert_eq!(missing.kind, Kind::NotFound);
    for (profile, region) in [("", "us-east-1"), ("..", "us-east-1")] {
        assert_eq!(client.models_behind(profile, region).await.unwrap_err().kind, Kind::Validation);
    }
}

#[tokio::test]
async fn a_runtime_address_that_is_not_this_machines_is_not_taken_for_the_control_plane() {
    let sim = sim_with_profiles("ABSKtest").await;
    // Nobody is at this address, and nobody is asked there.
    let runtime = Some("http://192.0.2.1:9".to_owned());
    let apart = Settings { endpoint_url: runtime, control_endpoint_url: Some(sim.url()), ..settings(&sim) };
    let client = Client::connect(apart).await.unwrap();
    assert!(client.models_behind(PROFILE, "us-east-1").await.is_ok());
    // The region becomes part of a host's name.
    let at_aws = Settings { endpoint_url: Some("http://192.0.2.1:9".to_owned()), ..settings(&sim) };
    let client = Client::connect(at_aws).await.unwrap();
    let error = client.models_behind(PROFILE, "evil.example/").await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Connect, "The AWS region is not a region name."));
}
