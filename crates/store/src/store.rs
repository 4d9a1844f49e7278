//! The interface that policy and programs are written against.

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;

use crate::{
    Bucket, BudgetAsk, BudgetGrant, ConfigKind, ConfigRow, Corrected, KeyHash, KeyId, KeyRecord, KeyStatus,
    PaidBy, PeriodQuery, PicoUsd, RateAsk, RateDrawn, Result, StoredTurn, Timestamp, Totals, UsageQuery,
    UsageRow, cursor,
};

/// What Outcrop remembers. Every backend makes these promises, and `store::contract` holds it to them.
///
/// **Calls.** Any call may be made from any thread and under any executor; no call blocks the thread that polls it. A
/// call that returned has been kept: it is seen by every later call through any handle on the same database, and
/// survives the process. A call that was dropped before it returned may or may not have happened. Each call happens
/// wholly or not at all. An error of kind `Unavailable` may be tried again; every other kind will come again.
///
/// **Keys.** A record is found by its hash and by its id, both unique for ever: of two calls that put the same hash or the
/// same id, one succeeds and the other gets `Conflict`. A record that breaks a rule of
/// [`KeyRecord::check`] is `Invalid` and is not written. An update names the version it was made from: of
/// N updates from one version exactly one succeeds, the others get `Conflict`; the version grows by one. Identity
/// (`key_id`, `user_id`, `prefix`, `last4`, `created_at`, `created_by`), `previous` and `last_used_at` are not changed by
/// an update. A rotation gives a record another hash, from one version like an update; under the old hash the record is
/// found until `valid_until`, which it carries then, and maybe longer: whoever admits by it compares. Several old hashes go
/// on side by side, each until its own end, and none can be put again before. A deleted key is found by nothing, and its id
/// and hashes may be put again; its usage stays. Last use only moves forward, each key's by itself, makes no new version, and may name ids that do not exist. Listings
/// are in order of creation, then id, each record once; a record that is there from the first page to the last is on one
/// of them, whatever is written in between. A new key may be missing from the listing of its user for a moment, where that
/// comes from an index. A store never sees a key, only its hash.
///
/// **Usage.** A row is counted once, however often it is sent and by whom: the second row with the same
/// `(request_id, round)` is left out, also within a batch, for as long as the first is kept. A batch is written wholly
/// or not at all where the database's transactions can hold it; otherwise in parts of which that is true, and after an
/// error it may be sent again. The totals of its keys (all time, month, day, day and model; UTC) change in the same
/// transaction: the totals are at every moment the sum of the rows ever written. Money is exact. Pruning takes rows, the
/// oldest first and no more than it was allowed to, and leaves totals alone; it takes none where the database itself
/// forgets rows of a certain age.
///
/// **Budgets.** A lease is what one replica has of a key's budget; see [`BudgetAsk`]. Whatever is asked, booked and given
/// back, and in whatever order: when a lease is granted, the totals and all live leases together are at most the limit, in
/// each period. A lease that has ended counts as none, whether or not it was removed.
///
/// **Rates.** Of a key's bucket no more is drawn than a token bucket of its limit allows, whoever draws and in whatever order:
/// in any span at most the limit and what the span refills. What an ask owes or gives back is so at most once, also where it
/// failed. A clock that is behind refills nothing, and one that is ahead by some seconds no more than those, once.
///
/// **Configuration.** A row of a kind has an id and a version. Of two calls that put the same new row, or take the place of
/// the same version, one succeeds and the other gets `Conflict`. What a row's members mean is not the backend's affair:
/// [`config`](crate::config) checks them.
///
/// **Claims.** Of any number who claim a name for a key, at once or one after the other, one succeeds, until its claim ends.
///
/// **Kept answers.** An answer is written once and never changed. It is there for the key that made it, until the instant
/// that it names; for anybody else, and from then on, it is as if there were none. Pruning takes those whose time is over,
/// the oldest first; it takes none where the database itself forgets them.
///
/// **Meta.** A name gets its value once; everybody who puts it gets the value that stands.
///
/// **Not here.** Caching is the policy's, queueing is [`usage::Writer`](crate::usage::Writer)'s. No call is made per
/// request on a warm path, but for callers who have their answers kept or go on from one.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Keeps a new key. `Conflict` when its id or its hash exists.
    async fn put_new_key(&self, hash: &KeyHash, record: &KeyRecord) -> Result<()>;

    /// The record of the key with this hash.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>>;

    /// The record with this id.
    async fn key_by_id(&self, key_id: &KeyId) -> Result<Option<KeyRecord>>;

    /// The hash that finds a record by its newest key, for whoever brings keys to another store; `None` where there is no
    /// such record.
    async fn key_hash(&self, key_id: &KeyId) -> Result<Option<KeyHash>>;

    /// The records that pass the filter.
    async fn list_keys(&self, filter: &KeyFilter, page: &Page) -> Result<Listing<KeyRecord>>;

    /// Replaces what an update may change and returns what stands now. `NotFound`; `Conflict` when the stored version is
    /// not `record.version`. The caller sets `updated_at`.
    async fn update_key(&self, record: &KeyRecord) -> Result<KeyRecord>;

    /// Gives a key another secret: `new` finds the record from now on, and the hash that was its until now goes on until
    /// `previous` says; where that is no later than `updated_at`, it ends at once. `record` is what
    /// [`KeyRecord::rotated`] made; `prefix`, `last4`, `previous` and `updated_at` are taken from it. `NotFound`; `Conflict`
    /// when the stored version is not `record.version`, or `new` exists.
    async fn rotate_key(&self, record: &KeyRecord, new: &KeyHash) -> Result<KeyRecord>;

    /// Removes a key's record and all its hashes; rows and totals stay. `NotFound`.
    async fn delete_key(&self, key_id: &KeyId) -> Result<()>;

    /// Notes when keys were last used.
    async fn touch_last_used(&self, uses: &[(KeyId, Timestamp)]) -> Result<()>;

    /// The value of a name.
    async fn meta_get(&self, name: &str) -> Result<Option<String>>;

    /// Gives a name its value unless it has one; returns the value that stands.
    async fn meta_put_if_absent(&self, name: &str, value: &str) -> Result<String>;

    /// Keeps rows and adds them to the totals, each once.
    async fn record_usage(&self, rows: &[UsageRow]) -> Result<Recorded> {
        self.record_paid_usage(rows, None).await
    }

    /// The same, and in the same transaction takes the cost of each row that was new from the lease that pays it.
    async fn record_paid_usage(&self, rows: &[UsageRow], paid: Option<&PaidBy>) -> Result<Recorded>;

    /// A key's totals; zeros when nothing was counted.
    async fn usage_totals(&self, key_id: &KeyId, bucket: &Bucket) -> Result<Totals>;

    /// A key's rows, in order of time, then request id, then round.
    async fn usage_rows(&self, query: &UsageQuery, page: &Page) -> Result<Listing<UsageRow>>;

    /// Who has totals, in order of id: keys that are there, keys that were deleted, `master` and `anonymous`. A new one may
    /// be missing for a moment, where this comes from an index.
    async fn usage_keys(&self, page: &Page) -> Result<Listing<KeyId>>;

    /// Every total of a key that is kept for the days, or the months, from the one that holds `since` to the one that holds
    /// `until`; days come with each of their models. In order of [`Bucket`]'s names.
    async fn usage_periods(&self, query: &PeriodQuery) -> Result<Vec<(Bucket, Totals)>>;

    /// Counts a key's totals again, in one step against everybody who books meanwhile: days that begin at or after
    /// `since` (and their models) from the rows, months that any of these days may be in from their days, all time from the
    /// months. Returns what was not right, by name; with `only_compare` it is left as it is. The caller knows since when
    /// all rows are kept. `Unavailable` when bookings of the key leave no moment for it.
    async fn rebuild_usage(
        &self,
        key_id: &KeyId,
        since: Timestamp,
        only_compare: bool,
    ) -> Result<Vec<Corrected>>;

    /// Removes at most `max_rows` rows older than `older_than`; returns how many. Fewer than `max_rows` means that it is
    /// done. Called in a loop with pauses, it never holds the database for long. Where nothing else does, it also forgets
    /// buckets of limits that have been full since then; nobody draws as of before it from then on.
    async fn prune_usage(&self, older_than: Timestamp, max_rows: usize) -> Result<usize>;

    /// Adds to a replica's lease, if what it needs is left; the whole lease then lasts until `expires_at`.
    async fn lease_budget(&self, ask: &BudgetAsk) -> Result<BudgetGrant>;

    /// Takes an amount from a replica's lease, or ends it where none is named.
    async fn release_budget(&self, key_id: &KeyId, replica: &str, amount: Option<PicoUsd>) -> Result<()>;

    /// Makes a replica's leases last until `expires_at`. Returns the keys of those that had not ended at `now`; the
    /// others are left as they are.
    async fn extend_leases(
        &self,
        replica: &str,
        keys: &[KeyId],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Vec<KeyId>>;

    /// Every row of a kind, in the order of the bytes of their ids.
    async fn config_rows(&self, kind: ConfigKind) -> Result<Vec<ConfigRow>>;

    /// Keeps a row in the place of the version that it names, 0 for none, and returns its version now, one on. `NotFound`;
    /// `Conflict` when it exists already or has another version.
    async fn put_config_row(&self, kind: ConfigKind, row: &ConfigRow) -> Result<u64>;

    /// Removes a row, where `version` is given that version of it alone. `NotFound`; `Conflict` when it has another version.
    async fn remove_config_row(&self, kind: ConfigKind, id: &str, version: Option<u64>) -> Result<()>;

    /// Claims a name for a key until an instant: true for the first who does, and false for everybody after it, until
    /// then. A claim that has ended at `now` is none.
    async fn claim(&self, key_id: &KeyId, name: &str, now: Timestamp, until: Timestamp) -> Result<bool>;

    /// Draws from the bucket of a key's limit, if what is needed is there.
    async fn draw_rate(&self, ask: &RateAsk) -> Result<RateDrawn>;

    /// Keeps an answer. `Conflict` when its id exists; `Invalid` when it is too large.
    async fn put_turn(&self, turn: &StoredTurn) -> Result<()>;

    /// The answer with this id, if it is this key's and its time is not over at `now`.
    async fn turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<Option<StoredTurn>>;

    /// Removes it. `NotFound` where [`Store::turn`] finds none.
    async fn remove_turn(&self, id: &str, key_id: &KeyId, now: Timestamp) -> Result<()>;

    /// Removes at most `max_rows` answers whose time was over at `now`; returns how many. Fewer than `max_rows` means that
    /// it is done.
    async fn prune_turns(&self, now: Timestamp, max_rows: usize) -> Result<usize>;

    /// Whether the store answers and would let one write, for readiness.
    async fn probe(&self) -> Result<()>;
}

