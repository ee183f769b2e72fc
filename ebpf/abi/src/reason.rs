//! Why a packet was dropped or answered, and where: the numbers in counters and events, with names.

/// Declares a numbered enum with a name per value.
macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant = $number,)* }

        impl $name {
            /// Every value, in the order of its number.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The name people see.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The value with this number.
            pub const fn from_number(number: u8) -> Option<$name> {
                match number { $($number => Some($name::$variant),)* _ => None }
            }
        }
    };
}

pub(crate) use numbered;

numbered! {
    /// What became of a packet, as far as it is worth counting. Numbers are stable: only add at the end.
    Reason {
        /// Translated, routed or passed as it should be.
        Forwarded = 0, "forwarded";
        /// Left alone: not the datapath's business.
        Passed = 1, "passed";
        /// A Service without a usable backend: rejected.
        NoBackend = 2, "no-backend";
        /// A Service address, but no such port or protocol: rejected.
        NoServicePort = 3, "no-service-port";
        /// In the range of Service addresses, but no Service: dropped.
        UnknownService = 4, "unknown-service";
        /// A packet of an old connection whose backend is gone: rejected.
        BackendGone = 5, "backend-gone";
        /// A Service that has no backend on this node and may use no other: dropped.
        NoLocalBackend = 6, "no-local-backend";
        /// A pod sent with an address that is not its own: dropped.
        SpoofedSource = 7, "spoofed-source";
        /// Headers are cut short or contradict themselves: dropped.
        Malformed = 8, "malformed";
        /// A later fragment whose first was not seen, of a connection that needs translation: dropped.
        Fragment = 9, "fragment";
        /// A protocol that cannot be translated, to an address that needs it: dropped.
        UnsupportedProtocol = 10, "unsupported-protocol";
        /// Table `flows` is full: dropped.
        FlowsFull = 11, "flows-full";
        /// Table `snat` is full: dropped.
        SnatFull = 12, "snat-full";
        /// No free port for a translated source to this destination: dropped.
        SnatPortsExhausted = 13, "snat-ports-exhausted";
        /// A slot names a backend that does not exist: dropped.
        InvalidBackend = 14, "invalid-backend";
        /// A prefix names a peer that does not exist: dropped.
        InvalidPeer = 15, "invalid-peer";
        /// The kernel refused to change, encapsulate or redirect the packet: dropped.
        HelperFailed = 16, "helper-failed";
        /// The address family is off on this node: dropped.
        NoNodeAddress = 17, "no-node-address";
        /// Table `config` is empty: the agent has not written it yet; passed.
        NotConfigured = 18, "not-configured";
        /// An event found no room in the ring: lost; the packet went its way.
        EventLost = 19, "event-lost";
        /// A client outside of the ranges that the Service allows: dropped.
        SourceNotAllowed = 20, "source-not-allowed";
        /// A packet that with an outer header does not fit the way to its backend's node: its sender is
        /// told, if it wants to be.
        PacketTooBig = 21, "packet-too-big";
        /// A packet opened a connection to a Service; counted beside what became of the packet.
        Opened = 22, "connection-opened";
        /// A packet to a Service whose time to live ends here: its sender is told.
        TtlExceeded = 23, "ttl-exceeded";
    }
}

numbered! {
    /// Where a program sits.
    Hook {
        /// XDP on a device of the node.
        Xdp = 0, "xdp";
        /// TCX ingress of a device of the node.
        NodeIngress = 1, "node-ingress";
        /// TCX egress of a device of the node.
        NodeEgress = 2, "node-egress";
        /// TCX ingress of the host side of a pod's veth pair: from the pod.
        PodIngress = 3, "pod-ingress";
        /// TCX egress of the host side of a pod's veth pair: from the stack to the pod.
        PodEgress = 4, "pod-egress";
        /// TCX ingress of the overlay device.
        OverlayIngress = 5, "overlay-ingress";
        /// TCX egress of the overlay device: from the stack to another node.
        OverlayEgress = 6, "overlay-egress";
        /// cgroup connect4, connect6.
        Connect = 7, "connect";
        /// cgroup sendmsg4, sendmsg6.
        Sendmsg = 8, "sendmsg";
    }
}

