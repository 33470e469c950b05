//! An append-only log with snapshots.

use mongodb::bson::{DateTime, doc};
use phasegate_strategies::sourcing::{Entry, Fact, Log, Stage, State};

use crate::database;

const FACTS: [Fact; 6] = [
    Fact::Requested,
    Fact::DeploymentCreated,
    Fact::ServiceCreated,
    Fact::IngressCreated,
    Fact::Served,
    Fact::EnvironmentsActivated,
];

#[tokio::test]
async fn of_two_writers_who_know_the_same_one_appends() {
    let (_server, store) = database::start("append").await;
    let log = Log::new(&store);
    let known = State::default();
    let first = log.append("a", &known, Fact::Requested).await.unwrap();
    assert_eq!(first.map(|state| state.version), Some(1));
    assert_eq!(log.append("a", &known, Fact::GivenUp("late".to_owned())).await.unwrap(), None);
    assert_eq!(log.state("a").await.unwrap().given_up, None);
}

#[tokio::test]
async fn a_state_from_its_snapshot_is_the_state_rebuilt_from_zero_and_any_moment_can_be_asked() {
    let (_server, store) = database::start("rebuilt").await;
    let log = Log::new(&store);
    let mut state = State::default();
    for fact in FACTS {
        state = log.append("a", &state, fact).await.unwrap().unwrap();
    }
    assert_eq!(log.state("a").await.unwrap(), state);
    assert_eq!(log.rebuilt("a").await.unwrap(), state);
    // The moments of the entries are set apart, so that each can be asked.
    let entries = store.collection::<Entry>("log");
    for version in 1..=6_i64 {
        let moment = doc! { "$set": { "at": DateTime::from_millis(1_000 * version) } };
        entries.update_one(doc! { "version": version }, moment).await.unwrap();
    }
    let asked = log.as_of("a", DateTime::from_millis(3_500)).await.unwrap();
    assert_eq!((asked.version, asked.stage), (3, Stage::Service));
    assert_eq!(log.as_of("a", DateTime::from_millis(0)).await.unwrap(), State::default());
}
