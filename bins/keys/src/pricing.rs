//! Prices of models: listed, set, taken away, read from files.
//!
//! A change starts from the price that is in force, the row's or the catalogue's, and is shown before and beside it: a
//! price that was meant for one token, or for a thousand, should catch the eye.

mod file;

use std::{collections::BTreeMap, io::Read};

use catalog::{Catalog, Model};
use policy::listed as figures_of;
use serde::Serialize;
use store::{
    ErrorKind, PriceBand, PriceFigures, PriceRow, PriceSource, PriceStatus, Store, Timestamp, config,
};

use crate::{
    args::rows::{Pricing, SetPrice, Status},
    failure::Failure,
    values::{Maybe, usd},
    view::{self, Answer, Form},
};

/// Below this many micro-dollars per million tokens a price looks like one for a single token.
const SUSPICIOUS: u64 = 1_000;

pub(crate) async fn run(
    store: &dyn Store,
    what: &Pricing,
    stdin: &mut dyn Read,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    match what {
        Pricing::List => list(&config::list(store).await?, form),
        Pricing::Set(wanted) => set(store, wanted, form, now).await,
        Pricing::Remove { model } => {
            config::remove::<PriceRow>(store, model.trim(), None).await?;
            view::removed(model.trim(), form)
        }
        Pricing::Import { file, dry_run, overwrite } => {
            let rows = file::read(file, stdin)?;
            import(store, rows, *dry_run, *overwrite, form, now).await
        }
    }
}

/// A row as people and files write it: USD per million tokens, as text.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    model_id: &'a str,
    provider: &'a str,
    display_name: &'a str,
    #[serde(flatten)]
    figures: ShownFigures,
    regional_multiplier: String,
    band: Option<ShownBand>,
    status: &'static str,
    source: &'static str,
    updated_at: Timestamp,
    version: u64,
}

