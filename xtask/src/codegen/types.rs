//! Go declarations and OpenAPI definitions joined into the table of types: one line per type, one per
//! field, in upstream's field order. The format is described in control-plane/api/src/schema/table.rs,
//! which reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::gosource::{Declaration, GoField, GoType, Package, Source};
use super::openapi::Documents;

/// One type of the table.
pub(super) struct Type {
    pub(super) name: String,
    kind: Option<String>,
    map_type: Option<String>,
    pub(super) fields: Vec<Field>,
}

impl Type {
    /// Whether it is this kind: `group/version/Kind`.
    pub(super) fn is_kind(&self, name: &str) -> bool {
        self.kind.as_deref() == Some(name)
    }
}

/// One field of the table.
pub(super) struct Field {
    pub(super) name: String,
    /// Definition that documents the field: another one where a struct is embedded
    pub(super) described_by: String,
    number: u32,
    shape: String,
    presence: char,
    attributes: Vec<String>,
}

/// Wire forms that no struct describes.
const SCALARS: [(&str, &str, &str); 14] = [
    ("k8s.io/apimachinery/pkg/api/resource", "Quantity", "quantity"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "Time", "time"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "MicroTime", "microtime"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "Duration", "duration"),
    ("k8s.io/apimachinery/pkg/apis/meta/v1", "FieldsV1", "fields"),
    ("k8s.io/apimachinery/pkg/util/intstr", "IntOrString", "intorstring"),
    ("k8s.io/apimachinery/pkg/runtime", "RawExtension", "raw"),
    ("k8s.io/apimachinery/pkg/runtime", "Object", "raw"),
    ("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1", "JSON", "json"),
    (
        "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
        "JSONSchemaPropsOrArray",
        "schemaorarray",
    ),
    (
        "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
        "JSONSchemaPropsOrBool",
        "schemaorbool",
    ),
    (
        "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
        "JSONSchemaPropsOrStringArray",
        "schemaorstrings",
    ),
    ("k8s.io/apimachinery/pkg/types", "UID", "string"),
    ("k8s.io/apimachinery/pkg/types", "NodeName", "string"),
];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Types of the machinery that no path of swagger.json leads to.
const MACHINERY: [&str; 10] = [
    "CreateOptions",
    "GetOptions",
    "List",
    "ListOptions",
    "PartialObjectMetadata",
    "PartialObjectMetadataList",
    "PatchOptions",
    "Table",
    "TableOptions",
    "UpdateOptions",
];

/// The same of the core group: options of subresources, and what is stored but not served.
const CORE: [&str; 8] = [
    "NodeProxyOptions",
    "PodAttachOptions",
    "PodExecOptions",
    "PodLogOptions",
    "PodPortForwardOptions",
    "PodProxyOptions",
    "RangeAllocation",
    "ServiceProxyOptions",
];

/// Every type reachable from a described definition, sorted by name.
pub(super) fn collect(source: &Source, openapi: &Documents) -> Result<Vec<Type>> {
    let groups: BTreeMap<&str, (&str, &str)> = openapi
        .names()
        .filter_map(|name| {
            let (group, version, _) = openapi.kind(name)?;
            Some((name.rsplit_once('.')?.0, (group, version)))
        })
        .collect();
    let mut pending: Vec<String> = openapi.names().map(str::to_owned).collect();
    pending.extend(MACHINERY.map(|name| format!("{META}.{name}")));
    pending.extend(
        ["v2", "v2beta1"].map(|v| format!("io.k8s.api.apidiscovery.{v}.APIGroupDiscoveryList")),
    );
    pending.extend(CORE.map(|name| format!("io.k8s.api.core.v1.{name}")));
    let mut seen = BTreeSet::new();
    let mut types = Vec::new();
    while let Some(name) = pending.pop() {
        let Some((package, local)) = source.package_of(&name) else { continue };
        if !seen.insert(name.clone()) || scalar(&package.path, &local).is_some() {
            continue;
        }
        let mut resolver = Resolver { source, openapi, references: &mut pending };
        let Some(fields) = resolver.fields_of(package, &local)? else { continue };
        let is_kind = fields.iter().any(|field| field.name == "kind" && field.number == 0);
        let kind = is_kind
            .then(|| groups.get(package.prefix.as_str()))
            .flatten()
            .map(|(group, version)| format!("{group}/{version}/{local}"));
        let definition = openapi.definition(&name);
        let map_type = definition
            .and_then(|definition| definition["x-kubernetes-map-type"].as_str().map(str::to_owned));
        types.push(Type { name, kind, map_type, fields });
    }
    types.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(types)
}

fn scalar(package: &str, name: &str) -> Option<&'static str> {
    SCALARS
        .iter()
        .find(|(path, known, _)| *path == package && *known == name)
        .map(|(.., shape)| *shape)
}

struct Resolver<'a> {
    source: &'a Source,
    openapi: &'a Documents,
    references: &'a mut Vec<String>,
}

