//! A circuit breaker for the database: one failure is known to the whole process at once, so that no gateway
//! waits for a database that another found unavailable.
//!
//! **Architecture invariant:** the breaker does not call the database. Its callers report what they found.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the database answers. Clones share it.
#[derive(Clone)]
pub struct Breaker(Arc<watch::Sender<Option<String>>>);

impl Default for Breaker {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Breaker {
    /// The error with which it became unavailable, if it is.
    pub fn words(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Marks it unavailable. The first error is kept, since a change of the text would be news for every
    /// gateway.
    pub fn trip(&self, words: &str) {
        let news = self.0.send_if_modified(|now| {
            let news = now.is_none();
            if news {
                *now = Some(words.to_owned());
            }
            news
        });
        if news {
            tracing::warn!("the registry is unavailable: {words}; deadlines of starts that need it are paused");
        }
    }

    /// Marks it available.
    pub fn reset(&self) {
        if self.0.send_replace(None).is_some() {
            tracing::warn!("the registry is available again");
        }
    }

    /// Waits until it is unavailable.
    pub async fn wait_until_away(&self) {
        // The sender lives as long as this, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until it is available.
    pub async fn wait_until_back(&self) {
        let _ = self.0.subscribe().wait_for(Option::is_none).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_words_stand_until_it_is_back() {
        let breaker = Breaker::default();
        breaker.trip("connection refused");
        breaker.trip("timed out");
        assert_eq!(breaker.words().as_deref(), Some("connection refused"));
        breaker.reset();
        assert_eq!(breaker.words(), None);
    }
}