#[derive(Debug, Serialize)]
struct ShownFigures {
    input: String,
    output: String,
    cache_read: Option<String>,
    cache_write_5m: Option<String>,
    cache_write_1h: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownBand {
    above_input_tokens: u32,
    #[serde(flatten)]
    figures: ShownFigures,
}

impl From<PriceFigures> for ShownFigures {
    fn from(figures: PriceFigures) -> Self {
        Self {
            input: usd(figures.input),
            output: usd(figures.output),
            cache_read: figures.cache_read.map(usd),
            cache_write_5m: figures.cache_write_5m.map(usd),
            cache_write_1h: figures.cache_write_1h.map(usd),
        }
    }
}

impl<'a> From<&'a PriceRow> for Shown<'a> {
    fn from(row: &'a PriceRow) -> Self {
        let band = |band: PriceBand| ShownBand {
            above_input_tokens: band.above_input_tokens,
            figures: band.figures.into(),
        };
        Self {
            model_id: &row.model_id,
            provider: &row.provider,
            display_name: &row.display_name,
            figures: row.figures.into(),
            regional_multiplier: factor(row.regional_multiplier),
            band: row.band.map(band),
            status: row.status.as_str(),
            source: row.source.as_str(),
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// 110 as `1.10`.
fn factor(percent: u16) -> String {
    format!("{}.{:02}", percent / 100, percent % 100)
}

#[derive(Serialize)]
struct Listed<'a> {
    prices: Vec<Shown<'a>>,
}

fn list(rows: &[PriceRow], form: Form) -> Result<Answer, Failure> {
    let text = match form {
        Form::Json => view::json(&Listed { prices: rows.iter().map(Shown::from).collect() })?,
        Form::Quiet => rows.iter().fold(String::new(), |text, row| text + &row.model_id + "\n"),
        Form::People => {
            let head = [
                "MODEL", "PROVIDER", "IN", "OUT", "READ", "WRITE 5M", "WRITE 1H", "REGIONAL", "ABOVE",
                "STATUS", "SOURCE", "CHANGED",
            ]
            .map(String::from);
            view::columns(&[head].into_iter().chain(rows.iter().map(table_line)).collect::<Vec<_>>())
        }
    };
    let note = "USD per million tokens. A model without a row here costs what the catalogue says: `mapping test MODEL`.";
    let notes = if form == Form::People { vec![note.to_owned()] } else { Vec::new() };
    Ok(Answer { text, notes })
}

fn table_line(row: &PriceRow) -> [String; 12] {
    let or_dash = |figure: Option<u64>| figure.map_or_else(|| "–".to_owned(), usd);
    [
        row.model_id.clone(),
        row.provider.clone(),
        usd(row.figures.input),
        usd(row.figures.output),
        or_dash(row.figures.cache_read),
        or_dash(row.figures.cache_write_5m),
        or_dash(row.figures.cache_write_1h),
        factor(row.regional_multiplier),
        row.band.map_or_else(|| "–".to_owned(), |band| band.above_input_tokens.to_string()),
        row.status.as_str().to_owned(),
        row.source.as_str().to_owned(),
        view::day(row.updated_at),
    ]
}

/// The price that is in force for an id without a row: the catalogue's.
fn from_catalogue(catalog: &Catalog, id: &str, now: Timestamp) -> Option<PriceRow> {
    default_row(catalog.find(id)?, id, now)
}

fn default_row(model: &Model, id: &str, now: Timestamp) -> Option<PriceRow> {
    let price = model.price?;
    Some(PriceRow {
        model_id: id.to_owned(),
        provider: provider(model.id),
        display_name: model.display_name.to_owned(),
        figures: figures_of(&price),
        regional_multiplier: price.regional_percent,
        band: price.band.map(|band| PriceBand {
            above_input_tokens: band.above_input_tokens,
            figures: figures_of(&band.price),
        }),
        source: PriceSource::Default,
        status: PriceStatus::Active,
        updated_at: now,
        version: 0,
    })
}

/// The maker's part of an id.
fn provider(id: &str) -> String {
    let base = catalog::name::split_prefix(id).map_or(id, |(_, base)| base);
    base.split('.').next().unwrap_or(base).chars().take(128).collect()
}

async fn set(store: &dyn Store, wanted: &SetPrice, form: Form, now: Timestamp) -> Result<Answer, Failure> {
    let id = wanted.model.trim();
    let stored = config::list::<PriceRow>(store).await?.into_iter().find(|row| row.model_id == id);
    let before = stored.clone().or_else(|| from_catalogue(&Catalog::builtin(), id, now));
    let row = changed(before.clone(), wanted, now)?;
    let row = PriceRow { version: stored.map_or(0, |row| row.version), ..row };
    let kept = if wanted.dry_run {
        config::Row::check(&row)?;
        row
    } else {
        config::put(store, &row).await?
    };
    let text = match form {
        Form::Json => view::json(&Shown::from(&kept))?,
        Form::Quiet => format!("{}\n", kept.model_id),
        Form::People => preview(before.as_ref(), &kept, wanted.dry_run),
    };
    Ok(Answer { text, notes: suspicions(&kept).into_iter().collect() })
}

fn changed(before: Option<PriceRow>, wanted: &SetPrice, now: Timestamp) -> Result<PriceRow, Failure> {
    let id = wanted.model.trim().to_owned();
    let new = || {
        let (Some(input), Some(output)) = (wanted.input, wanted.output) else {
            return Err(Failure::usage("this model has no price yet: --input and --output are needed"));
        };
        let known = Catalog::builtin().find(&id).map(|model| model.display_name.to_owned());
        Ok(PriceRow {
            provider: provider(&id),
            display_name: known.unwrap_or_else(|| id.chars().take(64).collect()),
            figures: PriceFigures {
                input,
                output,
                cache_read: None,
                cache_write_5m: None,
                cache_write_1h: None,
            },
            regional_multiplier: 100,
            band: None,
            source: PriceSource::Manual,
            status: PriceStatus::Active,
            updated_at: now,
            version: 0,
            model_id: id.clone(),
        })
    };
    let mut row = before.map_or_else(new, Ok)?;
    let cached = |member: &mut Option<u64>, wish: Option<Maybe>| match wish {
        Some(Maybe::Some(price)) => *member = Some(price),
        Some(Maybe::None) => *member = None,
        None => {}
    };
    row.figures.input = wanted.input.unwrap_or(row.figures.input);
    row.figures.output = wanted.output.unwrap_or(row.figures.output);
    cached(&mut row.figures.cache_read, wanted.cache_read);
    cached(&mut row.figures.cache_write_5m, wanted.cache_write);
    cached(&mut row.figures.cache_write_1h, wanted.cache_write_1h);
    row.provider = wanted.provider.clone().unwrap_or(row.provider);
    row.display_name = wanted.display_name.clone().unwrap_or(row.display_name);
    row.regional_multiplier = wanted.regional_multiplier.unwrap_or(row.regional_multiplier);
    row.status = match wanted.status {
        Some(Status::Active) => PriceStatus::Active,
        Some(Status::Disabled) => PriceStatus::Disabled,
        None => row.status,
    };
    row.source = PriceSource::Manual;
    row.updated_at = now;
    Ok(row)
}

/// What it was and what it is, member by member, and what a request would cost.
fn preview(before: Option<&PriceRow>, after: &PriceRow, dry_run: bool) -> String {
    let columns = |row: &PriceRow| {
        let [_, _, input, output, read, short, long, regional, above, status, source, _] = table_line(row);
        [input, output, read, short, long, regional, above, status, source, example(row)]
    };
    let names = [
        "input",
        "output",
        "cache read",
        "cache write 5m",
        "cache write 1h",
        "regional",
        "other above",
        "status",
        "source",
        "10,000 in, 1,000 out",
    ];
    let old = before.map(columns);
    let mut rows = vec![[
        after.model_id.clone(),
        "BEFORE".to_owned(),
        if dry_run { "WOULD BE" } else { "NOW" }.to_owned(),
    ]];
    for (at, (name, new)) in names.into_iter().zip(columns(after)).enumerate() {
        let old = old.as_ref().and_then(|old| old.get(at).cloned()).unwrap_or_else(|| "–".to_owned());
        rows.push([name.to_owned(), old, new]);
    }
    view::columns(&rows)
}

/// What a request of usual size costs, in dollars.
fn example(row: &PriceRow) -> String {
    let micro = u128::from(row.figures.input) * 10_000 + u128::from(row.figures.output) * 1_000;
    store::PicoUsd(micro).to_string()
}

/// A hint where a price looks like one for a token.
fn suspicions(row: &PriceRow) -> Option<String> {
    let low = |price: u64| price > 0 && price < SUSPICIOUS;
    (low(row.figures.input) || low(row.figures.output)).then(|| {
        format!(
            "Prices are USD per million tokens; those of {} look like prices for one token.",
            row.model_id
        )
    })
}

/// Writes the catalogue's prices where there is none, and over those that were written so before. Returns how many.
pub(crate) async fn write_defaults(store: &dyn Store, now: Timestamp) -> Result<usize, Failure> {
    let stored = by_id(store).await?;
    let mut written = 0;
    for row in Catalog::builtin().list().into_iter().filter_map(|model| default_row(model, model.id, now)) {
        let old = stored.get(&row.model_id);
        if old.is_some_and(|old| old.source != PriceSource::Default || same(old, &row)) {
            continue;
        }
        match config::put(store, &PriceRow { version: old.map_or(0, |old| old.version), ..row }).await {
            Ok(_) => written += 1,
            // Somebody else has just written one: theirs stands.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}

async fn by_id(store: &dyn Store) -> Result<BTreeMap<String, PriceRow>, Failure> {
    let rows = config::list::<PriceRow>(store).await?;
    Ok(rows.into_iter().map(|row| (row.model_id.clone(), row)).collect())
}

/// Whether two rows say the same, whoever says it and when.
fn same(old: &PriceRow, new: &PriceRow) -> bool {
    let neutral = |row: &PriceRow| PriceRow {
        version: 0,
        updated_at: Timestamp::EPOCH,
        source: PriceSource::Default,
        ..row.clone()
    };
    neutral(old) == neutral(new)
}

/// What an import does, row by row.
#[derive(Debug, Default, Serialize)]
struct Imported {
    dry_run: bool,
    added: Vec<String>,
    changed: Vec<String>,
    unchanged: Vec<String>,
    /// Set by hand, and therefore left alone.
    kept: Vec<String>,
}

async fn import(
    store: &dyn Store,
    rows: Vec<PriceRow>,
    dry_run: bool,
    overwrite: bool,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let stored = by_id(store).await?;
    let mut done = Imported { dry_run, ..Imported::default() };
    let (mut text, mut notes, mut puts) = (String::new(), Vec::new(), Vec::new());
    for row in rows {
        let old = stored.get(&row.model_id);
        let row = PriceRow { version: old.map_or(0, |old| old.version), updated_at: now, ..row };
        let list = match old {
            None => &mut done.added,
            Some(old) if same(old, &row) => &mut done.unchanged,
            Some(old) if old.source == PriceSource::Manual && !overwrite => &mut done.kept,
            Some(_) => &mut done.changed,
        };
        list.push(row.model_id.clone());
        if old.is_some_and(|old| same(old, &row) || (old.source == PriceSource::Manual && !overwrite)) {
            continue;
        }
        notes.extend(suspicions(&row));
        text.push_str(&preview(old, &row, dry_run));
        text.push('\n');
        puts.push(row);
    }
    if !dry_run {
        for row in &puts {
            config::put(store, row).await?;
        }
    }
    let text = match form {
        Form::Json => view::json(&done)?,
        Form::Quiet => puts.iter().fold(String::new(), |text, row| text + &row.model_id + "\n"),
        Form::People => text + &summary(&done),
    };
    Ok(Answer { text, notes })
}

fn summary(done: &Imported) -> String {
    let Imported { dry_run, added, changed, unchanged, kept } = done;
    let head = if *dry_run { "Would be" } else { "Prices" };
    let kept = match &kept[..] {
        [] => String::new(),
        some => {
            format!("; {} set by hand and kept ({}): --overwrite changes them", some.len(), some.join(", "))
        }
    };
    format!(
        "{head} added: {}, changed: {}, unchanged: {}{kept}.\n",
        added.len(),
        changed.len(),
        unchanged.len()
    )
}
