//! What is wrong with one field.

use std::fmt;

use serde_json::{Map, Value};

/// A cause as a status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueRequired`
    pub reason: String,
    /// For people
    pub message: String,
    /// `spec.containers[0].name`
    pub field: String,
}

impl Cause {
    pub(super) fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in
            [("reason", &self.reason), ("message", &self.message), ("field", &self.field)]
        {
            if !text.is_empty() {
                map.insert(key.to_owned(), text.as_str().into());
            }
        }
        Value::Object(map)
    }
}

/// What kind of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// It must be there
    Required,
    /// It must not have this value
    Invalid,
    /// Only some values are known
    NotSupported,
    /// It must not be there
    Forbidden,
    /// Another has the value already
    Duplicate,
    /// What it refers to does not exist
    NotFound,
    /// It is of another type
    TypeInvalid,
    /// It is too long
    TooLong,
    /// There are too many
    TooMany,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What kind of wrong
    pub kind: FieldErrorKind,
    /// `spec.containers[0].name`
    pub field: String,
    /// What it holds; `None` where that does not matter
    pub value: Option<Value>,
    /// Why
    pub detail: String,
}

impl FieldError {
    fn new(
        kind: FieldErrorKind,
        field: impl Into<String>,
        value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, field: field.into(), value, detail: detail.into() }
    }

    /// It must be there.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, None, detail)
    }

    /// It must not have this value.
    pub fn invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(FieldErrorKind::Invalid, field, Some(value.into()), detail)
    }

    /// Only these values are known.
    pub fn not_supported(
        field: impl Into<String>,
        value: impl Into<Value>,
        known: &[&str],
    ) -> Self {
        let known: Vec<String> = known.iter().map(|value| format!("{value:?}")).collect();
        let detail = if known.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", known.join(", "))
        };
        Self::new(FieldErrorKind::NotSupported, field, Some(value.into()), detail)
    }

    /// It must not be there.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, None, detail)
    }

    /// Another has the value already.
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, Some(value.into()), "")
    }

    /// What it refers to does not exist.
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, field, Some(value.into()), "")
    }

    /// It is longer than `limit` bytes.
    pub fn too_long(field: impl Into<String>, limit: usize) -> Self {
        let unit = if limit == 1 { "byte" } else { "bytes" };
        Self::new(
            FieldErrorKind::TooLong,
            field,
            None,
            format!("may not be more than {limit} {unit}"),
        )
    }

    /// There are more than `limit`.
    pub fn too_many(field: impl Into<String>, actual: usize, limit: usize) -> Self {
        let unit = if limit == 1 { "item" } else { "items" };
        let detail = format!("must have at most {limit} {unit}");
        Self::new(FieldErrorKind::TooMany, field, Some(actual.into()), detail)
    }

    /// What a status shows.
    pub(super) fn cause(&self) -> Cause {
        let reason = match self.kind {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::NotFound => "FieldValueNotFound",
            FieldErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
        };
        Cause { reason: reason.to_owned(), message: self.body(), field: self.field.clone() }
    }

    /// The message without the field.
    fn body(&self) -> String {
        let what = match self.kind {
            FieldErrorKind::Required => "Required value",
            FieldErrorKind::Invalid | FieldErrorKind::TypeInvalid => "Invalid value",
            FieldErrorKind::NotSupported => "Unsupported value",
            FieldErrorKind::Forbidden => "Forbidden",
            FieldErrorKind::Duplicate => "Duplicate value",
            FieldErrorKind::NotFound => "Not found",
            FieldErrorKind::TooLong => "Too long",
            FieldErrorKind::TooMany => "Too many",
        };
        let mut text = what.to_owned();
        match (&self.value, self.kind) {
            (Some(Value::Null), _) => text += ": null",
            (Some(Value::String(value)), _) => text += &format!(": {value:?}"),
            (Some(value), _) => text += &format!(": {value}"),
            (None, _) => {}
        }
        if !self.detail.is_empty() {
            text = text + ": " + &self.detail;
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}
