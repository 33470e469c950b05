//! Every row of the state machine's table in ARCHITECTURE.md has a test on a real control plane.

use phasegate::decide::Row;

use crate::harness::root;

/// The first two columns of each row, in order, with the row's tests as `module::function`.
const ROWS: &[(&str, &[&str])] = &[
    (
        "any | deletionTimestamp",
        &[
            "deletion::a_gateway_deleted_in_any_phase_leaves_nothing_behind",
            "deletion::fifty_gateways_deleted_while_the_operator_is_down_leave_nothing_behind",
        ],
    ),
    (
        "any | deletionTimestamp, our finalizer",
        &[
            "registry::deletion::a_deletion_while_the_database_is_down_is_visible_and_resumes",
            "registry::documents::a_document_as_the_ancestor_writes_it_lives_a_whole_life",
        ],
    ),
    (
        "any | deletionTimestamp, somebody else's finalizer",
        &["tenants::a_gateway_that_somebodys_finalizer_holds_is_stopped_and_gives_up_its_host"],
    ),
    (
        "Deleting | any",
        &[
            "registry::deletion::a_deletion_while_the_database_is_down_is_visible_and_resumes",
            "registry::deletion::a_deletion_waits_for_the_database_no_longer_than_it_is_told_and_is_made_up_for",
        ],
    ),
    (
        "any | `spec.suspend`",
        &[
            "suspending::a_start_that_is_suspended_does_not_time_out_and_is_judged_when_it_is_resumed",
            "tenants::what_an_admin_forbids_a_namespace_is_not_routed_and_is_others_to_have",
        ],
    ),
    (
        "any | a word of another version in the spec",
        &["versions::a_spec_of_a_newer_version_keeps_its_host_and_its_pods_and_can_be_corrected_or_deleted"],
    ),
    ("none, Created | asked Stopped", &["starting::a_gateway_that_is_to_be_stopped_creates_nothing"]),
    (
        "none, Created | the pods ask for what is not allowed",
        &["narrowing::what_operator_or_namespace_do_not_allow_begins_no_attempt_and_starts_once_it_is_allowed"],
    ),
    (
        "none, Created | host or name taken, no HTTPRoute can be made, registry away",
        &[
            "names::a_foreign_object_is_left_alone_and_the_gateway_starts_when_it_goes",
            "names::the_second_gateway_on_a_host_waits_without_a_clock_until_the_first_goes",
            "hosts::of_two_gateways_racing_for_a_host_one_wins_and_the_other_starts_when_it_goes",
            "leftovers::a_gateway_whose_predecessor_is_not_collected_is_stalled_and_keeps_its_host",
            "registry::outages::an_operator_that_is_there_before_the_database_serves_kubernetes_and_begins_when_it_appears",
        ],
    ),
    ("none, Created | asked to run", &["starting::a_gateway_starts_and_says_where_it_answers"]),
    ("Starting | asked Stopped", &["stopping::a_start_that_is_cancelled_is_stopped_at_once"]),
    ("Starting | workloadReady, environments Active", &["starting::a_gateway_starts_and_says_where_it_answers"]),
    (
        "Starting | the pods ask for what is not allowed",
        &["narrowing::a_start_that_is_under_way_is_held_when_its_namespace_narrows"],
    ),
    ("Starting | new start or restart request", &["timeout::a_request_during_a_start_gets_the_whole_deadline"]),
    (
        "Starting | host or name taken, no HTTPRoute can be made",
        &["hosts::a_gateway_edited_onto_a_taken_host_while_it_starts_is_held_without_a_clock"],
    ),
    (
        "Starting | the registry, a webhook, the API server's storage or a permission is missing for a write",
        &[
            "webhooks::a_webhook_that_is_away_holds_the_clock_names_itself_and_the_start_goes_on_when_it_is_back",
            "outages::a_store_that_stands_still_in_a_burst_costs_no_gateway_its_start",
            "registry::outages::a_database_that_refuses_connections_holds_clocks_and_nothing_else",
        ],
    ),
    (
        "Starting | deadline passed; something missing that this process has not tried",
        &["resilience::a_start_interrupted_by_a_kill_gets_its_time_when_the_operator_is_back_after_the_deadline"],
    ),
    (
        "Starting | deadline passed; only the content of children differs, and this process has not written them since",
        &["mutation::what_admission_made_of_a_child_whose_answer_was_lost_fails_no_start"],
    ),
    (
        "Starting | deadline of a restart passed, a pod is available",
        &["restarting::a_restart_with_a_broken_image_leaves_the_old_pods_serving_until_the_image_is_corrected"],
    ),
    (
        "Starting | deadline passed, a pod is available and traffic reaches it; not with `--stop-partial-starts`",
        &[
            "partial::a_start_with_pods_that_serve_is_not_stopped_at_its_deadline_and_completes_by_itself",
            "partial::with_the_strict_rule_a_start_that_is_not_complete_is_stopped",
        ],
    ),
    (
        "Starting | deadline passed",
        &["timeout::an_image_that_cannot_be_pulled_is_named_before_the_deadline_and_after_the_clean_up"],
    ),
    (
        "Starting | otherwise",
        &[
            "starting::children_belong_to_the_gateway_and_run_restricted",
            "quiet::a_start_costs_five_writes_one_event_and_no_read",
        ],
    ),
    (
        "Started, Stopped | start or restart request, of what is allowed",
        &["resilience::a_request_that_meets_a_timeout_starts_again_with_the_children_that_are_there"],
    ),
    (
        "Started, Stopped | otherwise",
        &["timeout::an_image_that_cannot_be_pulled_is_named_before_the_deadline_and_after_the_clean_up"],
    ),
    (
        "Started, Running | asked Stopped",
        &["stopping::a_stopped_gateway_leaves_nothing_behind_is_ready_and_starts_again"],
    ),
    (
        "Started, Running | the pods ask for what is not allowed",
        &["narrowing::a_gateway_that_serves_keeps_its_pods_when_its_namespace_narrows_and_goes_on_when_it_widens"],
    ),
    (
        "Started, Running | restart request",
        &["restarting::the_annotation_replaces_every_pod_while_one_is_always_available"],
    ),
    (
        "Started, Running | otherwise",
        &[
            "starting::a_changed_image_rolls_a_started_gateway_without_another_attempt",
            "drift::every_edit_of_every_child_is_undone",
            "drift::after_a_hundred_edits_all_is_repaired_and_a_minute_passes_without_a_write",
        ],
    ),
    ("Stopping | nothing left", &["stopping::a_stopped_gateway_leaves_nothing_behind_is_ready_and_starts_again"]),
    (
        "Stopping | only Terminating pods left, past `--cleanup-stuck-after`, asked to run",
        &["stuck::pods_that_do_not_end_are_named_and_do_not_hold_up_a_start"],
    ),
    ("Stopping | otherwise", &["stopping::pods_serve_until_the_ingress_is_gone"]),
    ("Stopped | a child exists", &["stopping::a_child_that_appears_after_the_stop_is_removed"]),
    (
        "Stopped | asked to run, and a start request, not held, or a retry due; host and name free, and the pods allowed",
        &[
            "timeout::a_changed_image_starts_a_timed_out_gateway_and_clears_its_failure",
            "timeout::the_retry_annotation_starts_a_timed_out_gateway_once",
            "timeout::the_operator_tries_again_as_often_as_the_spec_grants",
            "stopping::a_stopped_gateway_leaves_nothing_behind_is_ready_and_starts_again",
        ],
    ),
    (
        "Stopped | otherwise",
        &[
            "timeout::the_same_spec_applied_every_second_by_another_manager_neither_restarts_nor_writes",
            "hosts::a_stopped_gateway_keeps_its_host_until_its_spec_drops_it",
        ],
    ),
    ("unknown | any", &["bad_objects::an_unknown_phase_is_reported_and_nothing_is_done"]),
];

