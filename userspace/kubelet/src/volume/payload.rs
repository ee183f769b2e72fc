//! The files of a volume that shows objects: config maps, secrets, fields, tokens. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ClusterTrustBundleProjection, ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod,
    ProjectedVolumeSource, Secret, ServiceAccountTokenProjection, Volume,
};

use super::atomic::{File, Files};
use crate::spec::fields::{self, NodeAmounts};

/// Everything that was fetched for one volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) config_maps: BTreeMap<String, Option<ConfigMap>>,
    pub(crate) secrets: BTreeMap<String, Option<Secret>>,
    /// Tokens by audience and lifetime.
    pub(crate) tokens: BTreeMap<(Option<String>, Option<i64>), String>,
    /// Trust bundles by the path that they are shown at.
    pub(crate) trust_bundles: BTreeMap<String, Vec<u8>>,
}

/// What must be fetched for a volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Needs {
    pub(crate) config_maps: Vec<String>,
    pub(crate) secrets: Vec<String>,
    pub(crate) tokens: Vec<ServiceAccountTokenProjection>,
    pub(crate) trust_bundles: Vec<ClusterTrustBundleProjection>,
}

/// The objects behind a volume.
pub(crate) fn needs(volume: &Volume) -> Needs {
    let mut needs = Needs::default();
    needs.config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
    needs.secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.clone()));
    let projected = volume.projected.iter().flat_map(|source| source.sources.iter().flatten());
    for source in projected {
        needs.config_maps.extend(source.config_map.as_ref().map(|source| source.name.clone()));
        needs.secrets.extend(source.secret.as_ref().map(|source| source.name.clone()));
        needs.tokens.extend(source.service_account_token.clone());
        needs.trust_bundles.extend(source.cluster_trust_bundle.clone());
    }
    needs
}

/// Who must be able to read the files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reader {
    pub(crate) user: Option<u32>,
    pub(crate) fs_group: Option<u32>,
}

/// The files of a volume; the error is for the pod's events.
pub(crate) fn files(
    pod: &Pod,
    volume: &Volume,
    fetched: &Fetched,
    node_name: &str,
    node: NodeAmounts,
    reader: Reader,
) -> Result<Files, String> {
    let show = Show { pod, fetched, node_name, node };
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(0o644);
        let items = source.items.as_deref();
        show.config_map(&source.name, items, source.optional, mode, &mut files)?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(0o644);
        let name = source.secret_name.as_deref().unwrap_or_default();
        show.secret(name, source.items.as_deref(), source.optional, mode, &mut files)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(0o644);
        show.fields(source.items.as_deref().unwrap_or_default(), mode, &mut files)?;
    } else if let Some(source) = &volume.projected {
        show.projected(source, reader, &mut files)?;
    }
    if let Some(group) = reader.fs_group {
        for file in files.values_mut() {
            file.mode |= 0o440;
            file.owner.1 = Some(group);
        }
    }
    Ok(files)
}

struct Show<'a> {
    pod: &'a Pod,
    fetched: &'a Fetched,
    node_name: &'a str,
    node: NodeAmounts,
}

impl Show<'_> {
    fn projected(
        &self,
        source: &ProjectedVolumeSource,
        reader: Reader,
        files: &mut Files,
    ) -> Result<(), String> {
        let mode = source.default_mode.unwrap_or(0o644);
        for source in source.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                self.config_map(&map.name, map.items.as_deref(), map.optional, mode, files)?;
            }
            if let Some(secret) = &source.secret {
                let items = secret.items.as_deref();
                self.secret(&secret.name, items, secret.optional, mode, files)?;
            }
            if let Some(fields) = &source.downward_api {
                self.fields(fields.items.as_deref().unwrap_or_default(), mode, files)?;
            }
            if let Some(bundle) = &source.cluster_trust_bundle {
                let data = self.fetched.trust_bundles.get(&bundle.path).cloned();
                let data = data.ok_or("the trust bundle was not fetched")?;
                let file = File { data, mode: bits(mode), owner: (None, None) };
                files.insert(bundle.path.clone(), file);
            }
            if source.pod_certificate.is_some() {
                return Err("pod certificates are not offered by this node".into());
            }
            if let Some(token) = &source.service_account_token {
                let key = (token.audience.clone(), token.expiration_seconds);
                let text = self.fetched.tokens.get(&key).ok_or("the token was not issued")?;
                // Nobody but its user reads a token, unless a group was asked for.
                let mode = match (reader.fs_group, reader.user) {
                    (None, Some(_)) => 0o600,
                    (Some(_), _) => 0o640,
                    (None, None) => mode,
                };
                let owner = (reader.user.filter(|_| reader.fs_group.is_none()), None);
                let data = text.clone().into_bytes();
                files.insert(token.path.clone(), File { data, mode: bits(mode), owner });
            }
        }
        Ok(())
    }

    fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), String> {
        let optional = optional.unwrap_or(false);
        let Some(map) = self.fetched.config_maps.get(name).and_then(Option::as_ref) else {
            return if optional { Ok(()) } else { Err(format!("configmap {name:?} not found")) };
        };
        let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let text = map.data.iter().flatten();
        data.extend(text.map(|(key, value)| (key.clone(), value.clone().into_bytes())));
        let binary = map.binary_data.iter().flatten();
        data.extend(binary.map(|(key, value)| (key.clone(), value.0.clone())));
        pick(data, items, optional, mode, "configmap", files)
    }

    fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
        files: &mut Files,
    ) -> Result<(), String> {
        let optional = optional.unwrap_or(false);
        let Some(secret) = self.fetched.secrets.get(name).and_then(Option::as_ref) else {
            return if optional { Ok(()) } else { Err(format!("secret {name:?} not found")) };
        };
        let data = secret.data.iter().flatten();
        let data = data.map(|(key, value)| (key.clone(), value.0.clone())).collect();
        pick(data, items, optional, mode, "secret", files)
    }

    fn fields(
        &self,
        items: &[DownwardAPIVolumeFile],
        mode: i32,
        files: &mut Files,
    ) -> Result<(), String> {
        for item in items {
            let text = if let Some(selector) = &item.field_ref {
                fields::field(self.pod, &selector.field_path, self.node_name)?
            } else if let Some(selector) = &item.resource_field_ref {
                fields::resource(self.pod, &Default::default(), selector, self.node)?
            } else {
                return Err(format!("{}: neither a field nor a resource is named", item.path));
            };
            let mode = bits(item.mode.unwrap_or(mode));
            let file = File { data: text.into_bytes(), mode, owner: (None, None) };
            files.insert(item.path.clone(), file);
        }
        Ok(())
    }
}

