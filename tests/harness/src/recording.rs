//! Records every version of one object.

use futures::StreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::wait::DEADLINE;

/// A version of an object, or its deletion.
#[derive(Clone, Debug)]
pub struct Version<K> {
    /// The object. For a deletion, its last version.
    pub object: K,
    /// Whether the object was deleted.
    pub deleted: bool,
}

impl<K: Resource> Version<K> {
    /// The resource version, as a number.
    pub fn revision(&self) -> u64 {
        self.object.meta().resource_version.as_ref().unwrap().parse().unwrap()
    }
}

/// The recorded versions of an object.
pub struct Recording<K> {
    versions: tokio::sync::watch::Receiver<Vec<Version<K>>>,
    task: tokio::task::JoinHandle<()>,
}

impl<K> Recording<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    /// Records an object from now on.
    pub(crate) async fn begin(api: Api<K>, name: &str) -> Self {
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut events = Box::pin(watcher(api, only));
        let (sender, versions) = tokio::sync::watch::channel(Vec::new());
        let (listed, ready) = tokio::sync::oneshot::channel();
        let mut listed = Some(listed);
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event.expect("the watch goes on") {
                    watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                        sender.send_modify(|versions| versions.push(Version { object, deleted: false }));
                    }
                    watcher::Event::Delete(object) => {
                        sender.send_modify(|versions| versions.push(Version { object, deleted: true }));
                    }
                    watcher::Event::Init => {}
                    watcher::Event::InitDone => {
                        let first = listed.take().expect("the watch is not interrupted");
                        let _ = first.send(());
                    }
                }
            }
        });
        ready.await.unwrap();
        Self { versions, task }
    }
}

impl<K: Resource + Clone> Recording<K> {
    /// Waits for the first version that satisfies `wanted`.
    pub async fn first(&mut self, what: &str, wanted: impl Fn(&Version<K>) -> bool) -> Version<K> {
        let found = self.versions.wait_for(|versions| versions.iter().any(&wanted));
        let found = tokio::time::timeout(DEADLINE, found).await;
        let found = found.unwrap_or_else(|_| panic!("no version of the object is {what}")).unwrap();
        found.iter().find(|version| wanted(version)).unwrap().clone()
    }

    /// Waits for the given version, and returns every version up to it.
    pub async fn up_to(&mut self, last: &K) -> Vec<K> {
        let end = Version { object: last.clone(), deleted: false }.revision();
        self.first("the last one", |version| version.revision() >= end).await;
        let versions = self.versions.borrow();
        versions.iter().filter(|version| version.revision() <= end).map(|version| version.object.clone()).collect()
    }
}

impl<K> Drop for Recording<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
