//! Bootstrap tokens: how a node that has nothing yet joins.
//!
//! A token is `ID.SECRET`. What a person passes to a node is a [`JoinToken`], the same with the
//! authority's fingerprint before it, so that the node can tell the cluster it was meant for.

mod secret;

use std::fmt;
use std::str::FromStr;

pub use secret::{SecretToken, TokenSpec, secret_manifest, secret_name};

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
const FINGERPRINT_LENGTH: usize = 64;

/// Why a text is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Wrong number of parts.
    #[error("a bootstrap token reads ID.SECRET: {0} parts found")]
    Parts(usize),
    /// A join token has another number of parts.
    #[error("a join token reads FINGERPRINT.ID.SECRET: {0} parts found")]
    JoinParts(usize),
    /// A part has the wrong length or characters. The part itself is not repeated: it is secret.
    #[error("the token's {part} must be {length} characters of {alphabet}")]
    Part {
        /// Which part.
        part: &'static str,
        /// How long it must be.
        length: usize,
        /// Of what.
        alphabet: &'static str,
    },
}

/// `ID.SECRET`: six and sixteen characters of `[a-z0-9]`. The id is public, the secret is not.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    id: String,
    secret: String,
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BootstrapToken({}.**)", self.id)
    }
}

/// The token with its secret, as it is sent.
impl fmt::Display for BootstrapToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.id, self.secret)
    }
}

impl FromStr for BootstrapToken {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<_> = text.split('.').collect();
        let &[id, secret] = parts.as_slice() else {
            return Err(ParseError::Parts(parts.len()));
        };
        Self::from_parts(id, secret)
    }
}

impl BootstrapToken {
    /// A random token.
    pub fn generate() -> Self {
        use rand::RngExt as _;
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut random = rand::rng();
        let mut characters = |count| -> String {
            (0..count)
                .map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]))
                .collect()
        };
        Self { id: characters(ID_LENGTH), secret: characters(SECRET_LENGTH) }
    }

    /// A token from its parts.
    pub fn from_parts(id: &str, secret: &str) -> Result<Self, ParseError> {
        let check = |part, text: &str, length| {
            let fits = text.len() == length
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            if fits {
                Ok(text.to_owned())
            } else {
                Err(ParseError::Part { part, length, alphabet: "[a-z0-9]" })
            }
        };
        Ok(Self {
            id: check("id", id, ID_LENGTH)?,
            secret: check("secret", secret, SECRET_LENGTH)?,
        })
    }

    /// The public half.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The secret half.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The user a bearer of this token becomes.
    pub fn user_name(&self) -> String {
        format!("system:bootstrap:{}", self.id)
    }
}

/// `FINGERPRINT.ID.SECRET`: what `skep token create` prints and `skep agent --token` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// sha256 of the authority's DER, lower-case hex.
    pub fingerprint: String,
    /// The bearer token.
    pub token: BootstrapToken,
}

impl fmt::Display for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.fingerprint, self.token)
    }
}

impl FromStr for JoinToken {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<_> = text.trim().split('.').collect();
        let &[fingerprint, id, secret] = parts.as_slice() else {
            return Err(ParseError::JoinParts(parts.len()));
        };
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if fingerprint.len() != FINGERPRINT_LENGTH || !fingerprint.bytes().all(is_hex) {
            let (part, alphabet) = ("fingerprint", "[0-9a-f]");
            return Err(ParseError::Part { part, length: FINGERPRINT_LENGTH, alphabet });
        }
        Ok(Self {
            fingerprint: fingerprint.to_owned(),
            token: BootstrapToken::from_parts(id, secret)?,
        })
    }
}

impl JoinToken {
    /// Whether `certificate_der` is the authority this token was made for.
    pub fn trusts(&self, certificate_der: &[u8]) -> bool {
        equal(crate::pki::fingerprint(certificate_der).as_bytes(), self.fingerprint.as_bytes())
    }
}

/// Compares in a time that depends on the lengths alone.
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .fold(0, |differing, (l, r)| std::hint::black_box(differing | (l ^ r)))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_tokens_read_back() {
        let token = BootstrapToken::generate();
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert_ne!(token, BootstrapToken::generate());
        let join = JoinToken { fingerprint: "0a".repeat(32), token };
        assert_eq!(join.to_string().parse(), Ok(join.clone()));
        assert!(!format!("{join:?}").contains(join.token.secret()));
    }

    #[test]
    fn what_is_no_token_says_which_part() {
        let fingerprint = "ab".repeat(32);
        let cases = [
            (String::new(), "a join token reads FINGERPRINT.ID.SECRET: 1 parts found"),
            (
                "abcdef.0123456789abcdef".into(),
                "a join token reads FINGERPRINT.ID.SECRET: 2 parts found",
            ),
            (
                "xy.abcdef.0123456789abcdef".into(),
                "the token's fingerprint must be 64 characters of [0-9a-f]",
            ),
            (
                format!("{}.abcdef.0123456789abcdef", "AB".repeat(32)),
                "the token's fingerprint must be 64 characters of [0-9a-f]",
            ),
            (
                format!("{fingerprint}.abcde.0123456789abcdef"),
                "the token's id must be 6 characters of [a-z0-9]",
            ),
            (
                format!("{fingerprint}.abcdef.0123456789ABCDEF"),
                "the token's secret must be 16 characters of [a-z0-9]",
            ),
        ];
        for (text, expected) in cases {
            let error = text.parse::<JoinToken>().unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
        assert_eq!("abcdef".parse::<BootstrapToken>(), Err(ParseError::Parts(1)));
    }

    #[test]
    fn a_join_token_knows_its_authority() {
        let join = JoinToken {
            fingerprint: crate::pki::fingerprint(b"der"),
            token: BootstrapToken::generate(),
        };
        assert!(join.trusts(b"der"));
        assert!(!join.trusts(b"red"));
    }

    #[test]
    fn comparison_sees_every_byte() {
        let cases: [(&[u8], &[u8], bool); 5] = [
            (b"", b"", true),
            (b"ab", b"ab", true),
            (b"ab", b"ac", false),
            (b"bb", b"ab", false),
            (b"a", b"ab", false),
        ];
        for (left, right, same) in cases {
            assert_eq!(equal(left, right), same, "{left:?} {right:?}");
        }
    }
}
