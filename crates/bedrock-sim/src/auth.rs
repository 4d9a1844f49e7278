//! Who is calling: SigV4 signatures, recomputed with AWS's own signer, and Bedrock API keys.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderMap, Method};

use crate::reject::Reject;
use crate::routes::MANTLE;

/// How far a request's clock may be off.
const SKEW: Duration = Duration::from_mins(5);

/// What is accepted.
pub(crate) struct Accepted {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
    pub(crate) bearer_tokens: Vec<String>,
    pub(crate) region: Option<String>,
}

/// The parts of a request that a signature covers.
pub(crate) struct Signed<'r> {
    pub(crate) method: &'r Method,
    /// Path and query as they stand on the wire.
    pub(crate) target: &'r str,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) body: &'r [u8],
}

impl Signed<'_> {
    fn service(&self) -> &'static str {
        if self.target.starts_with(MANTLE) { "bedrock-mantle" } else { "bedrock" }
    }
}

/// The parts of an `Authorization: AWS4-HMAC-SHA256 …` header.
struct Claim<'h> {
    key: &'h str,
    day: &'h str,
    region: &'h str,
    service: &'h str,
    signed: &'h str,
    signature: &'h str,
}

impl<'h> Claim<'h> {
    fn parse(header: &'h str) -> Option<Self> {
        let mut claim = Self { key: "", day: "", region: "", service: "", signed: "", signature: "" };
        for part in header.strip_prefix("AWS4-HMAC-SHA256 ")?.split(',') {
            match part.trim().split_once('=')? {
                ("Credential", scope) => {
                    let mut pieces = scope.split('/');
                    claim.key = pieces.next()?;
                    claim.day = pieces.next()?;
                    claim.region = pieces.next()?;
                    claim.service = pieces.next()?;
                    if pieces.next() != Some("aws4_request") || pieces.next().is_some() {
                        return None;
                    }
                }
                ("SignedHeaders", names) => claim.signed = names,
                ("Signature", value) => claim.signature = value,
                _ => return None,
            }
        }
        (!claim.key.is_empty() && !claim.signed.is_empty() && !claim.signature.is_empty()).then_some(claim)
    }
}

