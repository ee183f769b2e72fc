//! One kind in another version, or in another group: most versions differ in nothing but their name, the
//! rest have a conversion of their own.

mod autoscaling;
mod events;

use crate::Object;
use crate::codec::stamp;
use crate::names::GroupVersionKind;

/// No object of one kind can be shown as the other.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no conversion from {0} to {1}")]
pub struct ConvertError(String, String);

/// Shows an object of kind `from` as kind `to`, and names it so.
///
/// # Errors
/// [`ConvertError`]
pub fn to(
    from: &GroupVersionKind,
    to: &GroupVersionKind,
    mut object: Object,
) -> Result<Object, ConvertError> {
    if from != to {
        match (from.group.as_ref(), from.version.as_ref(), to.group.as_ref(), to.version.as_ref()) {
            _ if from.kind != to.kind => {
                return Err(ConvertError(from.to_string(), to.to_string()));
            }
            ("", _, "events.k8s.io", _) => events::from_core(&mut object),
            ("events.k8s.io", _, "", _) => events::to_core(&mut object),
            ("autoscaling", "v1", "autoscaling", "v2") => autoscaling::to_v2(&mut object),
            ("autoscaling", "v2", "autoscaling", "v1") => autoscaling::to_v1(&mut object),
            ("resource.k8s.io", "v1" | "v1beta2", "resource.k8s.io", "v1" | "v1beta2") => {}
            (from_group, _, to_group, _)
                if from_group != to_group || from_group == "resource.k8s.io" =>
            {
                return Err(ConvertError(from.to_string(), to.to_string()));
            }
            _ => {}
        }
    }
    stamp(&mut object, to);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::builtin;
    use crate::schema::{Shape, Type};

    #[test]
    fn same_shapes_are_renamed() {
        let beta = GroupVersionKind::new("coordination.k8s.io", "v1beta1", "LeaseCandidate");
        let alpha = GroupVersionKind::new("coordination.k8s.io", "v1alpha2", "LeaseCandidate");
        let object =
            to(&beta, &alpha, json!({ "spec": { "leaseName": "a" } })).expect("same shape");
        assert_eq!(object["apiVersion"], "coordination.k8s.io/v1alpha2");
        assert_eq!(object["spec"]["leaseName"], "a");
    }

    /// The names of all fields below a type, by path, to this depth.
    fn fields(ty: &Type, path: &str, depth: usize, found: &mut Vec<String>) {
        for field in &ty.fields {
            let path = format!("{path}.{}", field.name);
            let mut shape = &field.shape;
            while let Shape::List(inner) | Shape::Map(inner) = shape {
                shape = inner;
            }
            if let (Shape::Object(ty), true) = (shape, depth > 0) {
                fields(ty, &path, depth - 1, found);
            }
            found.push(path);
        }
    }

    #[test]
    fn kinds_of_dynamic_resources_have_one_shape_in_v1_and_v1beta2() {
        let mut compared = 0;
        for resource in &builtin().version("resource.k8s.io", "v1").expect("a version").resources {
            let beta = GroupVersionKind::new("resource.k8s.io", "v1beta2", resource.kind.clone());
            let Some(old) = builtin().kind(&beta) else { continue };
            let new = builtin().kind(&resource.gvk()).expect("a kind");
            let (mut before, mut after) = (Vec::new(), Vec::new());
            fields(&old, "", 6, &mut before);
            fields(&new, "", 6, &mut after);
            assert_eq!(before, after, "{}", resource.kind);
            compared += 1;
        }
        assert!(compared >= 4, "only {compared} kinds are in both");
    }

    #[test]
    fn other_kinds_are_refused() {
        let pod = GroupVersionKind::new("", "v1", "Pod");
        let node = GroupVersionKind::new("", "v1", "Node");
        let error = to(&pod, &node, json!({})).expect_err("other kind");
        assert_eq!(error.to_string(), "no conversion from /v1, Kind=Pod to /v1, Kind=Node");
    }
}
