//! The work of starting: volumes and sandbox of a pod, and one container from its image to its hook.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use skep_cri::v1::{AuthConfig, Image, PodSandboxConfig};

use crate::events::{Kind, container_field};
use crate::identity::PodId;
use crate::kubelet::Kubelet;
use crate::memory::Waiting;
use crate::observe::Sandbox;
use crate::resources::Amounts;
use crate::role::Member;
use crate::spec::container::Prepared;
use crate::spec::environment::{self, Sources};
use crate::spec::security::{self, ImageUser};
use crate::spec::{container, sandbox};
use crate::volume::{mounts, setup};
use crate::{hook, hosts, identity, pull_secrets, qos};

/// Makes everything that containers share. The error is for the pod's events: reason and message.
pub(crate) async fn make_sandbox(
    kubelet: &Kubelet,
    pod: &Pod,
    id: &PodId,
    attempt: u32,
    older: Vec<String>,
) -> Result<(), (&'static str, String)> {
    for old in older {
        let stopped = kubelet.runtime.stop_pod_sandbox(&old).await;
        stopped.map_err(|error| ("FailedKillPod", format!("error killing pod: {error}")))?;
    }
    let folder = kubelet.folder(id);
    setup::set_up(pod, id, &folder, kubelet.sources())
        .await
        .map_err(|error| ("FailedMount", format!("MountVolume.SetUp failed: {error}")))?;
    let node = kubelet.node_side(pod, id).await;
    let class = qos::Class::of(pod);
    kubelet.cgroups.make(&id.uid, class, Amounts::of_pod(pod)).map_err(|error| {
        ("FailedCreatePodContainer", format!("unable to ensure pod container exists: {error}"))
    })?;
    tokio::fs::create_dir_all(&node.log_directory)
        .await
        .map_err(|error| ("Failed", format!("error making pod log directory: {error}")))?;
    let handler =
        runtime_handler(kubelet, pod).await.map_err(|error| ("FailedCreatePodSandBox", error))?;
    let config = sandbox::config(pod, id, attempt, &node);
    let made = kubelet.runtime.run_pod_sandbox(config, &handler).await;
    made.map(drop).map_err(|error| {
        ("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {}", error.message()))
    })
}

/// The runtime's name for the pod's runtime class.
async fn runtime_handler(kubelet: &Kubelet, pod: &Pod) -> Result<String, String> {
    use k8s_openapi::api::node::v1::RuntimeClass;
    let Some(name) = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.clone()) else {
        return Ok(String::new());
    };
    let classes: kube::Api<RuntimeClass> = kube::Api::all(kubelet.client.clone());
    match classes.get(&name).await {
        Ok(class) => Ok(class.handler),
        Err(error) => Err(format!("runtime class {name:?}: {error}")),
    }
}

/// Where a container starts.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) sandbox: Sandbox,
    pub(crate) attempt: u32,
    /// For an ephemeral container: the running container whose processes it sees.
    pub(crate) target: Option<String>,
}

/// Starts one container and runs its hook; or says why it waits.
pub(crate) async fn start_container(
    kubelet: &Kubelet,
    pod: &Pod,
    id: &PodId,
    member: &Member,
    place: Place,
) -> Result<(), Waiting> {
    let spec = &member.container;
    let field = container_field(pod, member.name());
    let fail = |reason: &str, message: String| {
        let text = format!("Error: {message}");
        kubelet.events.pod(pod, field.clone(), Kind::Warning, "Failed", text);
        Waiting { reason: reason.into(), message, retry_at: Timestamp::now(), tries: 0 }
    };
    let node = kubelet.node_side(pod, id).await;
    let sandbox_config = sandbox::config(pod, id, place.sandbox.attempt, &node);
    let auth = pull_secrets::of(kubelet, pod, id, spec).await;
    let image = ensure_image(kubelet, pod, member, &auth, &sandbox_config).await?;
    let config_error = |message| fail("CreateContainerConfigError", message);
    let user = image_user(&image);
    let context =
        pod.spec.as_ref().and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    security::check_user(spec, &context, &user).map_err(config_error)?;
    let environment = environment(kubelet, pod, id, member, &place.sandbox.addresses)
        .await
        .map_err(config_error)?;
    let folder = kubelet.folder(id);
    write_hosts(kubelet, pod, id, &place.sandbox.addresses).await.map_err(config_error)?;
    let mounts = mounts::of(pod, member, &folder, &environment, place.attempt)
        .map_err(|error| config_error(error.to_string()))?;
    let prepared = Prepared {
        environment,
        mounts,
        image_ref: image.id,
        image_user: user,
        memory_capacity: kubelet.machine.memory_bytes,
        target: place.target,
    };
    let config = container::config(pod, id, member, place.attempt, prepared);
    let log = format!("{}/{}", node.log_directory, member.name());
    tokio::fs::create_dir_all(&log)
        .await
        .map_err(|error| config_error(format!("{log}: {error}")))?;
    let made = kubelet
        .runtime
        .create_container(&place.sandbox.id, config, sandbox_config)
        .await
        .map_err(|error| fail("CreateContainerError", error.message()))?;
    kubelet.events.pod(pod, field.clone(), Kind::Normal, "Created", "Container created");
    kubelet
        .runtime
        .start_container(&made)
        .await
        .map_err(|error| fail("RunContainerError", error.message()))?;
    kubelet.events.pod(pod, field.clone(), Kind::Normal, "Started", "Container started");
    let address =
        place.sandbox.addresses.first().copied().or(kubelet.config.node_ips.first().copied());
    post_start(kubelet, pod, member, &made, address, field).await;
    Ok(())
}

