//! Anything that may be stored of an environment, and any claims on hosts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{few, maybe, number, observed, status, text, time};
use crate::api::{
    ApiGateway, ApiGatewaySpec, Environment, EnvironmentSpec, EnvironmentState, EnvironmentStatus, GatewayRef,
    HostClaim,
};
use crate::decide::Place;
use crate::decide::environment::{EnvironmentContext, GatewayFacts, Routed};
use crate::decide::tests::builders::{fresh, status as status_of};

/// An environment, and what is around it.
pub fn environment() -> impl Strategy<Value = (Environment, EnvironmentContext)> {
    let spec =
        (text(), maybe(text())).prop_map(|(name, host)| EnvironmentSpec { gateway_ref: GatewayRef { name }, host });
    let environment = (spec, maybe(environment_status()), maybe(number()), proptest::option::weighted(0.1, time()));
    let environment = environment.prop_map(|(spec, status, generation, deleted)| {
        let mut environment = Environment::new("dev", spec);
        environment.metadata.generation = generation;
        environment.metadata.deletion_timestamp = deleted.map(Time);
        environment.status = status;
        environment
    });
    (environment, context())
}

fn context() -> BoxedStrategy<EnvironmentContext> {
    let place = maybe(select(&Place::ALL[..]));
    let gateway = (place, prop::bool::weighted(0.1)).prop_map(|(place, suspended)| GatewayFacts { place, suspended });
    let gateway = proptest::option::weighted(0.9, gateway);
    let routed = select(&[Routed::Yes, Routed::AsBefore, Routed::NotYet, Routed::No][..]);
    (gateway, prop::bool::weighted(0.9), observed::host(), prop::bool::weighted(0.1), routed, prop::bool::weighted(0.9))
        .prop_map(|(gateway, counts, host, lost, routed, exposed)| EnvironmentContext {
            gateway,
            counts,
            host,
            lost,
            routed,
            exposed,
        })
        .boxed()
}

fn environment_status() -> BoxedStrategy<EnvironmentStatus> {
    let state = prop_oneof![20 => select(EnvironmentState::ALL), 1 => Just(EnvironmentState::Unknown("Paused"))];
    (state, maybe(time()), maybe(number()), few(status::host()), few(status::condition()), status::others())
        .prop_map(|(state, activated_at, observed_generation, hosts, conditions, others)| EnvironmentStatus {
            state,
            activated_at: activated_at.map(MicroTime),
            observed_generation,
            hosts,
            conditions,
            others,
        })
        .boxed()
}

/// Gateways of different names that want and hold a few hosts, in any spelling.
pub fn hosts() -> impl Strategy<Value = Vec<ApiGateway>> {
    vec((maybe(host()), vec((host(), time()), 0..3)), 0..6).prop_map(|stakes| {
        let gateway = |(number, (host, claims)): (usize, (Option<String>, Vec<_>))| {
            let mut gateway = fresh();
            gateway.metadata.name = Some(format!("shop-{number}"));
            gateway.spec = ApiGatewaySpec { host, ..gateway.spec };
            let claims = claims.into_iter().map(|(host, since)| HostClaim { host, since: MicroTime(since) });
            status_of(&mut gateway).hosts = claims.collect();
            gateway
        };
        stakes.into_iter().enumerate().map(gateway).collect()
    })
}

fn host() -> BoxedStrategy<String> {
    select(&["a.example.com", "A.example.com.", "b.example.com", "*.example.com", ""][..])
        .prop_map(str::to_owned)
        .boxed()
}
