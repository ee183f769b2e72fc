//! Upstream's OpenAPI documents: descriptions, defaults, list semantics and kinds, by definition name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// All definitions: those of swagger.json, overlaid with the defaults that only version 3 tells.
pub(super) struct Documents {
    definitions: BTreeMap<String, Value>,
}

impl Documents {
    pub(super) fn read(kubernetes: &Path) -> Result<Self> {
        let folder = kubernetes.join("api/openapi-spec");
        let swagger = read_json(&folder.join("swagger.json"))?;
        let mut definitions: BTreeMap<String, Value> = swagger["definitions"]
            .as_object()
            .context("swagger.json has no definitions")?
            .iter()
            .map(|(name, definition)| (name.clone(), definition.clone()))
            .collect();
        for entry in fs::read_dir(folder.join("v3"))? {
            let document = read_json(&entry?.path())?;
            let Some(schemas) = document["components"]["schemas"].as_object() else { continue };
            for (name, schema) in schemas {
                overlay_defaults(
                    definitions.entry(name.clone()).or_insert_with(|| schema.clone()),
                    schema,
                );
            }
        }
        Ok(Self { definitions })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.definitions.keys().map(String::as_str)
    }

    pub(super) fn definition(&self, name: &str) -> Option<&Value> {
        self.definitions.get(name)
    }

    pub(super) fn property(&self, name: &str, field: &str) -> Option<&Value> {
        self.definitions.get(name)?["properties"].get(field)
    }

    /// The group, version and kind of a definition that stands for exactly one.
    pub(super) fn kind(&self, name: &str) -> Option<(&str, &str, &str)> {
        let kinds = self.definitions.get(name)?["x-kubernetes-group-version-kind"].as_array()?;
        let [only] = kinds.as_slice() else { return None };
        Some((only["group"].as_str()?, only["version"].as_str()?, only["kind"].as_str()?))
    }
}

pub(super) fn read_json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("parse {}", path.display()))
}

fn overlay_defaults(definition: &mut Value, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties {
        if let (Some(default), Some(known)) =
            (property.get("default"), definition["properties"].get_mut(name))
        {
            known["default"] = default.clone();
        }
    }
}
