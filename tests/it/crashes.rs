//! The operator is killed before and after each of its writes, and again in its recovery. What is left in the end is
//! what an operator leaves that is not disturbed. `PHASEGATE_CRASHES=all` tries every write instead of a sample.

use crate::harness::{ActiveFault, Fault, Operator, Proxy, World};
use crate::parts::{Part, at, counts, left};

/// An operator behind a proxy, in a namespace of its own.
async fn prepared(part: Part, name: &str) -> (World, Proxy, Operator) {
    let world = World::new(name).await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let operator = world.operator_as(proxy.kubeconfig(), &[]);
    part.prepare(&world).await;
    (world, proxy, operator)
}

/// Kills an operator when a write meets its fault. Returns whether that happened before the part was over.
async fn is_killed(mut fault: ActiveFault, operator: &mut Operator, part: Part, world: &World) -> bool {
    let met = tokio::select! {
        () = fault.caught(1) => true,
        () = part.until_over(world) => false,
    };
    if met {
        operator.kill();
    }
    met
}

/// Every crash of one part, or a sample of them.
async fn crashes_in(part: Part) {
    let all = std::env::var("PHASEGATE_CRASHES").is_ok_and(|which| which == "all");
    let name = format!("crash-{}", format!("{part:?}").to_lowercase());

    let (world, proxy, operator) = prepared(part, &name).await;
    let before = proxy.count(counts);
    part.request(&world).await;
    part.until_over(&world).await;
    let writes = proxy.count(counts) - before;
    let expected = left(&world, part).await;
    drop(operator);
    assert!(writes > 0, "{part:?} writes nothing");

    let faults = [Fault::Hang, Fault::HangAfterwards];
    let points: Vec<_> = (0..writes).flat_map(|number| faults.map(|fault| (number, fault))).collect();
    let mut kills = 0;
    for (number, fault) in points.iter().copied().step_by(if all { 1 } else { 5 }) {
        let (world, proxy, mut operator) = prepared(part, &name).await;
        let first = at(&proxy, number, fault);
        part.request(&world).await;
        if is_killed(first, &mut operator, part, &world).await {
            kills += 1;
            let again = at(&proxy, 0, Fault::HangAfterwards);
            operator = world.operator_as(proxy.kubeconfig(), &[]);
            if is_killed(again, &mut operator, part, &world).await {
                kills += 1;
                operator = world.operator_as(proxy.kubeconfig(), &[]);
            }
        }
        part.until_over(&world).await;
        assert_eq!(left(&world, part).await, expected, "{part:?}, {fault:?} at write {number}");
        drop(operator);
    }
    println!("{part:?}: {writes} writes, {kills} kills");
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
    a_restart_ends_the_same_wherever_its_operator_crashes: Restart,
    a_new_image_is_rolled_out_the_same_wherever_its_operator_crashes: NewImage,
    scaling_ends_the_same_wherever_its_operator_crashes: Scaling,
    a_host_moves_the_same_wherever_its_operator_crashes: OtherHost,
    an_environment_becomes_active_the_same_wherever_its_operator_crashes: NewEnvironment,
    a_stop_ends_the_same_wherever_its_operator_crashes: Stop,
    a_timeout_ends_the_same_wherever_its_operator_crashes: Timeout,
    a_deletion_ends_the_same_wherever_its_operator_crashes: Deletion,
}
