//! A gateway's whole life while one kind of fault meets the requests of its operator. It ends as it does without the
//! fault, by the same transitions. `PHASEGATE_FAULTS=all` tries every kind instead of a sample.

use std::time::Duration;

use phasegate::api::{Environment, Phase, State};
use serde_json::json;

use crate::harness::{
    ActiveFault, Fault, ProxiedRequest, Proxy, World, environment, gateway, is_active, path, restart,
};

/// Which requests meet a fault, and how many of them in each part of the life.
struct Row {
    fault: Fault,
    times: usize,
    on: fn(&ProxiedRequest) -> bool,
}

const SECOND: Duration = Duration::from_secs(1);

/// Every part of a life has this number of writes at least, so that each part meets its faults.
const FEW: usize = 2;

fn row(fault: Fault, times: usize, on: fn(&ProxiedRequest) -> bool) -> Row {
    Row { fault, times, on }
}

fn write(request: &ProxiedRequest) -> bool {
    request.is_write()
}

fn list(request: &ProxiedRequest) -> bool {
    request.verb == "list"
}

fn watch(request: &ProxiedRequest) -> bool {
    request.verb == "watch"
}

fn further_page(request: &ProxiedRequest) -> bool {
    request.is_continued
}

fn armed(proxy: &Proxy, rows: &[Row]) -> Vec<ActiveFault> {
    rows.iter().map(|row| proxy.when_next(row.times, row.fault, row.on)).collect()
}

/// A life in five parts. The faults meet each of them anew. The operator is killed in the middle.
async fn a_life(number: usize, faults: &[Row]) {
    let world = World::new(&format!("fault-{number}")).await;
    let proxy = Proxy::start(&world.cluster.operator_kubeconfig()).await;
    let mut met = vec![0; faults.len()];
    let mut end = |active: Vec<ActiveFault>| {
        active.iter().zip(&mut met).for_each(|(fault, met)| *met += fault.count());
    };
    let flags = ["--call-timeout", "3s"];

    let active = armed(&proxy, faults);
    let mut operator = world.operator_as(proxy.kubeconfig(), &flags);
    let host = |name: &str| format!("{name}-{}.example.com", world.namespace);
    world.apply(&gateway("shop", json!({ "image": "acme/gateway:1", "host": host("shop") }))).await;
    world.create::<Environment>(environment("beta", "shop", Some(&host("beta")))).await;
    // The lists of the next operator have two pages of one object.
    world.create::<Environment>(environment("alpha", "shop", None)).await;
    world.until_started("shop").await;
    world.until::<Environment>("beta", "active", is_active).await;
    end(active);

    let active = armed(&proxy, faults);
    world.patch("shop", restart("once")).await;
    world.until::<phasegate::api::ApiGateway>("shop", "restarted", |shop| path(shop).len() == 4).await;
    let scaled = world.patch("shop", json!({ "spec": { "replicas": 2 } })).await;
    world.until_ready_again(&scaled).await;
    end(active);

    let active = armed(&proxy, faults);
    world.patch("shop", json!({ "spec": { "state": "Stopped" } })).await;
    world.until_phase("shop", Phase::Stopped, State::Stopped).await;
    operator.kill();
    world.until_nothing_is_left().await;
    end(active);

    let active = armed(&proxy, faults);
    world.patch("shop", json!({ "spec": { "state": "Running" } })).await;
    operator = world.operator_as(proxy.kubeconfig(), &flags);
    let shop = world.until_started("shop").await;
    world.until::<Environment>("beta", "active again", is_active).await;
    end(active);
    assert_eq!(
        path(&shop),
        [
            "Starting/Running StartRequested",
            "Started/Running Started",
            "Starting/Restarting RestartRequested",
            "Started/Running Started",
            "Stopping/Stopped StopRequested",
            "Stopped/Stopped Stopped",
            "Starting/Running StartRequested",
            "Started/Running Started",
        ],
        "{:?}",
        faults.iter().map(|row| row.fault).collect::<Vec<_>>()
    );
    let status = shop.status.unwrap();
    assert_eq!((status.transitions, status.attempt.unwrap().number), (8, 3));
    assert!(status.last_failure.is_none());

    let active = armed(&proxy, faults);
    world.delete("shop").await;
    world.until_gone::<phasegate::api::ApiGateway>("shop").await;
    world.until_nothing_is_left().await;
    end(active);
    drop(operator);
    for (row, met) in faults.iter().zip(met) {
        assert!(met > 0, "no request met {:?}", row.fault);
    }
}

