//! What one store remembers, brought to another: keys with their hashes, rows of operators, usage. Every step may be made
//! again: what is there already stays as it is, and a row of usage counts once. What differs from it is named.

mod differences;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clap::Args as ClapArgs;
use serde::Serialize;
use store::{
    BudgetChange, BudgetReset, ByPeriod, ConfigKind, ConfigRow, DynamoDbSettings, ErrorKind, KeyFilter,
    KeyId, KeyRecord, Location, Page, Period, PicoUsd, Store, Timestamp, UsageQuery,
    secret::kept_hash_secret,
};

use crate::{
    args::{Args, Backend},
    failure::Failure,
    setup, usage,
    view::{self, Answer, Form},
};

/// How many keys are read at a time.
const KEYS: usize = 500;
/// How many rows of usage are read, and sent, at a time.
const ROWS: usize = 500;

#[derive(Debug, ClapArgs)]
pub(crate) struct Copy {
    /// Where to: the other store than --store, as the flags and variables name it
    #[arg(long, value_name = "STORE")]
    pub(crate) to: Backend,

    /// Leave out usage, and with it what was spent of budgets and their resets
    #[arg(long)]
    pub(crate) without_usage: bool,

    /// The gateways' USAGE_TTL_DAYS: how long the rows are kept there, from now on; 0 = for ever
    #[arg(long, env = "USAGE_TTL_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub(crate) usage_ttl_days: u32,
}

/// What of a key's totals is not in them there, because its rows are gone; a key that is not named lacks nothing.
type Gone = BTreeMap<KeyId, ByPeriod<PicoUsd>>;

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Copied {
    keys: Count,
    mapping: Count,
    pricing: Count,
    beta: Count,
    usage_rows: Count,
}

#[derive(Debug, Default, Serialize)]
struct Count {
    copied: usize,
    there_already: usize,
}

