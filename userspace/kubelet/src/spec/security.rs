//! The security context of a container: its own wishes over the pod's.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, PodSecurityContext, SeccompProfile, SecurityContext,
};
use skep_cri::v1::security_profile::ProfileType;
use skep_cri::v1::{
    Capability, Int64Value, LinuxContainerSecurityContext, NamespaceOption, SeLinuxOption,
    SecurityProfile, SupplementalGroupsPolicy,
};

/// Paths of /proc and /sys that say too much about the node.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths that a container may read and not write.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Who the image says it runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageUser {
    pub(crate) uid: Option<i64>,
    pub(crate) name: String,
}

/// Does the container ask for everything?
pub(crate) fn is_privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|own| own.privileged).unwrap_or(false)
}

/// Does the image's user fit what the pod allows? The error is for the container's status.
pub(crate) fn check_user(
    container: &Container,
    pod: &PodSecurityContext,
    image: &ImageUser,
) -> Result<(), String> {
    let own = container.security_context.clone().unwrap_or_default();
    let must_not_be_root = own.run_as_non_root.or(pod.run_as_non_root).unwrap_or(false);
    if !must_not_be_root {
        return Ok(());
    }
    match (own.run_as_user.or(pod.run_as_user), image.uid) {
        (Some(0), _) => Err("container's runAsUser breaks non-root policy".to_owned()),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err("container has runAsNonRoot and image will run as root".to_owned()),
        (None, Some(_)) => Ok(()),
        (None, None) if image.name.is_empty() => {
            Err("container has runAsNonRoot and image will run as root".to_owned())
        }
        (None, None) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root",
            image.name
        )),
    }
}

/// The context of one container.
pub(crate) fn context(
    container: &Container,
    pod: &PodSecurityContext,
    image: &ImageUser,
    namespaces: NamespaceOption,
) -> LinuxContainerSecurityContext {
    let own = container.security_context.clone().unwrap_or_default();
    let privileged = own.privileged.unwrap_or(false);
    let user = own.run_as_user.or(pod.run_as_user);
    let group = own.run_as_group.or(pod.run_as_group);
    let mut groups = pod.supplemental_groups.clone().unwrap_or_default();
    groups.extend(pod.fs_group);
    let by_name = user.is_none() && image.uid.is_none();
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked") || privileged;
    let paths = |list: &[&str]| match unmasked {
        true => Vec::new(),
        false => list.iter().map(|path| (*path).to_owned()).collect(),
    };
    LinuxContainerSecurityContext {
        capabilities: Some(capabilities(&own)),
        privileged,
        namespace_options: Some(namespaces),
        selinux_options: own.se_linux_options.as_ref().or(pod.se_linux_options.as_ref()).map(
            |options| SeLinuxOption {
                user: options.user.clone().unwrap_or_default(),
                role: options.role.clone().unwrap_or_default(),
                r#type: options.type_.clone().unwrap_or_default(),
                level: options.level.clone().unwrap_or_default(),
            },
        ),
        run_as_user: user.or(image.uid).map(|value| Int64Value { value }),
        run_as_group: group.map(|value| Int64Value { value }),
        run_as_username: if by_name { image.name.clone() } else { String::new() },
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups,
        supplemental_groups_policy: match pod.supplemental_groups_policy.as_deref() {
            Some("Strict") => SupplementalGroupsPolicy::Strict,
            _ => SupplementalGroupsPolicy::Merge,
        }
        .into(),
        no_new_privs: own.allow_privilege_escalation == Some(false) && !privileged,
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(match privileged {
            true => profile(ProfileType::Unconfined, ""),
            false => seccomp(own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref())),
        }),
        apparmor: own.app_armor_profile.as_ref().or(pod.app_armor_profile.as_ref()).map(apparmor),
        ..Default::default()
    }
}

/// Without a wish the container is not confined, as upstream has it by default.
pub(crate) fn seccomp(wish: Option<&SeccompProfile>) -> SecurityProfile {
    let Some(wish) = wish else { return profile(ProfileType::Unconfined, "") };
    match wish.type_.as_str() {
        "RuntimeDefault" => profile(ProfileType::RuntimeDefault, ""),
        "Localhost" => {
            let file = wish.localhost_profile.as_deref().unwrap_or_default();
            profile(ProfileType::Localhost, &format!("/var/lib/kubelet/seccomp/{file}"))
        }
        _ => profile(ProfileType::Unconfined, ""),
    }
}

fn apparmor(wish: &AppArmorProfile) -> SecurityProfile {
    match wish.type_.as_str() {
        "Unconfined" => profile(ProfileType::Unconfined, ""),
        "Localhost" => {
            profile(ProfileType::Localhost, wish.localhost_profile.as_deref().unwrap_or_default())
        }
        _ => profile(ProfileType::RuntimeDefault, ""),
    }
}

fn profile(kind: ProfileType, file: &str) -> SecurityProfile {
    SecurityProfile { profile_type: kind.into(), localhost_ref: file.to_owned() }
}

fn capabilities(own: &SecurityContext) -> Capability {
    let wish = own.capabilities.clone().unwrap_or_default();
    Capability {
        add_capabilities: wish.add.unwrap_or_default(),
        drop_capabilities: wish.drop.unwrap_or_default(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn non_root_is_checked_before_the_start() {
        let named = ImageUser { uid: None, name: "app".into() };
        let user = ImageUser { uid: Some(1000), name: String::new() };
        for (case, own, image, accepted) in [
            ("no wish", json!({}), ImageUser::default(), true),
            ("root image", json!({"runAsNonRoot": true}), ImageUser::default(), false),
            ("numeric user", json!({"runAsNonRoot": true}), user, true),
            ("named user", json!({"runAsNonRoot": true}), named.clone(), false),
            ("asked user", json!({"runAsNonRoot": true, "runAsUser": 5}), named.clone(), true),
            ("asked root", json!({"runAsNonRoot": true, "runAsUser": 0}), named, false),
        ] {
            let container =
                serde_json::from_value(json!({"name": "a", "securityContext": own})).unwrap();
            let checked = check_user(&container, &PodSecurityContext::default(), &image);
            assert_eq!(checked.is_ok(), accepted, "{case}: {checked:?}");
        }
    }

    #[test]
    fn the_container_wins_over_the_pod() {
        let container = serde_json::from_value(json!({"name": "a", "securityContext":
            {"runAsUser": 7, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}))
        .unwrap();
        let pod = serde_json::from_value(json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3,
            "seccompProfile": {"type": "RuntimeDefault"}}))
        .unwrap();
        let context = context(&container, &pod, &ImageUser::default(), NamespaceOption::default());
        assert_eq!(context.run_as_user.map(|user| user.value), Some(7));
        assert_eq!(context.run_as_group.map(|group| group.value), Some(2));
        assert_eq!(context.supplemental_groups, [3]);
        assert!(context.no_new_privs);
        assert_eq!(context.seccomp.unwrap().profile_type(), ProfileType::RuntimeDefault);
    }
}
