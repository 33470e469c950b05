//! Reads metrics in Prometheus' text format.

/// The labels and the value of each series of a counter.
pub fn counters<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let lines = text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix('{'));
    lines.filter_map(|line| line.rsplit_once(' '))
}

/// The value of a label.
pub fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}
