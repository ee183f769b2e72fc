//! Text to canonical trees in one pass: the schema steers a serde deserializer, so JSON and YAML share
//! everything but syntax. Unknown and duplicate fields are collected with upstream's wording; a value of
//! the wrong type ends the reading with the message of Go's JSON package.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::schema::{Shape, Type, TypeRef};

use super::canonical::{self, keep, zero};

/// Upstream reports no more problems than this.
const MOST_PROBLEMS: usize = 100;

/// What a reader returns: a canonical tree, and the unknown and duplicate fields.
type Read = Result<(Value, Vec<String>), String>;

/// Reads JSON as an object of this type.
pub(super) fn read_json(bytes: &[u8], ty: &TypeRef) -> Read {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let context = Context::default();
    let shape = Shape::Object(ty.clone());
    let result =
        Seed { shape: &shape, go_name: None, context: &context }.deserialize(&mut deserializer);
    let result = result.and_then(|value| deserializer.end().map(|()| value));
    context.finish(result.map_err(|error| syntax(&error)))
}

/// Reads YAML as an object of this type.
pub(super) fn read_yaml(bytes: &[u8], ty: &TypeRef) -> Read {
    let context = Context::default();
    let shape = Shape::Object(ty.clone());
    let text = std::str::from_utf8(bytes).map_err(|error| yaml_error(&error))?;
    let seed = Seed { shape: &shape, go_name: None, context: &context };
    let result = serde_saphyr::with_deserializer_from_str_with_options(
        text,
        yaml_options(),
        |deserializer| seed.deserialize(deserializer),
    );
    context.finish(result.map_err(|error| yaml_error(&error)))
}

/// Reads what a YAML document says it is.
pub(super) fn yaml_meta(bytes: &[u8]) -> Result<super::TypeMeta, String> {
    serde_saphyr::from_slice_with_options(bytes, yaml_options()).map_err(|error| yaml_error(&error))
}

/// Keys given twice are reported by the reader, not refused by the parser.
fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! { duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins }
}

fn yaml_error(error: &impl fmt::Display) -> String {
    format!("error converting YAML to JSON: {error}")
}

/// Go's words for what is no JSON, where they are simple.
pub(super) fn syntax(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// Go's words for a body that is JSON, but no object.
pub(super) fn no_object(bytes: &[u8]) -> Option<String> {
    let found = match bytes.trim_ascii_start().first()? {
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "bool",
        b'-' | b'0'..=b'9' => "number",
        _ => return None,
    };
    let target = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    Some(format!("json: cannot unmarshal {found} into Go value of type {target}"))
}

/// Where the reading is, and what it has found.
#[derive(Default)]
struct Context<'a> {
    path: RefCell<Vec<Step<'a>>>,
    /// Go's name of the innermost struct
    holder: Cell<&'a str>,
    problems: RefCell<Vec<String>>,
    failure: Cell<Option<String>>,
}

enum Step<'a> {
    Field(&'a str),
    Key(String),
    Index(usize),
}

impl<'a> Context<'a> {
    fn finish(self, result: Result<Option<Value>, String>) -> Read {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let value = result?.unwrap_or_else(|| Value::Object(Map::new()));
        Ok((value, self.problems.into_inner()))
    }

    /// `spec.containers[0].image`
    fn path(&self) -> String {
        let mut text = String::new();
        for step in self.path.borrow().iter() {
            let name = match step {
                Step::Field(name) => name,
                Step::Key(name) => name.as_str(),
                Step::Index(index) => {
                    write!(text, "[{index}]").expect("writing to a string cannot fail");
                    continue;
                }
            };
            let dot = if text.is_empty() { "" } else { "." };
            text.extend([dot, name]);
        }
        text
    }

    fn problem(&self, what: &str, name: &str) {
        let mut path = self.path();
        if !path.is_empty() {
            path.push('.');
        }
        let text = format!("{what} field \"{path}{name}\"");
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MOST_PROBLEMS && !problems.contains(&text) {
            problems.push(text);
        }
    }

    /// Ends the reading with this message, past whatever the deserializer makes of it.
    fn fail<E: Error>(&self, message: String) -> E {
        let error = E::custom(&message);
        self.failure.set(Some(message));
        error
    }

    fn mismatch<E: Error>(&self, value: &str, go_type: &str) -> E {
        let holder = self.holder.get();
        let names = self.path.borrow();
        let fields: Vec<&str> = names
            .iter()
            .filter_map(|step| if let Step::Field(name) = step { Some(*name) } else { None })
            .collect();
        self.fail(if fields.is_empty() {
            format!("json: cannot unmarshal {value} into Go value of type {go_type}")
        } else {
            let path = fields.join(".");
            format!("json: cannot unmarshal {value} into Go struct field {holder}.{path} of type {go_type}")
        })
    }

