//! Patches: JSON patch (RFC 6902), JSON merge patch (RFC 7386) and upstream's strategic merge patch, which
//! merges lists by the keys that the schema names. What comes out is decoded again like any body, so a patch
//! cannot bring in what a PUT could not.

mod directive;
mod list;
mod strategic;

use serde_json::Value;

use crate::Object;
use crate::codec::{self, DecodeError, Decoded, FieldValidation, Media};
use crate::names::GroupVersionKind;
use crate::registry::builtin;
use crate::schema::Shape;

/// Operations in one JSON patch, as upstream limits them.
const MAX_OPERATIONS: usize = 10_000;

/// The form of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// application/json-patch+json
    Json,
    /// application/merge-patch+json
    Merge,
    /// application/strategic-merge-patch+json
    Strategic,
}

impl PatchType {
    /// The patch type of a `Content-Type`; parameters are ignored.
    pub fn from_content_type(text: &str) -> Option<Self> {
        match text.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            _ => None,
        }
    }
}

/// Why a patch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// The body is no patch of its type: 400
    #[error("{0}")]
    Body(String),
    /// There are more operations than are taken: 413
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooMany(usize),
    /// The patch does not fit the object: 422
    #[error("{0}")]
    Unfit(String),
    /// What came out is no object of its kind: 400 or 422
    #[error(transparent)]
    Result(#[from] DecodeError),
}

/// Applies a patch to an object of a built-in kind. The kind itself cannot be patched away: a result that
/// names another is an error.
///
/// # Errors
/// [`PatchError`]; the object is as it was.
pub fn apply(
    patch_type: PatchType,
    gvk: &GroupVersionKind,
    original: &Object,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, PatchError> {
    // Paths of a JSON patch and nulls of a merge patch mean the object as clients see it.
    let json = codec::encode(original, gvk, Media::Json);
    let shown: Value = serde_json::from_slice(&json).unwrap_or_default();
    let patched = match patch_type {
        PatchType::Json => json_patch(shown, body)?,
        PatchType::Merge => {
            let mut shown = shown;
            json_patch::merge(&mut shown, &read(body)?);
            shown
        }
        PatchType::Strategic => {
            let shape = builtin().kind(gvk).map_or(Shape::Json, Shape::Object);
            strategic::merge(shown, &read(body)?, &shape)?
        }
    };
    let bytes = patched.to_string().into_bytes();
    let decoded = codec::decode(&bytes, Media::Json, Some(gvk), validation)?;
    if decoded.gvk != *gvk {
        let (is, was) = (&decoded.gvk, gvk);
        return Err(PatchError::Unfit(format!(
            "the patch makes a {} of version {} of a {} of version {}",
            is.kind,
            is.group_version(),
            was.kind,
            was.group_version()
        )));
    }
    Ok(decoded)
}

fn read(body: &[u8]) -> Result<Value, PatchError> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|error| PatchError::Body(format!("error decoding patch: {error}")))?;
    if patch.is_object() {
        Ok(patch)
    } else {
        Err(PatchError::Body("error decoding patch: a merge patch is a JSON object".to_owned()))
    }
}

fn json_patch(mut object: Value, body: &[u8]) -> Result<Value, PatchError> {
    let patch: json_patch::Patch = serde_json::from_slice(body)
        .map_err(|error| PatchError::Body(format!("error decoding patch: {error}")))?;
    if patch.0.len() > MAX_OPERATIONS {
        return Err(PatchError::TooMany(patch.0.len()));
    }
    json_patch::patch(&mut object, &patch).map_err(|error| PatchError::Unfit(error.to_string()))?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> GroupVersionKind {
        GroupVersionKind { group: "apps".into(), version: "v1".into(), kind: "Deployment".into() }
    }

    fn patched(patch_type: PatchType, body: &Value) -> Result<Object, PatchError> {
        let original = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "labels": {"x": "1"}},
            "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"containers": [
                {"name": "one", "image": "i"}]}}},
        });
        let body = body.to_string();
        apply(patch_type, &deployment(), &original, body.as_bytes(), FieldValidation::Strict)
            .map(|decoded| decoded.object)
    }

    #[test]
    fn each_type_changes_what_it_names_and_nothing_else() {
        for (patch_type, body) in [
            (PatchType::Json, json!([{"op": "replace", "path": "/spec/replicas", "value": 5}])),
            (PatchType::Merge, json!({"spec": {"replicas": 5}})),
            (PatchType::Strategic, json!({"spec": {"replicas": 5}})),
        ] {
            let object = patched(patch_type, &body).unwrap();
            assert_eq!(object["spec"]["replicas"], 5, "{patch_type:?}");
            assert_eq!(object["metadata"]["labels"]["x"], "1", "{patch_type:?}");
            assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["image"], "i");
        }
    }

    #[test]
    fn a_null_removes_a_field() {
        for patch_type in [PatchType::Merge, PatchType::Strategic] {
            let object =
                patched(patch_type, &json!({"metadata": {"labels": {"x": null}}})).unwrap();
            assert_eq!(object.pointer("/metadata/labels/x"), None, "{patch_type:?}");
        }
    }

    #[test]
    fn a_merge_patch_replaces_lists_and_a_strategic_one_merges_them() {
        let body = json!({"spec": {"template": {"spec": {"containers": [{"name": "two", "image": "j"}]}}}});
        let count = |object: &Object| {
            object.pointer("/spec/template/spec/containers").unwrap().as_array().unwrap().len()
        };
        assert_eq!(count(&patched(PatchType::Merge, &body).unwrap()), 1);
        assert_eq!(count(&patched(PatchType::Strategic, &body).unwrap()), 2);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        for (patch_type, body, expected) in [
            (
                PatchType::Json,
                json!([{"op": "test", "path": "/spec/replicas", "value": 9}]),
                "did not match",
            ),
            (PatchType::Json, json!({"not": "a list"}), "error decoding patch"),
            (PatchType::Merge, json!([1]), "a merge patch is a JSON object"),
            (PatchType::Merge, json!({"spec": {"replcas": 1}}), "unknown field \"spec.replcas\""),
            (PatchType::Merge, json!({"spec": {"replicas": "many"}}), "cannot unmarshal string"),
            (PatchType::Merge, json!({"kind": "Pod"}), "kind"),
        ] {
            let error = patched(patch_type, &body).unwrap_err().to_string();
            assert!(error.contains(expected), "{body}: {error}");
        }
    }

    #[test]
    fn a_json_patch_has_a_limit() {
        let operation = json!({"op": "test", "path": "/spec/replicas", "value": 2});
        let body = Value::Array(vec![operation; MAX_OPERATIONS + 1]);
        assert!(matches!(patched(PatchType::Json, &body), Err(PatchError::TooMany(10_001))));
    }
}
