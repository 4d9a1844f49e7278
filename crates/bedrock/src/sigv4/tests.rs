use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use proptest::prelude::*;

use super::*;

const HOST: &str = "bedrock-runtime.eu-west-1.amazonaws.com";
const JSON: &str = "application/json";

/// What AWS's own signer puts into the header for the same request.
fn by_aws(token: Option<&str>, request: &Request<'_>, seconds: u64) -> String {
    let credentials =
        Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token.map(str::to_owned), None, "test");
    let identity = credentials.into();
    let mut settings = SigningSettings::default();
    // `user-agent` and the like are not given to it; it signs what it is given.
    settings.excluded_headers = None;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("bedrock")
        .time(UNIX_EPOCH + Duration::from_secs(seconds))
        .settings(settings)
        .build()
        .unwrap();
    let Request { method, path, content_type, extra, body, .. } = *request;
    let headers = [("host", HOST)]
        .into_iter()
        .chain(content_type.map(|kind| ("content-type", kind)))
        .chain(extra.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())));
    let request =
        SignableRequest::new(method, format!("https://{HOST}{path}"), headers, SignableBody::Bytes(body))
            .unwrap();
    let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
    let (headers, _) = instructions.into_parts();
    headers.iter().find(|header| header.name() == "authorization").unwrap().value().to_owned()
}

fn by_us(token: Option<&str>, request: &Request<'_>, seconds: u64) -> String {
    let identity = Identity::new(
        "AKIDEXAMPLE".into(),
        "wJalrXUtnFEMI/K7MDENG".into(),
        token.map(Secret::from),
        "eu-west-1".into(),
    );
    let mut out = Vec::new();
    authorize(&identity, request, &Stamp::from_unix(seconds), &mut out);
    String::from_utf8(out).unwrap()
}

fn post<'a>(path: &'a str, extra: &'a [(HeaderName, HeaderValue)], body: &'a [u8]) -> Request<'a> {
    Request { site: Site::Runtime, method: "POST", path, host: HOST, content_type: Some(JSON), extra, body }
}

fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

#[test]
fn signatures_equal_those_of_the_aws_signer() {
    let paths = [
        "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc/converse-stream",
        "/base/model/a.b_c~d-e/converse",
        "/model/%C3%A9%20%25/count-tokens",
    ];
    let extras = [
        vec![],
        vec![header("x-amzn-bedrock-service-tier", "flex")],
        vec![
            header("x-amzn-bedrock-trace", "ENABLED"),
            header("anthropic-version", "2023-06-01"),
            header("anthropic-beta", "a,b"),
        ],
        vec![
            header("x-amzn-bedrock-trace", "ENABLED"),
            header("x-amzn-bedrock-guardrailidentifier", "  two   spaces "),
            header("x-amzn-bedrock-request-metadata", r#"{"team":"a, b"}"#),
        ],
    ];
    for path in paths {
        for extra in &extras {
            for token in [None, Some("IQoJb3JpZ2luX2VjEA//+==")] {
                for body in [&b""[..], b"{}", &[0xff; 3000]] {
                    for seconds in [0, 951_782_399, 951_782_400, 1_795_248_000, 4_102_444_799] {
                        let request = post(path, extra, body);
                        assert_eq!(
                            by_us(token, &request, seconds),
                            by_aws(token, &request, seconds),
                            "{path} {extra:?} {token:?} {seconds}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_request_without_a_body_is_signed_without_a_content_type() {
    let path = "/inference-profiles/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aa%2Fb";
    let get = Request { method: "GET", content_type: None, ..post(path, &[], b"") };
    for token in [None, Some("IQoJb3JpZ2luX2VjEA//+==")] {
        let ours = by_us(token, &get, 1_795_248_000);
        assert_eq!(ours, by_aws(token, &get, 1_795_248_000));
        assert!(ours.contains("SignedHeaders=host;x-amz-date"), "{ours}");
    }
}

/// RFC 4231, cases 2 and 6: a short key, and one longer than a block.
#[test]
fn the_keyed_hash_is_that_of_the_rfc() {
    let hex = |key: &[u8], text: &[u8]| {
        let mut out = Vec::new();
        push_hex(&mut out, &HmacKey::new(key).sign(text));
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        hex(b"Jefe", b"what do ya want for nothing?"),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        hex(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
}

#[test]
fn a_new_day_has_a_new_key() {
    let identity = Identity::new("A".into(), "s".into(), None, "eu-west-1".into());
    let sign_at = |seconds| {
        let mut out = Vec::new();
        authorize(&identity, &post("/", &[], b""), &Stamp::from_unix(seconds), &mut out);
        String::from_utf8(out).unwrap()
    };
    let (first, second, again) = (sign_at(86_399), sign_at(86_400), sign_at(86_399));
    assert!(first.contains("/19700101/") && second.contains("/19700102/"));
    assert_eq!(first, again);
}

proptest! {
    #[test]
    fn any_model_id_body_and_moment_sign_as_aws_does(
        id in "[ -~é]{1,40}",
        body in proptest::collection::vec(any::<u8>(), 0..200),
        seconds in 0_u64..4_102_444_800,
        token in proptest::option::of("[!-~]{1,60}"),
    ) {
        prop_assume!(id != "." && id != "..");
        let mut path = String::from("/model/");
        crate::call::push_escaped(&mut path, id.as_bytes());
        path.push_str("/converse");
        let request = post(&path, &[], &body);
        prop_assert_eq!(
            by_us(token.as_deref(), &request, seconds),
            by_aws(token.as_deref(), &request, seconds)
        );
    }
}
