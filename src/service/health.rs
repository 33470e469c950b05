//! Whether this process is alive and whether it is ready, in sentences that say what is wrong.
//!
//! Alive is what only a restart could mend: a reconcile that never ends, a watch that says
//! nothing any more. An API server that is away is no reason to restart the operator; it is not
//! ready then. Pure: what is judged is gathered by [`super::view`].

use std::time::Duration;

use crate::cluster::pulse::WatchStanding;
use crate::queue::Load;

/// What a process has to show of itself, as plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Whether it could take over: the Lease was looked at.
    pub stands_by: bool,
    /// What keeps this process from the Lease, where it takes part in an election.
    pub lease_trouble: Option<String>,
    /// Whose Lease it waits for, where it stands by.
    pub waits_for: Option<String>,
    /// What is wrong with the definitions that are installed.
    pub definitions: Option<String>,
    /// What it watches, where it works.
    pub watches: Vec<WatchStanding>,
    /// Its queue, where it works.
    pub load: Option<Load>,
    /// For how long the API server, or its storage, has been out of reach.
    pub unreachable: Option<Duration>,
}

/// What only a restart could mend. Nothing: alive.
pub fn not_alive(standing: &Standing, within: Duration) -> Vec<String> {
    let mut wrong = Vec::new();
    for watch in standing.watches.iter().filter(|watch| watch.silent > within) {
        wrong.push(format!("the watch of {} has been silent for {} s", watch.what, watch.silent.as_secs()));
    }
    let Some(load) = &standing.load else { return wrong };
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
            "{} objects wait and none has been begun or finished for {} s",
            load.waiting,
            load.still.as_secs()
        ));
    }
    wrong
}

/// What keeps this process from working, or from taking over. Nothing: ready.
pub fn not_ready(standing: &Standing) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(time) = standing.unreachable {
        wrong.push(format!("the API server or its storage has been out of reach for {} s", time.as_secs()));
    }
    if standing.load.is_none() && !standing.stands_by && standing.lease_trouble.is_none() {
        wrong.push("the operator is starting".to_owned());
    }
    wrong.extend(standing.lease_trouble.iter().map(|trouble| format!("the Lease cannot be had: {trouble}")));
    // Where they are missing, the watches say so as well.
    wrong.extend(standing.definitions.iter().filter(|_| standing.watches.iter().all(|w| w.trouble.is_none())).cloned());
    for watch in &standing.watches {
        match &watch.trouble {
            Some(trouble) => wrong.push(trouble.clone()),
            None if !watch.listed => wrong.push(format!("the {} have not been listed yet", watch.what)),
            None => {}
        }
    }
    wrong
}

/// What is worth knowing of a process that is ready.
pub fn remarks(standing: &Standing) -> Vec<String> {
    standing.waits_for.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ObjectKey;
    use crate::queue::{Key, Kind};

    const LIMIT: Duration = Duration::from_secs(180);
    const PAST: Duration = Duration::from_secs(181);

    fn watch() -> WatchStanding {
        WatchStanding { what: "pods".to_owned(), silent: LIMIT, listed: true, trouble: None }
    }

    fn load() -> Load {
        let key = Key { object: ObjectKey::new("a", "shop"), kind: Kind::Gateway };
        Load { waiting: 7, running: 1, oldest_wait: PAST, longest_run: Some((key, LIMIT)), still: LIMIT }
    }

    fn at_work(watch: WatchStanding, load: Load) -> Standing {
        Standing { watches: vec![watch], load: Some(load), ..Standing::default() }
    }

    #[test]
    fn a_process_that_stands_by_is_alive_and_ready() {
        let standing = Standing { stands_by: true, ..Standing::default() };
        assert_eq!(not_alive(&standing, LIMIT), [""; 0]);
        assert_eq!(not_ready(&standing), [""; 0]);
    }

    #[test]
    fn a_process_that_stands_by_says_for_whom_and_is_not_ready_without_definitions() {
        let waits = Standing { stands_by: true, waits_for: Some("for a".to_owned()), ..Standing::default() };
        assert_eq!((not_ready(&waits), remarks(&waits)), (vec![], vec!["for a".to_owned()]));
        let missing = Standing { definitions: Some("apply them".to_owned()), ..waits };
        assert_eq!(not_ready(&missing), ["apply them"]);
        let trouble = Some("they cannot be watched: apply them".to_owned());
        let works = Standing { watches: vec![WatchStanding { trouble, ..watch() }], load: Some(load()), ..missing };
        assert_eq!(not_ready(&works), ["they cannot be watched: apply them"]);
    }

    #[test]
    fn a_process_that_has_done_nothing_yet_is_alive_and_not_ready() {
        assert_eq!(not_alive(&Standing::default(), LIMIT), [""; 0]);
        assert_eq!(not_ready(&Standing::default()), ["the operator is starting"]);
    }

    #[test]
    fn a_process_that_works_is_alive_and_ready_however_much_waits() {
        let standing = at_work(watch(), load());
        assert_eq!(not_alive(&standing, LIMIT), [""; 0]);
        assert_eq!(not_ready(&standing), [""; 0]);
    }

    #[test]
    fn a_silent_watch_is_not_alive() {
        let standing = at_work(WatchStanding { silent: PAST, ..watch() }, load());
        assert_eq!(not_alive(&standing, LIMIT), ["the watch of pods has been silent for 181 s"]);
        assert_eq!(not_ready(&standing), [""; 0]);
    }

    #[test]
    fn a_reconcile_that_does_not_end_is_not_alive() {
        let longest_run = load().longest_run.map(|(key, _)| (key, PAST));
        let standing = at_work(watch(), Load { longest_run, ..load() });
        assert_eq!(not_alive(&standing, LIMIT), ["the reconcile of ApiGateway a/shop has been running for 181 s"]);
    }

    #[test]
    fn a_queue_that_stands_still_is_not_alive_unless_nothing_waits() {
        let standing = at_work(watch(), Load { still: PAST, ..load() });
        assert_eq!(not_alive(&standing, LIMIT), ["7 objects wait and none has been begun or finished for 181 s"]);
        let empty = Load { still: PAST, waiting: 0, oldest_wait: Duration::ZERO, ..load() };
        assert_eq!(not_alive(&at_work(watch(), empty), LIMIT), [""; 0]);
        let fresh = Load { still: PAST, oldest_wait: LIMIT, ..load() };
        assert_eq!(not_alive(&at_work(watch(), fresh), LIMIT), [""; 0]);
    }

    #[test]
    fn a_process_is_not_ready_before_everything_was_listed() {
        let standing = at_work(WatchStanding { listed: false, ..watch() }, load());
        assert_eq!(not_ready(&standing), ["the pods have not been listed yet"]);
        assert_eq!(not_alive(&standing, LIMIT), [""; 0]);
    }

    #[test]
    fn a_process_whose_watch_fails_says_so_once() {
        let trouble = Some("pods cannot be watched: forbidden".to_owned());
        let standing = at_work(WatchStanding { listed: false, trouble, ..watch() }, load());
        assert_eq!(not_ready(&standing), ["pods cannot be watched: forbidden"]);
    }

    #[test]
    fn a_process_without_an_api_server_or_a_lease_is_not_ready_and_still_alive() {
        let standing = Standing {
            unreachable: Some(PAST),
            lease_trouble: Some("forbidden".to_owned()),
            ..at_work(watch(), load())
        };
        assert_eq!(
            not_ready(&standing),
            ["the API server or its storage has been out of reach for 181 s", "the Lease cannot be had: forbidden"]
        );
        assert_eq!(not_alive(&standing, LIMIT), [""; 0]);
    }
}
