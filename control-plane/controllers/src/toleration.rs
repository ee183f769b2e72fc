//! Which taints a toleration applies to.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// True when the toleration applies to the taint. An empty key with `Exists` applies to all, an
/// empty effect to every effect.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    let (ours, theirs) = (text(&toleration.value), text(&taint.value));
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => !key.is_empty() && ours == theirs,
        Some(operator @ ("Gt" | "Lt")) => match (ours.parse::<i64>(), theirs.parse::<i64>()) {
            (Ok(ours), Ok(theirs)) => {
                if operator == "Gt" {
                    theirs > ours
                } else {
                    theirs < ours
                }
            }
            _ => false,
        },
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operators() {
        let taint: Taint =
            serde_json::from_value(json!({"key": "k", "value": "5", "effect": "NoExecute"}))
                .unwrap();
        let cases = [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"key": "k", "value": "5"}), true),
            (json!({"key": "k", "value": "6"}), false),
            (json!({"key": "k", "operator": "Equal", "value": "5", "effect": "NoSchedule"}), false),
            (json!({"key": "k", "operator": "Gt", "value": "4"}), true),
            (json!({"key": "k", "operator": "Lt", "value": "4"}), false),
            (json!({}), false),
        ];
        for (toleration, expected) in cases {
            let parsed = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(tolerates(&parsed, &taint), expected, "{toleration}");
        }
    }
}
