//! What a service-account token says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize};

use super::{Error, Lifetime};

/// An object by name and uid: another object of the same name is another object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectRef {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl ObjectRef {
    /// A reference.
    pub fn new(name: impl Into<String>, uid: impl Into<String>) -> Self {
        Self { name: name.into(), uid: uid.into() }
    }
}

/// Whom a token speaks for and what it dies with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The namespace of service account, pod and secret.
    pub namespace: String,
    /// The service account.
    pub service_account: ObjectRef,
    /// The pod the token is bound to.
    pub pod: Option<ObjectRef>,
    /// With a pod: the node it runs on, for information. Without: what the token is bound to.
    pub node: Option<ObjectRef>,
    /// The secret the token is bound to.
    pub secret: Option<ObjectRef>,
}

/// The claims of a token, as they stand in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom the token is for.
    #[serde(rename = "aud", default, deserialize_with = "one_or_many")]
    pub audiences: Vec<String>,
    #[serde(rename = "exp", default)]
    expires: u64,
    #[serde(rename = "iat", default)]
    issued_at: u64,
    /// Who signed it.
    #[serde(rename = "iss", default)]
    pub issuer: String,
    /// The token's own name: what audit logs and credential ids show.
    #[serde(rename = "jti", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "kubernetes.io", default)]
    private: Private,
    #[serde(rename = "nbf", default)]
    not_before: u64,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    #[serde(rename = "sub", default)]
    pub subject: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Private {
    namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<ObjectRef>,
    serviceaccount: ObjectRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnafter: Option<u64>,
}

/// `aud` is a string or a list of them (RFC 7519, 4.1.3).
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Seconds beyond this year 9999 are cut: no clock reaches it, and adding to it cannot overflow.
fn moment(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799))
}

impl Claims {
    pub(super) fn new(
        issuer: &str,
        binding: &Binding,
        audiences: &[String],
        lifetime: Lifetime,
        id: &str,
        now: SystemTime,
    ) -> Self {
        Self {
            audiences: audiences.to_vec(),
            expires: seconds(now + lifetime.expires),
            issued_at: seconds(now),
            issuer: issuer.to_owned(),
            id: Some(id.to_owned()),
            private: Private {
                namespace: binding.namespace.clone(),
                node: binding.node.clone(),
                pod: binding.pod.clone(),
                secret: binding.secret.clone(),
                serviceaccount: binding.service_account.clone(),
                warnafter: lifetime.warn_after.map(|after| seconds(now + after)),
            },
            not_before: seconds(now),
            subject: user_name(&binding.namespace, &binding.service_account.name),
        }
    }

    /// When the token ends.
    pub fn expires(&self) -> SystemTime {
        moment(self.expires)
    }

    /// When it begins.
    pub fn not_before(&self) -> SystemTime {
        moment(self.not_before)
    }

    /// When it was made.
    pub fn issued_at(&self) -> SystemTime {
        moment(self.issued_at)
    }

    /// From when on its use is suspicious.
    pub fn warn_after(&self) -> Option<SystemTime> {
        self.private.warnafter.filter(|seconds| *seconds != 0).map(moment)
    }

    /// Whom the token speaks for; an error if subject and private claims disagree.
    pub fn binding(&self) -> Result<Binding, Error> {
        let private = self.private.clone();
        if self.subject != user_name(&private.namespace, &private.serviceaccount.name) {
            return Err(Error::Malformed("sub does not match the kubernetes.io claims"));
        }
        Ok(Binding {
            namespace: private.namespace,
            service_account: private.serviceaccount,
            pod: private.pod,
            node: private.node,
            secret: private.secret,
        })
    }
}

/// The user name of a service account.
pub fn user_name(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The namespace and name in a service account's user name.
pub fn split_user_name(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_split_into_what_they_were_made_of() {
        let made = user_name("kube-system", "coredns");
        assert_eq!(split_user_name(&made), Some(("kube-system", "coredns")));
        for other in [
            "",
            "admin",
            "system:serviceaccount:a",
            "system:serviceaccount::b",
            "system:serviceaccount:a:b:c",
        ] {
            assert_eq!(split_user_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_audience_may_be_one_string() {
        let claims: Claims =
            serde_json::from_str(r#"{"aud":"a","exp":18446744073709551615}"#).unwrap();
        assert_eq!(claims.audiences, ["a"]);
        assert!(claims.expires() > SystemTime::now());
    }
}
