//! Updates as kube-apiserver 1.37.1 answers them: `new` was PUT over `old`, to the object or to a
//! subresource, and gave either `result` or `errors`.

use serde_json::Value;
use skep_api::codec::{self, FieldValidation, Media};
use skep_api::names::GroupVersionKind;
use skep_api::{Object, defaults, strategy, validate};

fn decode(tree: &Value) -> (GroupVersionKind, Object) {
    let bytes = tree.to_string();
    let decoded = codec::decode(bytes.as_bytes(), Media::Json, None, FieldValidation::Strict);
    let decoded = decoded.unwrap_or_else(|error| panic!("{error}: {tree}"));
    (decoded.gvk, decoded.object)
}

/// A message without what differs, and without objects: upstream shows both as its own Go types have
/// them.
fn plain(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    match (first.find('{'), first.rfind('}')) {
        (Some(from), Some(to)) => format!("{}{{}}{}", &first[..from], &first[to + 1..]),
        _ => first.to_owned(),
    }
}

#[test]
fn updates_are_upstreams() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("updates/puts.json")).expect("recorded answers");
    assert!(cases.len() > 60);
    let now = "2026-11-21T06:27:00Z".parse().expect("a time");
    let mut wrong = Vec::new();
    for case in cases {
        let change = case["change"].as_str().expect("a description");
        let subresource = case["subresource"].as_str();
        let (gvk, old) = decode(&case["old"]);
        let (_, mut object) = decode(&case["new"]);
        defaults::apply(&gvk, &mut object);
        strategy::prepare_update(&gvk, &mut object, &old, subresource, now);
        let mut ours: Vec<String> = validate::update(&gvk, &object, &old, subresource)
            .iter()
            .map(|error| plain(&error.to_string()))
            .collect();
        let mut upstream: Vec<String> = case["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|error| error.as_str().map(plain))
            .collect();
        ours.sort();
        upstream.sort();
        if ours != upstream {
            wrong.push(format!("{change}\n  ours {ours:?}\n  upstream's {upstream:?}"));
        } else if case.get("result").is_some() {
            let (_, result) = decode(&case["result"]);
            if object != result {
                wrong.push(format!("{change}\n  ours {object}\n  upstream's {result}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
