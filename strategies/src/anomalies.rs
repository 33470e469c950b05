//! The anomalies of sagas, which have no isolation, and the countermeasure against each. A pair of functions does the same
//! work: the first in the way that the anomaly needs, the second with the countermeasure.
//!
//! | anomaly | in the way of the anomaly | countermeasure | with it | in phasegate |
//! |---|---|---|---|---|
//! | lost update | [`Accounts::overwrite`] | reread value | [`Accounts::write_if_unchanged`] | the resourceVersion of every update of a status, `src/control/record.rs` |
//! | lost update | [`Accounts::overwrite`] | commutative update | [`Accounts::add`] | hosts in an Ingress are a set, `core/src/children/ingress.rs` |
//! | dirty read | [`Accounts::balance`] | semantic lock | [`Accounts::settled_balance`] | the phase, `core/src/decide/phase.rs` |
//! | dirty read | [`Accounts::cancel_raising_first`] | pessimistic view | [`Accounts::cancel_raising_last`] | a stop removes the Ingress first, `core/src/decide/cleanup.rs` |
//! | non-repeatable read | [`Accounts::balance`] twice | reread value | [`Accounts::write_if_unchanged`] | the spec's hash in `status.handled`, `core/src/decide/requests.rs` |
//! | an answer after its cancellation | [`Accounts::authorize_blindly`] | version file | [`Accounts::authorize`] | the request's tokens, `core/src/decide/requests.rs` |
//! | any, where much is at stake | | by value | [`Accounts::pay`] | a gateway that serves is not stopped by its deadline, `core/src/decide/deadline.rs` |

use mongodb::Collection;
use mongodb::bson::{Bson, Document, doc};

use crate::job::Failure;
use crate::store::Store;

/// The amount from which a payment takes a lock.
pub const MUCH: i64 = 10_000;

/// Accounts, and authorizations of payments.
#[derive(Clone, Debug)]
pub struct Accounts {
    accounts: Collection<Document>,
    files: Collection<Document>,
}

impl Accounts {
    /// The accounts in a store.
    pub fn new(store: &Store) -> Self {
        Self { accounts: store.collection("accounts"), files: store.collection("files") }
    }

