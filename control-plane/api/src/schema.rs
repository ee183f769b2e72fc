//! The shape of kinds: types, their fields, and how each travels as JSON and as protobuf. Built-in types
//! come from a generated table; a custom resource's come from its definition. Both are the same structs.

mod table;

use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::names::Name;

/// An object type.
#[derive(Debug, Default)]
pub struct Type {
    /// Its OpenAPI definition: `io.k8s.api.core.v1.Pod`
    pub name: Name,
    /// Go's name of it, as error messages show it: `v1.Pod`
    pub go_name: Name,
    /// In upstream's order, which is the order of JSON output
    pub fields: Vec<Field>,
    /// The map type is `atomic`: server-side apply treats the object as one value
    pub atomic: bool,
    /// Unknown fields are kept
    pub preserve_unknown: bool,
    by_name: Vec<u16>,
    by_path: Vec<(Vec<u32>, u16)>,
}

impl Type {
    /// A type of these fields.
    pub fn new(name: Name, fields: Vec<Field>) -> Self {
        let mut by_name: Vec<u16> = (0u16..).take(fields.len()).collect();
        by_name.sort_by(|a, b| fields[usize::from(*a)].name.cmp(&fields[usize::from(*b)].name));
        let mut by_path: Vec<(Vec<u32>, u16)> = (0u16..)
            .zip(&fields)
            .filter(|(_, field)| field.number != 0)
            .map(|(index, field)| ([field.embedded.as_slice(), &[field.number]].concat(), index))
            .collect();
        by_path.sort();
        let go_name = go_name(&name);
        Self { name, go_name, fields, by_name, by_path, ..Self::default() }
    }

    /// The field of this JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let field = |index: &u16| &self.fields[usize::from(*index)];
        let at =
            self.by_name.binary_search_by(|index| field(index).name.as_ref().cmp(name)).ok()?;
        Some(field(&self.by_name[at]))
    }

    /// What protobuf field `number` is inside the embedded message at `path` (empty: the type itself).
    pub(crate) fn wire(&self, path: &[u32], number: u32) -> Wire<'_> {
        let key = || path.iter().chain(std::iter::once(&number));
        let from = self.by_path.partition_point(|(known, _)| known.iter().lt(key()));
        match self.by_path.get(from) {
            Some((known, index))
                if known.iter().zip(key()).filter(|(a, b)| a == b).count() == path.len() + 1 =>
            {
                if known.len() == path.len() + 1 {
                    Wire::Field(&self.fields[usize::from(*index)])
                } else {
                    Wire::Embedded
                }
            }
            _ => Wire::Unknown,
        }
    }

    /// Fields that travel, sorted by path and number.
    pub(crate) fn wire_order(&self) -> impl Iterator<Item = &Field> {
        self.by_path.iter().map(|(_, index)| &self.fields[usize::from(*index)])
    }

    /// Whether objects of this type carry `apiVersion` and `kind` of their own.
    pub fn is_kind(&self) -> bool {
        self.field("kind").is_some_and(|field| field.number == 0 && field.shape == Shape::String)
            && self.field("apiVersion").is_some()
    }
}

/// What a protobuf field number stands for.
pub(crate) enum Wire<'a> {
    Field(&'a Field),
    /// A message whose fields are the outer type's in JSON
    Embedded,
    Unknown,
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its JSON name
    pub name: Name,
    /// Its protobuf number; 0 where it does not travel
    pub number: u32,
    /// Numbers of the messages it is nested in on the wire while it is the type's own in JSON
    pub embedded: Vec<u32>,
    /// Its type
    pub shape: Shape,
    /// When it is written
    pub presence: Presence,
    /// OpenAPI calls it required
    pub required: bool,
    /// The default that the API description tells
    pub default: Option<Value>,
    /// The values of its enumeration; empty where it has none
    pub values: Vec<Name>,
    /// Go's type name, where the shape does not tell it: `v1.PodPhase`
    pub go_name: Option<Name>,
    /// An OpenAPI format
    pub format: Option<Name>,
    /// How a list merges
    pub list: ListType,
    /// The map type is `atomic`
    pub atomic: bool,
    /// Strategic merge patch: the directives of `x-kubernetes-patch-strategy`
    pub patch_strategy: Vec<Name>,
    /// Strategic merge patch: the key that tells list items apart
    pub patch_merge_key: Option<Name>,
}

/// How server-side apply treats a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// One value
    #[default]
    Atomic,
    /// Unique scalars
    Set,
    /// Objects told apart by these keys
    Map(Vec<Name>),
}

/// When a field is written, as Go's JSON package does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Unless it has its zero value
    OmitEmpty,
    /// When it was set, to whatever value
    Optional,
    /// When it was set, otherwise as null
    Nullable,
    /// Always, with its zero value when it was not set
    Always,
}

