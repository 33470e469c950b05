//! The order of the textbooks: charge the payment, reserve the inventory, create the shipping, mark the order complete.
//! Its services have collections of their own, and each activity is idempotent by the order's id.
//!
//! Orchestrated, with compensations in reverse:
//!
//! ```
//! # mod database { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/database.rs")); }
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (_server, store) = database::start("orchestrated").await;
//! use phasegate_strategies::orders::{Order, Shop, orchestrated};
//! use phasegate_strategies::saga::coordinator::{Coordinator, Ended};
//!
//! let shop = Shop::new(&store);
//! shop.put_in_stock("lamp", 3).await?;
//! let coordinator = Coordinator::new(&store);
//! let lamp = Order { id: "1".into(), item: "lamp".into(), count: 2, cents: 4_000, address: "Main St 1".into() };
//! let ended = coordinator.run("order-1", &orchestrated::saga(), &shop.placing(&lamp)).await?;
//! assert_eq!((ended, shop.state("1").await?.as_str()), (Ended::Done, "Complete"));
//!
//! // Nothing can be sent there: the inventory is released, and the payment refunded.
//! let nowhere = Order { id: "2".into(), count: 1, address: String::new(), ..lamp };
//! let ended = coordinator.run("order-2", &orchestrated::saga(), &shop.placing(&nowhere)).await?;
//! assert_eq!((ended, shop.state("2").await?.as_str()), (Ended::Undone, "Cancelled"));
//! assert_eq!((shop.free("lamp").await?, shop.payment("2").await?.as_str()), (1, "Refunded"));
//! # Ok(()) }
//! ```
//!
//! Choreographed, where each service knows the former's event:
//!
//! ```
//! # mod database { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/database.rs")); }
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (_server, store) = database::start("choreographed").await;
//! use phasegate_strategies::orders::{Order, Shop, choreographed};
//!
//! let shop = Shop::new(&store);
//! shop.put_in_stock("lamp", 3).await?;
//! let services = choreographed::services(&store, &shop);
//! let nowhere = Order { id: "3".into(), item: "lamp".into(), count: 2, cents: 4_000, address: String::new() };
//! services.outbox().begin(choreographed::order_created(&nowhere)).await?;
//! choreographed::until_quiet(&services).await?;
//! assert_eq!((shop.state("3").await?.as_str(), shop.payment("3").await?.as_str()), ("Cancelled", "Refunded"));
//! assert_eq!(shop.free("lamp").await?, 3);
//! # Ok(()) }
//! ```

pub mod choreographed;
pub mod orchestrated;

use mongodb::Collection;
use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use crate::job::Failure;
use crate::saga::coordinator::Subject;
use crate::store::{Store, is_duplicate};

/// The largest payment that is accepted.
const LIMIT: i64 = 100_000;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order's identity, and the idempotency key of every activity.
    pub id: String,
    /// What is ordered.
    pub item: String,
    /// How many of it.
    pub count: i64,
    /// The price of all of them.
    pub cents: i64,
    /// Where to. Nothing can be sent to an empty address.
    pub address: String,
}

/// The services of a shop.
#[derive(Clone, Debug)]
pub struct Shop {
    orders: Collection<Document>,
    payments: Collection<Document>,
    stock: Collection<Document>,
    shipments: Collection<Document>,
}

/// An order at a shop.
#[derive(Clone, Debug)]
pub struct Placing {
    shop: Shop,
    order: Order,
}

impl Subject for Placing {
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Shop {
    /// The shop in a store.
    pub fn new(store: &Store) -> Self {
        let [orders, payments, stock, shipments] =
            ["orders", "payments", "stock", "shipments"].map(|name| store.collection(name));
        Self { orders, payments, stock, shipments }
    }

    /// An order at this shop.
    pub fn placing(&self, order: &Order) -> Placing {
        Placing { shop: self.clone(), order: order.clone() }
    }

    /// Puts items in stock.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_in_stock(&self, item: &str, count: i64) -> Result<(), Failure> {
        let more = doc! { "$inc": { "free": count } };
        self.stock.update_one(doc! { "_id": item }, more).upsert(true).await?;
        Ok(())
    }

    /// The items that are not reserved.
    ///
    /// # Errors
    /// The database fails.
    pub async fn free(&self, item: &str) -> Result<i64, Failure> {
        let found = self.stock.find_one(doc! { "_id": item }).await?;
        Ok(found.and_then(|found| found.get_i64("free").ok()).unwrap_or_default())
    }

    /// An order's state.
    ///
    /// # Errors
    /// The database fails.
    pub async fn state(&self, order: &str) -> Result<String, Failure> {
        state_in(&self.orders, order).await
    }

    /// The state of an order's payment.
    ///
    /// # Errors
    /// The database fails.
    pub async fn payment(&self, order: &str) -> Result<String, Failure> {
        state_in(&self.payments, order).await
    }

    async fn mark(&self, order: &Order, state: &str) -> Result<(), Failure> {
        let change = doc! { "$set": { "state": state } };
        self.orders.update_one(doc! { "_id": &order.id }, change).upsert(true).await?;
        Ok(())
    }

    /// The payment's document is its result: a second call finds it. A refund that came first left its own, so that a
    /// late charge takes no money.
    async fn charge(&self, order: &Order) -> Result<(), Failure> {
        if order.cents > LIMIT {
            return Err(Failure::Refused("PaymentDeclined".to_owned()));
        }
        let payment = doc! { "_id": &order.id, "state": "Paid", "cents": order.cents };
        match self.payments.insert_one(payment).await {
            Err(error) if !is_duplicate(&error) => return Err(error.into()),
            _ => {}
        }
        match self.payment(&order.id).await?.as_str() {
            "Refunded" => Err(Failure::Refused("PaymentRefunded".to_owned())),
            _ => Ok(()),
        }
    }

    async fn refund(&self, order: &Order) -> Result<(), Failure> {
        let change = doc! { "$set": { "state": "Refunded" } };
        self.payments.update_one(doc! { "_id": &order.id }, change).upsert(true).await?;
        Ok(())
    }

    /// A commutative update: reservations and releases give the same stock in any order. The holders make both
    /// idempotent.
    async fn reserve(&self, order: &Order) -> Result<(), Failure> {
        let enough = doc! { "_id": &order.item, "free": { "$gte": order.count }, "holders": { "$ne": &order.id } };
        let change = doc! { "$inc": { "free": -order.count }, "$push": { "holders": &order.id } };
        let taken = self.stock.update_one(enough, change).await?.matched_count > 0;
        let held = doc! { "_id": &order.item, "holders": &order.id };
        if taken || self.stock.find_one(held).await?.is_some() {
            return Ok(());
        }
        Err(Failure::Refused("OutOfStock".to_owned()))
    }

    async fn release(&self, order: &Order) -> Result<(), Failure> {
        let held = doc! { "_id": &order.item, "holders": &order.id };
        let change = doc! { "$inc": { "free": order.count }, "$pull": { "holders": &order.id } };
        self.stock.update_one(held, change).await?;
        Ok(())
    }

    async fn ship(&self, order: &Order) -> Result<(), Failure> {
        if order.address.is_empty() {
            return Err(Failure::Refused("AddressUnknown".to_owned()));
        }
        match self.shipments.insert_one(doc! { "_id": &order.id, "to": &order.address }).await {
            Err(error) if !is_duplicate(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

async fn state_in(collection: &Collection<Document>, id: &str) -> Result<String, Failure> {
    let found = collection.find_one(doc! { "_id": id }).await?;
    Ok(found.and_then(|found| found.get_str("state").ok().map(str::to_owned)).unwrap_or_default())
}
