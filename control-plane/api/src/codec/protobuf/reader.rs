//! Messages to canonical trees. The bytes are not trusted: depth is bounded, every length is checked,
//! unknown fields are skipped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use crate::codec::canonical::{keep, schema_shape, zero};
use crate::go_time;
use crate::quantity::Quantity;
use crate::schema::{Field, Shape, Type, Wire};

use super::wire::{Cursor, Value as WireValue, WireError};
use super::{ENVELOPE_MAGIC, unwrap_envelope};

/// Deeper than any schema of upstream's, shallow enough for a thread's stack.
const DEEPEST: usize = 100;

/// Reads a message of this type.
///
/// # Errors
/// [`WireError`]
pub fn read_message(bytes: &[u8], ty: &Type) -> Result<Value, WireError> {
    let mut map = Map::new();
    read_into(&mut map, bytes, ty, &mut Vec::new(), DEEPEST)?;
    Ok(Value::Object(map))
}

/// Reads the fields of a message, or of one embedded in it at `path`, into one object.
fn read_into(
    map: &mut Map<String, Value>,
    bytes: &[u8],
    ty: &Type,
    path: &mut Vec<u32>,
    depth: usize,
) -> Result<(), WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError::TooDeep(DEEPEST))?;
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.next_field()? {
        match ty.wire(path, number) {
            Wire::Field(field) => read_field(map, field, value, depth)?,
            Wire::Embedded => {
                path.push(number);
                read_into(map, value.bytes()?, ty, path, depth)?;
                path.pop();
            }
            Wire::Unknown => {}
        }
    }
    Ok(())
}

