//! Who is asking: from a verified client certificate, a bearer token, or nothing.
//!
//! The server's edge takes certificate and headers from a connection and hands them to
//! [`authenticate`]; objects that tokens refer to come through [`Lookup`].

pub mod bearer;
pub mod certificate;
pub mod impersonation;
pub mod user;

use std::time::SystemTime;

pub use bearer::{Bearer, Lookup, StoredObject};
pub use impersonation::Impersonation;
pub use user::UserInfo;

/// Why a request was refused before anyone asked what it wants (401).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither certificate nor token, and anonymous requests are not allowed.
    #[error("no credentials")]
    NoCredentials,
    /// A certificate without a name, or not readable.
    #[error("client certificate: {0}")]
    Certificate(String),
    /// A token that nobody knows, or that is not valid (any more).
    #[error("invalid bearer token: {0}")]
    Token(String),
}

/// What a connection and its request bring along.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The client's certificate (DER), after TLS has verified it against the client authority.
    pub certificate_der: Option<&'a [u8]>,
    /// The value of the `Authorization` header.
    pub authorization: Option<&'a str>,
}

/// Finds out who is asking. A certificate wins over a token, as upstream tries them in this
/// order; a token that is shown must be good, even where anonymous requests are allowed.
pub fn authenticate(
    credentials: Credentials<'_>,
    bearer: &Bearer<'_>,
    anonymous: bool,
    now: SystemTime,
) -> Result<UserInfo, Error> {
    if let Some(der) = credentials.certificate_der {
        return certificate::user(der).map(UserInfo::authenticated);
    }
    if let Some(token) = credentials.authorization.and_then(bearer_token) {
        return bearer.user(token, now).map(UserInfo::authenticated);
    }
    if anonymous { Ok(UserInfo::anonymous()) } else { Err(Error::NoCredentials) }
}

/// The token in an `Authorization` header, if it is a bearer's.
fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_headers_hold_a_token() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic abc", None),
            ("", None),
        ];
        for (header, token) in cases {
            assert_eq!(bearer_token(header), token, "{header:?}");
        }
    }
}
