//! Each anomaly happens without its countermeasure, and does not with it.

use mongodb::bson::oid::ObjectId;
use phasegate_harness::wire::Server;
use phasegate_strategies::anomalies::{Accounts, MUCH};
use phasegate_strategies::job::Failure;

use crate::database;

async fn accounts(test: &'static str) -> (Server, Accounts, String) {
    let (server, store) = database::start(test).await;
    let (accounts, account) = (Accounts::new(&store), ObjectId::new().to_hex());
    accounts.open(&account, 100).await.unwrap();
    (server, accounts, account)
}

fn called_back() -> Result<(), Failure> {
    Err(Failure::Refused("the delivery has left".to_owned()))
}

#[tokio::test]
async fn a_lost_update_and_its_countermeasures_reread_value_and_commutative_update() {
    let (_server, accounts, account) = accounts("lost").await;
    // Both sagas read 100. The second overwrites what the first has added.
    let (first, second) = (accounts.balance(&account).await.unwrap(), accounts.balance(&account).await.unwrap());
    accounts.overwrite(&account, first + 10).await.unwrap();
    accounts.overwrite(&account, second + 1).await.unwrap();
    assert_eq!(accounts.balance(&account).await.unwrap(), 101);

    let (first, second) = (accounts.balance(&account).await.unwrap(), accounts.balance(&account).await.unwrap());
    assert!(accounts.write_if_unchanged(&account, first, first + 10).await.unwrap());
    assert!(!accounts.write_if_unchanged(&account, second, second + 1).await.unwrap());
    assert_eq!(accounts.balance(&account).await.unwrap(), 111);

    accounts.add(&account, -10).await.unwrap();
    accounts.add(&account, -1).await.unwrap();
    assert_eq!(accounts.balance(&account).await.unwrap(), 100);
}

#[tokio::test]
async fn a_dirty_read_and_its_countermeasure_semantic_lock() {
    let (_server, accounts, account) = accounts("dirty").await;
    // A cancellation raises the balance; another saga reads it; the first is undone.
    accounts.add(&account, 50).await.unwrap();
    let dirty = accounts.balance(&account).await.unwrap();
    accounts.add(&account, -50).await.unwrap();
    assert_eq!((dirty, accounts.balance(&account).await.unwrap()), (150, 100));

    assert!(accounts.lock(&account, "cancellation").await.unwrap());
    accounts.add(&account, 50).await.unwrap();
    assert_eq!(accounts.settled_balance(&account).await.unwrap(), None);
    assert!(!accounts.lock(&account, "another").await.unwrap());
    accounts.add(&account, -50).await.unwrap();
    accounts.unlock(&account, "cancellation").await.unwrap();
    assert_eq!(accounts.settled_balance(&account).await.unwrap(), Some(100));
}

#[tokio::test]
async fn a_dirty_read_and_its_countermeasure_pessimistic_view() {
    let (_server, accounts, account) = accounts("order").await;
    let spend_all = async || {
        let balance = accounts.balance(&account).await?;
        accounts.add(&account, -balance).await?;
        called_back()
    };
    accounts.cancel_raising_first(&account, 50, spend_all).await.unwrap_err();
    assert_eq!(accounts.balance(&account).await.unwrap(), -50, "money was spent that came back");

    accounts.add(&account, 150).await.unwrap();
    accounts.cancel_raising_last(&account, 50, spend_all).await.unwrap_err();
    assert_eq!(accounts.balance(&account).await.unwrap(), 0);
}

#[tokio::test]
async fn a_non_repeatable_read_and_its_countermeasure_reread_value() {
    let (_server, accounts, account) = accounts("again").await;
    let before = accounts.balance(&account).await.unwrap();
    accounts.add(&account, -80).await.unwrap();
    assert_ne!(accounts.balance(&account).await.unwrap(), before, "the second read shows another balance");
    // A saga that decided by the first read stops.
    assert!(!accounts.write_if_unchanged(&account, before, before - 90).await.unwrap());
    assert_eq!(accounts.balance(&account).await.unwrap(), 20);
}

#[tokio::test]
async fn an_authorization_after_its_cancellation_and_its_countermeasure_version_file() {
    let (_server, accounts, account) = accounts("file").await;
    assert!(accounts.cancel("late").await.unwrap());
    accounts.authorize_blindly(&account, 30).await.unwrap();
    assert_eq!(accounts.balance(&account).await.unwrap(), 70, "the cancelled payment was taken");

    assert!(!accounts.authorize(&account, "late", 30).await.unwrap());
    assert!(accounts.authorize(&account, "in time", 30).await.unwrap());
    assert!(!accounts.authorize(&account, "in time", 30).await.unwrap());
    assert!(!accounts.cancel("in time").await.unwrap());
    assert_eq!(accounts.balance(&account).await.unwrap(), 40);
}

#[tokio::test]
async fn a_large_payment_takes_a_lock_and_a_small_one_does_not() {
    let (_server, accounts, account) = accounts("value").await;
    accounts.add(&account, 2 * MUCH).await.unwrap();
    assert!(accounts.lock(&account, "another").await.unwrap());
    accounts.pay(&account, "a", 100).await.unwrap();
    assert!(matches!(accounts.pay(&account, "a", MUCH).await, Err(Failure::Transient(_))));
    accounts.unlock(&account, "another").await.unwrap();
    accounts.pay(&account, "a", MUCH).await.unwrap();
    assert!(matches!(accounts.pay(&account, "a", 5 * MUCH).await, Err(Failure::Refused(_))));
    assert_eq!(accounts.settled_balance(&account).await.unwrap(), Some(MUCH));
}