    fn within<T>(&self, step: Step<'a>, read: impl FnOnce() -> T) -> T {
        self.path.borrow_mut().push(step);
        let result = read();
        self.path.borrow_mut().pop();
        result
    }
}

/// Reads one value of a shape; `None` stands for null.
#[derive(Clone, Copy)]
struct Seed<'a, 'c> {
    shape: &'a Shape,
    /// Go's name of the scalar inside, where the shape does not tell it
    go_name: Option<&'a str>,
    context: &'c Context<'a>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Seed<'a, '_> {
    fn mismatch<E: Error>(&self, value: &str) -> E {
        let name = self.shape.go_name();
        self.context.mismatch(
            value,
            &match self.go_name {
                Some(scalar) => name.replace("string", scalar),
                None => name,
            },
        )
    }

    fn scalar<E: Error>(
        &self,
        value: Value,
        kind: impl FnOnce() -> String,
    ) -> Result<Option<Value>, E> {
        match canonical::scalar(self.shape, value) {
            Ok(value) => Ok(Some(value)),
            Err(canonical::Misfit::Type) => Err(self.mismatch(&kind())),
            Err(canonical::Misfit::Value(message)) => Err(self.context.fail(message)),
        }
    }

    /// Go shows a number that does not fit a numeric type, and no other.
    fn number(&self, value: impl fmt::Display) -> String {
        match self.shape {
            Shape::Int32 | Shape::Int64 | Shape::IntOrString => format!("number {value}"),
            _ => "number".to_owned(),
        }
    }

    fn object<'de, A: MapAccess<'de>>(&self, ty: &'a Type, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let mut seen: Vec<&str> = Vec::new();
        let outer = self.context.holder.replace(short_name(&ty.go_name));
        while let Some(name) = map.next_key::<String>()? {
            let Some(field) = ty.field(&name) else {
                if ty.preserve_unknown {
                    object.insert(name, map.next_value::<Value>()?);
                } else {
                    self.context.problem("unknown", &name);
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
                continue;
            };
            if seen.contains(&field.name.as_ref()) {
                self.context.problem("duplicate", &name);
            }
            seen.push(&field.name);
            let seed = Seed {
                shape: &field.shape,
                go_name: field.go_name.as_deref(),
                context: self.context,
            };
            let value =
                self.context.within(Step::Field(&field.name), || map.next_value_seed(seed))?;
            match value.filter(|value| keep(field, value)) {
                Some(value) => object.insert(name, value),
                None => object.remove(&name),
            };
        }
        self.context.holder.replace(outer);
        Ok(Value::Object(object))
    }

    fn map<'de, A: MapAccess<'de>>(&self, inner: &'a Shape, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                self.context.problem("duplicate", &key);
            }
            let seed = Seed { shape: inner, go_name: self.go_name, context: self.context };
            let value =
                self.context.within(Step::Key(key.clone()), || map.next_value_seed(seed))?;
            object.insert(key, value.unwrap_or_else(|| zero(inner)));
        }
        Ok(Value::Object(object))
    }

    fn list<'de, A: SeqAccess<'de>>(
        &self,
        inner: &'a Shape,
        mut items: A,
    ) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let seed = Seed { shape: inner, go_name: self.go_name, context: self.context };
        while let Some(value) =
            self.context.within(Step::Index(list.len()), || items.next_element_seed(seed))?
        {
            list.push(value.unwrap_or_else(|| zero(inner)));
        }
        Ok(Value::Array(list))
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of type {}", self.shape.go_name())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        self.scalar(Value::Bool(value), || "bool".to_owned())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.scalar(value.into(), || self.number(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.scalar(value.into(), || self.number(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        let tree = Number::from_f64(value).map_or(Value::Null, Value::Number);
        self.scalar(tree, || self.number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Self::Value, E> {
        self.scalar(Value::String(value), || "string".to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        let list = match self.shape {
            Shape::List(inner) | Shape::WrappedList(inner) => self.list(inner, items),
            Shape::SchemaOrArray => self.list(canonical::schema_shape(), items),
            Shape::SchemaOrStrings => self.list(&Shape::String, items),
            Shape::Json => self.list(&Shape::Json, items),
            _ => Err(self.mismatch("array")),
        };
        list.map(Some)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let object = match self.shape {
            Shape::Object(ty) => self.object(ty, map),
            Shape::Map(inner) => self.map(inner, map),
            Shape::SchemaOrArray | Shape::SchemaOrBool | Shape::SchemaOrStrings => {
                self.object(canonical::schema_props(), map)
            }
            Shape::Raw | Shape::Json | Shape::Fields => {
                let value = serde::de::value::MapAccessDeserializer::new(map);
                return serde::Deserialize::deserialize(value).map(Some);
            }
            _ => Err(self.mismatch("object")),
        };
        object.map(Some)
    }
}

/// `v1.PodSpec` is `PodSpec` in Go's messages about fields.
fn short_name(go_name: &str) -> &str {
    go_name.rsplit('.').next().unwrap_or(go_name)
}
