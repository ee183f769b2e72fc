//! The two halves of a hook: a decision changes tables and fills in a [`Step`], carrying it out changes
//! the packet. So a packet is never half translated, and the kernel's verifier walks each rewrite once,
//! not once for each way to it.

use skep_abi::Reason;
use skep_packet::{Headers, Packet, Segment, Tuple, decrement_ttl, rewrite};

use crate::{Action, Net, Tables, Verdict, tunnel};

/// What a decision leaves to be done with the packet itself, beside its verdict.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step<F: Net> {
    /// The tuple that the packet is given.
    pub(crate) to: Tuple<F>,
    /// Where its ports are.
    segment: Segment,
    /// 1: the packet is translated; 0: it stays, and the rest is of no meaning.
    translates: u32,
}

impl<F: Net> Step<F> {
    /// From now on the packet with these headers is to get the tuple [`Step::to`].
    #[inline(always)]
    pub(crate) fn translate(&mut self, headers: &Headers<F>) {
        self.segment = Segment::of(headers);
        self.translates = 1;
    }

    /// Whether the packet is to be translated, which from now on is the caller's to do.
    #[inline(always)]
    pub(crate) fn takes_translation(&mut self) -> bool {
        core::mem::take(&mut self.translates) != 0
    }
}

/// Does to the packet what a decision left to be done, and says what is to become of it now.
#[inline(always)]
pub fn carry_out<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    step: &Step<F>,
    verdict: Verdict,
) -> Verdict {
    if step.translates != 0 && rewrite(packet, &step.segment, &step.to).is_none() {
        return Verdict::drop(Reason::Malformed);
    }
    match verdict.action() {
        Action::ToPod | Action::ToPeer | Action::Out => match decrement_ttl::<F>(packet) {
            Some(()) => verdict,
            None => Verdict::drop(Reason::Malformed),
        },
        Action::ToTunnel => tunnel::wrap(packet, tables, verdict.argument()),
        Action::Pass
        | Action::Drop
        | Action::Reject
        | Action::Unwrap
        | Action::Error
        | Action::Open
        | Action::Route => verdict,
    }
}
