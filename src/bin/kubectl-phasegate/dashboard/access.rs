//! What the user may do, as the API server answers a SelfSubjectAccessReview.
//!
//! **Architecture invariant**: an answer only disables buttons. The API server decides again about each write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use crate::cluster::Cluster;

/// How long an answer is used.
const KEPT: Duration = Duration::from_secs(60);

/// How many reviews are sent at once.
const AT_ONCE: usize = 8;

/// Why the user may not change gateways of a namespace. `None`: the user may.
pub type Denial = Option<String>;

/// The answers so far, by namespace. The empty name stands for all namespaces.
#[derive(Debug, Default)]
pub struct Access(Mutex<BTreeMap<String, (Instant, Denial)>>);

impl Access {
    /// Why the user may not change gateways, for each of these namespaces.
    pub async fn denials(&self, cluster: &Cluster, namespaces: BTreeSet<String>) -> BTreeMap<String, Denial> {
        // Whoever may change the gateways of all namespaces needs one review.
        if namespaces.len() > 1 && self.denial(cluster, "").await.is_none() {
            return namespaces.into_iter().map(|namespace| (namespace, None)).collect();
        }
        let reviews = namespaces.into_iter().map(|namespace| async move {
            let denial = self.denial(cluster, &namespace).await;
            (namespace, denial)
        });
        stream::iter(reviews).buffer_unordered(AT_ONCE).collect().await
    }

    /// Why the user may not change gateways of a namespace.
    pub async fn denial(&self, cluster: &Cluster, namespace: &str) -> Denial {
        if let Some(known) = self.known(namespace) {
            return known;
        }
        let denial = review(cluster, namespace).await?;
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(namespace.to_owned(), (Instant::now(), denial.clone()));
        denial
    }

    fn known(&self, namespace: &str) -> Option<Denial> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, denial) = answers.get(namespace)?;
        (at.elapsed() < KEPT).then(|| denial.clone())
    }
}

/// The answer of the API server. `None` if there is none: the write is attempted then.
async fn review(cluster: &Cluster, namespace: &str) -> Option<Denial> {
    let attributes = ResourceAttributes {
        group: Some("phasegate.dev".to_owned()),
        resource: Some("apigateways".to_owned()),
        verb: Some("patch".to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let status = reviews.create(&PostParams::default(), &review).await.ok()?.status?;
    if status.allowed {
        return Some(None);
    }
    let place = if namespace.is_empty() { "all namespaces".to_owned() } else { format!("namespace {namespace}") };
    let why = status.reason.filter(|reason| !reason.is_empty()).map_or_else(String::new, |why| format!(": {why}"));
    Some(Some(format!("you may not patch apigateways in {place}{why}")))
}
