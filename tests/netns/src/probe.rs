//! Processes in a namespace: servers, and clients that ask once or talk on.

use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Where a process runs.
#[derive(Debug, Clone)]
pub struct Place {
    pub(crate) namespace: String,
    pub(crate) cgroup: Option<PathBuf>,
}

/// What a server told: its name and the client address that it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Who answered.
    pub server: String,
    /// Whom it saw.
    pub seen_as: IpAddr,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
}

/// A client that talks over one socket or over many until it is stopped.
#[derive(Debug)]
pub struct Steady {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// Many connections at once.
#[derive(Debug)]
pub struct Rush {
    _client: Server,
}

/// One question over a new socket, answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Who answered.
    pub server: String,
    /// When it began, by [`skep_bpf::monotonic_ns`].
    pub began_ns: u64,
}

/// A client that asks over a new socket each time, until it is stopped.
#[derive(Debug)]
pub struct Visits(Steady);

impl Place {
    /// A network namespace by name; sockets of its processes belong to the control group.
    pub fn new(namespace: &str, cgroup: Option<&Path>) -> Self {
        Self { namespace: namespace.to_owned(), cgroup: cgroup.map(Path::to_path_buf) }
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The control group.
    pub fn cgroup(&self) -> Option<&Path> {
        self.cgroup.as_deref()
    }

    /// Starts a server for TCP and UDP, and waits until it listens.
    pub fn serve(&self, port: u16, name: &str) -> Server {
        self.server(&["serve", &port.to_string(), name])
    }

    /// Starts a server for TCP and UDP on many ports, each of which has its number as its name.
    pub fn serve_ports(&self, ports: std::ops::Range<u16>) -> Server {
        self.server(&["serve-ports", &ports.start.to_string(), &ports.len().to_string()])
    }

    fn server(&self, words: &[&str]) -> Server {
        let mut command = self.probe(words);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the probe runs");
        let output = child.stdout.take().expect("a pipe was asked for");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("the probe speaks");
        assert_eq!(line.trim(), "ready", "{words:?} did not start");
        Server { child }
    }

    /// Asks once over a new socket; the error is what the client's system call said.
    pub fn ask(&self, protocol: &str, address: &str) -> Result<Client, String> {
        self.client(&["ask", protocol, address])
    }

    /// Sends a megabyte over TCP, or over UDP a datagram that takes several packets, gets it back, and
    /// asks.
    pub fn ask_bulk(&self, protocol: &str, address: &str) -> Result<Client, String> {
        self.client(&["bulk", protocol, address])
    }

    fn client(&self, words: &[&str]) -> Result<Client, String> {
        let output = self.probe(words).output().expect("the probe runs");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (server, seen_as) = text.trim().split_once(' ').expect("NAME ADDRESS");
        let seen_as = seen_as.parse().expect("an address");
        Ok(Client { server: server.to_owned(), seen_as })
    }

    /// Starts to talk over one socket; returns once the server has answered for the first time.
    pub fn talk(&self, protocol: &str, address: &str) -> Steady {
        self.steady(&["steady", protocol, address])
    }

    /// Starts to talk over many sockets in turn; returns once the server has answered over each.
    pub fn crowd(&self, protocol: &str, address: &str, size: u16) -> Steady {
        self.steady(&["crowd", protocol, address, &size.to_string()])
    }

    /// Starts to ask over a new socket each time; returns once the server has answered for the first
    /// time.
    pub fn visit(&self, protocol: &str, address: &str) -> Visits {
        Visits(self.steady(&["visit", protocol, address]))
    }

    /// Opens many connections at the same time, and keeps those that come about until it is dropped.
    /// Waits for none.
    pub fn rush(&self, address: &str, size: u16) -> Rush {
        let mut command = self.probe(&["rush", address, &size.to_string()]);
        let child = command.stdin(Stdio::null()).spawn().expect("the probe runs");
        Rush { _client: Server { child } }
    }

    fn steady(&self, words: &[&str]) -> Steady {
        let mut command = self.probe(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the probe runs");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe was asked for"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the probe speaks");
        let steady = Steady { child, output };
        if line.trim() != "ready" {
            panic!("{words:?}: {}", steady.end().expect_err("it was not ready"));
        }
        steady
    }

    fn probe(&self, words: &[&str]) -> Command {
        self.command(&program("skep-probe"), words)
    }

    /// A program in this namespace and control group.
    pub fn command(&self, program: &Path, words: &[&str]) -> Command {
        let join = match &self.cgroup {
            Some(cgroup) => format!("echo $$ > {}/cgroup.procs && ", cgroup.display()),
            None => String::new(),
        };
        let mut command = Command::new("sh");
        // A crowd has many sockets.
        let limit = "ulimit -n $(ulimit -Hn) && ";
        let script =
            format!("{join}{limit}exec nsenter --net=/run/netns/{} -- \"$@\"", self.namespace);
        command.args(["-c", &script, "sh"]).arg(program).args(words);
        command
    }
}

/// Beside the test's own program: `target/PROFILE/deps/TEST` and `target/PROFILE/NAME`.
pub(crate) fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its program");
    let profile = own.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    profile.join(name)
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended with its namespace.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Steady {
    /// Stops talking. How often it was answered; the error is what ended it before its time.
    pub fn stop(mut self) -> Result<u64, String> {
        drop(self.child.stdin.take());
        self.end()
    }

    /// Waits until something ends the talk; the same answer.
    pub fn end(self) -> Result<u64, String> {
        let text = self.end_text()?;
        Ok(text.trim().parse().expect("a count"))
    }

    /// What it printed in the end.
    fn end_text(mut self) -> Result<String, String> {
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("the probe speaks");
        let status = self.child.wait().expect("it is our child");
        let mut error = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut error).expect("the probe speaks");
        }
        if !status.success() {
            return Err(error.trim().to_owned());
        }
        Ok(text)
    }
}

impl Visits {
    /// Stops asking. All visits in order; the error is what ended them before their time.
    pub fn stop(mut self) -> Result<Vec<Visit>, String> {
        drop(self.0.child.stdin.take());
        let text = self.0.end_text()?;
        let visit = |line: &str| {
            let (server, began_ns) = line.split_once(' ').expect("NAME NANOSECONDS");
            Visit { server: server.to_owned(), began_ns: began_ns.parse().expect("a number") }
        };
        Ok(text.lines().map(visit).collect())
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
