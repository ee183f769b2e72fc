//! The user behind a bearer token: a service account or a joining node.

use std::time::{Duration, SystemTime};

use super::user::CREDENTIAL_ID;
use super::{Error, UserInfo};
use crate::serviceaccount::claims::user_name;
use crate::serviceaccount::{self, Binding, Claims, ObjectRef, Verifier};
use crate::token::{BootstrapToken, SecretToken};

/// An object is dead this long after its deletion was asked for.
const DELETION_LEEWAY: Duration = Duration::from_secs(60);

/// What is known of an object that a token refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredObject {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.deletionTimestamp`.
    pub deleted: Option<SystemTime>,
}

/// How authentication asks about objects. `None` means: there is none.
pub trait Lookup {
    /// A service account.
    fn service_account(&self, namespace: &str, name: &str) -> Option<StoredObject>;
    /// A pod.
    fn pod(&self, namespace: &str, name: &str) -> Option<StoredObject>;
    /// A secret.
    fn secret(&self, namespace: &str, name: &str) -> Option<StoredObject>;
    /// A node.
    fn node(&self, name: &str) -> Option<StoredObject>;
    /// The bootstrap token in the Secret `bootstrap-token-ID` of kube-system.
    fn bootstrap_token(&self, id: &str) -> Option<SecretToken>;
}

/// Turns bearer tokens into users.
pub struct Bearer<'a> {
    /// Checks service-account tokens.
    pub verifier: &'a Verifier,
    /// The audiences of this server.
    pub audiences: &'a [String],
    /// Whether bootstrap tokens are taken.
    pub bootstrap: bool,
    /// The objects that tokens refer to.
    pub objects: &'a dyn Lookup,
}

impl Bearer<'_> {
    /// The bearer of `token`, without the group of all authenticated users.
    pub fn user(&self, token: &str, now: SystemTime) -> Result<UserInfo, Error> {
        if let Ok(token) = token.parse::<BootstrapToken>() {
            let known = self.bootstrap.then(|| self.objects.bootstrap_token(token.id())).flatten();
            return known
                .filter(|known| known.admits(&token, now))
                .map(|known| joining(&known))
                .ok_or_else(|| Error::Token("unknown or expired bootstrap token".into()));
        }
        let claims = self.verifier.verify(token, self.audiences, now).map_err(|e| refuse(&e))?;
        service_account_user(&claims, self.objects, now)
    }
}

fn refuse(error: &serviceaccount::Error) -> Error {
    Error::Token(error.to_string())
}

fn joining(token: &SecretToken) -> UserInfo {
    UserInfo {
        name: token.token().user_name(),
        groups: token.groups().to_vec(),
        ..UserInfo::default()
    }
}

/// The user of verified claims, after making sure that what the token is bound to still lives.
pub fn service_account_user(
    claims: &Claims,
    objects: &dyn Lookup,
    now: SystemTime,
) -> Result<UserInfo, Error> {
    let binding = claims.binding().map_err(|e| refuse(&e))?;
    check_account(&binding, objects, now)?;
    if let Some(secret) = &binding.secret {
        alive(objects.secret(&binding.namespace, &secret.name), secret, now)?;
    }
    if let Some(pod) = &binding.pod {
        alive(objects.pod(&binding.namespace, &pod.name), pod, now)?;
    } else if let Some(node) = &binding.node {
        alive(objects.node(&node.name), node, now)?;
    }
    Ok(user_of(&binding, claims.id.as_deref()))
}

fn check_account(binding: &Binding, objects: &dyn Lookup, now: SystemTime) -> Result<(), Error> {
    let (namespace, claimed) = (&binding.namespace, &binding.service_account);
    let account = objects
        .service_account(namespace, &claimed.name)
        .ok_or_else(|| Error::Token(format!("serviceaccounts {:?} not found", claimed.name)))?;
    if account.uid != claimed.uid {
        let (has, claims) = (&account.uid, &claimed.uid);
        return Err(Error::Token(format!(
            "service account UID ({has}) does not match claim ({claims})"
        )));
    }
    if is_dead(&account, now) {
        return Err(Error::Token(format!(
            "service account {namespace}/{} has been deleted",
            claimed.name
        )));
    }
    Ok(())
}

fn is_dead(object: &StoredObject, now: SystemTime) -> bool {
    object.deleted.is_some_and(|deleted| deleted + DELETION_LEEWAY < now)
}

fn alive(stored: Option<StoredObject>, claimed: &ObjectRef, now: SystemTime) -> Result<(), Error> {
    match stored {
        Some(object) if object.uid == claimed.uid && !is_dead(&object, now) => Ok(()),
        _ => Err(Error::Token("service account token has been invalidated".into())),
    }
}

