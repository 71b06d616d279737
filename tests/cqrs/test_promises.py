"""Every promise of the wing, in a sentence, with the tests that hold it; each of them exists."""
# ruff: noqa: E501 - names of tests are as long as they are

from __future__ import annotations

from tests.citations import cited, missing

PROMISES = """
1. Any exception rejects, rolls the whole tree back and compensates in reverse exactly once, also
   after a restart: `tests/cqrs/test_acceptance.py::test_any_exception_rejects_rolls_back_and_compensates_in_reverse_once`,
   `tests/cqrs/test_saga_kills.py::test_killed_before_the_commit_all_is_taken_back_once_in_reverse`,
   `tests/cqrs/test_saga_kills.py::test_killed_while_taking_back_the_rest_is_taken_back`,
   `tests/cqrs/test_saga_kills.py::test_killed_after_the_commit_everything_stands`
2. All rows of a resolved command are durable together, of a rejected one none:
   `tests/cqrs/test_acceptance.py::test_a_resolved_command_has_all_its_rows_and_a_rejected_one_none`
3. What follows a commit comes from committed rows, and one that fails affects nobody else:
   `tests/cqrs/test_acceptance.py::test_a_failing_consumer_affects_neither_the_caller_nor_others`,
   `tests/cqrs/test_event_channels.py::test_what_is_rolled_back_is_never_told`
4. Each event takes effect once per handler, in stream order:
   `tests/cqrs/test_acceptance.py::test_each_event_takes_effect_once_however_many_patterns_match`
5. A failing eventual handler is retried, then its sequence parked while others go on:
   `tests/cqrs/test_acceptance.py::test_a_failing_sequence_is_parked_while_others_go_on`
6. Of two writers one wins and the other decides again:
   `tests/cqrs/test_acceptance.py::test_writers_of_one_aggregate_decide_again_until_each_has_won`
7. A projection is rebuilt while serving, and equals the incremental one:
   `tests/cqrs/test_projections.py::test_any_history_rebuilds_to_what_it_was`,
   `tests/cqrs/test_projections.py::test_writers_and_readers_go_on_while_it_is_rebuilt`
8. Old events stay readable: `tests/cqrs/test_acceptance.py::test_events_of_an_older_version_are_read_through_upcasters`,
   `tests/cqrs/test_history.py::test_old_versions_are_brought_up`
9. Root, ancestors, descendants, siblings and handlers of any event can be asked for:
   `tests/cqrs/test_traces.py::test_the_whole_tree_is_shown_whatever_id_is_given`,
   `tests/cqrs/test_traces.py::test_causes_can_be_walked_without_a_worker`,
   `tests/cqrs/test_traces.py::test_a_handler_that_waits_retries_or_failed_is_told_from_one_that_is_done`
10. Matching is total, escaped, deterministic, and dots round-trip:
   `tests/cqrs/test_pattern.py::test_matching_is_total`,
   `tests/cqrs/test_acceptance.py::test_values_with_dots_reach_their_handlers_unchanged`,
   `tests/cqrs/test_router.py::test_order_is_exact_then_parameter_then_wildcard_then_priority_then_registration`
11. A client that comes back with its cursor misses nothing and gets nothing twice:
   `tests/cqrs/test_event_channels.py::test_sockets_get_one_copy_of_what_they_may_read`,
   `tests/cqrs/test_event_channels.py::test_a_client_that_comes_back_with_its_position_misses_nothing`
12. Pipelines survive a kill between any two steps: `tests/cqrs/test_pipelines.py::test_killed_between_any_two_moves_it_goes_on`
13. Change tracking, crossing domains, batches, pipelines and channels as the ancestor's tests have them:
   `tests/cqrs/test_changes.py::test_3_before_the_comparison_data_are_the_request`,
   `tests/cqrs/test_changes.py::test_19_fields_that_are_hidden_from_json_survive`,
   `tests/cqrs/test_ancestor.py::test_20_events_list_what_changed_whatever_its_type`,
   `tests/cqrs/test_ancestor.py::test_21_commands_cross_from_domain_to_domain_and_back`,
   `tests/cqrs/test_ancestor.py::test_22_a_batch_and_its_processors_answers_are_joined_item_by_item`,
   `tests/cqrs/test_ancestor.py::test_23_a_parameter_may_repeat_in_a_name`,
   `tests/cqrs/test_ancestor.py::test_27_three_eventual_projectors_leave_exactly_three_rows_per_event`,
   `tests/cqrs/test_pipelines.py::test_steps_map_merge_and_zip_and_the_last_result_is_a_view`,
   `tests/cqrs/test_pipelines.py::test_a_step_whose_condition_fails_is_skipped_and_told`
14. Faults at each step have the promised outcome on both databases:
   `tests/cqrs/test_failures.py::test_whatever_raises_ends_the_command_and_leaves_nothing`,
   `tests/cqrs/test_failures.py::test_an_error_of_the_database_is_no_silent_rollback`,
   `tests/cqrs/test_failures.py::test_a_commit_that_fails_takes_everything_back`,
   `tests/cqrs/test_failures.py::test_a_death_before_the_commit_leaves_nothing`,
   `tests/cqrs/test_failures.py::test_a_death_after_the_commit_loses_and_doubles_nothing`
"""


def test_each_promise_names_tests_that_exist() -> None:
    assert len(cited(PROMISES)) > 30
    assert missing(PROMISES) == []
