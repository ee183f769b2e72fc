//! Selection by fields.

use std::fmt;

use serde_json::Value;

use crate::fields;
use crate::names::GroupVersionKind;

/// All terms must hold; none selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

/// What one field must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// `spec.nodeName`
    pub field: String,
    /// What it is compared with
    pub value: String,
    /// `!=`
    pub negated: bool,
}

impl FieldSelector {
    /// Reads `spec.nodeName=n1,status.phase!=Failed`.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        Ok(Self { terms: parts.map(|part| parse_term(part, text)).collect::<Result<_, _>>()? })
    }

    /// Joined by "and".
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// The value that this field must have, if there is one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.field == field && !term.negated)
            .map(|term| term.value.as_str())
    }

    /// Takes the fields' names to those of the kind, in its version.
    ///
    /// # Errors
    /// Upstream's message, where the kind does not support one.
    pub fn for_kind(mut self, gvk: &GroupVersionKind) -> Result<Self, String> {
        for term in &mut self.terms {
            term.field = fields::resolve(gvk, &term.field)?;
        }
        Ok(self)
    }

    /// Whether this object, in any version of its kind, is selected. The names must be the kind's.
    pub fn matches(&self, gvk: &GroupVersionKind, object: &Value) -> bool {
        self.terms
            .iter()
            .all(|term| (fields::value(gvk, object, &term.field) == term.value) != term.negated)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = if term.negated { "!=" } else { "=" };
            let value = term.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{}{operator}{value}", term.field)?;
        }
        Ok(())
    }
}

/// At commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_term(part: &str, whole: &str) -> Result<FieldTerm, String> {
    let misread = || format!("invalid selector: '{whole}'; can't understand '{part}'");
    let operator = ["!=", "==", "="];
    let found = operator.iter().filter_map(|operator| Some((part.find(operator)?, *operator)));
    let (at, operator) = found
        .min_by_key(|(at, operator)| (*at, usize::MAX - operator.len()))
        .ok_or_else(misread)?;
    Ok(FieldTerm {
        field: part[..at].to_owned(),
        value: unescape(&part[at + operator.len()..])?,
        negated: operator == "!=",
    })
}

fn unescape(text: &str) -> Result<String, String> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => value.push(escaped),
                Some(other) => {
                    return Err(format!(
                        "invalid field selector: invalid escape sequence: \\{other}"
                    ));
                }
                None => {
                    return Err("invalid field selector: invalid escape sequence: \\".to_owned());
                }
            },
            ',' | '=' => {
                return Err(format!("invalid field selector: unescaped character in value: {c}"));
            }
            _ => value.push(c),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selection() {
        let pod = GroupVersionKind::new("", "v1", "Pod");
        let object = json!({
            "metadata": { "name": "a", "namespace": "b" },
            "spec": { "nodeName": "n1" }, "status": { "phase": "Running" },
        });
        let cases = [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name!=a", false),
            ("spec.nodeName=n1", true),
            ("spec.nodeName=", false),
            ("status.phase==Running,metadata.namespace=b", true),
            ("status.podIP=", true),
            ("spec.host=n1", true),
            ("spec.hostNetwork=false", true),
        ];
        for (text, selected) in cases {
            let selector = FieldSelector::parse(text)
                .and_then(|selector| selector.for_kind(&pod))
                .expect(text);
            assert_eq!(selector.matches(&pod, &object), selected, "{text}");
        }
    }

    #[test]
    fn errors_read_like_upstreams() {
        let parse = |text| FieldSelector::parse(text).expect_err(text);
        assert_eq!(parse("a"), "invalid selector: 'a'; can't understand 'a'");
        let pod = GroupVersionKind::new("", "v1", "Pod");
        let resolve =
            |gvk, text| FieldSelector::parse(text).expect(text).for_kind(gvk).expect_err(text);
        assert_eq!(resolve(&pod, "spec.x=1"), "field label not supported: spec.x");
        let map = GroupVersionKind::new("", "v1", "ConfigMap");
        assert_eq!(
            resolve(&map, "data=1"),
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }

    #[test]
    fn values_may_be_escaped() {
        let selector = FieldSelector::parse("a=b\\,c,d=e").expect("escaped");
        assert_eq!(selector.exact("a"), Some("b,c"));
        assert_eq!(selector.to_string(), "a=b\\,c,d=e");
    }
}
