//! The Secret in kube-system that makes a bootstrap token known, both ways.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::BootstrapToken;

const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";
/// The group that the join bindings name, as kubeadm has it.
const JOIN_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";

/// What a new token may do and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSpec {
    /// The end of its validity; `None` for a token that stays until it is deleted.
    pub expires: Option<SystemTime>,
    /// Who it is for: free text.
    pub description: String,
    /// Groups beyond `system:bootstrappers`, each beginning with `system:bootstrappers:`.
    pub extra_groups: Vec<String>,
}

impl TokenSpec {
    /// A token by which nodes join until `expires`.
    pub fn join(expires: Option<SystemTime>) -> Self {
        Self {
            expires,
            description: "lets nodes join".into(),
            extra_groups: vec![JOIN_GROUP.into()],
        }
    }
}

/// The Secret's name for a token id.
pub fn secret_name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

/// The Secret, in namespace kube-system, that makes `token` known.
pub fn secret_manifest(token: &BootstrapToken, spec: &TokenSpec) -> Value {
    let mut data = BTreeMap::from([
        ("token-id", token.id().to_owned()),
        ("token-secret", token.secret().to_owned()),
        ("usage-bootstrap-authentication", "true".to_owned()),
        ("usage-bootstrap-signing", "true".to_owned()),
    ]);
    if !spec.description.is_empty() {
        data.insert("description", spec.description.clone());
    }
    if !spec.extra_groups.is_empty() {
        data.insert("auth-extra-groups", spec.extra_groups.join(","));
    }
    if let Some(expires) = spec.expires {
        let whole = OffsetDateTime::from(expires).replace_nanosecond(0).expect("0 is a nanosecond");
        let text = whole.format(&Rfc3339).expect("RFC 3339 has every year up to 9999");
        data.insert("expiration", text);
    }
    let data: BTreeMap<_, _> =
        data.into_iter().map(|(key, text)| (key, STANDARD.encode(text))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret_name(token.id()), "namespace": "kube-system"},
        "type": SECRET_TYPE,
        "data": data,
    })
}

/// A token as its Secret tells it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretToken {
    token: BootstrapToken,
    /// The end of its validity.
    pub expires: Option<SystemTime>,
    /// Whether its bearer may authenticate.
    pub authentication: bool,
    /// Free text.
    pub description: String,
    groups: Vec<String>,
}

impl std::fmt::Debug for SecretToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SecretToken").field("token", &self.token).finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SecretObject {
    metadata: Metadata,
    #[serde(rename = "type")]
    kind: String,
    data: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    deletion_timestamp: Option<String>,
}

impl SecretToken {
    /// Reads a Secret as the API shows it. `None` if it is not a usable bootstrap token: of another
    /// type, being deleted, misnamed, or with an unreadable part (upstream ignores those too).
    pub fn from_secret(secret: &Value) -> Option<Self> {
        let secret = SecretObject::deserialize(secret).ok()?;
        if secret.kind != SECRET_TYPE || secret.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let text = |key: &str| -> Option<String> {
            let bytes = STANDARD.decode(secret.data.get(key)?).ok()?;
            String::from_utf8(bytes).ok()
        };
        let token = BootstrapToken::from_parts(&text("token-id")?, &text("token-secret")?).ok()?;
        if secret.metadata.name != secret_name(token.id()) {
            return None;
        }
        let expires = match text("expiration") {
            None => None,
            Some(text) => Some(OffsetDateTime::parse(&text, &Rfc3339).ok()?.into()),
        };
        Some(Self {
            token,
            expires,
            authentication: text("usage-bootstrap-authentication").as_deref() == Some("true"),
            description: text("description").unwrap_or_default(),
            groups: groups(text("auth-extra-groups").as_deref().unwrap_or_default())?,
        })
    }

    /// The token.
    pub fn token(&self) -> &BootstrapToken {
        &self.token
    }

    /// The groups of its bearer, `system:bootstrappers` among them, sorted.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Whether `presented` is this token and may authenticate at `now`.
    pub fn admits(&self, presented: &BootstrapToken, now: SystemTime) -> bool {
        let same = super::equal(self.token.secret().as_bytes(), presented.secret().as_bytes());
        same && self.token.id() == presented.id()
            && self.authentication
            && self.expires.is_none_or(|expires| now < expires)
    }
}

/// Splits `auth-extra-groups`; `None` if one is not `system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]`.
fn groups(extra: &str) -> Option<Vec<String>> {
    let mut all = vec![GROUP.to_owned()];
    for group in extra.split(',').filter(|group| !group.is_empty()) {
        let name = group.strip_prefix(GROUP)?.strip_prefix(':')?;
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = name.len() <= 256
            && name.bytes().all(|b| letter(b) || matches!(b, b':' | b'-'))
            && name.bytes().last().is_some_and(letter);
        if !fits {
            return None;
        }
        all.push(group.to_owned());
    }
    all.sort();
    all.dedup();
    Some(all)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;
    const HOUR: Duration = Duration::from_secs(3600);

    fn token() -> BootstrapToken {
        "abcdef.0123456789abcdef".parse().unwrap()
    }

    #[test]
    fn a_manifest_reads_back() {
        let manifest = secret_manifest(&token(), &TokenSpec::join(Some(NOW + HOUR)));
        assert_eq!(manifest["metadata"]["name"], "bootstrap-token-abcdef");
        let read = SecretToken::from_secret(&manifest).unwrap();
        assert_eq!(read.groups(), [GROUP, JOIN_GROUP]);
        assert_eq!(read.expires, Some(NOW + HOUR));
        assert!(read.admits(&token(), NOW));
        assert!(!read.admits(&token(), NOW + HOUR), "expired");
        assert!(!read.admits(&"abcdef.0123456789abcdee".parse().unwrap(), NOW), "wrong secret");
    }

    #[test]
    fn a_token_without_end_stays() {
        let manifest = secret_manifest(&token(), &TokenSpec::join(None));
        let read = SecretToken::from_secret(&manifest).unwrap();
        assert!(read.admits(&token(), NOW + 100_000 * HOUR));
    }

    #[test]
    fn unusable_secrets_are_no_tokens() {
        let encoded = |text: &str| Value::from(STANDARD.encode(text));
        let cases: [(&str, &str, Value); 7] = [
            ("another type", "/type", "Opaque".into()),
            ("misnamed", "/metadata/name", "bootstrap-token-fedcba".into()),
            (
                "being deleted",
                "/metadata",
                json!({"name": "bootstrap-token-abcdef", "deletionTimestamp": "2026-01-01T00:00:00Z"}),
            ),
            ("broken id", "/data/token-id", encoded("ABC")),
            ("broken expiry", "/data/expiration", encoded("tomorrow")),
            ("foreign group", "/data/auth-extra-groups", encoded("system:masters")),
            ("not base64", "/data/token-secret", "%".into()),
        ];
        for (what, pointer, value) in cases {
            let mut manifest = secret_manifest(&token(), &TokenSpec::join(Some(NOW)));
            *manifest.pointer_mut(pointer).unwrap() = value;
            assert_eq!(SecretToken::from_secret(&manifest), None, "{what}");
        }
        let mut manifest = secret_manifest(&token(), &TokenSpec::join(None));
        manifest["data"]["usage-bootstrap-authentication"] = encoded("no");
        assert!(!SecretToken::from_secret(&manifest).unwrap().admits(&token(), NOW));
    }
}
