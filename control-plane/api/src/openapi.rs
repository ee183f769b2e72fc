//! The API's own description: OpenAPI version 3, a document per group and version, and version 2, one
//! document for all. Both are views on the schema tables. Descriptions are kept compressed and are read
//! while a document is made; nothing of it stays in memory.

mod definition;
mod description;
mod operation;
mod parameter;
mod path;
mod subresource;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::registry::{Registry, Version};

use definition::Definitions;
use path::paths;

/// Upstream's version whose API this is.
const API_VERSION: &str = "1.37";

/// A version of OpenAPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Version2,
    Version3,
}

impl Dialect {
    /// A reference to a definition.
    fn reference(self, name: &str) -> Value {
        match self {
            Self::Version2 => json!({ "$ref": format!("#/definitions/{name}") }),
            Self::Version3 => json!({ "$ref": format!("#/components/schemas/{name}") }),
        }
    }
}

/// `/openapi/v3`: where the document of each group and version is. The hash in its address changes when
/// the document may have changed, so that clients can keep it for good.
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for group in registry.groups() {
        for version in &group.versions {
            let path = version_path(&group.name, &version.name);
            let hash = hash(version);
            let address = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({ "serverRelativeURL": address }));
        }
    }
    json!({ "paths": paths })
}

/// `/openapi/v3/apis/GROUP/VERSION`, or `/openapi/v3/api/VERSION` of the core group.
pub fn document(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let version = registry.version(group, version)?;
    let mut definitions = Definitions::new(Dialect::Version3);
    let paths = paths(group, version, &mut definitions);
    Some(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": API_VERSION },
        "paths": paths,
        "components": {
            "schemas": definitions.render(&[(group, &version.name)]),
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey",
                    "description": "Bearer Token authentication",
                    "name": "authorization",
                    "in": "header",
                },
            },
        },
    }))
}

/// `/openapi/v2`: everything.
pub fn v2(registry: &Registry) -> Value {
    let mut definitions = Definitions::new(Dialect::Version2);
    let mut all = Map::new();
    let mut served = Vec::new();
    for group in registry.groups() {
        for version in &group.versions {
            served.push((group.name.as_ref(), version.name.as_ref()));
            if let Value::Object(paths) = paths(&group.name, version, &mut definitions) {
                all.extend(paths);
            }
        }
    }
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": API_VERSION },
        "paths": all,
        "definitions": definitions.render(&served),
        "securityDefinitions": {
            "BearerToken": {
                "type": "apiKey",
                "description": "Bearer Token authentication",
                "name": "authorization",
                "in": "header",
            },
        },
        "security": [{ "BearerToken": [] }],
    })
}

/// `api/v1`, `apis/apps/v1`.
fn version_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

static TABLES_HASH: LazyLock<Sha256> = LazyLock::new(|| {
    Sha256::new()
        .chain_update(include_bytes!("generated/types.tsv"))
        .chain_update(include_bytes!("generated/descriptions.gz"))
        .chain_update(env!("CARGO_PKG_VERSION"))
});

/// Over all that a document is made from.
fn hash(version: &Version) -> String {
    let digest = TABLES_HASH.clone().chain_update(format!("{version:?}")).finalize();
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests;
