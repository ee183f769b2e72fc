//! Definitions: the schema of every type that a document speaks of.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::schema::{
    Field, ListType, Presence, Shape, Type, builtin_kinds, builtin_type, builtin_types,
};

use super::Dialect;
use super::description::Descriptions;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
/// Machinery kinds that belong to every group and version.
const SHARED_KINDS: [&str; 2] = ["DeleteOptions", "WatchEvent"];

/// The definitions of one document, collected while its paths are made.
pub(super) struct Definitions {
    pub(super) dialect: Dialect,
    names: BTreeSet<String>,
}

impl Definitions {
    /// No definitions.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, names: BTreeSet::new() }
    }

    /// A reference to a type, which is then part of the document.
    pub(super) fn refer(&mut self, name: &str) -> Value {
        if !self.names.contains(name) {
            self.names.insert(name.to_owned());
        }
        self.dialect.reference(name)
    }

    /// A reference to a type of the machinery.
    pub(super) fn refer_machinery(&mut self, kind: &str) -> Value {
        self.refer(&format!("{META}.{kind}"))
    }

    /// Every definition, and what it refers to. `versions` are the groups and versions described.
    pub(super) fn render(&self, versions: &[(&str, &str)]) -> Value {
        let names = self.reachable();
        let descriptions = Descriptions::of(&names);
        let render = |name: &&str| {
            let mut schema = match builtin_type(name) {
                Some(ty) => object(self.dialect, &ty, &descriptions),
                _ => opaque(self.dialect, name),
            };
            if let Some(text) = descriptions.get(name, "") {
                schema.insert("description".to_owned(), text.into());
            }
            let kinds = kinds(name, versions);
            if !kinds.is_empty() {
                schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
            }
            ((*name).to_owned(), Value::Object(schema))
        };
        Value::Object(names.iter().map(render).collect())
    }

    fn reachable(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = self.names.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if !found.insert(name) {
                continue;
            }
            if name == WATCH_EVENT {
                open.push(RAW);
            } else if let Some(ty) = find(name) {
                open.extend(ty.fields.iter().filter_map(|field| referenced(&field.shape)));
            }
        }
        found
    }
}

fn find(name: &str) -> Option<&'static Type> {
    let types = builtin_types();
    let at = types.binary_search_by(|ty| ty.name.as_ref().cmp(name)).ok()?;
    Some(&types[at])
}

const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const DURATION: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const RAW: &str = "io.k8s.apimachinery.pkg.runtime.RawExtension";
const FIELDS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1";
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
const OR_ARRAY: &str =
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray";
const OR_BOOL: &str =
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool";
const OR_STRINGS: &str =
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray";

/// The definition that a shape refers to, itself or by its items.
fn referenced(shape: &Shape) -> Option<&str> {
    Some(match shape {
        Shape::String
        | Shape::Bool
        | Shape::Int32
        | Shape::Int64
        | Shape::Double
        | Shape::Bytes => return None,
        Shape::Quantity => QUANTITY,
        Shape::Time => TIME,
        Shape::MicroTime => MICRO_TIME,
        Shape::Duration => DURATION,
        Shape::IntOrString => INT_OR_STRING,
        Shape::Raw => RAW,
        Shape::Fields => FIELDS,
        Shape::Json => JSON,
        Shape::SchemaOrArray => OR_ARRAY,
        Shape::SchemaOrBool => OR_BOOL,
        Shape::SchemaOrStrings => OR_STRINGS,
        Shape::Object(ty) => &ty.name,
        Shape::List(inner) | Shape::WrappedList(inner) | Shape::Map(inner) => {
            return referenced(inner);
        }
    })
}

/// Types that have no fields.
fn opaque(dialect: Dialect, name: &str) -> Map<String, Value> {
    let version3 = dialect == Dialect::Version3;
    let schema = match name {
        QUANTITY if version3 => json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
        QUANTITY | DURATION => json!({ "type": "string" }),
        TIME | MICRO_TIME => json!({ "type": "string", "format": "date-time" }),
        INT_OR_STRING if version3 => json!({
            "oneOf": [{ "type": "integer" }, { "type": "string" }],
            "format": "int-or-string",
        }),
        INT_OR_STRING => json!({ "type": "string", "format": "int-or-string" }),
        WATCH_EVENT => {
            let mut kind = json!({ "type": "string" });
            if version3 {
                kind["default"] = "".into();
            }
            let object = beside(dialect, dialect.reference(RAW), object_of_event());
            json!({
                "type": "object",
                "required": ["type", "object"],
                "properties": { "type": kind, "object": object },
            })
        }
        JSON | OR_ARRAY | OR_BOOL | OR_STRINGS => json!({}),
        _ => json!({ "type": "object" }),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn object(dialect: Dialect, ty: &Type, descriptions: &Descriptions) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    let required: Vec<&str> =
        ty.fields.iter().filter(|field| field.required).map(|field| field.name.as_ref()).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    let properties: Map<String, Value> = ty
        .fields
        .iter()
        .map(|field| {
            let description = descriptions.get(&ty.name, &field.name);
            (field.name.to_string(), property(dialect, field, description))
        })
        .collect();
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), properties.into());
    }
    if ty.atomic {
        schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    schema
}

