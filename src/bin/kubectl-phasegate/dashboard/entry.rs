//! What the dashboard keeps of a gateway between two events of the watch.
//!
//! **Architecture invariant**: the object itself is dropped, so that the memory for a gateway is small.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use phasegate::api::{ApiGateway, Guarded, Phase, State};

use crate::fleet::Row;

/// A gateway of the fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its columns.
    pub row: Row,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The hosts that it holds, and since when.
    pub held: Vec<(String, Timestamp)>,
    /// The recorded durations of its completed starts and restarts, in seconds.
    pub starts: Vec<i64>,
    /// The reason of the last failed attempt.
    pub last_failure: Option<(String, Timestamp)>,
}

impl Entry {
    /// The entry of a gateway.
    pub fn of(gateway: &Guarded<ApiGateway>, now: Timestamp) -> Self {
        let row = Row::of(gateway, now);
        let labels = gateway.meta().labels.clone().unwrap_or_default();
        let claims = match &gateway.0 {
            Ok(gateway) => gateway.status.iter().flat_map(|status| status.hosts.iter()).cloned().collect(),
            Err(unreadable) => unreadable.claims.clone(),
        };
        let status = gateway.0.as_ref().ok().and_then(|gateway| gateway.status.as_ref());
        let history = status.map(|status| status.history.as_slice()).unwrap_or_default();
        let completed = history.windows(2).filter_map(|pair| match pair {
            [from, to] if from.to == Phase::Starting && to.to == Phase::Started && to.state == State::Running => {
                Some(to.seconds)
            }
            _ => None,
        });
        let failure = status.and_then(|status| status.last_failure.as_ref());
        Self {
            suspended: gateway.0.as_ref().is_ok_and(|gateway| gateway.spec.suspend),
            row,
            labels,
            held: claims.into_iter().map(|claim| (claim.host, claim.since.0)).collect(),
            starts: completed.collect(),
            last_failure: failure.map(|failure| (failure.reason.to_string(), failure.at.0)),
        }
    }

    /// Its group in the fleet.
    pub fn group(&self) -> Group {
        match () {
            () if self.row.needs_somebody() => Group::Attention,
            () if self.row.ready => Group::Ready,
            () => Group::Progress,
        }
    }
}

/// The groups of a fleet, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// A user has to act.
    Attention,
    /// In transition.
    Progress,
    /// In the desired state.
    Ready,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 3] = [Self::Attention, Self::Progress, Self::Ready];

    /// The group in a URL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Progress => "progress",
            Self::Ready => "ready",
        }
    }

    /// The group as a title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Attention => "Need attention",
            Self::Progress => "In progress",
            Self::Ready => "Ready",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, NOW};

    fn entry(gateway: ApiGateway) -> Entry {
        Entry::of(&Guarded::whole(gateway), NOW)
    }

    #[test]
    fn a_start_that_timed_out_is_no_completed_start() {
        assert_eq!(entry(samples::started()).starts, [12]);
        assert_eq!(entry(samples::timed_out()).starts, [0_i64; 0]);
        assert_eq!(entry(samples::timed_out()).last_failure.unwrap().0, "ImagePullFailed");
    }

    #[test]
    fn a_gateway_is_in_the_group_of_its_urgency() {
        let groups = [samples::failing(), samples::starting(), samples::started()].map(|one| entry(one).group());
        assert_eq!(groups, Group::ALL);
    }
}
