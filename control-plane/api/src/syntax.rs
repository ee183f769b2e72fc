//! Syntax of names and labels, with upstream's messages. An empty list means that the text is well-formed.

/// Longest label of a DNS name, and longest label value.
pub const LABEL_LENGTH: usize = 63;
/// Longest DNS name.
pub const SUBDOMAIN_LENGTH: usize = 253;

/// `my-name`
pub fn dns_label(text: &str) -> Vec<String> {
    let mut errors = too_long(text, LABEL_LENGTH);
    if !is_dns_label(text) {
        errors.push(if is_dns_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            pattern(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
                &["my-name", "123-abc"],
            )
        });
    }
    errors
}

/// `example.com`
pub fn dns_subdomain(text: &str) -> Vec<String> {
    let mut errors = too_long(text, SUBDOMAIN_LENGTH);
    if !is_dns_subdomain(text) {
        errors.push(pattern(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    errors
}

/// `my-name`, not beginning with a digit
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let mut errors = too_long(text, LABEL_LENGTH);
    if !is_dns_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        errors.push(pattern(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// `*.example.com`
pub fn wildcard_dns_subdomain(text: &str) -> Vec<String> {
    let mut errors = too_long(text, SUBDOMAIN_LENGTH);
    if !text.strip_prefix("*.").is_some_and(is_dns_subdomain) {
        errors.push(pattern(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["*.example.com"],
        ));
    }
    errors
}

/// A key of labels, annotations, taints and extended resources: `example.com/MyName`.
pub fn qualified_name(text: &str) -> Vec<String> {
    let form = |prefix: &str| {
        pattern(
            &format!(
                "{prefix} must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
            ),
            "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
            &["MyName", "my.name", "123-abc"],
        )
    };
    let mut errors = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(
                    dns_subdomain(prefix).into_iter().map(|error| format!("prefix part {error}")),
                );
            }
            *name
        }
        _ => {
            let hint = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![form("a valid label key") + hint];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_LENGTH {
        errors.push(format!("name part must be no more than {LABEL_LENGTH} bytes"));
    }
    if !is_name(name) {
        errors.push(form("name part"));
    }
    errors
}

/// A value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    let mut errors = too_long(text, LABEL_LENGTH);
    if !text.is_empty() && !is_name(text) {
        errors.push(pattern(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A key of a ConfigMap or Secret.
pub fn config_key(text: &str) -> Vec<String> {
    let mut errors = too_long(text, SUBDOMAIN_LENGTH);
    if text.is_empty()
        || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        errors.push(pattern(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." => errors.push("must not be '.'".to_owned()),
        ".." => errors.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => errors.push("must not start with '..'".to_owned()),
        _ => {}
    }
    errors
}

/// The name of a port: `http`.
pub fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 15 {
        errors.push("must be no more than 15 characters".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// The name of an environment variable.
pub fn env_name(text: &str) -> Vec<String> {
    let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=');
    if text.is_empty() || !printable {
        return vec![
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
                .to_owned(),
        ];
    }
    Vec::new()
}

/// The name of a kernel parameter, its segments parted by dots or slashes: `net.ipv4.ip_forward`.
pub fn sysctl_name(text: &str) -> Vec<String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_segment = |segment: &str| {
        let ends = [segment.bytes().next(), segment.bytes().next_back()];
        ends.into_iter().all(|end| end.is_some_and(inner))
            && segment.bytes().all(|byte| inner(byte) || b"-_".contains(&byte))
    };
    if text.len() <= SUBDOMAIN_LENGTH && text.split(['.', '/']).all(is_segment) {
        return Vec::new();
    }
    let segment = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    vec![format!(
        "must have at most {SUBDOMAIN_LENGTH} characters and match regex ^({segment}[\\./])*{segment}$"
    )]
}

/// What may stand in a path of the API: names of RBAC objects, among others.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    let found = ['/', '%'].into_iter().filter(|c| text.contains(*c));
    found.map(|c| format!("may not contain '{c}'")).collect()
}

/// A port number.
pub fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) {
        Vec::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".to_owned()]
    }
}

fn is_dns_label(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    edges(text, edge) && text.bytes().all(|byte| edge(byte) || byte == b'-')
}

fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

fn is_name(text: &str) -> bool {
    edges(text, |byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn edges(text: &str, edge: impl Fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(&edge) && text.bytes().last().is_some_and(&edge)
}

fn too_long(text: &str, limit: usize) -> Vec<String> {
    if text.len() > limit {
        vec![format!("must be no more than {limit} bytes")]
    } else {
        Vec::new()
    }
}

/// Upstream's sentence about a regular expression.
fn pattern(what: &str, expression: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    format!(
        "{what} (e.g. {}, regex used for validation is '{expression}')",
        examples.join(",  or ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_name() {
        for text in ["a", "a-b", "123-abc"] {
            assert!(dns_label(text).is_empty(), "{text}");
        }
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert!(dns_label("A")[0].starts_with("a lowercase RFC 1123 label must consist"));
        for text in ["", "-a", "a-", "A", "a_b", "a..b"] {
            assert!(!dns_subdomain(text).is_empty(), "{text}");
        }
        assert!(dns_1035_label("1a").len() == 1 && dns_1035_label("a1").is_empty());
        for text in ["a", "A_b.c", "example.com/Name"] {
            assert!(qualified_name(text).is_empty(), "{text}");
        }
        for text in ["", "/a", "a/", "a/b/c", "Example.com/a", "_a"] {
            assert!(!qualified_name(text).is_empty(), "{text}");
        }
        assert!(label_value("").is_empty() && !label_value("-").is_empty());
        assert_eq!(port_name("80"), ["must contain at least one letter (a-z)"]);
        for text in ["kernel.shm_rmid_forced", "net/ipv4/conf.eth0-1/x", "a"] {
            assert!(sysctl_name(text).is_empty(), "{text}");
        }
        for text in ["", "foo-", "-a", "a..b", "A.b", "kernel.", "safe-and-unsafe bar"] {
            assert!(!sysctl_name(text).is_empty(), "{text}");
        }
    }
}