impl Count {
    /// `Conflict` says that it is there. Whether it was.
    fn note<T>(&mut self, put: store::Result<T>) -> Result<bool, Failure> {
        match put {
            Ok(_) => self.copied += 1,
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.there_already += 1;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }
}

/// What is said beside the counts.
#[derive(Debug, Default)]
struct Told {
    notes: Vec<String>,
    /// What the one store has and the other has not, or not so.
    differences: Vec<String>,
}

/// Copies from `from` to the store that the flags name. Where that has something else afterwards, that is a conflict.
pub(crate) async fn run(
    args: &Args,
    wanted: &Copy,
    from: &dyn Store,
    secret: Option<&str>,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let location = destination(args, wanted)?;
    let mut told = Told::default();
    let kept = kept_hash_secret(from).await?;
    match (secret, kept) {
        (None, Some(_)) => {
            return Err(Failure::usage(
                "KEY_HASH_SECRET must be set, here and for the gateways: \
                 the other store's gateways must hash as this one's do. `outcrop-keys hash-secret` shows it",
            ));
        }
        (None, None) => return Err(Failure::usage("KEY_HASH_SECRET must be set to the gateways' one")),
        (Some(secret), Some(kept)) if secret != kept => told.notes.push(
            "KEY_HASH_SECRET is not the secret that this store keeps: keys that were made without it stay unknown."
                .to_owned(),
        ),
        (Some(_), _) => {}
    }
    let to = store::open(&location).await?;
    let to = to.as_ref();
    let mut copied = Copied::default();
    for (kind, count) in [
        (ConfigKind::Mapping, &mut copied.mapping),
        (ConfigKind::Price, &mut copied.pricing),
        (ConfigKind::Beta, &mut copied.beta),
    ] {
        for row in from.config_rows(kind).await? {
            count.note(to.put_config_row(kind, &ConfigRow { version: 0, ..row }).await)?;
        }
        told.differences.extend(differences::rows(from, to, kind).await?);
    }
    // Usage before keys: no key is used there before what it has spent is known.
    let mut gone = None;
    if !wanted.without_usage {
        copied.usage_rows = usage_rows(from, to, now, gone.insert(Gone::new()), &mut told.notes).await?;
    }
    copied.keys = keys(from, to, now, gone.as_ref(), &mut told).await?;
    copied.answer(told, Form::of(args))
}

/// The secret that a store keeps because no program had one configured.
pub(crate) async fn hash_secret(from: &dyn Store, form: Form) -> Result<Answer, Failure> {
    let secret = kept_hash_secret(from).await?.ok_or_else(|| {
        Failure::not_found("this store keeps no secret: its gateways have KEY_HASH_SECRET, or it has no keys")
    })?;
    let text = match form {
        Form::Json => view::json(&BTreeMap::from([("key_hash_secret", &secret)]))?,
        Form::Quiet | Form::People => format!("{secret}\n"),
    };
    Ok(Answer { text, notes: Vec::new() })
}

fn destination(args: &Args, wanted: &Copy) -> Result<Location, Failure> {
    match (args.store, wanted.to) {
        (Backend::Sqlite, Backend::DynamoDb) => {
            let days = u64::from(wanted.usage_ttl_days);
            let keep_usage = (days > 0).then(|| Duration::from_hours(24 * days));
            Ok(Location::DynamoDb(DynamoDbSettings { keep_usage, ..setup::settings(args) }))
        }
        (Backend::DynamoDb, Backend::Sqlite) => Ok(Location::Sqlite(args.db.clone())),
        (Backend::Sqlite | Backend::DynamoDb | Backend::Memory, _) => {
            Err(Failure::usage("--to: from --store sqlite to dynamodb, or from dynamodb to sqlite"))
        }
    }
}

async fn keys(
    from: &dyn Store,
    to: &dyn Store,
    now: Timestamp,
    gone: Option<&Gone>,
    told: &mut Told,
) -> Result<Count, Failure> {
    let (mut count, mut page) = (Count::default(), Page::first(KEYS));
    let mut here = BTreeSet::new();
    loop {
        let listing = from.list_keys(&KeyFilter::default(), &page).await?;
        for record in listing.items {
            // Deleted meanwhile.
            let Some(hash) = from.key_hash(&record.key_id).await? else { continue };
            let (over, going_on): (Vec<_>, Vec<_>) =
                record.previous.iter().cloned().partition(|old| old.valid_until <= now);
            if let Some(until) = going_on.iter().map(|old| old.valid_until).max() {
                let id = &record.key_id;
                told.notes
                    .push(format!("{id}: an older key of it that goes on until {until} is not known there."));
            }
            let budget_changes = changes_there(&record, gone, now);
            let record = KeyRecord { previous: over, valid_until: None, budget_changes, ..record };
            if count.note(to.put_new_key(&hash, &record).await)? {
                told.differences.extend(differences::key(to, &hash, &record, gone.is_some(), now).await?);
            }
            here.insert(record.key_id);
        }
        let Some(next) = listing.next else { break };
        page = Page::after(next, KEYS);
    }
    told.differences.extend(differences::keys_without(to, &here, now).await?);
    Ok(count)
}

/// What was done about budgets, as it holds there. A reset raises what the totals may come to by what was spent before;
/// what of that is not in the totals there, or all of it where no usage comes along, could be spent once more.
fn changes_there(record: &KeyRecord, gone: Option<&Gone>, now: Timestamp) -> ByPeriod<BudgetChange> {
    let mut changes = record.budget_changes;
    for period in Period::ALL {
        let change = changes.get_mut(period);
        *change = change.tidied(period, now);
        change.reset = change.reset.zip(gone).map(|(reset, gone)| {
            let gone = gone.get(&record.key_id).map_or(PicoUsd::ZERO, |gone| gone.get(period));
            BudgetReset { spent: less(reset.spent, gone), ..reset }
        });
    }
    changes
}

/// Every row that is kept. What was counted of rows that are gone cannot be carried, and is said.
async fn usage_rows(
    from: &dyn Store,
    to: &dyn Store,
    now: Timestamp,
    gone: &mut Gone,
    notes: &mut Vec<String>,
) -> Result<Count, Failure> {
    let mut count = Count::default();
    for key_id in usage::keys(from, None, None).await? {
        let until = Timestamp::from_unix_millis(i64::MAX);
        let query = UsageQuery { key_id: key_id.clone(), since: Timestamp::EPOCH, until };
        let mut page = Page::first(ROWS);
        loop {
            let listing = from.usage_rows(&query, &page).await?;
            let recorded = to.record_usage(&listing.items).await?;
            count.copied += recorded.written;
            count.there_already += recorded.repeated;
            let Some(next) = listing.next else { break };
            page = Page::after(next, ROWS);
        }
        let lacking = missing(from, to, &key_id, now, notes).await?;
        gone.insert(key_id, lacking);
    }
    Ok(count)
}

/// What totals, and so budgets, do not know there. Asked right after the key's rows were copied: what is booked here
/// from then on comes with the next copy.
async fn missing(
    from: &dyn Store,
    to: &dyn Store,
    key_id: &KeyId,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> Result<ByPeriod<PicoUsd>, Failure> {
    let mut gone = ByPeriod::default();
    for period in Period::ALL {
        let bucket = period.bucket(now);
        let here = from.usage_totals(key_id, &bucket).await?.cost_pico_usd;
        let there = to.usage_totals(key_id, &bucket).await?.cost_pico_usd;
        let lacking = less(here, there);
        *gone.get_mut(period) = lacking;
        if lacking == PicoUsd::ZERO {
            continue;
        }
        let record = from.key_by_id(key_id).await?;
        let forgiven = record.map_or(PicoUsd::ZERO, |record| record.budgets().at(now).forgiven.get(period));
        let when = match period {
            Period::Total => "in all",
            Period::Monthly => "this month",
            Period::Daily => "today",
        };
        let advice = match less(lacking, forgiven) {
            PicoUsd::ZERO => "its budget was reset since, and needs no change".to_owned(),
            rest => format!("lower its budget by ${rest}"),
        };
        notes.push(format!(
            "{key_id}: of ${here} that was spent {when} only ${there} counts there, because the rows of the rest are \
             gone; {advice}."
        ));
    }
    Ok(gone)
}

fn less(amount: PicoUsd, taken: PicoUsd) -> PicoUsd {
    PicoUsd(amount.0.saturating_sub(taken.0))
}

impl Copied {
    /// The counts; with differences they are part of what the failure says, because the rest was copied.
    fn answer(&self, told: Told, form: Form) -> Result<Answer, Failure> {
        let Told { notes, differences } = told;
        if !differences.is_empty() {
            let lines = [notes, differences].concat().join("\n");
            let counts = self.lines();
            return Err(Failure::conflict(format!(
                "the other store is not the same; what it did not have was copied:\n{lines}\n{}",
                counts.trim_end()
            )));
        }
        let text = match form {
            Form::Json => view::json(self)?,
            Form::Quiet => String::new(),
            Form::People => self.lines(),
        };
        Ok(Answer { text, notes })
    }

    fn lines(&self) -> String {
        let Self { keys, mapping, pricing, beta, usage_rows } = self;
        let counts = [
            ("keys", keys),
            ("names of models", mapping),
            ("prices", pricing),
            ("beta flags", beta),
            ("rows of usage", usage_rows),
        ];
        let line = |(what, count): (&str, &Count)| {
            let Count { copied, there_already } = count;
            format!("{what}: {copied} copied, {there_already} there already\n")
        };
        counts.into_iter().map(line).collect()
    }
}
