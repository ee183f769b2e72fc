//! Config maps, secrets, claims.

use serde_json::{Map, Value};

use crate::status::FieldError;
use crate::syntax;
use crate::validate::path::Path;

use super::text;

/// Data of one config map or secret may hold this many bytes.
const DATA_BYTES: usize = 1024 * 1024;

pub(super) fn config_map(map: &Map<String, Value>, path: &mut Path, errors: &mut Vec<FieldError>) {
    let mut bytes = 0;
    for field in ["data", "binaryData"] {
        bytes += keys(map, field, path, errors);
    }
    if let (Some(Value::Object(data)), Some(Value::Object(binary))) =
        (map.get("data"), map.get("binaryData"))
    {
        for key in data.keys().filter(|key| binary.contains_key(*key)) {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(
                path.child(&format!("data[{key}]")),
                key.as_str(),
                detail,
            ));
        }
    }
    if bytes > DATA_BYTES {
        errors.push(FieldError::too_long("", DATA_BYTES));
    }
}

pub(super) fn secret(map: &Map<String, Value>, path: &mut Path, errors: &mut Vec<FieldError>) {
    if keys(map, "data", path, errors) > DATA_BYTES {
        errors.push(FieldError::too_long(path.child("data"), DATA_BYTES));
    }
    let required: &[&str] = match text(map, "type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    let data = map.get("data").and_then(Value::as_object);
    for key in required.iter().filter(|key| !data.is_some_and(|data| data.contains_key(**key))) {
        errors.push(FieldError::required(path.child(&format!("data[{key}]")), ""));
    }
}

/// Checks the keys and adds up the bytes, of base64 as of text.
fn keys(map: &Map<String, Value>, field: &str, path: &Path, errors: &mut Vec<FieldError>) -> usize {
    let mut bytes = 0;
    for (key, value) in map.get(field).and_then(Value::as_object).into_iter().flatten() {
        let wrong = syntax::config_key(key).into_iter();
        let at = path.child(&format!("{field}[{key}]"));
        errors.extend(wrong.map(|why| FieldError::invalid(at.clone(), key.as_str(), why)));
        bytes += value.as_str().unwrap_or_default().len();
    }
    bytes
}

pub(super) fn persistent_volume_claim_spec(
    spec: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    let storage = spec.get("resources").and_then(|resources| resources["requests"].get("storage"));
    if storage.is_none() {
        errors.push(FieldError::required(path.child("resources[storage]"), ""));
    }
}
