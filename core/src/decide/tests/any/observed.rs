//! Anything that may be seen around a gateway.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{duration, few, maybe, small_number, text, time};
use crate::api::{Accepted, StoredChange};
use crate::children::{Parent, Verdict};
use crate::decide::Learned;
use crate::decide::allowance::{NotAllowed, Violations};
use crate::decide::observed::{
    Child, DEFAULT_SCHEDULER, EnvironmentFacts, HostVerdict, MissingDependency, Observed, PodEvent, PodTermination,
    PodTrouble, Pods, Presence, ProbeResult, Refusal, RegistryFacts, RemainingPod, Repair, Repaired, Rollout, Routing,
    Target, TerminatingChild, Tried, Trouble, Unanswered, UnexplainedWait, Unsupported, Writes,
};

pub fn observed() -> BoxedStrategy<Observed> {
    (
        (presence(), presence(), presence(), route(), presence(), rollout(), pods()),
        (
            few(environment()),
            host(),
            few(text()),
            violations(),
            registry(),
            rarely(refusal()),
            rarely(unanswered()),
            select(&[Tried::Never, Tried::InTime, Tried::Late][..]),
            writes(),
        ),
    )
        .prop_map(
            |(
                (deployment, service, ingress, (http_route, routing), disruption_budget, rollout, pods),
                (environments, host, lost, violations, registry, refusal, unanswered, tried, writes),
            )| Observed {
                deployment,
                service,
                ingress,
                http_route,
                disruption_budget,
                routing,
                rollout,
                pods,
                environments,
                host,
                lost,
                violations,
                registry,
                refusal,
                unanswered,
                tried,
                writes,
            },
        )
        .boxed()
}

pub fn learned() -> BoxedStrategy<Learned> {
    prop_oneof![
        (child(), presence()).prop_map(|(child, presence)| Learned::Surprise(child, presence)),
        refusal().prop_map(Learned::Refused),
        unanswered().prop_map(Learned::Unanswered),
        text().prop_map(Learned::RegistryFailed),
    ]
    .boxed()
}

fn rarely<T: Clone + std::fmt::Debug + 'static>(of: BoxedStrategy<T>) -> BoxedStrategy<Option<T>> {
    proptest::option::weighted(0.2, of).boxed()
}

fn child() -> BoxedStrategy<Child> {
    select(&Child::ALL[..]).boxed()
}

fn presence() -> BoxedStrategy<Presence> {
    prop_oneof![
        12 => Just(Presence::Equal),
        4 => Just(Presence::Missing),
        4 => Just(Presence::NotWanted),
        1 => Just(Presence::Expected),
        1 => text().prop_map(Presence::Different),
        1 => Just(Presence::Immutable),
        1 => Just(Presence::Unwanted),
        1 => Just(Presence::Terminating),
        1 => Just(Presence::Predecessor),
        1 => text().prop_map(Presence::Foreign),
    ]
    .boxed()
}

/// Most gateways have none.
fn route() -> BoxedStrategy<(Presence, Routing)> {
    let word = || select(vec!["Accepted", "ResolvedRefs", "NoMatchingParent"]).prop_map(str::to_owned);
    let verdict = prop_oneof![
        2 => Just(Verdict::Accepted),
        1 => Just(Verdict::Silent),
        1 => (word(), word(), text()).prop_map(|(condition, reason, message)| Verdict::Refused {
            condition,
            reason,
            message
        }),
    ];
    let parent = (text(), verdict, any::<bool>()).prop_map(|(name, verdict, serves)| Parent { name, verdict, serves });
    let unsupported = prop_oneof![
        Just(Unsupported::NoDefinition),
        Just(Unsupported::NoParent),
        text().prop_map(Unsupported::NotPermitted)
    ];
    let routing = (rarely(unsupported.boxed()), few(parent.boxed()), duration())
        .prop_map(|(unsupported, parents, unanswered)| Routing { unsupported, parents, unanswered });
    prop_oneof![3 => Just((Presence::NotWanted, Routing::default())), 1 => (presence(), routing)].boxed()
}

