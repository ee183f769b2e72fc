//! Canonical trees to messages. Zero values are left out: upstream's readers, like every reader, take
//! an absent field for its zero value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::codec::canonical::schema_shape;
use crate::go_time;
use crate::schema::{Field, Shape, Type};

use super::wire::{put_bytes, put_double, put_nested, put_number};

/// The message of a canonical tree. What does not fit its shape is left out.
pub fn write_message(object: &Value, ty: &Type) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Value::Object(map) = object {
        put_message(&mut bytes, map, ty);
    }
    bytes
}

fn put_message(to: &mut Vec<u8>, map: &Map<String, Value>, ty: &Type) {
    put_fields(to, map, &ty.wire_order().collect::<Vec<_>>(), 0);
}

/// Fields sorted by wire path; those below one embedded message are neighbours.
fn put_fields(to: &mut Vec<u8>, map: &Map<String, Value>, mut fields: &[&Field], depth: usize) {
    while let Some((field, rest)) = fields.split_first() {
        let Some(outer) = field.embedded.get(depth) else {
            if let Some(value) = map.get(field.name.as_ref()) {
                put_value(to, field.number, value, &field.shape);
            }
            fields = rest;
            continue;
        };
        let end =
            fields.iter().take_while(|other| other.embedded.get(depth) == Some(outer)).count();
        let (inner, rest) = fields.split_at(end);
        if inner.iter().any(|field| map.contains_key(field.name.as_ref())) {
            put_nested(to, *outer, |to| put_fields(to, map, inner, depth + 1));
        }
        fields = rest;
    }
}

fn put_value(to: &mut Vec<u8>, number: u32, value: &Value, shape: &Shape) {
    match (shape, value) {
        (Shape::String, Value::String(text)) => put_bytes(to, number, text.as_bytes()),
        (Shape::Bool, Value::Bool(value)) => put_number(to, number, u64::from(*value)),
        (Shape::Int32 | Shape::Int64, Value::Number(value)) => {
            put_number(to, number, value.as_i64().unwrap_or_default().cast_unsigned());
        }
        (Shape::Double, Value::Number(value)) => {
            put_double(to, number, value.as_f64().unwrap_or_default());
        }
        (Shape::Bytes, Value::String(text)) => {
            put_bytes(to, number, &STANDARD.decode(text).unwrap_or_default());
        }
        (Shape::Quantity, Value::String(text)) => {
            put_nested(to, number, |to| put_bytes(to, 1, text.as_bytes()));
        }
        (Shape::Time | Shape::MicroTime, Value::String(text)) => {
            put_nested(to, number, |to| put_time(to, text));
        }
        (Shape::Duration, Value::String(text)) => {
            let nanos = go_time::parse_duration(text).unwrap_or_default();
            put_nested(to, number, |to| put_number(to, 1, nanos.cast_unsigned()));
        }
        (Shape::IntOrString, Value::Number(value)) => put_nested(to, number, |to| {
            put_number(to, 1, 0);
            put_number(to, 2, value.as_i64().unwrap_or_default().cast_unsigned());
        }),
        (Shape::IntOrString, Value::String(text)) => put_nested(to, number, |to| {
            put_number(to, 1, 1);
            put_bytes(to, 3, text.as_bytes());
        }),
        (Shape::Raw | Shape::Json | Shape::Fields, value) => {
            put_nested(to, number, |to| put_bytes(to, 1, value.to_string().as_bytes()));
        }
        (Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings, value) => {
            put_nested(to, number, |to| put_schema_union(to, value, shape));
        }
        (Shape::Object(ty), Value::Object(map)) => {
            put_nested(to, number, |to| put_message(to, map, ty));
        }
        (Shape::List(inner), Value::Array(list)) => {
            for item in list {
                put_value(to, number, item, inner);
            }
        }
        (Shape::WrappedList(inner), Value::Array(list)) => put_nested(to, number, |to| {
            for item in list {
                put_value(to, 1, item, inner);
            }
        }),
        (Shape::Map(inner), Value::Object(map)) => {
            for (key, value) in map {
                put_nested(to, number, |to| {
                    put_bytes(to, 1, key.as_bytes());
                    put_value(to, 2, value, inner);
                });
            }
        }
        _ => {}
    }
}

fn put_time(to: &mut Vec<u8>, text: &str) {
    if let Ok(time) = go_time::parse_time(text) {
        put_number(to, 1, time.as_second().cast_unsigned());
        if time.subsec_nanosecond() != 0 {
            put_number(to, 2, u64::from(time.subsec_nanosecond().unsigned_abs()));
        }
    }
}

/// The unions of apiextensions: a schema, or what stands in its place.
fn put_schema_union(to: &mut Vec<u8>, value: &Value, shape: &Shape) {
    let schema = schema_shape();
    match (shape, value) {
        (Shape::SchemaOrArray, Value::Array(list)) => {
            list.iter().for_each(|item| put_value(to, 2, item, schema));
        }
        (Shape::SchemaOrStrings, Value::Array(list)) => {
            list.iter().for_each(|item| put_value(to, 2, item, &Shape::String));
        }
        (Shape::SchemaOrBool, Value::Bool(allows)) => put_number(to, 1, u64::from(*allows)),
        (Shape::SchemaOrBool, _) => {
            put_number(to, 1, 1);
            put_value(to, 2, value, schema);
        }
        _ => put_value(to, 1, value, schema),
    }
}
