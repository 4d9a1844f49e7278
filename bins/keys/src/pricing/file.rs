//! Prices in a file: CSV with a line of names, or JSON, either in USD per million tokens. Every row is checked before any
//! is used, and all that is wrong is said at once.

use std::{collections::BTreeMap, fs, io::Read, path::Path};

use serde_json::{Map, Value};
use store::{PriceBand, PriceFigures, PriceRow, PriceSource, PriceStatus, Timestamp, config::Row as _};

use super::provider;
use crate::{failure::Failure, values};

/// More than any list of prices has.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// What a row may have. In CSV, members of the band carry `band_` in front.
const MEMBERS: &[&str] = &[
    "model_id",
    "provider",
    "display_name",
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "regional_multiplier",
    "status",
    "band_above_input_tokens",
    "band_input",
    "band_output",
    "band_cache_read",
    "band_cache_write_5m",
    "band_cache_write_1h",
];
/// What `pricing list --json` writes besides, and nobody imports.
const IGNORED: &[&str] = &["source", "updated_at", "version"];
const BAND: &str = "band_";

/// The members of a row by name; what is empty is absent.
type Cells = BTreeMap<String, String>;

/// The rows of a file; `-` is stdin.
pub(super) fn read(path: &Path, stdin: &mut dyn Read) -> Result<Vec<PriceRow>, Failure> {
    let shown = path.display();
    let cannot = |error: std::io::Error| Failure::failed(format!("cannot read {shown}: {error}"));
    let mut text = String::new();
    if path == Path::new("-") {
        stdin.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    } else {
        fs::File::open(path)
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
            .map_err(cannot)?;
    }
    if text.len() as u64 > MOST_BYTES {
        return Err(Failure::usage(format!("{shown} is larger than 4 MiB")));
    }
    let rows = parse(&text)?;
    if rows.is_empty() {
        return Err(Failure::usage(format!("{shown} has no rows")));
    }
    Ok(rows)
}

fn parse(text: &str) -> Result<Vec<PriceRow>, Failure> {
    let text = text.trim_start_matches('\u{feff}');
    let json = text.trim_start().starts_with(['[', '{']);
    let tables = if json { from_json(text)? } else { from_csv(text)? };
    let (mut rows, mut wrong): (Vec<PriceRow>, Vec<String>) = (Vec::new(), Vec::new());
    for (place, cells) in tables {
        let id = cells.get("model_id").cloned().unwrap_or_default();
        match row(&cells) {
            Ok(row) if rows.iter().any(|other| other.model_id == row.model_id) => {
                wrong.push(format!("row {place} ({id}): the same model twice"));
            }
            Ok(row) => rows.push(row),
            Err(reason) => wrong.push(format!("row {place} ({id}): {reason}")),
        }
    }
    if wrong.is_empty() {
        return Ok(rows);
    }
    Err(Failure::usage(format!("nothing was imported:\n  {}", wrong.join("\n  "))))
}

fn row(cells: &Cells) -> Result<PriceRow, String> {
    if let Some(unknown) = cells.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(format!("{unknown}: no such member"));
    }
    let model_id = cells.get("model_id").ok_or("model_id is missing")?.clone();
    let banded = cells.keys().any(|name| name.starts_with(BAND));
    let band = if banded {
        let bound = cells.get("band_above_input_tokens").ok_or("band: above_input_tokens is missing")?;
        let above_input_tokens =
            bound.parse().map_err(|_| "band: above_input_tokens is a whole number".to_owned())?;
        Some(PriceBand { above_input_tokens, figures: figures(cells, BAND)? })
    } else {
        None
    };
    let row = PriceRow {
        provider: cells.get("provider").cloned().unwrap_or_else(|| provider(&model_id)),
        display_name: cells
            .get("display_name")
            .cloned()
            .unwrap_or_else(|| model_id.chars().take(64).collect()),
        figures: figures(cells, "")?,
        regional_multiplier: cells
            .get("regional_multiplier")
            .map_or(Ok(100), |text| values::multiplier(text))
            .map_err(|reason| format!("regional_multiplier: {reason}"))?,
        band,
        source: PriceSource::Import,
        status: match cells.get("status").map(String::as_str) {
            None | Some("active") => PriceStatus::Active,
            Some("disabled") => PriceStatus::Disabled,
            Some(_) => return Err("status: active or disabled".to_owned()),
        },
        updated_at: Timestamp::EPOCH,
        version: 0,
        model_id,
    };
    row.check().map_err(|error| error.to_string())?;
    Ok(row)
}

fn figures(cells: &Cells, prefix: &str) -> Result<PriceFigures, String> {
    let maybe = |name: &str| {
        let name = format!("{prefix}{name}");
        let price = cells.get(&name).map(|text| values::price(text)).transpose();
        price.map_err(|reason| format!("{name}: {reason}"))
    };
    let needed = |name: &str| maybe(name)?.ok_or_else(|| format!("{prefix}{name} is missing"));
    Ok(PriceFigures {
        input: needed("input")?,
        output: needed("output")?,
        cache_read: maybe("cache_read")?,
        cache_write_5m: maybe("cache_write_5m")?,
        cache_write_1h: maybe("cache_write_1h")?,
    })
}

