//! Whether this process is alive and whether it is ready, in sentences that say what is wrong.
//!
//! Alive is what only a restart could mend: a reconcile that never ends, a watch that says
//! nothing any more. An API server that is away is no reason to restart the operator; it is not
//! ready then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cluster::reachability::Outages;
use crate::control::context::Context;
use crate::control::work::WorkQueue;
use crate::metrics::Scrape;
use crate::queue::Load;

/// What a process has to show of itself, as plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Whether it could take over: the Lease was looked at.
    pub stands_by: bool,
    /// What keeps this process from the Lease, where it takes part in an election.
    pub lease_trouble: Option<String>,
    /// What it watches, where it works.
    pub watches: Vec<WatchStanding>,
    /// Its queue, where it works.
    pub load: Option<Load>,
    /// For how long the API server has been out of reach.
    pub unreachable: Option<Duration>,
}

/// How one watch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchStanding {
    /// What is watched, such as `pods of namespace a`.
    pub what: String,
    /// For how long nothing was heard, not even an error.
    pub silent: Duration,
    /// Whether everything was listed once.
    pub listed: bool,
    /// What its last try ended with, unless it goes on.
    pub trouble: Option<String>,
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
        wrong.push(format!("the API server has been out of reach for {} s", time.as_secs()));
    }
    if standing.load.is_none() && !standing.stands_by && standing.lease_trouble.is_none() {
        wrong.push("the operator is starting".to_owned());
    }
    wrong.extend(standing.lease_trouble.iter().map(|trouble| format!("the Lease cannot be had: {trouble}")));
    for watch in &standing.watches {
        match &watch.trouble {
            Some(trouble) => wrong.push(trouble.clone()),
            None if !watch.listed => wrong.push(format!("the {} have not been listed yet", watch.what)),
            None => {}
        }
    }
    wrong
}

/// The sign of life of one watch.
pub struct Pulse {
    what: String,
    /// Where it asks, such as `/api/v1/pods`.
    path: String,
    beat: Mutex<Beat>,
}

struct Beat {
    at: Instant,
    listed: bool,
    trouble: Option<String>,
}

impl Pulse {
    /// A watch that begins now.
    pub fn new(what: String, path: String) -> Self {
        Self { what, path, beat: Mutex::new(Beat { at: Instant::now(), listed: false, trouble: None }) }
    }

    /// Something was heard, if only that the connection lives. Returns whether the watch goes
    /// well: after a failure that takes an event.
    pub fn beat(&self) -> bool {
        let mut beat = self.lock();
        beat.at = Instant::now();
        beat.trouble.is_none()
    }

    /// The watch goes well.
    pub fn goes_on(&self) {
        if self.lock().trouble.take().is_some() {
            tracing::info!("{} are watched again", self.what);
        }
    }

    /// Everything was listed.
    pub fn listed(&self) {
        self.lock().listed = true;
    }

    /// The watch failed. Returns whether it did so in the same words before.
    pub fn fails(&self, trouble: &str) -> bool {
        self.lock().trouble.replace(trouble.to_owned()).as_deref() == Some(trouble)
    }

    fn standing(&self) -> WatchStanding {
        let Beat { at, listed, trouble } = &*self.lock();
        WatchStanding { what: self.what.clone(), silent: at.elapsed(), listed: *listed, trouble: trouble.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        // Each use is one assignment.
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be shown, kept up to date by whoever does the work.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<View>>);

#[derive(Default)]
struct View {
    stands_by: bool,
    lease_trouble: Option<String>,
    work: Option<Work>,
}

/// What a process that works has to show.
struct Work {
    queue: WorkQueue,
    outages: Outages,
    pulses: Vec<Arc<Pulse>>,
    contexts: Vec<Arc<Context>>,
}

/// This process works, for as long as this is kept.
pub struct Working(Health);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.lock().work = None;
    }
}

impl Health {
    /// This process works from now on.
    #[must_use]
    pub fn works(&self, queue: WorkQueue, outages: Outages) -> Working {
        self.lock().work = Some(Work { queue, outages, pulses: Vec::new(), contexts: Vec::new() });
        Working(self.clone())
    }

    /// One more watch has begun.
    pub fn watches(&self, pulse: Arc<Pulse>) {
        if let Some(work) = &mut self.lock().work {
            work.pulses.push(pulse);
        }
    }

    /// A list or watch was answered. A watch that was interrupted and goes on tells nothing by itself
    /// until something changes.
    pub fn answered(&self, path: &str) {
        let view = self.lock();
        let pulses = view.work.iter().flat_map(|work| &work.pulses);
        pulses.filter(|pulse| pulse.path == path).for_each(|pulse| pulse.goes_on());
    }

    /// Whether no watch is interrupted.
    pub fn watches_go_well(&self) -> bool {
        let view = self.lock();
        view.work.iter().flat_map(|work| &work.pulses).all(|pulse| pulse.lock().trouble.is_none())
    }

    /// What is worked with: the gateways in its caches are counted.
    pub fn knows(&self, context: Arc<Context>) {
        if let Some(work) = &mut self.lock().work {
            work.contexts.push(context);
        }
    }

    /// The last try to get or keep the Lease ended so.
    pub fn lease(&self, trouble: Option<String>) {
        let mut view = self.lock();
        view.stands_by = trouble.is_none();
        view.lease_trouble = trouble;
    }

    /// How this process stands now.
    pub fn standing(&self) -> Standing {
        let view = self.lock();
        let work = view.work.as_ref();
        Standing {
            stands_by: view.stands_by,
            lease_trouble: view.lease_trouble.clone(),
            watches: work.iter().flat_map(|work| &work.pulses).map(|pulse| pulse.standing()).collect(),
            load: work.map(|work| work.queue.load()),
            unreachable: work.and_then(|work| work.outages.ongoing()),
        }
    }

    /// What a scrape counts now.
    pub fn scrape(&self) -> Scrape {
        let view = self.lock();
        let Some(work) = &view.work else { return Scrape::default() };
        let mine = |context: &Arc<Context>| {
            let gateways = context.caches.gateways.state();
            gateways.into_iter().filter(|gateway| context.is_mine(kube::Resource::meta(&**gateway))).collect::<Vec<_>>()
        };
        // Before everything was listed it is not known what there is.
        let listed = !work.contexts.is_empty();
        let gateways = listed.then(|| work.contexts.iter().flat_map(mine).collect());
        Scrape { leads: true, load: work.queue.load(), gateways }
    }

    fn lock(&self) -> MutexGuard<'_, View> {
        // Each use is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            ["the API server has been out of reach for 181 s", "the Lease cannot be had: forbidden"]
        );
        assert_eq!(not_alive(&standing, LIMIT), [""; 0]);
    }
}
