//! The datapath's programs: one file per hook, each binding the engine to the kernel's maps and helpers.
//! It must hold no decision of its own: what becomes of a packet is skep-engine's to say.
#![no_std]
#![no_main]

mod act;
mod count;
mod error;
mod flows;
mod frame;
mod from_node;
mod handover;
mod maps;
mod next_hop;
mod report;
mod run;
mod skb;
mod tables;
#[cfg(feature = "trace")]
mod trace;
mod words;
mod zero;

mod connect;
mod getpeername;
mod node_egress;
mod node_ingress;
mod node_xdp;
mod overlay_egress;
mod overlay_ingress;
mod pod_egress;
mod pod_ingress;
mod recvmsg;
mod sendmsg;
mod sock_addr;

/// The kernel offers some helpers to programs under a licence compatible with its own only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
