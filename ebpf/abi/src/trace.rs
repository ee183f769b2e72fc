//! Records of a traced run: what a program asked of its tables, in order, and its verdict. Programs write
//! them only when they are loaded with their trace constant on, which no attached program ever is.

use crate::reason::numbered;

numbered! {
    /// What a step did.
    TraceStep {
        /// A look-up that found an entry.
        Found = 0, "found";
        /// A look-up that found none.
        Missed = 1, "missed";
        /// An entry that would have been written.
        Written = 2, "written";
        /// An entry that would not have been added: its key is taken.
        Taken = 3, "taken";
        /// An entry that would have been removed, if it is there.
        Removed = 4, "removed";
        /// Bits that would have been set in an entry, if it is there.
        Marked = 5, "marked";
        /// The verdict.
        Verdict = 6, "verdict";
    }
}

numbered! {
    /// A table of a step; the family follows from [`Trace::version`].
    TraceTable {
        /// No table.
        None = 0, "";
        /// `services4`, `services6`.
        Services = 1, "services";
        /// `slots`.
        Slots = 2, "slots";
        /// `backends4`, `backends6`.
        Backends = 3, "backends";
        /// `sources4`, `sources6`.
        Sources = 4, "sources";
        /// `flows4`, `flows6`.
        Flows = 5, "flows";
        /// `embryos4`, `embryos6`.
        Embryos = 6, "embryos";
        /// `snat4`, `snat6`.
        Snat = 7, "snat";
        /// `endpoints4`, `endpoints6`.
        Endpoints = 8, "endpoints";
        /// `nodes4`, `nodes6`.
        Nodes = 9, "nodes";
        /// `peers`.
        Peers = 10, "peers";
        /// `ranges4`, `ranges6`.
        Ranges = 11, "ranges";
        /// `sockets4`, `sockets6`.
        Sockets = 12, "sockets";
    }
}

/// One step. Fields that the table's key has not are zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The key's cookie: of the socket (`sockets`) or of the network namespace (`sources`).
    pub cookie: u64,
    /// The key's source address, or the client (`sources`, `ranges`); IPv4 in the first word.
    pub src: [u32; 4],
    /// The key's destination or only address.
    pub dst: [u32; 4],
    /// The key's source port.
    pub sport_be: u16,
    /// The key's destination or only port.
    pub dport_be: u16,
    /// The key's protocol.
    pub proto: u8,
    /// The key's scope (`services`).
    pub scope: u8,
    /// A number of [`TraceStep`].
    pub step: u8,
    /// A number of [`TraceTable`].
    pub table: u8,
    /// The key's index (`slots`, `backends`, `peers`) or Service (`sources`, `ranges`), the bits that are
    /// set ([`TraceStep::Marked`]), or the verdict's argument.
    pub number: u32,
    /// The backend that was found (`slots`, `sources`) or is written (`sources`, `sockets`), or the
    /// verdict's action.
    pub result: u32,
    /// 4 or 6; 0 for verdicts.
    pub version: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<Trace>() == 64);
