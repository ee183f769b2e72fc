//! What is a pod's own: its ordinal, its name, its place in DNS, its claims on storage.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use kube::ResourceExt;

use crate::history::HASH_LABEL;
use crate::pod_writer::from_template;

const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The pod's number in its set, if it is named after the set.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let name = pod.metadata.name.as_deref()?;
    let (parent, ordinal) = name.rsplit_once('-')?;
    if Some(parent) != set.metadata.name.as_deref() {
        return None;
    }
    ordinal.parse().ok().filter(|ordinal| *ordinal >= 0)
}

/// The number of the first pod.
pub(super) fn first_ordinal(set: &StatefulSet) -> i32 {
    set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or_default()
}

/// The revision a pod was made from.
pub(super) fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(HASH_LABEL).map(String::as_str)
}

/// The pod with this number, made from a revision's template.
pub(super) fn new_pod(
    set: &StatefulSet,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let mut pod = from_template(set, template);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(format!("{}-{ordinal}", set.name_any()));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), revision.into());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname.clone_from(&pod.metadata.name);
    spec.subdomain = set.spec.service_name.clone();
    identify(set, &mut pod, ordinal);
    pod
}

/// Gives the pod its labels and its own volumes; what is right already stays.
pub(super) fn identify(set: &StatefulSet, pod: &mut Pod, ordinal: i32) {
    let name = format!("{}-{ordinal}", set.name_any());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_INDEX_LABEL.into(), ordinal.to_string());
    labels.insert(POD_NAME_LABEL.into(), name.clone());
    let templates: Vec<String> = claim_templates(set).map(ResourceExt::name_any).collect();
    let spec = pod.spec.get_or_insert_default();
    let own = |template: &String| Volume {
        name: template.clone(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: format!("{template}-{name}"),
            read_only: Some(false),
        }),
        ..Volume::default()
    };
    let claims = |volume: &Volume| {
        let claim = volume.persistent_volume_claim.as_ref();
        claim.map(|claim| claim.claim_name.clone())
    };
    let volumes = spec.volumes.get_or_insert_default();
    for template in &templates {
        let right = format!("{template}-{name}");
        match volumes.iter_mut().find(|volume| volume.name == *template) {
            Some(volume) if claims(volume) == Some(right) => {}
            Some(volume) => *volume = own(template),
            None => volumes.push(own(template)),
        }
    }
    if volumes.is_empty() {
        spec.volumes = None;
    }
}

fn claim_templates(set: &StatefulSet) -> impl Iterator<Item = &PersistentVolumeClaim> {
    set.spec.volume_claim_templates.iter().flatten()
}

/// The claims the pod needs, each by a template of the set.
pub(super) fn claims_of(set: &StatefulSet, pod: &Pod) -> Vec<PersistentVolumeClaim> {
    let selector = set.spec.selector.match_labels.clone();
    let mut claims: Vec<_> = claim_templates(set).cloned().collect();
    for claim in &mut claims {
        claim.metadata.name = Some(format!("{}-{}", claim.name_any(), pod.name_any()));
        claim.metadata.namespace = set.namespace();
        claim.labels_mut().extend(selector.clone().unwrap_or_default());
        claim.status = None;
    }
    claims
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_its_own_name_and_storage() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "s"},
            "spec": {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]},
        }))
        .unwrap();
        let template = set.spec.template.clone();
        let pod = new_pod(&set, &template, "db-1", 3);
        assert_eq!(pod.metadata.name.as_deref(), Some("db-3"));
        assert_eq!(ordinal(&set, &pod), Some(3));
        assert_eq!(revision_of(&pod), Some("db-1"));
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(
            (spec.hostname.as_deref(), spec.subdomain.as_deref()),
            (Some("db-3"), Some("db"))
        );
        let claim = spec.volumes.as_ref().unwrap()[0].persistent_volume_claim.as_ref().unwrap();
        assert_eq!(claim.claim_name, "data-db-3");
        let claims = claims_of(&set, &pod);
        assert_eq!(claims[0].metadata.name.as_deref(), Some("data-db-3"));
        assert_eq!(claims[0].metadata.labels.as_ref().unwrap()["app"], "db");
        let mut again = pod.clone();
        identify(&set, &mut again, 3);
        assert_eq!(again, pod);
    }

    #[test]
    fn only_the_sets_own_names_have_ordinals() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "db"}, "spec": {"selector": {}, "template": {}},
        }))
        .unwrap();
        for (name, expected) in [
            ("db-0", Some(0)),
            ("db-12", Some(12)),
            ("db", None),
            ("db-x", None),
            ("other-0", None),
        ] {
            let pod = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            assert_eq!(ordinal(&set, &pod), expected, "{name}");
        }
    }
}
