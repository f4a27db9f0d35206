//! What every backend of the store has to do, written as functions over a place where stores can be opened. A backend
//! joins by giving [`place::Place`] another kind; the list of checks is the same for all.

mod appending;
mod durability;
mod faults;
mod hosts;
mod importing;
mod place;
mod policies;
mod proxy;
mod reading;
mod reference;
mod turns;

/// Makes a test of each check for each backend.
macro_rules! conformance {
    ($($module:ident::$check:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::$module::$check(super::place::Place::sqlite()).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::$module::$check(super::place::Place::postgres()).await;
                }
            )*
        }
    };
}

conformance![
    appending::positions_are_dense_under_concurrency,
    appending::an_expected_version_that_is_not_the_present_is_stale,
    appending::decisions_that_cross_in_one_batch_do_not_both_pass,
    appending::an_access_read_fails_when_access_changed_and_only_then,
    appending::a_claim_is_held_by_one_stream,
    appending::claims_move_inside_of_one_batch,
    appending::a_key_gives_the_same_bytes_again,
    appending::a_key_with_another_payload_is_refused,
    appending::an_unchanged_command_is_kept_and_a_mere_check_is_not,
    appending::a_broken_lineage_takes_those_behind_with_it,
    appending::a_check_is_answered_with_the_present,
    appending::a_failing_command_does_not_harm_its_neighbours,
    appending::a_full_queue_refuses_at_once,
    appending::a_receiver_that_goes_away_changes_nothing,
    appending::a_panicking_receiver_harms_nobody,
    appending::keys_and_claims_may_be_any_text,
    durability::everything_is_there_after_reopening,
    durability::a_kept_answer_survives_reopening,
    durability::a_folder_has_one_store,
    durability::what_was_queued_is_written_by_closing,
    durability::recorded_at_never_goes_back,
    durability::an_untouched_log_verifies,
    durability::old_answers_are_taken_away_in_pieces,
    durability::tampering_is_found_where_it_was_done,
    durability::emptied_facts_are_noticed_while_running,
    durability::dropped_facts_are_noticed_at_the_start_and_come_back,
    durability::tables_dropped_while_running_are_noticed,
    durability::what_the_database_does_not_take_is_refused_alone,
    reading::the_log_is_filtered_and_paged,
    reading::the_hosts_own_streams_are_read_in_order,
    reading::a_stream_is_read_by_versions_and_times,
    reading::every_stream_is_listed_once,
    reading::the_newest_fitting_snapshot_is_found,
    reading::an_access_chain_ends_and_does_not_run_in_circles,
    reading::keys_are_found_until_they_are_revoked,
    policies::reactions_are_fenced_by_the_position,
    policies::stages_and_times_hold_commands_back,
    policies::a_lost_lease_cannot_be_written_under,
    importing::import_keeps_everything_and_goes_on_where_it_stopped,
    importing::import_refuses_what_does_not_follow_and_takes_nothing_of_it,
    importing::import_into_another_log_says_where_they_differ,
    importing::import_puts_right_what_is_remembered,
    importing::import_while_facts_come_back_makes_that_begin_again,
    importing::import_is_no_business_of_policies,
    importing::import_by_two_at_once_is_one_import,
    importing::import_of_many_large_events_is_exact,
    reference::random_batches_equal_single_commands,
];
