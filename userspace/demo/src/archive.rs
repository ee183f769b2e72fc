//! The part of tar that `kubectl cp` calls inside a container, and cat.

use std::fs::File;
use std::io::{stdin, stdout};
use std::path::Path;

/// `tar cf - PATH` and `tar x[m]f - [-C DIR]`; other letters that kubectl may add are ignored.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let letters = arguments.first().map_or("", |word| word.trim_start_matches('-'));
    let mut folder = ".";
    let mut paths = Vec::new();
    let mut words = arguments.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-C" => folder = words.next().ok_or("-C needs a folder")?,
            "-" => {}
            path => paths.push(path),
        }
    }
    if letters.contains('c') {
        pack(folder, &paths).map_err(|error| format!("pack: {error}"))
    } else if letters.contains('x') {
        tar::Archive::new(stdin()).unpack(folder).map_err(|error| format!("unpack: {error}"))
    } else {
        Err("tar: only c and x are known".to_owned())
    }
}

fn pack(folder: &str, paths: &[&str]) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(stdout().lock());
    archive.follow_symlinks(false);
    for path in paths {
        let (source, name) = (Path::new(folder).join(path), path.trim_start_matches('/'));
        if source.is_dir() {
            archive.append_dir_all(name, &source)?;
        } else {
            archive.append_path_with_name(&source, name)?;
        }
    }
    archive.finish()
}

/// Copies the files, or standard input where none is named, to standard output.
pub(crate) fn cat(files: &[&str]) -> Result<(), String> {
    let mut output = stdout().lock();
    if files.is_empty() {
        std::io::copy(&mut stdin(), &mut output).map_err(|error| error.to_string())?;
    }
    for name in files {
        let mut file = File::open(name).map_err(|error| format!("{name}: {error}"))?;
        std::io::copy(&mut file, &mut output).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}
