//! The configuration of one container.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;
use skep_cri::v1::{ContainerConfig, ImageSpec, KeyValue, LinuxContainerConfig, Mount};

use super::sandbox;
use super::security::{self, ImageUser};
use crate::expand::expand;
use crate::identity::{self, PodId};
use crate::qos::Class;
use crate::resources::Amounts;
use crate::role::{Member, Role};

/// What was worked out before: environment, mounts, the image.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) image_ref: String,
    pub(crate) image_user: ImageUser,
    pub(crate) memory_capacity: i64,
    /// The container whose processes an ephemeral container wants to see.
    pub(crate) target: Option<String>,
}

/// The container of `member`, for this attempt.
pub(crate) fn config(
    pod: &Pod,
    id: &PodId,
    member: &Member,
    attempt: u32,
    prepared: Prepared,
) -> ContainerConfig {
    let container = &member.container;
    let spec = pod.spec.clone().unwrap_or_default();
    let pod_context = spec.security_context.unwrap_or_default();
    let lookup = |name: &str| {
        let found = prepared.environment.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|text| expand(text, lookup)).collect()
    };
    let mut namespaces = sandbox::namespaces(pod);
    if member.role == Role::Ephemeral
        && let Some(target) = &prepared.target
    {
        namespaces.pid = skep_cri::v1::NamespaceMode::Target.into();
        namespaces.target_id = target.clone();
    }
    let mut labels = id.labels(None);
    labels.insert(identity::CONTAINER_NAME.into(), container.name.clone());
    let grace = identity::grace_period(pod).as_secs();
    let annotations = HashMap::from([
        (identity::CONTAINER_HASH.into(), identity::container_hash(container)),
        (identity::RESOURCES.into(), Amounts::of(container.resources.as_ref()).to_text()),
        (identity::RESTART_COUNT.into(), attempt.to_string()),
        (identity::TERMINATION_PATH.into(), termination_path(member).to_owned()),
        (
            identity::TERMINATION_POLICY.into(),
            container.termination_message_policy.clone().unwrap_or_else(|| "File".into()),
        ),
        (identity::POD_GRACE.into(), grace.to_string()),
    ]);
    let class = Class::of(pod);
    ContainerConfig {
        metadata: Some(identity::container_metadata(&container.name, attempt)),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: prepared
            .environment
            .iter()
            .map(|(key, value)| KeyValue { key: key.clone(), value: value.clone().into_bytes() })
            .collect(),
        mounts: prepared.mounts,
        labels,
        annotations,
        log_path: format!("{}/{attempt}.log", container.name),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(LinuxContainerConfig {
            resources: Some(
                Amounts::of(container.resources.as_ref()).to_cri(class, prepared.memory_capacity),
            ),
            security_context: Some(security::context(
                container,
                &pod_context,
                &prepared.image_user,
                namespaces,
            )),
        }),
        image: Some(ImageSpec {
            image: prepared.image_ref,
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Where the container leaves its last words.
pub(crate) fn termination_path(member: &Member) -> &str {
    let path = member.container.termination_message_path.as_deref();
    path.filter(|path| !path.is_empty()).unwrap_or("/dev/termination-log")
}
