//! A request, by the parts that a rule matches.

use axum::http::Method;
use serde_json::Value;

/// A request, with its parts as Kubernetes names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxiedRequest {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// The plural of the kind, or the first part of the path if the request is not for a resource.
    pub resource: String,
    /// `status`, and so on.
    pub subresource: String,
    /// Empty for a request that is not for one namespace.
    pub namespace: String,
    /// Empty for `list` and `watch`.
    pub name: String,
    /// Whether it asks for a further page of a list.
    pub is_continued: bool,
}

impl ProxiedRequest {
    pub(super) fn new(method: &Method, path: &str, query: &str, body: &[u8]) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            rest => rest,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
        let mut asked = Self {
            verb: "get",
            resource: part(0),
            name: part(1),
            subresource: part(2),
            namespace: namespace.to_owned(),
            is_continued: query.contains("continue="),
        };
        asked.verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ if query.contains("watch=") => "watch",
            _ if asked.name.is_empty() && parts.first().is_some_and(|part| part.starts_with("api")) => "list",
            _ => "get",
        };
        if asked.verb == "create" {
            // For a create, only the body contains the name.
            let object: Value = serde_json::from_slice(body).unwrap_or_default();
            asked.name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        }
        asked
    }

    /// Whether it is a write.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }

    /// Whether it is for the kind of this plural.
    pub fn is_of(&self, plural: &str) -> bool {
        self.resource == plural
    }
}

#[test]
fn a_request_is_named_as_kubernetes_names_it() {
    let asked = |method, path, query| ProxiedRequest::new(&method, path, query, br#"{"metadata":{"name":"shop"}}"#);
    let new = |verb, resource: &str, subresource: &str, namespace: &str, name: &str| ProxiedRequest {
        verb,
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        is_continued: false,
    };
    assert_eq!(
        asked(Method::PUT, "/apis/phasegate.dev/v1alpha1/namespaces/a/apigateways/shop/status", ""),
        new("update", "apigateways", "status", "a", "shop")
    );
    assert_eq!(
        asked(Method::POST, "/api/v1/namespaces/a/services", "fieldManager=x"),
        new("create", "services", "", "a", "shop")
    );
    assert_eq!(asked(Method::GET, "/api/v1/namespaces", "watch=true"), new("watch", "namespaces", "", "", ""));
    assert_eq!(asked(Method::GET, "/api/v1/namespaces", "limit=500"), new("list", "namespaces", "", "", ""));
    assert_eq!(asked(Method::GET, "/version", ""), new("get", "version", "", "", ""));
    let continued = ProxiedRequest { is_continued: true, ..new("list", "namespaces", "", "", "") };
    assert_eq!(asked(Method::GET, "/api/v1/namespaces", "limit=1&continue=abc"), continued);
}
