//! The order as an orchestrated saga. Shipping is the pivot: what was sent is not called back.

use super::Placing;
use crate::saga::steps::Saga;

/// The saga of an order.
pub fn saga() -> Saga<Placing> {
    Saga::begin()
        .compensable(
            "order",
            |at: Placing| async move { at.shop.mark(&at.order, "Pending").await },
            |at| async move { at.shop.mark(&at.order, "Cancelled").await },
        )
        .compensable(
            "payment",
            |at: Placing| async move { at.shop.charge(&at.order).await },
            |at| async move { at.shop.refund(&at.order).await },
        )
        .compensable(
            "inventory",
            |at: Placing| async move { at.shop.reserve(&at.order).await },
            |at| async move { at.shop.release(&at.order).await },
        )
        .pivot("shipping", |at| async move { at.shop.ship(&at.order).await })
        .retriable("complete", |at| async move { at.shop.mark(&at.order, "Complete").await })
        .end()
}
