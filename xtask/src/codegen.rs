//! `cargo xtask codegen`: turns upstream's published API description into skep-api's tables. Upstream's
//! modules come from the Go module proxy through the `go` client; nothing else is read, and what is
//! written depends on their version alone.

mod corpus;
mod descriptions;
mod discovery;
mod gosource;
mod modules;
mod openapi;
mod types;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::upstream;

/// Writes the tables of control-plane/api, and what its tests read, or with `check` compares them with what is
/// there and fails on a difference.
pub(crate) fn run(check: bool) -> Result<()> {
    let release = format!("v{}", upstream::VERSION);
    let modules = modules::download(&release)?;
    let openapi = openapi::Documents::read(&modules.kubernetes)?;
    let source = gosource::Source::read(&modules, &openapi)?;
    let types = types::collect(&source, &openapi)?;
    let tables = [
        ("src/generated/types.tsv", types::render(&release, &types).into_bytes()),
        (
            "src/generated/resources.tsv",
            discovery::render(&release, &modules.kubernetes)?.into_bytes(),
        ),
        ("src/generated/descriptions.gz", descriptions::compress(&openapi, &types)?),
        ("tests/every_field.gz", corpus::compress(&modules.api, &types)?),
    ];
    let folder = folder();
    fs::create_dir_all(folder.join("src/generated"))?;
    for (name, content) in tables {
        let path = folder.join(name);
        if !check {
            fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        } else if !same(&path, &content)? {
            bail!("{} is out of date: run `cargo xtask codegen` and commit it", path.display());
        }
    }
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../control-plane/api")
}

/// Compressed tables are compared by what they hold: another compressor may pack them differently.
fn same(path: &Path, content: &[u8]) -> Result<bool> {
    let Ok(present) = fs::read(path) else { return Ok(false) };
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(inflate(&present)? == inflate(content)?);
    }
    Ok(present == content)
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain)?;
    Ok(plain)
}