fn user_of(binding: &Binding, id: Option<&str>) -> UserInfo {
    let namespace = &binding.namespace;
    let mut user = UserInfo {
        name: user_name(namespace, &binding.service_account.name),
        uid: binding.service_account.uid.clone(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ],
        ..UserInfo::default()
    };
    let mut note = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(key.to_owned(), vec![value.to_owned()]);
        }
    };
    if let Some(pod) = &binding.pod {
        note("authentication.kubernetes.io/pod-name", &pod.name);
        note("authentication.kubernetes.io/pod-uid", &pod.uid);
    }
    if let Some(node) = &binding.node {
        note("authentication.kubernetes.io/node-name", &node.name);
        note("authentication.kubernetes.io/node-uid", &node.uid);
    }
    if let Some(id) = id {
        note(CREDENTIAL_ID, &format!("JTI={id}"));
    }
    user
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::pki::PrivateKey;
    use crate::serviceaccount::{Lifetime, PublicKeys, Signer};
    use crate::token::{TokenSpec, secret_manifest};

    #[derive(Clone, Default)]
    struct Objects {
        stored: BTreeMap<&'static str, StoredObject>,
        token: Option<SecretToken>,
    }

    impl Objects {
        fn find(&self, kind: &str, name: &str) -> Option<StoredObject> {
            self.stored.get(format!("{kind}/{name}").as_str()).cloned()
        }
    }

    impl Lookup for Objects {
        fn service_account(&self, _: &str, name: &str) -> Option<StoredObject> {
            self.find("serviceaccount", name)
        }
        fn pod(&self, _: &str, name: &str) -> Option<StoredObject> {
            self.find("pod", name)
        }
        fn secret(&self, _: &str, name: &str) -> Option<StoredObject> {
            self.find("secret", name)
        }
        fn node(&self, name: &str) -> Option<StoredObject> {
            self.find("node", name)
        }
        fn bootstrap_token(&self, id: &str) -> Option<SecretToken> {
            self.token.clone().filter(|token| token.token().id() == id)
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn all() -> Objects {
        let object = |uid: &str| StoredObject { uid: uid.into(), deleted: None };
        let stored = BTreeMap::from([
            ("serviceaccount/web", object("sa")),
            ("pod/web-0", object("pod")),
            ("node/n1", object("node")),
            ("secret/web-token", object("secret")),
        ]);
        Objects { stored, token: None }
    }

    fn claims(pod: bool, node: bool, secret: bool) -> (Verifier, String) {
        let key = PrivateKey::generate().unwrap();
        let binding = Binding {
            namespace: "default".into(),
            service_account: ObjectRef::new("web", "sa"),
            pod: pod.then(|| ObjectRef::new("web-0", "pod")),
            node: node.then(|| ObjectRef::new("n1", "node")),
            secret: secret.then(|| ObjectRef::new("web-token", "secret")),
        };
        let lifetime = Lifetime::requested(3600, false);
        let token =
            Signer::new("us", &key).unwrap().sign(&binding, &["us".into()], lifetime, "7", now());
        (
            Verifier::new(["us".to_owned()], PublicKeys::from_pem(&[key.public_pem()]).unwrap()),
            token,
        )
    }

    fn ask(verifier: &Verifier, objects: &dyn Lookup, token: &str) -> Result<UserInfo, Error> {
        let audiences = ["us".to_owned()];
        Bearer { verifier, audiences: &audiences, bootstrap: true, objects }.user(token, now())
    }

    #[test]
    fn a_pods_token_names_account_pod_and_node() {
        let (verifier, token) = claims(true, true, false);
        let user = ask(&verifier, &all(), &token).unwrap();
        assert_eq!(user.name, "system:serviceaccount:default:web");
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:default"]);
        let extra: Vec<_> = user
            .extra
            .iter()
            .map(|(key, value)| (key.rsplit_once('/').unwrap().1, value[0].as_str()))
            .collect();
        let expected = [
            ("credential-id", "JTI=7"),
            ("node-name", "n1"),
            ("node-uid", "node"),
            ("pod-name", "web-0"),
            ("pod-uid", "pod"),
        ];
        assert_eq!(extra, expected);
    }

    #[test]
    fn a_token_dies_with_what_it_is_bound_to() {
        let gone = "invalid bearer token: service account token has been invalidated";
        let cases = [
            ((true, true, false), "pod/web-0", gone),
            ((false, true, false), "node/n1", gone),
            ((false, false, true), "secret/web-token", gone),
            (
                (false, false, false),
                "serviceaccount/web",
                "invalid bearer token: serviceaccounts \"web\" not found",
            ),
        ];
        for ((pod, node, secret), key, expected) in cases {
            let (verifier, token) = claims(pod, node, secret);
            assert!(ask(&verifier, &all(), &token).is_ok(), "{key}");
            let mut objects = all();
            objects.stored.remove(key);
            assert_eq!(
                ask(&verifier, &objects, &token).unwrap_err().to_string(),
                expected,
                "{key} gone"
            );
            let mut objects = all();
            objects.stored.get_mut(key).unwrap().uid = "another".into();
            assert!(ask(&verifier, &objects, &token).is_err(), "{key} replaced");
            let mut objects = all();
            objects.stored.get_mut(key).unwrap().deleted = Some(now() - 2 * DELETION_LEEWAY);
            assert!(ask(&verifier, &objects, &token).is_err(), "{key} deleted");
            objects.stored.get_mut(key).unwrap().deleted = Some(now());
            assert!(ask(&verifier, &objects, &token).is_ok(), "{key} deleted just now");
        }
    }

    #[test]
    fn the_node_of_a_pods_token_need_not_exist() {
        let (verifier, token) = claims(true, true, false);
        let mut objects = all();
        objects.stored.remove("node/n1");
        assert!(ask(&verifier, &objects, &token).is_ok());
    }

    #[test]
    fn a_bootstrap_token_makes_a_bootstrapper() {
        let token: BootstrapToken = "abcdef.0123456789abcdef".parse().unwrap();
        let manifest = secret_manifest(&token, &TokenSpec::join(None));
        let objects = Objects { token: SecretToken::from_secret(&manifest), ..Objects::default() };
        let (verifier, _) = claims(false, false, false);
        let user = ask(&verifier, &objects, "abcdef.0123456789abcdef").unwrap();
        assert_eq!(user.name, "system:bootstrap:abcdef");
        assert_eq!(
            user.groups,
            ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"]
        );
        for wrong in ["abcdef.0123456789abcdee", "fedcba.0123456789abcdef", "nonsense"] {
            assert!(matches!(ask(&verifier, &objects, wrong), Err(Error::Token(_))), "{wrong}");
        }
    }
}
