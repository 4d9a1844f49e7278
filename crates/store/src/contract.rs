//! One law per promise of [`Store`](crate::Store), and a macro that holds a backend to all of them:
//!
//! ```ignore
//! store::contract!(postgres, || async { Some((open_somewhere_empty().await, ())) });
//! ```
//!
//! makes a module `postgres` with one test per law. The closure opens an empty store for each test and returns it with
//! whatever must live as long (a temporary directory, say), or nothing where this machine has no such database.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a law fails by panicking")]
#![allow(missing_docs, reason = "the names of the laws say what they say")]

pub mod budget;
pub mod config;
pub mod fault;
pub mod keys;
pub mod rate;
pub mod rotation;
pub mod sample;
pub mod stand_in;
pub mod totals;
pub mod turns;
pub mod usage;

/// Holds a backend to every law: `contract!(name, || async { Some((store, guard)) });`. Behind a semicolon stand laws
/// that not every backend knows; by default all of them.
#[macro_export]
macro_rules! contract {
    ($backend:ident, $open:expr) => {
        $crate::contract!($backend, $open; pruning_takes_the_oldest_rows_in_bounded_batches);
    };
    ($backend:ident, $open:expr; $($own:ident)*) => {
        mod $backend {
            use super::*;

            $crate::contract!(@laws keys, $open,
                a_key_is_found_by_its_hash_and_by_its_id
                what_was_never_put_is_not_found
                an_id_or_a_hash_belongs_to_the_first_who_puts_it
                of_parallel_puts_of_one_hash_one_succeeds
                a_record_that_breaks_a_rule_is_not_written
                an_update_changes_all_but_identity_and_last_use
                an_update_from_an_old_version_is_a_conflict
                of_parallel_updates_from_one_version_one_succeeds
                last_use_moves_forward_alone_and_makes_no_version
                a_listing_shows_each_key_once_in_order_of_creation
                a_listing_goes_on_where_it_ended_whatever_was_added
                a_listing_filters_by_user_status_and_id
                a_listing_filters_by_name_owner_and_pairs_whatever_the_page
                a_cursor_from_elsewhere_is_invalid
                text_is_text_and_never_a_command
                a_name_gets_its_value_once
                parallel_puts_of_a_name_agree
                any_executor_will_do
                a_call_that_was_dropped_leaves_the_store_whole
                a_store_in_order_answers_its_probe
            );
            $crate::contract!(@laws rotation, $open,
                a_rotated_key_is_found_by_both_hashes_until_the_old_one_ends
                a_rotation_without_overlap_forgets_the_old_hash_at_once
                a_second_rotation_leaves_each_older_key_its_own_end
                a_rotation_from_an_old_version_or_to_a_taken_hash_is_a_conflict
                of_parallel_rotations_from_one_version_one_succeeds
                what_happens_to_a_rotated_key_happens_under_each_of_its_hashes
                a_deleted_key_is_found_by_nothing_and_its_usage_stays
                of_parallel_deletions_one_succeeds
                the_hash_of_a_key_is_its_newest_ones
            );
            $crate::contract!(@laws totals, $open,
                totals_of_many_periods_come_in_order_and_of_one_key
                whose_usage_there_is_is_listed_in_pages
                what_was_counted_right_is_left_alone
                counting_again_amid_bookings_loses_nothing
            );
            $crate::contract!(@laws config, $open,
                a_row_of_each_kind_is_read_back_as_it_was_put
                rows_are_listed_whole_in_the_order_of_their_ids_and_kinds_stay_apart
                a_new_row_is_put_once
                a_row_takes_the_place_of_the_version_it_names_and_of_no_other
                of_parallel_changes_of_one_version_one_succeeds
                a_removed_row_is_gone_and_may_be_put_anew
                a_row_that_breaks_a_rule_is_not_put
                a_row_of_another_hand_that_breaks_a_rule_is_broken_and_named
            );
            $crate::contract!(@laws turns, $open,
                an_answer_is_read_back_as_it_was_put
                an_id_is_given_once
                to_another_key_an_answer_is_not_there
                an_answer_is_there_until_its_instant_and_no_longer
                of_parallel_removals_one_succeeds_and_nothing_is_left
                what_is_too_large_is_not_put_and_an_impossible_id_is_not_found
                pruning_takes_what_is_over_the_oldest_first_and_nothing_else
            );
            $crate::contract!(@laws usage, $open,
                a_row_is_read_back_as_it_was_written
                a_row_counts_once_however_often_it_is_sent
                rounds_of_one_request_are_rows_of_their_own
                parallel_writers_of_the_same_rows_count_them_once
                totals_are_the_sum_of_the_rows_in_every_period
                totals_belong_to_one_key
                money_adds_up_exactly
                what_has_no_price_is_not_free
                huge_counts_are_cut_and_do_not_wrap
                rows_are_listed_by_time_from_since_to_before_until
                pages_of_rows_meet_without_gap_or_overlap
                text_with_nul_and_escapes_is_kept_and_drops_no_other_row
                an_empty_batch_is_no_failure
                $($own)*
            );
            $crate::contract!(@laws budget, $open,
                sixty_four_takers_never_overspend
                takers_and_bookers_at_once_stay_within_the_budget
                what_one_has_leased_is_gone_for_the_others_until_it_ends
                a_row_moves_its_cost_from_the_lease_to_the_totals_once
                a_row_that_costs_more_than_the_lease_is_a_debt_that_is_charged_once
                what_is_given_back_is_there_again
                an_extension_reaches_only_what_has_not_ended
                every_budget_counts_and_the_next_period_is_whole
                a_lease_from_before_midnight_counts_after_it
                a_reset_lets_as_much_be_spent_again_and_no_total_changes
                an_extension_counts_for_every_replica_until_its_moment
                of_many_who_claim_a_name_one_succeeds_until_its_claim_ends
            );
            $crate::contract!(@laws rate, $open,
                sixty_four_takers_never_draw_more_than_the_limit
                a_draw_is_the_share_of_what_is_left_or_the_need_where_that_is_more
                time_refills_evenly_and_never_beyond_the_limit
                a_debt_is_taken_whatever_is_left_and_time_pays_it
                what_is_given_back_may_be_drawn_again
                no_clock_that_is_behind_or_ahead_is_paid_twice
                another_limit_or_window_holds_at_once_and_forgets_nothing
                each_rate_of_each_key_has_a_bucket_of_its_own
                the_largest_limits_overflow_nothing
            );
        }
    };
    (@laws $group:ident, $open:expr, $($law:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $law() {
            let Some((store, _alive)) = ($open)().await else { return };
            $crate::contract::$group::$law(store).await;
        }
    )*};
}

#[cfg(test)]
mod backends {
    use std::{
        future::{Ready, ready},
        sync::Arc,
    };

    use super::stand_in;
    use crate::{DynamoDb, Memory, Sqlite, Store};

    fn in_memory() -> Ready<Option<(Arc<dyn Store>, ())>> {
        ready(Some((Arc::new(Memory::new()), ())))
    }

    fn in_a_file() -> Ready<Option<(Arc<dyn Store>, tempfile::TempDir)>> {
        let dir = tempfile::tempdir().unwrap();
        ready(Some((Arc::new(Sqlite::open(dir.path().join("outcrop.db")).unwrap()), dir)))
    }

    async fn in_tables() -> Option<(Arc<dyn Store>, ())> {
        let settings = stand_in::tables().await?;
        Some((Arc::new(DynamoDb::open(&settings).await.unwrap()), ()))
    }

    crate::contract!(memory, in_memory);
    crate::contract!(sqlite, in_a_file);
    // It forgets rows by itself.
    crate::contract!(dynamodb, in_tables;);
}