fn rollout() -> BoxedStrategy<Rollout> {
    (
        (prop::bool::weighted(0.6), small_number(), small_number(), small_number(), small_number()),
        (rarely(text()), rarely(text()), small_number(), prop::bool::weighted(0.2), rarely(text())),
        (prop::bool::weighted(0.1), small_number()),
    )
        .prop_map(
            |(
                (complete, desired, replicas, ready, available),
                (progress_deadline_exceeded, replica_failure, updated, behind, template),
                (paused, min_ready_seconds),
            )| Rollout {
                complete,
                desired,
                replicas,
                ready,
                available,
                progress_deadline_exceeded,
                replica_failure,
                updated,
                behind,
                template,
                paused,
                min_ready_seconds,
            },
        )
        .boxed()
}

fn count() -> BoxedStrategy<usize> {
    prop_oneof![8 => 0..4_usize, 1 => Just(usize::MAX)].boxed()
}

fn pods() -> BoxedStrategy<Pods> {
    let left = (text(), maybe(termination())).prop_map(|(pod, termination)| RemainingPod { pod, termination });
    (count(), count(), few(pod_trouble()), maybe(unexplained()), few(left), few(text()))
        .prop_map(|(total, terminating, troubles, unexplained, left, unowned)| Pods {
            total,
            terminating,
            troubles,
            unexplained,
            remaining: left,
            unowned,
        })
        .boxed()
}

fn termination() -> BoxedStrategy<PodTermination> {
    (maybe(text()), many(text())).prop_map(|(node, finalizers)| PodTermination { node, finalizers }).boxed()
}

fn many<T: Clone + std::fmt::Debug + 'static>(of: BoxedStrategy<T>) -> BoxedStrategy<Vec<T>> {
    prop_oneof![4 => few(of.clone()), 1 => vec(of, 0..60)].boxed()
}

fn pod_trouble() -> BoxedStrategy<PodTrouble> {
    (text(), rarely(text()), maybe(text()), maybe(text()), trouble())
        .prop_map(|(pod, template, container, node, trouble)| PodTrouble { pod, template, container, node, trouble })
        .boxed()
}

fn trouble() -> BoxedStrategy<Trouble> {
    let ended = (small_number(), any::<bool>(), text(), any::<bool>());
    prop_oneof![
        (text(), text()).prop_map(|(image, message)| Trouble::ImagePull { image, message }),
        text().prop_map(Trouble::Config),
        text().prop_map(Trouble::RunsAsRoot),
        ended.prop_map(|(code, out_of_memory, message, brief)| Trouble::Ended { code, out_of_memory, message, brief }),
        text().prop_map(Trouble::CannotStart),
        (text(), text()).prop_map(|(reason, message)| Trouble::GivenUp { reason, message }),
        Just(Trouble::NodeUnreachable),
        text().prop_map(Trouble::Unschedulable),
        text().prop_map(Trouble::SchedulerFailed),
        many(text()).prop_map(Trouble::Gated),
        prop_oneof![text(), Just(DEFAULT_SCHEDULER.to_owned())].prop_map(Trouble::NoScheduler),
        Just(Trouble::NotTakenUp),
        Just(Trouble::SettingUp),
        (any::<bool>(), maybe(time())).prop_map(|(sidecar, since)| Trouble::Initializing { sidecar, since }),
        any::<bool>().prop_map(|was_ready| Trouble::Unready { was_ready }),
        (text(), maybe(text())).prop_map(|(gate, words)| Trouble::ReadinessGate { gate, words }),
    ]
    .boxed()
}

fn unexplained() -> BoxedStrategy<UnexplainedWait> {
    let answer = || (maybe(text()), text()).prop_map(|(container, words)| ProbeResult { container, words });
    let pod_event = prop_oneof![
        answer().prop_map(PodEvent::Probe),
        answer().prop_map(PodEvent::Killed),
        text().prop_map(PodEvent::MissingVolume),
        text().prop_map(PodEvent::Node),
    ];
    (pod_trouble(), duration(), maybe(duration()), maybe(pod_event))
        .prop_map(|(about, lasted, read_at, pod_event)| UnexplainedWait { about, lasted, read_at, pod_event })
        .boxed()
}

fn environment() -> BoxedStrategy<EnvironmentFacts> {
    (text(), any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(name, active, refused, claimed)| EnvironmentFacts { name, active, refused, claimed })
        .boxed()
}

