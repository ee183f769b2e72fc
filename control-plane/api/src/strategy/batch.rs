//! Hooks of the group batch.

use serde_json::{Value, json};

use crate::Object;

use super::child;

/// A job finds its pods by its uid, unless it says that it does so itself.
pub(super) fn create_job(object: &mut Object) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    // Labels that the job took over from its template remain the same as the template's.
    let labels = &object["metadata"]["labels"];
    let shared = labels.is_object() && *labels == object["spec"]["template"]["metadata"]["labels"];
    let name = object["metadata"]["name"].clone();
    let uid = object["metadata"]["uid"].clone();
    let spec = child(object, "spec");
    let selector = spec.entry("selector").or_insert_with(|| json!({}));
    child(selector, "matchLabels")
        .insert("batch.kubernetes.io/controller-uid".to_owned(), uid.clone());
    let template = spec.entry("template").or_insert_with(|| json!({}));
    child(template, "metadata");
    let labels = child(&mut template["metadata"], "labels");
    let own: [(&str, &Value); 4] = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    for (label, value) in own {
        labels.insert(label.to_owned(), value.clone());
    }
    if shared {
        let labels = Value::Object(labels.clone());
        child(object, "metadata").insert("labels".to_owned(), labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_selects_by_its_uid() {
        let mut job =
            json!({ "metadata": { "name": "a", "uid": "u" }, "spec": { "template": {} } });
        create_job(&mut job);
        assert_eq!(
            job["spec"]["selector"]["matchLabels"],
            json!({ "batch.kubernetes.io/controller-uid": "u" })
        );
        assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "a");
    }
}
