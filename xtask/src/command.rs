//! Running other programs: what failed is said with its command line and its last output.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command from words, without input.
pub(crate) fn command<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().expect("a command has a program"));
    command.args(words).stdin(Stdio::null());
    command
}

/// Runs `command` with its output captured.
///
/// # Errors
/// When it cannot start or ends with another status than 0: with the tail of what it printed.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let printed = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = printed.lines().collect();
        let tail = &lines[lines.len().saturating_sub(30)..];
        bail!("`{line}` ended with {}:\n{}", output.status, tail.join("\n"));
    }
    Ok(text)
}

/// Runs `command` with its output shown.
///
/// # Errors
/// When it cannot start or ends with another status than 0.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let line = shown(command);
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs a line of plain words, split at spaces.
///
/// # Errors
/// As [`capture`].
pub(crate) fn line(words: &str) -> Result<String> {
    capture(&mut command(words.split_whitespace()))
}

/// The first folder of PATH that has `program`.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Whether `program` is on the path and its `--version` names `version`.
pub(crate) fn has_version(program: &str, version: &str) -> bool {
    find(program)
        .and_then(|file| capture(command([file]).arg("--version")).ok())
        .is_some_and(|text| text.contains(version))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
