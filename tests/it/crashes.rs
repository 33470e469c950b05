//! The operator is killed before and after each of its writes, and again in its recovery. What is left in the end is
//! what an operator leaves that is not disturbed. `PHASEGATE_CRASHES=all` tries every write instead of a sample.

use crate::harness::{ActiveFault, Fault, Operator};
use crate::parts::{Left, Part, Stage, at, counts, left};

/// Kills an operator when a write meets its fault. Returns whether that happened before the part was over.
async fn is_killed(mut fault: ActiveFault, operator: &mut Operator, part: Part, stage: &Stage) -> bool {
    let met = tokio::select! {
        () = fault.caught(1) => true,
        () = part.until_over(stage) => false,
    };
    if met {
        operator.kill();
    }
    met
}

/// One run: the operator is killed at a write, if one is given, and again in its recovery. Returns what is left, the
/// number of writes and the number of kills.
async fn run(part: Part, name: &str, point: Option<(usize, Fault)>) -> (Left, usize, usize) {
    let stage = Stage::of(part, name).await;
    let _policies = part.policies(stage.world()).await;
    let proxy = stage.proxy().await;
    let mut operator = stage.operator(&proxy);
    part.prepare(&stage).await;
    let before = proxy.count(counts);
    let mut kills = 0;
    let first = point.map(|(number, fault)| at(&proxy, number, fault));
    part.request(&stage).await;
    if let Some(first) = first
        && is_killed(first, &mut operator, part, &stage).await
    {
        kills += 1;
        let again = at(&proxy, 0, Fault::HangAfterwards);
        operator = stage.operator(&proxy);
        if is_killed(again, &mut operator, part, &stage).await {
            kills += 1;
            operator = stage.operator(&proxy);
        }
    }
    part.until_over(&stage).await;
    let left = left(&stage, part).await;
    drop(operator);
    (left, proxy.count(counts) - before, kills)
}

/// Every crash of one part, or a sample of them.
async fn crashes_in(part: Part) {
    let all = std::env::var("PHASEGATE_CRASHES").is_ok_and(|which| which == "all");
    let name = format!("crash-{}", format!("{part:?}").to_lowercase());
    let (expected, writes, _) = run(part, &name, None).await;
    assert!(writes > 0, "{part:?} writes nothing");
    let faults = [Fault::Hang, Fault::HangAfterwards];
    let points: Vec<_> = (0..writes).flat_map(|number| faults.map(|fault| (number, fault))).collect();
    let (mut runs, mut kills) = (0, 0);
    for (number, fault) in points.iter().copied().step_by(if all { 1 } else { 5 }) {
        let (left, _, killed) = run(part, &name, Some((number, fault))).await;
        assert_eq!(left, expected, "{part:?}, {fault:?} at write {number}");
        (runs, kills) = (runs + 1, kills + killed);
    }
    println!("{part:?}: {writes} writes, {runs} runs, {kills} kills");
    assert!(kills > 0, "{part:?}: no operator was killed");
}

macro_rules! parts {
    ($($name:ident: $part:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            crashes_in(Part::$part).await;
        }
    )+};
}

parts! {
    a_start_ends_the_same_wherever_its_operator_crashes: Start,
    a_start_that_admission_changes_ends_the_same_wherever_its_operator_crashes: AdmittedStart,
    a_start_by_a_document_ends_the_same_wherever_its_operator_crashes: DocumentStart,
    a_restart_ends_the_same_wherever_its_operator_crashes: Restart,
    a_new_image_is_rolled_out_the_same_wherever_its_operator_crashes: NewImage,
    scaling_ends_the_same_wherever_its_operator_crashes: Scaling,
    a_host_moves_the_same_wherever_its_operator_crashes: OtherHost,
    an_environment_becomes_active_the_same_wherever_its_operator_crashes: NewEnvironment,
    a_stop_ends_the_same_wherever_its_operator_crashes: Stop,
    a_timeout_ends_the_same_wherever_its_operator_crashes: Timeout,
    a_retry_ends_the_same_wherever_its_operator_crashes: Retry,
    a_deletion_ends_the_same_wherever_its_operator_crashes: Deletion,
}
