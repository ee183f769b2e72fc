//! Pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise.

use serde_json::{Value, json};

use super::{Operation, Write};

const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: u64 = 300;

pub(super) fn complete(write: &mut Write<'_>) {
    if !write.is(Operation::Create, "", "pods") {
        return;
    }
    let Some(pod) = &mut write.object else { return };
    let tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let missing = KEYS.into_iter().filter(|key| !tolerations.iter().any(|t| tolerates(t, key)));
    let added: Vec<Value> = missing.map(toleration).collect();
    if !added.is_empty() {
        pod["spec"]["tolerations"] = tolerations.into_iter().chain(added).collect();
    }
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    matches!(text("effect"), "" | "NoExecute") && (text("key") == taint || text("key").is_empty())
}

fn toleration(key: &str) -> Value {
    json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_of_everything_is_one_of_these_too() {
        let cases = [
            (json!({"operator": "Exists"}), true),
            (json!({"key": KEYS[0], "operator": "Exists", "effect": "NoExecute"}), true),
            (json!({"key": KEYS[0], "operator": "Exists", "effect": "NoSchedule"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
        ];
        for (toleration, expected) in cases {
            assert_eq!(tolerates(&toleration, KEYS[0]), expected, "{toleration}");
        }
    }
}
