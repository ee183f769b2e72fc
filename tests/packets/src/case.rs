//! A case: what is sent where, and what must become of it.

use skep_bpf::Program;

use crate::{
    frame::Frame,
    world::{InConfig, World},
};

/// What becomes of a packet, as far as host and kernel both can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To the stack, or on its way.
    Pass,
    /// Dropped.
    Drop,
    /// Redirected: into a pod, to a peer, out of a device, or back as its own rejection.
    Redirect,
}

/// One packet of a case.
#[derive(Clone, Debug)]
pub struct Step<F: InConfig> {
    /// The program it meets.
    pub program: Program,
    /// The device it is at.
    pub ifindex: u32,
    /// The packet.
    pub packet: Vec<u8>,
    /// What must become of it.
    pub fate: Fate,
    /// What must be left of it.
    pub out: Vec<u8>,
    family: std::marker::PhantomData<F>,
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case<F: InConfig> {
    /// What it shows.
    pub name: &'static str,
    /// The tables it starts with.
    pub world: World<F>,
    /// Its packets, in order.
    pub steps: Vec<Step<F>>,
}

impl<F: InConfig> Case<F> {
    /// A case without packets.
    pub fn new(name: &'static str, world: World<F>) -> Self {
        Self { name, world, steps: vec![] }
    }

    /// Sends a packet: at `program` on device `ifindex`, `packet` must meet `fate` and leave as `out`.
    #[must_use]
    pub fn send(
        mut self,
        (program, ifindex): (Program, u32),
        packet: &Frame<F>,
        fate: Fate,
        out: &Frame<F>,
    ) -> Self {
        let (packet, out) = (packet.bytes(), out.bytes());
        let family = std::marker::PhantomData;
        self.steps.push(Step { program, ifindex, packet, fate, out, family });
        self
    }

    /// Sends a packet that must be left as it is.
    #[must_use]
    pub fn same(self, at: (Program, u32), packet: &Frame<F>, fate: Fate) -> Self {
        self.send(at, packet, fate, packet)
    }
}
