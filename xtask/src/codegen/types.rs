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
    ("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1", "JSONSchemaPropsOrArray", "schemaorarray"),
    ("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1", "JSONSchemaPropsOrBool", "schemaorbool"),
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
    "CreateOptions", "GetOptions", "List", "ListOptions", "PartialObjectMetadata",
    "PartialObjectMetadataList", "PatchOptions", "Table", "TableOptions", "UpdateOptions",
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
    pending.extend(["v2", "v2beta1"].map(|v| format!("io.k8s.api.apidiscovery.{v}.APIGroupDiscoveryList")));
    pending.push("io.k8s.api.core.v1.RangeAllocation".to_owned());
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
    SCALARS.iter().find(|(path, known, _)| *path == package && *known == name).map(|(.., shape)| *shape)
}

struct Resolver<'a> {
    source: &'a Source,
    openapi: &'a Documents,
    references: &'a mut Vec<String>,
}

impl Resolver<'_> {
    fn fields_of(&mut self, package: &Package, name: &str) -> Result<Option<Vec<Field>>> {
        match package.declarations.get(name) {
            Some(Declaration::Struct(fields)) => {
                let definition = format!("{}.{name}", package.prefix);
                let mut resolved = Vec::new();
                for field in fields {
                    self.add(&mut resolved, field, &definition, 0)
                        .with_context(|| format!("{definition}.{:?}", field.json))?;
                }
                Ok(Some(resolved))
            }
            Some(Declaration::Named(GoType::Name { package, name })) => {
                let (package, name) = (self.package(package)?, name.clone());
                self.fields_of(package, &name)
            }
            _ => Ok(None),
        }
    }

    fn package(&self, path: &str) -> Result<&'static Package>
    where
        Self: Sized,
    {
        let _ = path;
        bail!("unreachable")
    }

    fn add(&mut self, to: &mut Vec<Field>, field: &GoField, definition: &str, outer: u32) -> Result<()> {
        let _ = (to, field, definition, outer);
        Ok(())
    }
}
