//! The API server that the model checker models (`proof`) answers as the real one does: random histories run against
//! both, with an object that was read earlier as the base of each write.
//!
//! The controller manager is down, so that nobody else writes. `PHASEGATE_HISTORIES` sets the number of histories.

use std::collections::HashMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use phasegate::api::{ApiGateway, Environment, REGISTRY_FINALIZER, RESTART_ANNOTATION, RETRY_ANNOTATION};
use phasegate_proof::bridge::Bridge;
use phasegate_proof::world::actions::{Action, Item};
use phasegate_proof::world::objects::{Asked, ChildObject, Content, Gateway, KINDS, Owner};
use phasegate_proof::world::server::{Reply, Write};
use phasegate_proof::world::{Budget, Edit, Lag, State, World as Model};
use serde_json::{Value, json};

use crate::harness::components::Component;
use crate::harness::{Policies, Random, World, environment, gateway, private_world};
use crate::mutation::{ANY, changes};

/// The number of events in a history.
const EVENTS: usize = 120;

const EDITS: [Edit; 9] = [
    Edit::Run,
    Edit::Stop,
    Edit::Restart,
    Edit::RequestRestart,
    Edit::Retry,
    Edit::Image,
    Edit::Suspend,
    Edit::Delete,
    Edit::Create,
];

/// What a history can compare of an object: what is in it, and whether it is the one that was read.
#[derive(Debug, PartialEq)]
struct Compared {
    same_uid: Option<bool>,
    same_version: Option<bool>,
    content: Value,
}

/// What happens to the real objects.
enum Happens {
    Read(Item),
    Create(Item, Value),
    Replace(Item, Value),
    /// The status.
    ReplaceStatus(Item, Value),
    Merge(Item, Value),
    /// With a uid as the precondition, or without.
    Delete(Item, Option<String>),
}

/// The real objects, and each as it was read last.
struct Real<'a> {
    world: &'a World,
    keeps_deployments: bool,
    read: HashMap<Item, DynamicObject>,
}

