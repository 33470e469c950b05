//! The liveness and readiness of this process, as sentences that say what is wrong.
//!
//! Liveness fails only for what a restart repairs: a reconcile that does not end, a watch without a heartbeat.
//! An unreachable API server fails readiness alone, because a restart of the operator does not bring it back.
//!
//! **Architecture invariant**: this module is pure. It judges a [`ProcessHealth`], which [`super::view`]
//! collects; it reads no clock and no shared state.

use std::time::Duration;

use crate::cluster::heartbeat::WatchHealth;
use crate::queue::Load;

/// The health of a process, as plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessHealth {
    /// Whether the process is a standby: it has read the Lease and can take over.
    pub stands_by: bool,
    /// The error that keeps this process from the Lease, if it takes part in an election.
    pub lease_trouble: Option<String>,
    /// The holder of the Lease, if this process is a standby.
    pub waits_for: Option<String>,
    /// What is wrong with the installed custom resource definitions.
    pub definitions: Option<String>,
    /// The watches, if this process works.
    pub watches: Vec<WatchHealth>,
    /// The queue, if this process works.
    pub load: Option<Load>,
    /// For how long the API server, or its storage, has been unreachable.
    pub unreachable: Option<Duration>,
}

/// What only a restart repairs. An empty list means that the process is alive.
pub fn not_alive(health: &ProcessHealth, within: Duration) -> Vec<String> {
    let mut wrong = Vec::new();
    for watch in health.watches.iter().filter(|watch| watch.silent > within) {
        wrong.push(format!("the watch of {} has had no event for {} s", watch.what, watch.silent.as_secs()));
    }
    let Some(load) = &health.load else { return wrong };
    if let Some((key, time)) = load.longest_run.as_ref().filter(|(_, time)| *time > within) {
        wrong.push(format!(
            "the reconcile of {} {} has been running for {} s",
            key.kind.as_str(),
            key.object,
            time.as_secs()
        ));
    }
    if load.waiting > 0 && load.oldest_wait.min(load.still) > within {
        wrong.push(format!(
            "the queue is stuck: {} objects wait, and no reconcile began or ended for {} s",
            load.waiting,
            load.still.as_secs()
        ));
    }
    wrong
}

/// What keeps this process from working, or from taking over. An empty list means that the process is ready.
pub fn not_ready(health: &ProcessHealth) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(time) = health.unreachable {
        wrong.push(format!("the API server or etcd has been unreachable for {} s", time.as_secs()));
    }
    if health.load.is_none() && !health.stands_by && health.lease_trouble.is_none() {
        wrong.push("the operator is starting".to_owned());
    }
    wrong.extend(health.lease_trouble.iter().map(|trouble| format!("failed to acquire the Lease: {trouble}")));
    // If a definition is missing, the watches report it already.
    wrong.extend(health.definitions.iter().filter(|_| health.watches.iter().all(|w| w.trouble.is_none())).cloned());
    for watch in &health.watches {
        match &watch.trouble {
            Some(trouble) => wrong.push(trouble.clone()),
            None if !watch.listed => wrong.push(format!("the {} have not been listed yet", watch.what)),
            None => {}
        }
    }
    wrong
}

