//! The identity of a gateway in the registry, and the names of the objects of documents.
//!
//! **Architecture invariant:** this module is pure. The same document and defaults give the same place.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::document::{Defaults, GatewayDocument, LONGEST_ID};
use crate::api::{ApiGateway, GATEWAY_ID_ANNOTATION, ObjectKey, REGISTRY_LABEL, REGISTRY_MONGODB};
use crate::parse;

/// The identity of a gateway in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id in the documents.
    pub gateway_id: String,
    /// Whether the platform owns it. Otherwise it was created with kubectl, and its document is a mirror.
    pub platforms: bool,
}

impl Identity {
    /// The identity of a gateway.
    pub fn of(gateway: &ApiGateway) -> Self {
        match platforms_id(gateway) {
            Some(id) => Self { gateway_id: id.to_owned(), platforms: true },
            None => Self { gateway_id: mirrored_id(&ObjectKey::of(gateway)), platforms: false },
        }
    }
}

/// The id of the mirror of a gateway that was created with kubectl. A platform's own ids contain no dot.
pub fn mirrored_id(ObjectKey { namespace, name }: &ObjectKey) -> String {
    format!("{namespace}.{name}")
}

/// Namespace and name from the id of a mirror.
pub fn mirrored(gateway_id: &str) -> Option<ObjectKey> {
    let (namespace, name) = gateway_id.split_once('.')?;
    (parse::namespace(namespace).is_ok() && parse::label(name).is_ok()).then(|| ObjectKey::new(namespace, name))
}

/// The id of a gateway that intake created.
pub fn platforms_id(gateway: &ApiGateway) -> Option<&str> {
    let label = gateway.metadata.labels.as_ref()?.get(REGISTRY_LABEL)?;
    if label == REGISTRY_MONGODB { id_in(&gateway.metadata) } else { None }
}

/// The id in an object's annotation. A longer one than any document could have does not count: whoever may
/// write objects may put 256 KiB into an annotation.
pub fn id_in(meta: &ObjectMeta) -> Option<&str> {
    let id = meta.annotations.as_ref()?.get(GATEWAY_ID_ANNOTATION)?;
    (id.len() <= LONGEST_ID).then_some(id)
}

/// Whether an object was created from the documents of a gateway id.
pub fn carries(meta: &ObjectMeta, gateway_id: &str) -> bool {
    let label = meta.labels.as_ref().and_then(|labels| labels.get(REGISTRY_LABEL));
    label.is_some_and(|label| label == REGISTRY_MONGODB) && id_in(meta) == Some(gateway_id)
}

/// Namespace and name of a document's object.
pub fn place(document: &GatewayDocument, defaults: &Defaults) -> ObjectKey {
    let namespace = document.namespace.as_deref().unwrap_or(&defaults.namespace);
    let name = document.name.as_deref().unwrap_or(&document.gateway_id);
    ObjectKey::new(namespace, name)
}

/// The name of an environment's object.
pub fn environment_name(gateway: &str, name: &str) -> String {
    format!("{gateway}-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_mirror_is_the_namespace_and_the_name_of_its_gateway() {
        let shop = ObjectKey::new("tenants", "shop");
        assert_eq!(mirrored(&mirrored_id(&shop)), Some(shop));
        assert_eq!(mirrored("2-tenants.shop-1"), Some(ObjectKey::new("2-tenants", "shop-1")));
    }

    #[test]
    fn an_id_that_no_document_could_have_is_none() {
        let carrying = |id: &str| ObjectMeta {
            labels: Some([(REGISTRY_LABEL.to_owned(), REGISTRY_MONGODB.to_owned())].into()),
            annotations: Some([(GATEWAY_ID_ANNOTATION.to_owned(), id.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let (longest, longer) = ("g".repeat(253), "g".repeat(254));
        assert!(id_in(&carrying(&longest)).is_some() && carries(&carrying(&longest), &longest));
        assert!(id_in(&carrying(&longer)).is_none() && !carries(&carrying(&longer), &longer));
    }

    #[test]
    fn an_id_that_names_no_gateway_that_could_be_is_no_mirrors() {
        let long = format!("{}.shop", "a".repeat(200));
        for id in ["shop", ".shop", "tenants.", "-a.shop", "a-.shop", "Tenants.shop", "tenants.1shop", "a.b.c", &long] {
            assert_eq!(mirrored(id), None, "{id}");
        }
    }
}
