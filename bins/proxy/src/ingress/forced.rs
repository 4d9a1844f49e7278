//! What the gateway decides about a call that otherwise travels as it is: the service tier and the key's cache TTL.

use bedrock::Operation;
use bytes::Bytes;
use catalog::{Model, ServiceTier};
use convert::{Ttl, native};
use http::{HeaderMap, HeaderName, HeaderValue};
use policy::Admission;
use store::CacheTtl;

use super::{Decided, Passage};
use crate::error::ApiError;
use crate::lane::{Asking, Prepared};
use crate::learned::Lessons;
use crate::{messages, tiers};

/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ServiceTier.html>
const MEMBER: &str = "serviceTier";

impl Passage {
    /// Puts into the call what is decided, for the target that it goes to first.
    pub(super) fn aim(&mut self, target: usize) -> Result<(), ApiError> {
        if self.decided.ours {
            self.decided.tier = tiers::granted(&self.gateway, target, &self.resolution, self.decided.tier);
        }
        self.force()
    }

    /// The same once more, after what is decided has changed.
    pub(super) fn force(&mut self) -> Result<(), ApiError> {
        let Decided { tier, ours, cache_ttl, ref tables } = self.decided;
        if self.converts() {
            let ask = Asking {
                resolution: &self.resolution,
                tables,
                beta_headers: &[],
                lessons: &Lessons::default(),
                wishes: &self.wishes,
                tier,
                cache_ttl,
                counting: false,
            };
            let text = messages::text(&self.body)?;
            let prepared = Prepared::invoked(text, &ask, &self.gateway.shared.settings)?;
            self.translated = Some(Box::new(prepared));
            return Ok(());
        }
        if ours {
            put_tier(self.operation, &mut self.headers, &mut self.body, tier);
        }
        if let Some(ttl) = cache_ttl
            && let Some(body) = cached(self.operation, self.messages, &self.body, self.resolution.model, ttl)
        {
            self.body = body;
        }
        Ok(())
    }

    /// The longest TTL of the cache markers as they are sent.
    pub(super) fn sent_ttl(&self) -> Option<CacheTtl> {
        match &self.translated {
            Some(prepared) => prepared.cache_ttl,
            None => sent_ttl(&self.body),
        }
    }

    /// Notes the tier that served, as far as headers tell.
    pub(super) fn answered(&self, admission: &mut Admission, headers: &HeaderMap) {
        let sent = self.decided.tier;
        admission.sent(tiers::served(headers).unwrap_or(sent), self.sent_ttl());
        if self.decided.ours {
            tiers::fell_back(&self.gateway, admission, sent);
        }
    }
}

/// Where an operation takes its tier.
enum Place {
    Header,
    Body,
    Nowhere,
}

fn place(operation: Operation) -> Place {
    match operation {
        Operation::InvokeModel | Operation::InvokeModelWithResponseStream => Place::Header,
        Operation::Converse | Operation::ConverseStream => Place::Body,
        Operation::CountTokens | Operation::Messages { .. } => Place::Nowhere,
    }
}

/// Whether a call has a tier at all.
pub(super) fn is_tiered(operation: Operation) -> bool {
    !matches!(place(operation), Place::Nowhere)
}

/// The tier that the caller wrote; what is no tier's name is its own to be refused.
pub(super) fn written_tier(operation: Operation, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    match place(operation) {
        Place::Nowhere => None,
        Place::Header => {
            let value = headers.get(tiers::HEADER)?;
            Some(value.to_str().unwrap_or_default().to_owned())
        }
        Place::Body => {
            let text = std::str::from_utf8(body).ok().filter(|text| text.contains(MEMBER))?;
            let doc = native::parse(text).ok()?;
            let tier = doc.root().get(MEMBER)?.get("type").and_then(|name| name.str());
            Some(tier.unwrap_or_default().into_owned())
        }
    }
}

