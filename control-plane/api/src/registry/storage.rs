//! Where a resource's objects lie in the store: upstream's version and upstream's place under the
//! `/registry` prefix, so that either can read what the other wrote.

use crate::names::GroupVersionKind;

use super::Resource;

/// The place and form of a resource's objects in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The kind they are encoded as
    pub gvk: GroupVersionKind,
    /// `/pods`: followed by `/NAMESPACE/NAME` or `/NAME`
    pub prefix: String,
}

impl Resource {
    /// Where and as what objects are stored; `None` for a resource that stores nothing (`bindings`).
    pub fn storage(&self) -> Option<Storage> {
        if self.storage_version.is_empty() {
            return None;
        }
        let group = if self.plural == "events" { "".into() } else { self.group.clone() };
        let gvk = GroupVersionKind::new(group, self.storage_version.clone(), self.kind.clone());
        Some(Storage { gvk, prefix: format!("/{}", self.place()) })
    }

    fn place(&self) -> String {
        match (self.group.as_ref(), self.plural.as_ref()) {
            ("", "replicationcontrollers") => "controllers".to_owned(),
            ("", "endpoints") => "services/endpoints".to_owned(),
            ("", "nodes") => "minions".to_owned(),
            ("", "services") => "services/specs".to_owned(),
            ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
            (group @ ("apiextensions.k8s.io" | "apiregistration.k8s.io"), plural) => {
                format!("{group}/{plural}")
            }
            (_, plural) => plural.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::registry::builtin;

    #[test]
    fn places_are_upstreams() {
        let cases = [
            ("", "v1", "pods", "/pods", "/v1, Kind=Pod"),
            ("", "v1", "nodes", "/minions", "/v1, Kind=Node"),
            ("", "v1", "services", "/services/specs", "/v1, Kind=Service"),
            ("events.k8s.io", "v1", "events", "/events", "/v1, Kind=Event"),
            (
                "networking.k8s.io",
                "v1",
                "ingresses",
                "/ingress",
                "networking.k8s.io/v1, Kind=Ingress",
            ),
            (
                "autoscaling",
                "v1",
                "horizontalpodautoscalers",
                "/horizontalpodautoscalers",
                "autoscaling/v2, Kind=HorizontalPodAutoscaler",
            ),
            (
                "apiregistration.k8s.io",
                "v1",
                "apiservices",
                "/apiregistration.k8s.io/apiservices",
                "apiregistration.k8s.io/v1, Kind=APIService",
            ),
        ];
        for (group, version, plural, prefix, kind) in cases {
            let resource = builtin().resource(group, version, plural).expect(plural);
            let storage = resource.storage().expect(plural);
            assert_eq!((storage.prefix.as_str(), storage.gvk.to_string().as_str()), (prefix, kind));
        }
        let bindings = builtin().resource("", "v1", "bindings").expect("bindings");
        assert_eq!(bindings.storage(), None);
    }
}
