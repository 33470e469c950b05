//! Host names: comparison, wildcards, and names that nobody may have.
//!
//! **Architecture invariant:** this module knows no claims. It compares names.

/// Names with a meaning of their own on every machine or in every cluster, with everything below them. The CRDs
/// refuse them, too.
const RESERVED: [&str; 2] = ["localhost", "svc"];

/// The host as it is compared: in lower case, without a trailing dot.
pub(super) fn normalized(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The labels of a host from right to left, so that everything below a name sorts after it: `com.example.shop.`
pub(super) fn sort_key(host: &str) -> String {
    host.rsplit('.').flat_map(|label| [label, "."]).collect()
}

/// The base name of a wildcard; `None` for other hosts.
pub(super) fn base(host: &str) -> Option<&str> {
    host.strip_prefix("*.")
}

/// The wildcards that cover a host, the nearest first. Ingress controllers differ in how many labels a `*`
/// covers, so it covers any number here.
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

/// What an entry of the allowed-hosts annotation allows.
enum Entry {
    /// Every host.
    Any,
    /// A name and everything below it.
    Below(String),
}

/// Parses `example.com`, `.example.com`, `*.example.com` or `*`. Any other text is ambiguous and allows
/// nothing.
fn entry(text: &str) -> Option<Entry> {
    if text == "*" {
        return Some(Entry::Any);
    }
    let name = normalized(base(text).or_else(|| text.strip_prefix('.')).unwrap_or(text));
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-')
    };
    name.split('.').all(is_label).then_some(Entry::Below(name))
}

/// Whether a host equals one of `suffixes` or is below it. The suffix `*` allows every host.
pub fn is_allowed(host: &str, suffixes: &[String]) -> bool {
    let host = normalized(host);
    let host = base(&host).unwrap_or(&host);
    suffixes.iter().filter_map(|suffix| entry(suffix)).any(|entry| match entry {
        Entry::Any => true,
        Entry::Below(name) => host == name || is_below(host, &name),
    })
}

/// The first suffix that is no valid name and allows nothing.
pub(super) fn no_name(suffixes: &[String]) -> Option<&String> {
    suffixes.iter().find(|suffix| entry(suffix).is_none())
}

/// Whether one of `suffixes` is the base name of a wildcard.
pub(super) fn is_named(wildcard: &str, suffixes: &[String]) -> bool {
    let wildcard = normalized(wildcard);
    let is_its_base = |entry| matches!(entry, Entry::Below(name) if base(&wildcard) == Some(&name));
    suffixes.iter().filter_map(|suffix| entry(suffix)).any(is_its_base)
}

/// Whether a host is a wildcard over a single label, such as `*.com`.
pub(super) fn is_over_one_label(host: &str) -> bool {
    base(&normalized(host)).is_some_and(|base| !base.contains('.'))
}

/// Whether programs parse a host as an IP address, as the URL standard says: its last label is a number. The
/// CRDs refuse such hosts, too.
pub(super) fn is_address(host: &str) -> bool {
    let host = normalized(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    let digits = |text: &str, radix| text.chars().all(|char| char.is_digit(radix));
    last.strip_prefix("0x").is_some_and(|hex| digits(hex, 16)) || (!last.is_empty() && digits(last, 10))
}

/// The reserved name that a host equals, is below of, or covers.
pub(super) fn reserved<'a>(host: &str, cluster_domain: &'a str) -> Option<&'a str> {
    let host = normalized(host);
    let name = base(&host).unwrap_or(&host);
    let names = RESERVED.into_iter().chain([cluster_domain]).filter(|reserved| !reserved.is_empty());
    let mut taken = names.filter(|reserved| {
        name == *reserved || is_below(name, reserved) || (name.len() < host.len() && is_below(reserved, name))
    });
    taken.next()
}
