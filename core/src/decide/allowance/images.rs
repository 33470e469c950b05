//! Where images come from: references, compared by whole segments of their paths and never by their text.

use super::{Entry, quoted};

/// What an image is pulled from that names no registry, as runtimes have it.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where that has its images without a namespace.
const DEFAULT_NAMESPACE: &str = "library";

/// A registry, and the beginning of a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePrefix {
    text: String,
    segments: Vec<String>,
}

impl Entry for ImagePrefix {
    fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let (registry, names) = segments.split_first().ok_or("it is empty")?;
        if !is_registry(registry) || !is_hosts_name(registry) {
            return Err("it does not begin with a registry, such as ghcr.io/acme or docker.io/library".to_owned());
        }
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return Err(format!(
                "{name:?} is no part of a repository's name: prefixes are whole parts, without tag, digest and wildcard"
            ));
        }
        if let Some(registry) = segments.first_mut() {
            *registry = usual(registry);
        }
        Ok(Self { text: path.to_owned(), segments })
    }

    fn text(&self) -> &str {
        &self.text
    }
}

impl ImagePrefix {
    /// Whether an image is one of these. What is no reference is none of them.
    pub fn covers(&self, image: &str) -> bool {
        repository(image).is_some_and(|segments| segments.starts_with(&self.segments))
    }
}

/// The registry and the path of an image, without tag and digest, as runtimes complete it.
fn repository(image: &str) -> Option<Vec<String>> {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    // A colon before the last slash is that of a port.
    let at = name.rfind(':').filter(|at| !name[*at..].contains('/')).unwrap_or(name.len());
    let (name, tag) = name.split_at(at);
    let is_suffix = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ":_.-+".contains(c));
    if !is_suffix(digest) || !is_suffix(tag) {
        return None;
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (usual(first), rest),
        _ => (DEFAULT_REGISTRY.to_owned(), name),
    };
    let library = (registry == DEFAULT_REGISTRY && !path.contains('/')).then(|| DEFAULT_NAMESPACE.to_owned());
    let names: Vec<String> = library.into_iter().chain(path.split('/').map(str::to_owned)).collect();
    let valid = is_hosts_name(&registry) && names.iter().all(|name| is_name(name));
    valid.then(|| std::iter::once(registry).chain(names).collect())
}

/// Whether what stands before the first slash is a registry, and no part of a path.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

/// Two names of one registry.
fn usual(registry: &str) -> String {
    if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry }.to_owned()
}

fn is_hosts_name(registry: &str) -> bool {
    let (host, port) = registry.split_once(':').unwrap_or((registry, "443"));
    is_name(host) && !port.is_empty() && port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit())
}

fn is_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(alphanumeric)
        && name.ends_with(alphanumeric)
        && name.chars().all(|c| alphanumeric(c) || matches!(c, '.' | '_' | '-'))
}

/// An image, and what it is completed to where that is more.
pub(super) fn in_words(image: &str) -> String {
    let whole = repository(image).map(|segments| segments.join("/")).filter(|whole| !image.starts_with(whole.as_str()));
    whole.map_or_else(|| quoted(image), |whole| format!("{} ({whole})", quoted(image)))
}
