//! The order as a choreographed saga, with the events of the textbooks.

use mongodb::bson::{deserialize_from_document, doc};

use super::{Order, Shop};
use crate::job::Failure;
use crate::outbox::Event;
use crate::saga::choreography::{Choreography, Service};
use crate::store::Store;

/// The services of a shop.
pub fn services(store: &Store, shop: &Shop) -> Choreography<Shop> {
    let services = vec![
        Service::new(
            "order",
            "OrderCreated",
            |at: Shop, event| async move { at.mark(&order(&event)?, "Pending").await },
            "OrderPending",
        )
        .undone_on(
            "PaymentRefunded",
            |at: Shop, event| async move { at.mark(&order(&event)?, "Cancelled").await },
            "OrderCancelled",
        ),
        Service::new(
            "payment",
            "OrderPending",
            |at: Shop, event| async move { at.charge(&order(&event)?).await },
            "PaymentCompleted",
        )
        .undone_on(
            "InventoryRestored",
            |at: Shop, event| async move { at.refund(&order(&event)?).await },
            "PaymentRefunded",
        ),
        Service::new(
            "inventory",
            "PaymentCompleted",
            |at: Shop, event| async move { at.reserve(&order(&event)?).await },
            "InventoryReserved",
        )
        .undone_on(
            "DeliveryFailed",
            |at: Shop, event| async move { at.release(&order(&event)?).await },
            "InventoryRestored",
        ),
        Service::new(
            "delivery",
            "InventoryReserved",
            |at: Shop, event| async move { at.ship(&order(&event)?).await },
            "DeliveryCreated",
        )
        .undone_on("OrderRevoked", |_, _| async { Ok(()) }, "DeliveryFailed"),
        Service::new(
            "completion",
            "DeliveryCreated",
            |at: Shop, event| async move { at.mark(&order(&event)?, "Complete").await },
            "OrderCompleted",
        ),
    ];
    Choreography::new(store, services, shop.clone())
}

/// The event that begins an order.
pub fn order_created(order: &Order) -> Event {
    let Order { id, item, count, cents, address } = order;
    let payload = doc! { "id": id, "item": item, "count": count, "cents": cents, "address": address };
    Event::new(id, "customer", "OrderCreated", payload)
}

/// Relays and delivers until no event is left.
///
/// # Errors
/// The database fails.
pub async fn until_quiet(services: &Choreography<Shop>) -> Result<(), Failure> {
    loop {
        services.outbox().relay().await?;
        let pending = services.outbox().pending().await?;
        if pending.is_empty() {
            return Ok(());
        }
        for event in pending {
            services.deliver(&event).await?;
        }
    }
}

fn order(event: &Event) -> Result<Order, Failure> {
    let mut payload = event.payload.clone();
    payload.remove("reason");
    deserialize_from_document(payload).map_err(|error| Failure::Refused(error.to_string()))
}
