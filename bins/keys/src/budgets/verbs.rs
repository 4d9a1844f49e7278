//! Budgets that are reset, or extended for a time.

use store::{
    BudgetChange, BudgetExtension, BudgetReset, ErrorKind, KeyRecord, Period, PicoUsd, Store, Timestamp,
};

use super::args::{Budget, Extend, Reset};
use crate::{
    failure::Failure,
    verbs::{TRIES, find, show_record},
    view::{Answer, Form},
};

/// Does what was asked and shows the key as it stands then.
pub(crate) async fn run(
    store: &dyn Store,
    wanted: &Budget,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let (key, if_version) = match wanted {
        Budget::Reset(Reset { key, if_version, .. }) | Budget::Extend(Extend { key, if_version, .. }) => {
            (key, *if_version)
        }
    };
    let mut record = find(store, key).await?;
    for _ in 0..TRIES {
        if if_version.is_some_and(|version| version != record.version) {
            let message = format!("{} has version {} by now", record.key_id, record.version);
            return Err(Failure::conflict(message));
        }
        let changed = match wanted {
            Budget::Reset(reset) => after_reset(store, &record, reset, now).await?,
            Budget::Extend(extend) => after_extension(&record, extend, now)?,
        };
        // To ask for what is so already makes no version.
        if changed.budget_changes == record.budget_changes {
            return show_record(store, &record, form, now).await;
        }
        match store.update_key(&changed).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let found = store.key_by_id(&record.key_id).await?;
                record = found.ok_or_else(|| Failure::not_found("the key was deleted meanwhile"))?;
            }
            done => return show_record(store, &done?, form, now).await,
        }
    }
    Err(Failure::conflict(format!("{} is being changed by somebody else", record.key_id)))
}

async fn after_reset(
    store: &dyn Store,
    record: &KeyRecord,
    wanted: &Reset,
    now: Timestamp,
) -> Result<KeyRecord, Failure> {
    let mut changed = tidied(record, now);
    for period in chosen(record, &wanted.period.iter().map(|which| (*which).into()).collect::<Vec<_>>())? {
        let spent = store.usage_totals(&record.key_id, &period.bucket(now)).await?.cost_pico_usd;
        let change = changed.budget_changes.get_mut(period);
        // Before anything was spent, or anything more, there is nothing to reset.
        if change.reset.map_or(PicoUsd::ZERO, |reset| reset.spent) != spent {
            change.reset = Some(BudgetReset { at: now, spent });
        }
    }
    Ok(changed)
}

fn after_extension(record: &KeyRecord, wanted: &Extend, now: Timestamp) -> Result<KeyRecord, Failure> {
    let period = match (wanted.period, &chosen(record, &[])?[..]) {
        (Some(which), _) => which.into(),
        (None, [only]) => *only,
        (None, _) => return Err(Failure::usage("the key has several budgets: say which with --period")),
    };
    chosen(record, &[period])?;
    let until = wanted.lasting.map(|millis| now.plus_millis(millis)).or(wanted.until);
    if until.is_some_and(|until| until <= now) {
        return Err(Failure::usage("--until: this moment has passed"));
    }
    let extension = wanted.by.zip(until).map(|(by, until)| BudgetExtension { by, until });
    let mut changed = tidied(record, now);
    let change = changed.budget_changes.get_mut(period);
    if extension.is_none() && change.extension.is_none() {
        return Err(Failure::conflict(format!("the {period} budget of {} is not extended", record.key_id)));
    }
    change.extension = extension;
    Ok(changed)
}

/// The budgets that are named, all of which the key has; or all that it has.
fn chosen(record: &KeyRecord, named: &[Period]) -> Result<Vec<Period>, Failure> {
    let has: Vec<_> = record.budgets().limits.set().map(|(period, _)| period).collect();
    let without = |what: &str| Failure::conflict(format!("{} has no {what}", record.key_id));
    if let Some(absent) = named.iter().find(|period| !has.contains(period)) {
        return Err(without(&format!("{absent} budget; `update` gives it one")));
    }
    match (named, &has[..]) {
        ([], []) => Err(without("budget")),
        ([], _) => Ok(has),
        (named, _) => Ok(named.to_vec()),
    }
}

/// Without what is over by now.
fn tidied(record: &KeyRecord, now: Timestamp) -> KeyRecord {
    let mut changed = KeyRecord { updated_at: now, ..record.clone() };
    for period in Period::ALL {
        let change: &mut BudgetChange = changed.budget_changes.get_mut(period);
        *change = change.tidied(period, now);
    }
    changed
}
