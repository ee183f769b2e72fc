//! What is to become of a packet; the programs turn it into helper calls.

use skep_abi::{Config, Hook, Reason};

/// Where a packet came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The device.
    pub ifindex: u32,
    /// The hook.
    pub hook: Hook,
    /// Whether another node sent it on, as it was, for a backend on this one: the outer header is gone.
    pub from_peer: bool,
}

impl Ingress {
    /// Whether the hook can put a packet into the overlay. XDP cannot: it leaves such packets, before
    /// it changes them, to the hook behind it.
    #[inline(always)]
    pub(crate) fn can_encapsulate(self) -> bool {
        !matches!(self.hook, Hook::Xdp)
    }

    /// Whether the packet came in by a device of the node.
    #[inline(always)]
    pub(crate) fn is_device(self) -> bool {
        matches!(self.hook, Hook::Xdp | Hook::NodeIngress)
    }
}

/// What the steps of one decision share: where the packet came in and what is known of the node.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) at: Ingress,
    pub(crate) config: &'a Config,
}

impl Context<'_> {
    /// A verdict that does not answer the node that sent a packet on: the client would not hear it.
    #[inline(always)]
    pub(crate) fn without_answer(&self, verdict: Verdict) -> Verdict {
        if self.at.from_peer && matches!(verdict.action(), Action::Reject) {
            return Verdict::new(Action::Drop, verdict.argument());
        }
        verdict
    }
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To the node's stack, or on its way.
    Pass,
    /// Away with it.
    Drop,
    /// Turn it into its rejection ([`skep_packet::reject`]) and send that back out of the device it came
    /// in by; drop it when it must not be answered.
    Reject,
    /// Into the pod behind the host-side device [`Verdict::argument`].
    ToPod,
    /// To the node with index [`Verdict::argument`] in `peers`.
    ToPeer,
    /// Out of device [`Verdict::argument`]; the kernel finds the next hop.
    Out,
    /// In its outer header to the node with index [`Verdict::argument`] in `peers`, by the device that
    /// leads to the node's own address.
    ToTunnel,
    /// It has an outer header: ask [`crate::from_peer`].
    Unwrap,
    /// It is an ICMP error: ask [`crate::follow_error`].
    Error,
    /// It opens a connection: ask the hook's `open_` function. What opens connections is a function of
    /// its own, so that the kernel's verifier walks the two one after the other, not each path of one
    /// with each path of the other, and so that their variables are not on the stack together.
    Open,
    /// It opens a connection, but not to a Service: ask the hook's `route_` function.
    Route,
}

/// An action and what it needs: a reason, a device or an index.
///
/// One word, every bit of it set, instead of an enum with data: of that the compiler leaves bits
/// undefined that a variant does not use, and the verifier refuses to see them moved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Verdict(u64);

impl Verdict {
    /// Not the datapath's business.
    pub const PASS: Self = Self::pass(Reason::Passed);
    /// [`Action::Open`].
    pub const OPEN: Self = Self::new(Action::Open, 0);
    /// [`Action::Unwrap`].
    pub const UNWRAP: Self = Self::new(Action::Unwrap, 0);
    /// [`Action::Error`].
    pub const ERROR: Self = Self::new(Action::Error, 0);
    /// [`Action::Route`].
    pub const ROUTE: Self = Self::new(Action::Route, 0);

    const fn new(action: Action, argument: u32) -> Self {
        Self((action as u64) << 32 | argument as u64)
    }

    /// What becomes of a packet that cannot be read.
    #[inline(always)]
    pub const fn of_malformed(hook: Hook) -> Self {
        match hook {
            Hook::PodIngress => Self::drop(Reason::Malformed),
            _ => Self::PASS,
        }
    }

    /// [`Action::Pass`], counted under `reason`.
    pub const fn pass(reason: Reason) -> Self {
        Self::new(Action::Pass, reason as u32)
    }

    /// [`Action::Drop`], counted under `reason`.
    pub const fn drop(reason: Reason) -> Self {
        Self::new(Action::Drop, reason as u32)
    }

    /// [`Action::Drop`], counted under the reason with this number.
    #[inline(always)]
    pub(crate) const fn drop_by_number(reason: u32) -> Self {
        Self::new(Action::Drop, reason)
    }

    /// [`Action::Reject`], counted under `reason`.
    pub const fn reject(reason: Reason) -> Self {
        Self::new(Action::Reject, reason as u32)
    }

    /// [`Action::ToPod`].
    pub const fn to_pod(ifindex: u32) -> Self {
        Self::new(Action::ToPod, ifindex)
    }

    /// [`Action::ToPeer`].
    pub const fn to_peer(index: u32) -> Self {
        Self::new(Action::ToPeer, index)
    }

    /// [`Action::Out`].
    pub const fn out(ifindex: u32) -> Self {
        Self::new(Action::Out, ifindex)
    }

    /// [`Action::ToTunnel`].
    pub const fn to_tunnel(index: u32) -> Self {
        Self::new(Action::ToTunnel, index)
    }

    /// The word.
    #[inline(always)]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// A verdict from its word.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What to do.
    #[inline(always)]
    pub const fn action(self) -> Action {
        match self.0 >> 32 {
            0 => Action::Pass,
            1 => Action::Drop,
            2 => Action::Reject,
            3 => Action::ToPod,
            4 => Action::ToPeer,
            5 => Action::Out,
            6 => Action::ToTunnel,
            7 => Action::Unwrap,
            8 => Action::Error,
            9 => Action::Open,
            _ => Action::Route,
        }
    }

    /// The device or index it needs, or the number of the reason.
    #[inline(always)]
    pub const fn argument(self) -> u32 {
        self.0 as u32
    }

    /// The number of the reason to count it under.
    #[inline(always)]
    pub const fn reason_number(self) -> u32 {
        match self.action() {
            Action::Pass | Action::Drop | Action::Reject => self.argument(),
            _ => Reason::Forwarded as u32,
        }
    }

    /// The reason to count it under.
    pub fn reason(self) -> Reason {
        Reason::from_number(self.reason_number() as u8).unwrap_or(Reason::Forwarded)
    }
}

impl core::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.action())?;
        match self.action() {
            Action::Pass | Action::Drop | Action::Reject => write!(f, "({})", self.reason().name()),
            Action::Unwrap | Action::Error | Action::Open | Action::Route => Ok(()),
            _ => write!(f, "({})", self.argument()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_keeps_its_action_and_its_argument() {
        let devices = [
            (Verdict::to_pod(7), Action::ToPod, 7),
            (Verdict::to_peer(u32::MAX), Action::ToPeer, u32::MAX),
            (Verdict::out(1), Action::Out, 1),
            (Verdict::to_tunnel(3), Action::ToTunnel, 3),
            (Verdict::UNWRAP, Action::Unwrap, 0),
            (Verdict::ERROR, Action::Error, 0),
            (Verdict::OPEN, Action::Open, 0),
            (Verdict::ROUTE, Action::Route, 0),
        ];
        for (verdict, action, argument) in devices {
            assert_eq!((verdict.action(), verdict.argument()), (action, argument));
            assert_eq!(verdict.reason(), Reason::Forwarded);
        }
        for &reason in Reason::ALL {
            let verdicts = [Verdict::pass(reason), Verdict::drop(reason), Verdict::reject(reason)];
            for (verdict, action) in
                verdicts.into_iter().zip([Action::Pass, Action::Drop, Action::Reject])
            {
                assert_eq!((verdict.action(), verdict.reason()), (action, reason));
            }
        }
    }
}
