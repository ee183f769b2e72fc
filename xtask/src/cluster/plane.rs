//! Which programs make the control plane on node n1: skep's, or upstream's in place of some of them.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::layout::{PODS, SERVICES};

/// Where `skep server` and `skep apiserver` keep certificates, in the node's mount namespace.
const PKI: &str = "/var/lib/skep/server/pki";
/// Kubeconfigs of upstream's programs.
const CONFIGS: &str = "/run/skep";

/// A control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Plane {
    /// `skep server`
    Skep,
    /// `skep apiserver`, with upstream's kube-controller-manager and kube-scheduler
    UpstreamControllers,
    /// Upstream's etcd and kube-apiserver, with `skep controller-manager` and `skep scheduler`
    UpstreamApiserver,
}

/// A program that a node keeps running.
#[derive(Debug)]
pub(crate) struct Service {
    /// For its log.
    pub(crate) name: &'static str,
    /// A line for the shell.
    pub(crate) line: String,
    /// Whether it takes the loopback socket.
    pub(crate) listens: bool,
}

impl Plane {
    /// A manifest, from the repository's root, of rights that the control plane lacks at its start.
    pub(crate) fn rights(self) -> Option<&'static str> {
        (self == Self::UpstreamApiserver).then_some("tests/interop/upstream-apiserver.yaml")
    }

    /// The programs of the control plane.
    pub(crate) fn services(self, skep: &Path, upstream: &Path, address: &str) -> Vec<Service> {
        let skep = skep.display();
        let server = format!("https://{address}:6443");
        let config = |user: &str| {
            format!(
                "{skep} kubeconfig --user {user} --server {server} --advertise-address {address} \
                 >{CONFIGS}/{user}.part && mv {CONFIGS}/{user}.part {CONFIGS}/{user}.kubeconfig"
            )
        };
        let with = |name: &'static str, line: String| Service { name, line, listens: false };
        let upstream = |program: &str| PathBuf::from(upstream).join(program).display().to_string();
        match self {
            Self::Skep => vec![Service {
                name: "server",
                line: format!(
                    "exec {skep} server --advertise-address {address} --cluster-cidr {PODS} \
                     --service-cluster-ip-range {SERVICES}"
                ),
                listens: true,
            }],
            Self::UpstreamControllers => vec![
                Service {
                    name: "apiserver",
                    line: format!(
                        "exec {skep} apiserver --advertise-address {address} \
                         --service-cluster-ip-range {SERVICES}"
                    ),
                    listens: true,
                },
                with(
                    "kube-controller-manager",
                    format!(
                        "{} && exec {} --kubeconfig={CONFIGS}/controller-manager.kubeconfig \
                         --controllers=*,bootstrap-signer-controller,token-cleaner-controller \
                         --cluster-signing-cert-file={PKI}/ca.crt --cluster-signing-key-file={PKI}/ca.key \
                         --root-ca-file={PKI}/ca.crt --service-account-private-key-file={PKI}/sa.key \
                         --allocate-node-cidrs --cluster-cidr={PODS} \
                         --service-cluster-ip-range={SERVICES} --use-service-account-credentials",
                        config("controller-manager"),
                        upstream("kube-controller-manager"),
                    ),
                ),
                with(
                    "kube-scheduler",
                    format!(
                        "{} && exec {} --kubeconfig={CONFIGS}/scheduler.kubeconfig",
                        config("scheduler"),
                        upstream("kube-scheduler"),
                    ),
                ),
            ],
            Self::UpstreamApiserver => vec![
                with(
                    "etcd",
                    format!(
                        "exec {} --data-dir /var/lib/skep/etcd --log-level warn \
                         --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
                         --listen-peer-urls http://127.0.0.1:2380",
                        upstream("etcd")
                    ),
                ),
                with(
                    "kube-apiserver",
                    format!(
                        "{} && exec {} --advertise-address={address} \
                         --etcd-servers=http://127.0.0.1:2379 --authorization-mode=Node,RBAC \
                         --enable-bootstrap-token-auth --service-cluster-ip-range={SERVICES} \
                         --client-ca-file={PKI}/ca.crt --tls-cert-file={PKI}/apiserver.crt \
                         --tls-private-key-file={PKI}/apiserver.key \
                         --kubelet-client-certificate={PKI}/apiserver-kubelet-client.crt \
                         --kubelet-client-key={PKI}/apiserver-kubelet-client.key \
                         --kubelet-certificate-authority={PKI}/ca.crt \
                         --kubelet-preferred-address-types=InternalIP \
                         --service-account-issuer=https://kubernetes.default.svc.cluster.local \
                         --service-account-key-file={PKI}/sa.pub \
                         --service-account-signing-key-file={PKI}/sa.key",
                        config("admin"),
                        upstream("kube-apiserver"),
                    ),
                ),
                with(
                    "controller-manager",
                    format!(
                        "{} && exec {skep} controller-manager --kubeconfig={CONFIGS}/controller-manager.kubeconfig \
                         --cluster-signing-cert-file={PKI}/ca.crt --cluster-signing-key-file={PKI}/ca.key \
                         --root-ca-file={PKI}/ca.crt --cluster-cidr={PODS} --allocate-node-cidrs",
                        config("controller-manager")
                    ),
                ),
                with(
                    "scheduler",
                    format!(
                        "{} && exec {skep} scheduler --kubeconfig={CONFIGS}/scheduler.kubeconfig",
                        config("scheduler")
                    ),
                ),
            ],
        }
    }
}
