//! The tables of a DynamoDB store: made, completed, compared.

use serde::Serialize;
use store::{
    DynamoDb, DynamoDbSettings, Timestamp,
    tables::{State, TableNames, TableState},
};

use crate::{
    args::{Args, Backend},
    failure::Failure,
    pricing, verbs,
    view::{self, Answer, Form},
};

/// The DynamoDB that the flags name.
pub(crate) fn settings(args: &Args) -> DynamoDbSettings {
    DynamoDbSettings {
        region: args.region.clone(),
        endpoint_url: args.dynamodb.endpoint_url.clone(),
        tables: TableNames { prefix: args.dynamodb.table_prefix.clone(), full: args.dynamodb.full_names() },
        // No usage is written from here.
        keep_usage: None,
    }
}

/// Makes what is missing, or with `check` only compares; with `prices`, the catalogue's are written too. A table that cannot be used is a conflict.
pub(crate) async fn run(args: &Args, check: bool, prices: bool, now: Timestamp) -> Result<Answer, Failure> {
    let states = match args.store {
        Backend::Sqlite | Backend::Memory => Vec::new(),
        Backend::DynamoDb => DynamoDb::setup(&settings(args), check).await?,
    };
    if states.iter().any(|table| !table.state.is_usable()) {
        let head =
            if check { "the tables are not as they should be" } else { "not every table can be mended" };
        return Err(Failure::conflict(format!("{head}:\n{}", lines(&states))));
    }
    let written = if prices {
        Some(pricing::write_defaults(verbs::open(args, None).await?.as_ref(), now).await?)
    } else {
        None
    };
    let text = match Form::of(args) {
        Form::Json => {
            view::json(&Shown { tables: states.iter().map(Table::of).collect(), prices_written: written })?
        }
        Form::Quiet => String::new(),
        Form::People if args.store == Backend::DynamoDb => lines(&states),
        Form::People if written.is_some() => String::new(),
        Form::People => "Nothing to set up: this store makes what it needs.\n".to_owned(),
    };
    if let (Form::People, Some(written)) = (Form::of(args), written) {
        return Ok(Answer {
            text: format!("{text}{written} prices of the catalogue written.\n"),
            notes: Vec::new(),
        });
    }
    Ok(Answer { text, notes: Vec::new() })
}

fn lines(states: &[TableState]) -> String {
    let line = |table: &TableState| {
        let Table { name, state, details } = Table::of(table);
        let details = if details.is_empty() { String::new() } else { format!(": {}", details.join(", ")) };
        format!("{name}  {}{details}\n", state.replace('_', " "))
    };
    states.iter().map(line).collect()
}

#[derive(Serialize)]
struct Shown<'a> {
    tables: Vec<Table<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prices_written: Option<usize>,
}

#[derive(Serialize)]
struct Table<'a> {
    name: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    details: &'a [String],
}

impl<'a> Table<'a> {
    fn of(table: &'a TableState) -> Self {
        let (state, details) = match &table.state {
            State::InOrder => ("in_order", &[][..]),
            State::Made => ("made", &[][..]),
            State::Changed(added) => ("completed", &added[..]),
            State::Missing => ("missing", &[][..]),
            State::Differs(differences) => ("differs", &differences[..]),
        };
        Self { name: &table.name, state, details }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn every_table_can_be_given_another_name() {
        let flags = store::tables::TABLES.map(|table| format!("--{0}-table=my-{0}", table.name));
        let line = ["outcrop-keys", "setup", "--region=r"].into_iter().map(str::to_owned).chain(flags);
        let settings = settings(&Args::try_parse_from(line).unwrap());
        assert_eq!(settings.region.as_deref(), Some("r"));
        for table in store::tables::TABLES {
            assert_eq!(settings.tables.of(&table), format!("my-{}", table.name));
        }
    }
}
