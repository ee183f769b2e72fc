//! `/containerLogs`: which file, which part of it, and following it while it grows.

use std::path::PathBuf;
use std::time::Duration;

use http::Response;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use skep_cri::v1::ContainerState;
use tokio::sync::{mpsc, watch};

use super::Server;
use super::answer::{self, Answer, Refusal};
use super::route::PodPath;
use crate::logs::reader::{self, Wish};
use crate::observe::{Observed, Stage};
use crate::role;

/// Pieces that may wait for a slow reader.
const PIECES: usize = 16;
/// How often a followed container is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The end of a log comes on its own: upstream's API server, when it carries logs in a WebSocket,
/// drops bytes that it reads together with the end.
const BEFORE_END: Duration = Duration::from_millis(20);

impl Server {
    pub(super) async fn logs(
        &self,
        path: &PodPath,
        container: &str,
        query: &str,
    ) -> Result<Response<Answer>, Refusal> {
        let (wish, previous) = parse(query, Timestamp::now())?;
        let pod = self.pod(path)?;
        if !role::all(&pod).iter().any(|member| member.name() == container) {
            let message = format!("container {container:?} not found in pod {:?}", path.name);
            return Err(Refusal::bad_request(message));
        }
        let observed = self.look(&pod).await?;
        let found = match previous {
            true => observed.previous(container).or_else(|| {
                observed.newest(container).filter(|newest| newest.stage == Stage::Exited)
            }),
            false => observed.newest(container),
        };
        let Some(found) = found else {
            return Err(Refusal::bad_request(absent(&pod, path, container, previous)));
        };
        let (id, file) = (found.id.clone(), PathBuf::from(&found.log_path));
        let (pieces, receiver) = mpsc::channel(PIECES);
        let runtime = self.kubelet.runtime.clone();
        let (running, runs) = watch::channel(found.stage == Stage::Running);
        tokio::spawn(async move {
            let watching = async {
                loop {
                    tokio::time::sleep(LOOK).await;
                    let status = runtime.container_status(&id).await;
                    running
                        .send_replace(status.is_ok_and(|status| {
                            status.state() == ContainerState::ContainerRunning
                        }));
                }
            };
            let read = tokio::select! {
                read = reader::read(&file, &wish, &pieces, runs) => read,
                () = watching => Ok(()),
            };
            if let Err(error) = read {
                let message = format!("failed to read {}: {error}\n", file.display());
                // The reader may have gone.
                let _ = pieces.send(message.into()).await;
            }
            // The stream ends when the sender goes.
            tokio::time::sleep(BEFORE_END).await;
            drop(pieces);
        });
        let stream = futures::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|piece| (Ok(piece), receiver))
        });
        Ok(answer::stream(stream))
    }

    /// The pod that a path names.
    pub(super) fn pod(&self, path: &PodPath) -> Result<std::sync::Arc<Pod>, Refusal> {
        let known = self.known.read();
        let mut pods = known.values().filter(|pod| {
            let meta = &pod.metadata;
            meta.namespace.as_deref() == Some(&path.namespace)
                && meta.name.as_deref() == Some(&path.name)
                && path.uid.as_ref().is_none_or(|uid| meta.uid.as_ref() == Some(uid))
        });
        pods.next().cloned().ok_or_else(|| {
            let message = format!("pod \"{}/{}\" does not exist", path.namespace, path.name);
            Refusal::new(http::StatusCode::NOT_FOUND, message)
        })
    }

    /// What the runtime has of a pod.
    pub(super) async fn look(&self, pod: &Pod) -> Result<Observed, Refusal> {
        let id = crate::identity::PodId::of(pod)
            .ok_or_else(|| Refusal::internal("a pod without a name"))?;
        let kubelet = &self.kubelet;
        Observed::look(&kubelet.runtime, &kubelet.runtime_name, &id)
            .await
            .map_err(|error| Refusal::internal(error.to_string()))
    }
}

fn absent(pod: &Pod, path: &PodPath, container: &str, previous: bool) -> String {
    if previous {
        return format!(
            "previous terminated container {container:?} in pod {:?} not found",
            path.name
        );
    }
    let status = pod.status.as_ref();
    let all = status.into_iter().flat_map(|status| {
        status.container_statuses.iter().chain(&status.init_container_statuses).flatten()
    });
    let reason = all
        .filter(|one| one.name == container)
        .find_map(|one| one.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match reason {
        Some(reason)
            if matches!(
                reason.as_str(),
                "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull"
            ) =>
        {
            format!(
                "container {container:?} in pod {:?} is waiting to start: trying and failing to pull image",
                path.name
            )
        }
        Some(reason) => {
            format!("container {container:?} in pod {:?} is waiting to start: {reason}", path.name)
        }
        None => format!("container {container:?} in pod {:?} is not available", path.name),
    }
}

/// The wish, and whether the container before is meant.
fn parse(query: &str, now: Timestamp) -> Result<(Wish, bool), Refusal> {
    let mut wish = Wish::default();
    let mut previous = false;
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| Refusal::bad_request(format!("{key}: {value:?} is no number")))
        };
        let is_true = matches!(value.as_ref(), "true" | "1" | "t" | "T" | "TRUE" | "True");
        match key.as_ref() {
            "follow" => wish.follow = is_true,
            "previous" => previous = is_true,
            "timestamps" => wish.timestamps = is_true,
            "tailLines" => wish.tail_lines = Some(number()?),
            "limitBytes" => wish.limit_bytes = Some(number()?),
            "sinceSeconds" => {
                let seconds = i64::try_from(number()?).unwrap_or(i64::MAX);
                wish.since = now.checked_sub(SignedDuration::from_secs(seconds)).ok();
            }
            "sinceTime" => {
                let time = value.parse().map_err(|_| {
                    Refusal::bad_request(format!("sinceTime: {value:?} is no RFC 3339 time"))
                })?;
                wish.since = Some(time);
            }
            "stream" => {
                wish.stream = match value.as_ref() {
                    "Stdout" => Some(crate::logs::line::Stream::Stdout),
                    "Stderr" => Some(crate::logs::line::Stream::Stderr),
                    _ => None,
                }
            }
            _ => {}
        }
    }
    Ok((wish, previous))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let now = Timestamp::from_second(1000).unwrap();
        let (wish, previous) =
            parse("follow=true&tailLines=5&sinceSeconds=10&timestamps=true&previous=true", now)
                .unwrap();
        assert!(wish.follow && wish.timestamps && previous);
        assert_eq!(wish.tail_lines, Some(5));
        assert_eq!(wish.since, Some(Timestamp::from_second(990).unwrap()));
        assert!(parse("tailLines=-1", now).is_err());
        assert!(parse("sinceTime=yesterday", now).is_err());
    }
}
