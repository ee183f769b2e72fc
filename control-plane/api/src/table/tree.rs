//! Reading objects by dotted path. What is absent reads as the zero value, as in upstream's types.

use serde_json::Value;

static ABSENT: Value = Value::Null;

/// The value at `spec.nodeName`, or null.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').try_fold(value, |value, name| value.get(name)).unwrap_or(&ABSENT)
}

/// Text, or an empty string.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// Text that is there and not empty.
pub(super) fn some_text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    Some(text(value, path)).filter(|text| !text.is_empty())
}

/// A number, or zero.
pub(super) fn number(value: &Value, path: &str) -> i64 {
    at(value, path).as_i64().unwrap_or_default()
}

/// A truth value, or false.
pub(super) fn flag(value: &Value, path: &str) -> bool {
    at(value, path).as_bool().unwrap_or_default()
}

/// A list's items, or none.
pub(super) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The entries of a map of strings, sorted by key.
pub(super) fn entries<'a>(value: &'a Value, path: &str) -> Vec<(&'a str, &'a str)> {
    let entries = at(value, path).as_object().into_iter().flatten();
    let mut entries: Vec<_> =
        entries.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())).collect();
    entries.sort_unstable();
    entries
}

/// How many items a list or a map has.
pub(super) fn count(value: &Value, path: &str) -> usize {
    match at(value, path) {
        Value::Array(items) => items.len(),
        Value::Object(entries) => entries.len(),
        _ => 0,
    }
}

/// The condition of this type.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "status.conditions").iter().find(|condition| text(condition, "type") == kind)
}

/// Whether the condition of this type is there and true.
pub(super) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "status") == "True")
}

/// An annotation.
pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    at(object, "metadata.annotations").get(name)?.as_str()
}

/// An amount in its canonical form; what is absent is zero.
pub(super) fn quantity(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => return "0".to_owned(),
        number => number.to_string(),
    };
    crate::quantity::Quantity::parse(&text).map_or(text, |amount| amount.to_string())
}

/// The first three items and how many more there are.
pub(super) fn first_three<T: AsRef<str>>(items: &[T]) -> String {
    let shown = items.iter().take(3).map(AsRef::as_ref).collect::<Vec<_>>().join(",");
    match items.len() {
        more @ 4.. => format!("{shown} + {} more...", more - 3),
        _ => shown,
    }
}
