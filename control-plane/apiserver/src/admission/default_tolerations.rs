//! Pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise; an
//! update that replaces a pod's tolerations keeps these two.

use serde_json::{Value, json};
use skep_api::Object;

use super::{Operation, Write};

const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: u64 = 300;

pub(super) fn complete(write: &mut Write<'_>) {
    let writes = [Operation::Create, Operation::Update];
    if !writes.into_iter().any(|operation| write.is(operation, "", "pods")) {
        return;
    }
    if let Some(pod) = &mut write.object {
        add_missing(pod);
    }
}

fn add_missing(pod: &mut Object) {
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
    fn what_is_missing_is_added_and_what_is_there_stays() {
        let own = json!({"key": "own", "operator": "Exists", "effect": "NoSchedule"});
        let mut pod = json!({"spec": {"tolerations": [own]}});
        add_missing(&mut pod);
        assert_eq!(
            pod["spec"]["tolerations"],
            json!([own, toleration(KEYS[0]), toleration(KEYS[1])])
        );
        let whole = pod.clone();
        add_missing(&mut pod);
        assert_eq!(pod, whole);
    }

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
