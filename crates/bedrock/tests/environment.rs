//! What the AWS environment variables decide. Each case runs in a process of its own: this test program again, with the
//! variables set and one test chosen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod support;

use std::process::Command;

use bedrock::{Client, Readiness, Settings};
use outcrop_bedrock as bedrock;
use support::{Do, Upstream, converse, ok};

/// Runs `child` below with these variables and none of ours.
fn run(variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--nocapture"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    command.env("AWS_EC2_METADATA_DISABLED", "true").envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
#[ignore = "run by the others, in a process of its own"]
async fn child() {
    let client = Client::connect(Settings::default()).await.unwrap();
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
        assert!(matches!(client.ready().await, Readiness::NoCredentials(_)));
        assert_eq!(client.region(), "us-east-1");
        return;
    }
    assert_eq!(client.ready().await, Readiness::Ready);
    client.send(&converse("{}")).await.unwrap();
}

#[test]
fn region_credentials_and_address_come_from_the_environment() {
    for name in ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"] {
        let upstream = Upstream::start([vec![Do::Read, Do::Send(ok("{}"))]]);
        let url = format!("http://{}", upstream.address);
        run(&[
            (name, &url),
            ("AWS_REGION", "ap-southeast-2"),
            ("AWS_ACCESS_KEY_ID", "AKIDENVIRONMENT"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ]);
        let seen = &upstream.seen()[0];
        let signed = seen.header("authorization").unwrap();
        assert!(
            signed.contains("AKIDENVIRONMENT/") && signed.contains("/ap-southeast-2/bedrock/"),
            "{signed}"
        );
        assert_eq!(seen.header("x-amz-security-token"), Some("token"));
    }
}

#[test]
fn a_client_starts_without_credentials_and_says_so() {
    run(&[]);
}
