//! The operator uses every verb in the role of deploy/mongodb, and needs no other.

use std::collections::BTreeSet;

use kube::api::DeleteParams;
use mongodb::bson::doc;
use phasegate::api::{ApiGateway, Environment, EnvironmentState};
use serde_json::json;

use super::{Platform, ancestor};
use crate::harness::cluster::{REGISTRY_ACCOUNT_LABEL, RUN_LABEL, run_id};
use crate::harness::{Database, World, gateway};
use crate::permissions::{Denials, Permission, account, assert_each_is_missed, permissions, rules_of, without};

/// Does everything that an operator does with this registry.
async fn everything(platform: &Platform) {
    let world = &platform.world;
    world.apply(&gateway("own", json!({ "image": "acme/gateway:1" }))).await;
    world.until_started("own").await;
    platform.insert(ancestor("shop")).await;
    platform.insert_environments("shop", &["dev"]).await;
    platform.until_started("shop").await;
    platform.until_environment("shop-dev", EnvironmentState::Active).await;
    platform.write("shop", doc! { "spec.replicas": 2 }).await;
    let scaled = |object: &ApiGateway| object.spec.replicas == Some(2);
    world.until("shop", "scaled", scaled).await;
    let host = doc! { "$set": { "host": format!("other.{}", platform.domain()) } };
    platform.environments().update_one(doc! { "gatewayId": "shop" }, host).await.unwrap();
    let moved = |object: &Environment| object.spec.host.as_ref().is_some_and(|host| host.starts_with("other."));
    world.until("shop-dev", "another host", moved).await;
    let deleted = doc! { "$set": { "state": "Deleted" } };
    platform.environments().update_one(doc! { "gatewayId": "shop" }, deleted).await.unwrap();
    world.until_gone::<Environment>("shop-dev").await;
    platform.write("shop", doc! { "state": "Deleted" }).await;
    platform.until_forgotten("shop").await;
    world.until_gone::<ApiGateway>("shop").await;
    world.api::<ApiGateway>().delete("own", &DeleteParams::default()).await.unwrap();
    world.until_gone::<ApiGateway>("own").await;
}

/// Runs an operator with `all` permissions except `taken`. Returns the permissions that it was denied.
async fn refused(all: &[Permission], taken: Option<&Permission>, mut denials: Denials) -> BTreeSet<Permission> {
    let platform = Platform { world: World::audited("grants").await, database: Database::new("grants").await };
    let account = account(&platform.world, without(all, taken)).await;
    let user = format!("system:serviceaccount:{}:operator", platform.world.namespace);
    let mut operator = platform.operator_as(&account, platform.database.uri(), &[]);
    tokio::select! {
        () = everything(&platform) => {}
        () = denials.first_of(&user) => {}
    }
    operator.end();
    denials.of(&user)
}

#[tokio::test]
async fn every_permission_of_the_registrys_role_is_used_and_no_other_is_missed() {
    let world = World::audited("granted").await;
    world.cluster.registry_kubeconfig().unwrap();
    let of_registry = format!("{RUN_LABEL}={},{REGISTRY_ACCOUNT_LABEL}", run_id());
    let all = permissions(&rules_of(&world, &of_registry).await);
    let without_registry =
        permissions(&rules_of(&world, &format!("{RUN_LABEL}={},!{REGISTRY_ACCOUNT_LABEL}", run_id())).await);
    let its: Vec<&Permission> = all.iter().filter(|permission| !without_registry.contains(permission)).collect();
    assert!(its.len() >= 6, "{its:?}");
    let denials = Denials::follow(world.cluster.audit_log());

    assert_each_is_missed(&its, 3, |taken| refused(&all, taken, denials.clone())).await;
}
