//! `Impersonate-*` headers: acting as someone else, for those who may.

use std::collections::BTreeMap;

use super::UserInfo;
use super::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use crate::authz::{Attributes, Resource, Target};
use crate::serviceaccount::claims::split_user_name;

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";

/// Headers that ask for something without naming a user (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "requested impersonation of groups, a uid or extra values without impersonating a user name"
)]
pub struct WithoutUser;

/// Whom a request wants to act as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Reads a request's headers; `None` if none is about impersonation. Names compare without
    /// regard to case.
    pub fn from_headers<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, WithoutUser> {
        let mut wanted = Self::default();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                USER => wanted.user = value.to_owned(),
                UID => wanted.uid = value.to_owned(),
                GROUP => wanted.groups.push(value.to_owned()),
                _ => {
                    if let Some(key) = name.strip_prefix(EXTRA) {
                        wanted.extra.entry(unescape(key)).or_default().push(value.to_owned());
                    }
                }
            }
        }
        if !wanted.user.is_empty() {
            return Ok(Some(wanted));
        }
        if wanted == Self::default() { Ok(None) } else { Err(WithoutUser) }
    }

    /// What the real user must be allowed, each with verb `impersonate`, before
    /// [`Self::into_user`] may be used.
    pub fn required<'a>(&'a self, real: &'a UserInfo) -> Vec<Attributes<'a>> {
        let ask = |resource| Attributes {
            user: real,
            verb: "impersonate",
            target: Target::Resource(resource),
        };
        let person = match split_user_name(&self.user) {
            Some((namespace, name)) => Resource {
                version: "v1",
                resource: "serviceaccounts",
                namespace,
                name,
                ..Resource::default()
            },
            None => Resource {
                version: "v1",
                resource: "users",
                name: &self.user,
                ..Resource::default()
            },
        };
        let mut all = vec![ask(person)];
        let group =
            |name| Resource { version: "v1", resource: "groups", name, ..Resource::default() };
        all.extend(self.groups.iter().map(|name| ask(group(name))));
        let authentication =
            Resource { group: "authentication.k8s.io", version: "v1", ..Resource::default() };
        for (key, values) in &self.extra {
            let extra = Resource { resource: "userextras", subresource: key, ..authentication };
            all.extend(values.iter().map(|name| ask(Resource { name, ..extra })));
        }
        if !self.uid.is_empty() {
            all.push(ask(Resource { resource: "uids", name: &self.uid, ..authentication }));
        }
        all
    }

    /// The user to act as. A service account without named groups gets its own.
    pub fn into_user(self) -> UserInfo {
        let mut groups = self.groups;
        if let (true, Some((namespace, _))) = (groups.is_empty(), split_user_name(&self.user)) {
            groups = vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
            ];
        }
        let everyone = if self.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        let user = UserInfo { name: self.user, uid: self.uid, groups, extra: self.extra };
        if user.is_in(AUTHENTICATED) || user.is_in(UNAUTHENTICATED) {
            return user;
        }
        let mut user = user;
        user.groups.push(everyone.to_owned());
        user
    }
}

/// Decodes `%XX`; a text that is not well-formed stays as it is.
fn unescape(text: &str) -> String {
    let decode = || -> Option<String> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let digit = |b: u8| char::from(b).to_digit(16);
            let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        }
        String::from_utf8(bytes).ok()
    };
    decode().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<Option<Impersonation>, WithoutUser> {
        Impersonation::from_headers(headers.iter().copied())
    }

    #[test]
    fn requests_without_such_headers_are_left_alone() {
        assert_eq!(read(&[("accept", "*/*"), ("x-impersonate-user", "a")]), Ok(None));
        assert_eq!(read(&[("Impersonate-Group", "g")]), Err(WithoutUser));
        assert_eq!(read(&[("Impersonate-Uid", "1")]), Err(WithoutUser));
    }

    #[test]
    fn every_part_must_be_allowed() {
        let headers = [
            ("Impersonate-User", "jane"),
            ("Impersonate-Group", "dev"),
            ("Impersonate-Group", "ops"),
            ("Impersonate-Uid", "u1"),
            ("Impersonate-Extra-Acme.com%2fProject", "x"),
        ];
        let wanted = read(&headers).unwrap().unwrap();
        let real = UserInfo::new("admin", &[]);
        let asked: Vec<_> = wanted
            .required(&real)
            .into_iter()
            .map(|attributes| {
                let Target::Resource(resource) = attributes.target else {
                    panic!("not a resource")
                };
                format!(
                    "{}/{}/{} {}",
                    resource.group, resource.resource, resource.subresource, resource.name
                )
            })
            .collect();
        let expected = [
            "/users/ jane",
            "/groups/ dev",
            "/groups/ ops",
            "authentication.k8s.io/userextras/acme.com/project x",
            "authentication.k8s.io/uids/ u1",
        ];
        assert_eq!(asked, expected);
        let user = wanted.into_user();
        assert_eq!(user.groups, ["dev", "ops", AUTHENTICATED]);
        assert_eq!(user.extra["acme.com/project"], ["x"]);
    }

    #[test]
    fn service_accounts_bring_their_groups() {
        let wanted = read(&[("Impersonate-User", "system:serviceaccount:a:b")]).unwrap().unwrap();
        let real = UserInfo::default();
        let required = wanted.required(&real);
        let Target::Resource(resource) = required[0].target else { panic!("not a resource") };
        assert_eq!(
            (resource.resource, resource.namespace, resource.name),
            ("serviceaccounts", "a", "b")
        );
        drop(required);
        assert_eq!(
            wanted.into_user().groups,
            ["system:serviceaccounts", "system:serviceaccounts:a", AUTHENTICATED]
        );
    }

    #[test]
    fn the_anonymous_user_stays_unauthenticated() {
        let wanted = read(&[("Impersonate-User", ANONYMOUS)]).unwrap().unwrap();
        assert_eq!(wanted.into_user().groups, [UNAUTHENTICATED]);
    }

    #[test]
    fn malformed_escapes_stay() {
        for (text, expected) in [("a%2fb", "a/b"), ("a%2", "a%2"), ("%zz", "%zz"), ("", "")] {
            assert_eq!(unescape(text), expected);
        }
    }
}
