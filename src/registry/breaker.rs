//! Whether the database answers: known once for the whole process, so that no gateway waits for what another
//! has found away.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the database answers.
#[derive(Clone)]
pub struct Breaker(Arc<watch::Sender<Option<String>>>);

impl Default for Breaker {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Breaker {
    /// What it said when it was found away, if it is.
    pub fn words(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// It was found away. The first words are kept, or every other words would be news of every gateway.
    pub fn trip(&self, words: &str) {
        let news = self.0.send_if_modified(|now| {
            let news = now.is_none();
            if news {
                *now = Some(words.to_owned());
            }
            news
        });
        if news {
            tracing::warn!("the registry is away: {words}; the clocks of starts that wait for it are held");
        }
    }

    /// It answers.
    pub fn reset(&self) {
        if self.0.send_replace(None).is_some() {
            tracing::warn!("the registry is back");
        }
    }

    /// Waits until it is found away.
    pub async fn wait_until_away(&self) {
        // The sender lives as long as this, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until it answers.
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
