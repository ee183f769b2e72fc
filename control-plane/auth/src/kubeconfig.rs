//! kubeconfig files: written for people and components, with everything embedded or by file name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::pki::Identity;

/// A kubeconfig file. Fields this module does not know are not kept: it writes such files, and
/// reading them for a client is the client library's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kubeconfig {
    /// Always `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Config`.
    pub kind: String,
    /// Servers by name.
    pub clusters: Vec<NamedCluster>,
    /// Credentials by name.
    pub users: Vec<NamedUser>,
    /// Pairs of both.
    pub contexts: Vec<NamedContext>,
    /// The context that is used unless told otherwise.
    pub current_context: String,
}

/// One entry of `clusters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCluster {
    /// Its name.
    pub name: String,
    /// The server.
    pub cluster: Cluster,
}

/// A server and whom it is trusted by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Cluster {
    /// `https://HOST:PORT`.
    pub server: String,
    /// The authority's certificate: base64 of its PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    /// The authority's certificate: a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
}

/// One entry of `users`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedUser {
    /// Its name.
    pub name: String,
    /// The credentials.
    pub user: User,
}

/// Credentials. Never printed by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct User {
    /// Base64 of the certificate's PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_data: Option<String>,
    /// Base64 of the key's PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_data: Option<String>,
    /// The certificate's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// The key's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl std::fmt::Debug for NamedUser {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("NamedUser").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("User").finish_non_exhaustive()
    }
}

/// One entry of `contexts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedContext {
    /// Its name.
    pub name: String,
    /// What it pairs.
    pub context: Context,
}

/// A cluster, a user, and the namespace commands work in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// A name in `clusters`.
    pub cluster: String,
    /// A name in `users`.
    pub user: String,
    /// The namespace; `default` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Cluster {
    /// A server whose authority is embedded.
    pub fn embedded(server: impl Into<String>, authority_pem: &str) -> Self {
        Self {
            server: server.into(),
            certificate_authority_data: Some(STANDARD.encode(authority_pem)),
            certificate_authority: None,
        }
    }
}

impl User {
    /// An embedded certificate and key.
    pub fn embedded(identity: &Identity) -> Self {
        Self {
            client_certificate_data: Some(STANDARD.encode(&identity.certificate_pem)),
            client_key_data: Some(STANDARD.encode(&identity.key_pem)),
            ..Self::default()
        }
    }

    /// A certificate and a key in files: what a kubelet uses whose certificate rotates.
    pub fn files(certificate: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            client_certificate: Some(certificate.into()),
            client_key: Some(key.into()),
            ..Self::default()
        }
    }

    /// A bearer token.
    pub fn token(token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..Self::default() }
    }
}

impl Kubeconfig {
    /// A file with one context, `USER@CLUSTER`.
    pub fn new(cluster_name: &str, cluster: Cluster, user_name: &str, user: User) -> Self {
        let context = format!("{user_name}@{cluster_name}");
        Self {
            api_version: "v1".into(),
            kind: "Config".into(),
            clusters: vec![NamedCluster { name: cluster_name.into(), cluster }],
            users: vec![NamedUser { name: user_name.into(), user }],
            contexts: vec![NamedContext {
                name: context.clone(),
                context: Context {
                    cluster: cluster_name.into(),
                    user: user_name.into(),
                    namespace: None,
                },
            }],
            current_context: context,
        }
    }

    /// The file's text: JSON laid out for people, which is YAML as well.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings alone always serialize");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_file_reads_back() {
        let identity = Identity { certificate_pem: "CERT".into(), key_pem: "KEY".into() };
        let cluster = Cluster::embedded("https://10.0.0.1:6443", "CA");
        let file = Kubeconfig::new("skep", cluster, "admin", User::embedded(&identity));
        let text = file.to_text();
        assert_eq!(serde_json::from_str::<Kubeconfig>(&text).unwrap(), file);
        assert_eq!(file.current_context, "admin@skep");
        assert!(text.contains(r#""client-certificate-data": "Q0VSVA==""#), "{text}");
        assert!(text.contains(r#""certificate-authority-data": "Q0E=""#), "{text}");
        assert!(!text.contains("token"), "{text}");
    }

    #[test]
    fn credentials_do_not_reach_the_log() {
        let cluster = Cluster::embedded("https://10.0.0.1:6443", "CA");
        let file = Kubeconfig::new("skep", cluster, "n1", User::token("abcdef.0123456789abcdef"));
        assert!(!format!("{file:?}").contains("0123456789abcdef"));
    }
}