impl Real<'_> {
    fn api(&self, item: Item) -> (Api<DynamicObject>, String) {
        let api = Api::namespaced_with(self.world.client.clone(), &self.world.namespace, &resource(item));
        match item {
            Item::Gateway(slot) | Item::Child(slot, _) | Item::Pods(slot) => (api, name(slot)),
            Item::Environment(number) => (api, format!("env-{number}")),
        }
    }

    async fn stored(&self, item: Item) -> Option<DynamicObject> {
        let (api, name) = self.api(item);
        api.get_opt(&name).await.unwrap()
    }

    fn child(&self, slot: u8, kind: u8, owner: Option<&str>, image: u8) -> Value {
        let labels = json!({ "app": name(slot) });
        let spec = match kind {
            0 => json!({
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{ "name": "gateway", "image": "acme/gateway:1" }] },
                },
            }),
            1 => json!({ "selector": labels, "ports": [{ "port": 80 }] }),
            _ => json!({ "defaultBackend": { "service": { "name": name(slot), "port": { "number": 80 } } } }),
        };
        let mut metadata = json!({ "name": name(slot), "annotations": { "tests/image": image.to_string() } });
        if let Some(uid) = owner {
            metadata["labels"] = json!({ "phasegate.dev/gateway": name(slot) });
            metadata["ownerReferences"] = json!([{
                "apiVersion": "phasegate.dev/v1alpha1", "kind": "ApiGateway", "name": name(slot), "uid": uid,
                "controller": true,
            }]);
        }
        if kind == 0 && self.keeps_deployments {
            metadata["finalizers"] = json!(["tests.phasegate.dev/keep"]);
        }
        json!({ "metadata": metadata, "spec": spec })
    }

    /// Lets it happen, and returns the reply as the operator reads it.
    async fn happens(&mut self, event: Happens) -> Reply {
        let answer = match event {
            Happens::Read(item) => {
                match self.stored(item).await {
                    Some(object) => self.read.insert(item, object),
                    None => self.read.remove(&item),
                };
                return Reply::Done(None);
            }
            Happens::Create(item, object) => {
                let (api, _) = self.api(item);
                let mut new = DynamicObject::new("", &resource(item));
                new.metadata = serde_json::from_value(object["metadata"].clone()).unwrap();
                new.data = json!({ "spec": object["spec"] });
                api.create(&PostParams::default(), &new).await.map(|_| ())
            }
            Happens::Replace(item, annotations) => {
                let (api, name) = self.api(item);
                let mut object = self.read[&item].clone();
                object.metadata.annotations = Some(serde_json::from_value(annotations).unwrap());
                object.metadata.managed_fields = None;
                api.replace(&name, &PostParams::default(), &object).await.map(|_| ())
            }
            Happens::ReplaceStatus(item, status) => {
                let (api, name) = self.api(item);
                let mut object = self.read[&item].clone();
                object.data["status"] = status;
                object.metadata.managed_fields = None;
                api.replace_status(&name, &PostParams::default(), &object).await.map(|_| ())
            }
            Happens::Merge(item, patch) => {
                let (api, name) = self.api(item);
                api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
            }
            Happens::Delete(item, uid) => {
                let (api, name) = self.api(item);
                let preconditions = uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None });
                let deletes = DeleteParams { preconditions, ..DeleteParams::background() };
                match api.delete(&name, &deletes).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => return Reply::Done(None),
                    answer => answer.map(|_| ()),
                }
            }
        };
        match answer {
            Ok(()) => Reply::Done(None),
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Reply::AlreadyExists,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Reply::Stale,
            Err(other) => panic!("{other}"),
        }
    }

    async fn compared(&self, item: Item) -> Option<Compared> {
        let object = self.stored(item).await?;
        let read = self.read.get(&item);
        let metadata = &object.metadata;
        let annotation = |name: &str| metadata.annotations.iter().flatten().find(|(key, _)| *key == name);
        let number = |name: &str| annotation(name).map_or(0, |(_, value)| value.parse::<u8>().unwrap());
        let has = |finalizer: &str| metadata.finalizers.iter().flatten().any(|one| one == finalizer);
        let spec = &object.data["spec"];
        let content = match item {
            Item::Gateway(_) => json!({
                "generation": metadata.generation,
                "asked": spec.get("state").unwrap_or(&json!("Running")),
                "image": u8::from(spec["image"] == image(1)),
                "suspended": spec.get("suspend") == Some(&json!(true)),
                "retry": number(RETRY_ANNOTATION),
                "restart": number(RESTART_ANNOTATION),
                "deleting": metadata.deletion_timestamp.is_some(),
                "ours": has(REGISTRY_FINALIZER),
            }),
            Item::Child(slot, _) => {
                let owner = metadata.owner_references.iter().flatten().map(|owner| owner.uid.as_str()).next();
                let reader = self.read.get(&Item::Gateway(slot));
                json!({
                    "foreign": owner.is_none(),
                    "ofTheGatewayThatWasRead": owner.is_some() && reader.and_then(|read| read.metadata.uid.as_deref()) == owner,
                    "image": number("tests/image"),
                    "admitted": annotation("tests/admitted").is_some(),
                    "edited": annotation("tests/edited").is_some(),
                    "deleting": metadata.deletion_timestamp.is_some(),
                })
            }
            _ => json!({ "active": object.data["status"]["state"] == "Active" }),
        };
        Some(Compared {
            same_uid: read.map(|read| read.metadata.uid == metadata.uid),
            same_version: read.map(|read| read.metadata.resource_version == metadata.resource_version),
            content,
        })
    }

    fn uid_read(&self, item: Item) -> Option<String> {
        self.read.get(&item)?.metadata.uid.clone()
    }
}

fn name(slot: u8) -> String {
    format!("gw-{slot}")
}

fn image(number: u8) -> String {
    format!("acme/gateway:{number}")
}