async fn ensure_image(
    kubelet: &Kubelet,
    pod: &Pod,
    member: &Member,
    auth: &[AuthConfig],
    sandbox: &PodSandboxConfig,
) -> Result<Image, Waiting> {
    let (runtime, events) = (&kubelet.runtime, &kubelet.events);
    kubelet.images.ensure(runtime, events, pod, &member.container, auth, sandbox).await
}

/// A hook that fails ends its container; what comes then is the restart policy's.
async fn post_start(
    kubelet: &Kubelet,
    pod: &Pod,
    member: &Member,
    id: &str,
    address: Option<IpAddr>,
    field: Option<String>,
) {
    let hooks = member.container.lifecycle.as_ref();
    let Some(handler) = hooks.and_then(|hooks| hooks.post_start.as_ref()) else { return };
    let Err(error) = hook::run(kubelet, &member.container, id, address, handler).await else {
        return;
    };
    tracing::warn!(container = member.name(), %error, "postStart hook failed");
    kubelet.events.pod(
        pod,
        field.clone(),
        Kind::Warning,
        "FailedPostStartHook",
        "PostStartHook failed",
    );
    kubelet.events.pod(pod, field, Kind::Normal, "Killing", "FailedPostStartHook");
    let grace = identity::grace_period(pod).unsigned_abs();
    if let Err(error) = kubelet.runtime.stop_container(id, grace).await {
        tracing::warn!(container = member.name(), %error, "cannot stop a container whose hook failed");
    }
}

fn image_user(image: &Image) -> ImageUser {
    ImageUser { uid: image.uid.as_ref().map(|uid| uid.value), name: image.username.clone() }
}

async fn environment(
    kubelet: &Kubelet,
    pod: &Pod,
    id: &PodId,
    member: &Member,
    addresses: &[IpAddr],
) -> Result<Vec<(String, String)>, String> {
    let (config_maps, secrets) = environment::needs(&member.container);
    let mut sources =
        Sources { services: kubelet.services_for(&id.namespace), ..Sources::default() };
    for name in config_maps {
        let found =
            kubelet.objects.config_map(&id.namespace, &name).await.map_err(|e| e.to_string())?;
        sources.config_maps.insert(name, found);
    }
    for name in secrets {
        let found =
            kubelet.objects.secret(&id.namespace, &name).await.map_err(|e| e.to_string())?;
        sources.secrets.insert(name, found);
    }
    let pod = with_addresses(kubelet, pod, addresses);
    let node = kubelet.machine.amounts();
    environment::environment(&pod, &member.container, &sources, &kubelet.config.node_name, node)
}

/// The pod as it is now: its status may not have reached the API server yet.
fn with_addresses(kubelet: &Kubelet, pod: &Pod, addresses: &[IpAddr]) -> Pod {
    use k8s_openapi::api::core::v1::{HostIP, PodIP};
    let mut pod = pod.clone();
    let on_node = identity::is_host_network(&pod);
    let of_node = &kubelet.config.node_ips;
    let status = pod.status.get_or_insert_default();
    status.host_ip = of_node.first().map(ToString::to_string);
    status.host_ips = Some(of_node.iter().map(|ip| HostIP { ip: ip.to_string() }).collect());
    let of_pod = if on_node { of_node.as_slice() } else { addresses };
    status.pod_ip = of_pod.first().map(ToString::to_string);
    status.pod_ips = Some(of_pod.iter().map(|ip| PodIP { ip: ip.to_string() }).collect());
    pod
}

async fn write_hosts(
    kubelet: &Kubelet,
    pod: &Pod,
    id: &PodId,
    addresses: &[IpAddr],
) -> Result<(), String> {
    let spec = pod.spec.as_ref();
    let aliases = spec.and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    let text = if identity::is_host_network(pod) {
        let of_node = tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default();
        hosts::file_on_node(&of_node, aliases)
    } else {
        let domain = sandbox::domain_name(pod, &kubelet.config.cluster_domain);
        hosts::file(addresses, &sandbox::hostname(pod), domain.as_deref(), aliases)
    };
    let folder = kubelet.folder(id);
    let written = async {
        tokio::fs::create_dir_all(folder.path()).await?;
        tokio::fs::write(folder.hosts(), text).await
    };
    written.await.map_err(|error| format!("{}: {error}", folder.hosts().display()))
}
