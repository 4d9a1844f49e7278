//! Items and their attributes.

use std::{collections::HashMap, fmt::Display, str::FromStr};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use crate::{Error, ErrorKind, Result, Timestamp};

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// Numbers travel as decimal text; DynamoDB keeps 38 digits of them exactly.
pub(super) fn number(number: impl Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// An instant in the unit of TTL attributes.
pub(super) fn second(at: Timestamp) -> AttributeValue {
    number(at.unix_millis().div_euclid(1_000))
}

pub(super) fn read_text<'a>(item: &'a Item, name: &str) -> Result<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str).ok_or_else(|| broken(name))
}

/// A number, if the attribute is there.
pub(super) fn read_number<T: FromStr>(item: &Item, name: &str) -> Result<Option<T>> {
    let Some(value) = item.get(name) else { return Ok(None) };
    let digits = value.as_n().map_err(|_| broken(name))?;
    digits.parse().map(Some).map_err(|_| broken(name))
}

/// DynamoDB removes expired items within days; they are absent from the second of their TTL on:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ttl-expired-items.html>.
pub(super) fn is_alive(item: &Item, now: Timestamp) -> bool {
    let ttl: Option<i64> = item.get("ttl").and_then(|ttl| ttl.as_n().ok()?.parse().ok());
    ttl.is_none_or(|ttl| ttl > now.unix_millis().div_euclid(1_000))
}

/// The members of a JSON object as attributes; what is null stays out.
pub(super) fn from_json(value: Value) -> Item {
    let Value::Object(members) = value else { return Item::new() };
    members.into_iter().filter_map(|(name, value)| Some((name, attribute(value)?))).collect()
}

fn attribute(value: Value) -> Option<AttributeValue> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => AttributeValue::Bool(flag),
        Value::Number(digits) => number(digits),
        Value::String(string) => text(string),
        Value::Array(list) => AttributeValue::L(list.into_iter().filter_map(attribute).collect()),
        object @ Value::Object(_) => AttributeValue::M(from_json(object)),
    })
}

/// The same back. Attributes of kinds that [`from_json`] does not write are left out.
pub(super) fn to_json(item: &Item) -> Value {
    Value::Object(item.iter().filter_map(|(name, value)| Some((name.clone(), json(value)?))).collect())
}

fn json(value: &AttributeValue) -> Option<Value> {
    match value {
        AttributeValue::Bool(flag) => Some(Value::Bool(*flag)),
        AttributeValue::N(digits) => serde_json::from_str(digits).ok(),
        AttributeValue::S(string) => Some(Value::String(string.clone())),
        AttributeValue::L(list) => Some(Value::Array(list.iter().filter_map(json).collect())),
        AttributeValue::M(item) => Some(to_json(item)),
        // The enum is the SDK's, and may grow.
        _ => None,
    }
}

pub(super) fn broken(what: &str) -> Error {
    Error::new(ErrorKind::Broken, format!("an item in DynamoDB cannot be read: {what}"))
}
