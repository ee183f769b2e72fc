//! Getting a container's image: the pull policy, and patience with registries that fail.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;
use skep_cri::Runtime;
use skep_cri::v1::{AuthConfig, Image, ImageSpec, PodSandboxConfig};

use crate::backoff::Backoff;
use crate::events::{Kind, Recorder, container_field};
use crate::memory::Waiting;
use crate::status::go_duration;

/// Pull delays by image, shared by all pods.
#[derive(Debug, Default)]
pub(crate) struct Images {
    backoffs: Mutex<HashMap<String, (Backoff, Timestamp, String)>>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Always,
    IfNotPresent,
    Never,
}

fn policy(container: &Container) -> Policy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => Policy::Always,
        Some("Never") => Policy::Never,
        Some(_) => Policy::IfNotPresent,
        None => {
            match reference(container.image.as_deref().unwrap_or_default()).ends_with(":latest") {
                true => Policy::Always,
                false => Policy::IfNotPresent,
            }
        }
    }
}

/// The image's name with its tag; a name without tag or digest means `latest`.
fn reference(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.contains(':') || image.contains('@') {
        true => image.to_owned(),
        false => format!("{image}:latest"),
    }
}

impl Images {
    /// Makes sure that the runtime has the image, or says why the container waits.
    pub(crate) async fn ensure(
        &self,
        runtime: &Runtime,
        events: &Recorder,
        pod: &Pod,
        container: &Container,
        auth: &[AuthConfig],
        sandbox: &PodSandboxConfig,
    ) -> Result<Image, Waiting> {
        let name = container.image.clone().unwrap_or_default();
        let field = || container_field(pod, &container.name);
        let wait = |reason: &str, message: String| Waiting {
            reason: reason.into(),
            message,
            retry_at: Timestamp::now(),
            tries: 0,
        };
        if name.is_empty()
            || name.contains(char::is_whitespace)
            || name.chars().any(char::is_uppercase) && !name.contains(':') && !name.contains('@')
        {
            let message =
                format!("Failed to apply default image tag \"{name}\": couldn't parse image name");
            events.pod(pod, field(), Kind::Warning, "InspectFailed", message.clone());
            return Err(wait("InvalidImageName", message));
        }
        let spec = ImageSpec {
            image: reference(&name),
            user_specified_image: name.clone(),
            ..Default::default()
        };
        let found = runtime.image_status(spec.clone()).await.map_err(|error| {
            wait(
                "ImageInspectError",
                format!("Failed to inspect image \"{name}\": {}", error.message()),
            )
        })?;
        match (policy(container), found) {
            (Policy::IfNotPresent | Policy::Never, Some(image)) => {
                let message = format!(
                    "Container image \"{name}\" already present on machine and can be accessed by the pod"
                );
                events.pod(pod, field(), Kind::Normal, "Pulled", message);
                return Ok(image);
            }
            (Policy::Never, None) => {
                let message =
                    format!("Container image \"{name}\" is not present with pull policy of Never");
                events.pod(pod, field(), Kind::Warning, "ErrImageNeverPull", message.clone());
                return Err(wait("ErrImageNeverPull", message));
            }
            (Policy::Always, _) | (Policy::IfNotPresent, None) => {}
        }
        if let Some((until, message)) = self.blocked(&name) {
            events.pod(
                pod,
                field(),
                Kind::Normal,
                "BackOff",
                format!("Back-off pulling image \"{name}\""),
            );
            return Err(Waiting {
                reason: "ImagePullBackOff".into(),
                message: format!("Back-off pulling image \"{name}\": {message}"),
                retry_at: until,
                tries: 0,
            });
        }
        self.pull(runtime, events, pod, container, &spec, auth, sandbox).await
    }

    #[expect(clippy::too_many_arguments, reason = "one call site; each is a different thing")]
    async fn pull(
        &self,
        runtime: &Runtime,
        events: &Recorder,
        pod: &Pod,
        container: &Container,
        spec: &ImageSpec,
        auth: &[AuthConfig],
        sandbox: &PodSandboxConfig,
    ) -> Result<Image, Waiting> {
        let name = &spec.user_specified_image;
        let field = || container_field(pod, &container.name);
        events.pod(pod, field(), Kind::Normal, "Pulling", format!("Pulling image \"{name}\""));
        let begin = std::time::Instant::now();
        let mut error = None;
        let tries: Vec<Option<AuthConfig>> =
            if auth.is_empty() { vec![None] } else { auth.iter().cloned().map(Some).collect() };
        for auth in tries {
            match runtime.pull_image(spec.clone(), auth, sandbox.clone()).await {
                Ok(_) => {
                    error = None;
                    break;
                }
                Err(refused) => error = Some(refused.message()),
            }
        }
        let found = match error {
            Some(error) => Err(error),
            None => match runtime.image_status(spec.clone()).await {
                Ok(Some(image)) => Ok(image),
                Ok(None) => Err("the runtime pulled the image and does not have it".into()),
                Err(error) => Err(error.message()),
            },
        };
        match found {
            Ok(image) => {
                self.backoffs.lock().remove(name);
                let took = go_duration(begin.elapsed());
                let message = format!(
                    "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {} bytes.",
                    image.size
                );
                events.pod(pod, field(), Kind::Normal, "Pulled", message);
                Ok(image)
            }
            Err(error) => {
                let message = format!("Failed to pull image \"{name}\": {error}");
                events.pod(pod, field(), Kind::Warning, "Failed", message);
                events.pod(pod, field(), Kind::Warning, "Failed", "Error: ErrImagePull");
                self.failed(name, &error);
                Err(Waiting {
                    reason: "ErrImagePull".into(),
                    message: error,
                    retry_at: Timestamp::now(),
                    tries: 0,
                })
            }
        }
    }

    fn blocked(&self, name: &str) -> Option<(Timestamp, String)> {
        let backoffs = self.backoffs.lock();
        let (backoff, since, message) = backoffs.get(name)?;
        Some((backoff.blocked_until(*since, Timestamp::now())?, format!("ErrImagePull: {message}")))
    }

    fn failed(&self, name: &str, message: &str) {
        let now = Timestamp::now();
        let mut backoffs = self.backoffs.lock();
        let entry =
            backoffs.entry(name.to_owned()).or_insert((Backoff::default(), now, String::new()));
        entry.0.advance(now);
        entry.1 = now;
        message.clone_into(&mut entry.2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tags_and_policies() {
        for (image, asked, full, expected) in [
            ("web", None, "web:latest", Policy::Always),
            ("web:1", None, "web:1", Policy::IfNotPresent),
            ("host:5000/web", None, "host:5000/web:latest", Policy::Always),
            ("web@sha256:ab", None, "web@sha256:ab", Policy::IfNotPresent),
            ("web", Some("Never"), "web:latest", Policy::Never),
            ("web:1", Some("Always"), "web:1", Policy::Always),
        ] {
            let container = serde_json::from_value(
                json!({"name": "c", "image": image, "imagePullPolicy": asked}),
            )
            .unwrap();
            assert_eq!(reference(image), full);
            assert_eq!(policy(&container), expected, "{image}");
        }
    }
}
