//! An HTTP client for gateways inside the cluster: a pod that counts the responses it receives.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::ground::{OFTEN, image};
use crate::harness::{World, eventually};

/// The client's pod.
pub struct Client<'a> {
    world: &'a World,
}

/// The responses so far, by way. A way is a target with new connections, or a target with kept-alive connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Answers(BTreeMap<String, Way>);

#[derive(Clone, Debug, Deserialize)]
struct Way {
    /// The number of responses, by status or by error.
    answers: BTreeMap<String, u64>,
    /// The first responses other than 200. A failed assertion prints them.
    #[allow(dead_code)]
    others: Vec<String>,
}

impl Answers {
    /// The smallest number of responses on any way since an earlier moment.
    pub fn since(&self, before: &Self) -> u64 {
        let count = |way: &Way| way.answers.values().sum::<u64>();
        self.0.iter().map(|(name, way)| count(way) - count(&before.0[name])).min().unwrap()
    }

    /// Whether all responses since an earlier moment are expected ones.
    pub fn is_only(&self, expected: &[&str], before: &Self) -> bool {
        self.0.iter().all(|(name, way)| {
            way.answers.iter().all(|(answer, count)| {
                let earlier = before.0[name].answers.get(answer).copied().unwrap_or_default();
                expected.contains(&answer.as_str()) || earlier == *count
            })
        })
    }

    /// Asserts that all responses since an earlier moment are expected ones.
    pub fn are_only(&self, expected: &[&str], before: &Self) {
        assert!(self.is_only(expected, before), "expected only {expected:?}: {self:#?}, and before {before:#?}");
    }

    /// The number of ways.
    pub fn ways(&self) -> u64 {
        self.0.len() as u64
    }
}

/// One response.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// Its HTTP status, or 0 without a response.
    pub status: u16,
    /// Its body, or the error.
    pub body: String,
}

impl Answer {
    /// The gateway's description of the request that it received.
    pub fn seen(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

impl<'a> Client<'a> {
    /// A client that sends only the requests that a test makes with [`Self::ask`].
    pub async fn silent(world: &'a World) -> Self {
        Self::start(world, vec![]).await
    }

    /// A client that sends requests continuously: to a gateway through its Service, and to a host through the ingress
    /// controller. Each target has two ways: new connections and kept-alive connections.
    pub async fn of(world: &'a World, name: &str, host: &str) -> Self {
        let service = format!("service=http://{}/", address(world, &world.namespace, name).await);
        let ingress = format!("ingress=http://{}/,{host}", controller(world).await);
        Self::start(world, vec![service, ingress]).await
    }

    /// A client that sends requests continuously through the ingress controller only.
    pub async fn of_host(world: &'a World, host: &str) -> Self {
        Self::start(world, vec![format!("ingress=http://{}/,{host}", controller(world).await)]).await
    }

    /// A client that sends requests continuously through another controller, with this Service.
    pub async fn of_host_through(world: &'a World, host: &str, namespace: &str, service: &str) -> Self {
        let controller = address(world, namespace, service).await;
        Self::start(world, vec![format!("ingress=http://{controller}/,{host}")]).await
    }

    async fn start(world: &'a World, targets: Vec<String>) -> Self {
        let mut args = vec!["client".to_owned()];
        args.extend(targets);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "client" },
            "spec": {
                // No test drains this node.
                "nodeSelector": { "node-role.kubernetes.io/control-plane": "" },
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "client",
                    "image": image(),
                    "args": args,
                    "readinessProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 },
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }],
            },
        }))
        .unwrap();
        world.api::<Pod>().create(&Default::default(), &pod).await.unwrap();
        world
            .until::<Pod>("client", "ready", |pod| {
                let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
                conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
            })
            .await;
        Self { world }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let url = format!("/api/v1/namespaces/{}/pods/client:8080/proxy/{path}", self.world.namespace);
        self.world.client.request(http::Request::get(url).body(vec![]).unwrap()).await.unwrap()
    }

    /// Sends one request for a host to the ingress controller.
    pub async fn ask(&self, host: &str) -> Answer {
        self.get(&format!("ask?url=http://{}/&host={host}", controller(self.world).await)).await
    }

    /// Repeats a request for a host until the response has a status. A controller applies an Ingress after a delay.
    pub async fn until_answered(&self, host: &str, status: u16) -> Answer {
        let answered = async || Some(self.ask(host).await).filter(|answer| answer.status == status);
        match eventually(OFTEN, answered).await {
            Some(answer) => answer,
            None => panic!("{host} is answered {:?}", self.ask(host).await),
        }
    }

    /// The responses so far.
    pub async fn answers(&self) -> Answers {
        self.get("").await
    }

    /// The responses so far, once all ways reach the gateway. Proxies and controllers apply changes after a delay.
    pub async fn until_all_serve(&self) -> Answers {
        let serving = eventually(OFTEN, async || {
            let before = self.answers().await;
            let now = self.until_answered_since(&before, 50).await;
            now.is_only(&["200"], &before).then_some(now)
        });
        serving.await.unwrap_or_else(|| panic!("not all ways lead to the gateway"))
    }

    /// The responses so far, once each way has this many more.
    pub async fn until_answered_since(&self, before: &Answers, count: u64) -> Answers {
        let asked = eventually(OFTEN, async || Some(self.answers().await).filter(|now| now.since(before) >= count));
        asked.await.unwrap_or_else(|| panic!("not {count} requests on each way"))
    }
}

/// The cluster IP of a Service, so that requests need no DNS.
async fn address(world: &World, namespace: &str, name: &str) -> String {
    let services: Api<Service> = Api::namespaced(world.client.clone(), namespace);
    services.get(name).await.unwrap().spec.unwrap().cluster_ip.unwrap()
}

async fn controller(world: &World) -> String {
    address(world, "phasegate-ingress", "skipper").await
}
