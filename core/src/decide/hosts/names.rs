//! Host names: how they are compared, which are below which, and which nobody may have.

/// Names that mean something of their own on every machine or in every cluster, with all that is below them. The
/// definitions refuse them, too.
const RESERVED: [&str; 2] = ["localhost", "svc"];

/// A host as it is compared: in lower case and without a trailing dot.
pub(super) fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// A host by its labels from the right, so that what is below a name follows it in order: `com.example.shop.`
pub(super) fn place(host: &str) -> String {
    host.rsplit('.').flat_map(|label| [label, "."]).collect()
}

/// The name that a wildcard stands for everything below of; `None` for a host that is no wildcard.
pub(super) fn base(host: &str) -> Option<&str> {
    host.strip_prefix("*.")
}

/// The wildcards that cover a host, the nearest first. How many labels a `*` stands for differs between ingress
/// controllers, so it stands for any number here.
pub(super) fn wildcards_over(host: &str) -> impl Iterator<Item = String> {
    let mut rest = base(host).unwrap_or(host);
    std::iter::from_fn(move || {
        rest = rest.split_once('.')?.1;
        Some(format!("*.{rest}"))
    })
}

/// Whether one of two hosts is a wildcard that covers the other.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let covers = |wildcard: &str, host: &str| {
        base(wildcard).is_some_and(|base_name| is_below(base(host).unwrap_or(host), base_name))
    };
    covers(one, other) || covers(other, one)
}

fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|prefix| prefix.ends_with('.'))
}

/// Whether a host is one of `suffixes` or below one of them; a suffix `*` allows every host.
pub fn is_allowed(host: &str, suffixes: &[String]) -> bool {
    let host = normal(host);
    let host = base(&host).unwrap_or(&host);
    suffixes
        .iter()
        .map(|suffix| normal(suffix.trim_start_matches("*.").trim_start_matches('.')))
        .any(|suffix| suffix == "*" || host == suffix || is_below(host, &suffix))
}

/// The reserved name that a host is, is below, or covers.
pub(super) fn reserved<'a>(host: &str, cluster_domain: &'a str) -> Option<&'a str> {
    let host = normal(host);
    let name = base(&host).unwrap_or(&host);
    let names = RESERVED.into_iter().chain([cluster_domain]).filter(|reserved| !reserved.is_empty());
    let mut taken = names.filter(|reserved| {
        name == *reserved || is_below(name, reserved) || (name.len() < host.len() && is_below(reserved, name))
    });
    taken.next()
}
