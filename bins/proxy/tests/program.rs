//! The real binary: its flags, its messages, its signals.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outcrop-proxy"));
    // Nothing of this machine's settings decides a test.
    command.args(arguments).env_clear().current_dir(std::env::temp_dir());
    command
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    program(arguments).envs(environment.iter().copied()).output().unwrap()
}

/// A gateway with `--simulate`, its address and its key.
fn simulate() -> (Child, String, String) {
    simulate_with(&[])
}

fn simulate_with(arguments: &[&str]) -> (Child, String, String) {
    begin(program(SIMULATE).args(arguments).stderr(Stdio::null()))
}

const SIMULATE: &[&str] = &["--simulate", "--port=0", "--drain-grace-seconds=0", "--workers=1"];

fn begin(command: &mut Command) -> (Child, String, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let addr =
        lines.find_map(|line| Some(line.split_once("listening on http://")?.1.split(',').next()?.to_owned()));
    let key = lines.find_map(|line| line.trim().strip_prefix("sk-oc-").map(|rest| format!("sk-oc-{rest}")));
    // The rest is read too, so that the program can go on writing.
    std::thread::spawn(move || lines.for_each(drop));
    (child, addr.unwrap(), key.unwrap())
}

fn ask(addr: &str, key: &str) -> String {
    let body =
        r#"{"model":"claude-sonnet-4-6","max_tokens":50,"messages":[{"role":"user","content":"Hello"}]}"#;
    post(addr, "/v1/messages", key, body)
}