/// The lives with each of these faults, or a sample of them.
async fn lives(first: usize, rows: Vec<Vec<Row>>) {
    let all = std::env::var("PHASEGATE_FAULTS").is_ok_and(|which| which == "all");
    let every = if all { 1 } else { 7 };
    for (number, faults) in rows.iter().enumerate().step_by(every) {
        a_life(first + number, faults).await;
    }
}

#[tokio::test]
async fn a_life_ends_the_same_whatever_becomes_of_requests_on_their_way() {
    let rows = vec![
        vec![row(Fault::Twice, usize::MAX, write)],
        vec![row(Fault::Delay(SECOND), usize::MAX, write)],
        vec![row(Fault::Hang, FEW, write)],
        vec![row(Fault::Cut, FEW, write)],
        vec![row(Fault::Answer(401), FEW, write)],
        vec![row(Fault::Answer(403), FEW, write)],
        vec![row(Fault::Answer(409), FEW, write)],
        vec![row(Fault::Answer(429), FEW, write)],
        vec![row(Fault::TryAgainAfter(86_400), FEW, write)],
        vec![row(Fault::Answer(500), FEW, write)],
        vec![row(Fault::ErrorPage(502), FEW, write)],
        vec![row(Fault::Answer(503), FEW, write)],
        vec![row(Fault::Answer(504), FEW, write)],
    ];
    lives(0, rows).await;
}

#[tokio::test]
async fn a_life_ends_the_same_whatever_becomes_of_answers_to_writes_that_are_done() {
    let rows = vec![
        vec![row(Fault::CutAfterwards, FEW, write)],
        vec![row(Fault::HangAfterwards, FEW, write)],
        vec![row(Fault::AnswerAfterwards(409), FEW, write)],
        vec![row(Fault::AnswerAfterwards(500), FEW, write)],
        vec![row(Fault::AnswerAfterwards(504), FEW, write)],
        vec![row(Fault::AnswerLate(SECOND), usize::MAX, write)],
        vec![row(Fault::Truncate, FEW, write)],
        vec![row(Fault::Empty, FEW, write)],
        vec![row(Fault::Garbage, FEW, write)],
    ];
    lives(20, rows).await;
}

#[tokio::test]
async fn a_life_ends_the_same_whatever_becomes_of_lists_and_watches() {
    let rows = vec![
        vec![row(Fault::ErrorEvent(410), FEW, watch)],
        vec![row(Fault::ErrorEvent(500), FEW, watch)],
        vec![row(Fault::Answer(410), FEW, watch)],
        vec![row(Fault::Double, usize::MAX, watch)],
        vec![row(Fault::Replay, usize::MAX, watch)],
        vec![row(Fault::Merge, usize::MAX, watch)],
        vec![row(Fault::HalfEvent, FEW, watch)],
        vec![row(Fault::Late(SECOND), usize::MAX, watch)],
        vec![row(Fault::Stale, usize::MAX, list)],
        vec![row(Fault::Truncate, FEW, list)],
        vec![row(Fault::Garbage, FEW, list)],
        vec![row(Fault::Answer(410), FEW, further_page), row(Fault::Pages(1), usize::MAX, list)],
        vec![row(Fault::Pages(1), usize::MAX, list)],
    ];
    lives(40, rows).await;
}
