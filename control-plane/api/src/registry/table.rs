//! Reads the generated table of resources.
//!
//! Tab-separated lines, each below its parent: `group NAME`, `version NAME`, `resource PLURAL SINGULAR
//! KIND SCOPE VERBS [short=A,B] [categories=A,B] [hash=H] [stored=VERSION]`, `subresource NAME
//! GROUP/VERSION/KIND VERBS`. Verbs `*` are the eight of an ordinary resource; group and version of a
//! subresource's kind are empty where they are the resource's.

use crate::names::{GroupVersionKind, Name};

use super::{Group, Resource, Subresource, Version};

const ALL_VERBS: &str = "create,delete,deletecollection,get,list,patch,update,watch";

/// Reads the whole table. It is part of this crate, so a malformed line is a defect of the crate.
pub(super) fn read(text: &'static str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        read_line(&mut groups, line).unwrap_or_else(|| panic!("resources.tsv: {line:?}"));
    }
    groups
}

fn read_line(groups: &mut Vec<Group>, line: &'static str) -> Option<()> {
    let cells: Vec<&'static str> = line.split('\t').collect();
    match cells.as_slice() {
        ["group", name] => groups.push(Group { name: Name::Borrowed(name), versions: Vec::new() }),
        ["version", name] => {
            let version = Version { name: Name::Borrowed(name), resources: Vec::new() };
            groups.last_mut()?.versions.push(version);
        }
        ["resource", rest @ ..] => {
            let group = groups.last_mut()?;
            let version = group.versions.last_mut()?;
            version.resources.push(read_resource(rest, &group.name, &version.name)?);
        }
        ["subresource", name, kind, verbs] => {
            let resource = groups.last_mut()?.versions.last_mut()?.resources.last_mut()?;
            resource.subresources.push(read_subresource(name, kind, verbs, resource)?);
        }
        _ => return None,
    }
    Some(())
}

fn read_resource(cells: &[&'static str], group: &Name, version: &Name) -> Option<Resource> {
    let [plural, singular, kind, scope, verbs, attributes @ ..] = cells else { return None };
    let mut resource = Resource {
        group: group.clone(),
        version: version.clone(),
        plural: Name::Borrowed(plural),
        singular: Name::Borrowed(singular),
        kind: Name::Borrowed(kind),
        namespaced: *scope == "Namespaced",
        verbs: read_verbs(verbs),
        ..Resource::default()
    };
    for attribute in attributes {
        match attribute.split_once('=')? {
            ("short", names) => resource.short_names = list(names),
            ("categories", names) => resource.categories = list(names),
            ("hash", hash) => {
                resource.storage_version_hash = Name::Borrowed(hash);
                // A hash no served version has: stored as another group's kind, in version 1.
                resource.storage_version = Name::Borrowed("v1");
            }
            ("stored", version) => resource.storage_version = Name::Borrowed(version),
            _ => return None,
        }
    }
    Some(resource)
}

fn read_subresource(
    name: &'static str,
    kind: &'static str,
    verbs: &'static str,
    resource: &Resource,
) -> Option<Subresource> {
    let mut parts = kind.splitn(3, '/');
    let (group, version, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let foreign = !version.is_empty();
    let kind = if foreign {
        GroupVersionKind::new(group, version, kind)
    } else {
        resource.group_version().with_kind(kind)
    };
    Some(Subresource { name: Name::Borrowed(name), kind, foreign, verbs: read_verbs(verbs) })
}

fn read_verbs(text: &'static str) -> Vec<Name> {
    list(if text == "*" { ALL_VERBS } else { text })
}

fn list(text: &'static str) -> Vec<Name> {
    text.split(',').filter(|word| !word.is_empty()).map(Name::Borrowed).collect()
}
