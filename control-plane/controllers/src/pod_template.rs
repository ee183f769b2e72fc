//! Pod templates: telling revisions apart.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The label by which a deployment tells its replica sets apart.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// What names may be made of: no vowels, so that no word is spelt; nothing that looks alike.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Same template, whatever hash label either carries.
pub(crate) fn same(ours: &PodTemplateSpec, theirs: Option<&PodTemplateSpec>) -> bool {
    theirs.is_some_and(|theirs| without_hash(ours) == without_hash(theirs))
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let metadata = template.metadata.get_or_insert_default();
    metadata.creation_timestamp = None;
    if let Some(labels) = &mut metadata.labels {
        labels.remove(HASH_LABEL);
    }
    for map in [&mut metadata.labels, &mut metadata.annotations] {
        if map.as_ref().is_some_and(std::collections::BTreeMap::is_empty) {
            *map = None;
        }
    }
    template
}

/// A short name for the template. How often it collided with another's goes into it.
pub(crate) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let json = serde_json::to_vec(&without_hash(template)).unwrap_or_default();
    let seed = collisions.map(i32::to_le_bytes).unwrap_or_default();
    let mut hash: u32 = 0x811c_9dc5;
    for byte in json.iter().chain(seed.iter().filter(|_| collisions.is_some())) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    let digits = hash.to_string();
    digits.bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(image: &str, hash_label: Option<&str>) -> PodTemplateSpec {
        let mut labels = json!({"app": "web"});
        if let Some(label) = hash_label {
            labels[HASH_LABEL] = json!(label);
        }
        serde_json::from_value(json!({
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": image}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_hash_label_makes_no_difference_but_the_image_does() {
        let plain = template("a", None);
        assert!(same(&plain, Some(&template("a", Some("x")))));
        assert!(!same(&plain, Some(&template("b", None))));
        assert!(!same(&plain, None));
        assert_eq!(hash(&plain, None), hash(&template("a", Some("x")), None));
        assert_ne!(hash(&plain, None), hash(&template("b", None), None));
    }

    #[test]
    fn a_collision_gives_another_name() {
        let plain = template("a", None);
        assert_ne!(hash(&plain, None), hash(&plain, Some(1)));
        assert_ne!(hash(&plain, Some(1)), hash(&plain, Some(2)));
        assert!(hash(&plain, None).bytes().all(|byte| ALPHABET.contains(&byte)));
    }
}
