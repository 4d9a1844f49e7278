//! Totals counted again from rows.

use serde::Serialize;
use store::{Corrected, KeyId, Store, Timestamp, Totals};

use crate::{
    failure::Failure,
    view::{self, Answer, Form},
};

#[derive(Serialize)]
struct Shown<'a> {
    dry_run: bool,
    keys: usize,
    corrected: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    key_id: &'a KeyId,
    #[serde(flatten)]
    total: Corrected,
}

/// Days are counted from `from` on, else from where all rows are kept. A day with fewer rows than were counted looks as
/// if rows had been removed early: that is corrected only where `from` asks for it.
pub(super) async fn run(
    store: &dyn Store,
    keys: &[KeyId],
    from: Option<Timestamp>,
    kept: Timestamp,
    dry_run: bool,
    form: Form,
) -> Result<Answer, Failure> {
    let since = from.unwrap_or(kept);
    let mut corrected = Vec::new();
    for key_id in keys {
        let found = store.rebuild_usage(key_id, since, true).await?;
        if found.is_empty() {
            continue;
        }
        if let Some(day) = found.iter().find(|total| lacks_rows(total)).filter(|_| from.is_none() && !dry_run)
        {
            return Err(Failure::conflict(format!(
                "{key_id} has fewer rows than were counted in {}; if none were removed (USAGE_TTL_DAYS), say --from",
                day.bucket.escape_default()
            )));
        }
        let found = if dry_run { found } else { store.rebuild_usage(key_id, since, false).await? };
        corrected.extend(found.into_iter().map(|total| Line { key_id, total }));
    }
    let shown = Shown { dry_run, keys: keys.len(), corrected };
    let text = match form {
        Form::Json => view::json(&shown)?,
        Form::Quiet => {
            let mut ids: Vec<_> = shown.corrected.iter().map(|line| line.key_id).collect();
            ids.dedup();
            view::ids(ids)
        }
        Form::People if shown.corrected.is_empty() => {
            format!("The totals of {} keys are what their rows add up to.\n", shown.keys)
        }
        Form::People => table(&shown.corrected),
    };
    let notes = match form {
        Form::People if dry_run && !shown.corrected.is_empty() => {
            vec!["Nothing was changed (--dry-run).".to_owned()]
        }
        Form::People | Form::Json | Form::Quiet => Vec::new(),
    };
    Ok(Answer { text, notes })
}

fn lacks_rows(total: &Corrected) -> bool {
    let requests = |totals: Option<Totals>| totals.map_or(0, |totals| totals.requests);
    total.bucket.starts_with("day#") && requests(total.right) < requests(total.stood)
}

fn table(corrected: &[Line<'_>]) -> String {
    let head = ["KEY ID", "TOTAL", "REQUESTS", "COST (USD)", "COUNTED", "COSTS (USD)"];
    let mut rows = vec![head.map(String::from)];
    for Line { key_id, total } in corrected {
        let [(was, cost), (is, costs)] = [total.stood, total.right].map(|totals| {
            let totals = totals.unwrap_or_default();
            (totals.requests.to_string(), totals.cost_pico_usd.to_string())
        });
        rows.push([key_id.to_string(), total.bucket.escape_default().to_string(), was, cost, is, costs]);
    }
    view::columns(&rows)
}
