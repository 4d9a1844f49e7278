//! What is done.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use clap::ValueEnum as _;
use store::{
    Bucket, KeyFilter, KeyId, KeyRecord, KeyStatus, Location, NewKey, Page, Store, Timestamp, hash_secret,
    secret::{KEY_MAX, KEY_PREFIX},
};

use crate::{
    args::{Args, Backend, Create, Field, List, Update, Verb, Wishes},
    beta, budgets, copy,
    failure::Failure,
    mapping, pricing, rotate, setup, usage,
    view::{self, Answer, Form},
};

/// How often an update is tried when somebody else changes the key at the same time.
pub(crate) const TRIES: usize = 5;

/// How many keys are read at once where few of them may be wanted.
const SIFTED_AT_ONCE: usize = 100;

/// The store that the flags name.
pub(crate) async fn open(args: &Args, secret: Option<&str>) -> Result<Arc<dyn Store>, Failure> {
    match args.store {
        Backend::Sqlite => {}
        Backend::DynamoDb => {
            if matches!(args.verb, Verb::Create(_) | Verb::Rotate(_)) && secret.is_none() {
                return Err(Failure::usage("KEY_HASH_SECRET must be set with dynamodb, to the gateway's"));
            }
            return Ok(store::open(&Location::DynamoDb(setup::settings(args))).await?);
        }
        Backend::Memory => {
            return Err(Failure::usage(
                "a memory store lives in its gateway; it has no keys to manage from here",
            ));
        }
    }
    // Only `create` and `setup` make a database: elsewhere a missing one is most likely a wrong path.
    let makes = matches!(args.verb, Verb::Create(_) | Verb::Setup { .. });
    if !makes && !args.db.exists() {
        let path = args.db.display();
        return Err(Failure::failed(format!("no database at {path}; name it with --db or OUTCROP_DB")));
    }
    Ok(store::open(&Location::Sqlite(args.db.clone())).await?)
}

/// Does what was asked and says what came of it.
pub(crate) async fn run(
    args: &Args,
    store: &dyn Store,
    secret: Option<&str>,
    stdin: &mut dyn Read,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let form = Form::of(args);
    match &args.verb {
        Verb::Create(wanted) => create(store, secret, wanted, stdin, form, now).await,
        Verb::List(wanted) => list(store, wanted, form, now).await,
        Verb::Show { key } => show(store, key, form, now).await,
        Verb::Update(wanted) => update(store, wanted, form, now).await,
        Verb::Rotate(wanted) => rotate::rotate(store, secret, wanted, form, now).await,
        Verb::Delete(wanted) => rotate::delete(store, wanted, stdin, form).await,
        Verb::Budget(wanted) => budgets::verbs::run(store, wanted, form, now).await,
        Verb::Usage(wanted) => usage::run(store, wanted, form, now).await,
        Verb::Revoke { key, reason } => {
            let record = find(store, key).await?;
            let switched = switch(store, record, Some(reason), now).await?;
            view::switched(&switched, form, now)
        }
        Verb::Reactivate { key } => {
            let record = find(store, key).await?;
            let switched = switch(store, record, None, now).await?;
            view::switched(&switched, form, now)
        }
        Verb::Mapping { what } => mapping::run(args, store, what, form, now).await,
        Verb::Pricing { what } => pricing::run(store, what, stdin, form, now).await,
        Verb::Beta { what } => beta::run(store, what, form, now).await,
        Verb::Copy(wanted) => copy::run(args, wanted, store, secret, now).await,
        Verb::HashSecret => copy::hash_secret(store, form).await,
        // What makes the store has been done without one.
        Verb::Setup { .. } => Ok(Answer::default()),
    }
}

async fn create(
    store: &dyn Store,
    secret: Option<&str>,
    wanted: &Create,
    stdin: &mut dyn Read,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let key = if wanted.from_stdin { brought_along(stdin)? } else { NewKey::generate(&mut rand::rng()) };
    let record = new_record(wanted, &key, now)?;
    let hasher = hash_secret(store, secret).await?;
    store.put_new_key(&hasher.hash_new(&key), &record).await?;
    // Who brought a key along has it already.
    let shown = (!wanted.from_stdin).then(|| key.reveal());
    view::created(&record, shown, form, now)
}

fn new_record(wanted: &Create, key: &NewKey, now: Timestamp) -> Result<KeyRecord, Failure> {
    let key_id = KeyId::generate(&mut rand::rng());
    let mut record = KeyRecord {
        created_by: Some("cli".to_owned()),
        ..KeyRecord::new(key_id, key, &wanted.user_id, &wanted.name, now)
    };
    apply(&mut record, &wanted.wishes, now)?;
    record.check()?;
    Ok(record)
}

