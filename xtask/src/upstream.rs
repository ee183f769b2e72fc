//! Builds upstream's own programs through the Go module proxy, as partners for interoperation tests.
//!
//! `k8s.io/kubernetes` is published but not meant to be imported: its go.mod points the staging modules at
//! folders that the published module lacks. A wrapper module takes that go.mod over with those replacements
//! pointed at the published modules of the same release. etcd's modules need the same. Built programs stay in
//! the target folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build::target_dir;
use crate::command::{capture, command, find};

/// The release that skep speaks.
pub(crate) const VERSION: &str = "1.37.1";
/// The oldest Go that builds it.
const OLDEST_GO: (u32, u32) = (1, 26);

/// One of upstream's programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    /// Its file name.
    pub(crate) name: &'static str,
    /// The Go package of its main function.
    package: &'static str,
}

/// The programs that stand in for skep's parts, and the client of the same release.
pub(crate) const PROGRAMS: &[Program] = &[
    Program { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" },
    Program {
        name: "kube-controller-manager",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    },
    Program { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler" },
    Program { name: "kube-proxy", package: "k8s.io/kubernetes/cmd/kube-proxy" },
    Program { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" },
];

/// Why upstream cannot be built here, if so.
pub(crate) fn obstacle() -> Option<String> {
    if find("go").is_none() {
        return Some("Go is not installed".to_owned());
    }
    let unknown = || Some("`go env GOVERSION` does not tell a version".to_owned());
    let Ok(version) = capture(&mut command(["go", "env", "GOVERSION"])) else { return unknown() };
    let mut numbers =
        version.trim_start_matches("go").trim().split('.').map_while(|n| n.parse().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return unknown() };
    let found: (u32, u32) = (major, minor);
    (found < OLDEST_GO).then(|| {
        format!("Go {}.{} is needed, this is {}", OLDEST_GO.0, OLDEST_GO.1, version.trim())
    })
}

/// The folder of the built programs: [`PROGRAMS`] and etcd. Builds what is not there yet.
///
/// # Errors
/// With Go's words.
pub(crate) fn build() -> Result<PathBuf> {
    let base = target_dir().join("upstream");
    let programs = base.join(VERSION);
    std::fs::create_dir_all(&programs)?;
    let module = base.join(format!("module-{VERSION}"));
    wrap_kubernetes(&module)?;
    for program in PROGRAMS {
        go_build(&module, program.package, &programs.join(program.name))?;
    }
    let version = required(&module, "go.etcd.io/etcd/client/v3")?;
    let module = base.join(format!("etcd-{version}"));
    wrap_etcd(&module, &version)?;
    go_build(&module, "go.etcd.io/etcd/server/v3", &programs.join("etcd"))?;
    Ok(programs)
}

fn wrap_kubernetes(module: &Path) -> Result<()> {
    let staging = format!("v0.{}", VERSION.trim_start_matches("1."));
    wrap(module, "k8s.io/kubernetes", &format!("v{VERSION}"), |line| {
        let (name, folder) = line.split_once(" => ./staging/src/")?;
        let module = folder.trim();
        Some(format!("{name} => {module} {staging}"))
    })
}

fn wrap_etcd(module: &Path, version: &str) -> Result<()> {
    wrap(module, "go.etcd.io/etcd/server/v3", version, |line| {
        let (name, _) = line.split_once(" => ../")?;
        let module = name.trim().trim_start_matches("replace ").trim();
        Some(format!("{name} => {module} {version}"))
    })
}

/// Makes a module of `dependency`'s go.mod, its replacements rewritten, that requires `dependency`.
fn wrap(
    module: &Path,
    dependency: &str,
    version: &str,
    replacement: impl Fn(&str) -> Option<String>,
) -> Result<()> {
    let (file, sums) = (module.join("go.mod"), module.join("go.sum"));
    if file.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(module)?;
    let source = download(module, dependency, version)?;
    let original = std::fs::read_to_string(source.join("go.mod"))
        .with_context(|| format!("{dependency} {version} has no go.mod"))?;
    let mut lines: Vec<String> = Vec::new();
    for line in original.lines() {
        if line.starts_with("module ") {
            lines.push("module wrapper".to_owned());
        } else {
            lines.push(replacement(line).unwrap_or_else(|| line.to_owned()));
        }
    }
    lines.push(format!("require {dependency} {version}"));
    std::fs::write(&sums, std::fs::read(source.join("go.sum"))?)?;
    std::fs::write(module.join("wrapper.go"), "package wrapper\n")?;
    // Written last: it says that the module is whole.
    std::fs::write(file, lines.join("\n") + "\n").context("cannot write go.mod")
}

/// The folder of a published module, fetched by the ordinary client.
pub(crate) fn download(folder: &Path, module: &str, version: &str) -> Result<PathBuf> {
    let words = ["mod", "download", "-json", &format!("{module}@{version}")];
    let text = capture(go(folder).env("GOFLAGS", "-buildvcs=false").args(words))?;
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    match answer["Dir"].as_str() {
        Some(source) => Ok(PathBuf::from(source)),
        None => bail!("{module} {version} cannot be had: {}", answer["Error"]),
    }
}

/// The version of `dependency` that the wrapper asks for.
fn required(module: &Path, dependency: &str) -> Result<String> {
    let text = std::fs::read_to_string(module.join("go.mod"))?;
    let version = text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word == "require");
        (words.next() == Some(dependency)).then(|| words.next()).flatten()
    });
    version.map(str::to_owned).with_context(|| format!("go.mod does not name {dependency}"))
}

fn go_build(module: &Path, package: &str, output: &Path) -> Result<()> {
    if output.exists() {
        return Ok(());
    }
    let part = output.with_extension("part");
    capture(
        go(module)
            .args(["build", "-trimpath", "-ldflags", &stamp(), "-o"])
            .arg(&part)
            .arg(package)
            .env("CGO_ENABLED", "0"),
    )?;
    std::fs::rename(part, output).context("cannot keep what was built")
}

/// Without its version the programs call themselves v0.0.0.
fn stamp() -> String {
    let minor = VERSION.split('.').nth(1).unwrap_or_default();
    let prefix = "-X k8s.io/component-base/version";
    format!(
        "-s -w {prefix}.gitVersion=v{VERSION} {prefix}.gitMajor=1 {prefix}.gitMinor={minor} \
         {prefix}.gitTreeState=clean"
    )
}

fn go(folder: &Path) -> Command {
    let mut go = command(["go"]);
    go.current_dir(folder)
        .env("GOFLAGS", "-buildvcs=false -mod=mod")
        .env("GOWORK", "off")
        .env("GOTOOLCHAIN", "local");
    go
}
