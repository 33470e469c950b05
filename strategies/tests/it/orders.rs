//! The order saga, orchestrated: compensations in reverse, a crash, an alarm and its mending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use phasegate_harness::eventually;
use phasegate_strategies::job::Failure;
use phasegate_strategies::orders::{Order, Shop, orchestrated};
use phasegate_strategies::saga::coordinator::{Coordinator, Ended, Subject};
use phasegate_strategies::saga::steps::Saga;
use phasegate_strategies::store::Store;
use tokio::sync::Mutex;

use crate::database;

fn order(id: &str) -> Order {
    Order { id: id.to_owned(), item: "lamp".to_owned(), count: 1, cents: 2_000, address: "Main St 1".to_owned() }
}

#[tokio::test]
async fn an_order_that_cannot_be_reserved_or_paid_leaves_no_payment_and_no_reservation() {
    let (_server, store) = database::start("orders").await;
    let shop = Shop::new(&store);
    shop.put_in_stock("lamp", 1).await.unwrap();
    let coordinator = Coordinator::new(&store);
    let mut states = Vec::new();
    let orders = [order("1"), Order { count: 5, ..order("2") }, Order { cents: 1_000_000, ..order("3") }];
    for order in orders {
        let ended = coordinator.run(&order.id, &orchestrated::saga(), &shop.placing(&order)).await.unwrap();
        states.push((ended, shop.state(&order.id).await.unwrap(), shop.payment(&order.id).await.unwrap()));
    }
    let expected = [
        (Ended::Done, "Complete", "Paid"),
        (Ended::Undone, "Cancelled", "Refunded"),
        (Ended::Undone, "Cancelled", "Refunded"),
    ];
    assert_eq!(states, expected.map(|(ended, state, payment)| (ended, state.to_owned(), payment.to_owned())));
    assert_eq!(shop.free("lamp").await.unwrap(), 0);
}

/// A saga's subject that notes what was done, and may refuse a compensation.
#[derive(Clone, Default)]
struct Notes {
    notes: Arc<Mutex<Vec<&'static str>>>,
    broken: Arc<AtomicBool>,
    stuck: Arc<AtomicBool>,
}

impl Subject for Notes {
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Notes {
    async fn note(self, what: &'static str) -> Result<(), Failure> {
        self.notes.lock().await.push(what);
        Ok(())
    }

    async fn undo_first(self) -> Result<(), Failure> {
        match self.broken.load(Ordering::Relaxed) {
            true => Err(Failure::Refused("the provider has no such charge".to_owned())),
            false => self.note("undo first").await,
        }
    }

    async fn third(self) -> Result<(), Failure> {
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Err(Failure::Refused("no".to_owned()))
    }
}

fn failing() -> Saga<Notes> {
    Saga::begin()
        .compensable("first", |notes: Notes| notes.note("first"), Notes::undo_first)
        .compensable("second", |notes: Notes| notes.note("second"), |notes| notes.note("undo second"))
        .pivot("third", Notes::third)
        .end()
}

#[tokio::test]
async fn a_refused_compensation_raises_an_alarm_and_continues_once_it_is_mended() {
    let (_server, store) = database::start("alarm").await;
    let (coordinator, notes) = (Coordinator::new(&store), Notes::default());
    notes.broken.store(true, Ordering::Relaxed);
    assert_eq!(coordinator.run("a", &failing(), &notes).await.unwrap(), Ended::Alarmed);
    assert_eq!(*notes.notes.lock().await, ["first", "second", "undo second"]);
    let alarms = coordinator.logs().alarms().await.unwrap();
    let said: Vec<_> =
        alarms.iter().map(|alarm| (alarm.get_str("step").unwrap(), alarm.get_str("message").unwrap())).collect();
    assert_eq!(said, [("first", "the provider has no such charge")]);

    notes.broken.store(false, Ordering::Relaxed);
    coordinator.logs().mend("a").await.unwrap();
    assert_eq!(coordinator.run("a", &failing(), &notes).await.unwrap(), Ended::Undone);
    assert_eq!(*notes.notes.lock().await, ["first", "second", "undo second", "undo first"]);
    assert!(coordinator.logs().alarms().await.unwrap().is_empty());
    assert!(coordinator.logs().mend("a").await.is_err());
}

#[tokio::test]
async fn a_saga_is_taken_over_only_once_its_coordinator_is_silent() {
    let (_server, store) = database::start("takeover").await;
    let notes = Notes::default();
    notes.stuck.store(true, Ordering::Relaxed);
    let first = tokio::spawn(run_alone(store.clone(), notes.clone()));
    let begun = eventually(Duration::from_millis(20), async || (notes.notes.lock().await.len() == 2).then_some(()));
    begun.await.unwrap();
    let second = Coordinator::new(&store);
    let in_log = async || second.logs().find("a").await.unwrap().filter(|log| log.at == 2);
    eventually(Duration::from_millis(20), in_log).await.unwrap();
    assert_eq!(second.run("a", &failing(), &notes).await.unwrap(), Ended::Theirs);

    first.abort();
    notes.stuck.store(false, Ordering::Relaxed);
    let taken = eventually(Duration::from_millis(200), async || {
        let ended = second.run("a", &failing(), &notes).await.unwrap();
        (ended != Ended::Theirs).then_some(ended)
    });
    assert_eq!(taken.await, Some(Ended::Undone));
    // Nothing was done a second time.
    assert_eq!(*notes.notes.lock().await, ["first", "second", "undo second", "undo first"]);
}

async fn run_alone(store: Store, notes: Notes) {
    let _ = Coordinator::new(&store).run("a", &failing(), &notes).await;
}
