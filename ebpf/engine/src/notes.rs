//! Steps noted in ordinary memory.

use std::{cell::RefCell, vec::Vec};

use skep_abi::{
    AffinityKey, Family, FlowKey, ServiceKey, SocketKey, Trace, TraceStep, TraceTable,
    addr_to_v6_words,
};

use crate::{Notebook, Verdict};

/// The steps so far.
#[derive(Debug, Default)]
pub struct Notes(RefCell<Vec<Trace>>);

impl Notes {
    /// The steps so far, in order.
    pub fn steps(&self) -> Vec<Trace> {
        self.0.borrow().clone()
    }

    /// Notes the verdict, as a program does before it carries it out.
    pub fn decided(&self, verdict: Verdict) {
        let (number, result) = (verdict.argument(), verdict.action() as u32);
        let step = TraceStep::Verdict as u8;
        self.0.borrow_mut().push(Trace { number, result, step, ..Trace::default() });
    }

    fn note<F: Family>(&self, step: TraceStep, table: TraceTable, key: Trace) {
        let (step, table, version) = (step as u8, table as u8, F::VERSION.into());
        self.0.borrow_mut().push(Trace { step, table, version, ..key });
    }
}

impl Notebook for Notes {
    fn address<F: Family>(&self, step: TraceStep, table: TraceTable, addr: &F::Addr, number: u32) {
        let dst = addr_to_v6_words::<F>(addr);
        self.note::<F>(step, table, Trace { dst, number, ..Trace::default() });
    }

    fn number<F: Family>(&self, step: TraceStep, table: TraceTable, number: u32, result: u32) {
        self.note::<F>(step, table, Trace { number, result, ..Trace::default() });
    }

    fn service<F: Family>(&self, step: TraceStep, key: &ServiceKey<F>) {
        let dst = addr_to_v6_words::<F>(&key.addr);
        let (dport_be, proto, scope) = (key.port_be, key.proto, key.scope);
        let key = Trace { dst, dport_be, proto, scope, ..Trace::default() };
        self.note::<F>(step, TraceTable::Services, key);
    }

    fn client<F: Family>(&self, step: TraceStep, key: &AffinityKey<F>, backend: u32) {
        let key = Trace {
            cookie: key.netns_cookie,
            src: addr_to_v6_words::<F>(&key.client),
            number: key.service,
            result: backend,
            ..Trace::default()
        };
        self.note::<F>(step, TraceTable::Sources, key);
    }

    fn range<F: Family>(&self, step: TraceStep, service: u32, client: &F::Addr) {
        let src = addr_to_v6_words::<F>(client);
        self.note::<F>(
            step,
            TraceTable::Ranges,
            Trace { src, number: service, ..Trace::default() },
        );
    }

    fn socket<F: Family>(&self, step: TraceStep, key: &SocketKey<F>, backend: u32) {
        let key = Trace {
            cookie: key.cookie,
            dst: addr_to_v6_words::<F>(&key.addr),
            dport_be: key.port_be,
            result: backend,
            ..Trace::default()
        };
        self.note::<F>(step, TraceTable::Sockets, key);
    }

    fn flow<F: Family>(&self, step: TraceStep, table: TraceTable, key: &FlowKey<F>, bits: u32) {
        let key = Trace {
            src: addr_to_v6_words::<F>(&key.src),
            dst: addr_to_v6_words::<F>(&key.dst),
            sport_be: key.sport_be,
            dport_be: key.dport_be,
            proto: key.proto,
            number: bits,
            ..Trace::default()
        };
        self.note::<F>(step, table, key);
    }
}
