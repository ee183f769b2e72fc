//! Labels and label selectors as text: `app=web,tier in (front)`.

use serde_json::Value;

use super::tree;

/// Labels, or `<none>`.
pub(super) fn labels(object: &Value, path: &str) -> String {
    let pairs: Vec<String> =
        tree::entries(object, path).iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

/// A label selector; `<none>` where it says nothing, `<error>` where it makes no sense.
pub(super) fn or_none(selector: &Value) -> String {
    match text(selector) {
        Some(text) if text.is_empty() => "<none>".to_owned(),
        Some(text) => text,
        None => "<error>".to_owned(),
    }
}

/// A label selector's requirements, sorted by key. None where one makes no sense.
pub(super) fn text(selector: &Value) -> Option<String> {
    let labels = tree::entries(selector, "matchLabels").into_iter();
    let mut requirements: Vec<(&str, String)> =
        labels.map(|(key, value)| (key, format!("{key}={value}"))).collect();
    for expression in tree::list(selector, "matchExpressions") {
        requirements.push((tree::text(expression, "key"), requirement(expression)?));
    }
    requirements.sort_by_key(|(key, _)| *key);
    let texts: Vec<String> = requirements.into_iter().map(|(_, text)| text).collect();
    Some(texts.join(","))
}

fn requirement(expression: &Value) -> Option<String> {
    let key = tree::text(expression, "key");
    let mut values: Vec<&str> =
        tree::list(expression, "values").iter().filter_map(Value::as_str).collect();
    values.sort_unstable();
    match (tree::text(expression, "operator"), values.is_empty()) {
        ("In", false) => Some(format!("{key} in ({})", values.join(","))),
        ("NotIn", false) => Some(format!("{key} notin ({})", values.join(","))),
        ("Exists", true) => Some(key.to_owned()),
        ("DoesNotExist", true) => Some(format!("!{key}")),
        _ => None,
    }
}

/// A label selector in the form in which upstream's generated code prints the message.
pub(super) fn message(selector: &Value) -> String {
    let labels: String = tree::entries(selector, "matchLabels")
        .iter()
        .map(|(key, value)| format!("{key}: {value},"))
        .collect();
    let expressions: String = tree::list(selector, "matchExpressions")
        .iter()
        .map(|expression| {
            let values: Vec<&str> =
                tree::list(expression, "values").iter().filter_map(Value::as_str).collect();
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                tree::text(expression, "key"),
                tree::text(expression, "operator"),
                values.join(" ")
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements_are_sorted_by_key() {
        let selector = json!({
            "matchLabels": { "b": "2", "d": "4" },
            "matchExpressions": [
                { "key": "e", "operator": "In", "values": ["z", "y"] },
                { "key": "c", "operator": "DoesNotExist" },
                { "key": "a", "operator": "Exists" },
                { "key": "f", "operator": "NotIn", "values": ["x"] },
            ],
        });
        assert_eq!(or_none(&selector), "a,b=2,!c,d=4,e in (y,z),f notin (x)");
    }

    #[test]
    fn nothing_and_nonsense() {
        assert_eq!(or_none(&json!({})), "<none>");
        assert_eq!(or_none(&Value::Null), "<none>");
        let nonsense = json!({ "matchExpressions": [{ "key": "a", "operator": "In" }] });
        assert_eq!(or_none(&nonsense), "<error>");
        assert_eq!(labels(&json!({}), "spec.selector"), "<none>");
    }
}