/// Writes what was typed into the record; what was not stays as it is. A list or the pairs are replaced as a whole.
fn apply(record: &mut KeyRecord, wishes: &Wishes, now: Timestamp) -> Result<(), Failure> {
    fn set<T: Clone>(member: &mut Option<T>, wish: Option<&T>) {
        if let Some(value) = wish {
            *member = Some(value.clone());
        }
    }
    let expires_at = wishes.expires_in.map(|millis| now.plus_millis(millis)).or(wishes.expires_at);
    if expires_at.is_some_and(|at| at <= now) {
        return Err(Failure::usage("--expires-at: this moment has passed"));
    }
    let metadata: BTreeMap<_, _> = wishes.meta.iter().cloned().collect();
    if metadata.len() < wishes.meta.len() {
        return Err(Failure::usage("--meta: the same key twice"));
    }
    if !metadata.is_empty() {
        record.metadata = metadata;
    }
    set(&mut record.owner_name, wishes.owner.as_ref());
    set(&mut record.expires_at, expires_at.as_ref());
    set(&mut record.allowed_models, Some(&wishes.allow_model).filter(|list| !list.is_empty()));
    set(&mut record.denied_models, Some(&wishes.deny_model).filter(|list| !list.is_empty()));
    set(&mut record.allowed_ips, Some(&wishes.allow_ip).filter(|list| !list.is_empty()));
    set(&mut record.rate_limit, wishes.rate_limit.as_ref());
    set(&mut record.tpm_limit, wishes.tpm_limit.as_ref());
    set(&mut record.concurrency_limit, wishes.concurrency.as_ref());
    set(&mut record.target, wishes.target.as_ref());
    set(&mut record.service_tier, wishes.service_tier.as_ref());
    set(&mut record.cache_ttl, wishes.cache_ttl.as_ref());
    set(&mut record.budget_total, wishes.budget.as_ref());
    set(&mut record.budget_daily, wishes.budget_daily.as_ref());
    set(&mut record.budget_monthly, wishes.budget_monthly.as_ref());
    Ok(())
}

/// Changes a record, from the version that was read and no other: what somebody else writes meanwhile is not undone.
async fn update(store: &dyn Store, wanted: &Update, form: Form, now: Timestamp) -> Result<Answer, Failure> {
    let Update { key, name, wishes, clear: cleared, if_version } = wanted;
    if name.is_none()
        && cleared.is_empty()
        && !Field::value_variants().iter().any(|field| wishes.give(*field))
    {
        return Err(Failure::usage("nothing to change is named"));
    }
    // Whichever won would be a surprise.
    if cleared.iter().any(|field| wishes.give(*field)) {
        return Err(Failure::usage("--clear: the same field is given a value"));
    }
    let mut record = find(store, key).await?;
    if if_version.is_some_and(|version| version != record.version) {
        return Err(Failure::conflict(format!("{} has version {} by now", record.key_id, record.version)));
    }
    for field in cleared {
        clear(&mut record, *field);
    }
    apply(&mut record, wishes, now)?;
    record.name = name.clone().unwrap_or(record.name);
    record.updated_at = now;
    view::updated(&store.update_key(&record).await?, form, now)
}

fn clear(record: &mut KeyRecord, field: Field) {
    match field {
        Field::Owner => record.owner_name = None,
        Field::Expires => record.expires_at = None,
        Field::AllowModel => record.allowed_models = None,
        Field::DenyModel => record.denied_models = None,
        Field::RateLimit => record.rate_limit = None,
        Field::TpmLimit => record.tpm_limit = None,
        Field::Concurrency => record.concurrency_limit = None,
        Field::Target => record.target = None,
        Field::AllowIp => record.allowed_ips = None,
        Field::ServiceTier => record.service_tier = None,
        Field::CacheTtl => record.cache_ttl = None,
        Field::Budget => record.budget_total = None,
        Field::BudgetDaily => record.budget_daily = None,
        Field::BudgetMonthly => record.budget_monthly = None,
        Field::Meta => record.metadata.clear(),
    }
}

/// One line from stdin, and no more than a key can be long.
fn brought_along(stdin: &mut dyn Read) -> Result<NewKey, Failure> {
    let mut text = String::new();
    let most = KEY_MAX as u64 + 3;
    stdin
        .take(most)
        .read_to_string(&mut text)
        .map_err(|_| Failure::usage("--from-stdin: no readable text on stdin"))?;
    NewKey::chosen(text.trim_end_matches(['\r', '\n']))
        .map_err(|error| Failure::usage(format!("--from-stdin: {error}")))
}