/// Remarks about a process that is ready.
pub fn remarks(health: &ProcessHealth) -> Vec<String> {
    health.waits_for.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ObjectKey;
    use crate::queue::{Key, Kind};

    const LIMIT: Duration = Duration::from_secs(180);
    const PAST: Duration = Duration::from_secs(181);

    fn watch() -> WatchHealth {
        WatchHealth { what: "pods".to_owned(), silent: LIMIT, listed: true, trouble: None }
    }

    fn load() -> Load {
        let key = Key { object: ObjectKey::new("a", "shop"), kind: Kind::Gateway };
        Load { waiting: 7, running: 1, oldest_wait: PAST, longest_run: Some((key, LIMIT)), still: LIMIT }
    }

    fn at_work(watch: WatchHealth, load: Load) -> ProcessHealth {
        ProcessHealth { watches: vec![watch], load: Some(load), ..ProcessHealth::default() }
    }

    #[test]
    fn a_process_that_stands_by_is_alive_and_ready() {
        let health = ProcessHealth { stands_by: true, ..ProcessHealth::default() };
        assert_eq!(not_alive(&health, LIMIT), [""; 0]);
        assert_eq!(not_ready(&health), [""; 0]);
    }

    #[test]
    fn a_process_that_stands_by_says_for_whom_and_is_not_ready_without_definitions() {
        let waits = ProcessHealth { stands_by: true, waits_for: Some("for a".to_owned()), ..ProcessHealth::default() };
        assert_eq!((not_ready(&waits), remarks(&waits)), (vec![], vec!["for a".to_owned()]));
        let missing = ProcessHealth { definitions: Some("apply them".to_owned()), ..waits };
        assert_eq!(not_ready(&missing), ["apply them"]);
        let trouble = Some("failed to watch gateways: apply them".to_owned());
        let works = ProcessHealth { watches: vec![WatchHealth { trouble, ..watch() }], load: Some(load()), ..missing };
        assert_eq!(not_ready(&works), ["failed to watch gateways: apply them"]);
    }

    #[test]
    fn a_process_that_has_done_nothing_yet_is_alive_and_not_ready() {
        assert_eq!(not_alive(&ProcessHealth::default(), LIMIT), [""; 0]);
        assert_eq!(not_ready(&ProcessHealth::default()), ["the operator is starting"]);
    }

    #[test]
    fn a_process_that_works_is_alive_and_ready_however_much_waits() {
        let health = at_work(watch(), load());
        assert_eq!(not_alive(&health, LIMIT), [""; 0]);
        assert_eq!(not_ready(&health), [""; 0]);
    }

    #[test]
    fn a_silent_watch_is_not_alive() {
        let health = at_work(WatchHealth { silent: PAST, ..watch() }, load());
        assert_eq!(not_alive(&health, LIMIT), ["the watch of pods has had no event for 181 s"]);
        assert_eq!(not_ready(&health), [""; 0]);
    }

    #[test]
    fn a_reconcile_that_does_not_end_is_not_alive() {
        let longest_run = load().longest_run.map(|(key, _)| (key, PAST));
        let health = at_work(watch(), Load { longest_run, ..load() });
        assert_eq!(not_alive(&health, LIMIT), ["the reconcile of ApiGateway a/shop has been running for 181 s"]);
    }

    #[test]
    fn a_queue_that_stands_still_is_not_alive_unless_nothing_waits() {
        let health = at_work(watch(), Load { still: PAST, ..load() });
        assert_eq!(
            not_alive(&health, LIMIT),
            ["the queue is stuck: 7 objects wait, and no reconcile began or ended for 181 s"]
        );
        let empty = Load { still: PAST, waiting: 0, oldest_wait: Duration::ZERO, ..load() };
        assert_eq!(not_alive(&at_work(watch(), empty), LIMIT), [""; 0]);
        let fresh = Load { still: PAST, oldest_wait: LIMIT, ..load() };
        assert_eq!(not_alive(&at_work(watch(), fresh), LIMIT), [""; 0]);
    }

    #[test]
    fn a_process_is_not_ready_before_everything_was_listed() {
        let health = at_work(WatchHealth { listed: false, ..watch() }, load());
        assert_eq!(not_ready(&health), ["the pods have not been listed yet"]);
        assert_eq!(not_alive(&health, LIMIT), [""; 0]);
    }

    #[test]
    fn a_process_whose_watch_fails_says_so_once() {
        let trouble = Some("failed to watch pods: forbidden".to_owned());
        let health = at_work(WatchHealth { listed: false, trouble, ..watch() }, load());
        assert_eq!(not_ready(&health), ["failed to watch pods: forbidden"]);
    }

    #[test]
    fn a_process_without_an_api_server_or_a_lease_is_not_ready_and_still_alive() {
        let health = ProcessHealth {
            unreachable: Some(PAST),
            lease_trouble: Some("forbidden".to_owned()),
            ..at_work(watch(), load())
        };
        assert_eq!(
            not_ready(&health),
            ["the API server or etcd has been unreachable for 181 s", "failed to acquire the Lease: forbidden"]
        );
        assert_eq!(not_alive(&health, LIMIT), [""; 0]);
    }
}
