//! Service-account tokens: JWTs signed with ES256 whose claims are upstream's, and the documents
//! by which others verify them.
//!
//! A token whose signature and times are right is only half checked: it also names objects that
//! must still exist. [`crate::authn::bearer`] asks about those.

pub mod claims;
mod jwt;
mod keys;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

pub use claims::{Binding, Claims, ObjectRef};
pub use keys::{PublicKeys, openid_configuration};

use crate::pki::PrivateKey;

/// The name of the issuer unless told otherwise, as kubeadm sets it.
pub const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The lifetime that a pod's projected token asks for by default; the API server may lengthen
/// exactly this one to a year, and only then sets `warnafter`.
pub const DEFAULT_PROJECTED_SECONDS: u64 = 3607;
const EXTENDED: Duration = Duration::from_secs(365 * 24 * 3600);

/// Clocks may differ by this much.
const LEEWAY: Duration = Duration::from_secs(60);

/// Why a token was not accepted, or a key not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key cannot sign ES256.
    #[error("service-account key: {0}")]
    Key(String),
    /// Not three parts of base64url, or no claims of a service account inside.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// Another issuer's token: some other authenticator may know it.
    #[error("the token's issuer {0:?} is not this cluster's")]
    Issuer(String),
    /// None of the cluster's keys signed it.
    #[error("the token's signature is not by a key of this cluster")]
    Signature,
    /// Past `exp`.
    #[error("service account token has expired")]
    Expired,
    /// Before `nbf`.
    #[error("service account token is not valid yet")]
    NotYet,
    /// `iat` in the future.
    #[error("service account token is issued in the future")]
    IssuedInTheFuture,
    /// For someone else.
    #[error("token audiences {token:?} is invalid for the target audiences {target:?}")]
    Audience {
        /// Whom the token is for.
        token: Vec<String>,
        /// Whom it was shown to.
        target: Vec<String>,
    },
}

/// When a token ends, and from when on using it is suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Until `exp`.
    pub expires: Duration,
    /// Until `warnafter`, if that is set.
    pub warn_after: Option<Duration>,
}

impl Lifetime {
    /// The lifetime for a request of `seconds`. With `extend`, a pod's token of exactly
    /// [`DEFAULT_PROJECTED_SECONDS`] lives a year and warns after what was asked for.
    pub fn requested(seconds: u64, extend: bool) -> Self {
        let asked = Duration::from_secs(seconds);
        if extend && seconds == DEFAULT_PROJECTED_SECONDS {
            return Self { expires: EXTENDED, warn_after: Some(asked) };
        }
        Self { expires: asked, warn_after: None }
    }
}

/// Signs tokens of one issuer with one key.
pub struct Signer {
    key: jwt::SigningKey,
    issuer: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Signer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with the cluster's key.
    pub fn new(issuer: impl Into<String>, key: &PrivateKey) -> Result<Self, Error> {
        Ok(Self { key: jwt::SigningKey::new(key)?, issuer: issuer.into() })
    }

    /// The issuer that tokens name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A token for `binding`, valid from `now` on, with `id` as its `jti` (a fresh UUID).
    pub fn sign(
        &self,
        binding: &Binding,
        audiences: &[String],
        lifetime: Lifetime,
        id: &str,
        now: SystemTime,
    ) -> String {
        let claims = Claims::new(&self.issuer, binding, audiences, lifetime, id, now);
        self.key.sign(&serde_json::to_vec(&claims).expect("claims are strings and numbers"))
    }
}

/// Verifies tokens of the cluster's issuers.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: PublicKeys,
    issuers: BTreeSet<String>,
}

impl Verifier {
    /// Accepts tokens that name one of `issuers` and are signed by one of `keys`.
    pub fn new(issuers: impl IntoIterator<Item = String>, keys: PublicKeys) -> Self {
        Self { keys, issuers: issuers.into_iter().collect() }
    }

    /// The keys, as the API server publishes them.
    pub fn keys(&self) -> &PublicKeys {
        &self.keys
    }

