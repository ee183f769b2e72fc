//! Lists of a strategic merge patch: items of objects are matched by their merge key, scalars by value; then all
//! are put into the order that the patch asks for, those it does not know staying where they were among the rest.

use serde_json::{Map, Value};

use super::PatchError;
use super::directive::{self, Action};
use super::strategic;
use crate::schema::Shape;

/// How a list merges.
#[derive(Debug)]
pub(super) struct Strategy<'a> {
    /// The field, for messages.
    pub(super) name: &'a str,
    /// What its items are.
    pub(super) item: &'a Shape,
    /// The field that tells items apart; scalars have none.
    pub(super) key: Option<&'a str>,
}

impl Strategy<'_> {
    /// What tells an item from others.
    fn identity<'v>(&self, item: &'v Value) -> Result<&'v Value, PatchError> {
        match (item, self.key) {
            (Value::Object(map), Some(key)) => map.get(key).ok_or_else(|| {
                PatchError::Body(format!("map: {item} does not contain declared merge key: {key}"))
            }),
            (Value::Object(_), None) => Err(PatchError::Body(format!(
                "cannot merge lists without merge key for {}",
                self.name
            ))),
            (scalar, _) => Ok(scalar),
        }
    }

    fn position(&self, items: &[Value], sought: &Value) -> Option<usize> {
        items.iter().position(|item| self.identity(item).is_ok_and(|found| found == sought))
    }
}

/// Removes scalars from the list `field` of `original`.
pub(super) fn remove(
    original: &mut Map<String, Value>,
    field: &str,
    scalars: &Value,
) -> Result<(), PatchError> {
    let Value::Array(scalars) = scalars else {
        return Err(PatchError::Body(format!("$deleteFromPrimitiveList/{field} must be a list")));
    };
    if let Some(Value::Array(items)) = original.get_mut(field) {
        items.retain(|item| !scalars.contains(item));
    }
    Ok(())
}

/// Merges `new` into `old`. `wanted` is the patch's `$setElementOrder`: all items that the patch's author knows.
///
/// # Errors
/// Where an item lacks its key, or the order leaves an item of the patch out.
pub(super) fn merge(
    old: &[Value],
    new: &[Value],
    wanted: Option<&Vec<Value>>,
    strategy: &Strategy,
) -> Result<Vec<Value>, PatchError> {
    let mut merged = old.to_vec();
    let mut placed = Vec::new();
    let mut replacement = false;
    for item in new {
        let action = item.as_object().map_or(Ok(None), directive::action)?;
        match action {
            Some(Action::Delete) => {
                let sought = strategy.identity(item)?;
                merged.retain(|kept| strategy.identity(kept).is_ok_and(|found| found != sought));
            }
            Some(Action::Replace) => replacement = true,
            Some(Action::Merge) => {
                return Err(PatchError::Body(
                    "not support merging list element with $patch: merge".to_owned(),
                ));
            }
            None => placed.push(item),
        }
    }
    if replacement {
        return Ok(placed.into_iter().filter_map(directive::taken).collect());
    }
    for item in &placed {
        let sought = strategy.identity(item)?;
        match (strategy.position(&merged, sought), item) {
            (Some(at), Value::Object(patch)) => {
                let Value::Object(found) = merged[at].take() else {
                    return Err(PatchError::Unfit(format!(
                        "{} has items of mixed types",
                        strategy.name
                    )));
                };
                merged[at] = Value::Object(strategic::objects(found, patch, strategy.item)?);
            }
            (Some(_), _) => {}
            (None, _) => merged.extend(directive::taken(item)),
        }
    }
    let order: Vec<&Value> = match wanted {
        Some(wanted) => {
            let order: Vec<&Value> =
                wanted.iter().map(|item| strategy.identity(item)).collect::<Result<_, _>>()?;
            if let Some(stray) = placed.iter().find_map(|item| {
                strategy.identity(item).ok().filter(|sought| !order.contains(sought))
            }) {
                return Err(PatchError::Body(format!(
                    "$setElementOrder/{} does not name {stray}, which the patch sets",
                    strategy.name
                )));
            }
            order
        }
        None => placed.iter().map(|item| strategy.identity(item)).collect::<Result<_, _>>()?,
    };
    Ok(arrange(merged, &order, old, strategy))
}

