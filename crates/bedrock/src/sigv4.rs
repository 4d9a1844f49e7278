//! [Signature Version 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html) for
//! what this crate sends: a path that is already escaped, no query, a body that is at hand.
//!
//! The key of a day is derived once and kept; its hash states are kept too, so a signature costs the hash of the body
//! and about ten blocks more.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::call::Site;
use crate::settings::Secret;

/// A moment in the form that is signed: `20261121T080000Z`.
#[derive(Clone, Copy)]
pub(crate) struct Stamp([u8; 16]);

impl Stamp {
    /// From seconds since 1970, by the [days-to-civil](https://howardhinnant.github.io/date_algorithms.html) rule.
    pub(crate) fn from_unix(seconds: u64) -> Self {
        let days = seconds / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let second = seconds % 86_400;

        let mut text = *b"00000000T000000Z";
        let mut put = |at: usize, value: u64| {
            text[at] = b'0' + u8::try_from(value / 10 % 10).unwrap_or(0);
            text[at + 1] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        };
        put(0, year / 100 % 100);
        put(2, year % 100);
        put(4, month);
        put(6, day);
        put(9, second / 3600);
        put(11, second / 60 % 60);
        put(13, second % 60);
        Self(text)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn date(&self) -> &[u8] {
        &self.0[..8]
    }
}

/// Who signs, and for which region.
pub(crate) struct Identity {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
    region: String,
    day_keys: DayKeys,
}

/// One key a service and day.
#[derive(Default)]
struct DayKeys {
    runtime: ArcSwapOption<DayKey>,
    mantle: ArcSwapOption<DayKey>,
}

impl DayKeys {
    fn of(&self, site: Site) -> &ArcSwapOption<DayKey> {
        match site {
            Site::Runtime => &self.runtime,
            Site::Mantle => &self.mantle,
        }
    }
}

/// The derived key of one day, and the scope it is for.
struct DayKey {
    /// `20261121/eu-west-1/bedrock/aws4_request`
    scope: String,
    key: HmacKey,
}

/// HMAC-SHA256 (RFC 2104) with both padded key blocks hashed ahead: two blocks less for every signature.
struct HmacKey {
    inner: Sha256,
    outer: Sha256,
}

impl HmacKey {
    fn new(key: &[u8]) -> Self {
        let mut block = [0; 64];
        if key.len() > block.len() {
            block[..32].copy_from_slice(&Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let padded = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    fn sign(&self, text: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(text).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

impl Identity {
    pub(crate) fn new(
        access_key_id: String,
        secret: Secret,
        session_token: Option<Secret>,
        region: String,
    ) -> Self {
        Self { access_key_id, secret_access_key: secret, session_token, region, day_keys: DayKeys::default() }
    }

    /// The same, for another region.
    pub(crate) fn in_region(&self, region: &str) -> Self {
        Self::new(
            self.access_key_id.clone(),
            self.secret_access_key.clone(),
            self.session_token.clone(),
            region.to_owned(),
        )
    }

    pub(crate) fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(Secret::expose)
    }

    fn day_key(&self, site: Site, stamp: &Stamp) -> Arc<DayKey> {
        let kept = self.day_keys.of(site);
        if let Some(kept) = &*kept.load()
            && kept.scope.as_bytes().starts_with(stamp.date())
        {
            return Arc::clone(kept);
        }
        let sign = |key: &[u8], text: &[u8]| HmacKey::new(key).sign(text);
        let date_key = sign(format!("AWS4{}", self.secret_access_key.expose()).as_bytes(), stamp.date());
        let region_key = sign(&date_key, self.region.as_bytes());
        let service = site.service();
        let service_key = sign(&region_key, service.as_bytes());
        let key = sign(&service_key, b"aws4_request");
        let date = String::from_utf8_lossy(stamp.date());
        let fresh = Arc::new(DayKey {
            scope: format!("{date}/{}/{service}/aws4_request", self.region),
            key: HmacKey::new(&key),
        });
        kept.store(Some(Arc::clone(&fresh)));
        fresh
    }
}

/// What is signed, as it stands on the wire.
pub(crate) struct Request<'a> {
    pub(crate) site: Site,
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    /// Sent where there is a body.
    pub(crate) content_type: Option<&'a str>,
    pub(crate) extra: &'a [(HeaderName, HeaderValue)],
    pub(crate) body: &'a [u8],
}

/// Appends the value of the `authorization` header to `out`.
pub(crate) fn authorize(identity: &Identity, request: &Request<'_>, stamp: &Stamp, out: &mut Vec<u8>) {
    let mut extra: Vec<&(HeaderName, HeaderValue)> = request.extra.iter().collect();
    // Stable: values of one name stay in the order in which they are sent.
    extra.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    // Names are signed in order, and ours stand between `content-type` and `x-amz-security-token`.
    let (before, behind) = extra.split_at(extra.partition_point(|(name, _)| name.as_str() < "content-type"));
    let day_key = identity.day_key(request.site, stamp);

    let mut signed = String::with_capacity(128);
    for name in names(before) {
        signed.push_str(name);
        signed.push(';');
    }
    signed.push_str(if request.content_type.is_some() { "content-type;" } else { "" });
    signed.push_str("host;x-amz-date");
    if identity.session_token.is_some() {
        signed.push_str(";x-amz-security-token");
    }
    for name in names(behind) {
        signed.push(';');
        signed.push_str(name);
    }

    let mut text = Vec::with_capacity(1024 + identity.session_token().map_or(0, str::len));
    canonical(identity, request, stamp, [before, behind], &signed, &mut text);
    let hashed = Sha256::digest(&text);

    text.clear();
    text.extend_from_slice(b"AWS4-HMAC-SHA256\n");
    text.extend_from_slice(stamp.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(day_key.scope.as_bytes());
    text.push(b'\n');
    push_hex(&mut text, &hashed);
    let signature = day_key.key.sign(&text);

    out.extend_from_slice(b"AWS4-HMAC-SHA256 Credential=");
    out.extend_from_slice(identity.access_key_id.as_bytes());
    out.push(b'/');
    out.extend_from_slice(day_key.scope.as_bytes());
    out.extend_from_slice(b", SignedHeaders=");
    out.extend_from_slice(signed.as_bytes());
    out.extend_from_slice(b", Signature=");
    push_hex(out, &signature);
}

/// Each name once.
fn names<'h>(sorted: &'h [&(HeaderName, HeaderValue)]) -> impl Iterator<Item = &'h str> {
    sorted.chunk_by(|a, b| a.0 == b.0).filter_map(|same| Some(same.first()?.0.as_str()))
}

fn canonical(
    identity: &Identity,
    request: &Request<'_>,
    stamp: &Stamp,
    [before, behind]: [&[&(HeaderName, HeaderValue)]; 2],
    signed: &str,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(request.method.as_bytes());
    out.push(b'\n');
    push_escaped_again(out, request.path);
    out.extend_from_slice(b"\n");
    push_values(out, before);
    if let Some(content_type) = request.content_type {
        out.extend_from_slice(b"\ncontent-type:");
        out.extend_from_slice(content_type.as_bytes());
    }
    out.extend_from_slice(b"\nhost:");
    out.extend_from_slice(request.host.as_bytes());
    out.extend_from_slice(b"\nx-amz-date:");
    out.extend_from_slice(stamp.as_bytes());
    if let Some(token) = identity.session_token() {
        out.extend_from_slice(b"\nx-amz-security-token:");
        out.extend_from_slice(token.as_bytes());
    }
    push_values(out, behind);
    out.extend_from_slice(b"\n\n");
    out.extend_from_slice(signed.as_bytes());
    out.push(b'\n');
    push_hex(out, &Sha256::digest(request.body));
}

/// A line end and a line for each name; values of one name stand behind one another.
fn push_values(out: &mut Vec<u8>, sorted: &[&(HeaderName, HeaderValue)]) {
    let mut last = "";
    for (name, value) in sorted {
        if name.as_str() == last {
            out.push(b',');
        } else {
            out.push(b'\n');
            out.extend_from_slice(name.as_str().as_bytes());
            out.push(b':');
        }
        last = name.as_str();
        push_folded(out, value.as_bytes());
    }
}

/// Every service but S3 signs the path escaped once more than it is sent: `%3A` becomes `%253A`.
fn push_escaped_again(out: &mut Vec<u8>, path: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Values are signed without spaces around them and with single spaces within.
fn push_folded(out: &mut Vec<u8>, value: &[u8]) {
    for (i, word) in value.split(|&b| b == b' ').filter(|word| !word.is_empty()).enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests;
