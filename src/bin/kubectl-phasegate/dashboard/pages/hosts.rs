//! Who claims which host.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use maud::{Markup, html};
use phasegate::api::{Environment, ObjectKey};

use super::gateway::anchor;
use super::{Frame, moment, pager, whole, words};
use crate::dashboard::entry::Entry;
use crate::dashboard::view::ROWS;

/// A host.
#[derive(Clone, Debug, Default, PartialEq)]
struct Host {
    /// Who holds it: gateways, perhaps with the environment, and since when.
    holders: BTreeMap<Claimant, Timestamp>,
    /// Who asks for it and does not hold it.
    others: Vec<Claimant>,
}

/// A gateway, perhaps by one of its environments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claimant {
    gateway: ObjectKey,
    environment: Option<String>,
}

/// What the page shows.
#[derive(Debug)]
pub struct Content {
    hosts: BTreeMap<String, Host>,
    unreadable: Option<String>,
    search: String,
    page: usize,
}

impl Content {
    /// The content for a fleet and its environments.
    pub fn of(
        entries: &BTreeMap<ObjectKey, Entry>,
        environments: Result<Vec<Environment>, String>,
        query: &str,
    ) -> Self {
        let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
        let (environments, unreadable) = match environments {
            Ok(environments) => (environments, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let mut asking = Vec::new();
        for (key, entry) in entries {
            let claimant = Claimant { gateway: key.clone(), environment: None };
            for (host, since) in &entry.held {
                hosts.entry(host.clone()).or_default().holders.insert(claimant.clone(), *since);
            }
            asking.extend(entry.row.host.clone().map(|host| (host, claimant)));
        }
        for environment in &environments {
            let claimant = Claimant { gateway: environment.gateway_key(), environment: Some(environment.name_any()) };
            for claim in environment.status.iter().flat_map(|status| &status.hosts) {
                hosts.entry(claim.host.clone()).or_default().holders.insert(claimant.clone(), claim.since.0);
            }
            asking.extend(environment.spec.host.clone().map(|host| (host, claimant)));
        }
        for (name, claimant) in asking {
            let host = hosts.entry(name).or_default();
            if !host.holders.contains_key(&claimant) {
                host.others.push(claimant);
            }
        }
        let field = |name: &str| {
            let mut fields = form_urlencoded::parse(query.as_bytes());
            fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let search = field("q");
        hosts.retain(|name, _| name.contains(search.trim()));
        Self { hosts, unreadable, page: field("page").parse::<usize>().unwrap_or(1).saturating_sub(1), search }
    }

    fn link(&self, page: usize) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &self.search).append_pair("page", &(page + 1).to_string());
        format!("/hosts?{}", query.finish())
    }
}

/// The page.
pub fn page(frame: &Frame, content: &Content) -> Markup {
    let rows = content.hosts.iter().skip(content.page.saturating_mul(ROWS)).take(ROWS);
    let markup = html! {
        h1 { "Hosts" }
        form.filters role="search" method="get" action="/hosts" {
            label.search { span { "Search" } input type="search" name="q" value=(content.search); }
            button type="submit" { "Filter" }
        }
        section #hosts data-live tabindex="0" aria-label="Hosts" {
            @if let Some(why) = &content.unreadable { p.bad { (words(why)) } }
            @if content.hosts.is_empty() { p.empty { "No host is claimed." } }
            @else {
                table {
                    caption.visually-hidden { "Hosts" }
                    thead { tr { th scope="col" { "Host" } th scope="col" { "Held by" } th scope="col" { "Since" } th scope="col" { "Also requested by" } } }
                    tbody { @for (name, host) in rows { tr {
                        td { (words(name)) }
                        td { @for claimant in host.holders.keys() { div { (named(claimant)) } } @if host.holders.is_empty() { span.faint { "nobody" } } }
                        td { @for since in host.holders.values() { div { (moment(*since)) } } }
                        td { @for claimant in &host.others { div { (named(claimant)) } } }
                    } } }
                }
            }
            (pager(content.page, ROWS, content.hosts.len(), |page| content.link(page)))
        }
    };
    whole(frame, "Hosts", Some(""), &markup)
}

fn named(claimant: &Claimant) -> Markup {
    html! {
        (anchor(&claimant.gateway))
        @if let Some(environment) = &claimant.environment { span.faint { " environment " (words(environment)) } }
    }
}

#[cfg(test)]
mod tests {
    use phasegate::api::Guarded;

    use super::super::tests::frame;
    use super::*;
    use crate::samples::{self, NOW};

    #[test]
    fn a_host_has_one_holder_and_those_who_wait() {
        let entry = |name: &str, holds: bool| {
            let mut gateway = samples::started();
            gateway.metadata.name = Some(name.to_owned());
            gateway.spec.host = Some("<b>.example".to_owned());
            let mut entry = Entry::of(&Guarded::whole(gateway), NOW);
            entry.held = holds.then(|| ("<b>.example".to_owned(), NOW)).into_iter().collect();
            (ObjectKey::new("tenants", name), entry)
        };
        let entries = [entry("first", true), entry("second", false)].into();
        let content = Content::of(&entries, Err("not <allowed>".to_owned()), "q=b");
        let host = &content.hosts["<b>.example"];
        assert_eq!((host.holders.len(), host.others.len()), (1, 1));
        let page = page(&frame(), &content).into_string();
        assert!(
            page.contains("&lt;b&gt;.example") && !page.contains("<b>") && page.contains("not &lt;allowed"),
            "{page}"
        );
        assert!(Content::of(&entries, Ok(Vec::new()), "q=other").hosts.is_empty());
    }
}