/// `[row]`, or `{"prices": [row]}` as the list is written.
fn from_json(text: &str) -> Result<Vec<(usize, Cells)>, Failure> {
    let wrong = || Failure::usage("expected a JSON list of prices, each an object");
    let value: Value =
        serde_json::from_str(text).map_err(|error| Failure::usage(format!("no JSON: {error}")))?;
    let list = match value {
        Value::Array(list) => list,
        Value::Object(mut members) => match members.remove("prices") {
            Some(Value::Array(list)) => list,
            Some(_) | None => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    let object = |(at, value)| match value {
        Value::Object(members) => Ok((at + 1, cells(members, "").map_err(Failure::usage)?)),
        _ => Err(wrong()),
    };
    list.into_iter().enumerate().map(object).collect()
}

fn cells(members: Map<String, Value>, prefix: &str) -> Result<Cells, String> {
    let mut found = Cells::new();
    for (name, value) in members {
        match value {
            Value::Null => {}
            Value::String(text) if text.trim().is_empty() => {}
            _ if prefix.is_empty() && IGNORED.contains(&name.as_str()) => {}
            Value::String(text) => drop(found.insert(format!("{prefix}{name}"), text.trim().to_owned())),
            Value::Number(number) => drop(found.insert(format!("{prefix}{name}"), number.to_string())),
            Value::Object(band) if name == "band" && prefix.is_empty() => found.extend(cells(band, BAND)?),
            _ => return Err(format!("{prefix}{name}: expected text or a number")),
        }
    }
    Ok(found)
}

fn from_csv(text: &str) -> Result<Vec<(usize, Cells)>, Failure> {
    let mut records =
        records(text).map_err(|line| Failure::usage(format!("line {line}: an open quote")))?.into_iter();
    let (_, names) = records.next().ok_or_else(|| Failure::usage("the file is empty"))?;
    let names: Vec<_> = names.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    if !names.iter().any(|name| name == "model_id") {
        let known = MEMBERS.join(",");
        return Err(Failure::usage(format!("the first line names the columns, of these: {known}")));
    }
    let mut rows = Vec::new();
    for (line, record) in records {
        if record.len() > names.len() {
            return Err(Failure::usage(format!("line {line}: more values than there are columns")));
        }
        let cells = names.iter().cloned().zip(record.iter().map(|cell| cell.trim().to_owned()));
        let kept = cells.filter(|(name, cell)| !cell.is_empty() && !IGNORED.contains(&name.as_str()));
        rows.push((line, kept.collect()));
    }
    Ok(rows)
}

/// The records of a CSV text with the lines they begin at, as <https://www.rfc-editor.org/rfc/rfc4180> has them; empty ones
/// are left out. `Err` is the line of a quote that is never closed.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let (mut records, mut record, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut began, mut quoted, mut opened) = (1, 1, false, 1);
    let mut end_record = |record: &mut Vec<String>, cell: &mut String, began: usize| {
        record.push(std::mem::take(cell));
        let whole = std::mem::take(record);
        if whole.iter().any(|cell| !cell.trim().is_empty()) {
            records.push((began, whole));
        }
    };
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.trim().is_empty() => {
                cell.clear();
                (quoted, opened) = (true, line);
            }
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\n' => {
                line += 1;
                if quoted {
                    cell.push(c);
                } else {
                    end_record(&mut record, &mut cell, began);
                    began = line;
                }
            }
            other => cell.push(other),
        }
    }
    if quoted {
        return Err(opened);
    }
    end_record(&mut record, &mut cell, began);
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_has_quotes_blank_lines_and_both_line_ends() {
        let text = "a,b\r\n\"x, \"\"y\"\"\",\"two\nlines\"\r\n\r\n,z\n";
        let own = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let found: Vec<_> = records(text)
            .unwrap()
            .into_iter()
            .map(|(line, cells)| (line, cells.iter().map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()))
            .collect();
        let expected = [(1, own(&["a", "b"])), (2, own(&["x, \"y\"", "two\nlines"])), (5, own(&["", "z"]))];
        assert_eq!(found, expected);
        assert_eq!(records("a,\"b\nc"), Err(1));
    }

    #[test]
    fn the_same_price_reads_the_same_from_both_forms() {
        let csv = "model_id,input,output,cache_read,regional_multiplier,band_above_input_tokens,band_input,band_output\n\
                   a.b,3,15.00,0.3,1.1,200000,6,22.5\n";
        let json = r#"{"prices": [{"model_id": "a.b", "input": "3", "output": 15, "cache_read": 0.3, "version": 7,
            "regional_multiplier": 1.1, "band": {"above_input_tokens": 200000, "input": 6, "output": "22.50"}}]}"#;
        let [row] = &parse(csv).unwrap()[..] else { panic!("one row") };
        assert_eq!(parse(json).unwrap(), std::slice::from_ref(row));
        assert_eq!((row.figures.cache_read, row.regional_multiplier), (Some(300_000), 110));
        assert_eq!(row.band.unwrap().figures.output, 22_500_000);
        assert_eq!((row.provider.as_str(), row.display_name.as_str()), ("a", "a.b"));
    }

    #[test]
    fn every_wrong_row_is_named_at_once() {
        let csv = "model_id,input,output,colour\n\
                   good,1,2,\nlow,-1,2,\nmissing,1,,\nper-token,3000000,1,\ngood,1,2,\nred,1,2,red\n";
        let error = parse(csv).unwrap_err().to_string();
        for said in [
            "row 3 (low): input",
            "row 4 (missing): output is missing",
            "row 5 (per-token): input",
            "meant for one token",
            "row 6 (good): the same model twice",
            "row 7 (red): colour",
        ] {
            assert!(error.contains(said), "{said}: {error}");
        }
        for wrong in
            ["", "input,output\n1,2", "[1]", "{}", "[{\"model_id\": [1]}]", "{", "model_id,input\na,1,2"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
