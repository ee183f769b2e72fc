//! Strategic merge patch: objects merge field by field, lists by the schema's merge key or not at all.

use serde_json::{Map, Value};

use super::PatchError;
use super::directive::{self, Action, Key};
use super::list::{self, Strategy};
use crate::schema::{Field, Shape};

/// Merges `patch` into `original`, an object of this shape.
///
/// # Errors
/// Where a directive or a list of the patch makes no sense.
pub(super) fn merge(original: Value, patch: &Value, shape: &Shape) -> Result<Value, PatchError> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err(PatchError::Body("a strategic merge patch is a JSON object".to_owned()));
    };
    objects(original, patch, shape).map(Value::Object)
}

/// Merges an object; `shape` tells the types of its fields.
pub(super) fn objects(
    mut original: Map<String, Value>,
    patch: &Map<String, Value>,
    shape: &Shape,
) -> Result<Map<String, Value>, PatchError> {
    match directive::action(patch)? {
        Some(Action::Replace) => {
            let kept = patch.iter().filter(|(key, _)| matches!(Key::of(key), Key::Field(_)));
            return Ok(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        }
        Some(Action::Delete) => return Ok(Map::new()),
        Some(Action::Merge) | None => {}
    }
    directive::retain_keys(&mut original, patch)?;
    for (key, value) in patch {
        match Key::of(key) {
            Key::Directive => {}
            Key::DeleteFromList(field) => list::remove(&mut original, field, value)?,
            Key::Field(name) => field(&mut original, patch, name, value, shape)?,
        }
    }
    for name in directive::ordered_fields(patch).filter(|name| !patch.contains_key(*name)) {
        if let Some(Value::Array(items)) = original.get(name).cloned() {
            let merged = lists(&items, &[], patch, name, shape)?;
            original.insert(name.to_owned(), Value::Array(merged));
        }
    }
    Ok(original)
}

fn field(
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    name: &str,
    value: &Value,
    shape: &Shape,
) -> Result<(), PatchError> {
    let merged = match (original.remove(name), value) {
        (_, Value::Null) => None,
        (Some(Value::Object(old)), Value::Object(new)) => {
            let inner = field_of(shape, name).map_or(Shape::Json, |field| field.shape.clone());
            let inner = match shape {
                Shape::Map(value) => (**value).clone(),
                _ => inner,
            };
            let replaced = field_of(shape, name).is_some_and(replaces);
            if replaced {
                directive::taken(value)
            } else {
                Some(Value::Object(objects(old, new, &inner)?))
            }
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            Some(Value::Array(lists(&old, new, patch, name, shape)?))
        }
        (_, value) => directive::taken(value),
    };
    if let Some(merged) = merged {
        original.insert(name.to_owned(), merged);
    }
    Ok(())
}

/// Merges the list `name`, or replaces it where the schema does not say `merge`.
fn lists(
    old: &[Value],
    new: &[Value],
    patch: &Map<String, Value>,
    name: &str,
    shape: &Shape,
) -> Result<Vec<Value>, PatchError> {
    let Some(field) = field_of(shape, name).filter(|field| merges(field)) else {
        return Ok(new.iter().filter_map(directive::taken).collect());
    };
    let item = match &field.shape {
        Shape::List(item) | Shape::WrappedList(item) => item,
        _ => &Shape::Json,
    };
    let strategy = Strategy { name, item, key: field.patch_merge_key.as_deref() };
    list::merge(old, new, directive::order(patch, name)?, &strategy)
}

fn field_of<'a>(shape: &'a Shape, name: &str) -> Option<&'a Field> {
    match shape {
        Shape::Object(ty) => ty.field(name),
        _ => None,
    }
}

fn merges(field: &Field) -> bool {
    field.patch_strategy.iter().any(|strategy| strategy == "merge")
}

fn replaces(field: &Field) -> bool {
    field.patch_strategy.iter().any(|strategy| strategy == "replace")
}