impl Reason {
    /// Whether packets counted under it went no further: dropped, or answered with a rejection.
    pub const fn is_drop(self) -> bool {
        !matches!(
            self,
            Self::Forwarded | Self::Passed | Self::NotConfigured | Self::EventLost | Self::Opened
        )
    }

    /// What to do when packets are counted under it: one sentence for the operator of a node.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Forwarded | Self::Passed => "nothing: this is as it should be",
            Self::NoBackend => {
                "see whether the Service's selector matches pods and whether they are ready: \
                 kubectl get endpointslices -l kubernetes.io/service-name=NAME"
            }
            Self::NoServicePort => {
                "compare the client's port and protocol with those of the Service: kubectl get service"
            }
            Self::UnknownService => {
                "find the client that still uses the address of a Service that was deleted"
            }
            Self::BackendGone => {
                "nothing when a pod was just deleted; else have the client connect anew"
            }
            Self::NoLocalBackend => {
                "send traffic only to nodes with an endpoint (healthCheckNodePort tells), or set \
                 the Service's traffic policy to Cluster"
            }
            Self::SpoofedSource => {
                "see which addresses the pod uses beside its own: the node accepts no other from it"
            }
            Self::Malformed => {
                "capture at the sender: its packets are cut short or their headers contradict each other"
            }
            Self::Fragment => {
                "let path MTU discovery work or lower the sender's MTU: fragments came without, or \
                 long before or after, the first of their packet"
            }
            Self::UnsupportedProtocol => {
                "use TCP, UDP or SCTP: other protocols have no ports that a Service could translate"
            }
            Self::FlowsFull => {
                "look for a flood or a leak of connections (skep net top); a node with more memory has \
                 larger tables"
            }
            Self::SnatFull => {
                "look for a pod or client that opens very many connections (skep net top); a node with \
                 more memory has larger tables"
            }
            Self::SnatPortsExhausted => {
                "spread the connections to this one destination over more destinations or nodes: each \
                 needs a port of its own on the node's address"
            }
            Self::InvalidBackend => {
                "run skep net verify: a Service names a backend that is not in the table"
            }
            Self::InvalidPeer => {
                "run skep net nodes: the address belongs to a node that is not known (any more)"
            }
            Self::HelperFailed => {
                "see the kernel's log: it refused to change, encapsulate or redirect the packet"
            }
            Self::NoNodeAddress => {
                "give the node an address of this family (kubelet's --node-ip), or keep clients from \
                 using the family"
            }
            Self::NotConfigured => {
                "wait for the agent, which has not written the node's addresses yet"
            }
            Self::EventLost => "read events faster, or filter them: the ring was full for a moment",
            Self::SourceNotAllowed => {
                "add the client's address to the Service's loadBalancerSourceRanges if it should get in"
            }
            Self::Opened => {
                "nothing, unless far more are opened than there are clients: a flood of them pushes \
                 out connections that are not answered yet, and no others"
            }
            Self::TtlExceeded => {
                "nothing when somebody traces a route; else look for a loop between client and node"
            }
            Self::PacketTooBig => {
                "let ICMP errors pass between client and node, so that path MTU discovery works, or \
                 raise the MTU between the nodes by the size of the outer header"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn numbers_count_up_from_zero_and_come_back() {
        for (number, reason) in (0..).zip(Reason::ALL) {
            assert_eq!(Reason::from_number(number), Some(*reason));
        }
        for (number, hook) in (0..).zip(Hook::ALL) {
            assert_eq!(Hook::from_number(number), Some(*hook));
        }
        assert_eq!(Reason::from_number(u8::MAX), None);
    }

    #[test]
    fn advice_is_one_line_of_its_own_for_each_drop() {
        let drops: Vec<_> = Reason::ALL.iter().filter(|reason| reason.is_drop()).collect();
        for reason in &drops {
            let advice = reason.advice();
            assert!(!advice.contains('\n') && !advice.contains("  "), "{}", reason.name());
            assert!(!advice.ends_with('.'), "{}", reason.name());
            let same = drops.iter().filter(|other| other.advice() == advice);
            assert_eq!(same.count(), 1, "{}", reason.name());
        }
    }
}