/// Puts a tier in the place of whatever is there; the default is not sent.
fn put_tier(
    operation: Operation,
    headers: &mut Vec<(HeaderName, HeaderValue)>,
    body: &mut Bytes,
    tier: ServiceTier,
) {
    match place(operation) {
        Place::Nowhere => {}
        Place::Header => {
            headers.retain(|(name, _)| *name != tiers::HEADER);
            headers.extend(tiers::header(tier));
        }
        Place::Body => {
            let json = format!("{{\"type\":\"{}\"}}", tier.name());
            let member = (tier != ServiceTier::Default).then_some(json);
            if let Some(changed) = edited(body, |doc| native::with_member(doc, MEMBER, member.as_deref())) {
                *body = changed;
            }
        }
    }
}

/// The body with the key's TTL in every cache marker; `None` where it may travel as it is.
fn cached(operation: Operation, messages: bool, body: &Bytes, model: &Model, ttl: CacheTtl) -> Option<Bytes> {
    let ttl = match ttl {
        CacheTtl::FiveMinutes => Some(Ttl::FiveMinutes),
        CacheTtl::OneHour => Some(Ttl::OneHour),
        CacheTtl::None => None,
    };
    match place(operation) {
        Place::Header if messages => edited(body, |doc| native::remarked(doc, model, ttl)),
        Place::Body => edited(body, |doc| native::repointed(doc, model, ttl)),
        Place::Header | Place::Nowhere => None,
    }
}

/// What cannot be read is the upstream's to refuse.
fn edited(body: &Bytes, edit: impl FnOnce(&native::Doc<'_>) -> Option<Vec<u8>>) -> Option<Bytes> {
    let doc = native::parse(std::str::from_utf8(body).ok()?).ok()?;
    edit(&doc).map(Bytes::from)
}

/// The longest TTL of the markers in a body, for its row, and for cache writes whose TTL is not told.
fn sent_ttl(body: &[u8]) -> Option<CacheTtl> {
    let text = std::str::from_utf8(body).ok()?;
    let marked = text.contains("\"cache_control\"") || text.contains("\"cachePoint\"");
    let hour = text.contains("\"1h\"");
    marked.then_some(if hour { CacheTtl::OneHour } else { CacheTtl::FiveMinutes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(body: &str, tier: ServiceTier) -> String {
        let mut bytes = Bytes::from(body.to_owned());
        put_tier(Operation::Converse, &mut Vec::new(), &mut bytes, tier);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_tier_enters_a_converse_body_and_leaves_it_and_nothing_else_changes() {
        let bare = r#"{ "messages":[ ],"n":1.0}"#;
        let flex = r#"{ "messages":[ ],"n":1.0,"serviceTier":{"type":"flex"}}"#;
        assert_eq!(put(bare, ServiceTier::Flex), flex);
        assert_eq!(put(flex, ServiceTier::Default), bare);
        assert_eq!(put(bare, ServiceTier::Default), bare);
        let own = r#"{"serviceTier" : {"type":"priority"}, "messages":[ ]}"#;
        assert_eq!(put(own, ServiceTier::Flex), r#"{"serviceTier" : {"type":"flex"}, "messages":[ ]}"#);
        assert_eq!(put("{", ServiceTier::Flex), "{", "no JSON: the upstream says so");
    }

    #[test]
    fn what_the_caller_wrote_is_found_where_the_operation_has_it() {
        let mut headers = HeaderMap::new();
        headers.insert(tiers::HEADER, HeaderValue::from_static("flex"));
        let body = br#"{"serviceTier":{"type":"reserved"}}"#;
        let written = |operation| written_tier(operation, &headers, body);
        assert_eq!(written(Operation::InvokeModel).as_deref(), Some("flex"));
        assert_eq!(written(Operation::ConverseStream).as_deref(), Some("reserved"));
        assert_eq!(written(Operation::CountTokens), None);
        assert_eq!(written_tier(Operation::Converse, &headers, br#"{"a":"serviceTier"}"#), None);
        assert_eq!(written_tier(Operation::Converse, &headers, br#"{"serviceTier":1}"#).as_deref(), Some(""));
    }
}
