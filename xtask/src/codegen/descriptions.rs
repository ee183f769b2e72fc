//! The documentation of types and fields, compressed: needed for OpenAPI only, and by far the largest
//! part of the description. Lines are `type TAB field TAB text`, an empty field standing for the type.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};

use super::openapi::Documents;
use super::types::Type;

pub(super) fn compress(openapi: &Documents, types: &[Type]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    for name in openapi.names() {
        let description =
            openapi.definition(name).and_then(|definition| definition["description"].as_str());
        write_line(&mut encoder, name, "", description)?;
        let Some(ty) = types.iter().find(|ty| ty.name == name) else { continue };
        for field in &ty.fields {
            let property = openapi.property(&field.described_by, &field.name);
            let description = property.and_then(|property| property["description"].as_str());
            write_line(&mut encoder, name, &field.name, description)?;
        }
    }
    Ok(encoder.finish()?)
}

fn write_line(to: &mut impl Write, ty: &str, field: &str, description: Option<&str>) -> Result<()> {
    if let Some(description) = description {
        writeln!(
            to,
            "{ty}\t{field}\t{}",
            description.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', " ")
        )?;
    }
    Ok(())
}