async fn list(store: &dyn Store, wanted: &List, form: Form, now: Timestamp) -> Result<Answer, Failure> {
    // Whether a budget is spent stands in no record: of those that would be active, it is looked up.
    let stored = match wanted.status {
        Some(KeyStatus::BudgetExceeded) => Some(KeyStatus::Active),
        other => other,
    };
    let filter = KeyFilter {
        user_id: wanted.user_id.clone(),
        status: stored.map(|status| (status, now)),
        id_prefix: None,
        name: wanted.name.clone(),
        owner_name: wanted.owner.clone(),
        metadata: wanted.meta.iter().cloned().collect(),
    };
    let limit = usize::from(wanted.limit);
    // Few of a page may be wanted.
    let sifted = stored == Some(KeyStatus::Active);
    let at_once = if sifted { limit.max(SIFTED_AT_ONCE) } else { limit };
    let mut page = Page { limit: at_once, cursor: wanted.cursor.clone() };
    let mut keys: Vec<(KeyRecord, KeyStatus)> = Vec::new();
    loop {
        let listing = store.list_keys(&filter, &page).await?;
        for record in listing.items {
            let status = budgets::looked_up(store, &record, now).await?;
            if wanted.status.is_none_or(|wanted| wanted == status) {
                keys.push((record, status));
            }
            if keys.len() > limit {
                break;
            }
        }
        if keys.len() > limit {
            keys.truncate(limit);
            let next = keys.last().map(|(record, _)| record.cursor());
            return view::listed(&keys, next.as_deref(), form);
        }
        match listing.next {
            Some(next) if keys.len() < limit => page = Page::after(next, at_once),
            next => return view::listed(&keys, next.as_deref(), form),
        }
    }
}

async fn show(store: &dyn Store, key: &str, form: Form, now: Timestamp) -> Result<Answer, Failure> {
    show_record(store, &find(store, key).await?, form, now).await
}

/// The record and what was used with it.
pub(crate) async fn show_record(
    store: &dyn Store,
    record: &KeyRecord,
    form: Form,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let mut periods = Vec::new();
    for (name, bucket) in [("total", Bucket::Total), ("month", Bucket::Month(now)), ("day", Bucket::Day(now))]
    {
        periods.push((name, store.usage_totals(&record.key_id, &bucket).await?));
    }
    view::shown(record, &periods, form, now)
}

/// The key with this id, or the only one whose id begins so. What was typed is not repeated: it may be a secret that
/// was pasted in the wrong place.
pub(crate) async fn find(store: &dyn Store, typed: &str) -> Result<KeyRecord, Failure> {
    if typed.is_empty() || typed.starts_with(KEY_PREFIX) {
        return Err(Failure::usage("KEY is the id of a key (key_…), not the key itself"));
    }
    let filter = KeyFilter { id_prefix: Some(typed.to_owned()), ..KeyFilter::default() };
    let found = store.list_keys(&filter, &Page::first(5)).await?;
    match &found.items[..] {
        [] => Err(Failure::not_found("there is no key with this id")),
        [only] => Ok(only.clone()),
        several => {
            let ids: Vec<_> = several.iter().map(|record| record.key_id.as_str()).collect();
            let more = if found.next.is_some() { " …" } else { "" };
            Err(Failure::usage(format!("several ids begin so: {}{more}", ids.join(" "))))
        }
    }
}

/// Off for a reason, or on.
async fn switch(
    store: &dyn Store,
    mut record: KeyRecord,
    reason: Option<&String>,
    now: Timestamp,
) -> Result<KeyRecord, Failure> {
    for _ in 0..TRIES {
        let wanted_active = reason.is_none();
        if record.is_active == wanted_active {
            let state = if wanted_active { "is not revoked" } else { "is revoked already" };
            return Err(Failure::conflict(format!("{} {state}", record.key_id)));
        }
        let wanted = KeyRecord {
            is_active: wanted_active,
            deactivated_reason: reason.cloned(),
            updated_at: now,
            ..record.clone()
        };
        match store.update_key(&wanted).await {
            Err(error) if error.kind() == store::ErrorKind::Conflict => {
                record = store
                    .key_by_id(&record.key_id)
                    .await?
                    .ok_or_else(|| Failure::not_found("the key was deleted meanwhile"))?;
            }
            done => return Ok(done?),
        }
    }
    Err(Failure::conflict(format!("{} is being changed by somebody else", record.key_id)))
}
