//! From headers to a caller.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use policy::{Caller, Denial, Gate, Overdrawn, Unchecked};
use store::{PresentedKey, Timestamp};

use crate::error::{ApiError, Kind, whole_seconds};
use crate::gateway::Gateway;
use crate::handle::Context;
use crate::refusal::scrubbed;

impl Gateway {
    /// Who is calling.
    pub(crate) async fn authenticate(&self, context: &Context) -> Result<Arc<Caller>, ApiError> {
        let settings = &self.shared.settings.keys;
        let keys = presented(&context.headers, &settings.api_key_header);
        let address = client_address(&context.headers, context.peer.addr().ip(), settings.trusted_proxy_hops);
        self.shared
            .policy
            .authenticate(&keys, address, context.now)
            .await
            .map_err(|denial| self.denied(&denial))
    }

    /// A denial as the caller hears it, counted once.
    pub(crate) fn denied(&self, denial: &Denial) -> ApiError {
        self.metrics.denied(denial);
        match denial {
            Denial::MissingKey => ApiError::new(
                Kind::Authentication,
                "Missing API key in x-api-key header or Authorization: Bearer header",
            ),
            Denial::InvalidKey => ApiError::new(Kind::Authentication, "Invalid API key"),
            Denial::ExpiredKey => ApiError::new(Kind::Authentication, "This API key has expired"),
            Denial::AddressNotAllowed => {
                ApiError::new(Kind::Permission, "This API key may not be used from your address")
            }
            Denial::TooManyFailures { wait } => {
                ApiError::new(Kind::RateLimit, "Too many requests with an invalid API key from this address")
                    .retry_after(Some(*wait))
            }
            Denial::StoreAway(unchecked) => away(*unchecked),
            Denial::UnknownModel { model } => ApiError {
                path: Some("model".to_owned()),
                ..ApiError::new(Kind::ModelNotFound, format!("model: {}", shown(model)))
            },
            Denial::ModelNotAllowed { model } => ApiError {
                path: Some("model".to_owned()),
                ..ApiError::new(
                    Kind::Permission,
                    format!("This API key may not use the model {}", shown(model)),
                )
            },
            Denial::RateLimited { gate, wait, .. } => limited(*gate, *wait),
            Denial::BudgetExceeded(why) => overdrawn(why),
            Denial::UnpricedModel { model, base_id, budgeted } => unpriced(model, base_id, *budgeted),
        }
    }
}

fn away(unchecked: Unchecked) -> ApiError {
    let what = match unchecked {
        Unchecked::Key => "key",
        Unchecked::Limit => "limits of the key",
        Unchecked::Budget => "budgets of the key",
    };
    ApiError::new(
        Kind::Unavailable,
        format!("The {what} cannot be checked at the moment. Try again shortly."),
    )
}

/// The message says what would help: it is read by somebody who knows the gateway's operator.
fn unpriced(model: &str, base_id: &str, budgeted: bool) -> ApiError {
    let (model, id) = (shown(model), scrubbed(&shown(base_id)));
    let why = if budgeted {
        format!("This API key has a budget, and the model {model} has no price.")
    } else {
        format!(
            "The model {model} has no price, and this gateway does not run such models (UNPRICED_MODELS)."
        )
    };
    ApiError::new(
        Kind::Permission,
        format!("{why} The gateway's operator can set one: outcrop-keys pricing set {id}"),
    )
}

/// Amounts are in dollars, with all their digits.
fn overdrawn(why: &Overdrawn) -> ApiError {
    let Overdrawn { period, limit, spent, held, need, resets_at, wait } = why;
    let reset = match resets_at {
        Some(at) => format!("It resets at {}.", seconds(*at)),
        None => "It does not reset.".to_owned(),
    };
    let message = format!(
        "Budget exceeded. Of the {period} budget of ${limit}, ${spent} is spent and ${held} is held; \
         this request may cost up to ${need}. {reset}"
    );
    ApiError::new(Kind::Billing, message).retry_after(*wait)
}

/// RFC 3339; a period begins with a second.
fn seconds(at: Timestamp) -> String {
    at.to_string().replace(".000Z", "Z")
}