impl Accepted {
    /// Lets the request pass, or refuses it as the front end of Bedrock does.
    pub(crate) fn check(&self, request: &Signed<'_>, now: SystemTime) -> Result<(), Reject> {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let Some(authorization) = header("authorization") else {
            return match header("x-api-key") {
                Some(token) if request.target.contains("/anthropic/v1/") => self.bearer(token),
                _ => Err(Reject::front(
                    "MissingAuthenticationTokenException",
                    "Authorization header is missing",
                )),
            };
        };
        if let Some(token) = authorization.strip_prefix("Bearer ") {
            return self.bearer(token);
        }
        let Some(claim) = Claim::parse(authorization) else {
            return Err(Reject::front(
                "IncompleteSignatureException",
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' \
                 parameter. Authorization header requires 'SignedHeaders' parameter.",
            ));
        };
        self.signature(request, &claim, now)
    }

    fn bearer(&self, token: &str) -> Result<(), Reject> {
        if self.bearer_tokens.iter().any(|known| known == token.trim()) {
            return Ok(());
        }
        Err(Reject::front(
            "AccessDeniedException",
            "Authentication failed: Please make sure your API Key is valid.",
        ))
    }

    fn signature(&self, request: &Signed<'_>, claim: &Claim<'_>, now: SystemTime) -> Result<(), Reject> {
        let invalid = |message: String| Reject::new(403, "InvalidSignatureException", message);
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let unknown = || {
            Reject::new(
                403,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            )
        };
        if claim.key != self.access_key_id || header("x-amz-security-token") != self.session_token.as_deref()
        {
            return Err(unknown());
        }
        let service = request.service();
        if claim.service != service {
            return Err(invalid(format!("Credential should be scoped to correct service: '{service}'. ")));
        }
        if self.region.as_ref().is_some_and(|region| region != claim.region) {
            return Err(invalid("Credential should be scoped to a valid region. ".to_owned()));
        }
        let date = header("x-amz-date").unwrap_or_default();
        let Some(time) = parse_time(date).filter(|_| date.starts_with(claim.day)) else {
            return Err(invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
                                HTTP"
                    .to_owned(),
            ));
        };
        skew(time, now).map_err(invalid)?;
        let names: Vec<&str> = claim.signed.split(';').collect();
        if !names.contains(&"host") {
            return Err(invalid(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
            ));
        }
        if self.session_token.is_some() && !names.contains(&"x-amz-security-token") {
            return Err(invalid(MISMATCH.to_owned()));
        }
        let expected = self.expected(request, claim, &names, time);
        if expected.as_deref() == Some(claim.signature) { Ok(()) } else { Err(invalid(MISMATCH.to_owned())) }
    }

    /// The signature that AWS's signer gives this request.
    fn expected(
        &self,
        request: &Signed<'_>,
        claim: &Claim<'_>,
        names: &[&str],
        time: SystemTime,
    ) -> Option<String> {
        let identity = Credentials::new(
            &self.access_key_id,
            &self.secret_access_key,
            self.session_token.clone(),
            None,
            "bedrock-sim",
        )
        .into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Double;
        // What the caller chose to sign is judged, also where this signer would have left it out.
        settings.excluded_headers = None;
        if names.contains(&"x-amz-content-sha256") {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(claim.region)
            .name(request.service())
            .time(time)
            .settings(settings)
            .build()
            .ok()?
            .into();
        let own = ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];
        let headers = names
            .iter()
            .filter(|name| !own.contains(name))
            .filter_map(|name| Some((*name, request.headers.get(*name)?.to_str().ok()?)));
        let host = request.headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or("localhost");
        let uri = format!("http://{host}{}", request.target);
        let signable =
            SignableRequest::new(request.method.as_str(), uri, headers, SignableBody::Bytes(request.body))
                .ok()?;
        let (_, signature) = sign(signable, &params).ok()?.into_parts();
        Some(signature)
    }
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

fn skew(time: SystemTime, now: SystemTime) -> Result<(), String> {
    if time + SKEW < now {
        return Err(format!(
            "Signature expired: {} is now earlier than {} ({} - 5 min.)",
            format_time(time),
            format_time(now - SKEW),
            format_time(now)
        ));
    }
    if time > now + SKEW {
        return Err(format!(
            "Signature not yet current: {} is still later than {} ({} + 5 min.)",
            format_time(time),
            format_time(now + SKEW),
            format_time(now)
        ));
    }
    Ok(())
}

/// `20261121T081611Z`.
fn parse_time(text: &str) -> Option<SystemTime> {
    let digits = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    if text.len() != 16 || text.get(8..9)? != "T" || !text.ends_with('Z') {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    // Days since 1970 of a proleptic Gregorian date, with the year beginning in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        (shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year).checked_sub(719_468)?;
    let seconds = days * 86_400 + digits(9..11)? * 3_600 + digits(11..13)? * 60 + digits(13..15)?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn format_time(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_back() {
        for text in ["19700101T000000Z", "20000229T235959Z", "20261121T081611Z", "21000301T120000Z"] {
            assert_eq!(format_time(parse_time(text).expect("valid")), text);
        }
        assert_eq!(parse_time("20261121T081611Z"), Some(UNIX_EPOCH + Duration::from_secs(1_795_248_971)));
        assert_eq!(parse_time("2026-11-21"), None);
    }

    #[test]
    fn five_minutes_of_skew_pass_and_six_do_not() {
        let now = parse_time("20261121T081611Z").expect("valid");
        assert!(skew(now - Duration::from_secs(299), now).is_ok());
        assert!(skew(now + Duration::from_secs(299), now).is_ok());
        let late = skew(now - Duration::from_mins(6), now).expect_err("expired");
        assert_eq!(
            late,
            "Signature expired: 20261121T081011Z is now earlier than 20261121T081111Z (20261121T081611Z - 5 min.)"
        );
        assert!(skew(now + Duration::from_mins(6), now).is_err_and(|text| text.contains("not yet current")));
    }
}
