//! Credentials for registries, from the pod's image pull secrets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use serde_json::Value;
use skep_cri::v1::AuthConfig;

use crate::identity::PodId;
use crate::kubelet::Kubelet;

/// The credentials that fit the container's image, best first. A secret that cannot be read is
/// skipped: the image may be there already, or public.
pub(crate) async fn of(
    kubelet: &Kubelet,
    pod: &Pod,
    id: &PodId,
    container: &Container,
) -> Vec<AuthConfig> {
    let image = container.image.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for reference in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        match kubelet.objects.secret(&id.namespace, &reference.name).await {
            Ok(Some(secret)) => found.extend(credentials(&secret, image)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(secret = reference.name, %error, "cannot read a pull secret");
            }
        }
    }
    found
}

/// The entry of a secret for the image's registry.
fn credentials(secret: &Secret, image: &str) -> Option<AuthConfig> {
    let data = secret.data.as_ref()?;
    let (text, below) = match secret.type_.as_deref() {
        Some("kubernetes.io/dockercfg") => (data.get(".dockercfg")?, false),
        _ => (data.get(".dockerconfigjson")?, true),
    };
    let parsed: Value = serde_json::from_slice(&text.0).ok()?;
    let entries = if below { parsed.get("auths")? } else { &parsed };
    let mut best: Option<(usize, &Value)> = None;
    for (registry, entry) in entries.as_object()? {
        let name = registry.trim_start_matches("https://").trim_start_matches("http://");
        let name = name.trim_end_matches('/').trim_end_matches("/v2").trim_end_matches("/v1");
        let fits = image.strip_prefix(name).is_some_and(|rest| rest.starts_with(['/', ':', '@']));
        let better = best.is_none_or(|(length, _)| name.len() > length);
        if fits && better {
            best = Some((name.len(), entry));
        }
    }
    let (_, entry) = best?;
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if let Some((user, pass)) = decode(&text("auth")) {
        (username, password) = (user, pass);
    }
    Some(AuthConfig {
        username,
        password,
        identity_token: text("identitytoken"),
        ..Default::default()
    })
}

fn decode(auth: &str) -> Option<(String, String)> {
    let plain = String::from_utf8(BASE64_STANDARD.decode(auth).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_longest_registry_wins() {
        let config = json!({"auths": {
            "registry.example": {"auth": BASE64_STANDARD.encode("a:1")},
            "https://registry.example/team/": {"username": "b", "password": "2"}}})
        .to_string();
        let secret: Secret = serde_json::from_value(json!({
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": BASE64_STANDARD.encode(config)}}))
        .unwrap();
        for (image, user) in [
            ("registry.example/web:1", Some("a")),
            ("registry.example/team/web:1", Some("b")),
            ("registry.example.org/web", None),
            ("web", None),
        ] {
            let found = credentials(&secret, image).map(|auth| auth.username);
            assert_eq!(found.as_deref(), user, "{image}");
        }
    }
}