fn read_field(
    map: &mut Map<String, Value>,
    field: &Field,
    value: WireValue<'_>,
    depth: usize,
) -> Result<(), WireError> {
    let named = |error| match error {
        WireError::WireType { field: inner, found } if inner.is_empty() => {
            WireError::WireType { field: field.name.to_string(), found }
        }
        WireError::NotJson(_) => WireError::NotJson(field.name.to_string()),
        other => other,
    };
    match &field.shape {
        Shape::List(inner) => {
            let list = map.entry(field.name.as_ref()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                read_element(list, inner, value, depth).map_err(named)?;
            }
        }
        Shape::Map(inner) => {
            let (key, value) =
                read_entry(inner, value.bytes().map_err(named)?, depth).map_err(named)?;
            let entries =
                map.entry(field.name.as_ref()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = entries {
                entries.insert(key, value);
            }
        }
        shape => {
            let value = read_value(shape, value, depth).map_err(named)?;
            if keep(field, &value) {
                map.insert(field.name.to_string(), value);
            }
        }
    }
    Ok(())
}

/// One element of a list, or several packed ones.
fn read_element(
    list: &mut Vec<Value>,
    inner: &Shape,
    value: WireValue<'_>,
    depth: usize,
) -> Result<(), WireError> {
    if let (Shape::Int32 | Shape::Int64 | Shape::Bool, WireValue::Bytes(packed)) = (inner, value) {
        let mut cursor = Cursor::new(packed);
        while !cursor.is_empty() {
            list.push(read_value(inner, WireValue::Varint(cursor.varint()?), depth)?);
        }
        return Ok(());
    }
    list.push(read_value(inner, value, depth)?);
    Ok(())
}

fn read_entry(inner: &Shape, bytes: &[u8], depth: usize) -> Result<(String, Value), WireError> {
    let (mut key, mut entry) = (String::new(), zero(inner));
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.next_field()? {
        match number {
            1 => key = value.text()?.to_owned(),
            2 => entry = read_value(inner, value, depth)?,
            _ => {}
        }
    }
    Ok((key, entry))
}

fn read_value(shape: &Shape, value: WireValue<'_>, depth: usize) -> Result<Value, WireError> {
    Ok(match shape {
        Shape::String => value.text()?.into(),
        Shape::Bool => (value.varint()? != 0).into(),
        // Negative numbers are sign-extended to 64 bits on the wire.
        Shape::Int32 => {
            let number = value.varint()?.cast_signed();
            i32::try_from(number).map_err(|_| WireError::Illegal)?.into()
        }
        Shape::Int64 => value.varint()?.cast_signed().into(),
        Shape::Double => match value {
            WireValue::Fixed64(bits) => {
                Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            other => return Err(other.mismatch("")),
        },
        Shape::Bytes => STANDARD.encode(value.bytes()?).into(),
        Shape::Quantity => read_quantity(single(value, 1)?)?,
        Shape::Time => read_time(value, go_time::format_time)?,
        Shape::MicroTime => read_time(value, go_time::format_micro_time)?,
        Shape::Duration => {
            let nanos = single(value, 1)?.map_or(Ok(0), WireValue::varint)?;
            go_time::format_duration(nanos.cast_signed()).into()
        }
        Shape::IntOrString => read_int_or_string(value)?,
        Shape::Raw | Shape::Json | Shape::Fields => match single(value, 1)? {
            Some(raw) => read_raw(raw.bytes()?)?,
            None => Value::Null,
        },
        Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => {
            read_schema_union(shape, value.bytes()?, depth)?
        }
        Shape::Object(ty) => {
            let mut map = Map::new();
            read_into(&mut map, value.bytes()?, ty, &mut Vec::new(), depth)?;
            Value::Object(map)
        }
        Shape::WrappedList(inner) => {
            let mut list = Vec::new();
            let mut cursor = Cursor::new(value.bytes()?);
            while let Some((number, value)) = cursor.next_field()? {
                if number == 1 {
                    read_element(&mut list, inner, value, depth)?;
                }
            }
            Value::Array(list)
        }
        // Upstream's types hold no list of lists and no map of maps without a message between.
        Shape::List(_) | Shape::Map(_) => return Err(WireError::Illegal),
    })
}

/// The last field of this number in a message.
fn single(value: WireValue<'_>, wanted: u32) -> Result<Option<WireValue<'_>>, WireError> {
    let mut cursor = Cursor::new(value.bytes()?);
    let mut found = None;
    while let Some((number, value)) = cursor.next_field()? {
        if number == wanted {
            found = Some(value);
        }
    }
    Ok(found)
}

fn read_quantity(text: Option<WireValue<'_>>) -> Result<Value, WireError> {
    let quantity = Quantity::parse(text.map_or(Ok("0"), WireValue::text)?);
    quantity.map(|quantity| quantity.to_string().into()).map_err(WireError::Quantity)
}

fn read_time(
    value: WireValue<'_>,
    format: fn(jiff::Timestamp) -> String,
) -> Result<Value, WireError> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    let mut cursor = Cursor::new(value.bytes()?);
    if cursor.is_empty() {
        return Ok(Value::Null);
    }
    while let Some((number, value)) = cursor.next_field()? {
        match number {
            1 => seconds = value.varint()?.cast_signed(),
            2 => {
                nanos =
                    i32::try_from(value.varint()?.cast_signed()).map_err(|_| WireError::Illegal)?;
            }
            _ => {}
        }
    }
    let time = jiff::Timestamp::new(seconds, nanos).map_err(|_| WireError::Illegal)?;
    // Go's zero time: the year 1, which its JSON shows as null.
    Ok(if time.as_second() == GO_ZERO_SECONDS { Value::Null } else { format(time).into() })
}

const GO_ZERO_SECONDS: i64 = -62_135_596_800;

fn read_int_or_string(value: WireValue<'_>) -> Result<Value, WireError> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    let mut cursor = Cursor::new(value.bytes()?);
    while let Some((field, value)) = cursor.next_field()? {
        match field {
            1 => is_text = value.varint()? == 1,
            2 => {
                let read = i32::try_from(value.varint()?.cast_signed());
                number = read.map_err(|_| WireError::Illegal)?;
            }
            3 => text = value.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// JSON, or an object in an envelope of its own.
fn read_raw(bytes: &[u8]) -> Result<Value, WireError> {
    if !bytes.starts_with(ENVELOPE_MAGIC) {
        return serde_json::from_slice(bytes).map_err(|_| WireError::NotJson(String::new()));
    }
    let envelope = unwrap_envelope(bytes)?;
    let version =
        crate::names::GroupVersion::parse(&envelope.api_version).map_err(|_| WireError::Illegal)?;
    let gvk = version.with_kind(envelope.kind);
    let ty = crate::registry::builtin().kind(&gvk).ok_or(WireError::Illegal)?;
    let mut object = read_message(envelope.raw, &ty)?;
    crate::codec::stamp(&mut object, &gvk);
    Ok(object)
}

fn read_schema_union(shape: &Shape, bytes: &[u8], depth: usize) -> Result<Value, WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError::TooDeep(DEEPEST))?;
    let schema = schema_shape();
    let (mut allows, mut single, mut list) = (false, None, Vec::new());
    let mut cursor = Cursor::new(bytes);
    while let Some((number, value)) = cursor.next_field()? {
        match (shape, number) {
            (Shape::SchemaOrBool, 1) => allows = value.varint()? != 0,
            (Shape::SchemaOrBool, 2) | (_, 1) => single = Some(read_value(schema, value, depth)?),
            (Shape::SchemaOrStrings, 2) => list.push(value.text()?.into()),
            (_, 2) => list.push(read_value(schema, value, depth)?),
            _ => {}
        }
    }
    Ok(match (shape, single) {
        (_, Some(schema)) => schema,
        (Shape::SchemaOrBool, None) => allows.into(),
        _ => Value::Array(list),
    })
}
