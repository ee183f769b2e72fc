//! Which fields of a kind can be selected by, and what they hold.

use serde_json::Value;

use crate::names::GroupVersionKind;

/// Every kind can be selected by these.
const META: [&str; 2] = ["metadata.name", "metadata.namespace"];

/// The further fields of a kind, in the names that matching uses.
fn further(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    Some(match (group, kind) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["spec.unschedulable"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &["status.replicas"],
        ("" | "events.k8s.io", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "Namespace") => &["status.phase"],
        ("", "Secret") => &["type"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("batch", "Job") => &["status.successful"],
        ("certificates.k8s.io", "CertificateSigningRequest" | "ClusterTrustBundle") => {
            &["spec.signerName"]
        }
        ("certificates.k8s.io", "PodCertificateRequest") => {
            &["spec.signerName", "spec.podName", "spec.nodeName"]
        }
        ("resource.k8s.io", "ResourceSlice") => &["spec.nodeName", "spec.driver", "spec.pool.name"],
        _ => return None,
    })
}

/// The name by which matching knows a field that a request names.
///
/// # Errors
/// Upstream's message, where the kind cannot be selected by it.
pub fn resolve(gvk: &GroupVersionKind, field: &str) -> Result<String, String> {
    let field = renamed(gvk, field);
    let Some(known) = further(&gvk.group, &gvk.kind) else {
        if META.contains(&field) {
            return Ok(field.to_owned());
        }
        let [name, namespace] = META;
        return Err(format!(
            "{field:?} is not a known field selector: only {name:?}, {namespace:?}"
        ));
    };
    if META.contains(&field) || known.contains(&field) {
        return Ok(field.to_owned());
    }
    Err(if gvk.group == "resource.k8s.io" {
        format!("field label not supported for {gvk}: {field}")
    } else {
        format!("field label not supported: {field}")
    })
}

/// Old names, and the names of events.k8s.io.
fn renamed<'a>(gvk: &GroupVersionKind, field: &'a str) -> &'a str {
    match (gvk.group.as_ref(), gvk.kind.as_ref(), field) {
        ("", "Pod", "spec.host") => "spec.nodeName",
        ("", "Namespace", "name") => "metadata.name",
        ("events.k8s.io", "Event", "regarding.kind") => "involvedObject.kind",
        ("events.k8s.io", "Event", "regarding.namespace") => "involvedObject.namespace",
        ("events.k8s.io", "Event", "regarding.name") => "involvedObject.name",
        ("events.k8s.io", "Event", "regarding.uid") => "involvedObject.uid",
        ("events.k8s.io", "Event", "regarding.apiVersion") => "involvedObject.apiVersion",
        ("events.k8s.io", "Event", "regarding.resourceVersion") => "involvedObject.resourceVersion",
        ("events.k8s.io", "Event", "regarding.fieldPath") => "involvedObject.fieldPath",
        ("events.k8s.io", "Event", "reportingController") => "reportingComponent",
        (_, _, field) => field,
    }
}

/// What a field holds, as text; a field that is not set is the empty string, `false` or `0`.
pub fn value(gvk: &GroupVersionKind, object: &Value, field: &str) -> String {
    match (gvk.kind.as_ref(), field) {
        // Upstream keeps these under other names than the objects do.
        ("Job", "status.successful") => return text(&object["status"]["succeeded"], "0"),
        ("Event", "source") => {
            let component = event_field(object, "source.component");
            return if component.is_empty() {
                event_field(object, "reportingComponent")
            } else {
                component
            };
        }
        ("Event", field) if !field.starts_with("metadata.") => return event_field(object, field),
        ("Pod", "status.podIPs") => return text(&object["status"]["podIPs"][0]["ip"], ""),
        _ => {}
    }
    let zero = match field {
        "spec.hostNetwork" | "spec.unschedulable" => "false",
        "status.replicas" => "0",
        _ => "",
    };
    text(at(object, field), zero)
}

/// An event's field under either group's name for it.
fn event_field(object: &Value, field: &str) -> String {
    let other = match field.split_once('.') {
        Some(("involvedObject", rest)) => format!("regarding.{rest}"),
        Some(("source", rest)) => format!("deprecatedSource.{rest}"),
        _ if field == "reportingComponent" => "reportingController".to_owned(),
        _ => field.to_owned(),
    };
    match at(object, field) {
        Value::Null => text(at(object, &other), ""),
        found => text(found, ""),
    }
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |value, name| &value[name])
}

fn text(value: &Value, zero: &str) -> String {
    match value {
        Value::Null => zero.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
