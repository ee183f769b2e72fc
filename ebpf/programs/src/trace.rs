//! The kernel's tables of the second build, feature `trace`: what is asked of them is written into the
//! ring, and what is to be written stays away from them. Such a program is only ever run over made
//! packets.

use skep_abi::{
    AffinityKey, Family, FlowKey, ServiceKey, SocketKey, Trace, TraceStep, TraceTable, V4, V6,
};
use skep_engine::{Notebook, Traced, Verdict};

use crate::{maps, tables::LiveTables};

/// The kernel's tables, looked at.
pub type KernelTables = Traced<'static, LiveTables, Ring>;
/// The only value of that type.
#[expect(non_upper_case_globals, reason = "stands for the unit struct of the first build")]
pub const KernelTables: KernelTables = Traced::new(&LiveTables, Ring);

/// The ring of events, which in this build carries steps.
pub struct Ring;

/// Writes a step, a [`word`]. Steps that find no room are missed by whoever reads them: the verdict comes last.
#[inline(always)]
fn write(step: u32, version: u32, fill: impl FnOnce(*mut Trace)) {
    let Some(mut entry) = maps::EVENTS.reserve_untyped::<Trace>(0) else { return };
    let place: *mut Trace = entry.as_mut_ptr();
    let words = place.cast::<u32>();
    for number in 0..size_of::<Trace>() / size_of::<u32>() {
        // SAFETY: the ring gave room for one step; volatile keeps the compiler from making a byte loop.
        unsafe { words.add(number).write_volatile(0) };
    }
    // SAFETY: as above.
    unsafe {
        (*place).step = step as u8;
        (*place).table = (step >> 8) as u8;
        (*place).version = version;
    }
    fill(place);
    entry.submit(0);
}

/// Writes an address in its four words.
#[inline(always)]
fn address<F: Family>(place: *mut [u32; 4], addr: &F::Addr) {
    let (place, words) = (place.cast::<u32>(), addr.as_ref());
    for number in 0..F::WORDS {
        // SAFETY: the caller hands in room for four words; volatile as above.
        unsafe { place.add(number).write_volatile(words[number]) };
    }
}

/// Notes the verdict before it is carried out; always 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_verdict(verdict: u64) -> i32 {
    let verdict = Verdict::from_bits(verdict);
    write(TraceStep::Verdict as u32, 0, |place| {
        // SAFETY: `write` hands in room for a step.
        unsafe {
            (*place).number = verdict.argument();
            (*place).result = verdict.action() as u32;
        }
    });
    0
}

/// Notes a key that is an index; always 0. `step` is of [`word`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_number(step: u32, version: u32, number: u32, result: u32) -> i32 {
    write(step, version, |place| {
        // SAFETY: as above.
        unsafe {
            (*place).number = number;
            (*place).result = result;
        }
    });
    0
}

/// A step and its table in one word, for functions with few arguments.
#[inline(always)]
fn word(step: TraceStep, table: TraceTable) -> u32 {
    step as u32 | (table as u32) << 8
}