/// Items that `order` names come in that order; each of the others keeps its place before those that followed it
/// in `old`.
fn arrange(merged: Vec<Value>, order: &[&Value], old: &[Value], strategy: &Strategy) -> Vec<Value> {
    let rank = |item: &Value| {
        let identity = strategy.identity(item).ok()?;
        order.iter().position(|wanted| *wanted == identity)
    };
    let place = |item: &Value| strategy.position(old, strategy.identity(item).ok()?);
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| rank(item).is_some());
    named.sort_by_key(|item| rank(item));
    others.sort_by_key(|item| place(item));
    let mut arranged = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(name), Some(other)) = (named.peek(), others.peek()) {
        let before = matches!((place(other), place(name)), (Some(a), Some(b)) if a < b);
        arranged.extend(if before { others.next() } else { named.next() });
    }
    arranged.extend(named);
    arranged.extend(others);
    arranged
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::builtin_type;

    /// (name, original, patch, expected), each a Service's or pod's part as one of its kind.
    fn check(kind: &str, cases: &[(&str, Value, Value, Value)]) {
        let shape = Shape::Object(builtin_type(kind).unwrap());
        for (name, original, patch, expected) in cases {
            let merged = strategic::merge(original.clone(), patch, &shape).unwrap();
            assert_eq!(&merged, expected, "{name}");
        }
    }

    #[test]
    fn lists_of_objects_merge_by_key() {
        let a = || json!({"name": "a", "image": "1"});
        let b = || json!({"name": "b", "image": "2"});
        let c = || json!({"name": "c", "image": "3"});
        check(
            "io.k8s.api.core.v1.PodSpec",
            &[
                (
                    "an item of the same key is merged",
                    json!({"containers": [a(), b()]}),
                    json!({"containers": [{"name": "b", "tty": true}]}),
                    json!({"containers": [a(), {"name": "b", "image": "2", "tty": true}]}),
                ),
                (
                    "a new item comes before those the patch does not know",
                    json!({"containers": [a(), b()]}),
                    json!({"containers": [c()]}),
                    json!({"containers": [c(), a(), b()]}),
                ),
                (
                    "an item is deleted by its key",
                    json!({"containers": [a(), b()]}),
                    json!({"containers": [{"$patch": "delete", "name": "a"}]}),
                    json!({"containers": [b()]}),
                ),
                (
                    "a list is replaced",
                    json!({"containers": [a(), b()]}),
                    json!({"containers": [c(), {"$patch": "replace"}]}),
                    json!({"containers": [c()]}),
                ),
                (
                    "an order puts items in their places",
                    json!({"containers": [a(), b()]}),
                    json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
                        "containers": [c()]}),
                    json!({"containers": [b(), c(), a()]}),
                ),
                (
                    "an order alone arranges what is there",
                    json!({"containers": [a(), b()]}),
                    json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
                    json!({"containers": [b(), a()]}),
                ),
                (
                    "a list without a strategy is replaced",
                    json!({"containers": [a()], "tolerations": [{"key": "x"}]}),
                    json!({"tolerations": [{"key": "y"}]}),
                    json!({"containers": [a()], "tolerations": [{"key": "y"}]}),
                ),
                (
                    "retained keys clear the rest of a union",
                    json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
                    json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"],
                        "hostPath": {"path": "/x"}}]}),
                    json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
                ),
            ],
        );
    }

    #[test]
    fn lists_of_scalars_merge_by_value() {
        check(
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
            &[
                (
                    "a scalar is added once",
                    json!({"finalizers": ["a", "b"]}),
                    json!({"finalizers": ["b", "c"]}),
                    json!({"finalizers": ["a", "b", "c"]}),
                ),
                (
                    "scalars are removed",
                    json!({"finalizers": ["a", "b"]}),
                    json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
                    json!({"finalizers": ["b"]}),
                ),
            ],
        );
    }

    #[test]
    fn an_item_without_its_key_is_refused() {
        let shape = Shape::Object(builtin_type("io.k8s.api.core.v1.PodSpec").unwrap());
        let patch = json!({"containers": [{"image": "x"}]});
        let error = strategic::merge(json!({"containers": []}), &patch, &shape).unwrap_err();
        assert!(error.to_string().contains("does not contain declared merge key: name"), "{error}");
    }
}
