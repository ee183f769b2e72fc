//! JSON web tokens in compact form with ES256 (RFC 7515, RFC 7518 section 3.4) over ring, which
//! the TLS stack brings along. Nothing else is signed here, and no other algorithm is accepted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use super::keys::key_id;
use crate::pki::PrivateKey;

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Malformed("not base64url"))
}

pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    header: String,
    random: SystemRandom,
}

impl SigningKey {
    pub(super) fn new(key: &PrivateKey) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.to_der(), &random)
                .map_err(|e| Error::Key(format!("not an ECDSA P-256 key: {e}")))?;
        let id = key_id(pair.public_key().as_ref());
        let header = encode(format!(r#"{{"alg":"ES256","kid":"{id}"}}"#).as_bytes());
        Ok(Self { pair, header, random })
    }

    pub(super) fn sign(&self, claims: &[u8]) -> String {
        let signed = format!("{}.{}", self.header, encode(claims));
        let signature = self
            .pair
            .sign(&self.random, signed.as_bytes())
            .expect("signing fails only when the system has no random numbers");
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
}

/// A token taken apart, nothing checked yet.
pub(super) struct Parts<'a> {
    pub(super) header: Header,
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, Error> {
        let (signed, signature) =
            token.rsplit_once('.').ok_or(Error::Malformed("not three parts"))?;
        let (header, payload) =
            signed.split_once('.').ok_or(Error::Malformed("not three parts"))?;
        let header =
            serde_json::from_slice(&decode(header)?).map_err(|_| Error::Malformed("bad header"))?;
        Ok(Self { header, signed, signature: decode(signature)?, payload: decode(payload)? })
    }

    pub(super) fn claims<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.payload).map_err(|_| Error::Malformed("bad claims"))
    }
}
