//! The laws about limits that gateways share.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::sample::{key_id, noon};
use crate::{KeyId, Rate, RateAsk, RateDrawn, Store, Timestamp};

type Dyn = Arc<dyn Store>;

const MINUTE: Duration = Duration::from_mins(1);
/// Parts of a token of a minute's window.
pub(crate) const TOKEN: u128 = 60_000_000_000;

/// So many tokens of a limit of 50 a minute, at noon, without a share.
pub(crate) fn ask(tokens: u128) -> RateAsk {
    RateAsk {
        key_id: key_id(1),
        rate: Rate::Requests,
        limit: 50,
        window: MINUTE,
        need: tokens * TOKEN,
        share_percent: 0,
        back: 0,
        debt: 0,
        now: noon(),
    }
}

/// Asks how a bucket stands, and takes nothing.
pub fn look(key_id: KeyId, rate: Rate, limit: u64, window: Duration, now: Timestamp) -> RateAsk {
    RateAsk { key_id, rate, limit, window, need: 0, share_percent: 0, back: 0, debt: 0, now }
}

fn later(ask: RateAsk, millis: i64) -> RateAsk {
    RateAsk { now: noon().plus_millis(millis), ..ask }
}

/// Whole tokens.
async fn granted(store: &Dyn, ask: RateAsk) -> u128 {
    let granted = store.draw_rate(&ask).await.unwrap().granted;
    assert_eq!(granted % TOKEN, 0);
    granted / TOKEN
}

/// What is spent at noon.
async fn spent(store: &Dyn) -> u128 {
    store.draw_rate(&ask(0)).await.unwrap().spent
}

/// How much takers got together, and how many of them got something.
pub(crate) async fn taken(takers: Vec<JoinHandle<u128>>) -> (u128, u32) {
    let (mut sum, mut lucky) = (0, 0);
    for taker in takers {
        let granted = taker.await.unwrap();
        sum += granted;
        lucky += u32::from(granted > 0);
    }
    (sum, lucky)
}

pub async fn sixty_four_takers_never_draw_more_than_the_limit(store: Dyn) {
    let takers: Vec<_> = (0..64)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { granted(&store, ask(3)).await })
        })
        .collect();
    assert_eq!(taken(takers).await, (16 * 3, 16));
    assert_eq!(spent(&store).await, 48 * TOKEN);
}

pub async fn a_draw_is_the_share_of_what_is_left_or_the_need_where_that_is_more(store: Dyn) {
    let share = |ask: RateAsk| RateAsk { share_percent: 10, ..ask };
    assert_eq!(granted(&store, share(ask(1))).await, 5);
    assert_eq!(granted(&store, share(ask(1))).await, 4, "in whole tokens");
    assert_eq!(granted(&store, share(ask(20))).await, 20);
    assert_eq!(granted(&store, share(ask(22))).await, 0, "all or nothing");
    assert_eq!(granted(&store, share(ask(0))).await, 2);
    assert_eq!(granted(&store, share(ask(19))).await, 19);
    assert_eq!(granted(&store, share(ask(0))).await, 0);
    // Beside a part of a token that the gateway has, the part that is missing makes it whole.
    let half = RateAsk { need: TOKEN / 2, ..share(later(ask(0), MINUTE_MILLIS)) };
    assert_eq!(store.draw_rate(&half).await.unwrap().granted, TOKEN / 2 + 4 * TOKEN);
}

const MINUTE_MILLIS: i64 = 60_000;

pub async fn time_refills_evenly_and_never_beyond_the_limit(store: Dyn) {
    assert_eq!(granted(&store, ask(50)).await, 50);
    assert_eq!(granted(&store, later(ask(1), 1_199)).await, 0, "1.2 seconds are a token");
    assert_eq!(granted(&store, later(ask(1), 1_200)).await, 1);
    assert_eq!(granted(&store, later(ask(3), 4_799)).await, 0);
    assert_eq!(granted(&store, later(ask(3), 4_800)).await, 3);
    assert_eq!(granted(&store, later(ask(51), 10 * MINUTE_MILLIS)).await, 0);
    assert_eq!(granted(&store, later(ask(50), 10 * MINUTE_MILLIS)).await, 50);
    assert_eq!(granted(&store, later(ask(1), 10 * MINUTE_MILLIS)).await, 0);
}

pub async fn a_debt_is_taken_whatever_is_left_and_time_pays_it(store: Dyn) {
    assert_eq!(granted(&store, ask(40)).await, 40);
    let debt = RateAsk { debt: 30 * TOKEN, ..ask(1) };
    assert_eq!(store.draw_rate(&debt).await.unwrap(), RateDrawn { granted: 0, spent: 70 * TOKEN });
    // Twenty beyond the limit, and one to run.
    assert_eq!(granted(&store, later(ask(1), 21 * 1_200 - 1)).await, 0);
    assert_eq!(granted(&store, later(ask(1), 21 * 1_200)).await, 1);
}