fn post(addr: &str, path: &str, key: &str, body: &str) -> String {
    let mut tcp = TcpStream::connect(addr).unwrap();
    write!(
        tcp,
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    tcp.read_to_string(&mut reply).unwrap();
    reply
}

fn metrics(addr: &str) -> String {
    let mut tcp = TcpStream::connect(addr).unwrap();
    write!(tcp, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    tcp.read_to_string(&mut metrics).unwrap();
    metrics
}

#[test]
fn simulate_prints_a_key_that_works_and_drains_on_sigterm() {
    let (mut child, addr, key) = simulate();
    let reply = ask(&addr, &key);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let port = addr.rsplit(':').next().unwrap();
    // By the environment as in a container, and by hand.
    assert!(run(&["healthcheck"], &[("PORT", port)]).status.success());
    assert!(run(&["--port", port, "healthcheck"], &[]).status.success());
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(!run(&["healthcheck"], &[("PORT", port)]).status.success());
}

#[test]
fn a_refusal_by_a_limit_is_counted_once() {
    let (mut child, addr, key) = simulate_with(&["--rate-limit-requests=1", "--rate-limit-window=3600"]);
    let replies: Vec<String> = (0..3).map(|_| ask(&addr, &key)).collect();
    let statuses: Vec<&str> = replies.iter().filter_map(|reply| reply.get(..12)).collect();
    assert_eq!(statuses, ["HTTP/1.1 200", "HTTP/1.1 429", "HTTP/1.1 429"]);
    let metrics = metrics(&addr);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(metrics.contains("outcrop_denials_total{kind=\"rate_limit\"} 2"), "{metrics}");
    let requests = "outcrop_requests_total{surface=\"messages\",status=\"429\",stream=\"false\"} 2";
    assert!(metrics.contains(requests), "{metrics}");
}

#[test]
fn what_each_target_did_is_counted() {
    let targets = r#"[{"name":"a","region":"us-east-1"},{"name":"b","region":"eu-west-1"}]"#;
    let (mut child, addr, key) = simulate_with(&[&format!("--bedrock-targets={targets}")]);
    assert!(ask(&addr, &key).starts_with("HTTP/1.1 200"));
    let metrics = metrics(&addr);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in [
        r#"outcrop_upstream_requests_total{target="a",model="anthropic.claude-sonnet-4-6",outcome="ok"} 1"#,
        r#"outcrop_target_state{target="a"} 1"#,
        r#"outcrop_target_state{target="b"} 1"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn a_wrong_value_stops_the_start_and_names_every_variable() {
    let output = run(&[], &[("PORT", "eighty"), ("STORE", "mysql"), ("MASTER_API_KEY", "fine")]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("PORT") && message.contains("STORE") && message.contains("eighty"), "{message}");
    assert!(!message.contains("MASTER_API_KEY"), "{message}");
}

#[test]
fn the_configuration_can_be_checked_and_printed_without_a_start() {
    let checked = run(&["--check-config"], &[]);
    assert!(checked.status.success());
    assert_eq!(run(&["--check-config"], &[("CORS_ALLOW_CREDENTIALS", "true")]).status.code(), Some(2));
    let printed = run(&["--print-config"], &[("MASTER_API_KEY", "canary"), ("PORT", "9")]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        text.contains("PORT=9") && text.contains("MASTER_API_KEY=***") && !text.contains("canary"),
        "{text}"
    );
}

#[test]
fn an_environment_file_is_read_and_the_real_environment_wins() {
    let file = std::env::temp_dir().join(format!("outcrop-proxy-test-{}.env", std::process::id()));
    std::fs::write(&file, "PORT=7001\nHOST=127.0.0.2\n").unwrap();
    let argument = format!("--env-file={}", file.display());
    let printed = run(&[&argument, "--print-config"], &[("PORT", "7002")]);
    std::fs::remove_file(&file).unwrap();
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(text.contains("PORT=7002") && text.contains("HOST=127.0.0.2"), "{text}");
    assert_eq!(run(&["--env-file=/nonexistent"], &[]).status.code(), Some(2));
}

#[test]
fn help_documents_every_setting() {
    let output = run(&["--help"], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    // Lines end where the width says.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for variable in ["PORT", "BEDROCK_REGION", "KEY_HASH_SECRET", "USAGE_SPOOL_DIR", "METRICS_ADDR"] {
        assert!(text.contains(&format!("[env: {variable}")), "{variable}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (mut child, addr, _) = simulate();
    let port = addr.rsplit(':').next().unwrap();
    let output = run(&["--store=memory"], &[("PORT", port)]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("PORT") && message.contains(port), "{message}");
}

/// A file of this test for what the program logs.
fn log_file(name: &str) -> (std::path::PathBuf, std::fs::File) {
    let path = std::env::temp_dir().join(format!("outcrop-proxy-{name}-{}.log", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    (path, file)
}

fn with_canaries(model: &str, wish: &str, more: &str) -> String {
    let call = r#"{"type":"tool_use","id":"toolu_1","name":"look","input":{"a":"canaryinput"}}"#;
    let result = r#"{"type":"tool_result","tool_use_id":"toolu_1","content":"canaryresult"}"#;
    format!(
        r#"{{"model":"{model}","max_tokens":50,"metadata":{{"user_id":"canaryuser"}},"system":"canarysystem","messages":[
            {{"role":"user","content":"canaryprompt"}},{{"role":"assistant","content":[{call}]}},
            {{"role":"user","content":[{result},{{"type":"text","text":"canarywish {wish}"}}]}}]{more}}}"#
    )
}

#[test]
fn no_log_no_metric_and_no_refusal_holds_a_key_a_secret_a_prompt_or_an_answer() {
    let (path, log) = log_file("canaries");
    let secrets = ["canary-master-key-of-this-gateway", "canary-hash-secret-of-thirty-two-bytes"];
    let (mut child, addr, key) = begin(
        program(SIMULATE)
            .args(["--log-level=trace", "--log-format=json"])
            .args([format!("--master-api-key={}", secrets[0]), format!("--key-hash-secret={}", secrets[1])])
            .stderr(log),
    );
    let mut told = Vec::new();
    for model in ["claude-sonnet-4-6", "qwen.qwen3-coder-480b-a35b-v1:0"] {
        for (wish, more, status) in [
            ("sim:words=9", "", 200),
            ("sim:words=9", r#","stream":true"#, 200),
            // Refused by us and by the upstream, failed there before and after the first byte.
            ("", r#","tools":[{"name":"canarytool"},{"name":"canarytool"}]"#, 400),
            ("sim:error=404", "", 404),
            ("sim:error=500", "", 500),
            ("sim:midstream=internalServerException@2", r#","stream":true"#, 200),
        ] {
            let reply = post(&addr, "/v1/messages", &key, &with_canaries(model, wish, more));
            assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{model} {wish}: {reply}");
            if status != 200 {
                told.push(reply.replace("canarytool", "the tool that the refusal is about"));
            }
        }
    }
    let body = r#"{"model":"claude-sonnet-4-6","max_tokens":5,"messages":"canarybroken"#;
    told.push(post(&addr, "/v1/messages", &key, body));
    for wrong in ["canary-key", "sk-oc-canarycanarycanarycanarycanarycanarycanarycanary1", secrets[0]] {
        told.push(post(&addr, "/v1/messages?key=canaryquery", wrong, body));
    }
    told.push(metrics(&addr));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(
        log.lines().filter(|line| line.contains("\"status\":")).count() >= 14,
        "the requests are logged: {log}"
    );
    let shown = &key[6..];
    told.push(log);
    for text in told {
        let lines =
            text.lines().filter(|line| line.to_lowercase().contains("canary") || line.contains(shown));
        assert_eq!(lines.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

#[test]
fn a_log_that_cannot_be_written_stops_no_request_and_is_counted() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (mut child, addr, key) = begin(program(SIMULATE).stderr(full));
    let lost = || {
        let metrics = metrics(&addr);
        let line = metrics.lines().find_map(|line| line.strip_prefix("outcrop_log_lines_lost_total "));
        line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap()
    };
    for _ in 0..3 {
        assert!(ask(&addr, &key).starts_with("HTTP/1.1 200"));
    }
    while lost() < 3 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(ask(&addr, &key).starts_with("HTTP/1.1 200"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn without_file_descriptors_the_program_waits_and_goes_on_when_there_are_some() {
    let (path, log) = log_file("descriptors");
    let mut command = Command::new("/bin/sh");
    let shell = "ulimit -n 128; exec \"$0\" \"$@\"";
    command.args(["-c", shell, env!("CARGO_BIN_EXE_outcrop-proxy")]).args(SIMULATE).env_clear();
    let (mut child, addr, key) = begin(command.current_dir(std::env::temp_dir()).stderr(log));
    assert!(ask(&addr, &key).starts_with("HTTP/1.1 200"));
    let refused = || std::fs::read_to_string(&path).unwrap().matches("could not be accepted").count();
    let begin = std::time::Instant::now();
    let crowd: Vec<_> = (0..300).map(|_| TcpStream::connect(&addr).unwrap()).collect();
    while refused() < 3 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // It looks again after a pause, fifty milliseconds long, and does not spin.
    let (times, most) = (refused(), begin.elapsed().as_millis() / 50 + 1);
    assert!(times as u128 <= most, "{times} in {:?}", begin.elapsed());
    drop(crowd);
    assert!(ask(&addr, &key).starts_with("HTTP/1.1 200"));
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(&path).unwrap();
}
