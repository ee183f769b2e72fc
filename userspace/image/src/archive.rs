//! The archive around the layers: blobs by digest, a manifest per image, one index.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use crate::{Image, layer};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes `images` for Linux on `architecture` (Go's name for it, such as `amd64`) as one OCI archive.
///
/// # Errors
/// Only those of `output`.
pub fn write(images: &[Image], architecture: &str, output: impl Write) -> std::io::Result<()> {
    let mut blobs = BTreeMap::new();
    let mut manifests = Vec::new();
    for image in images {
        let layer = layer::pack(&image.entries)?;
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": image.entrypoint,
                "Cmd": image.arguments,
                "Env": image.environment,
                "User": image.user,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.diff_id)]},
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": keep(
                &mut blobs,
                config.to_string().into_bytes(),
                "application/vnd.oci.image.config.v1+json",
            ),
            "layers": [keep(&mut blobs, layer.blob, "application/vnd.oci.image.layer.v1.tar+gzip")],
        });
        let mut descriptor = keep(&mut blobs, manifest.to_string().into_bytes(), MANIFEST);
        descriptor["annotations"] = json!({
            "io.containerd.image.name": image.reference,
            "org.opencontainers.image.ref.name": image.reference,
        });
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        manifests.push(descriptor);
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    let mut archive = tar::Builder::new(output);
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut archive, "index.json", index.to_string().as_bytes())?;
    for (digest, blob) in &blobs {
        append(&mut archive, &format!("blobs/sha256/{digest}"), blob)?;
    }
    archive.into_inner()?.flush()
}

/// Keeps `blob` under its digest and returns its descriptor.
fn keep(blobs: &mut BTreeMap<String, Vec<u8>>, blob: Vec<u8>, media_type: &str) -> Value {
    let digest = layer::sha256(&blob);
    let size = blob.len();
    blobs.insert(digest.clone(), blob);
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    content: &[u8],
) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;
    use crate::Entry;

    fn image(content: &[u8]) -> Image {
        Image {
            reference: "skep.local/test:1".to_owned(),
            entries: vec![
                Entry::Folder("bin".to_owned(), 0o755),
                Entry::File("bin/program".to_owned(), 0o755, content.to_vec()),
                Entry::Link("bin/tar".to_owned(), "program".to_owned()),
            ],
            entrypoint: vec!["/bin/program".to_owned()],
            arguments: vec![],
            environment: vec![],
            user: String::new(),
        }
    }

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn every_descriptor_names_a_blob_of_that_digest_and_size() {
        let mut archive = Vec::new();
        write(&[image(b"one"), image(b"two")], "amd64", &mut archive).unwrap();
        let files = files(&archive);
        let check = |descriptor: &Value| -> Vec<u8> {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let blob = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(layer::sha256(blob), digest);
            assert_eq!(descriptor["size"], blob.len());
            blob.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        for descriptor in index["manifests"].as_array().unwrap() {
            let manifest: Value = serde_json::from_slice(&check(descriptor)).unwrap();
            let config: Value = serde_json::from_slice(&check(&manifest["config"])).unwrap();
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(check(&manifest["layers"][0]).as_slice())
                .read_to_end(&mut plain)
                .unwrap();
            let diff_id = format!("sha256:{}", layer::sha256(&plain));
            assert_eq!(config["rootfs"]["diff_ids"][0], diff_id);
        }
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_same_contents_give_the_same_archive() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        write(&[image(b"same")], "amd64", &mut first).unwrap();
        write(&[image(b"same")], "amd64", &mut second).unwrap();
        assert_eq!(first, second);
    }
}
