//! Upstream's own round-trip data: of every kind one object in which every field is set, as JSON and as
//! protobuf. Lines are `NAME TAB JSON TAB BASE64`, compressed; the codecs' tests read them.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};

use super::openapi::read_json;
use super::types::Type;

pub(super) fn compress(api: &Path, types: &[Type]) -> Result<Vec<u8>> {
    let folder = api.join("testdata/HEAD");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("read {}", folder.display()))?
        .filter_map(|entry| {
            Some(entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.to_owned())
        })
        .collect();
    names.sort();
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    for name in names {
        let object = read_json(&folder.join(format!("{name}.json")))?;
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let core = if version.contains('/') { "" } else { "/" };
        if !types.iter().any(|ty| ty.is_kind(&format!("{core}{version}/{kind}"))) {
            continue;
        }
        let message = fs::read(folder.join(format!("{name}.pb")))?;
        writeln!(encoder, "{name}\t{object}\t{}", STANDARD.encode(message))?;
    }
    Ok(encoder.finish()?)
}
