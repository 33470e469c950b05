//! Who asks gateways, from inside the cluster: a pod that counts what it is answered.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::ground::{OFTEN, image};
use crate::harness::{World, eventually};

/// A pod that asks.
pub struct Client<'a> {
    world: &'a World,
}

/// What was answered on one way to a gateway so far.
#[derive(Clone, Debug, Deserialize)]
pub struct Answers {
    /// How many, by their status, or by what went wrong.
    pub answers: BTreeMap<String, u64>,
    /// The first of those that were not 200, for who reads a failure.
    #[allow(dead_code)]
    pub others: Vec<String>,
}

/// One answer.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// Its status; 0: there was none.
    pub status: u16,
    /// What it says.
    pub body: String,
}

impl Answer {
    /// What a gateway says of the request that arrived.
    pub fn seen(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

impl<'a> Client<'a> {
    /// One that asks only when it is told to.
    pub async fn silent(world: &'a World) -> Self {
        Self::start(world, vec![]).await
    }

    /// One that goes on asking a gateway through its Service and, by a host, through the ingress controller, each over new
    /// connections and over those that it keeps.
    pub async fn of(world: &'a World, name: &str, host: &str) -> Self {
        let service = format!("service=http://{}/", address(world, &world.namespace, name).await);
        let ingress = format!("ingress=http://{}/,{host}", controller(world).await);
        Self::start(world, vec![service, ingress]).await
    }

    /// The same, through the ingress controller only.
    pub async fn of_host(world: &'a World, host: &str) -> Self {
        Self::start(world, vec![format!("ingress=http://{}/,{host}", controller(world).await)]).await
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

    /// Asks the ingress controller for a host, once.
    pub async fn ask(&self, host: &str) -> Answer {
        self.get(&format!("ask?url=http://{}/&host={host}", controller(self.world).await)).await
    }

    /// Asks for a host until the answer has a status: a controller follows an Ingress a moment later.
    pub async fn until_answered(&self, host: &str, status: u16) -> Answer {
        let answered = async || Some(self.ask(host).await).filter(|answer| answer.status == status);
        match eventually(OFTEN, answered).await {
            Some(answer) => answer,
            None => panic!("{host} is answered {:?}", self.ask(host).await),
        }
    }

    /// What was answered so far, by way.
    pub async fn answers(&self) -> BTreeMap<String, Answers> {
        self.get("").await
    }

    /// Waits until so many requests were made on each way since the start.
    pub async fn until_asked(&self, count: u64) -> BTreeMap<String, Answers> {
        let asked = eventually(OFTEN, async || {
            let ways = self.answers().await;
            ways.values().all(|way| way.answers.values().sum::<u64>() >= count).then_some(ways)
        });
        asked.await.unwrap_or_else(|| panic!("not {count} requests on each way"))
    }
}

/// The address of a Service, so that names need not be asked for.
async fn address(world: &World, namespace: &str, name: &str) -> String {
    let services: Api<Service> = Api::namespaced(world.client.clone(), namespace);
    services.get(name).await.unwrap().spec.unwrap().cluster_ip.unwrap()
}

async fn controller(world: &World) -> String {
    address(world, "phasegate-ingress", "skipper").await
}