/// A field's type behind aliases and pointers.
struct Resolved {
    shape: String,
    pointer: bool,
    /// Values, where the type is a marked enumeration
    values: Vec<String>,
    /// Go's name, where it is neither a basic type nor told by the shape
    go_name: Option<String>,
}

impl<'a> Resolver<'a> {
    fn fields_of(&mut self, package: &'a Package, name: &str) -> Result<Option<Vec<Field>>> {
        match package.declarations.get(name) {
            Some(Declaration::Struct(fields)) => {
                let definition = format!("{}.{name}", package.prefix);
                let mut resolved = Vec::new();
                for field in fields {
                    self.add(&mut resolved, field, &definition, &[])
                        .with_context(|| format!("{definition}: field {:?}", field.json))?;
                }
                Ok(Some(resolved))
            }
            Some(Declaration::Named(GoType::Name { package, name })) => {
                self.fields_of(self.package(package)?, name)
            }
            _ => Ok(None),
        }
    }

    fn package(&self, path: &str) -> Result<&'a Package> {
        self.source.packages.get(path).with_context(|| format!("package {path} was not read"))
    }

    fn add(
        &mut self,
        to: &mut Vec<Field>,
        field: &GoField,
        definition: &str,
        outer: &[u32],
    ) -> Result<()> {
        let Some(name) = field.json.as_deref() else {
            return self.embed(to, field, definition, outer);
        };
        if name == "-" {
            return Ok(());
        }
        let resolved = self.resolve(&field.ty)?;
        let mut attributes = Vec::new();
        if !outer.is_empty() {
            let path: Vec<String> = outer.iter().map(u32::to_string).collect();
            attributes.push(format!("in={}", path.join(".")));
        }
        if let Some(go_name) = resolved.go_name {
            attributes.push(format!("go={go_name}"));
        }
        if !resolved.values.is_empty() {
            attributes.push(format!("enum={}", resolved.values.join("|")));
        }
        let presence = presence(field, resolved.pointer, &resolved.shape);
        attributes.extend(described_attributes(self.openapi, definition, name, presence));
        to.push(Field {
            name: name.to_owned(),
            described_by: definition.to_owned(),
            number: field.number,
            presence,
            shape: resolved.shape,
            attributes,
        });
        Ok(())
    }

    /// The fields of an embedded struct: the outer one's in JSON, a message of its own in protobuf.
    fn embed(
        &mut self,
        to: &mut Vec<Field>,
        field: &GoField,
        definition: &str,
        outer: &[u32],
    ) -> Result<()> {
        let GoType::Name { package, name } = &field.ty else { bail!("embeds {:?}", field.ty) };
        if name == "TypeMeta" {
            for name in ["kind", "apiVersion"] {
                to.push(Field {
                    name: name.to_owned(),
                    described_by: definition.to_owned(),
                    number: 0,
                    shape: "string".to_owned(),
                    presence: 'o',
                    attributes: Vec::new(),
                });
            }
            return Ok(());
        }
        let package = self.package(package)?;
        match package.declarations.get(name) {
            Some(Declaration::Struct(fields)) => {
                let path = [outer, &[field.number]].concat();
                for inner in fields {
                    self.add(to, inner, definition, &path)?;
                }
                Ok(())
            }
            Some(Declaration::Named(alias)) => {
                let aliased = GoField { ty: alias.clone(), ..field.clone() };
                self.embed(to, &aliased, definition, outer)
            }
            None => bail!("embeds {name}, which is not declared"),
        }
    }

    fn resolve(&mut self, ty: &GoType) -> Result<Resolved> {
        let plain = |shape: &str| Resolved {
            shape: shape.to_owned(),
            pointer: false,
            values: Vec::new(),
            go_name: None,
        };
        Ok(match ty {
            GoType::Basic(name) => plain(match name.as_str() {
                "string" => "string",
                "bool" => "bool",
                "int32" => "int32",
                "int" | "int64" | "uint64" => "int64",
                "float64" => "double",
                "interface{}" => "json",
                other => bail!("basic type {other} has no shape"),
            }),
            GoType::Pointer(inner) => Resolved { pointer: true, ..self.resolve(inner)? },
            GoType::Slice(inner) if **inner == GoType::Basic("byte".to_owned()) => plain("bytes"),
            GoType::Slice(inner) => {
                let inner = self.resolve(inner)?;
                Resolved { shape: format!("[]{}", inner.shape), pointer: false, ..inner }
            }
            GoType::Map(_, value) => {
                let value = self.resolve(value)?;
                Resolved { shape: format!("{{}}{}", value.shape), pointer: false, ..value }
            }
            GoType::Name { package, name } => self.resolve_name(package, name)?,
        })
    }

    fn resolve_name(&mut self, path: &str, name: &str) -> Result<Resolved> {
        let of =
            |shape: String| Resolved { shape, pointer: false, values: Vec::new(), go_name: None };
        if let Some(shape) = scalar(path, name) {
            return Ok(of(shape.to_owned()));
        }
        let package = self.package(path)?;
        match package.declarations.get(name) {
            Some(Declaration::Struct(_)) => {
                let definition = format!("{}.{name}", package.prefix);
                self.references.push(definition.clone());
                Ok(of(definition))
            }
            Some(Declaration::Named(inner @ (GoType::Slice(_) | GoType::Map(..)))) => {
                let inner = self.resolve(inner)?;
                // A named slice travels as a message of its own: upstream's generator cannot nest lists.
                let wrapped = package.messages.contains(name) && inner.shape.starts_with("[]");
                let mark = if wrapped { "w" } else { "" };
                Ok(Resolved { shape: format!("{mark}{}", inner.shape), ..inner })
            }
            Some(Declaration::Named(inner @ GoType::Name { .. })) => {
                if let Ok(Some(_)) = self.fields_of(package, name) {
                    let definition = format!("{}.{name}", package.prefix);
                    let own = self.openapi.definition(&definition).is_some();
                    if own {
                        self.references.push(definition.clone());
                        return Ok(of(definition));
                    }
                }
                self.resolve(inner)
            }
            Some(Declaration::Named(inner)) => {
                let mut resolved = self.resolve(inner)?;
                let (_, version) = package.path.rsplit_once('/').unwrap_or(("", &package.path));
                resolved.go_name = Some(format!("{version}.{name}"));
                if package.enums.contains(name)
                    && let Some(values) = package.constants.get(name)
                    && !values.iter().any(|value| value.contains('.'))
                {
                    resolved.values =
                        values.iter().filter(|value| !value.is_empty()).cloned().collect();
                }
                Ok(resolved)
            }
            None => bail!("{path}.{name} is not declared"),
        }
    }
}

