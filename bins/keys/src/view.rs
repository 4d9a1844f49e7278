//! What is shown: text for people, one JSON document for programs, or ids alone.

use std::fmt::Write as _;

use serde::Serialize;
use store::{Cidr, KeyId, KeyRecord, KeyStatus, Timestamp, Totals};

use crate::{
    args::Args,
    budgets::{self, Standing},
    failure::Failure,
};

/// What goes to stdout, and what is said on stderr beside it.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) notes: Vec<String>,
}

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    People,
    Json,
    Quiet,
}

impl Form {
    pub(crate) fn of(args: &Args) -> Self {
        match (args.json, args.quiet) {
            (true, _) => Self::Json,
            (false, true) => Self::Quiet,
            (false, false) => Self::People,
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(flatten)]
    record: &'a KeyRecord,
    status: KeyStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budgets: Option<Budgets<'a>>,
}

#[derive(Serialize)]
struct Budgets<'a>(#[serde(serialize_with = "as_budgets")] &'a [Standing]);

fn as_budgets<S: serde::Serializer>(budgets: &&[Standing], serializer: S) -> Result<S::Ok, S::Error> {
    budgets::as_map(budgets, serializer)
}

#[derive(Serialize)]
struct Usage<'a>(#[serde(serialize_with = "as_map")] &'a [(&'static str, Totals)]);

fn as_map<S: serde::Serializer>(
    periods: &&[(&'static str, Totals)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(periods.iter().map(|(name, totals)| (name, Figures::of(totals))))
}

/// Totals, and their cost in dollars.
#[derive(Serialize)]
pub(crate) struct Figures<'a> {
    #[serde(flatten)]
    totals: &'a Totals,
    cost_usd: String,
}

impl<'a> Figures<'a> {
    pub(crate) fn of(totals: &'a Totals) -> Self {
        Self { totals, cost_usd: totals.cost_pico_usd.to_string() }
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    keys: Vec<Shown<'a>>,
    next_cursor: Option<&'a str>,
}

/// A new key; `secret` is absent when its user brought it along.
pub(crate) fn created(
    record: &KeyRecord,
    secret: Option<&str>,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let text = match form {
        Form::Json => {
            json(&Shown { key: secret, record, status: record.status(now), usage: None, budgets: None })?
        }
        Form::Quiet => format!("{}\n", secret.unwrap_or(record.key_id.as_str())),
        Form::People => {
            let mut lines = Vec::new();
            lines.extend(secret.map(|secret| ("key", secret.to_owned())));
            lines.extend(record_lines(record, now));
            aligned(&lines)
        }
    };
    let notes = match (form, secret) {
        (Form::People, Some(_)) => vec!["Keep the key now: it cannot be shown again.".to_owned()],
        _ => Vec::new(),
    };
    Ok(Answer { text, notes })
}

/// A page of keys.
pub(crate) fn listed(
    keys: &[(KeyRecord, KeyStatus)],
    next: Option<&str>,
    form: Form,
) -> Result<Answer, Failure> {
    let text = match form {
        Form::Json => {
            let shown = keys.iter().map(|(record, status)| Shown {
                key: None,
                record,
                status: *status,
                usage: None,
                budgets: None,
            });
            json(&Listed { keys: shown.collect(), next_cursor: next })?
        }
        Form::Quiet => ids(keys.iter().map(|(record, _)| &record.key_id)),
        Form::People => table(keys),
    };
    let notes = match (form, next) {
        (Form::People | Form::Quiet, Some(next)) => vec![format!("There are more: --cursor {next}")],
        _ => Vec::new(),
    };
    Ok(Answer { text, notes })
}

/// A record and what was used.
pub(crate) fn shown(
    record: &KeyRecord,
    periods: &[(&'static str, Totals)],
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let budgets = budgets::of(record, periods, now);
    let status = budgets::status(record, &budgets, now);
    let text = match form {
        Form::Json => {
            let (usage, budgets) = (Some(Usage(periods)), Some(Budgets(&budgets)));
            json(&Shown { key: None, record, status, usage, budgets })?
        }
        Form::Quiet => format!("{}\n", record.key_id),
        Form::People => {
            let mut lines = record_lines(record, now);
            if status == KeyStatus::BudgetExceeded {
                lines.extend([(
                    "but",
                    "a budget is spent: requests are refused until it resets or is raised".to_owned(),
                )]);
            }
            let mut text = aligned(&lines);
            if !budgets.is_empty() {
                text.push('\n');
                text += &columns(&budgets::rows(&budgets));
                text += &budgets::changes(&budgets);
            }
            text.push('\n');
            text + &usage_table(periods)
        }
    };
    Ok(Answer { text, notes: Vec::new() })
}

/// A record as it stands after a change.
pub(crate) fn updated(record: &KeyRecord, form: Form, now: Timestamp) -> Result<Answer, Failure> {
    created(record, None, form, now)
}

/// A key that was switched off or on.
pub(crate) fn switched(record: &KeyRecord, form: Form, now: Timestamp) -> Result<Answer, Failure> {
    let status = record.status(now);
    let text = match form {
        Form::Json => json(&Shown { key: None, record, status, usage: None, budgets: None })?,
        Form::Quiet => format!("{}\n", record.key_id),
        Form::People => format!("{} is {status} now.\n", record.key_id),
    };
    Ok(Answer { text, notes: Vec::new() })
}

/// A key that is gone.
pub(crate) fn deleted(key_id: &KeyId, form: Form) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Deleted<'a> {
        key_id: &'a KeyId,
        deleted: bool,
    }
    let text = match form {
        Form::Json => json(&Deleted { key_id, deleted: true })?,
        Form::Quiet => format!("{key_id}\n"),
        Form::People => format!("{key_id} is deleted; what was used with it stays known.\n"),
    };
    Ok(Answer { text, notes: Vec::new() })
}

/// A row that is gone.
pub(crate) fn removed(id: &str, form: Form) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Removed<'a> {
        removed: &'a str,
    }
    let text = match form {
        Form::Json => json(&Removed { removed: id })?,
        Form::Quiet => format!("{id}\n"),
        Form::People => format!("{id} is removed.\n"),
    };
    Ok(Answer { text, notes: Vec::new() })
}

fn record_lines(record: &KeyRecord, now: Timestamp) -> Vec<(&'static str, String)> {
    let patterns = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.join(", "));
    let moment = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let metadata: Vec<_> = record.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let listed = |blocks: &Vec<Cidr>| blocks.iter().map(Cidr::to_string).collect::<Vec<_>>().join(", ");
    let addresses = record.allowed_ips.as_ref().map(listed);
    let older = record.previous.iter().filter(|old| old.valid_until > now);
    let older: Vec<_> =
        older.map(|old| format!("{}…{} until {}", old.prefix, old.last4, old.valid_until)).collect();
    let status = match &record.deactivated_reason {
        Some(reason) if !record.is_active && reason != "revoked" => {
            format!("{} ({reason})", record.status(now))
        }
        _ => record.status(now).to_string(),
    };
    let lines = [
        ("key id", Some(record.key_id.to_string())),
        ("status", Some(status)),
        ("user", Some(record.user_id.clone())),
        ("name", Some(record.name.clone())),
        ("owner", record.owner_name.clone()),
        ("shown as", Some(hint(record))),
        ("created", Some(record.created_at.to_string())),
        ("last used", Some(moment(record.last_used_at).unwrap_or_else(|| "never".to_owned()))),
        ("expires", Some(moment(record.expires_at).unwrap_or_else(|| "never".to_owned()))),
        ("models", Some(patterns(&record.allowed_models).unwrap_or_else(|| "all".to_owned()))),
        ("but not", patterns(&record.denied_models)),
        ("rate limit", Some(limit(record.rate_limit, "requests a window"))),
        ("token limit", Some(limit(record.tpm_limit, "tokens a minute"))),
        ("concurrency", Some(limit(record.concurrency_limit, "open at once"))),
        ("target", record.target.clone()),
        ("addresses", Some(addresses.unwrap_or_else(|| "all".to_owned()))),
        ("older keys", (!older.is_empty()).then(|| older.join(", "))),
        ("tier", Some(record.service_tier.map_or("as requests ask".to_owned(), |tier| tier.to_string()))),
        ("cache ttl", Some(record.cache_ttl.map_or("as requests ask".to_owned(), |ttl| ttl.to_string()))),
        ("budgets", budgets_line(record)),
        ("metadata", (!metadata.is_empty()).then(|| metadata.join(", "))),
    ];
    lines.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn budgets_line(record: &KeyRecord) -> Option<String> {
    let limits = record.budgets().limits;
    let shown: Vec<_> = limits.set().map(|(period, limit)| format!("{limit} USD {period}")).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// The gateway's settings are out of sight from here.
fn limit(value: Option<impl std::fmt::Display>, unit: &str) -> String {
    value.map_or_else(|| "the gateway's default".to_owned(), |value| format!("{value} {unit}"))
}

fn hint(record: &KeyRecord) -> String {
    format!("{}…{}", record.prefix, record.last4)
}

fn table(keys: &[(KeyRecord, KeyStatus)]) -> String {
    let mut rows = vec![
        [
            "KEY ID",
            "STATUS",
            "USER",
            "NAME",
            "KEY",
            "REQ/TPM/OPEN",
            "TIER",
            "CACHE",
            "CREATED",
            "LAST USED",
            "EXPIRES",
        ]
        .map(String::from),
    ];
    let maybe_day = |at: Option<Timestamp>| at.map_or_else(|| "–".to_owned(), day);
    for (record, status) in keys {
        rows.push([
            record.key_id.to_string(),
            status.to_string(),
            record.user_id.clone(),
            record.name.clone(),
            hint(record),
            limits(record),
            or_dash(record.service_tier),
            or_dash(record.cache_ttl),
            day(record.created_at),
            maybe_day(record.last_used_at),
            maybe_day(record.expires_at),
        ]);
    }
    columns(&rows)
}

/// The day of an instant.
pub(crate) fn day(at: Timestamp) -> String {
    at.to_string().chars().take("2026-11-21".len()).collect()
}

/// `100/–/5`: where a key has none of its own, the default holds.
fn limits(record: &KeyRecord) -> String {
    [record.rate_limit.map(u64::from), record.tpm_limit, record.concurrency_limit.map(u64::from)]
        .map(or_dash)
        .join("/")
}

fn or_dash(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

fn usage_table(periods: &[(&'static str, Totals)]) -> String {
    let named = |name| match name {
        "month" => "this month",
        "day" => "today",
        other => other,
    };
    sums_table("USED", periods.iter().map(|(name, totals)| (named(name), totals)))
}

/// A line for each name.
pub(crate) fn sums_table<'a>(head: &str, sums: impl Iterator<Item = (&'a str, &'a Totals)>) -> String {
    let head = [head, "REQUESTS", "ERRORS", "INPUT", "OUTPUT", "CACHE READ", "CACHE WRITE", "COST (USD)"];
    let mut rows = vec![head.map(String::from)];
    for (name, totals) in sums {
        let unpriced = match totals.unpriced_requests {
            0 => String::new(),
            several => format!(" + {several} unpriced"),
        };
        rows.push([
            name.chars().filter(|char| !char.is_control()).collect(),
            totals.requests.to_string(),
            totals.errors.to_string(),
            totals.input_tokens.to_string(),
            totals.output_tokens.to_string(),
            totals.cache_read_tokens.to_string(),
            totals.cache_write_5m_tokens.saturating_add(totals.cache_write_1h_tokens).to_string(),
            format!("{}{unpriced}", totals.cost_pico_usd),
        ]);
    }
    columns(&rows)
}

/// One a line.
pub(crate) fn ids(ids: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    ids.into_iter().fold(String::new(), |mut text, id| {
        let _ = writeln!(text, "{id}");
        text
    })
}

pub(crate) fn aligned(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:width$}  {value}");
        text
    })
}

pub(crate) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    rows.iter().fold(String::new(), |mut text, row| {
        let line = row.iter().zip(widths).fold(String::new(), |mut line, (cell, width)| {
            let _ = write!(line, "{cell:width$}  ");
            line
        });
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))
}