fn resource(item: Item) -> ApiResource {
    match item {
        Item::Gateway(_) => ApiResource::erase::<ApiGateway>(&()),
        Item::Child(_, 0) => ApiResource::erase::<Deployment>(&()),
        Item::Child(_, 1) => ApiResource::erase::<Service>(&()),
        Item::Child(..) => ApiResource::erase::<Ingress>(&()),
        Item::Environment(_) => ApiResource::erase::<Environment>(&()),
        Item::Pods(_) => panic!("pods are not written"),
    }
}

fn items() -> Vec<Item> {
    let of = |slot: u8| (0..3).map(move |kind| Item::Child(slot, kind)).chain([Item::Gateway(slot)]);
    (0..2).flat_map(of).chain((0..2).map(Item::Environment)).collect()
}

/// The same comparison in the model. What was read is in the modelled operator's cache.
fn modelled(state: &State, item: Item) -> Option<Compared> {
    let cache = &state.leader.as_ref().unwrap().cache;
    let compared = |read: Option<(u8, u8)>, (uid, version): (u8, u8), content: Value| Compared {
        same_uid: read.map(|read| read.0 == uid),
        same_version: read.map(|read| read.1 == version),
        content,
    };
    match item {
        Item::Gateway(slot) => {
            let numbers = |gateway: Gateway| (gateway.uid, gateway.version);
            let there = state.gateways[usize::from(slot)]?;
            let asked = match there.asked {
                Asked::Running => "Running",
                Asked::Stopped => "Stopped",
                Asked::Restarting => "Restarting",
            };
            let content = json!({
                "generation": there.generation, "asked": asked, "image": there.image, "suspended": there.suspended,
                "retry": there.retry, "restart": there.restart, "deleting": there.deleting, "ours": there.ours,
            });
            Some(compared(cache.gateways[usize::from(slot)].map(numbers), numbers(there), content))
        }
        Item::Child(slot, kind) => {
            let (slot, kind) = (usize::from(slot), usize::from(kind));
            let numbers = |child: ChildObject| (child.uid, child.version);
            let there = state.children[slot][kind]?;
            let reader = cache.gateways[slot].map(|gateway| Owner::Gateway(gateway.uid));
            let Content { image, restarts: _, admitted, edited } = there.content;
            let content = json!({
                "foreign": there.owner == Owner::Foreign, "ofTheGatewayThatWasRead": reader == Some(there.owner),
                "image": image, "admitted": admitted, "edited": edited, "deleting": there.deleting,
            });
            Some(compared(cache.children[slot][kind].map(numbers), numbers(there), content))
        }
        Item::Environment(number) => {
            let there = state.environments[usize::from(number)]?;
            let read = cache.environments[usize::from(number)].map(|read| (0, read.version));
            Some(compared(read, (0, there.version), json!({ "active": there.active })))
        }
        Item::Pods(_) => None,
    }
}

/// A history: the model, the real objects, and what has happened.
struct History<'a> {
    model: &'a Model,
    bridge: Bridge,
    state: State,
    real: Real<'a>,
    happened: Vec<String>,
}

