//! Beta flags: what was decided about them.

use serde::Serialize;
use store::{BetaKind, BetaRow, Store, Timestamp, config};

use crate::{
    args::rows::{Beta, SetBeta},
    failure::Failure,
    view::{self, Answer, Form},
};

pub(crate) async fn run(
    store: &dyn Store,
    what: &Beta,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    match what {
        Beta::List => listed(&config::list(store).await?, form),
        Beta::Set(wanted) => set(store, wanted, form, now).await,
        Beta::Remove { flag } => {
            config::remove::<BetaRow>(store, flag.trim(), None).await?;
            view::removed(flag.trim(), form)
        }
    }
}

async fn set(store: &dyn Store, wanted: &SetBeta, form: Form, now: Timestamp) -> Result<Answer, Failure> {
    let header_type = match (wanted.block, wanted.allow) {
        (true, _) => BetaKind::Blocklist,
        (false, true) => BetaKind::Allow,
        (false, false) => BetaKind::Mapping,
    };
    let header_name = wanted.flag.trim().to_owned();
    let stored = config::list::<BetaRow>(store).await?.into_iter().find(|old| old.header_name == header_name);
    let row = BetaRow {
        header_name,
        header_type,
        mapped_to: wanted.map_to.clone(),
        models: wanted.model.clone(),
        description: wanted.description.clone(),
        updated_at: now,
        version: stored.map_or(0, |old| old.version),
    };
    let row = config::put(store, &row).await?;
    let text = match form {
        Form::Json => view::json(&row)?,
        Form::Quiet => format!("{}\n", row.header_name),
        Form::People => format!("{}: {}.\n", row.header_name, fate(&row)),
    };
    Ok(Answer { text, notes: Vec::new() })
}

fn fate(row: &BetaRow) -> String {
    let what = match row.header_type {
        BetaKind::Mapping => format!("sent as {}", row.mapped_to.join(", ")),
        BetaKind::Blocklist => "never sent".to_owned(),
        BetaKind::Allow => "sent".to_owned(),
    };
    format!("{what} to {}", models(row))
}

fn models(row: &BetaRow) -> String {
    if row.models.is_empty() { "all models".to_owned() } else { row.models.join(", ") }
}

#[derive(Serialize)]
struct Listed<'a> {
    beta_headers: &'a [BetaRow],
}

fn listed(rows: &[BetaRow], form: Form) -> Result<Answer, Failure> {
    let text = match form {
        Form::Json => view::json(&Listed { beta_headers: rows })?,
        Form::Quiet => rows.iter().fold(String::new(), |text, row| text + &row.header_name + "\n"),
        Form::People => {
            let head = ["FLAG", "TYPE", "SENT INSTEAD", "MODELS", "CHANGED", "WHY"].map(String::from);
            let line = |row: &BetaRow| {
                [
                    row.header_name.clone(),
                    row.header_type.as_str().to_owned(),
                    if row.mapped_to.is_empty() { "–".to_owned() } else { row.mapped_to.join(", ") },
                    models(row),
                    view::day(row.updated_at),
                    row.description.clone().unwrap_or_else(|| "–".to_owned()),
                ]
            };
            view::columns(&[head].into_iter().chain(rows.iter().map(line)).collect::<Vec<_>>())
        }
    };
    Ok(Answer { text, notes: Vec::new() })
}
