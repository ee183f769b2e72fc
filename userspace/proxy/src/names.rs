//! Names for the numbers in the kernel's tables, on disk for the tools: the kernel half knows none.
//!
//! The file is a log of lines, the last one about a number counts. Changes are appended, so that
//! keeping it costs what changed, and it is written anew when most of it is history.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The file's name in the run folder.
pub const FILE: &str = "names";
/// Lines of history that are not worth a new file.
const HISTORY: usize = 1 << 14;

/// Names of what the tables hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// `NAMESPACE/NAME:PORT` of each service id.
    pub services: BTreeMap<u32, String>,
    /// `NAMESPACE/NAME` of the pod at each address.
    pub pods: BTreeMap<IpAddr, String>,
}

impl Names {
    /// Reads the names from a run folder; none at all when no agent has written any.
    pub fn read(run_dir: &Path) -> io::Result<Self> {
        let file = match File::open(run_dir.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut names = Self::default();
        for line in BufReader::new(file).lines() {
            names.take(&line?);
        }
        Ok(names)
    }

    /// Takes a line. One that is cut short, because its writer died, says nothing.
    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(kind), Some(key), Some(name)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        match kind {
            "service" => {
                if let Ok(id) = key.parse() {
                    self.services.insert(id, name.into());
                }
            }
            "pod" => {
                if let Ok(address) = key.parse() {
                    self.pods.insert(address, name.into());
                }
            }
            _ => {}
        }
    }
}

/// The file as its one writer has it.
#[derive(Debug)]
pub struct NamesLog {
    path: PathBuf,
    /// Nothing before the first [`NamesLog::begin`].
    file: Option<BufWriter<File>>,
    live: usize,
    lines: usize,
}

impl NamesLog {
    /// The log in a run folder.
    pub fn new(run_dir: &Path) -> Self {
        Self { path: run_dir.join(FILE), file: None, live: 0, lines: 0 }
    }

    /// Whether most of the file is history, or there is none yet.
    pub fn is_due(&self) -> bool {
        self.file.is_none() || self.lines > 2 * self.live + HISTORY
    }

    /// Writes a new file that holds just these names, and puts it into the place of the old one.
    pub fn begin<'a>(
        &mut self,
        services: impl Iterator<Item = (u32, String)>,
        pods: impl Iterator<Item = (IpAddr, &'a str)>,
    ) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        (self.file, self.lines) = (Some(BufWriter::new(File::create(&fresh)?)), 0);
        self.append(services, pods)?;
        self.live = self.lines;
        std::fs::rename(fresh, &self.path)
    }

    /// Appends names. Before the first [`NamesLog::begin`] they will be in it.
    pub fn append<'a>(
        &mut self,
        services: impl Iterator<Item = (u32, String)>,
        pods: impl Iterator<Item = (IpAddr, &'a str)>,
    ) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        for (id, name) in services {
            writeln!(file, "service {id} {name}")?;
            self.lines += 1;
        }
        for (address, pod) in pods {
            writeln!(file, "pod {address} {pod}")?;
            self.lines += 1;
        }
        file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_counts_and_history_is_dropped() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Names::read(dir.path()).expect("no file"), Names::default());
        let pod: IpAddr = "10.244.0.5".parse().expect("address");
        let mut log = NamesLog::new(dir.path());
        assert!(log.is_due());
        log.begin([(7, "shop/web:http".to_owned())].into_iter(), [(pod, "shop/web-1")].into_iter())
            .expect("written");
        log.append([(8, "shop/db".to_owned())].into_iter(), [(pod, "shop/db-1")].into_iter())
            .expect("appended");
        let names = Names {
            services: [(7, "shop/web:http".into()), (8, "shop/db".into())].into(),
            pods: [(pod, "shop/db-1".into())].into(),
        };
        assert_eq!(Names::read(dir.path()).expect("read"), names);
        assert!(!log.is_due());

        let ports = (0..HISTORY as u32 * 2).map(|id| (id, "a/b".to_owned()));
        log.append(ports, std::iter::empty()).expect("appended");
        assert!(log.is_due());
        log.begin(std::iter::empty(), std::iter::empty()).expect("written");
        assert_eq!(Names::read(dir.path()).expect("read"), Names::default());
    }

    #[test]
    fn a_line_that_was_cut_short_says_nothing() {
        let mut names = Names::default();
        for line in ["service 7", "pod 10.0.0", "", "other 1 2", "service x y"] {
            names.take(line);
        }
        assert_eq!(names, Names::default());
    }
}
