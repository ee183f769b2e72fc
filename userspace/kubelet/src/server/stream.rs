//! Exec, attach and port forwarding: the runtime does the work at an address of its own; here the
//! client's bytes get there, through a translation where the client speaks WebSocket.

use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use skep_cri::v1::{AttachRequest, ExecRequest, PortForwardRequest};

use super::answer::{self, Answer, Refusal};
use super::route::PodPath;
use super::websocket::Channels;
use super::{Server, backend, tunnel, websocket};
use crate::observe::Stage;

/// What a client wants of a command's streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
    pub(super) ports: Vec<i32>,
}

impl Options {
    /// From a kubelet's query (input, output, error) or the API's (stdin, stdout, stderr).
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let is_true = matches!(value.as_ref(), "1" | "true");
            match key.as_ref() {
                "command" | "cmd" => options.command.push(value.into_owned()),
                "input" | "stdin" => options.stdin = is_true,
                "output" | "stdout" => options.stdout = is_true,
                "error" | "stderr" => options.stderr = is_true,
                "tty" => options.tty = is_true,
                "port" | "ports" => {
                    for port in value.split(',') {
                        let number: u16 = port.parse().map_err(|_| {
                            Refusal::bad_request(format!("port: {port:?} is no port"))
                        })?;
                        options.ports.push(number.into());
                    }
                }
                _ => {}
            }
        }
        // A terminal has one output.
        options.stderr &= !options.tty;
        Ok(options)
    }

    fn any(&self) -> Result<(), Refusal> {
        match self.stdin || self.stdout || self.stderr {
            true => Ok(()),
            false => {
                Err(Refusal::bad_request("you must specify at least 1 of stdin, stdout, stderr"))
            }
        }
    }

    fn channels(&self) -> Channels {
        Channels { stdin: self.stdin, stdout: self.stdout, stderr: self.stderr, tty: self.tty }
    }
}

impl Server {
    pub(super) async fn exec(
        &self,
        request: Request<Incoming>,
        pod: &PodPath,
        container: &str,
    ) -> Result<Response<Answer>, Refusal> {
        let options = Options::parse(request.uri().query().unwrap_or_default())?;
        options.any()?;
        let asked = ExecRequest {
            container_id: self.running(pod, container).await?,
            cmd: options.command.clone(),
            tty: options.tty,
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        let url = self.kubelet.runtime.exec(asked).await.map_err(refused)?;
        connect(request, &url, options.channels()).await
    }

    pub(super) async fn attach(
        &self,
        request: Request<Incoming>,
        pod: &PodPath,
        container: &str,
    ) -> Result<Response<Answer>, Refusal> {
        let mut options = Options::parse(request.uri().query().unwrap_or_default())?;
        options.any()?;
        let object = self.pod(pod)?;
        let members = crate::role::all(&object);
        let member = members.iter().find(|member| member.name() == container);
        // The container decided whether it has a terminal.
        options.tty = member.is_some_and(|member| member.container.tty == Some(true));
        options.stderr &= !options.tty;
        let asked = AttachRequest {
            container_id: self.running(pod, container).await?,
            tty: options.tty,
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
        };
        let url = self.kubelet.runtime.attach(asked).await.map_err(refused)?;
        connect(request, &url, options.channels()).await
    }

    pub(super) async fn port_forward(
        &self,
        request: Request<Incoming>,
        pod: &PodPath,
    ) -> Result<Response<Answer>, Refusal> {
        let options = Options::parse(request.uri().query().unwrap_or_default())?;
        let object = self.pod(pod)?;
        let observed = self.look(&object).await?;
        let sandbox = observed
            .current()
            .ok_or_else(|| Refusal::bad_request(format!("pod {:?} is not running", pod.name)))?;
        let asked = PortForwardRequest { pod_sandbox_id: sandbox.id.clone(), port: options.ports };
        let url = self.kubelet.runtime.port_forward(asked).await.map_err(refused)?;
        if tunnel::is_asked_for(request.headers()) {
            return tunnel::open(request, &url).await;
        }
        pass_through(request, &url).await
    }

    /// Runs a command to its end and gives its output.
    pub(super) async fn run_command(
        &self,
        pod: &PodPath,
        container: &str,
        query: &str,
    ) -> Result<Response<Answer>, Refusal> {
        let options = Options::parse(query)?;
        let command = match options.command.as_slice() {
            [one] => one.split_whitespace().map(str::to_owned).collect(),
            many => many.to_vec(),
        };
        let id = self.running(pod, container).await?;
        let ran =
            self.kubelet.runtime.exec_sync(&id, command, Duration::ZERO).await.map_err(refused)?;
        let output = [ran.stdout, ran.stderr].concat();
        let mut response = answer::text(&String::from_utf8_lossy(&output));
        if ran.exit_code != 0 {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        Ok(response)
    }

    /// The id of a running container.
    async fn running(&self, path: &PodPath, container: &str) -> Result<String, Refusal> {
        let pod = self.pod(path)?;
        let observed = self.look(&pod).await?;
        let found = observed.newest(container).filter(|found| found.stage == Stage::Running);
        found.map(|found| found.id.clone()).ok_or_else(|| {
            let message = format!("container not found ({container:?})");
            Refusal::new(StatusCode::NOT_FOUND, message)
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an error handler takes the error")]
fn refused(error: skep_cri::Error) -> Refusal {
    Refusal::internal(error.message())
}

/// Clients of the newer WebSocket protocols are translated; all others speak what the runtime does.
async fn connect(
    request: Request<Incoming>,
    url: &str,
    channels: Channels,
) -> Result<Response<Answer>, Refusal> {
    match websocket::choose(request.headers()) {
        Some(protocol) => websocket::translate(request, url, channels, protocol).await,
        None => pass_through(request, url).await,
    }
}

/// Lets the client and the runtime shake hands with each other, and copies bytes.
async fn pass_through(request: Request<Incoming>, url: &str) -> Result<Response<Answer>, Refusal> {
    if !request.headers().contains_key(header::UPGRADE) {
        return Err(Refusal::bad_request("unable to upgrade: missing upgrade headers in request"));
    }
    let (method, headers) = (request.method().clone(), backend::forwarded(request.headers()));
    let mut backend = backend::connect(url, method, headers).await?;
    let mut response = Response::new(answer::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = std::mem::take(&mut backend.headers);
    tokio::spawn(async move {
        let Ok(client) = hyper::upgrade::on(request).await else { return };
        let mut client = TokioIo::new(client);
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut backend.stream).await {
            tracing::debug!(%error, "a stream ended");
        }
    });
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings() {
        let expected = Options {
            command: vec!["sh".into(), "-c".into(), "a b".into()],
            stdin: true,
            stdout: true,
            ..Options::default()
        };
        for query in [
            "command=sh&command=-c&command=a+b&input=1&output=1",
            "command=sh&command=-c&command=a%20b&stdin=true&stdout=true",
        ] {
            assert_eq!(Options::parse(query).unwrap(), expected, "{query}");
        }
        let terminal = Options::parse("command=sh&output=1&error=1&tty=1").unwrap();
        assert!(terminal.tty && !terminal.stderr);
        assert!(Options::parse("port=http").is_err());
    }
}
