//! What the tests of a running cluster share: kubectl, commands inside nodes, namespaces of their own, and
//! waiting for a condition. `cargo xtask test --only cluster` brings the cluster up and says where it is.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What the tests need to know, set by xtask.
const KUBECONFIG: &str = "SKEP_TEST_KUBECONFIG";
const KUBECTL: &str = "SKEP_TEST_KUBECTL";
const XTASK: &str = "SKEP_TEST_XTASK";

const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A namespace of the cluster, deleted at the end of its test.
pub struct Namespace {
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// Makes the namespace.
    pub fn new(name: &str) -> Self {
        kubectl(&["create", "namespace", name]).ok();
        Self { name: name.to_owned() }
    }

    /// Runs kubectl in this namespace.
    pub fn kubectl(&self, words: &[&str]) -> Ran {
        let mut all = vec!["--namespace", &self.name];
        all.extend(words);
        kubectl(&all)
    }

    /// Applies a manifest of the folder `manifests`.
    pub fn apply(&self, file: &str) {
        let path = format!("{}/manifests/{file}", env!("CARGO_MANIFEST_DIR"));
        self.kubectl(&["apply", "-f", &path]).ok();
    }

    /// Applies a manifest given as text.
    pub fn apply_text(&self, manifest: &str) -> Ran {
        let mut apply = kubectl_command();
        apply.args(["--namespace", &self.name, "apply", "-f", "-"]);
        run_with_input(apply, manifest.as_bytes())
    }

    /// Gets an object, or a list, as a tree.
    pub fn get(&self, words: &[&str]) -> Value {
        let mut all = vec!["get", "-o", "json"];
        all.extend(words);
        serde_json::from_str(&self.kubectl(&all).ok()).expect("kubectl prints JSON")
    }

    /// A field of an object.
    pub fn field(&self, object: &str, pointer: &str) -> Value {
        self.get(&[object]).pointer(pointer).cloned().unwrap_or(Value::Null)
    }

    /// Waits until a Deployment is rolled out.
    pub fn rolled_out(&self, name: &str) {
        let target = format!("deployment/{name}");
        self.kubectl(&["rollout", "status", "--timeout=60s", &target]).ok();
    }

    /// Waits until a pod is ready.
    pub fn ready(&self, pod: &str) {
        let target = format!("pod/{pod}");
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &target]).ok();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cluster goes away with whatever of it is left.
        let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// A command that has run.
#[derive(Debug)]
pub struct Ran {
    line: String,
    output: Output,
}

impl Ran {
    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub fn ok(&self) -> String {
        assert!(self.output.status.success(), "`{}` failed:\n{}", self.line, self.text());
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// What a command that must have failed said.
    #[track_caller]
    pub fn refused(&self) -> String {
        assert!(!self.output.status.success(), "`{}` should fail:\n{}", self.line, self.text());
        self.text()
    }

    /// Whether it succeeded.
    pub fn succeeded(&self) -> bool {
        self.output.status.success()
    }

    /// Both outputs.
    pub fn text(&self) -> String {
        let (out, err) = (&self.output.stdout, &self.output.stderr);
        format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
    }
}

/// Runs kubectl as the cluster's administrator.
pub fn kubectl(words: &[&str]) -> Ran {
    let mut command = kubectl_command();
    command.args(words);
    run(command)
}

/// The kubectl command itself, for tests that talk to it while it runs.
pub fn kubectl_command() -> Command {
    let mut command = Command::new(environment(KUBECTL));
    command.env("KUBECONFIG", environment(KUBECONFIG)).stdin(Stdio::null());
    command
}

/// The demo's program run inside a node or `outside`.
pub fn demo(place: &str, words: &[&str]) -> Ran {
    let mut all = vec!["skep-demo"];
    all.extend(words);
    inside(place, &all)
}

/// Runs a command inside a node or `outside`.
pub fn inside(place: &str, words: &[&str]) -> Ran {
    run(inside_command(place, words))
}

/// Kills a node.
pub fn kill(node: &str) -> Ran {
    let mut command = Command::new(environment(XTASK));
    command.args(["kill", node]);
    run(command)
}

/// The command that runs inside a node or `outside`.
pub fn inside_command(place: &str, words: &[&str]) -> Command {
    let mut command = Command::new(environment(XTASK));
    command.args(["exec", place]).args(words).stdin(Stdio::null());
    command
}

/// Runs a command with this input.
pub fn run_with_input(mut command: Command, input: &[u8]) -> Ran {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let line = format!("{command:?}");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut pipe = child.stdin.take().expect("its input is a pipe");
    pipe.write_all(input).unwrap_or_else(|error| panic!("{line}: {error}"));
    drop(pipe);
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{line}: {error}"));
    Ran { line, output }
}

/// Asks until the answer is one that is waited for.
#[track_caller]
pub fn eventually<T: Debug>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if Instant::now() > deadline => {
                panic!("{what} did not come true; last: {last}")
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// `Ok` if the condition holds, else what is there instead.
///
/// # Errors
/// The value, printed.
pub fn holds(condition: bool, value: &impl Debug) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("{value:?}")) }
}

fn run(mut command: Command) -> Ran {
    let line = format!("{command:?}");
    let output = command.output().unwrap_or_else(|error| panic!("{line}: {error}"));
    Ran { line, output }
}

fn environment(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test --only cluster`"))
}
