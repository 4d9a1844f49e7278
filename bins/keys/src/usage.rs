//! What was used: totals by day, month, model or key, the calls themselves, and totals counted again.

pub(crate) mod args;
mod csv;
mod rebuild;
mod view;

use std::collections::BTreeMap;

use store::{
    Bucket, KeyFilter, KeyId, Page, PeriodQuery, Span, Store, Timestamp, Totals, UsageQuery, UsageRow,
};

use crate::{
    failure::Failure,
    verbs,
    view::{Answer, Form},
};
use args::{By, Rebuild, Usage};

/// How many keys are asked for at a time.
const KEYS: usize = 500;
const DAY: i64 = Timestamp::DAY_MILLIS;

pub(crate) async fn run(
    store: &dyn Store,
    wanted: &Usage,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    if let Some(Rebuild::Rebuild { key, dry_run, from, .. }) = &wanted.rebuild {
        let keys = keys(store, key.as_deref(), None).await?;
        let kept = kept_since(wanted, now);
        return rebuild::run(store, &keys, *from, kept, *dry_run, form).await;
    }
    let keys = keys(store, wanted.key.as_deref(), wanted.user_id.as_deref()).await?;
    let until = wanted.until.unwrap_or(now);
    if wanted.since.is_some_and(|since| since >= until) {
        return Err(Failure::usage("--since: not before --until"));
    }
    if wanted.rows {
        rows(store, wanted, &keys, until, form, now).await
    } else {
        totals(store, wanted, &keys, until, form).await
    }
}

/// Since when rows are kept: what is older counts as gone, whether or not it is.
fn kept_since(wanted: &Usage, now: Timestamp) -> Timestamp {
    match wanted.days_kept {
        0 => Timestamp::EPOCH,
        days => now.plus_millis(-DAY * i64::from(days)),
    }
}

/// Whose usage: of a key, of a user's keys, or of all that ever had any.
pub(crate) async fn keys(
    store: &dyn Store,
    key: Option<&str>,
    user: Option<&str>,
) -> Result<Vec<KeyId>, Failure> {
    if let Some(typed) = key {
        // Usage outlives its key, and some is nobody's.
        if let Ok(id) = typed.parse::<KeyId>() {
            return Ok(vec![id]);
        }
        return Ok(vec![verbs::find(store, typed).await?.key_id]);
    }
    let (mut keys, mut page) = (Vec::new(), Page::first(KEYS));
    loop {
        let next = if let Some(user) = user {
            let filter = KeyFilter { user_id: Some(user.to_owned()), ..KeyFilter::default() };
            let listing = store.list_keys(&filter, &page).await?;
            keys.extend(listing.items.into_iter().map(|record| record.key_id));
            listing.next
        } else {
            let listing = store.usage_keys(&page).await?;
            keys.extend(listing.items);
            listing.next
        };
        let Some(next) = next else { return Ok(keys) };
        page = Page::after(next, KEYS);
    }
}

/// Every line's name and its sum, and who had part in them.
async fn totals(
    store: &dyn Store,
    wanted: &Usage,
    keys: &[KeyId],
    until: Timestamp,
    form: Form,
) -> Result<Answer, Failure> {
    for (flag, at) in [("--since", wanted.since), ("--until", wanted.until)] {
        if at.is_some_and(|at| at != at.day_start()) {
            return Err(Failure::usage(format!(
                "{flag}: totals are kept by day (UTC); give a date, or --rows"
            )));
        }
    }
    let by = wanted.by.unwrap_or(if wanted.key.is_some() { By::Day } else { By::Key });
    let days = if by == By::Month { 334 } else { 29 };
    let since = wanted.since.unwrap_or_else(|| until.plus_millis(-days * DAY).day_start());
    // The instant that ends the range is in no day of it.
    let last = until.plus_millis(-1);
    // Months come as months, but for one model they must be put together from its days.
    let (span, since, last) = match (by, &wanted.model) {
        (By::Month, None) => (Span::Months, since, last),
        (By::Month, Some(_)) => (Span::Days, first_of_month(since), last_of_month(last)),
        (By::Day | By::Model | By::Key, _) => (Span::Days, since, last),
    };
    let by_model = by == By::Model || wanted.model.is_some();
    let mut lines: BTreeMap<String, Totals> = BTreeMap::new();
    let mut users = Vec::new();
    for key_id in keys {
        let query = PeriodQuery { key_id: key_id.clone(), span, since, until: last };
        let mut used = false;
        for (bucket, sum) in store.usage_periods(&query).await? {
            let Some(line) = line(by, by_model, wanted.model.as_deref(), key_id, &bucket) else { continue };
            let total = lines.entry(line).or_default();
            *total = total.merged(&sum);
            used = true;
        }
        users.extend(Some(key_id).filter(|_| used));
    }
    view::totals(by, since, until, &lines, &users, wanted.csv, form)
}

