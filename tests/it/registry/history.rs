//! Records the changes of documents through a change stream.

use std::collections::BTreeMap;
use std::time::Duration;

use mongodb::Collection;
use mongodb::bson::Document;
use mongodb::change_stream::event::OperationType;
use tokio::sync::watch;

use super::{text, whole};
use crate::harness::{DEADLINE, change_stream};

/// One change of a document. A change stream returns the document at the time of the fetch, so the same version may
/// come twice.
#[derive(Clone, Debug)]
pub struct Seen {
    pub operation: OperationType,
    pub uid: String,
    pub seq: Option<i64>,
    pub document: Document,
}

/// All changes of a collection since the start of the recording, by gateway.
pub struct History {
    changes: watch::Receiver<BTreeMap<String, Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl History {
    pub async fn follow(collection: Collection<Document>) -> Self {
        let mut stream = change_stream(&collection, None).await.unwrap();
        let (sender, changes) = watch::channel(BTreeMap::<String, Vec<Seen>>::new());
        let task = tokio::spawn(async move {
            let mut token = stream.resume_token();
            while !sender.is_closed() {
                match stream.next_if_any().await {
                    Ok(Some(event)) => {
                        token = Some(event.id.clone());
                        let document = event.full_document.unwrap_or_default();
                        let seen = Seen {
                            operation: event.operation_type,
                            uid: text(&document, "uid").to_owned(),
                            seq: whole(&document, "seq"),
                            document,
                        };
                        let id = text(&seen.document, "gatewayId").to_owned();
                        sender.send_modify(|changes| changes.entry(id).or_default().push(seen));
                    }
                    Ok(None) => {}
                    // The database is unavailable. The stream then resumes at its last token.
                    Err(_) => loop {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        if let Ok(again) = change_stream(&collection, token.clone()).await {
                            stream = again;
                            break;
                        }
                    },
                }
            }
        });
        Self { changes, task }
    }

    /// Waits for a change of a document that matches `wanted`. Returns all changes of the document.
    pub async fn of(&mut self, id: &str, wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let shown =
            |changes: &BTreeMap<String, Vec<Seen>>| changes.get(id).is_some_and(|seen| seen.iter().any(&wanted));
        let waited = tokio::time::timeout(DEADLINE, self.changes.wait_for(shown)).await;
        let changes = waited.unwrap_or_else(|_| panic!("{id} was never seen as awaited")).unwrap();
        changes[id].clone()
    }

    /// The number of changes so far.
    pub fn count(&self) -> usize {
        self.changes.borrow().values().map(Vec::len).sum()
    }

    /// Waits until a document reaches a transition. Fails if the document ever went back to an earlier transition of
    /// the same object, or was updated too often: one update for each transition and `others` updates are allowed.
    pub async fn assert_only_forward(&mut self, id: &str, seq: i64, others: usize) {
        let seen = self.of(id, |seen| seen.seq >= Some(seq)).await;
        let order: Vec<(&str, Option<i64>)> = seen.iter().map(|seen| (seen.uid.as_str(), seen.seq)).collect();
        for pair in order.windows(2) {
            assert!(pair[0].0 != pair[1].0 || pair[0].1 <= pair[1].1, "{id} went back: {order:?}");
        }
        let updates = seen.iter().filter(|seen| seen.operation == OperationType::Update).count();
        assert!(updates <= usize::try_from(seq).unwrap() + others, "{id} was told twice: {seen:#?}");
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}