/// The cells of the table, without its header and rule.
fn table() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, machine) = text.split_once("## The machine\n").expect("a chapter about the machine");
    let chapter = machine.split("\n## ").next().unwrap();
    let cells = |line: &str| line.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect();
    chapter.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

#[test]
fn the_table_of_the_machine_is_the_one_that_is_proven() {
    let proven: Vec<&str> = ROWS.iter().map(|(row, _)| *row).collect();
    let rows: Vec<String> = table().iter().map(|cells| cells[..2].join(" | ")).collect();
    assert_eq!(rows, proven);
}

#[test]
fn the_table_names_the_rows_that_make_a_transition() {
    let mut named: Vec<String> = table().into_iter().map(|cells| cells[4].replace('`', "")).collect();
    named.retain(|name| !name.is_empty());
    named.dedup();
    assert_eq!(named, Row::ALL.map(Row::name));
}

#[test]
fn every_row_names_a_test_that_exists_and_runs() {
    let main = std::fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    for (row, tests) in ROWS {
        assert!(!tests.is_empty(), "{row}");
        for test in tests.iter() {
            let (module, function) = test.rsplit_once("::").expect("module::function");
            let (top, inner) = module.split_once("::").unwrap_or((module, ""));
            assert!(main.contains(&format!("\nmod {top};\n")), "{row}: tests/it has no module {top}");
            let place = root().join("tests/it").join(module.replace("::", "/")).with_extension("rs");
            if !inner.is_empty() {
                let modules = std::fs::read_to_string(place.with_file_name("mod.rs")).unwrap();
                assert!(modules.contains(&format!("\nmod {inner};\n")), "{row}: tests/it/{top} has no module {inner}");
            }
            let source = std::fs::read_to_string(place).unwrap();
            assert_eq!(runs(&source, function), Ok(()), "{row}: {test}");
        }
    }
}

