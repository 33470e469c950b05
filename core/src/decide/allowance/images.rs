//! Allowed image sources. Image references are compared by whole path segments, never as text.
//!
//! **Architecture invariant:** an image that is not a valid reference is covered by no prefix.

use super::{Entry, quoted};

/// The registry of an image that names none, as container runtimes complete it.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The namespace there of an image without one.
const DEFAULT_NAMESPACE: &str = "library";

/// A registry and a path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePrefix {
    text: String,
    segments: Vec<String>,
}

impl Entry for ImagePrefix {
    fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let (registry, names) = segments.split_first().ok_or("must not be empty")?;
        if !is_registry(registry) || !is_hosts_name(registry) {
            return Err("must begin with a registry, such as ghcr.io/acme or docker.io/library".to_owned());
        }
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return Err(format!(
                "{name:?} is not a repository path element: a prefix has whole elements, and no tag, digest or \
                 wildcard"
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
    /// Whether the prefix covers an image. It covers nothing that is no valid reference.
    pub fn covers(&self, image: &str) -> bool {
        repository(image).is_some_and(|segments| segments.starts_with(&self.segments))
    }
}

/// The registry and path of an image, completed as container runtimes do, without tag and digest.
fn repository(image: &str) -> Option<Vec<String>> {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    // A colon before the last slash separates a port.
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

/// Whether the part before the first slash is a registry.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

/// Maps the names of one registry to its usual name.
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

/// The image, and its completed form if that differs.
pub(super) fn in_words(image: &str) -> String {
    let whole = repository(image).map(|segments| segments.join("/")).filter(|whole| !image.starts_with(whole.as_str()));
    whole.map_or_else(|| quoted(image), |whole| format!("{} ({whole})", quoted(image)))
}
