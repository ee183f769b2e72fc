//! The declarations of upstream's API types, read from their Go source: field order, JSON and protobuf
//! tags, and what a pointer, `omitempty` or an embedded struct says about presence on the wire, which no
//! published description tells.

mod declaration;

pub(super) use declaration::{Declaration, GoField, GoType};

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::modules::Modules;
use super::openapi::Documents;

/// One Go package that declares API types.
pub(super) struct Package {
    /// `k8s.io/api/core/v1`
    pub(super) path: String,
    /// `io.k8s.api.core.v1`, the prefix of its definitions
    pub(super) prefix: String,
    pub(super) declarations: BTreeMap<String, Declaration>,
    /// Messages that its .proto file declares
    pub(super) messages: BTreeSet<String>,
    /// Types marked `+enum`
    pub(super) enums: BTreeSet<String>,
    /// String constants, by their type
    pub(super) constants: BTreeMap<String, BTreeSet<String>>,
}

/// Every package, by import path.
pub(super) struct Source {
    pub(super) packages: BTreeMap<String, Package>,
}

impl Source {
    pub(super) fn read(modules: &Modules, openapi: &Documents) -> Result<Self> {
        let mut packages = BTreeMap::new();
        for prefix in prefixes(openapi) {
            let (path, folder) = if let Some(rest) = prefix.strip_prefix("io.k8s.api.") {
                let rest = rest.replace('.', "/");
                (format!("k8s.io/api/{rest}"), modules.api.join(&rest))
            } else if prefix.starts_with("io.k8s.apimachinery") {
                let rest = "pkg/apis/meta/v1";
                (format!("k8s.io/apimachinery/{rest}"), modules.apimachinery.join(rest))
            } else if prefix.starts_with("io.k8s.apiextensions") {
                let rest = "pkg/apis/apiextensions/v1";
                (format!("k8s.io/apiextensions-apiserver/{rest}"), modules.apiextensions.join(rest))
            } else {
                let rest = "pkg/apis/apiregistration/v1";
                (format!("k8s.io/kube-aggregator/{rest}"), modules.aggregator.join(rest))
            };
            packages.insert(path.clone(), read_package(path, prefix, &folder)?);
        }
        Ok(Self { packages })
    }

    pub(super) fn package_of(&self, definition: &str) -> Option<(&Package, String)> {
        let (prefix, name) = definition.rsplit_once('.')?;
        let package = self.packages.values().find(|package| package.prefix == prefix)?;
        Some((package, name.to_owned()))
    }
}

/// Definition prefixes of packages whose Go source is read; the discovery types are served but described
/// nowhere, so they are named here.
fn prefixes(openapi: &Documents) -> BTreeSet<String> {
    let described = openapi.names().filter_map(|name| Some(name.rsplit_once('.')?.0.to_owned()));
    let readable = |prefix: &String| {
        prefix.starts_with("io.k8s.api.")
            || prefix.ends_with(".apis.meta.v1")
            || prefix.ends_with(".apiextensions.v1")
            || prefix.ends_with(".apiregistration.v1")
    };
    described
        .filter(readable)
        .chain([
            "io.k8s.api.apidiscovery.v2".to_owned(),
            "io.k8s.api.apidiscovery.v2beta1".to_owned(),
        ])
        .collect()
}

fn read_package(path: String, prefix: String, folder: &Path) -> Result<Package> {
    let mut package = Package {
        path,
        prefix,
        declarations: BTreeMap::new(),
        messages: BTreeSet::new(),
        enums: BTreeSet::new(),
        constants: BTreeMap::new(),
    };
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_types = name == "group_version.go"
            || name.starts_with("types") && name.ends_with(".go") && !name.ends_with("_test.go");
        if is_types && !name.contains("swagger") {
            declaration::parse(&fs::read_to_string(&file)?, &package.path.clone(), &mut package);
        }
    }
    let proto = fs::read_to_string(folder.join("generated.proto")).unwrap_or_default();
    for line in proto.lines() {
        if let Some(name) = line.strip_prefix("message ").and_then(|rest| rest.split(' ').next()) {
            package.messages.insert(name.to_owned());
        }
    }
    Ok(package)
}
