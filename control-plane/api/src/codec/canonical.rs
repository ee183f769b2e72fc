//! The canonical form: what upstream's Go types hold after decoding, as a tree. See the crate's first
//! paragraph.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::go_time;
use crate::quantity::Quantity;
use crate::schema::{Field, Presence, Shape, Type, builtin_type};

/// A scalar that does not fit its shape.
pub(super) enum Misfit {
    /// Another JSON type
    Type,
    /// The right type, but no value of the shape
    Value(String),
}

/// A scalar in the form its shape has: quantities canonical, times in UTC, numbers in range.
pub(super) fn scalar(shape: &Shape, value: Value) -> Result<Value, Misfit> {
    let fits = match (shape, &value) {
        (Shape::Raw | Shape::Json | Shape::Fields, _) => true,
        (Shape::Bool | Shape::SchemaOrBool, Value::Bool(_)) => true,
        (Shape::Int32, Value::Number(number)) => {
            number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
        }
        (Shape::Int64, Value::Number(number)) => number.is_i64(),
        (Shape::Double, Value::Number(_)) => true,
        (Shape::IntOrString, Value::Number(number)) => {
            number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
        }
        (Shape::String | Shape::IntOrString, Value::String(_)) => true,
        (Shape::Quantity, Value::Number(number)) => return read_quantity(&number.to_string()),
        (Shape::Quantity, Value::String(text)) => return read_quantity(text.trim()),
        (Shape::Time, Value::String(text)) => return read_time(text, go_time::format_time),
        (Shape::MicroTime, Value::String(text)) => {
            return read_time(text, go_time::format_micro_time);
        }
        (Shape::Duration, Value::String(text)) => {
            let nanos = go_time::parse_duration(text).map_err(Misfit::Value)?;
            return Ok(go_time::format_duration(nanos).into());
        }
        (Shape::Bytes, Value::String(text)) => return read_bytes(text),
        _ => false,
    };
    if fits { Ok(value) } else { Err(Misfit::Type) }
}

fn read_quantity(text: &str) -> Result<Value, Misfit> {
    match Quantity::parse(text) {
        Ok(quantity) => Ok(quantity.to_string().into()),
        Err(message) if text.is_empty() => {
            Err(Misfit::Value(format!("{message}, got empty string")))
        }
        Err(message) => Err(Misfit::Value(message.to_owned())),
    }
}

fn read_time(text: &str, format: fn(jiff::Timestamp) -> String) -> Result<Value, Misfit> {
    go_time::parse_time(text).map(|time| format(time).into()).map_err(Misfit::Value)
}

fn read_bytes(text: &str) -> Result<Value, Misfit> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(&text) {
        Ok(_) => Ok(text.into()),
        Err(
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol { offset: at, .. },
        ) => Err(Misfit::Value(format!("illegal base64 data at input byte {at}"))),
        Err(_) => Err(Misfit::Value(format!("illegal base64 data at input byte {}", text.len()))),
    }
}

/// Whether a field of this value stands in a canonical tree.
pub(super) fn keep(field: &Field, value: &Value) -> bool {
    match field.presence {
        Presence::Optional | Presence::Nullable => !value.is_null(),
        Presence::OmitEmpty | Presence::Always => !is_zero(&field.shape, value),
    }
}

fn is_zero(shape: &Shape, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value && *shape != Shape::Json,
        Value::Number(number) => number.as_f64() == Some(0.0) && *shape != Shape::Json,
        Value::String(text) => text.is_empty() || *shape == Shape::Quantity && text == "0",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => {
            map.is_empty() && !matches!(shape, Shape::Json | Shape::Raw | Shape::Fields)
        }
    }
}

/// What Go makes of a null in a list or a map.
pub(super) fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => "".into(),
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => 0.into(),
        Shape::Quantity => "0".into(),
        Shape::Duration => "0s".into(),
        Shape::Object(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::List(_) | Shape::WrappedList(_) => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}

static SCHEMA: LazyLock<Shape> = LazyLock::new(|| {
    let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    Shape::Object(builtin_type(name).expect("the table holds JSONSchemaProps"))
});

/// The shape behind the unions of apiextensions.
pub(super) fn schema_shape() -> &'static Shape {
    &SCHEMA
}

/// The type of that shape.
pub(super) fn schema_props() -> &'static Type {
    match schema_shape() {
        Shape::Object(ty) => ty,
        _ => unreachable!("the shape is made of a type"),
    }
}

/// Brings a tree that was changed by hand or by a patch into canonical form: unknown fields, nulls and
/// zero values that `omitempty` leaves out go away, scalars take their shape's form.
///
/// # Errors
/// A message that names the field, where a value does not fit its type.
pub fn canonicalize(object: &mut Value, ty: &Type) -> Result<(), String> {
    object_in_place(object, ty, &mut String::new())
}

fn object_in_place(object: &mut Value, ty: &Type, path: &mut String) -> Result<(), String> {
    let Value::Object(map) = object else { return Err(misfit(object, &ty.go_name, path)) };
    let taken = std::mem::take(map);
    for (name, mut value) in taken {
        let Some(field) = ty.field(&name) else {
            if ty.preserve_unknown {
                map.insert(name, value);
            }
            continue;
        };
        if value.is_null() {
            continue;
        }
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&name);
        shape_in_place(&mut value, &field.shape, path)?;
        path.truncate(length);
        if keep(field, &value) {
            map.insert(name, value);
        }
    }
    Ok(())
}

fn shape_in_place(value: &mut Value, shape: &Shape, path: &mut String) -> Result<(), String> {
    match (shape, &mut *value) {
        (Shape::Object(ty), _) => object_in_place(value, ty, path),
        (Shape::List(inner) | Shape::WrappedList(inner), Value::Array(list)) => {
            list.iter_mut().try_for_each(|item| element_in_place(item, inner, path))
        }
        (Shape::Map(inner), Value::Object(map)) => {
            map.values_mut().try_for_each(|item| element_in_place(item, inner, path))
        }
        (Shape::SchemaOrArray, Value::Array(list)) => {
            list.iter_mut().try_for_each(|item| object_in_place(item, schema_props(), path))
        }
        (Shape::SchemaOrStrings, Value::Array(_)) => Ok(()),
        (Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings, Value::Object(_)) => {
            object_in_place(value, schema_props(), path)
        }
        (Shape::Raw | Shape::Json | Shape::Fields, _) => Ok(()),
        _ => match scalar(shape, value.take()) {
            Ok(canonical) => {
                *value = canonical;
                Ok(())
            }
            Err(Misfit::Type) => Err(misfit(value, &shape.go_name(), path)),
            Err(Misfit::Value(message)) => Err(format!("{path}: {message}")),
        },
    }
}

fn element_in_place(value: &mut Value, shape: &Shape, path: &mut String) -> Result<(), String> {
    if value.is_null() {
        *value = zero(shape);
        return Ok(());
    }
    shape_in_place(value, shape, path)
}

fn misfit(value: &Value, go_type: &str, path: &str) -> String {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {kind} into Go struct field .{path} of type {go_type}")
}
