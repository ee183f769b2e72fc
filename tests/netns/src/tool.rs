//! `skep net` as a person on a node runs it.

use std::io::Write;

use clap::Parser;

use crate::node::Node;

/// The command line behind `skep net`.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: skep_inspect::Command,
}

impl Node {
    /// What `skep net` with these words prints on this node; panics where it fails.
    pub fn net(&self, words: &[&str]) -> String {
        let mut out = Vec::new();
        self.net_to(words, &mut out)
            .unwrap_or_else(|error| panic!("skep net {words:?}: {error:#}"));
        String::from_utf8(out).expect("text")
    }

    /// The same as JSON.
    pub fn net_json(&self, words: &[&str]) -> serde_json::Value {
        let text = self.net(&[words, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}"))
    }

    /// The same, for as long as the command runs and `out` is read.
    pub fn net_to(&self, words: &[&str], out: &mut (impl Write + Send)) -> anyhow::Result<()> {
        let (pins, names) = (self.pin_dir.to_string_lossy(), self.state_dir.to_string_lossy());
        let folders = ["--bpf-dir", &*pins, "--run-dir", &*names];
        let line = Line::try_parse_from([&["net"], words, &folders].concat())?;
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(skep_inspect::run(line.command, out))
        };
        self.namespace.run(run).expect("the namespace can be entered")
    }
}