impl History<'_> {
    /// An event, or a write with something that was read earlier as its base.
    async fn next(&mut self, random: &mut Random) {
        let slot = u8::from(random.below(2) == 1);
        let kind = u8::try_from(random.below(3)).unwrap();
        let child = Item::Child(slot, kind);
        match random.below(14) {
            0..3 => {
                let item = *random.one_of(&items());
                self.event(Action::Deliver(item), Happens::Read(item)).await;
            }
            3..6 => self.edit(slot, *random.one_of(&EDITS)).await,
            6 => {
                let edited = json!({ "metadata": { "annotations": { "tests/edited": "true" } } });
                self.event(Action::EditChild(slot, kind), Happens::Merge(child, edited)).await;
            }
            7 => match random.below(4) {
                0 => self.event(Action::DeleteChild(slot, kind), Happens::Delete(child, None)).await,
                1 => self.event(Action::RemoveForeign, Happens::Delete(Item::Child(0, 1), None)).await,
                2 => {
                    let free = json!({ "metadata": { "finalizers": null } });
                    self.event(Action::Release(slot), Happens::Merge(Item::Child(slot, 0), free)).await;
                }
                _ => {
                    // As the garbage collector deletes: with the uid that it knows.
                    let there = self.real.stored(child).await.and_then(|there| there.metadata.uid);
                    self.event(Action::Collect(slot, kind), Happens::Delete(child, there)).await;
                }
            },
            _ => self.write(slot, kind, random).await,
        }
    }

    async fn edit(&mut self, slot: u8, edit: Edit) {
        let item = Item::Gateway(slot);
        let there = self.state.gateways[usize::from(slot)];
        let count = |of: fn(&Gateway) -> u8| (there.as_ref().map_or(0, of) + 1).to_string();
        let annotated = |name: &str, value: String| json!({ "metadata": { "annotations": { name: value } } });
        let happens = match edit {
            Edit::Create => Happens::Create(item, gateway(&name(slot), json!({ "image": image(0) }))),
            Edit::Delete => Happens::Delete(item, None),
            Edit::Run => Happens::Merge(item, json!({ "spec": { "state": "Running" } })),
            Edit::Stop => Happens::Merge(item, json!({ "spec": { "state": "Stopped" } })),
            Edit::Restart => Happens::Merge(item, json!({ "spec": { "state": "Restarting" } })),
            Edit::RequestRestart => Happens::Merge(item, annotated(RESTART_ANNOTATION, count(|it| it.restart))),
            Edit::Retry => Happens::Merge(item, annotated(RETRY_ANNOTATION, count(|it| it.retry))),
            Edit::Image => {
                let other = there.map_or(0, |there| 1 - there.image);
                Happens::Merge(item, json!({ "spec": { "image": image(other) } }))
            }
            Edit::Suspend => {
                let other = there.is_none_or(|there| !there.suspended);
                Happens::Merge(item, json!({ "spec": { "suspend": other } }))
            }
        };
        self.event(Action::User(slot, edit), happens).await;
    }

    async fn event(&mut self, action: Action, happens: Happens) {
        if let Ok(Some(after)) = self.model.after(&mut self.bridge, &self.state, action) {
            self.state = after;
            self.happened.push(format!("{action:?}"));
            let reply = self.real.happens(happens).await;
            assert_eq!(reply, Reply::Done(None), "{:#?}", self.happened);
        }
    }

    async fn write(&mut self, slot: u8, kind: u8, random: &mut Random) {
        let item = Item::Child(slot, kind);
        let cache = self.state.leader.as_ref().unwrap().cache;
        let (gateway, child) =
            (cache.gateways[usize::from(slot)], cache.children[usize::from(slot)][usize::from(kind)]);
        let environment = u8::from(random.below(2) == 1);
        let image = u8::from(random.below(2) == 1);
        let content = Content { image, restarts: 0, admitted: false, edited: false };
        let owner = gateway.map(|gateway| gateway.uid);
        let owner_uid = self.real.uid_read(Item::Gateway(slot));
        let planned = match (random.below(5), owner, child, gateway) {
            (0, Some(owner), _, _) => {
                let object = self.real.child(slot, kind, owner_uid.as_deref(), image);
                Some((Write::Create { slot, kind, owner, content }, Happens::Create(item, object)))
            }
            (1, Some(owner), Some(read), _) => {
                let annotations = json!({ "tests/image": image.to_string() });
                Some((Write::Update { slot, kind, owner, read, content }, Happens::Replace(item, annotations)))
            }
            (2, Some(owner), Some(read), _) => {
                let uid = self.real.uid_read(item);
                Some((Write::Delete { slot, kind, owner, uid: read.uid }, Happens::Delete(item, uid)))
            }
            (3, _, _, Some(base)) if base.ours || !base.deleting => {
                let ours = !base.ours;
                let read = &self.real.read[&Item::Gateway(slot)].metadata;
                let finalizers = if ours { json!([REGISTRY_FINALIZER]) } else { json!([]) };
                let patch = json!({ "metadata": {
                    "uid": read.uid, "resourceVersion": read.resource_version, "finalizers": finalizers,
                } });
                Some((Write::Finalizers { slot, base, ours }, Happens::Merge(Item::Gateway(slot), patch)))
            }
            (4, ..) => cache.environments[usize::from(environment)].map(|read| {
                let (number, active) = (environment, !read.active);
                let status = json!({ "state": if active { "Active" } else { "Inactive" } });
                let happens = Happens::ReplaceStatus(Item::Environment(number), status);
                (Write::Environment { number, read, active }, happens)
            }),
            _ => None,
        };
        let Some((write, happens)) = planned else { return };
        // A write that the checker would report is not sent by an operator.
        let Ok((modelled, after)) = self.model.after_write(&mut self.bridge, &self.state, write) else { return };
        self.state = after;
        self.happened.push(format!("{write:?}"));
        let real = self.real.happens(happens).await;
        let modelled = if let Reply::Done(_) = modelled { Reply::Done(None) } else { modelled };
        assert_eq!(real, modelled, "{:#?}", self.happened);
    }

    async fn agrees(&self) {
        for item in items() {
            let (real, modelled) = (self.real.compared(item).await, modelled(&self.state, item));
            assert_eq!(real, modelled, "{item:?} is as the real API server has it, after {:#?}", self.happened);
        }
    }
}

