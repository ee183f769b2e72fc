//! The walk: for every type, which rules its fields have, which hook looks at the whole, and whether
//! anything inside is worth a visit.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::schema::{Presence, Shape, Type, TypeRef, builtin_types};
use crate::status::FieldError;

use super::path::Path;
use super::rules::{self, Rule};
use super::types;

/// Looks at one object of a type as a whole.
pub(super) type Hook = fn(&Map<String, Value>, &mut Path, &mut Vec<FieldError>);

#[derive(Default)]
struct Plan {
    rules: Vec<(&'static str, &'static [Rule])>,
    hook: Option<Hook>,
    reaches: bool,
}

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let mut plans: Vec<Plan> = builtin_types()
        .iter()
        .map(|ty| {
            let short = crate::defaults::short_name(&ty.name);
            let (rules, hook) = (rules::of(&short), types::hook(&short));
            Plan { reaches: hook.is_some() || !rules.is_empty(), rules, hook }
        })
        .collect();
    loop {
        let mut changed = false;
        for (index, ty) in builtin_types().iter().enumerate() {
            let inner = ty.fields.iter().filter_map(|field| element(&field.shape));
            let reaches = inner.into_iter().any(|inner| plans[usize::from(inner)].reaches);
            changed |= reaches && !plans[index].reaches;
            plans[index].reaches |= reaches;
        }
        if !changed {
            return plans;
        }
    }
});

/// Checks an object of a kind, but for its metadata and its status.
pub(super) fn check_kind(
    ty: &TypeRef,
    map: &Map<String, Value>,
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    if let TypeRef::Builtin(index) = ty {
        check(*index, map, &["metadata", "status"], path, errors);
    }
}

fn check(
    index: u16,
    map: &Map<String, Value>,
    skip: &[&str],
    path: &mut Path,
    errors: &mut Vec<FieldError>,
) {
    let plan = &PLANS[usize::from(index)];
    if !plan.reaches {
        return;
    }
    let ty: &'static Type = &builtin_types()[usize::from(index)];
    for (name, rules) in &plan.rules {
        let field =
            ty.field(name).unwrap_or_else(|| panic!("rules name a field {}.{name}", ty.name));
        for rule in *rules {
            rule.check(field, map.get(*name), &path.child(name), errors);
        }
    }
    for field in ty.fields.iter().filter(|field| !skip.contains(&field.name.as_ref())) {
        let Some(inner) = element(&field.shape).filter(|inner| PLANS[usize::from(*inner)].reaches)
        else {
            continue;
        };
        match map.get(field.name.as_ref()) {
            Some(value) => path.within(&field.name, |path| check_value(inner, value, path, errors)),
            None if field.presence == Presence::Always
                && matches!(field.shape, Shape::Object(_)) =>
            {
                path.within(&field.name, |path| check(inner, &Map::new(), &[], path, errors));
            }
            None => {}
        }
    }
    if let Some(hook) = plan.hook {
        hook(map, path, errors);
    }
}

fn check_value(index: u16, value: &Value, path: &mut Path, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => check(index, map, &[], path, errors),
        Value::Array(list) => {
            for (position, item) in list.iter().enumerate() {
                path.at(position, |path| check_value(index, item, path, errors));
            }
        }
        _ => {}
    }
}

/// The type of the objects in a field: maps of objects are not walked, upstream's rules for them are
/// hooks.
fn element(shape: &Shape) -> Option<u16> {
    match shape {
        Shape::Object(TypeRef::Builtin(index)) => Some(*index),
        Shape::List(inner) => element(inner),
        _ => None,
    }
}
