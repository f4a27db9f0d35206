//! Read models: what is written is read, what must not be reached is not, and both databases answer the same.

mod dead_letters;
mod declarations;
mod equal;
mod files_plugin;
mod grouping;
mod instances;
mod models;
mod postgres_schemas;
mod readable;
mod sqlite_files;
mod support;
mod values;

/// Makes a test of each check for each database.
macro_rules! on_both {
    ($($module:ident::$check:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::$module::$check(super::support::Place::sqlite()).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::$module::$check(super::support::Place::postgres()).await;
                }
            )*
        }
    };
}

on_both![
    dead_letters::letters_commit_with_rows_and_position,
    dead_letters::a_failure_is_noted_until_the_next_step,
    instances::queries_move_in_one_step_and_what_nobody_needs_goes,
    declarations::good_statements_run,
    grouping::random_batches_equal_their_changes_one_by_one,
    models::a_read_model_is_kept_unless_version_form_or_log_differ,
    models::a_read_model_ahead_of_its_log_is_built_anew,
    models::reset_empties_and_remove_removes,
    models::checksums_are_equal_for_equal_content_only,
    readable::a_list_shows_what_the_model_says,
    readable::a_revoke_is_seen_at_once_and_tenants_do_not_mix,
    readable::a_circle_of_parents_ends,
    readable::a_session_says_where_its_log_ends,
    values::values_of_every_type_come_back_put_run_and_batched,
    values::wrong_values_are_named,
    values::a_batch_from_another_position_is_fenced,
    values::an_older_epoch_is_refused,
    values::a_broken_constraint_is_the_projections_fault_and_changes_nothing,
    values::unique_values_can_be_swapped_in_a_batch,
    values::a_session_sees_one_position,
    values::what_a_call_gets_wrong_is_named,
    values::too_many_rows_and_too_much_time_end_a_read,
];

/// Makes a test of each check that one database alone has.
macro_rules! on_one {
    ($place:ident: $($module:ident::$check:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                $module::$check(support::Place::$place()).await;
            }
        )*
    };
}

on_one![sqlite:
    sqlite_files::a_file_that_is_gone_or_no_database_is_built_anew,
    sqlite_files::a_file_that_is_removed_while_it_is_used_is_built_anew,
];

on_one![postgres:
    postgres_schemas::whatever_is_dropped_comes_back,
    postgres_schemas::two_hosts_share_a_read_model,
    postgres_schemas::a_strangers_schema_and_names_are_left_alone,
    postgres_schemas::without_a_login_for_queries_the_store_does_not_open,
    postgres_schemas::the_login_of_queries_reaches_nothing_else,
];