/// On which line a total counts.
fn line(by: By, by_model: bool, model: Option<&str>, key_id: &KeyId, bucket: &Bucket) -> Option<String> {
    let (period, of_model) = match bucket {
        Bucket::Total => return None,
        Bucket::Month(at) => (month(*at), None),
        Bucket::Day(at) | Bucket::DayModel(at, _) if by == By::Month => (month(*at), of_model(bucket)),
        Bucket::Day(at) | Bucket::DayModel(at, _) => (date(*at), of_model(bucket)),
    };
    // A day stands there twice: whole, and model by model.
    if by_model != of_model.is_some() || model.is_some_and(|model| of_model != Some(model)) {
        return None;
    }
    Some(match by {
        By::Day | By::Month => period,
        By::Model => of_model?.to_owned(),
        By::Key => key_id.to_string(),
    })
}

fn of_model(bucket: &Bucket) -> Option<&str> {
    match bucket {
        Bucket::DayModel(_, model) => Some(model),
        Bucket::Total | Bucket::Month(_) | Bucket::Day(_) => None,
    }
}

fn date(at: Timestamp) -> String {
    at.to_string().chars().take("2026-11-21".len()).collect()
}

fn month(at: Timestamp) -> String {
    at.to_string().chars().take("2026-11".len()).collect()
}

fn first_of_month(at: Timestamp) -> Timestamp {
    format!("{}-01T00:00:00Z", month(at)).parse().unwrap_or(at)
}

fn last_of_month(at: Timestamp) -> Timestamp {
    first_of_month(first_of_month(at).plus_millis(31 * DAY)).plus_millis(-1)
}

async fn rows(
    store: &dyn Store,
    wanted: &Usage,
    keys: &[KeyId],
    until: Timestamp,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let kept = kept_since(wanted, now);
    let since = wanted.since.unwrap_or_else(|| until.plus_millis(-30 * DAY)).max(kept);
    let fits = |row: &UsageRow| {
        wanted.model.as_ref().is_none_or(|model| *model == row.base_model)
            && wanted.status.is_none_or(|status| status == row.status)
    };
    let limit = usize::from(wanted.limit);
    let (mut rows, mut cursor) = (Vec::new(), wanted.cursor.clone());
    let mut more = false;
    for key_id in keys {
        let query = UsageQuery { key_id: key_id.clone(), since, until };
        loop {
            // A page holds no more than there is room for, so that its end is where others may go on.
            let page = Page { limit: limit - rows.len(), cursor: cursor.take() };
            let listing = store.usage_rows(&query, &page).await?;
            rows.extend(listing.items.into_iter().filter(|row| fits(row)));
            cursor = listing.next;
            if cursor.is_none() || rows.len() >= limit {
                break;
            }
        }
        if rows.len() >= limit {
            more = cursor.is_some() || Some(key_id) != keys.last();
            break;
        }
    }
    let next = cursor.filter(|_| wanted.key.is_some());
    let mut answer = view::rows(&rows, next.as_deref(), wanted.csv, form)?;
    if wanted.since.is_some_and(|since| since < kept) {
        answer.notes.push(format!("Rows before {kept} are not kept (USAGE_TTL_DAYS)."));
    }
    if more && next.is_none() {
        answer.notes.push("There may be more: raise --limit, or name a KEY.".to_owned());
    }
    Ok(answer)
}
