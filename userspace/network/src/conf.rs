//! What makes the container runtime use the plugin: a configuration and a link to the program.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::attachments::replace_file;
use crate::cni::{Conf, PLUGIN_NAMES};
use crate::error::{Error, Result};

/// Runtimes take the first file in the order of names.
const FILE: &str = "10-skep.conflist";

/// Writes the configuration, unless it is there just so.
pub fn write(dir: &Path, conf: &Conf) -> Result<()> {
    let list = json!({
        // Runtimes of before 1.1.0 read the first, later ones take the best of the second.
        "cniVersion": "1.0.0",
        "cniVersions": ["0.4.0", "1.0.0", "1.1.0"],
        "name": "skep",
        "plugins": [conf],
    });
    let path = dir.join(FILE);
    let text = format!("{list:#}\n");
    if fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    replace_file(&path, text.as_bytes())
}

/// Makes the program callable by the plugins' names. A loopback plugin that somebody else installed is
/// left alone.
pub fn install_plugin(dir: &Path, program: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    for name in PLUGIN_NAMES {
        let link = dir.join(name);
        let target = fs::read_link(&link).ok();
        if target.as_deref() == Some(program) {
            continue;
        }
        let is_ours = target.is_some_and(|t| t.file_name() == program.file_name());
        if name != PLUGIN_NAMES[0] && link.symlink_metadata().is_ok() && !is_ours {
            continue;
        }
        let fresh = dir.join(format!(".{name}.new"));
        let replace = || {
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::os::unix::fs::symlink(program, &fresh)?;
            fs::rename(&fresh, &link)
        };
        replace().map_err(Error::file("link", &link))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::{Capabilities, RuntimeConfig};

    #[test]
    fn the_plugin_is_linked_and_a_foreign_loopback_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("loopback"), "somebody else's").expect("written");
        let program = Path::new("/usr/local/bin/skep");
        for _ in 0..2 {
            install_plugin(dir.path(), program).expect("installed");
        }
        let link = fs::read_link(dir.path().join("skep-cni")).expect("a link");
        assert_eq!(link, program);
        let foreign = fs::read_to_string(dir.path().join("loopback")).expect("still there");
        assert_eq!(foreign, "somebody else's");
    }

    #[test]
    fn the_configuration_is_one_that_the_plugin_understands() {
        let dir = tempfile::tempdir().expect("a folder");
        let conf = Conf {
            cni_version: String::new(),
            name: String::new(),
            kind: PLUGIN_NAMES[0].into(),
            pod_ranges: vec!["10.244.3.0/24".parse().expect("range")],
            mtu: 1450,
            state_dir: "/run/skep/cni".into(),
            pin_dir: "/sys/fs/bpf/skep".into(),
            capabilities: Capabilities { port_mappings: true },
            runtime_config: RuntimeConfig::default(),
            prev_result: None,
            valid_attachments: None,
            attachments: None,
        };
        write(dir.path(), &conf).expect("written");
        let text = fs::read_to_string(dir.path().join(FILE)).expect("there");
        let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let parsed: Conf = serde_json::from_value(list["plugins"][0].clone()).expect("a conf");
        assert_eq!(parsed, conf);
    }
}