/// Whether a function of a source is a test that always runs.
fn runs(source: &str, function: &str) -> Result<(), &'static str> {
    let at = source.find(&format!("\nasync fn {function}(")).ok_or("there is no such function")?;
    // A function's attributes and comments are above it, without an empty line.
    let above: Vec<&str> = source[..=at].lines().rev().take_while(|line| !line.is_empty() && *line != "}").collect();
    let attributes: Vec<&str> = above.into_iter().filter(|line| !line.starts_with("//")).collect();
    if !attributes.iter().any(|line| line.starts_with("#[tokio::test")) {
        return Err("it is no test");
    }
    let conditional = |line: &&str| line.contains("ignore") || line.contains("cfg");
    if attributes.iter().any(conditional) { Err("it does not always run") } else { Ok(()) }
}

#[test]
fn a_test_that_is_ignored_or_compiled_under_a_condition_does_not_prove_a_row() {
    for (above, found) in [
        ("#[tokio::test]\n", Ok(())),
        ("}\n/// It may be ignored.\n#[tokio::test(flavor = \"multi_thread\")]\n", Ok(())),
        ("#[ignore]\nasync fn other() {}\n\n#[tokio::test]\n", Ok(())),
        ("#[tokio::test]\nasync fn other() {}\n\n", Err("it is no test")),
        ("#[tokio::test]\n#[ignore]\n", Err("it does not always run")),
        ("#[ignore = \"slow\"]\n#[tokio::test]\n", Err("it does not always run")),
        ("#[tokio::test]\n#[cfg_attr(not(slow), ignore)]\n", Err("it does not always run")),
        ("#[cfg(slow)]\n#[tokio::test]\n", Err("it does not always run")),
    ] {
        assert_eq!(runs(&format!("use a;\n\n{above}async fn it_works() {{}}\n"), "it_works"), found, "{above}");
    }
    assert!(runs("", "it_works").is_err());
}
