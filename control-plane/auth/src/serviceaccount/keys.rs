//! The public keys that verify tokens, and the documents that publish them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Error;
use super::jwt::Parts;
use crate::pki;

/// What stands before the 65 bytes of the point in the SubjectPublicKeyInfo of a P-256 key.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The id of a key, as upstream makes it: base64url of the sha256 of its SubjectPublicKeyInfo.
pub(super) fn key_id(point: &[u8]) -> String {
    let digest = Sha256::new().chain_update(SPKI_PREFIX).chain_update(point).finalize();
    URL_SAFE_NO_PAD.encode(digest)
}

#[derive(Clone, Debug)]
struct PublicKey {
    id: String,
    /// Uncompressed: 4, x, y.
    point: [u8; 65],
}

/// The keys of a cluster: the one that signs now, and those that signed before.
#[derive(Clone, Debug)]
pub struct PublicKeys(Vec<PublicKey>);

impl PublicKeys {
    /// Keys from PEM texts (`PUBLIC KEY`, ECDSA P-256).
    pub fn from_pem<T: AsRef<str>>(pems: &[T]) -> Result<Self, Error> {
        let key = |pem: &T| {
            let der =
                pki::block(pem.as_ref(), "PUBLIC KEY").map_err(|e| Error::Key(e.to_string()))?;
            let point =
                der.strip_prefix(&SPKI_PREFIX).and_then(|point| <[u8; 65]>::try_from(point).ok());
            let point = point.ok_or_else(|| Error::Key("not an ECDSA P-256 public key".into()))?;
            Ok(PublicKey { id: key_id(&point), point })
        };
        Ok(Self(pems.iter().map(key).collect::<Result<_, _>>()?))
    }

    /// Whether one of the keys made the signature. A token that names its key is tried with that
    /// one alone.
    pub(super) fn verify(&self, token: &Parts<'_>) -> bool {
        let named = |key: &&PublicKey| token.header.kid.as_ref().is_none_or(|id| *id == key.id);
        token.header.alg == "ES256"
            && self.0.iter().filter(named).any(|key| {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point)
                    .verify(token.signed.as_bytes(), &token.signature)
                    .is_ok()
            })
    }

    /// The document at `/openid/v1/jwks`.
    pub fn jwks(&self) -> Value {
        let key = |key: &PublicKey| {
            let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            json!({
                "use": "sig", "kty": "EC", "kid": key.id, "crv": "P-256", "alg": "ES256",
                "x": coordinate(&key.point[1..33]), "y": coordinate(&key.point[33..]),
            })
        };
        json!({"keys": self.0.iter().map(key).collect::<Vec<_>>()})
    }
}

/// The document at `/.well-known/openid-configuration`; `jwks_uri` is where [`PublicKeys::jwks`]
/// can be fetched by those who verify tokens from outside.
pub fn openid_configuration(issuer: &str, jwks_uri: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::PrivateKey;

    #[test]
    fn the_key_set_holds_every_key_once() {
        let keys = [PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap()];
        let pems: Vec<_> = keys.iter().map(PrivateKey::public_pem).collect();
        let set = PublicKeys::from_pem(&pems).unwrap().jwks();
        let ids: Vec<_> = set["keys"].as_array().unwrap().iter().map(|key| &key["kid"]).collect();
        assert_eq!(ids.len(), 2);
        assert_ne!(ids[0], ids[1]);
        for key in set["keys"].as_array().unwrap() {
            for part in ["x", "y"] {
                let bytes = URL_SAFE_NO_PAD.decode(key[part].as_str().unwrap()).unwrap();
                assert_eq!(bytes.len(), 32);
            }
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let private = PrivateKey::generate().unwrap().to_pem();
        assert!(PublicKeys::from_pem(&[private]).is_err());
    }
}
