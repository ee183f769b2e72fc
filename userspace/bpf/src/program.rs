//! The programs of the object: their names, and where each can be attached.

use skep_abi::Hook;

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// XDP on a device of the node.
    Xdp,
    /// TCX ingress of the host side of a pod's veth pair.
    PodIngress,
    /// TCX egress of the host side of a pod's veth pair.
    PodEgress,
    /// TCX ingress of a device of the node.
    NodeIngress,
    /// TCX egress of a device of the node.
    NodeEgress,
    /// TCX ingress of the overlay device.
    OverlayIngress,
    /// TCX egress of the overlay device.
    OverlayEgress,
    /// IPv4 sockets that connect.
    Connect4,
    /// IPv6 sockets that connect.
    Connect6,
    /// IPv4 datagram sockets that send unconnected.
    Sendmsg4,
    /// IPv6 datagram sockets that send unconnected.
    Sendmsg6,
    /// IPv4 datagram sockets that receive.
    Recvmsg4,
    /// IPv6 datagram sockets that receive.
    Recvmsg6,
    /// IPv4 sockets asked for their peer.
    Getpeername4,
    /// IPv6 sockets asked for their peer.
    Getpeername6,
}

/// What kind of program it is to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `BPF_PROG_TYPE_XDP`.
    Xdp,
    /// `BPF_PROG_TYPE_SCHED_CLS`, attached by TCX.
    Tcx,
    /// `BPF_PROG_TYPE_CGROUP_SOCK_ADDR`.
    Socket,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Xdp,
        Self::PodIngress,
        Self::PodEgress,
        Self::NodeIngress,
        Self::NodeEgress,
        Self::OverlayIngress,
        Self::OverlayEgress,
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Recvmsg4,
        Self::Recvmsg6,
        Self::Getpeername4,
        Self::Getpeername6,
    ];

    /// Those at the sockets of a cgroup.
    pub const SOCKETS: [Self; 8] = [
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Recvmsg4,
        Self::Recvmsg6,
        Self::Getpeername4,
        Self::Getpeername6,
    ];

    /// Name in the object, of its pin and in `bpftool prog`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xdp => "node_xdp",
            Self::PodIngress => "pod_ingress",
            Self::PodEgress => "pod_egress",
            Self::NodeIngress => "node_ingress",
            Self::NodeEgress => "node_egress",
            Self::OverlayIngress => "overlay_ingress",
            Self::OverlayEgress => "overlay_egress",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Recvmsg4 => "recvmsg4",
            Self::Recvmsg6 => "recvmsg6",
            Self::Getpeername4 => "getpeername4",
            Self::Getpeername6 => "getpeername6",
        }
    }

    /// What it is to the kernel.
    pub fn kind(self) -> Kind {
        match self {
            Self::Xdp => Kind::Xdp,
            socket if Self::SOCKETS.contains(&socket) => Kind::Socket,
            _ => Kind::Tcx,
        }
    }

    /// The hook it counts under, where it counts.
    pub fn hook(self) -> Option<Hook> {
        Some(match self {
            Self::Xdp => Hook::Xdp,
            Self::PodIngress => Hook::PodIngress,
            Self::PodEgress => Hook::PodEgress,
            Self::NodeIngress => Hook::NodeIngress,
            Self::NodeEgress => Hook::NodeEgress,
            Self::OverlayIngress => Hook::OverlayIngress,
            Self::OverlayEgress => Hook::OverlayEgress,
            Self::Connect4 | Self::Connect6 => Hook::Connect,
            Self::Sendmsg4 | Self::Sendmsg6 => Hook::Sendmsg,
            _ => return None,
        })
    }

    /// The kernel's `bpf_attach_type`.
    pub(crate) fn attach_type(self) -> u32 {
        match self {
            Self::Xdp => 37,
            Self::PodIngress | Self::NodeIngress | Self::OverlayIngress => 46,
            Self::PodEgress | Self::NodeEgress | Self::OverlayEgress => 47,
            Self::Connect4 => 10,
            Self::Connect6 => 11,
            Self::Sendmsg4 => 14,
            Self::Sendmsg6 => 15,
            Self::Recvmsg4 => 19,
            Self::Recvmsg6 => 20,
            Self::Getpeername4 => 29,
            Self::Getpeername6 => 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ() {
        let mut names: Vec<_> = Program::ALL.into_iter().map(Program::name).collect();
        assert!(names.iter().all(|name| name.len() <= 15 && !name.contains('.')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Program::ALL.len());
    }
}