/// Which keys a listing shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Only those of this user.
    pub user_id: Option<String>,
    /// Only those that have this status at this instant.
    pub status: Option<(KeyStatus, Timestamp)>,
    /// Only those whose id begins so (letter case counts).
    pub id_prefix: Option<String>,
    /// Only those of this name.
    pub name: Option<String>,
    /// Only those that this owner answers for.
    pub owner_name: Option<String>,
    /// Only those with all of these pairs.
    pub metadata: BTreeMap<String, String>,
}

impl KeyFilter {
    /// Whether a record passes.
    pub fn admits(&self, record: &KeyRecord) -> bool {
        self.user_id.as_ref().is_none_or(|user| *user == record.user_id)
            && self.status.is_none_or(|(status, now)| record.status(now) == status)
            && self.id_prefix.as_ref().is_none_or(|prefix| record.key_id.as_str().starts_with(prefix))
            && self.name.as_ref().is_none_or(|name| *name == record.name)
            && self.owner_name.as_ref().is_none_or(|owner| record.owner_name.as_ref() == Some(owner))
            && self.metadata.iter().all(|(key, value)| record.metadata.get(key) == Some(value))
    }
}

/// Which part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most so many entries (at least one).
    pub limit: usize,
    /// Where the page before ended: its [`Listing::next`]. Another text is `Invalid`.
    pub cursor: Option<String>,
}

impl Page {
    /// The first `limit` entries.
    pub fn first(limit: usize) -> Self {
        Self { limit, cursor: None }
    }

    /// The `limit` entries after `cursor`.
    pub fn after(cursor: impl Into<String>, limit: usize) -> Self {
        Self { limit, cursor: Some(cursor.into()) }
    }
}

impl KeyRecord {
    /// Where a listing goes on behind this record; for [`Page::after`].
    pub fn cursor(&self) -> String {
        cursor::of_key(self)
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub next: Option<String>,
}

impl<T> Listing<T> {
    /// Of up to `limit + 1` entries found: the page, and the cursor when there is one entry too many.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

/// What became of a batch of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Rows that were new.
    pub written: usize,
    /// Rows that were there already.
    pub repeated: usize,
}