pub async fn what_is_given_back_may_be_drawn_again(store: Dyn) {
    assert_eq!(granted(&store, ask(50)).await, 50);
    let back = |tokens: u128, ask: RateAsk| RateAsk { back: tokens * TOKEN, ..ask };
    assert_eq!(granted(&store, back(20, ask(0))).await, 0);
    assert_eq!(granted(&store, ask(21)).await, 0);
    assert_eq!(granted(&store, back(5, ask(25))).await, 25, "in one step with an ask");
    // More than was drawn does not make the bucket larger.
    assert_eq!(granted(&store, back(500, ask(51))).await, 0);
    assert_eq!(granted(&store, ask(50)).await, 50);
}

pub async fn no_clock_that_is_behind_or_ahead_is_paid_twice(store: Dyn) {
    let ahead = 2 * 1_200;
    assert_eq!(granted(&store, ask(50)).await, 50);
    assert_eq!(granted(&store, later(ask(2), ahead)).await, 2);
    for _ in 0..3 {
        assert_eq!(granted(&store, ask(1)).await, 0);
        assert_eq!(granted(&store, later(ask(1), ahead)).await, 0);
    }
    assert_eq!(granted(&store, later(ask(1), ahead + 1_200)).await, 1);
    // A clock that was an hour ahead has filled the bucket, and does not stop it for an hour.
    assert_eq!(granted(&store, later(ask(50), 60 * MINUTE_MILLIS)).await, 50);
    assert_eq!(granted(&store, later(ask(1), 2 * MINUTE_MILLIS)).await, 0);
    assert_eq!(granted(&store, later(ask(1), 2 * MINUTE_MILLIS + 1_199)).await, 0);
    assert_eq!(granted(&store, later(ask(1), 2 * MINUTE_MILLIS + 1_200)).await, 1);
}

pub async fn another_limit_or_window_holds_at_once_and_forgets_nothing(store: Dyn) {
    assert_eq!(granted(&store, ask(50)).await, 50);
    let of = |limit: u64, ask: RateAsk| RateAsk { limit, ..ask };
    assert_eq!(granted(&store, of(60, ask(11))).await, 0);
    assert_eq!(granted(&store, of(60, ask(10))).await, 10);
    assert_eq!(granted(&store, of(5, ask(1))).await, 0);
    // Time before a change counts at the old limit: twelve seconds are one token.
    let after = later(ask(0), 12_000);
    assert_eq!(store.draw_rate(&of(60, after)).await.unwrap().spent, 59 * TOKEN);
    let hour = |ask: RateAsk| RateAsk { window: MINUTE * 60, need: ask.need * 60, ..of(60, ask) };
    assert_eq!(store.draw_rate(&hour(later(ask(2), 12_000))).await.unwrap().granted, 0);
    assert_eq!(
        store.draw_rate(&hour(later(ask(1), 12_000))).await.unwrap(),
        RateDrawn { granted: 60 * TOKEN, spent: 3_600 * TOKEN }
    );
    assert_eq!(granted(&store, RateAsk { limit: 0, ..ask(1) }).await, 0);
}

pub async fn each_rate_of_each_key_has_a_bucket_of_its_own(store: Dyn) {
    for key in [1, 2] {
        for rate in Rate::ALL {
            let of = |tokens| RateAsk { key_id: key_id(key), rate, ..ask(tokens) };
            assert_eq!(granted(&store, of(50)).await, 50);
            assert_eq!(granted(&store, of(1)).await, 0);
        }
    }
}

pub async fn the_largest_limits_overflow_nothing(store: Dyn) {
    let day = Duration::from_hours(24);
    let most = u128::from(u64::MAX) * day.as_nanos();
    let of =
        |need| RateAsk { limit: u64::MAX, window: day, share_percent: 100, ..RateAsk { need, ..ask(0) } };
    assert_eq!(store.draw_rate(&of(1)).await.unwrap().granted / day.as_nanos(), u128::from(u64::MAX) - 1);
    let debt = RateAsk { debt: u128::MAX, ..of(1) };
    assert_eq!(store.draw_rate(&debt).await.unwrap(), RateDrawn { granted: 0, spent: u128::MAX });
    assert_eq!(store.draw_rate(&of(0)).await.unwrap().spent, u128::MAX);
    let back = RateAsk { back: u128::MAX - most, ..of(0) };
    assert_eq!(store.draw_rate(&back).await.unwrap(), RateDrawn { granted: 0, spent: most });
}
