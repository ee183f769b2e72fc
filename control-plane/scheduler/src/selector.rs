//! Label and node selectors, read once and matched often.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// One requirement on a label or field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
    /// An operator that does not exist: matches nothing.
    Never,
}

impl Requirement {
    fn new(key: &str, operator: &str, values: Option<&[String]>) -> Self {
        let set = || values.unwrap_or_default().iter().cloned().collect();
        let number = || values.and_then(|values| values.first()?.parse().ok());
        let test = match operator {
            "In" => Test::In(set()),
            "NotIn" => Test::NotIn(set()),
            "Exists" => Test::Exists,
            "DoesNotExist" => Test::Absent,
            "Gt" => number().map_or(Test::Never, Test::Greater),
            "Lt" => number().map_or(Test::Never, Test::Less),
            _ => Test::Never,
        };
        Self { key: key.to_owned(), test }
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(limit) => number().is_some_and(|number| number > *limit),
            Test::Less(limit) => number().is_some_and(|number| number < *limit),
            Test::Never => false,
        }
    }
}

/// A selector of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// None: an absent selector, which matches nothing.
    requirements: Option<Vec<Requirement>>,
}

impl Selector {
    /// Reads a selector. An absent one matches nothing, an empty one everything.
    pub fn new(selector: Option<&LabelSelector>) -> Self {
        let requirements = selector.map(|selector| {
            let mut all = equalities(selector.match_labels.as_ref());
            all.extend(selector.match_expressions.iter().flatten().map(|requirement| {
                Requirement::new(
                    &requirement.key,
                    &requirement.operator,
                    requirement.values.as_deref(),
                )
            }));
            all
        });
        Self { requirements }
    }

    /// A selector for exactly these labels.
    pub fn of_labels(labels: &Labels) -> Self {
        Self { requirements: Some(equalities(Some(labels))) }
    }

    /// Whether the selector asks for nothing, and so matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// Both selectors at once.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.requirements = match (self.requirements, &other.requirements) {
            (Some(mut own), Some(others)) => {
                own.extend(others.iter().cloned());
                Some(own)
            }
            _ => None,
        };
        self
    }

    /// Whether labels satisfy every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = |key: &String| labels.get(key).map(String::as_str);
        self.requirements
            .as_ref()
            .is_some_and(|all| all.iter().all(|one| one.matches(value(&one.key))))
    }
}

fn equalities(labels: Option<&Labels>) -> Vec<Requirement> {
    let one = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        test: Test::In(BTreeSet::from([value.clone()])),
    };
    labels.into_iter().flatten().map(one).collect()
}

/// One term of a node selector: all its requirements at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTerm {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

impl NodeTerm {
    /// Reads a term. One without any requirement matches no node.
    pub fn new(term: &NodeSelectorTerm) -> Self {
        let read = |list: &Option<Vec<NodeSelectorRequirement>>| {
            list.iter()
                .flatten()
                .map(|r| Requirement::new(&r.key, &r.operator, r.values.as_deref()))
                .collect()
        };
        Self { labels: read(&term.match_expressions), fields: read(&term.match_fields) }
    }

    /// Whether a node of this name and these labels matches.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        let value = |key: &String| labels.get(key).map(String::as_str);
        let field = |key: &String| (key == "metadata.name").then_some(name);
        !(self.labels.is_empty() && self.fields.is_empty())
            && self.labels.iter().all(|one| one.matches(value(&one.key)))
            && self.fields.iter().all(|one| one.matches(field(&one.key)))
    }

    /// The nodes the term pins by name, if it does.
    fn names(&self) -> Option<BTreeSet<String>> {
        let pins = self.fields.iter().filter_map(|one| match &one.test {
            Test::In(names) if one.key == "metadata.name" => Some(names.clone()),
            _ => None,
        });
        pins.reduce(|a, b| a.intersection(&b).cloned().collect())
    }
}

/// What a pod requires of its node: `nodeSelector` and required node affinity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRequirements {
    selector: Labels,
    terms: Option<Vec<NodeTerm>>,
}

impl NodeRequirements {
    /// Reads both parts.
    pub fn new(selector: Option<&Labels>, affinity: Option<&NodeSelector>) -> Self {
        let terms = affinity
            .map(|affinity| affinity.node_selector_terms.iter().map(NodeTerm::new).collect());
        Self { selector: selector.cloned().unwrap_or_default(), terms }
    }

    /// Whether any node will do.
    pub fn is_empty(&self) -> bool {
        self.selector.is_empty() && self.terms.is_none()
    }

    /// Whether a node of this name and these labels will do.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self
                .terms
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }

    /// The only nodes that can do, if every term pins some by name.
    pub fn names(&self) -> Option<BTreeSet<String>> {
        let terms = self.terms.as_ref().filter(|terms| !terms.is_empty())?;
        let each = terms.iter().map(NodeTerm::names).collect::<Option<Vec<_>>>()?;
        Some(each.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn labels(value: Value) -> Labels {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn label_selectors_match_as_the_api_says() {
        let labels = labels(json!({"app": "web", "tier": "front"}));
        let cases = [
            (json!(null), false),
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "web", "zone": "a"}}), false),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}),
                true,
            ),
            (json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "zone", "operator": "Maybe"}]}), false),
        ];
        for (selector, expected) in cases {
            let parsed: Option<LabelSelector> = serde_json::from_value(selector.clone()).unwrap();
            assert_eq!(Selector::new(parsed.as_ref()).matches(&labels), expected, "{selector}");
        }
    }

    #[test]
    fn node_requirements_match_labels_numbers_and_names() {
        let node = labels(json!({"zone": "a", "cores": "8"}));
        let term = |expressions: Value, fields: Value| json!({"nodeSelectorTerms": [{"matchExpressions": expressions, "matchFields": fields}]});
        let named = |names: Value| {
            term(json!([]), json!([{"key": "metadata.name", "operator": "In", "values": names}]))
        };
        let cases = [
            (json!({}), json!(null), true),
            (json!({"zone": "a"}), json!(null), true),
            (json!({"zone": "b"}), json!(null), false),
            (
                json!({}),
                term(json!([{"key": "cores", "operator": "Gt", "values": ["4"]}]), json!([])),
                true,
            ),
            (
                json!({}),
                term(json!([{"key": "cores", "operator": "Lt", "values": ["8"]}]), json!([])),
                false,
            ),
            (json!({}), term(json!([]), json!([])), false),
            (json!({}), named(json!(["n1"])), true),
            (json!({"zone": "b"}), named(json!(["n1"])), false),
            (json!({}), named(json!(["n2"])), false),
            (json!({}), json!({"nodeSelectorTerms": []}), false),
        ];
        for (selector, affinity, expected) in cases {
            let parsed: Option<NodeSelector> = serde_json::from_value(affinity.clone()).unwrap();
            let requirements =
                NodeRequirements::new(Some(&labels(selector.clone())), parsed.as_ref());
            assert_eq!(requirements.matches("n1", &node), expected, "{selector} {affinity}");
        }
    }

    #[test]
    fn pinned_names_are_known_only_if_every_term_pins() {
        let pin =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]});
        let free = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]});
        let cases =
            [(json!([pin]), Some(vec!["n1"])), (json!([pin, free]), None), (json!([]), None)];
        for (terms, expected) in cases {
            let parsed: NodeSelector =
                serde_json::from_value(json!({"nodeSelectorTerms": terms})).unwrap();
            let names = NodeRequirements::new(None, Some(&parsed)).names();
            assert_eq!(
                names.map(|names| names.into_iter().collect()),
                expected.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
            );
        }
    }
}
