//! The calls that a node agent makes.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use crate::v1::image_service_client::ImageServiceClient;
use crate::v1::runtime_service_client::RuntimeServiceClient;
use crate::v1::{self};
use crate::{Endpoint, Error, Result};

/// Queries and small changes.
const SHORT: Duration = Duration::from_secs(120);
/// Making a sandbox waits for the network plugin.
const SANDBOX: Duration = Duration::from_secs(240);
/// Pulling an image that makes no progress is the runtime's to notice; this only bounds a lost call.
const PULL: Duration = Duration::from_secs(3600);
/// Lists of many containers are larger than the transport's default of 4 MiB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// One connection to a runtime; clones share it.
#[derive(Clone, Debug)]
pub struct Runtime {
    containers: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Runtime {
    /// Connects lazily: a runtime that is not up yet shows in the first call's error.
    pub fn new(endpoint: &Endpoint) -> Self {
        let channel = endpoint.channel();
        Self {
            containers: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES),
            images: ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES),
        }
    }

    /// The runtime's name and version.
    pub async fn version(&self) -> Result<v1::VersionResponse> {
        let request = v1::VersionRequest { version: "v1".into() };
        within("Version", SHORT, self.containers.clone().version(request)).await
    }

    /// The runtime's conditions (RuntimeReady, NetworkReady) and handlers.
    pub async fn status(&self) -> Result<v1::StatusResponse> {
        within("Status", SHORT, self.containers.clone().status(v1::StatusRequest::default())).await
    }

    /// Tells the runtime the node's pod range.
    pub async fn update_runtime_config(&self, pod_cidr: &str) -> Result<()> {
        let network_config = Some(v1::NetworkConfig { pod_cidr: pod_cidr.to_owned() });
        let request = v1::UpdateRuntimeConfigRequest {
            runtime_config: Some(v1::RuntimeConfig { network_config }),
        };
        let mut call = self.containers.clone();
        within("UpdateRuntimeConfig", SHORT, call.update_runtime_config(request)).await?;
        Ok(())
    }

    /// Makes a sandbox and its network; returns its id.
    pub async fn run_pod_sandbox(
        &self,
        config: v1::PodSandboxConfig,
        handler: &str,
    ) -> Result<String> {
        let request =
            v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        let response =
            within("RunPodSandbox", SANDBOX, self.containers.clone().run_pod_sandbox(request))
                .await?;
        Ok(response.pod_sandbox_id)
    }

    /// Stops what runs in a sandbox and takes its network down; harmless when done already.
    pub async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let mut call = self.containers.clone();
        absent_is_done(within("StopPodSandbox", SANDBOX, call.stop_pod_sandbox(request)).await)
    }

    /// Removes a sandbox and every container in it.
    pub async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        let mut call = self.containers.clone();
        absent_is_done(within("RemovePodSandbox", SHORT, call.remove_pod_sandbox(request)).await)
    }

    /// Sandboxes whose labels contain all of `labels`.
    pub async fn list_pod_sandboxes(
        &self,
        labels: HashMap<String, String>,
    ) -> Result<Vec<v1::PodSandbox>> {
        let filter = v1::PodSandboxFilter { label_selector: labels, ..Default::default() };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        let response =
            within("ListPodSandbox", SHORT, self.containers.clone().list_pod_sandbox(request))
                .await?;
        Ok(response.items)
    }

    /// One sandbox, with its addresses.
    pub async fn pod_sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let response =
            within("PodSandboxStatus", SHORT, self.containers.clone().pod_sandbox_status(request))
                .await?;
        response.status.ok_or_else(|| incomplete("PodSandboxStatus"))
    }

    /// Makes a container in a sandbox; returns its id.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let response =
            within("CreateContainer", SHORT, self.containers.clone().create_container(request))
                .await?;
        Ok(response.container_id)
    }

    /// Starts a created container.
    pub async fn start_container(&self, id: &str) -> Result<()> {
        let request = v1::StartContainerRequest { container_id: id.to_owned() };
        within("StartContainer", SHORT, self.containers.clone().start_container(request)).await?;
        Ok(())
    }

    /// Sends the stop signal, waits for `grace`, then kills; harmless when it has stopped already.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        let request = v1::StopContainerRequest {
            container_id: id.to_owned(),
            timeout: i64::try_from(grace.as_secs()).unwrap_or(i64::MAX),
        };
        let mut call = self.containers.clone();
        absent_is_done(within("StopContainer", grace + SHORT, call.stop_container(request)).await)
    }

    /// Changes what a running container may use.
    pub async fn update_container_resources(
        &self,
        id: &str,
        linux: v1::LinuxContainerResources,
    ) -> Result<()> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(linux),
            ..Default::default()
        };
        let mut call = self.containers.clone();
        let answer = call.update_container_resources(request);
        within("UpdateContainerResources", SHORT, answer).await?;
        Ok(())
    }

    /// Removes a container that has stopped; harmless when it is gone already.
    pub async fn remove_container(&self, id: &str) -> Result<()> {
        let request = v1::RemoveContainerRequest { container_id: id.to_owned() };
        let mut call = self.containers.clone();
        absent_is_done(within("RemoveContainer", SHORT, call.remove_container(request)).await)
    }

    /// Containers whose labels contain all of `labels`.
    pub async fn list_containers(
        &self,
        labels: HashMap<String, String>,
    ) -> Result<Vec<v1::Container>> {
        let filter = v1::ContainerFilter { label_selector: labels, ..Default::default() };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        let response =
            within("ListContainers", SHORT, self.containers.clone().list_containers(request))
                .await?;
        Ok(response.containers)
    }

    /// One container's state, times and exit code.
    pub async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let response =
            within("ContainerStatus", SHORT, self.containers.clone().container_status(request))
                .await?;
        response.status.ok_or_else(|| incomplete("ContainerStatus"))
    }

    /// Makes the runtime write to a container's log file under its name again, after a rotation.
    pub async fn reopen_container_log(&self, id: &str) -> Result<()> {
        let request = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        let mut call = self.containers.clone();
        within("ReopenContainerLog", SHORT, call.reopen_container_log(request)).await?;
        Ok(())
    }

    /// Runs a command to its end; output and exit code. `timeout` zero means none.
    pub async fn exec_sync(
        &self,
        id: &str,
        cmd: Vec<String>,
        timeout: Duration,
    ) -> Result<v1::ExecSyncResponse> {
        let request = v1::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd,
            timeout: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        };
        let bound = if timeout.is_zero() { PULL } else { timeout + SHORT };
        within("ExecSync", bound, self.containers.clone().exec_sync(request)).await
    }

    /// The address of a stream that runs a command.
    pub async fn exec(&self, request: v1::ExecRequest) -> Result<String> {
        Ok(within("Exec", SHORT, self.containers.clone().exec(request)).await?.url)
    }

    /// The address of a stream to a running container's own input and output.
    pub async fn attach(&self, request: v1::AttachRequest) -> Result<String> {
        Ok(within("Attach", SHORT, self.containers.clone().attach(request)).await?.url)
    }

    /// The address of a stream to a sandbox's ports.
    pub async fn port_forward(&self, request: v1::PortForwardRequest) -> Result<String> {
        Ok(within("PortForward", SHORT, self.containers.clone().port_forward(request)).await?.url)
    }

    /// Processor and memory use of the containers that run.
    pub async fn list_container_stats(&self) -> Result<Vec<v1::ContainerStats>> {
        let request = v1::ListContainerStatsRequest::default();
        let mut call = self.containers.clone();
        Ok(within("ListContainerStats", SHORT, call.list_container_stats(request)).await?.stats)
    }

    /// A stream of container events, where the runtime has one.
    pub async fn container_events(&self) -> Result<Streaming<v1::ContainerEventResponse>> {
        let mut call = self.containers.clone();
        within("GetContainerEvents", SHORT, call.get_container_events(v1::GetEventsRequest {}))
            .await
    }

    /// Every image that the runtime has.
    pub async fn list_images(&self) -> Result<Vec<v1::Image>> {
        let request = v1::ListImagesRequest::default();
        Ok(within("ListImages", SHORT, self.images.clone().list_images(request)).await?.images)
    }

    /// One image, or none if the runtime does not have it.
    pub async fn image_status(&self, image: v1::ImageSpec) -> Result<Option<v1::Image>> {
        let request = v1::ImageStatusRequest { image: Some(image), verbose: false };
        Ok(within("ImageStatus", SHORT, self.images.clone().image_status(request)).await?.image)
    }

    /// Pulls an image; returns its reference.
    pub async fn pull_image(
        &self,
        image: v1::ImageSpec,
        auth: Option<v1::AuthConfig>,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String> {
        let request =
            v1::PullImageRequest { image: Some(image), auth, sandbox_config: Some(sandbox_config) };
        Ok(within("PullImage", PULL, self.images.clone().pull_image(request)).await?.image_ref)
    }

    /// Removes an image.
    pub async fn remove_image(&self, image: v1::ImageSpec) -> Result<()> {
        let request = v1::RemoveImageRequest { image: Some(image) };
        absent_is_done(
            within("RemoveImage", SHORT, self.images.clone().remove_image(request)).await,
        )
    }

    /// Space that images take.
    pub async fn image_fs_info(&self) -> Result<v1::ImageFsInfoResponse> {
        let request = v1::ImageFsInfoRequest {};
        within("ImageFsInfo", SHORT, self.images.clone().image_fs_info(request)).await
    }
}

async fn within<T>(
    call: &'static str,
    limit: Duration,
    answer: impl Future<Output = std::result::Result<Response<T>, Status>>,
) -> Result<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::new(call, status)),
        Err(_) => Err(Error::Late { call, seconds: limit.as_secs() }),
    }
}

fn absent_is_done<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn incomplete(call: &'static str) -> Error {
    Error::new(call, Status::internal("the answer holds no status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_socket_is_unreachable() {
        let endpoint: Endpoint = "unix:///nonexistent/runtime.sock".parse().unwrap();
        let error = Runtime::new(&endpoint).version().await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }

    #[test]
    fn what_is_gone_needs_no_removing() {
        let gone = Error::new("RemoveContainer", Status::not_found("no such container"));
        assert!(absent_is_done(Err::<(), _>(gone)).is_ok());
        let other = Error::new("RemoveContainer", Status::internal("busy"));
        assert_eq!(absent_is_done(Err::<(), _>(other)).unwrap_err().message(), "busy");
    }
}
