//! The two halves of a hook: a decision changes tables and fills in a [`Step`], carrying it out changes
//! the packet. So a packet is never half translated, and the kernel's verifier walks each rewrite once,
//! not once for each way to it.

use skep_abi::Reason;
use skep_packet::{Headers, Packet, Tuple, decrement_ttl, rewrite};

use crate::{Action, Net, Tables, Verdict, fragment, tunnel};

/// What a packet is, and what is to be done with it beside its verdict.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step<F: Net> {
    /// Its facts, taken once for all functions: see [`read`].
    pub(crate) headers: Headers<F>,
    /// What a decision leaves to be done.
    pub(crate) change: Change<F>,
}

/// What a decision leaves to be done with the packet itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change<F: Net> {
    /// The tuple that the packet is given.
    pub(crate) to: Tuple<F>,
    /// 1: the packet is translated; 0: it stays, and the rest is of no meaning.
    translates: u32,
}

impl<F: Net> Step<F> {
    /// The facts of the packet.
    #[inline(always)]
    pub const fn headers(&self) -> &Headers<F> {
        &self.headers
    }
}

impl<F: Net> Change<F> {
    /// From now on the packet is to get the tuple [`Change::to`].
    #[inline(always)]
    pub(crate) fn translate(&mut self) {
        self.translates = 1;
    }

    /// Whether the packet is to be translated, which from now on is the caller's to do.
    #[inline(always)]
    pub(crate) fn takes_translation(&mut self) -> bool {
        core::mem::take(&mut self.translates) != 0
    }
}

/// Takes the facts of a packet, which every other function finds in `step`; false, and then the packet is
/// no business of theirs but [`Verdict::of_malformed`], when it is cut short or contradicts itself.
#[inline(always)]
pub fn read<F: Net, T: Tables<F>>(packet: &impl Packet, tables: &T, step: &mut Step<F>) -> bool {
    fragment::read(packet, tables, &mut step.headers).is_some()
}

/// Does to the packet what a decision left to be done, and says what is to become of it now.
#[inline(always)]
pub fn carry_out<F: Net, T: Tables<F>>(
    packet: &mut impl Packet,
    tables: &T,
    step: &Step<F>,
    verdict: Verdict,
) -> Verdict {
    let Step { headers, change } = step;
    if change.translates != 0 && rewrite(packet, headers, &change.to).is_none() {
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
