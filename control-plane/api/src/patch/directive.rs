//! The directives of a strategic merge patch: keys that begin with `$` and say how to merge.

use serde_json::{Map, Value};

use super::PatchError;

/// Says what becomes of the object it stands in: `delete`, `replace` or `merge`.
const PATCH: &str = "$patch";
/// Lists the keys that stay; all others of the original go.
const RETAIN_KEYS: &str = "$retainKeys";
/// `$deleteFromPrimitiveList/FIELD` lists scalars to remove from FIELD.
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
/// `$setElementOrder/FIELD` lists the items of FIELD, or their keys, in their order.
const SET_ORDER: &str = "$setElementOrder/";

/// What `$patch` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Delete,
    Replace,
    Merge,
}

/// The `$patch` of an object, if it has one.
pub(super) fn action(patch: &Map<String, Value>) -> Result<Option<Action>, PatchError> {
    match patch.get(PATCH) {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some("delete") => Ok(Some(Action::Delete)),
            Some("replace") => Ok(Some(Action::Replace)),
            Some("merge") => Ok(Some(Action::Merge)),
            _ => Err(PatchError::Body(format!("Unknown patch type found: {value}"))),
        },
    }
}

/// Removes from `original` the keys that `$retainKeys` does not name.
pub(super) fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), PatchError> {
    let Some(retained) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let bad = || PatchError::Body(format!("{RETAIN_KEYS} must be a list of field names"));
    let names: Vec<&str> =
        retained.as_array().ok_or_else(bad)?.iter().filter_map(Value::as_str).collect();
    if let Some(stray) =
        patch.keys().find(|key| !key.starts_with('$') && !names.contains(&key.as_str()))
    {
        return Err(PatchError::Body(format!(
            "{RETAIN_KEYS} does not name {stray}, which the patch sets"
        )));
    }
    original.retain(|key, _| names.contains(&key.as_str()));
    Ok(())
}

/// A key of a patch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// A field to merge.
    Field(&'a str),
    /// Scalars to remove from this field.
    DeleteFromList(&'a str),
    /// Other directives, which are read where they matter.
    Directive,
}

impl<'a> Key<'a> {
    pub(super) fn of(key: &'a str) -> Self {
        if let Some(field) = key.strip_prefix(DELETE_FROM_LIST) {
            Self::DeleteFromList(field)
        } else if key == PATCH || key == RETAIN_KEYS || key.starts_with(SET_ORDER) {
            Self::Directive
        } else {
            Self::Field(key)
        }
    }
}

/// The order that the patch wants for a field.
pub(super) fn order<'a>(
    patch: &'a Map<String, Value>,
    field: &str,
) -> Result<Option<&'a Vec<Value>>, PatchError> {
    match patch.get(&format!("{SET_ORDER}{field}")) {
        None => Ok(None),
        Some(Value::Array(order)) => Ok(Some(order)),
        Some(_) => Err(PatchError::Body(format!("{SET_ORDER}{field} must be a list"))),
    }
}

/// Fields that only an order names.
pub(super) fn ordered_fields(patch: &Map<String, Value>) -> impl Iterator<Item = &str> {
    patch.keys().filter_map(|key| key.strip_prefix(SET_ORDER))
}

/// A value that is taken whole: without nulls, which would have removed something, and without directives.
pub(super) fn taken(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            if map.get(PATCH).is_some_and(|action| action == "delete") {
                return None;
            }
            let fields = map.iter().filter(|(key, _)| matches!(Key::of(key), Key::Field(_)));
            let kept = fields.filter_map(|(key, value)| Some((key.clone(), taken(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.iter().filter_map(taken).collect())),
        other => Some(other.clone()),
    }
}
