//! Selection by labels.

use std::fmt;

use serde_json::{Map, Value};

use crate::syntax;

use super::parser;

/// All requirements must hold; none selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// Joined by "and"
    pub requirements: Vec<Requirement>,
    nothing: bool,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The label
    pub key: String,
    /// How it is compared
    pub operator: Operator,
    /// With what
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Is one of the values
    In,
    /// Is none of the values, or is not there
    NotIn,
    /// Is there
    Exists,
    /// Is not there
    DoesNotExist,
    /// `=`
    Equals,
    /// `!=`
    NotEquals,
    /// Is a number above the value
    GreaterThan,
    /// Is a number below the value
    LessThan,
}

impl LabelSelector {
    /// Reads `a=b,c in (d,e),!f`.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { requirements: parser::parse(text)?, nothing: false })
    }

    /// Selects no object at all: what an absent metav1.LabelSelector means.
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Reads a metav1.LabelSelector; null selects nothing, `{}` everything.
    ///
    /// # Errors
    /// Upstream's message, where an operator or a label is malformed.
    pub fn from_value(selector: &Value) -> Result<Self, String> {
        let Value::Object(selector) = selector else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in
            selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten()
        {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key, Operator::In, vec![value])?);
        }
        for expression in
            selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten()
        {
            let key = expression["key"].as_str().unwrap_or_default();
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|value| value.as_str().map(str::to_owned)).collect();
            requirements.push(Requirement::new(key, operator, values)?);
        }
        Ok(Self { requirements, nothing: false })
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether this object is selected.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(object["metadata"]["labels"].as_object())
    }
}

impl Requirement {
    /// A requirement, checked.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, String> {
        let mut errors: Vec<String> = syntax::qualified_name(key)
            .into_iter()
            .map(|error| format!("key: Invalid value: {key:?}: {error}"))
            .collect();
        let count = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                Some("for 'in', 'notin' operators, values set can't be empty")
            }
            Operator::Equals | Operator::NotEquals if values.len() != 1 => {
                Some("exact-match compatibility requires one single value")
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                Some("values set must be empty for exists and does not exist")
            }
            Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
                Some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
            Operator::GreaterThan | Operator::LessThan if values[0].parse::<i64>().is_err() => {
                Some("for 'Gt', 'Lt' operators, the value must be an integer")
            }
            _ => None,
        };
        if let Some(count) = count {
            let shown: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
            errors.push(format!("values: Invalid value: [{}]: {count}", shown.join(",")));
        }
        for (index, value) in values.iter().enumerate() {
            errors.extend(
                syntax::label_value(value).into_iter().map(|error| {
                    format!("values[{index}][{key}]: Invalid value: {value:?}: {error}")
                }),
            );
        }
        match errors.as_slice() {
            [] => Ok(Self { key: key.to_owned(), operator, values }),
            [only] => Err(only.clone()),
            _ => Err(format!("[{}]", errors.join(", "))),
        }
    }

    fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key)).and_then(Value::as_str);
        let listed = |value: &str| self.values.iter().any(|known| known == value);
        match self.operator {
            Operator::In | Operator::Equals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value, |a, b| a > b),
            Operator::LessThan => self.compare(value, |a, b| a < b),
        }
    }

    fn compare(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = self.values.first().and_then(|bound| number(bound));
        value.and_then(number).zip(bound).is_some_and(|(value, bound)| holds(value, bound))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        let mut sorted = values.clone();
        sorted.sort();
        let values = sorted.join(",");
        match operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selection() {
        let labels = json!({ "app": "web", "tier": "front", "n": "5" });
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("none!=web", true),
            ("app in (web,db)", true),
            ("app notin (web)", false),
            ("none notin (x)", true),
            ("tier", true),
            ("!tier", false),
            ("!none", true),
            ("n>4", true),
            ("n<5", false),
            ("app>1", false),
            (" app = web , tier ", true),
            ("app=web,tier=back", false),
            ("app in (web,)", true),
            ("app=", false),
        ];
        for (text, selected) in cases {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.matches(labels.as_object()), selected, "{text}");
        }
    }

    #[test]
    fn errors_read_like_upstreams() {
        let cases = [
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            ("a in b", "unable to parse requirement: found 'b', expected: '('"),
            ("a,", "found '', expected: identifier after ','"),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
        ];
        for (text, error) in cases {
            assert_eq!(LabelSelector::parse(text).expect_err(text), error, "{text}");
        }
        assert!(
            LabelSelector::parse("a=-")
                .expect_err("value")
                .contains("values[0][a]: Invalid value: \"-\"")
        );
    }

    #[test]
    fn selectors_of_objects() {
        let labels = json!({ "app": "web" });
        let cases = [
            (json!(null), false),
            (json!({}), true),
            (json!({ "matchLabels": { "app": "web" } }), true),
            (
                json!({ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["web"] }] }),
                false,
            ),
            (json!({ "matchExpressions": [{ "key": "app", "operator": "Exists" }] }), true),
        ];
        for (tree, selected) in cases {
            assert_eq!(
                LabelSelector::from_value(&tree).expect("valid").matches(labels.as_object()),
                selected
            );
        }
    }
}
