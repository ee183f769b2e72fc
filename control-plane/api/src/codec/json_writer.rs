//! Trees to JSON as upstream writes it: fields in the schema's order, and fields that Go always writes
//! present with their zero value.

use serde_json::{Map, Value};

use crate::schema::{Presence, Shape, Type};

use super::canonical::{schema_props, schema_shape};

/// Appends the JSON form of a tree.
pub fn write(value: &Value, shape: &Shape, to: &mut Vec<u8>) {
    match (shape, value) {
        (Shape::Object(ty), Value::Object(map)) => write_object(map, ty, to),
        (Shape::List(inner) | Shape::WrappedList(inner), Value::Array(list)) => {
            write_list(list, inner, to);
        }
        (Shape::Map(inner), Value::Object(map)) => {
            to.push(b'{');
            let mut first = true;
            for (key, value) in map {
                write_key(key, &mut first, to);
                write(value, inner, to);
            }
            to.push(b'}');
        }
        (
            Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings,
            Value::Object(map),
        ) => {
            write_object(map, schema_props(), to);
        }
        (Shape::SchemaOrArray, Value::Array(list)) => {
            write_list(list, schema_shape(), to);
        }
        _ => write_plain(value, to),
    }
}

fn write_list(list: &[Value], inner: &Shape, to: &mut Vec<u8>) {
    to.push(b'[');
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            to.push(b',');
        }
        write(item, inner, to);
    }
    to.push(b']');
}

fn write_object(map: &Map<String, Value>, ty: &Type, to: &mut Vec<u8>) {
    to.push(b'{');
    let mut first = true;
    let mut written = 0;
    for field in &ty.fields {
        match map.get(field.name.as_ref()) {
            Some(value) => {
                written += 1;
                write_key(&field.name, &mut first, to);
                write(value, &field.shape, to);
            }
            None if matches!(field.presence, Presence::Always | Presence::Nullable) => {
                write_key(&field.name, &mut first, to);
                write_zero(&field.shape, field.presence, to);
            }
            None => {}
        }
    }
    if written < map.len() {
        for (key, value) in map.iter().filter(|(key, _)| ty.field(key).is_none()) {
            write_key(key, &mut first, to);
            write_plain(value, to);
        }
    }
    to.push(b'}');
}

/// What Go writes for a field that was not set.
fn write_zero(shape: &Shape, presence: Presence, to: &mut Vec<u8>) {
    let text: &[u8] = match shape {
        _ if presence == Presence::Nullable => b"null",
        Shape::String => b"\"\"",
        Shape::Bool => b"false",
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => b"0",
        Shape::Quantity => b"\"0\"",
        Shape::Duration => b"\"0s\"",
        Shape::Object(ty) => return write_object(&Map::new(), ty, to),
        _ => b"null",
    };
    to.extend_from_slice(text);
}

fn write_key(key: &str, first: &mut bool, to: &mut Vec<u8>) {
    if !std::mem::take(first) {
        to.push(b',');
    }
    write_plain(key, to);
    to.push(b':');
}

fn write_plain(value: &(impl serde::Serialize + ?Sized), to: &mut Vec<u8>) {
    serde_json::to_writer(to, value).expect("a tree has string keys and a vector takes every byte");
}
