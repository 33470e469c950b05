//! No request is lost when a gateway moves from Ingress to HTTPRoute and back, with a controller that serves both.

use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use phasegate::api::ApiGateway;
use phasegate::children::HttpRoute;
use serde_json::json;

use crate::client::Client;
use crate::ground::{host, serving, world};
use crate::harness::World;
use crate::lossless::Asked;

/// Changes `spec.exposure` of the gateway "shop", and waits until it is Ready with that change.
async fn expose(world: &World, exposure: &str) {
    let changed: ApiGateway = world.patch("shop", json!({ "spec": { "exposure": exposure } })).await;
    world.until_ready_again(&changed).await;
}

#[tokio::test]
async fn no_request_is_lost_when_a_gateway_moves_from_an_ingress_to_a_route_and_back() {
    let (world, _undisturbed) = world("routes").await;
    let host = host(&world, "shop");
    let parent = json!({ "namespace": "phasegate-contour", "name": "contour" });
    let spec = json!({ "host": host, "replicas": 2, "ingressClassName": "contour", "parentRefs": [parent] });
    world.apply(&serving("shop", spec)).await;
    world.until_started("shop").await;
    let shop = Asked::by(&world, Client::of_host_through(&world, &host, "phasegate-contour", "envoy").await).await;

    expose(&world, "Both").await;
    let ingress = world.api::<Ingress>().get("shop").await.unwrap();
    let route = world.api::<HttpRoute>().get("shop").await.unwrap();
    assert_eq!([&ingress.name_any(), &route.name_any()], ["shop", "shop"]);
    expose(&world, "HTTPRoute").await;
    world.until_gone::<Ingress>("shop").await;
    shop.lost_nothing().await;

    let shop = shop.again().await;
    expose(&world, "Ingress").await;
    world.until_gone::<HttpRoute>("shop").await;
    shop.lost_nothing().await;
}