/// The functions of one family: global ones, which the verifier walks once and not in each state of each
/// caller. Each begins with a look at its pointer: to the verifier it may be null.
macro_rules! notes {
    ($module:ident, $family:ty, $address:literal, $service:literal, $client:literal, $socket:literal,
     $flow:literal) => {
        mod $module {
            use super::*;

            // SAFETY of all blocks below: the callers hand in references, `write` room for a step.

            #[unsafe(export_name = $address)]
            #[inline(never)]
            pub(super) extern "C" fn note_address(
                step: u32,
                addr: *const [u32; <$family>::WORDS],
                number: u32,
                is_source: u32,
            ) -> i32 {
                // SAFETY: see above.
                let Some(addr) = (unsafe { addr.as_ref() }) else { return 0 };
                // SAFETY: see above.
                write(step, <$family>::VERSION.into(), |place| unsafe {
                    if is_source != 0 {
                        address::<$family>(&raw mut (*place).src, addr);
                    } else {
                        address::<$family>(&raw mut (*place).dst, addr);
                    }
                    (*place).number = number;
                });
                0
            }

            #[unsafe(export_name = $service)]
            #[inline(never)]
            pub(super) extern "C" fn note_service(
                step: u32,
                key: *const ServiceKey<$family>,
            ) -> i32 {
                // SAFETY: see above.
                let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
                // SAFETY: see above.
                write(step, <$family>::VERSION.into(), |place| unsafe {
                    address::<$family>(&raw mut (*place).dst, &key.addr);
                    (*place).dport_be = key.port_be;
                    (*place).proto = key.proto;
                    (*place).scope = key.scope;
                });
                0
            }

            #[unsafe(export_name = $client)]
            #[inline(never)]
            pub(super) extern "C" fn note_client(
                step: u32,
                key: *const AffinityKey<$family>,
                backend: u32,
            ) -> i32 {
                // SAFETY: see above.
                let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
                // SAFETY: see above.
                write(step, <$family>::VERSION.into(), |place| unsafe {
                    (*place).cookie = key.netns_cookie;
                    address::<$family>(&raw mut (*place).src, &key.client);
                    (*place).number = key.service;
                    (*place).result = backend;
                });
                0
            }

            #[unsafe(export_name = $socket)]
            #[inline(never)]
            pub(super) extern "C" fn note_socket(
                step: u32,
                key: *const SocketKey<$family>,
                backend: u32,
            ) -> i32 {
                // SAFETY: see above.
                let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
                // SAFETY: see above.
                write(step, <$family>::VERSION.into(), |place| unsafe {
                    (*place).cookie = key.cookie;
                    address::<$family>(&raw mut (*place).dst, &key.addr);
                    (*place).dport_be = key.port_be;
                    (*place).result = backend;
                });
                0
            }

            #[unsafe(export_name = $flow)]
            #[inline(never)]
            pub(super) extern "C" fn note_flow(
                step: u32,
                key: *const FlowKey<$family>,
                bits: u32,
            ) -> i32 {
                // SAFETY: see above.
                let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
                // SAFETY: see above.
                write(step, <$family>::VERSION.into(), |place| unsafe {
                    address::<$family>(&raw mut (*place).src, &key.src);
                    address::<$family>(&raw mut (*place).dst, &key.dst);
                    (*place).sport_be = key.sport_be;
                    (*place).dport_be = key.dport_be;
                    (*place).proto = key.proto;
                    (*place).number = bits;
                });
                0
            }
        }
    };
}

notes!(notes4, V4, "note_address4", "note_service4", "note_client4", "note_socket4", "note_flow4");
notes!(notes6, V6, "note_address6", "note_service6", "note_client6", "note_socket6", "note_flow6");

/// Calls a function of the family `F`, which is one of two, with a key of that family.
macro_rules! note {
    ($family:ident, $function:ident, $step:expr, $key:expr $(, $more:expr)*) => {
        if $family::VERSION == V4::VERSION {
            notes4::$function($step, (&raw const *$key).cast() $(, $more)*);
        } else {
            notes6::$function($step, (&raw const *$key).cast() $(, $more)*);
        }
    };
}

impl Notebook for Ring {
    #[inline(always)]
    fn address<F: Family>(&self, step: TraceStep, table: TraceTable, addr: &F::Addr, number: u32) {
        note!(F, note_address, word(step, table), addr, number, 0);
    }

    #[inline(always)]
    fn number<F: Family>(&self, step: TraceStep, table: TraceTable, number: u32, result: u32) {
        note_number(word(step, table), F::VERSION.into(), number, result);
    }

    #[inline(always)]
    fn service<F: Family>(&self, step: TraceStep, key: &ServiceKey<F>) {
        note!(F, note_service, word(step, TraceTable::Services), key);
    }

    #[inline(always)]
    fn client<F: Family>(&self, step: TraceStep, key: &AffinityKey<F>, backend: u32) {
        note!(F, note_client, word(step, TraceTable::Sources), key, backend);
    }

    #[inline(always)]
    fn range<F: Family>(&self, step: TraceStep, service: u32, client: &F::Addr) {
        note!(F, note_address, word(step, TraceTable::Ranges), client, service, 1);
    }

    #[inline(always)]
    fn socket<F: Family>(&self, step: TraceStep, key: &SocketKey<F>, backend: u32) {
        note!(F, note_socket, word(step, TraceTable::Sockets), key, backend);
    }

    #[inline(always)]
    fn flow<F: Family>(&self, step: TraceStep, table: TraceTable, key: &FlowKey<F>, bits: u32) {
        note!(F, note_flow, word(step, table), key, bits);
    }
}