async fn begin<'a>(model: &'a Model, world: &'a World) -> History<'a> {
    let mut bridge = Bridge::new(true, false);
    let state = model.first(&mut bridge);
    let mut real = Real { world, keeps_deployments: model.finalizers, read: HashMap::new() };
    for slot in 0..2 {
        real.world.apply(&gateway(&name(slot), json!({ "image": image(0) }))).await;
        let environment = environment(&format!("env-{slot}"), "gw-0", None);
        real.world.create::<Environment>(environment).await;
    }
    let foreign = real.child(0, 1, None, 0);
    real.happens(Happens::Create(Item::Child(0, 1), foreign)).await;
    let edited = json!({ "metadata": { "annotations": { "tests/edited": "true" } } });
    real.happens(Happens::Merge(Item::Child(0, 1), edited)).await;
    for item in items() {
        real.happens(Happens::Read(item)).await;
    }
    History { model, bridge, state, real, happened: Vec::new() }
}

fn model(number: usize) -> Model {
    Model {
        gateways: 2,
        environments: 2,
        budget: Budget { edits: 250, mishaps: 250, ..Budget::default() },
        edits: &EDITS,
        lag: Lag { gateways: true, children: true, pods: true, environments: true },
        admission: number & 1 == 1,
        finalizers: number & 2 == 2,
        host: true,
        foreign: true,
        ..Model::named("agreement")
    }
}

#[tokio::test]
async fn the_modelled_api_server_answers_as_the_real_one_does() {
    let histories = std::env::var("PHASEGATE_HISTORIES").map_or(4, |number| number.parse().unwrap());
    let cluster = private_world("agreement").await;
    let mark = r#"[JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("tests/admitted"), value: "true"}]"#;
    let policies = KINDS.map(|kind| changes("gw-", kind.kind(), ANY, mark));
    let mut random = Random::from_environment();
    let mut events = 0;
    for number in 0..histories {
        let model = model(number);
        let world = cluster.beside("history").await;
        let admission = Policies::new(&world, if model.admission { &policies } else { &[] }).await;
        let down = Component::of(&cluster.cluster, "kube-controller-manager").take_down().await;
        let mut history = begin(&model, &world).await;
        history.agrees().await;
        for _ in 0..EVENTS {
            history.next(&mut random).await;
            history.agrees().await;
        }
        events += history.happened.len();
        drop((down, admission));
    }
    println!("{histories} histories with {events} events agree");
}