/// The wording is Anthropic's; which limit it was stands beside it.
fn limited(gate: Gate, wait: Duration) -> ApiError {
    let (kind, details) = match gate {
        Gate::Requests => (Kind::RateLimit, r#"{"limit":"requests"}"#),
        Gate::Tokens => (Kind::TokenLimit, r#"{"limit":"tokens"}"#),
        Gate::Concurrency => (Kind::RateLimit, r#"{"limit":"concurrency"}"#),
    };
    let message = format!("Rate limit exceeded. Try again in {} seconds.", whole_seconds(wait));
    let error = ApiError::new(kind, message).retry_after(Some(wait));
    ApiError { details: Some(details), ..error }
}

/// A name of the caller's, short and without anything that a terminal would obey.
fn shown(model: &str) -> String {
    model.chars().filter(|c| !c.is_control()).take(128).collect()
}

/// What the headers present, the key header first. Equal values count once; other `Authorization` schemes not at all.
fn presented(headers: &HeaderMap, key_header: &str) -> Vec<PresentedKey> {
    let mut keys: Vec<PresentedKey> = Vec::with_capacity(1);
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    let named = [key_header, "x-api-key"].into_iter().filter_map(|name| headers.get(name)?.to_str().ok());
    for text in named.chain(bearer) {
        let key = PresentedKey::new(text.trim());
        if !text.trim().is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// The caller's address: the socket's, or what the last trusted hop wrote. What stands further left in
/// `X-Forwarded-For` anybody may have written, and a connection without the header came past the proxies. Where the header
/// is there and the hop's word is not, or is no address, the caller's address is unknown (`::`): that of the proxy in its
/// place could be one that a key's list allows.
fn client_address(headers: &HeaderMap, socket: IpAddr, hops: usize) -> IpAddr {
    let lines = headers.get_all("x-forwarded-for");
    if hops == 0 || lines.iter().next().is_none() {
        return socket.to_canonical();
    }
    // From the right, through every line: a line that is no text is an entry that is no address.
    let mut entries = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("unreadable").rsplit(','));
    let entry = entries.nth(hops - 1).and_then(|text| forwarded(text.trim()));
    entry.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).to_canonical()
}

/// An address as proxies write it: alone, in brackets, or with a port.
fn forwarded(entry: &str) -> Option<IpAddr> {
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().map(IpAddr::V6).ok();
    let with_port = || entry.parse().map(|address: SocketAddr| address.ip()).ok();
    entry.parse().ok().or_else(bracketed).or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn either_header_presents_a_key_and_equal_ones_count_once() {
        let both = headers(&[("x-api-key", "a"), ("authorization", "bearer b")]);
        assert_eq!(presented(&both, "x-api-key"), [PresentedKey::new("a"), PresentedKey::new("b")]);
        let same = headers(&[("x-api-key", "a"), ("authorization", "Bearer a")]);
        assert_eq!(presented(&same, "x-api-key").len(), 1);
        let own = headers(&[("x-own", "c"), ("x-api-key", "a")]);
        assert_eq!(presented(&own, "x-own"), [PresentedKey::new("c"), PresentedKey::new("a")]);
        let signed = headers(&[("authorization", "AWS4-HMAC-SHA256 Credential=x")]);
        assert!(presented(&signed, "x-api-key").is_empty());
    }

    #[test]
    fn only_trusted_hops_name_the_caller() {
        let socket: IpAddr = "10.0.0.1".parse().unwrap();
        let forwarded = headers(&[("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.9")]);
        let at = |hops| client_address(&forwarded, socket, hops).to_string();
        assert_eq!(at(0), "10.0.0.1");
        assert_eq!(at(1), "10.0.0.9");
        assert_eq!(at(2), "1.2.3.4");
        assert_eq!(at(4), "::", "fewer hops than are trusted");
        let none = headers(&[]);
        assert_eq!(client_address(&none, socket, 2), socket, "a connection past the proxies");
    }

    #[test]
    fn what_a_caller_writes_itself_stands_left_of_what_proxies_write() {
        let socket: IpAddr = "10.0.0.1".parse().unwrap();
        let seen = |lines: &[&'static str], hops| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            client_address(&headers, socket, hops).to_string()
        };
        // Repeated headers are one list, whoever wrote which.
        assert_eq!(seen(&["10.0.0.7", "6.6.6.6"], 1), "6.6.6.6");
        assert_eq!(seen(&["10.0.0.7, 10.0.0.8", "6.6.6.6, 10.0.0.9"], 2), "6.6.6.6");
        assert_eq!(seen(&["10.0.0.7", "nonsense"], 1), "::");
        assert_eq!(seen(&["10.0.0.7,"], 1), "::");
        assert_eq!(seen(&["", "6.6.6.6"], 1), "6.6.6.6");
        assert_eq!(seen(&["10.0.0.7"], 0), "10.0.0.1");
    }

    #[test]
    fn an_address_is_read_in_every_form_that_proxies_write() {
        let socket: IpAddr = "10.0.0.1".parse().unwrap();
        for (written, read) in [
            ("  1.2.3.4\t", "1.2.3.4"),
            ("1.2.3.4:567", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[::1]:8", "::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
            ("1.2.3.4:99999", "::"),
            ("1.2.3", "::"),
            ("01.2.3.4", "::"),
            ("[1.2.3.4]", "::"),
            ("unknown", "::"),
            ("_hidden", "::"),
            ("localhost", "::"),
            ("\"1.2.3.4\"", "::"),
        ] {
            let headers = headers(&[("x-forwarded-for", written)]);
            assert_eq!(client_address(&headers, socket, 1).to_string(), read, "{written}");
        }
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(client_address(&HeaderMap::new(), mapped, 0), socket);
    }
}
