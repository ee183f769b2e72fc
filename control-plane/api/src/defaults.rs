//! Defaulting, as upstream's Go does it: by type, wherever in an object the type stands, the outer before
//! the inner. Most of it is data: defaults of the API description, and the table of what it does not
//! tell. What depends on more than one field is a short hook.

mod apps;
mod batch;
mod cluster;
mod core;
mod table;

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::Object;
use crate::names::GroupVersionKind;
use crate::registry::builtin;
use crate::schema::{Presence, Shape, Type, TypeRef, builtin_types};

/// Fills one object of a type.
type Hook = fn(&mut Map<String, Value>);

/// What defaulting does to objects of one type.
#[derive(Default)]
struct Plan {
    hook: Option<Hook>,
    /// Fields and their values where they are absent
    fields: Vec<(&'static str, Value)>,
    /// Something in the type, or in what it contains, has a default
    reaches: bool,
}

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let mut plans: Vec<Plan> = builtin_types().iter().map(plan).collect();
    spread(&mut plans);
    plans
});

/// Applies the defaults of a kind to an object of it. Canonical before, canonical after; doing it twice
/// changes nothing.
pub fn apply(gvk: &GroupVersionKind, object: &mut Object) {
    if let (Some(TypeRef::Builtin(index)), Value::Object(map)) = (builtin().kind(gvk), object) {
        walk(map, index);
    }
}

fn plan(ty: &'static Type) -> Plan {
    let short = short_name(&ty.name);
    let told =
        ty.fields.iter().filter_map(|field| Some((field.name.as_ref(), field.default.clone()?)));
    let fields: Vec<(&'static str, Value)> = told.chain(table::fields(ty)).collect();
    let hook = core::hook(&short)
        .or_else(|| apps::hook(&short))
        .or_else(|| batch::hook(&short))
        .or_else(|| cluster::hook(&short));
    Plan { reaches: hook.is_some() || !fields.is_empty(), hook, fields }
}

/// `io.k8s.api.core.v1.Pod` is `core.Pod`: what has defaults has them in every version.
pub(crate) fn short_name(name: &str) -> String {
    let parts: Vec<&str> = name.rsplitn(4, '.').collect();
    match parts.as_slice() {
        [name, _version, group, ..] => format!("{group}.{name}"),
        _ => name.to_owned(),
    }
}

/// Marks the types through which defaults are reached.
fn spread(plans: &mut [Plan]) {
    loop {
        let mut changed = false;
        for (index, ty) in builtin_types().iter().enumerate() {
            let inner = ty.fields.iter().filter_map(|field| element(&field.shape));
            let reaches = inner.into_iter().any(|inner| plans[usize::from(inner)].reaches);
            changed |= reaches && !plans[index].reaches;
            plans[index].reaches |= reaches;
        }
        if !changed {
            return;
        }
    }
}

/// The type of objects that a field holds, one or many.
fn element(shape: &Shape) -> Option<u16> {
    match shape {
        Shape::Object(TypeRef::Builtin(index)) => Some(*index),
        Shape::List(inner) | Shape::WrappedList(inner) | Shape::Map(inner) => element(inner),
        _ => None,
    }
}

fn walk(map: &mut Map<String, Value>, index: u16) {
    let plan = &PLANS[usize::from(index)];
    if !plan.reaches {
        return;
    }
    if let Some(hook) = plan.hook {
        hook(map);
    }
    for (name, value) in &plan.fields {
        if !map.contains_key(*name) {
            map.insert((*name).to_owned(), value.clone());
        }
    }
    for field in &builtin_types()[usize::from(index)].fields {
        let Some(inner) = element(&field.shape).filter(|inner| PLANS[usize::from(*inner)].reaches)
        else {
            continue;
        };
        match map.get_mut(field.name.as_ref()) {
            Some(value) => walk_value(value, inner),
            // A struct that is no pointer is there even where nobody wrote it.
            None if field.presence == Presence::Always
                && matches!(field.shape, Shape::Object(_)) =>
            {
                let mut absent = Map::new();
                walk(&mut absent, inner);
                map.insert(field.name.to_string(), Value::Object(absent));
            }
            None => {}
        }
        if field.presence == Presence::Always
            && map.get(field.name.as_ref()).and_then(Value::as_object).is_some_and(Map::is_empty)
        {
            map.remove(field.name.as_ref());
        }
    }
}

fn walk_value(value: &mut Value, index: u16) {
    match value {
        Value::Object(map)
            if builtin_types()[usize::from(index)].fields.is_empty() && map.is_empty() => {}
        Value::Object(map) => walk(map, index),
        Value::Array(list) => list.iter_mut().for_each(|item| walk_value(item, index)),
        _ => {}
    }
}

/// Sets a field that is absent.
fn set(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), value.into());
    }
}

/// The object in a field, made where it is absent.
fn child<'a>(map: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was made an object just above")
}

/// The objects in a list.
fn items<'a>(
    map: &'a mut Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// The text in a field; empty where it is absent.
fn text<'a>(map: &'a Map<String, Value>, name: &str) -> &'a str {
    map.get(name).and_then(Value::as_str).unwrap_or_default()
}
