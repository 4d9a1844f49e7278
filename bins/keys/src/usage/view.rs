//! Usage for people, for programs, and for spreadsheets.

use std::collections::BTreeMap;

use serde::Serialize;
use store::{KeyId, Timestamp, Totals, UsageRow};

use super::{args::By, csv};
use crate::{
    failure::Failure,
    view::{self, Answer, Figures, Form},
};

impl By {
    fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Model => "model",
            Self::Key => "key_id",
        }
    }
}

pub(super) fn totals(
    by: By,
    since: Timestamp,
    until: Timestamp,
    lines: &BTreeMap<String, Totals>,
    users: &[&KeyId],
    as_csv: bool,
    form: Form,
) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        since: Timestamp,
        until: Timestamp,
        by: &'static str,
        lines: Vec<BTreeMap<&'static str, serde_json::Value>>,
        total: Figures<'a>,
    }
    let all = lines.values().fold(Totals::default(), |all, sum| all.merged(sum));
    let mut notes = Vec::new();
    if as_csv {
        return Ok(Answer { text: totals_csv(by, lines), notes });
    }
    let text = match form {
        Form::Json => {
            let lines = lines
                .iter()
                .map(|(name, sum)| {
                    let mut line = members(&Figures::of(sum))?;
                    line.insert(by.name(), name.as_str().into());
                    Ok(line)
                })
                .collect::<Result<_, Failure>>()?;
            view::json(&Shown { since, until, by: by.name(), lines, total: Figures::of(&all) })?
        }
        Form::Quiet => view::ids(users),
        Form::People if lines.is_empty() => {
            notes.push(format!("Nothing was used between {since} and {until}."));
            String::new()
        }
        Form::People => {
            let head = by.name().replace('_', " ").to_uppercase();
            let sums = lines.iter().map(|(name, sum)| (name.as_str(), sum));
            view::sums_table(&head, sums.chain((lines.len() > 1).then_some(("all", &all))))
        }
    };
    Ok(Answer { text, notes })
}

/// The columns of totals, in their order.
const TOTALS: [&str; 12] = [
    "requests",
    "errors",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "unpriced_requests",
    "estimated_requests",
    "cost_pico_usd",
    "cost_usd",
];

fn totals_csv(by: By, lines: &BTreeMap<String, Totals>) -> String {
    let head = [by.name()].into_iter().chain(TOTALS).map(str::to_owned).collect();
    let line = |(name, sum): (&String, &Totals)| {
        let figures = members(&Figures::of(sum)).unwrap_or_default();
        [name.clone()].into_iter().chain(TOTALS.iter().map(|column| plain(figures.get(column)))).collect()
    };
    csv::table([head].into_iter().chain(lines.iter().map(line)).collect::<Vec<Vec<String>>>())
}

/// The columns of rows, in their order; the last one is in dollars.
const ROWS: [&str; 33] = [
    "ts",
    "key_id",
    "user_id",
    "request_id",
    "round",
    "surface",
    "requested_model",
    "resolved_model",
    "base_model",
    "lane",
    "target",
    "region",
    "stream",
    "status",
    "http_status",
    "error_type",
    "stop_reason",
    "attempts",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "tier_requested",
    "tier_served",
    "cache_ttl",
    "estimated",
    "latency_ms",
    "ttft_ms",
    "upstream_request_id",
    "session",
    "cost_pico_usd",
];

pub(super) fn rows(
    rows: &[UsageRow],
    next: Option<&str>,
    as_csv: bool,
    form: Form,
) -> Result<Answer, Failure> {
    #[derive(Serialize)]
    struct Shown<'a> {
        rows: &'a [UsageRow],
        next_cursor: Option<&'a str>,
    }
    let text = match form {
        Form::People if as_csv => rows_csv(rows)?,
        Form::Json => view::json(&Shown { rows, next_cursor: next })?,
        Form::Quiet => view::ids(rows.iter().map(|row| row.request_id.escape_default())),
        Form::People => table(rows),
    };
    let notes = match (form, next) {
        (Form::People | Form::Quiet, Some(next)) => vec![format!("There are more: --cursor {next}")],
        (Form::People | Form::Quiet | Form::Json, _) => Vec::new(),
    };
    Ok(Answer { text, notes })
}

fn rows_csv(rows: &[UsageRow]) -> Result<String, Failure> {
    let head = ROWS.into_iter().chain(["cost_usd"]).map(str::to_owned).collect();
    let mut lines: Vec<Vec<String>> = vec![head];
    for row in rows {
        let figures = members(row)?;
        let cost = row.cost_pico_usd.map(|cost| cost.to_string()).unwrap_or_default();
        lines.push(ROWS.iter().map(|column| plain(figures.get(column))).chain([cost]).collect());
    }
    Ok(csv::table(lines))
}

fn table(rows: &[UsageRow]) -> String {
    let head = ["TIME", "KEY", "REQUEST", "MODEL", "STATUS", "IN", "OUT", "CACHE", "COST (USD)", "MS"];
    let mut lines = vec![head.map(String::from)];
    // What a caller wrote must not command the terminal.
    let printable = |text: &str| text.chars().filter(|char| !char.is_control()).collect::<String>();
    lines.extend(rows.iter().map(|row| {
        let written = row.cache_write_5m_tokens.saturating_add(row.cache_write_1h_tokens);
        [
            row.ts.to_string(),
            row.key_id.to_string(),
            printable(&row.request_id),
            printable(&row.base_model),
            row.status.as_str().to_owned(),
            row.input_tokens.to_string(),
            row.output_tokens.to_string(),
            row.cache_read_tokens.saturating_add(written).to_string(),
            row.cost_pico_usd.map_or_else(|| "unpriced".to_owned(), |cost| cost.to_string()),
            row.latency_ms.to_string(),
        ]
    }));
    view::columns(&lines)
}

fn members(value: &impl Serialize) -> Result<BTreeMap<&'static str, serde_json::Value>, Failure> {
    let value = serde_json::to_value(value)
        .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
    let columns = TOTALS.iter().chain(&ROWS);
    Ok(columns.filter_map(|name| Some((*name, value.get(name)?.clone()))).collect())
}

fn plain(value: Option<&serde_json::Value>) -> String {
    match value {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
