//! The statements about configuration. A row's members are the attributes of its item, so that it can be read, and changed,
//! in AWS's console.

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use serde_json::Value;

use super::{
    Db, client, failure,
    item::{self, Item, broken, number, read_number, read_text, text},
    tables::{BETA_HEADERS, MODEL_MAPPING, MODEL_PRICING, Table},
};
use crate::{
    ConfigKind, ConfigRow, Error, ErrorKind, Result, Timestamp,
    config::{missing, stands},
};

const VERSION: &str = "version";

fn table(kind: ConfigKind) -> &'static Table {
    match kind {
        ConfigKind::Mapping => &MODEL_MAPPING,
        ConfigKind::Price => &MODEL_PRICING,
        ConfigKind::Beta => &BETA_HEADERS,
    }
}

fn key(kind: ConfigKind, id: &str) -> Item {
    Item::from([(kind.id_member().to_owned(), text(id))])
}

pub(super) async fn list(db: &Db, kind: ConfigKind) -> Result<Vec<ConfigRow>> {
    let (mut rows, mut from) = (Vec::new(), None);
    loop {
        let answer = db
            .clients
            .reads
            .scan()
            .table_name(db.names.of(table(kind)))
            .consistent_read(true)
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|error| failure::of(&format!("reading {}", kind.table()), &error))?;
        let now = Timestamp::now();
        for item in answer.items().iter().filter(|item| item::is_alive(item, now)) {
            rows.push(read(kind, item)?);
        }
        from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            rows.sort_by(|a: &ConfigRow, b| a.id.cmp(&b.id));
            return Ok(rows);
        }
    }
}

/// Sent once: a repeat of a call that arrived would meet its own row.
pub(super) async fn put(db: &Db, kind: ConfigKind, row: &ConfigRow) -> Result<u64> {
    let version = row.version.saturating_add(1);
    let mut item = item::from_json(Value::Object(row.members.clone()));
    item.extend(key(kind, &row.id));
    item.insert(VERSION.to_owned(), number(version));
    let put = db.clients.writes.put_item().table_name(db.names.of(table(kind))).set_item(Some(item));
    let put = if row.version == 0 {
        put.condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", kind.id_member())
    } else {
        put.condition_expression("#version = :old")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":old", number(row.version))
    };
    match put.customize().config_override(client::once()).send().await {
        Ok(_) => Ok(version),
        Err(error) => Err(refused(db, kind, row, row.version == 0, &error).await),
    }
}

pub(super) async fn remove(db: &Db, kind: ConfigKind, id: &str, version: Option<u64>) -> Result<()> {
    let removal =
        db.clients.writes.delete_item().table_name(db.names.of(table(kind))).set_key(Some(key(kind, id)));
    let removal = match version {
        None => removal
            .condition_expression("attribute_exists(#id)")
            .expression_attribute_names("#id", kind.id_member()),
        Some(version) => removal
            .condition_expression("#version = :old")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":old", number(version)),
    };
    let row = || ConfigRow {
        id: id.to_owned(),
        version: version.unwrap_or(u64::MAX),
        members: serde_json::Map::new(),
    };
    match removal.customize().config_override(client::once()).send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(db, kind, &row(), false, &error).await),
    }
}

/// Which condition did not hold: that there is a row (there may be none of that id where it is `new`), or that it is the
/// named version.
async fn refused<E>(
    db: &Db,
    kind: ConfigKind,
    row: &ConfigRow,
    new: bool,
    error: &SdkError<E, HttpResponse>,
) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let error = failure::of(&format!("changing {}", kind.table()), error);
    if error.kind() != ErrorKind::Conflict {
        return error;
    }
    match db.get(table(kind), key(kind, &row.id)).await {
        Ok(None) if !new => missing(kind, &row.id),
        Ok(_) => stands(kind, row),
        Err(error) => error,
    }
}

fn read(kind: ConfigKind, item: &Item) -> Result<ConfigRow> {
    let id = read_text(item, kind.id_member())?.to_owned();
    let version = read_number(item, VERSION)?.unwrap_or(0);
    let Value::Object(mut members) = item::to_json(item) else { return Err(broken(&id)) };
    // A set of patterns, say, that was made by hand: what is left out could be what the row is limited to.
    if members.len() < item.len() {
        return Err(broken(&format!(
            "the row `{id}` of {} has attributes of a kind that is not read",
            kind.table()
        )));
    }
    members.remove(kind.id_member());
    members.remove(VERSION);
    Ok(ConfigRow { id, version, members })
}
