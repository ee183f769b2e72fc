//! Names for the numbers in the kernel's tables, on disk for the tools: the kernel half knows none.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The file's name in the run folder.
pub const FILE: &str = "names.json";

/// Names of what the tables hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Names {
    /// `NAMESPACE/NAME:PORT` of each service id.
    pub services: BTreeMap<u32, String>,
    /// `NAMESPACE/NAME` of the pod at each address.
    pub pods: BTreeMap<IpAddr, String>,
}

impl Names {
    /// Reads the names from a run folder; none at all when no agent has written any.
    pub fn read(run_dir: &Path) -> std::io::Result<Self> {
        match std::fs::read(run_dir.join(FILE)) {
            Ok(json) => Ok(serde_json::from_slice(&json)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file in one step.
    pub fn write(&self, run_dir: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(run_dir)?;
        let fresh = run_dir.join(format!("{FILE}.new"));
        let mut to = std::io::BufWriter::new(std::fs::File::create(&fresh)?);
        serde_json::to_writer(&mut to, self)?;
        to.flush()?;
        std::fs::rename(fresh, run_dir.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Names::read(dir.path()).expect("no file"), Names::default());
        let names = Names {
            services: [(7, "shop/web:http".into())].into(),
            pods: [("10.244.0.5".parse().expect("address"), "shop/web-1".into())].into(),
        };
        names.write(dir.path()).expect("written");
        assert_eq!(Names::read(dir.path()).expect("read"), names);
    }
}