/// A field's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Text
    String,
    /// Truth
    Bool,
    /// 32-bit signed integer
    Int32,
    /// 64-bit signed integer
    Int64,
    /// Floating point
    Double,
    /// Base64 in JSON
    Bytes,
    /// resource.Quantity
    Quantity,
    /// metav1.Time, to the second
    Time,
    /// metav1.MicroTime
    MicroTime,
    /// metav1.Duration: `1h0m0s`
    Duration,
    /// intstr.IntOrString
    IntOrString,
    /// runtime.RawExtension: any object
    Raw,
    /// metav1.FieldsV1: JSON
    Fields,
    /// Any JSON value
    Json,
    /// A schema or a list of schemas (apiextensions)
    SchemaOrArray,
    /// A schema or a boolean (apiextensions)
    SchemaOrBool,
    /// A schema or a list of names (apiextensions)
    SchemaOrStrings,
    /// An object
    Object(TypeRef),
    /// A list
    List(Box<Shape>),
    /// A list that is a message of its own in protobuf
    WrappedList(Box<Shape>),
    /// A map from strings
    Map(Box<Shape>),
}

/// A type, built in or not. Built-in types refer to each other by position, because some contain
/// themselves.
#[derive(Clone, Debug)]
pub enum TypeRef {
    /// Position in the table of built-in types
    Builtin(u16),
    /// A type of its own
    Custom(Arc<Type>),
}

impl Deref for TypeRef {
    type Target = Type;

    fn deref(&self) -> &Type {
        match self {
            Self::Builtin(index) => &BUILTIN.types[usize::from(*index)],
            Self::Custom(ty) => ty,
        }
    }
}

impl PartialEq for TypeRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq::<Type>(&**self, &**other)
    }
}

static BUILTIN: LazyLock<table::Table> =
    LazyLock::new(|| table::read(include_str!("generated/types.tsv")));

/// The built-in type of this OpenAPI definition name.
pub fn builtin_type(name: &str) -> Option<TypeRef> {
    BUILTIN.find(name).map(TypeRef::Builtin)
}

/// Every built-in type, by definition name.
pub fn builtin_types() -> &'static [Type] {
    &BUILTIN.types
}

/// Every built-in kind with its type: `group/version/Kind`.
pub(crate) fn builtin_kinds() -> &'static [(&'static str, u16)] {
    &BUILTIN.kinds
}

/// The type of `metadata` in every object.
pub fn object_meta() -> TypeRef {
    builtin_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        .expect("the table holds ObjectMeta")
}

/// `io.k8s.api.core.v1.Pod` is `v1.Pod` to Go.
fn go_name(name: &str) -> Name {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let from = dots.nth(1).map_or(0, |at| at + 1);
    Name::Owned(name[from..].to_owned())
}

impl Shape {
    /// Go's name of the shape, as its JSON package's errors show it.
    pub fn go_name(&self) -> String {
        match self {
            Self::String => "string".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Int32 => "int32".to_owned(),
            Self::Int64 => "int64".to_owned(),
            Self::Double => "float64".to_owned(),
            Self::Bytes => "[]uint8".to_owned(),
            Self::Quantity => "resource.Quantity".to_owned(),
            Self::Time => "v1.Time".to_owned(),
            Self::MicroTime => "v1.MicroTime".to_owned(),
            Self::Duration => "v1.Duration".to_owned(),
            Self::IntOrString => "intstr.IntOrString".to_owned(),
            Self::Raw => "runtime.RawExtension".to_owned(),
            Self::Fields => "v1.FieldsV1".to_owned(),
            Self::Json => "v1.JSON".to_owned(),
            Self::SchemaOrArray => "v1.JSONSchemaPropsOrArray".to_owned(),
            Self::SchemaOrBool => "v1.JSONSchemaPropsOrBool".to_owned(),
            Self::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray".to_owned(),
            Self::Object(ty) => ty.go_name.to_string(),
            Self::List(inner) | Self::WrappedList(inner) => format!("[]{}", inner.go_name()),
            Self::Map(inner) => format!("map[string]{}", inner.go_name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        let pod = builtin_type("io.k8s.api.core.v1.Pod").expect("Pod");
        assert!(pod.is_kind());
        assert_eq!(pod.go_name, "v1.Pod");
        let names: Vec<&str> = pod.fields.iter().map(|field| field.name.as_ref()).collect();
        assert_eq!(names, ["kind", "apiVersion", "metadata", "spec", "status"]);
        assert!(builtin_types().len() > 700);
    }

    #[test]
    fn embedded_messages_are_found_by_path() {
        let volume = builtin_type("io.k8s.api.core.v1.Volume").expect("Volume");
        assert!(matches!(volume.wire(&[], 1), Wire::Field(field) if field.name == "name"));
        assert!(matches!(volume.wire(&[], 2), Wire::Embedded));
        assert!(matches!(volume.wire(&[2], 2), Wire::Field(field) if field.name == "emptyDir"));
        assert!(matches!(volume.wire(&[2], 1000), Wire::Unknown));
        assert!(matches!(volume.wire(&[], 9), Wire::Unknown));
    }

    #[test]
    fn a_type_may_contain_itself() {
        let props = builtin_type(
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
        );
        let props = props.expect("JSONSchemaProps");
        let not = props.field("not").expect("not");
        assert_eq!(not.shape, Shape::Object(props.clone()));
    }
}
