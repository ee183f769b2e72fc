//! What kube-apiserver 1.37.1 says about bodies that are no objects, with `fieldValidation=Strict`.

use serde::Deserialize;
use skep_api::codec::{self, FieldValidation, Media};
use skep_api::names::GroupVersionKind;

#[derive(Deserialize)]
struct Case {
    expected: String,
    body: String,
    message: String,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("decoding/strict.json")).expect("recorded answers")
}

fn default(kind: &str) -> GroupVersionKind {
    let group = if kind == "Deployment" { "apps" } else { "" };
    GroupVersionKind::new(group, "v1", kind.to_owned())
}

#[test]
fn messages_are_upstreams() {
    for case in cases() {
        let default = default(&case.expected);
        let decoded = codec::decode(
            case.body.as_bytes(),
            Media::Json,
            Some(&default),
            FieldValidation::Strict,
        );
        let error = decoded.expect_err(&case.body);
        assert_eq!(error.request_message(), case.message, "{}", case.body);
    }
}

#[test]
fn strict_errors_are_warnings_otherwise() {
    let body = br#"{"kind":"Pod","apiVersion":"v1","spec":{"x":1,"nodeName":"a","nodeName":"b"}}"#;
    let decode =
        |validation| codec::decode(body, Media::Json, None, validation).expect("it decodes");
    let warned = decode(FieldValidation::Warn);
    assert_eq!(warned.warnings, ["unknown field \"spec.x\"", "duplicate field \"spec.nodeName\""]);
    assert_eq!(warned.object["spec"], serde_json::json!({ "nodeName": "b" }));
    assert!(decode(FieldValidation::Ignore).warnings.is_empty());
}

#[test]
fn yaml_is_read_like_json() {
    let yaml = b"kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    ports:\n    - containerPort: 80\n    foo: 1\n";
    let decoded =
        codec::decode(yaml, Media::Yaml, None, FieldValidation::Warn).expect("it decodes");
    assert_eq!(decoded.warnings, ["unknown field \"spec.containers[0].foo\""]);
    assert_eq!(decoded.object["spec"]["containers"][0]["ports"][0]["containerPort"], 80);
    let twice = b"kind: Pod\napiVersion: v1\nspec: {nodeName: a, nodeName: b}\n";
    let decoded =
        codec::decode(twice, Media::Yaml, None, FieldValidation::Warn).expect("it decodes");
    assert_eq!(decoded.warnings, ["duplicate field \"spec.nodeName\""]);
}

#[test]
fn depth_is_bounded() {
    let deep = format!(
        "{{\"kind\":\"ControllerRevision\",\"apiVersion\":\"apps/v1\",\"data\":{}1",
        "[".repeat(100_000)
    );
    assert!(codec::decode(deep.as_bytes(), Media::Json, None, FieldValidation::Warn).is_err());
    assert!(codec::decode(deep.as_bytes(), Media::Yaml, None, FieldValidation::Warn).is_err());
}

/// A pod whose one container asks for `cpu`, as protobuf says it.
fn pod_asking_for(cpu: &str) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    // Pod.spec.containers.resources.requests: a map of quantities.
    let entry = [field(1, b"cpu"), field(2, &field(1, cpu.as_bytes()))].concat();
    let pod = field(2, &field(2, &field(8, &field(2, &entry))));
    codec::wrap_envelope(&default("Pod"), &pod)
}

#[test]
fn quantities_in_protobuf_are_checked_and_canonical() {
    let decode =
        |cpu| codec::decode(&pod_asking_for(cpu), Media::Protobuf, None, FieldValidation::Strict);
    for (cpu, canonical) in [("1", "1"), ("1000m", "1"), ("0.5", "500m")] {
        let requests = "/spec/containers/0/resources/requests/cpu";
        let decoded = decode(cpu).expect("it decodes");
        assert_eq!(decoded.object.pointer(requests), Some(&canonical.into()), "{cpu:?}");
    }
    for cpu in ["#0m", "", "1 "] {
        let error = decode(cpu).expect_err("it is no quantity");
        assert!(error.to_string().starts_with("quantities must match"), "{cpu:?}: {error}");
    }
}
