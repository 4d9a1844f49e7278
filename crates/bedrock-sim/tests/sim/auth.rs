//! Who is let in: signatures by AWS's own signer, API keys, and everyone else.
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use outcrop_bedrock_sim::{Config, Sim};

use crate::common::{QWEN, Reply, post, send, sim, sim_with};

const BODY: &[u8] = br#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;

/// What to sign a request with.
struct Signer<'s> {
    key: &'s str,
    secret: &'s str,
    token: Option<&'s str>,
    region: &'s str,
    service: &'s str,
    time: SystemTime,
}

impl Signer<'_> {
    fn good() -> Self {
        Self {
            key: "AKIASIMULATOR0000000",
            secret: "simulated/secret/access/key/000000000000",
            token: None,
            region: "us-east-1",
            service: "bedrock",
            time: SystemTime::now(),
        }
    }

    async fn send(&self, sim: &Sim, path: &str, signed_body: &[u8]) -> Reply {
        let credentials =
            Credentials::new(self.key, self.secret, self.token.map(str::to_owned), None, "test");
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(self.time)
            .settings(SigningSettings::default())
            .build()
            .expect("complete")
            .into();
        let url = format!("{}{path}", sim.url());
        let headers = [("content-type", "application/json")];
        let request =
            SignableRequest::new("POST", url, headers.into_iter(), SignableBody::Bytes(signed_body));
        let (instructions, _) = sign(request.expect("valid"), &params).expect("signs").into_parts();
        let mut all = headers.to_vec();
        all.extend(instructions.headers());
        send(sim, "POST", path, &all, BODY).await
    }
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

#[tokio::test]
async fn good_signatures_pass_whatever_the_path_holds() {
    let sim = sim_with(Config { region: Some("us-east-1".to_owned()), ..Config::default() }).await;
    let good = Signer::good();
    for id in [
        "qwen.qwen3-coder-480b-a35b-v1:0",
        "qwen.qwen3-coder-480b-a35b-v1%3A0",
        "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-opus-5",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.anthropic.claude-opus-5",
    ] {
        let reply = good.send(&sim, &format!("/model/{id}/converse"), BODY).await;
        assert_eq!(reply.status, 200, "{id}: {}", String::from_utf8_lossy(&reply.body));
    }
}

#[tokio::test]
async fn wrong_signatures_are_told_apart() {
    let sim = sim_with(Config { region: Some("us-east-1".to_owned()), ..Config::default() }).await;
    let path = format!("/model/{QWEN}/converse");
    let check = async |signer: Signer<'_>, body: &[u8], kind: &str, text: &str| {
        let reply = signer.send(&sim, &path, body).await;
        assert_eq!((reply.status, reply.kind()), (403, kind));
        assert!(reply.message().starts_with(text), "{}", reply.message());
    };
    let good = Signer::good;
    let unknown = "The security token included in the request is invalid.";
    check(Signer { key: "AKIAOTHER", ..good() }, BODY, "UnrecognizedClientException", unknown).await;
    check(Signer { token: Some("t"), ..good() }, BODY, "UnrecognizedClientException", unknown).await;
    check(Signer { secret: "other", ..good() }, BODY, "InvalidSignatureException", MISMATCH).await;
    check(good(), b"another body", "InvalidSignatureException", MISMATCH).await;
    check(
        Signer { service: "s3", ..good() },
        BODY,
        "InvalidSignatureException",
        "Credential should be scoped to correct service: 'bedrock'.",
    )
    .await;
    check(
        Signer { region: "eu-west-1", ..good() },
        BODY,
        "InvalidSignatureException",
        "Credential should be scoped to a valid region.",
    )
    .await;
    let minute = Duration::from_mins(1);
    check(
        Signer { time: SystemTime::now() - 6 * minute, ..good() },
        BODY,
        "InvalidSignatureException",
        "Signature expired: ",
    )
    .await;
    check(
        Signer { time: SystemTime::now() + 6 * minute, ..good() },
        BODY,
        "InvalidSignatureException",
        "Signature not yet current: ",
    )
    .await;
}

#[tokio::test]
async fn a_session_token_is_required_where_one_is_set() {
    let sim = sim_with(Config { session_token: Some("session".to_owned()), ..Config::default() }).await;
    let path = format!("/model/{QWEN}/converse");
    let good = Signer { token: Some("session"), ..Signer::good() };
    assert_eq!(good.send(&sim, &path, BODY).await.status, 200);
    assert_eq!(Signer::good().send(&sim, &path, BODY).await.kind(), "UnrecognizedClientException");
}

#[tokio::test]
async fn api_keys_pass_and_strangers_do_not() {
    let sim = sim().await;
    let path = format!("/model/{QWEN}/converse");
    let body = std::str::from_utf8(BODY).expect("text");
    assert_eq!(post(&sim, &path, body).await.status, 200);
    let wrong = send(&sim, "POST", &path, &[("authorization", "Bearer nope")], BODY).await;
    assert_eq!((wrong.status, wrong.kind()), (403, "AccessDeniedException"));
    assert_eq!(
        wrong.json(),
        serde_json::json!({"Message": "Authentication failed: Please make sure your API Key is valid."})
    );
    let none = send(&sim, "POST", &path, &[], BODY).await;
    assert_eq!(none.status, 403);
    assert_eq!(none.json(), serde_json::json!({"Message": "Authorization header is missing"}));
    let broken = send(&sim, "POST", &path, &[("authorization", "AWS4-HMAC-SHA256 nonsense")], BODY).await;
    assert_eq!((broken.status, broken.kind()), (403, "IncompleteSignatureException"));
}

#[tokio::test]
async fn a_profile_of_another_geography_is_unknown() {
    let sim = sim_with(Config { region: Some("eu-west-1".to_owned()), ..Config::default() }).await;
    let body = std::str::from_utf8(BODY).expect("text");
    assert_eq!(post(&sim, "/model/eu.anthropic.claude-opus-5/converse", body).await.status, 200);
    let reply = post(&sim, "/model/us.anthropic.claude-opus-5/converse", body).await;
    assert_eq!(reply.message(), "The provided model identifier is invalid.");
}
