//! Who a gateway is in the registry, and where the objects of documents are. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::document::{Defaults, GatewayDocument, LONGEST_ID};
use crate::api::{ApiGateway, GATEWAY_ID_ANNOTATION, ObjectKey, REGISTRY_LABEL, REGISTRY_MONGODB};
use crate::parse;

/// Who a gateway is in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id in the documents.
    pub gateway_id: String,
    /// Whether the platform owns it; else it was made with kubectl, and the documents mirror it.
    pub platforms: bool,
}

impl Identity {
    /// Who a gateway is.
    pub fn of(gateway: &ApiGateway) -> Self {
        match platforms_id(gateway) {
            Some(id) => Self { gateway_id: id.to_owned(), platforms: true },
            None => Self { gateway_id: mirrored_id(&ObjectKey::of(gateway)), platforms: false },
        }
    }
}

/// The id under which a gateway made with kubectl is mirrored. No platform's own id holds a dot.
pub fn mirrored_id(ObjectKey { namespace, name }: &ObjectKey) -> String {
    format!("{namespace}.{name}")
}

/// Namespace and name in the id of a gateway that is mirrored.
pub fn mirrored(gateway_id: &str) -> Option<ObjectKey> {
    let (namespace, name) = gateway_id.split_once('.')?;
    (parse::namespace(namespace).is_ok() && parse::label(name).is_ok()).then(|| ObjectKey::new(namespace, name))
}

/// The id that intake gave a gateway, if it made it.
pub fn platforms_id(gateway: &ApiGateway) -> Option<&str> {
    let label = gateway.metadata.labels.as_ref()?.get(REGISTRY_LABEL)?;
    if label == REGISTRY_MONGODB { id_in(&gateway.metadata) } else { None }
}

/// The id that an object says it was made for. One that no document could have is none: whoever may write objects may write
/// as much into an annotation as fits into 256 KiB.
pub fn id_in(meta: &ObjectMeta) -> Option<&str> {
    let id = meta.annotations.as_ref()?.get(GATEWAY_ID_ANNOTATION)?;
    (id.len() <= LONGEST_ID).then_some(id)
}

/// Whether an object was made from the documents of a gateway id.
pub fn carries(meta: &ObjectMeta, gateway_id: &str) -> bool {
    let label = meta.labels.as_ref().and_then(|labels| labels.get(REGISTRY_LABEL));
    label.is_some_and(|label| label == REGISTRY_MONGODB) && id_in(meta) == Some(gateway_id)
}

/// Where the object of a document is to be.
pub fn place(document: &GatewayDocument, defaults: &Defaults) -> ObjectKey {
    let namespace = document.namespace.as_deref().unwrap_or(&defaults.namespace);
    let name = document.name.as_deref().unwrap_or(&document.gateway_id);
    ObjectKey::new(namespace, name)
}

/// The name of the object of an environment.
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
