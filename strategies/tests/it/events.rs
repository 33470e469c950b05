//! The order saga, choreographed, under duplicate and out-of-order delivery.

use mongodb::bson::{Document, doc};
use phasegate_strategies::orders::{Order, Shop, choreographed};
use phasegate_strategies::outbox::Event;

use crate::database;

fn order(id: &str) -> Order {
    Order { id: id.to_owned(), item: "lamp".to_owned(), count: 2, cents: 2_000, address: "Main St 1".to_owned() }
}

#[tokio::test]
async fn every_event_may_be_delivered_twice() {
    let (_server, store) = database::start("twice").await;
    let shop = Shop::new(&store);
    shop.put_in_stock("lamp", 5).await.unwrap();
    let services = choreographed::services(&store, &shop);
    for order in [order("sent"), Order { address: String::new(), ..order("undone") }] {
        services.outbox().begin(choreographed::order_created(&order)).await.unwrap();
    }
    let mut seen: Vec<Event> = Vec::new();
    loop {
        services.outbox().relay().await.unwrap();
        let pending = services.outbox().pending().await.unwrap();
        if pending.is_empty() {
            break;
        }
        for event in pending {
            // Not acknowledged: a consumer that died is as if its delivery had not been.
            services.deliver(&event).await.unwrap();
            services.deliver(&event).await.unwrap();
            seen.push(event);
        }
        // An old event arrives once more after those that followed from it.
        services.deliver(&seen[0].clone()).await.unwrap();
    }
    let states = [shop.state("sent").await.unwrap(), shop.state("undone").await.unwrap()];
    assert_eq!(states, ["Complete", "Cancelled"]);
    assert_eq!(
        (shop.payment("sent").await.unwrap().as_str(), shop.payment("undone").await.unwrap().as_str()),
        ("Paid", "Refunded")
    );
    assert_eq!(shop.free("lamp").await.unwrap(), 3);
    let kinds: Vec<&str> =
        seen.iter().filter(|event| event.correlation == "undone").map(|event| event.kind.as_str()).collect();
    let expected = [
        "OrderCreated",
        "OrderPending",
        "PaymentCompleted",
        "InventoryReserved",
        "DeliveryFailed",
        "InventoryRestored",
        "PaymentRefunded",
        "OrderCancelled",
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn an_undo_that_overtakes_what_it_undoes_leaves_nothing_to_do() {
    let (_server, store) = database::start("overtaken").await;
    let shop = Shop::new(&store);
    shop.put_in_stock("lamp", 5).await.unwrap();
    let services = choreographed::services(&store, &shop);
    let payload = choreographed::order_created(&order("1")).payload;
    services.deliver(&Event::new("1", "delivery", "DeliveryFailed", payload.clone())).await.unwrap();
    services.deliver(&Event::new("1", "payment", "PaymentCompleted", payload)).await.unwrap();
    assert_eq!(shop.free("lamp").await.unwrap(), 5);
    services.outbox().relay().await.unwrap();
    let kinds: Vec<String> = services.outbox().pending().await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["InventoryRestored"]);
}

#[tokio::test]
async fn a_relay_that_dies_between_publishing_and_marking_publishes_the_same_event() {
    let (_server, store) = database::start("relay").await;
    let shop = Shop::new(&store);
    let services = choreographed::services(&store, &shop);
    let event = choreographed::order_created(&order("1"));
    // What such a relay leaves: the event is in the topic and in the outbox.
    store.collection::<Event>("events").insert_one(&event).await.unwrap();
    services.outbox().begin(event.clone()).await.unwrap();
    assert_eq!(services.outbox().relay().await.unwrap(), 1);
    assert_eq!(services.outbox().relay().await.unwrap(), 0);
    let stored = store.collection::<Document>("events").count_documents(doc! {}).await.unwrap();
    assert_eq!(stored, 1);
}