fn property(dialect: Dialect, field: &Field, description: Option<&str>) -> Value {
    let mut extra = Map::new();
    if let Some(description) = description {
        extra.insert("description".to_owned(), describe(description, field).into());
    }
    if dialect == Dialect::Version3
        && let Some(default) = default(field)
    {
        extra.insert("default".to_owned(), default);
    }
    extend(&mut extra, field);
    let mut schema = shape(dialect, &field.shape);
    if !field.values.is_empty() {
        let values = json!(field.values);
        match field.shape {
            Shape::List(_) => schema["items"]["enum"] = values,
            Shape::Map(_) => schema["additionalProperties"]["enum"] = values,
            _ => schema["enum"] = values,
        }
    }
    if let Some(format) = &field.format {
        schema["format"] = format.as_ref().into();
    }
    beside(dialect, schema, extra)
}

/// A schema with more said of it. Nothing may stand beside a reference in version 3.
fn beside(dialect: Dialect, mut schema: Value, mut extra: Map<String, Value>) -> Value {
    let is_reference = schema.get("$ref").is_some();
    if is_reference && dialect == Dialect::Version3 && !extra.is_empty() {
        extra.insert("allOf".to_owned(), json!([schema]));
        return Value::Object(extra);
    }
    if let Value::Object(schema) = &mut schema {
        schema.extend(extra);
    }
    schema
}

fn object_of_event() -> Map<String, Value> {
    let description = "the object after the change; its last state when it was deleted; its resource \
                       version alone in a bookmark; a Status in an error";
    Map::from_iter([("description".to_owned(), description.into())])
}

/// A field with an enumeration says so in words, too.
fn describe(description: &str, field: &Field) -> String {
    if field.values.is_empty() {
        return description.to_owned();
    }
    let values: String = field.values.iter().map(|value| format!("\n - `\"{value}\"`")).collect();
    format!("{description}\n\nPossible enum values:{values}")
}

/// How the field merges.
fn extend(schema: &mut Map<String, Value>, field: &Field) {
    // The items of a list kind are no field that anybody merges.
    if matches!(field.shape, Shape::List(_)) && !(field.name == "items" && field.required) {
        let kind = match &field.list {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map(_) => "map",
        };
        schema.insert("x-kubernetes-list-type".to_owned(), kind.into());
    }
    if let ListType::Map(keys) = &field.list {
        schema.insert("x-kubernetes-list-map-keys".to_owned(), json!(keys));
    }
    if field.atomic {
        schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    if let Some(key) = &field.patch_merge_key {
        schema.insert("x-kubernetes-patch-merge-key".to_owned(), key.as_ref().into());
    }
    if !field.patch_strategy.is_empty() {
        let strategy = field.patch_strategy.join(",");
        schema.insert("x-kubernetes-patch-strategy".to_owned(), strategy.into());
    }
}

/// The default that is told, or else what an absent value of the type reads as.
fn default(field: &Field) -> Option<Value> {
    if field.default.is_some() {
        return field.default.clone();
    }
    if field.presence != Presence::Always {
        return None;
    }
    match &field.shape {
        Shape::String => Some("".into()),
        Shape::Bool => Some(false.into()),
        Shape::Int32 | Shape::Int64 | Shape::Double => Some(0.into()),
        Shape::Object(_) => Some(json!({})),
        _ => None,
    }
}

fn shape(dialect: Dialect, shape: &Shape) -> Value {
    match shape {
        Shape::String => json!({ "type": "string" }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int32 => json!({ "type": "integer", "format": "int32" }),
        Shape::Int64 => json!({ "type": "integer", "format": "int64" }),
        Shape::Double => json!({ "type": "number", "format": "double" }),
        Shape::Bytes => json!({ "type": "string", "format": "byte" }),
        Shape::List(inner) | Shape::WrappedList(inner) => {
            json!({ "type": "array", "items": self::shape(dialect, inner) })
        }
        Shape::Map(inner) => {
            json!({ "type": "object", "additionalProperties": self::shape(dialect, inner) })
        }
        other => referenced(other).map(|name| dialect.reference(name)).unwrap_or_default(),
    }
}

/// The kinds that a definition stands for.
fn kinds(name: &str, versions: &[(&str, &str)]) -> Vec<Value> {
    let kind = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    if let Some(shared) = SHARED_KINDS.iter().find(|shared| name == format!("{META}.{shared}")) {
        let core = ("", "v1");
        let others = versions.iter().filter(|version| **version != core);
        return std::iter::once(&core)
            .chain(others)
            .map(|(group, version)| kind(group, version, shared))
            .collect();
    }
    let types = builtin_types();
    builtin_kinds()
        .iter()
        .filter(|(_, at)| types[usize::from(*at)].name == name)
        .filter_map(|(gvk, _)| {
            let mut parts = gvk.splitn(3, '/');
            Some(kind(parts.next()?, parts.next()?, parts.next()?))
        })
        .collect()
}