pub fn host() -> BoxedStrategy<HostVerdict> {
    prop_oneof![
        8 => Just(HostVerdict::Free),
        1 => (text(), text()).prop_map(|(host, by)| HostVerdict::Taken { host, by }),
        1 => (text(), text(), maybe(text())).prop_map(|(host, allowed, no_name)| HostVerdict::NotAllowed { host, allowed, no_name }),
        1 => text().prop_map(|host| HostVerdict::TooWide { host }),
        1 => text().prop_map(|host| HostVerdict::Address { host }),
        1 => (text(), text()).prop_map(|(host, name)| HostVerdict::Reserved { host, name }),
        1 => (text(), any::<usize>()).prop_map(|(host, limit)| HostVerdict::TooMany { host, limit }),
        1 => (text(), any::<usize>()).prop_map(|(host, limit)| HostVerdict::NoRoom { host, limit }),
    ]
    .boxed()
}

fn violations() -> BoxedStrategy<Violations> {
    let violation = (text(), text(), text(), text())
        .prop_map(|(field, asked, by, instead)| NotAllowed { field, asked, by, instead })
        .boxed();
    (rarely(violation.clone()), rarely(violation.clone()), rarely(violation))
        .prop_map(|(pods, ingress_class, parent_ref)| Violations { pods, ingress_class, parent_ref })
        .boxed()
}

fn registry() -> BoxedStrategy<RegistryFacts> {
    let external = (
        any::<bool>(),
        rarely(text()),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(
                external,
                unavailable,
                recorded,
                reported,
                to_activate,
                to_deactivate,
                forgotten,
                may_remove_finalizer,
            )| {
                RegistryFacts {
                    external,
                    unavailable,
                    recorded,
                    reported,
                    to_activate,
                    to_deactivate,
                    forgotten,
                    may_remove_finalizer,
                }
            },
        );
    prop_oneof![Just(RegistryFacts::settled()), external].boxed()
}

fn target() -> BoxedStrategy<Target> {
    let of_children = child().prop_map(Target::Child);
    let of_environments = text().prop_map(Target::Environment);
    prop_oneof![8 => of_children, 2 => of_environments, 1 => Just(Target::Finalizers), 1 => Just(Target::Status)]
        .boxed()
}

fn refusal() -> BoxedStrategy<Refusal> {
    (target(), text(), any::<bool>()).prop_map(|(what, message, quota)| Refusal { what, message, quota }).boxed()
}

fn unanswered() -> BoxedStrategy<Unanswered> {
    let by = prop_oneof![
        text().prop_map(MissingDependency::Webhook),
        Just(MissingDependency::Cluster),
        Just(MissingDependency::Permission),
        Just(MissingDependency::Unknown)
    ];
    (target(), by, text(), duration())
        .prop_map(|(what, by, words, lasted)| Unanswered { what, by, words, lasted })
        .boxed()
}

fn writes() -> BoxedStrategy<Writes> {
    let change = (child(), text(), text(), text()).prop_map(|(child, path, asked, stored)| StoredChange {
        child: child.kind().to_owned(),
        path,
        asked,
        stored,
    });
    let terminating = (child(), duration(), many(text())).prop_map(|(child, lasted, finalizers)| TerminatingChild {
        child,
        lasted,
        finalizers,
    });
    (accepted(), few(change), few(repaired()), few(repair()), few(terminating))
        .prop_map(|(accepted, changed, repaired, untold, terminating)| Writes {
            accepted,
            changed,
            repaired,
            untold,
            terminating,
        })
        .boxed()
}

pub fn accepted() -> BoxedStrategy<Accepted> {
    let hashes = (maybe(text()), maybe(text()), maybe(text()), maybe(text()), maybe(text()));
    let filled_in = (maybe(text()), maybe(text()), maybe(text()));
    (hashes, filled_in)
        .prop_map(|(hashes, filled_in)| {
            let (deployment, service, ingress, http_route, pod_disruption_budget) = hashes;
            let (ingress_class_name, ingress_class_named, ip_family_policy) = filled_in;
            Accepted {
                deployment,
                service,
                ingress,
                http_route,
                pod_disruption_budget,
                ingress_class_name,
                ingress_class_named,
                ip_family_policy,
            }
        })
        .boxed()
}

fn repair() -> BoxedStrategy<Repair> {
    (child(), text(), maybe(text())).prop_map(|(child, path, manager)| Repair { child, path, manager }).boxed()
}

fn repaired() -> BoxedStrategy<Repaired> {
    let times = prop_oneof![0..6_u32, Just(u32::MAX)];
    (repair(), times, duration(), duration())
        .prop_map(|(last, times, wait, calm_in)| Repaired { last, times, wait, calm_in })
        .boxed()
}