    /// Opens an account.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open(&self, account: &str, balance: i64) -> Result<(), Failure> {
        self.accounts.insert_one(doc! { "_id": account, "balance": balance, "lockedBy": Bson::Null }).await?;
        Ok(())
    }

    /// The balance, whatever saga is about to change it: a dirty read.
    ///
    /// # Errors
    /// The database fails, or there is no account.
    pub async fn balance(&self, account: &str) -> Result<i64, Failure> {
        let found = self.accounts.find_one(doc! { "_id": account }).await?;
        found.and_then(|found| found.get_i64("balance").ok()).ok_or_else(|| refused("there is no account"))
    }

    /// Stores a balance that follows from one that was read before: a lost update.
    ///
    /// # Errors
    /// The database fails.
    pub async fn overwrite(&self, account: &str, balance: i64) -> Result<(), Failure> {
        self.accounts.update_one(doc! { "_id": account }, doc! { "$set": { "balance": balance } }).await?;
        Ok(())
    }

    /// Stores a balance if it is still the one that was read. Returns whether it was.
    ///
    /// # Errors
    /// The database fails.
    pub async fn write_if_unchanged(&self, account: &str, read: i64, balance: i64) -> Result<bool, Failure> {
        let unchanged = doc! { "_id": account, "balance": read };
        let written = self.accounts.update_one(unchanged, doc! { "$set": { "balance": balance } }).await?;
        Ok(written.matched_count > 0)
    }

    /// Changes a balance by an amount. Such updates give the same in any order.
    ///
    /// # Errors
    /// The database fails.
    pub async fn add(&self, account: &str, amount: i64) -> Result<(), Failure> {
        self.accounts.update_one(doc! { "_id": account }, doc! { "$inc": { "balance": amount } }).await?;
        Ok(())
    }

    /// Marks an account as being changed by a saga. Returns whether no other saga has it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lock(&self, account: &str, saga: &str) -> Result<bool, Failure> {
        let free = doc! { "_id": account, "lockedBy": { "$in": [Bson::Null, Bson::from(saga)] } };
        let locked = self.accounts.update_one(free, doc! { "$set": { "lockedBy": saga } }).await?;
        Ok(locked.matched_count > 0)
    }

    /// Ends a saga's lock.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unlock(&self, account: &str, saga: &str) -> Result<(), Failure> {
        let ours = doc! { "_id": account, "lockedBy": saga };
        self.accounts.update_one(ours, doc! { "$set": { "lockedBy": Bson::Null } }).await?;
        Ok(())
    }

    /// The balance, or `None` while a saga may still change it back.
    ///
    /// # Errors
    /// The database fails.
    pub async fn settled_balance(&self, account: &str) -> Result<Option<i64>, Failure> {
        let settled = doc! { "_id": account, "lockedBy": Bson::Null };
        Ok(self.accounts.find_one(settled).await?.and_then(|found| found.get_i64("balance").ok()))
    }

    /// Cancels an order: raises the balance, then asks for the delivery back. If that is refused, the balance is
    /// lowered again, and what another saga spent meanwhile is missing.
    ///
    /// # Errors
    /// The delivery is not called back, or the database fails.
    pub async fn cancel_raising_first(
        &self,
        account: &str,
        amount: i64,
        call_back: impl AsyncFnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.add(account, amount).await?;
        if let Err(failure) = call_back().await {
            self.add(account, -amount).await?;
            return Err(failure);
        }
        Ok(())
    }

    /// Cancels an order in the order of the least harm: the balance is raised when nothing can fail any more.
    ///
    /// # Errors
    /// The delivery is not called back, or the database fails.
    pub async fn cancel_raising_last(
        &self,
        account: &str,
        amount: i64,
        call_back: impl AsyncFnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        call_back().await?;
        self.add(account, amount).await
    }

    /// Authorizes a payment, even if it was cancelled before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn authorize_blindly(&self, account: &str, amount: i64) -> Result<(), Failure> {
        self.add(account, -amount).await
    }

    /// Authorizes a payment unless the file shows that it was authorized or cancelled. Returns whether it did.
    ///
    /// # Errors
    /// The database fails.
    pub async fn authorize(&self, account: &str, request: &str, amount: i64) -> Result<bool, Failure> {
        if !self.file(request, "Authorized").await? {
            return Ok(false);
        }
        self.add(account, -amount).await?;
        Ok(true)
    }

    /// Cancels a payment that was not authorized yet. Returns whether it did.
    ///
    /// # Errors
    /// The database fails.
    pub async fn cancel(&self, request: &str) -> Result<bool, Failure> {
        self.file(request, "Cancelled").await
    }

    /// The first entry of a request stands.
    async fn file(&self, request: &str, entry: &str) -> Result<bool, Failure> {
        match self.files.insert_one(doc! { "_id": request, "entry": entry }).await {
            Ok(_) => Ok(true),
            Err(error) if crate::store::is_duplicate(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Pays by the mechanism that the amount deserves: a small payment is a commutative update, which may overdraw the
    /// account for a moment; a large one takes the lock, and looks first.
    ///
    /// # Errors
    /// The account is locked or has too little, or the database fails.
    pub async fn pay(&self, account: &str, saga: &str, amount: i64) -> Result<(), Failure> {
        if amount < MUCH {
            return self.add(account, -amount).await;
        }
        if !self.lock(account, saga).await? {
            return Err(Failure::Transient("the account is locked".to_owned()));
        }
        let paid = match self.balance(account).await? {
            balance if balance >= amount => self.add(account, -amount).await,
            _ => Err(refused("the account has too little")),
        };
        self.unlock(account, saga).await?;
        paid
    }
}

fn refused(message: &str) -> Failure {
    Failure::Refused(message.to_owned())
}