/// How Go treats the field's zero value: (o)mitted when empty, (p)ointer omitted when nil, pointer
/// written as (n)ull, (z)ero omitted, (a)lways written. `omitempty` has no effect on a struct.
fn presence(field: &GoField, pointer: bool, shape: &str) -> char {
    let scalar_shapes = ["string", "bool", "int32", "int64", "double", "bytes", "json"];
    let collection = shape.starts_with("[]") || shape.starts_with("{}") || shape.starts_with("w[]");
    match (pointer, field.omitempty, field.omitzero) {
        (true, false, false) => 'n',
        (true, ..) => 'p',
        (false, _, true) => 'z',
        (false, true, false) if collection || scalar_shapes.contains(&shape) => 'o',
        (false, ..) => 'a',
    }
}

fn described_attributes(
    openapi: &Documents,
    definition: &str,
    name: &str,
    presence: char,
) -> Vec<String> {
    let mut attributes = Vec::new();
    let required = openapi
        .definition(definition)
        .and_then(|definition| definition["required"].as_array())
        .is_some_and(|required| required.iter().any(|field| field == name));
    if required {
        attributes.push("required".to_owned());
    }
    let Some(property) = openapi.property(definition, name) else { return attributes };
    let text = |key: &str| property[key].as_str();
    // OpenAPI gives every field that Go always writes its zero value as a default: that says nothing.
    let told =
        |default: &&Value| matches!(presence, 'n' | 'p') && !default.is_null() || !is_zero(default);
    if let Some(default) = property.get("default").filter(told) {
        attributes.push(format!("default={default}"));
    }
    if let Some(format) =
        text("format").filter(|format| !["int32", "int64", "double", "byte"].contains(format))
    {
        attributes.push(format!("format={format}"));
    }
    if let Some(list) = text("x-kubernetes-list-type") {
        attributes.push(format!("list={list}"));
    }
    if let Some(keys) = property["x-kubernetes-list-map-keys"].as_array() {
        let keys: Vec<&str> = keys.iter().filter_map(Value::as_str).collect();
        attributes.push(format!("keys={}", keys.join(",")));
    }
    if let Some(strategy) = text("x-kubernetes-patch-strategy") {
        attributes.push(format!("strategy={strategy}"));
    }
    if let Some(key) = text("x-kubernetes-patch-merge-key") {
        attributes.push(format!("mergekey={key}"));
    }
    if let Some(map) = text("x-kubernetes-map-type") {
        attributes.push(format!("map={map}"));
    }
    attributes
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// The table as text.
pub(super) fn render(release: &str, types: &[Type]) -> String {
    let mut text =
        format!("# Generated by `cargo xtask codegen` from Kubernetes {release}. Do not edit.\n");
    for ty in types {
        write!(text, "@\t{}", ty.name).expect("writing to a string cannot fail");
        for (key, value) in [("kind", &ty.kind), ("map", &ty.map_type)] {
            if let Some(value) = value {
                write!(text, "\t{key}={value}").expect("writing to a string cannot fail");
            }
        }
        text.push('\n');
        for field in &ty.fields {
            write!(text, "{}\t{}\t{}\t{}", field.name, field.number, field.shape, field.presence)
                .expect("writing to a string cannot fail");
            for attribute in &field.attributes {
                text.push('\t');
                text.push_str(attribute);
            }
            text.push('\n');
        }
    }
    text
}
