//! Roles of other accounts: assumed at a small STS that knows whom it trusts. The SDK's chain reads the environment of the
//! process, so each test starts this program once more.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bedrock_sim::{Config, Sim};
use outcrop_tests::{CLAUDE, Caller, Gateway, Options, hello};
use serde_json::json;
use store::Timestamp;

const SECRET: &str = "role/secret/0000000000000000000000000000";

/// Speaks AssumeRole of <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>: roles named `open` need the
/// external id `ours`, those named `brief` last too short to be used twice, everything else is denied.
struct Sts {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Sts {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&log);
                std::thread::spawn(move || serve(tcp, &log));
            }
        });
        Self { address, asked }
    }

    fn asked(&self, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|form| form.contains(part)).count()
    }
}

/// One request a connection.
fn serve(mut tcp: TcpStream, log: &Mutex<Vec<String>>) {
    let mut raw = String::new();
    let mut buffer = [0; 4096];
    let form = loop {
        let read = tcp.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            return;
        }
        raw.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let Some((head, body)) = raw.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or(0) {
            break body.to_owned();
        }
    };
    log.lock().unwrap().push(form.clone());
    let (status, body) = answer(&form);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let _ = tcp.write_all(format!("{head}{body}").as_bytes());
}

fn answer(form: &str) -> (&'static str, String) {
    let open = form.contains("role%2Fopen") && form.contains("ExternalId=ours");
    let brief = form.contains("role%2Fbrief");
    if !open && !brief {
        let error = "<Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message>";
        return ("403 Forbidden", format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let left = if brief { 9_000 } else { 3_600_000 };
    let expires = Timestamp::from_unix_millis(i64::try_from(now).unwrap() + left);
    let role = if open { "OPEN" } else { "BRIEF" };
    let credentials = format!(
        "<AccessKeyId>ASIA{role}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
         <SessionToken>token-{role}</SessionToken><Expiration>{expires}</Expiration>"
    );
    let body = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <Credentials>{credentials}</Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    ("200 OK", body)
}

/// Runs a test of this program in a process whose chain finds credentials and whose STS is ours.
fn run(test: &str) -> Sts {
    let sts = Sts::start();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("AWS_ACCESS_KEY_ID", "AKIAGATEWAY")
        .env("AWS_SECRET_ACCESS_KEY", "gateway/secret")
        .env("AWS_ENDPOINT_URL_STS", format!("http://{}", sts.address))
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_BEARER_TOKEN_BEDROCK")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    sts
}

/// The Bedrock of the account that a role is of: it takes the credentials of that role alone.
async fn account(role: &str) -> Sim {
    let config = Config {
        access_key_id: format!("ASIA{role}"),
        secret_access_key: SECRET.to_owned(),
        session_token: Some(format!("token-{role}")),
        record: true,
        ..Config::default()
    };
    Sim::start(config).await.unwrap()
}

fn role(name: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{name}")
}

#[test]
fn a_denied_role_fails_its_own_target_alone() {
    let sts = run("denied_inside");
    assert_eq!(sts.asked("role%2Fopen"), 1, "assumed once, and kept");
    let form = "RoleSessionName=gateway-7&";
    assert_eq!(sts.asked(form), sts.asked("Action=AssumeRole"), "{:?}", sts.asked.lock().unwrap());
    assert_eq!(sts.asked("ExternalId=ours"), 1);
    assert_eq!(sts.asked("DurationSeconds=900"), sts.asked("Action=AssumeRole"));
    assert!(sts.asked("role%2Fclosed") >= 1);
}

#[tokio::test]
#[ignore = "run by a_denied_role_fails_its_own_target_alone, with an STS in the environment"]
async fn denied_inside() {
    let (open, closed) = (account("OPEN").await, account("CLOSED").await);
    let targets = json!([
        { "name": "closed", "region": "eu-west-1", "endpoint_url": closed.url(), "role_arn": role("closed"), "weight": 1 },
        { "name": "open", "region": "us-east-1", "endpoint_url": open.url(), "role_arn": role("open"), "external_id": "ours" },
    ]);
    let settings = [
        &format!("--bedrock-targets={targets}"),
        "--bedrock-role-session-name=gateway-7",
        "--bedrock-role-duration-seconds=900",
        "--debug-headers=true",
    ];
    let gateway = Gateway::with(Options { signed: true, ..Options::with_keys(&settings) }).await;
    assert_eq!(gateway.caller().get("/health/ready").await.status, 200, "one target is enough");
    for stream in [false, true] {
        let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", stream)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-outcrop-target"), Some("open"));
    }
    assert_eq!(closed.requests().len(), 0, "what cannot be signed is not sent");
    let (key, _) = gateway.key_with(|record| record.target = Some("closed".to_owned())).await;
    let reply = Caller::new(gateway.addr, &key).messages(&hello(CLAUDE, "Hi", false)).await;
    assert_eq!((reply.status, reply.error().0.as_str()), (502, "api_error"));
    assert!(!reply.text().contains("123456789012"), "{}", reply.text());
    let health = gateway.caller().get("/health").await.json();
    let states: Vec<_> = health["services"]["bedrock"]["targets"].as_array().unwrap().iter().collect();
    assert_eq!((&states[0]["status"], &states[1]["status"]), (&json!("unavailable"), &json!("healthy")));
}

#[test]
fn credentials_that_are_about_to_end_are_replaced_before_they_do() {
    let sts = run("brief_inside");
    assert_eq!(sts.asked("role%2Fbrief"), 2, "once for each request");
}

#[tokio::test]
#[ignore = "run by credentials_that_are_about_to_end_are_replaced_before_they_do, with an STS in the environment"]
async fn brief_inside() {
    let sim = account("BRIEF").await;
    let settings = [
        &format!("--bedrock-cross-account-role-arn={}", role("brief")),
        &format!("--bedrock-endpoint-url={}", sim.url()),
    ];
    let settings: Vec<&str> = settings.iter().map(|setting| setting.as_str()).collect();
    let gateway = Gateway::with(Options { signed: true, ..Options::with(&settings) }).await;
    for _ in 0..2 {
        let reply = gateway.caller().messages(&hello(CLAUDE, "Hi", false)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(gateway.rows(2).await[0].target, "default");
}