/// All keys under their own names, or the asked ones under the asked paths.
fn pick(
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
    kind: &str,
    files: &mut Files,
) -> Result<(), String> {
    let Some(items) = items else {
        files.extend(
            data.into_iter()
                .map(|(key, data)| (key, File { data, mode: bits(mode), owner: (None, None) })),
        );
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(data) => {
                let mode = bits(item.mode.unwrap_or(mode));
                let file = File { data: data.clone(), mode, owner: (None, None) };
                files.insert(item.path.clone(), file);
            }
            None if optional => {}
            None => return Err(format!("{kind} references non-existent {kind} key: {}", item.key)),
        }
    }
    Ok(())
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0o644) & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NODE: NodeAmounts = NodeAmounts { cpu_milli: 1, memory_bytes: 1, ephemeral_bytes: 1 };

    fn run(volume: serde_json::Value, reader: Reader) -> Result<Files, String> {
        let pod = serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"a": "b"}}}))
            .unwrap();
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let map = serde_json::from_value(json!({"data": {"a": "1", "b": "2"}})).unwrap();
        let secret = serde_json::from_value(json!({"data": {"s": "eA=="}})).unwrap();
        let fetched = Fetched {
            config_maps: BTreeMap::from([("cm".into(), Some(map))]),
            secrets: BTreeMap::from([("sec".into(), Some(secret))]),
            tokens: BTreeMap::from([((None, Some(3607)), "token".into())]),
            trust_bundles: BTreeMap::new(),
        };
        files(&pod, &volume, &fetched, "n1", NODE, reader)
    }

    #[test]
    fn every_source_in_one_projection() {
        let volume = json!({"name": "v", "projected": {"defaultMode": 0o400, "sources": [
            {"configMap": {"name": "cm", "items": [{"key": "a", "path": "x/y", "mode": 0o600}]}},
            {"secret": {"name": "sec"}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]}});
        let files = run(volume, Reader::default()).unwrap();
        let seen: Vec<(&str, &[u8], u32)> =
            files.iter().map(|(path, file)| (path.as_str(), &*file.data, file.mode)).collect();
        let expected: [(&str, &[u8], u32); 4] = [
            ("labels", b"a=\"b\"", 0o400),
            ("s", b"x", 0o400),
            ("token", b"token", 0o400),
            ("x/y", b"1", 0o600),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_group_may_read() {
        let volume = json!({"name": "v", "configMap": {"name": "cm", "defaultMode": 0o400}});
        let files = run(volume, Reader { user: Some(7), fs_group: Some(9) }).unwrap();
        assert_eq!((files["a"].mode, files["a"].owner), (0o440, (None, Some(9))));
    }

    #[test]
    fn what_is_missing_is_named_unless_optional() {
        for (source, error) in [
            (json!({"configMap": {"name": "no"}}), Some("configmap \"no\" not found")),
            (json!({"configMap": {"name": "no", "optional": true}}), None),
            (
                json!({"configMap": {"name": "cm", "items": [{"key": "z", "path": "z"}]}}),
                Some("configmap references non-existent configmap key: z"),
            ),
            (json!({"secret": {"secretName": "no"}}), Some("secret \"no\" not found")),
        ] {
            let mut volume = source.clone();
            volume["name"] = json!("v");
            assert_eq!(run(volume, Reader::default()).err().as_deref(), error, "{source}");
        }
    }
}