    /// Checks issuer, signature, times and audience, in this order. `audiences` are those of the
    /// asking server; the token must be for one of them.
    pub fn verify(
        &self,
        token: &str,
        audiences: &[String],
        now: SystemTime,
    ) -> Result<Claims, Error> {
        let parts = jwt::Parts::split(token)?;
        let claims: Claims = parts.claims()?;
        if !self.issuers.contains(&claims.issuer) {
            return Err(Error::Issuer(claims.issuer));
        }
        if !self.keys.verify(&parts) {
            return Err(Error::Signature);
        }
        if now > claims.expires() + LEEWAY {
            return Err(Error::Expired);
        }
        if now + LEEWAY < claims.not_before() {
            return Err(Error::NotYet);
        }
        if now + LEEWAY < claims.issued_at() {
            return Err(Error::IssuedInTheFuture);
        }
        if !claims.audiences.iter().any(|audience| audiences.contains(audience)) {
            return Err(Error::Audience { token: claims.audiences, target: audiences.to_vec() });
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn binding() -> Binding {
        Binding {
            namespace: "default".into(),
            service_account: ObjectRef::new("web", "sa-uid"),
            pod: Some(ObjectRef::new("web-0", "pod-uid")),
            node: Some(ObjectRef::new("n1", "node-uid")),
            secret: None,
        }
    }

    struct Fixture {
        signer: Signer,
        verifier: Verifier,
    }

    fn fixture() -> Fixture {
        let key = PrivateKey::generate().unwrap();
        let keys = PublicKeys::from_pem(&[key.public_pem()]).unwrap();
        Fixture {
            signer: Signer::new(DEFAULT_ISSUER, &key).unwrap(),
            verifier: Verifier::new([DEFAULT_ISSUER.to_owned()], keys),
        }
    }

    fn audiences() -> Vec<String> {
        vec![DEFAULT_ISSUER.to_owned()]
    }

    fn token(signer: &Signer) -> String {
        signer.sign(&binding(), &audiences(), Lifetime::requested(3600, true), "the-id", now())
    }

    #[test]
    fn the_claims_are_upstreams() {
        use base64::Engine as _;
        let fixture = fixture();
        let lifetime = Lifetime::requested(DEFAULT_PROJECTED_SECONDS, true);
        let text = fixture.signer.sign(&binding(), &audiences(), lifetime, "the-id", now());
        let decode = |part: usize| -> Value {
            let part = text.split('.').nth(part).unwrap();
            let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            serde_json::from_slice(&engine.decode(part).unwrap()).unwrap()
        };
        assert_eq!(decode(0)["alg"], "ES256");
        assert_eq!(
            decode(1),
            json!({
                "iss": DEFAULT_ISSUER, "sub": "system:serviceaccount:default:web", "aud": [DEFAULT_ISSUER],
                "exp": 1_831_536_000, "nbf": 1_800_000_000, "iat": 1_800_000_000, "jti": "the-id",
                "kubernetes.io": {
                    "namespace": "default",
                    "serviceaccount": {"name": "web", "uid": "sa-uid"},
                    "pod": {"name": "web-0", "uid": "pod-uid"},
                    "node": {"name": "n1", "uid": "node-uid"},
                    "warnafter": 1_800_003_607,
                },
            })
        );
    }

    #[test]
    fn a_signed_token_verifies_to_its_binding() {
        let fixture = fixture();
        let claims = fixture.verifier.verify(&token(&fixture.signer), &audiences(), now()).unwrap();
        assert_eq!(claims.binding(), Ok(binding()));
        assert_eq!(claims.id.as_deref(), Some("the-id"));
    }

    #[test]
    fn time_and_audience_are_checked() {
        let fixture = fixture();
        let token = token(&fixture.signer);
        let verify = |audience: &str, now| {
            fixture.verifier.verify(&token, &[audience.to_owned()], now).map(|_| ())
        };
        let second = Duration::from_secs(1);
        assert_eq!(verify(DEFAULT_ISSUER, now() + HOUR + LEEWAY), Ok(()));
        assert_eq!(verify(DEFAULT_ISSUER, now() + HOUR + LEEWAY + second), Err(Error::Expired));
        assert_eq!(verify(DEFAULT_ISSUER, now() - LEEWAY), Ok(()));
        assert_eq!(verify(DEFAULT_ISSUER, now() - LEEWAY - second), Err(Error::NotYet));
        assert_eq!(
            verify("vault", now()).unwrap_err().to_string(),
            format!(
                r#"token audiences ["{DEFAULT_ISSUER}"] is invalid for the target audiences ["vault"]"#
            )
        );
    }

    #[test]
    fn forged_and_foreign_tokens_are_refused() {
        let (ours, theirs) = (fixture(), fixture());
        let good = token(&ours.signer);
        let verify = |token: &str| ours.verifier.verify(token, &audiences(), now()).map(|_| ());
        assert_eq!(verify(&token(&theirs.signer)), Err(Error::Signature));

        let parts: Vec<_> = good.split('.').collect();
        let other = ours.signer.sign(
            &binding(),
            &audiences(),
            Lifetime::requested(7200, false),
            "x",
            now(),
        );
        let swapped = [parts[0], other.split('.').nth(1).unwrap(), parts[2]].join(".");
        assert_eq!(verify(&swapped), Err(Error::Signature));

        let none = jwt::encode(br#"{"alg":"none"}"#);
        assert_eq!(verify(&[none.as_str(), parts[1], ""].join(".")), Err(Error::Signature));

        let key = PrivateKey::generate().unwrap();
        let foreign = token(&Signer::new("https://elsewhere", &key).unwrap());
        assert_eq!(verify(&foreign), Err(Error::Issuer("https://elsewhere".into())));
        for text in ["", "a.b", "a.b.c.d", "a.%.c"] {
            assert!(matches!(verify(text), Err(Error::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn an_old_key_keeps_verifying_beside_a_new_one() {
        let (old, new) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let keys = PublicKeys::from_pem(&[new.public_pem(), old.public_pem()]).unwrap();
        let verifier = Verifier::new([DEFAULT_ISSUER.to_owned()], keys);
        for key in [&old, &new] {
            let token = token(&Signer::new(DEFAULT_ISSUER, key).unwrap());
            assert!(verifier.verify(&token, &audiences(), now()).is_ok());
        }
    }
}
