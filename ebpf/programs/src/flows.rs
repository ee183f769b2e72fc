//! Writing the tables of flows, and telling of it: functions that the verifier walks once in each program, instead of once
//! for each table in each state of each caller.

use skep_abi::{Flow, FlowKey, Hook, Reason, V4, V6};
use skep_engine::{FlowTable, Ingress, Opening, open_flows};
use skep_packet::{Headers, Tuple};

use crate::{count::count, maps, report, tables::KernelTables};

/// Runs `$body` with `$map` bound to the flow table that `$table` names.
macro_rules! with_flows {
    ($table:expr, $flows:ident, $embryos:ident, $snat:ident, $map:ident => $body:expr) => {
        match $table {
            FlowTable::Flows => {
                let $map = &maps::$flows;
                $body
            }
            FlowTable::Embryos => {
                let $map = &maps::$embryos;
                $body
            }
            FlowTable::Snat => {
                let $map = &maps::$snat;
                $body
            }
        }
    };
}
pub(crate) use with_flows;

/// The table with this number.
#[inline(always)]
fn table(number: u32) -> FlowTable {
    match number {
        0 => FlowTable::Flows,
        1 => FlowTable::Embryos,
        _ => FlowTable::Snat,
    }
}

/// The functions of one family. Each begins with a look at its pointers: to the verifier, which sees
/// none of the callers, they may be null.
macro_rules! flow_functions {
    ($module:ident, $family:ty, $flows:ident, $embryos:ident, $snat:ident,
     $write:literal, $remove:literal, $has:literal, $mark:literal, $open:literal,
     $opened:literal, $end:literal) => {
        pub mod $module {
            use super::*;

            /// Writes a flow under the helper's `flags`; 1 when it is there, 0 when not.
            #[unsafe(export_name = $write)]
            #[inline(never)]
            pub extern "C" fn write(
                number: u32,
                key: *const FlowKey<$family>,
                flow: *const Flow<$family>,
                flags: u64,
            ) -> u32 {
                // SAFETY: the callers hand in references.
                let (Some(key), Some(flow)) = (unsafe { key.as_ref() }, unsafe { flow.as_ref() })
                else {
                    return 0;
                };
                let written = with_flows!(
                    table(number), $flows, $embryos, $snat, map => map.insert(key, flow, flags)
                );
                u32::from(written.is_ok())
            }

            /// Removes a flow; always 0.
            #[unsafe(export_name = $remove)]
            #[inline(never)]
            pub extern "C" fn remove(number: u32, key: *const FlowKey<$family>) -> u32 {
                // SAFETY: as above.
                if let Some(key) = unsafe { key.as_ref() } {
                    let _ =
                        with_flows!(table(number), $flows, $embryos, $snat, map => map.remove(key));
                }
                0
            }

            /// [`skep_engine::end_closed`]; 1 when there was a connection to end, 0 when not.
            #[unsafe(export_name = $end)]
            #[inline(never)]
            pub extern "C" fn end_closed(key: *const FlowKey<$family>) -> u32 {
                // SAFETY: as above.
                let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
                u32::from(skep_engine::end_closed(&KernelTables, key))
            }

            /// [`open_flows`].
            #[unsafe(export_name = $open)]
            #[inline(never)]
            pub extern "C" fn open(
                headers: *const Headers<$family>,
                to: *mut Tuple<$family>,
                opening: *const Opening,
            ) -> u32 {
                // SAFETY: as above.
                let (headers, to, opening) =
                    unsafe { (headers.as_ref(), to.as_mut(), opening.as_ref()) };
                match (headers, to, opening) {
                    (Some(headers), Some(to), Some(opening)) => {
                        open_flows(&KernelTables, headers, to, opening)
                    }
                    _ => Reason::FlowsFull as u32,
                }
            }

            /// Counts and reports that a packet opened a connection to a Service; always 0.
            #[unsafe(export_name = $opened)]
            #[inline(never)]
            pub extern "C" fn opened(
                headers: *const Headers<$family>,
                service: u32,
                backend: u32,
                hook: u32,
                ifindex: u32,
            ) -> u32 {
                // SAFETY: as above.
                let (headers, hook) = (unsafe { headers.as_ref() }, Hook::from_number(hook as u8));
                if let (Some(headers), Some(hook)) = (headers, hook) {
                    let at = Ingress { ifindex, hook, from_peer: false };
                    count(hook, Reason::Opened as u32, 0);
                    report::opened(headers, service, backend, at);
                }
                0
            }

            /// 1 when there is a flow under the key, 0 when not.
            #[unsafe(export_name = $has)]
            #[inline(never)]
            pub extern "C" fn has(number: u32, key: *const FlowKey<$family>) -> u32 {
                // SAFETY: as above.
                let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
                let found =
                    with_flows!(table(number), $flows, $embryos, $snat, map => map.get_ptr(key));
                u32::from(found.is_some())
            }

            /// Sets bits of a flow's state, if it is there; always 0.
            #[unsafe(export_name = $mark)]
            #[inline(never)]
            pub extern "C" fn mark(number: u32, key: *const FlowKey<$family>, state: u32) -> u32 {
                // SAFETY: as above.
                let Some(key) = (unsafe { key.as_ref() }) else { return 0 };
                let flow =
                    with_flows!(table(number), $flows, $embryos, $snat, map => map.get_ptr_mut(key));
                if let Some(flow) = flow {
                    // SAFETY: the map hands out a pointer to a whole value, of which one word changes.
                    unsafe { (*flow).state |= state };
                }
                0
            }
        }
    };
}

flow_functions!(
    flows4,
    V4,
    FLOWS4,
    EMBRYOS4,
    SNAT4,
    "write_flow4",
    "remove_flow4",
    "has_flow4",
    "mark_flow4",
    "open_flows4",
    "report_opened4",
    "end_closed4"
);
flow_functions!(
    flows6,
    V6,
    FLOWS6,
    EMBRYOS6,
    SNAT6,
    "write_flow6",
    "remove_flow6",
    "has_flow6",
    "mark_flow6",
    "open_flows6",
    "report_opened6",
    "end_closed6"
);
