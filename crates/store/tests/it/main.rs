//! One conformance suite for both databases: each case runs as `sqlite::…` and as `postgres::…`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod api_keys;
mod audit;
mod break_glass;
mod certificates;
mod configuration;
mod customers;
mod decisions;
mod edge;
mod email_domains;
mod enrolment;
mod fleets;
mod groups;
mod harness;
mod hostname_claims;
mod identity;
mod identity_verifications;
mod invitations;
mod isolation;
mod issuer_fetches;
mod keys;
mod life_cycle;
mod lists;
mod log;
mod machine_clients;
mod menus;
mod migration;
mod oauth;
mod one_time;
mod outbox;
mod passkeys;
mod personal;
mod phones;
mod products;
mod qr_logins;
mod reseal;
mod routes;
mod second_factors;
mod sessions;
mod tenants;
mod units;
mod usage;
mod webhooks;
mod world;

/// Runs each case on both databases.
macro_rules! conformance {
    ($($module:ident: $($case:ident),* ;)*) => {
        mod sqlite {
            $($(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::harness::on_sqlite(crate::$module::$case).await;
            })*)*
        }
        mod postgres {
            $($(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::harness::on_postgres(crate::$module::$case).await;
            })*)*
        }
    };
}

conformance! {
    api_keys:
        a_key_reads_back_and_its_secret_is_a_hash_or_sealed,
        a_use_is_noted_to_the_minute_and_who_leaves_takes_their_keys_along,
        a_revoked_key_is_listed_for_ninety_days,
        every_change_of_a_key_is_a_fact_that_names_it,
        keys_are_invisible_to_other_tenants,
        of_many_that_rotate_a_key_at_once_one_does;
    audit:
        a_change_of_any_column_of_a_row_is_found,
        a_head_that_was_moved_does_not_fit_its_seal_and_never_will,
        a_list_of_heads_to_be_sealed_that_is_not_ours_seals_none,
        of_many_that_want_a_turn_one_gets_it_and_the_next_after_the_pause,
        a_users_personal_data_goes_and_the_chain_holds,
        an_export_is_checked_without_the_database,
        every_change_is_in_the_trail_with_who_did_it,
        of_those_who_report_one_event_at_once_one_does,
        rows_of_an_older_release_still_hold,
        the_chain_of_each_tenant_holds_and_tampering_breaks_it,
        the_trail_is_asked_by_who_what_when_and_whether_it_failed,
        the_trail_is_read_newest_first_by_cursor,
        what_is_cut_off_the_beginning_leaves_a_chain_that_can_be_checked;
    break_glass:
        emergency_administrators_are_invisible_to_other_tenants,
        of_many_that_show_one_code_one_signs_in,
        the_secret_is_sealed_and_nobody_takes_their_place_away,
        who_is_disabled_does_not_sign_in_and_loses_every_session;
    certificates:
        a_name_is_one_user_of_the_hostnames_tenant,
        a_tenants_administrator_binds_its_own_and_sees_no_others,
        of_those_who_bind_a_name_at_once_one_does,
        what_a_hostname_believes_is_told_with_whom_it_binds,
        who_leaves_a_tenant_leaves_the_certificates_behind;
    configuration:
        a_change_that_fails_claims_nothing,
        a_database_without_room_says_so_and_goes_on_once_it_has_some,
        a_failed_write_leaves_nothing,
        a_stale_version_is_refused,
        a_swallowed_error_is_not_committed,
        a_taken_name_is_a_conflict_that_names_the_column,
        a_transaction_that_has_ended_answers_nothing,
        a_write_outside_its_scope_is_refused,
        a_write_that_was_not_audited_is_not_saved,
        dropping_a_write_rolls_back,
        of_many_changes_with_one_key_one_is_made,
        what_collides_is_tried_again;
    customers:
        a_pushed_state_is_kept_and_reaches_its_tenants,
        a_state_that_does_not_follow_changes_nothing,
        evidence_stays_as_it_was_put;
    decisions:
        a_decision_is_invisible_to_other_tenants,
        a_decision_reads_back_as_it_was_told_and_only_once,
        a_gateway_tells_of_its_own_fleets_hostnames_only,
        a_tenant_that_is_erased_takes_its_decisions_along,
        decisions_are_forgotten_by_age_and_beyond_so_many_of_a_tenant,
        two_that_sweep_and_many_that_tell_at_once_do_not_get_in_each_others_way;
    edge:
        a_certificate_follows_its_hostnames,
        a_hostname_is_told_of_once_it_is_verified,
        a_hostnames_say_over_its_answers_is_kept_and_told,
        a_lease_is_noted_before_any_report_and_never_moves_back,
        an_upstream_is_told_of_with_its_key_and_stored_sealed,
        an_upstreams_key_is_exchanged_with_two_valid_in_between,
        gateways_are_known_by_their_last_report,
        nothing_is_saved_that_a_gateway_which_is_there_could_not_read,
        of_two_exchanges_at_once_one_is_begun,
        who_is_let_in_is_told_to_gateways_that_understand_it;
    email_domains:
        a_domain_has_one_holder_in_a_project,
        domains_and_their_proofs_are_invisible_to_other_tenants,
        who_belongs_by_a_lost_domain_is_out_with_everything;
    enrolment:
        a_certificate_is_renewed_for_the_key_that_joined_only,
        a_join_token_that_is_unknown_expired_or_revoked_is_worth_nothing,
        a_name_is_free_again_once_its_gateway_cannot_ask_any_more,
        a_revoked_gateway_is_noted_no_lease_and_keeps_its_last,
        of_many_that_show_one_join_token_one_key_wins;
    fleets:
        a_move_is_a_row_for_one_fleet_and_a_tombstone_for_the_other,
        keys_of_another_fleet_are_told_to_nobody_whatever_changes;
    hostname_claims:
        a_claim_is_looked_for_by_one_and_by_nobody_else_for_a_while,
        a_lost_name_is_taken_over_only_after_its_time,
        a_missing_proof_warns_then_fails_and_an_unanswered_one_does_neither,
        an_older_look_changes_nothing,
        claims_and_their_challenges_are_invisible_to_other_tenants,
        m7_a_name_that_was_given_up_is_nobody_elses_for_a_while,
        of_many_that_prove_a_name_at_once_one_has_it,
        what_was_never_proven_keeps_a_name_from_nobody;
    identity:
        a_binding_is_refused_where_the_role_does_not_belong,
        a_role_that_loses_a_grant_narrows,
        a_user_is_found_by_name_or_email_in_any_case,
        bindings_carry_the_head_they_were_read_at,
        disabling_a_user_refuses_their_tokens,
        leaving_a_tenant_takes_everything_along,
        roles_in_a_deleted_unit_grant_nothing,
        the_built_in_roles_are_ensured_once,
        the_emergency_administrator_cannot_be_deleted;
    isolation:
        a_route_is_invisible_to_other_tenants,
        a_tenants_administrator_works_within_the_walls,
        members_and_sessions_are_invisible_to_other_tenants,
        what_is_asked_at_once_is_answered_in_order_and_within_the_walls;
    issuer_fetches:
        a_claim_that_another_followed_changes_nothing,
        an_issuer_that_is_asked_for_waits_for_its_interval_and_longer_when_it_brings_nothing,
        keys_that_are_too_old_are_taken_out_of_force_once,
        of_many_claims_at_once_one_wins_and_none_follows_for_a_while,
        what_was_fetched_from_one_place_is_not_kept_for_another;
    keys:
        a_key_of_the_fleet_signs_a_day_after_it_was_published,
        an_ambiguous_issuer_is_refused,
        keys_in_motion_are_those_something_may_be_due_for,
        of_many_successors_made_at_once_one_is_stored,
        of_two_activations_at_once_one_key_is_active,
        the_key_set_holds_every_key_that_was_not_retired;
    life_cycle:
        a_dedicated_project_goes_with_its_last_tenant,
        a_purge_is_announced_once_claimed_by_one_and_put_off_when_it_fails,
        what_is_many_goes_some_at_a_time_and_goes_on_where_it_was_cut_off,
        a_tenant_that_is_not_on_hold_for_long_enough_is_not_purged,
        a_trial_that_was_prolonged_meanwhile_goes_on,
        no_table_of_tenants_is_forgotten,
        of_many_claims_of_a_provisioning_one_wins,
        of_many_that_freeze_an_ended_trial_one_does,
        of_many_that_purge_a_tenant_one_does_and_its_chain_is_left,
        provisionings_are_invisible_to_other_tenants,
        what_was_over_before_anybody_looked_is_left_alone;
    lists:
        a_list_is_sorted_and_paged_either_way,
        every_list_takes_what_it_says_it_takes,
        filters_leave_what_fits_and_only_the_tenants_own,
        names_of_an_older_release_are_found_before_they_are_folded_and_after,
        what_is_searched_for_is_found_in_any_case_of_any_script;
    log:
        a_commit_knows_its_revision_after_the_tick,
        a_cutoff_outlives_its_fact_and_names_the_foreign_subject_too,
        a_foreign_refusal_becomes_one_fact_whoever_takes_it_over,
        a_deleted_entity_is_forgotten_after_a_week_and_who_is_behind_resyncs,
        a_foreign_position_is_not_known,
        a_full_resync_holds_what_still_restricts,
        applying_the_changes_gives_the_snapshot,
        facts_are_numbered_without_gaps_while_everybody_writes,
        what_narrows_raises_the_lowest_revision;
    machine_clients:
        a_client_that_is_rotated_or_deleted_leaves_facts_for_its_user,
        machine_clients_are_invisible_to_other_tenants,
        of_many_that_rotate_a_client_at_once_one_does;
    menus:
        a_menu_is_invisible_to_other_tenants,
        a_tree_takes_no_cycle_no_stranger_and_no_ninth_level,
        an_entry_reads_back_as_it_was_written,
        favorites_are_a_members_own_and_go_with_what_they_name,
        moves_made_at_once_close_no_cycle;
    migration:
        a_newer_schema_is_refused,
        a_schema_without_a_migration_in_the_middle_is_refused,
        migrating_twice_changes_nothing,
        up_down_and_up_again_is_as_up,
        of_those_who_tell_anew_what_a_migration_listed_each_entry_has_one,
        replicas_that_migrate_an_empty_database_at_once_all_find_it_migrated;
    outbox:
        an_event_is_left_with_its_change_or_not_at_all,
        events_are_invisible_to_other_tenants,
        of_those_who_claim_at_once_one_gets_each_event,
        one_tenants_many_events_hold_up_nobody_elses,
        owners_take_turns_however_many_are_before_them,
        what_a_process_did_not_finish_is_due_again_and_no_longer_its_own;
    passkeys:
        a_passkey_is_kept_once_and_counts_forward,
        of_two_that_delete_the_last_two_passkeys_one_keeps_the_way_in,
        of_many_that_answer_one_challenge_one_does,
        passkeys_are_invisible_to_other_projects;
    identity_verifications:
        an_approved_identity_counts_in_its_tenant_until_it_ends,
        an_identity_goes_from_state_to_state_and_keeps_its_steps,
        verifications_are_invisible_to_other_tenants,
        verifications_of_a_member_are_few,
        whom_a_tenant_does_not_know_counts_for_nothing_at_the_edge;
    phones:
        a_number_is_one_accounts_until_its_proof_counts_no_more,
        a_number_that_alone_signs_in_stays,
        numbers_are_invisible_to_other_projects,
        strangers_give_way_where_many_ask_for_help,
        texts_are_counted_under_every_bound_or_under_none;
    personal:
        what_is_kept_of_somebody_comes_page_by_page_and_once,
        no_table_of_people_is_forgotten;
    qr_logins:
        of_many_that_take_what_was_approved_one_does,
        what_was_asked_for_in_one_tenant_is_not_approved_in_another,
        sign_ins_by_qr_code_are_invisible_to_other_tenants;
    products:
        a_tenant_asks_once_and_waits_for_the_answer,
        a_quota_is_told_with_every_tenant_that_it_is_for,
        entitlements_are_invisible_to_other_tenants,
        of_many_trials_of_a_product_at_once_a_tenant_gets_one,
        the_edge_is_told_what_a_tenant_may_use_and_until_when;
    reseal:
        every_sealed_value_is_sealed_anew_in_parts_and_by_two_at_once,
        no_sealed_column_is_forgotten;
    oauth:
        a_change_of_a_provider_ends_what_was_begun_before_it,
        who_takes_somebodys_factors_away_takes_identities_too,
        a_provider_that_is_deleted_knows_nobody_at_once_and_is_emptied_by_and_by,
        a_providers_secret_is_sealed_and_its_key_its_owners,
        a_state_is_its_browsers_alone_and_ends_with_its_time,
        a_subject_is_one_user_and_the_last_way_in_is_not_taken_away,
        no_more_wait_in_a_project_than_may_and_whatever_ends_makes_room,
        of_many_that_show_one_state_or_code_one_wins,
        providers_and_identities_are_invisible_to_other_tenants,
        the_first_proof_of_an_address_voids_what_a_provider_knew;
    one_time:
        a_code_is_not_kept_as_it_is_and_the_next_takes_its_place,
        a_link_is_good_for_one_thing_and_for_a_while,
        a_login_policy_is_a_tenants_own,
        an_account_on_hold_comes_back_or_goes,
        an_address_is_written_to_at_a_pace,
        letters_to_strangers_are_bounded_over_all_projects,
        an_address_that_somebody_has_is_nobody_elses,
        of_fifty_that_show_a_code_at_once_one_has_it,
        of_fifty_that_show_a_link_at_once_one_has_it,
        passwords_of_before_are_remembered_and_one_of_many_is_replaced,
        the_first_proof_of_an_address_voids_what_was_set_before,
        what_has_expired_is_swept_in_parts,
        what_is_shown_once_is_invisible_to_other_projects,
        wrong_codes_lock_an_address_and_guesses_made_at_once_are_counted;
    routes:
        a_hostnames_own_route_wins_without_a_tie,
        a_tie_between_services_of_one_hostname_is_refused,
        what_routes_ask_for_is_said_once_and_by_one_statement,
        a_tie_within_a_service_is_refused,
        disabled_routes_neither_tie_nor_are_told_of,
        the_ou_parameter_must_be_in_the_path;
    second_factors:
        an_authenticator_counts_once_it_is_confirmed_and_is_sealed,
        factors_are_invisible_to_other_tenants_and_projects,
        no_sign_in_opens_beside_an_authenticator_that_is_confirmed,
        of_many_that_show_one_code_or_recovery_code_one_wins,
        of_many_that_use_a_waiting_sign_in_one_does,
        waiting_sign_ins_are_few_and_are_swept,
        what_a_session_showed_is_kept_and_raised;
    sessions:
        a_replayed_refresh_token_is_noticed,
        ending_all_other_sessions_leaves_one_and_a_fact_each,
        failures_lock_a_name_whether_or_not_somebody_has_it,
        of_many_refreshes_at_once_one_wins,
        of_sessions_that_end_each_other_at_once_one_stays,
        signing_out_everywhere_refuses_what_was_issued_before,
        signing_out_refuses_the_token_and_ends_the_session;
    groups:
        a_binding_taken_from_a_group_is_told_of_whoever_came_in_meanwhile,
        a_binding_on_a_large_group_is_one_fact_of_its_tenant,
        a_group_grants_nothing_without_a_binding_and_all_of_it_to_its_members,
        a_tenant_is_administered_by_who_is_active_of_their_own_or_by_a_group,
        groups_are_invisible_to_other_tenants_and_take_their_own_members_only,
        who_leaves_a_tenant_leaves_its_groups;
    invitations:
        an_invitation_that_nobody_accepted_in_time_makes_room,
        of_many_that_accept_an_invitation_at_once_one_joins,
        one_invitation_waits_for_each_address_of_a_tenant,
        preferences_are_a_members_own_and_go_with_them;
    units:
        a_deleted_unit_comes_back_with_its_roles_unless_its_name_is_taken,
        a_gateway_tells_of_units_that_are_there_and_its_fleet_serves_only,
        a_member_is_one_thing_in_a_unit_however_many_say_so_at_once,
        a_tenant_has_so_many_units_and_no_more,
        a_tenants_administrator_makes_units_and_groups_within_the_walls,
        of_many_that_purge_a_unit_at_once_one_does,
        the_edge_is_told_of_the_units_that_live,
        what_units_ask_for_is_neither_lost_nor_doubled,
        what_was_asked_of_a_unit_is_read_newest_first_and_forgotten_by_age;
    usage:
        a_gateway_tells_of_tenants_that_its_fleet_serves_only,
        counts_that_are_told_by_many_at_once_are_neither_lost_nor_doubled,
        usage_is_forgotten_with_its_time_and_its_tenant,
        usage_is_invisible_to_other_tenants;
    tenants:
        a_tenant_takes_the_listed_steps_only,
        a_tenants_audit_trail_survives_it,
        a_tenant_of_another_project_is_no_home_for_a_user,
        revoking_a_tenants_tokens_raises_its_generation;
    webhooks:
        a_delivery_is_noted_by_who_holds_it_and_replayed_on_demand,
        a_delivery_that_cannot_be_read_is_given_up_and_holds_up_no_other,
        a_webhook_for_which_too_many_wait_is_stopped_and_told_of_what_comes_later,
        a_webhook_that_takes_nothing_is_stopped_by_one_of_many,
        of_those_who_claim_deliveries_at_once_one_gets_each,
        webhooks_are_invisible_to_other_tenants_and_their_secrets_sealed,
        what_the_chain_held_when_a_webhook_was_disabled_is_announced_by_whoever_comes_next,
        a_full_webhook_is_not_told_later_what_it_was_not_to_hear,
        a_full_webhook_that_is_disabled_is_asked_for_once,
        webhooks_take_turns_however_many_are_before_them,
        what_joins_the_trail_is_announced_to_who_wants_it_once;
}
