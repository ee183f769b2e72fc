//! Removing flows that have ended or fallen silent. Programs never remove a flow for its age: they only
//! note when they saw it.

use skep_abi::{Family, Flow, FlowKey, flow_flags, flow_state, proto};

use crate::{clock::Clock, error::Result, tables::FamilyTables, usage::Census};

/// How long flows live after their last packet, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP without a FIN or RST.
    pub tcp_s: u32,
    /// TCP after FINs from both sides or a RST.
    pub tcp_closed_s: u32,
    /// UDP and SCTP.
    pub datagram_s: u32,
    /// ICMP echo.
    pub echo_s: u32,
}

impl Default for Timeouts {
    /// An idle TCP connection lives for six hours: longer than the keep-alive of two hours that
    /// systems default to.
    fn default() -> Self {
        Self { tcp_s: 6 * 3600, tcp_closed_s: 10, datagram_s: 120, echo_s: 30 }
    }
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries of `flows` and `snat` that stay.
    pub kept: u64,
    /// Entries that went.
    pub removed: u64,
}

/// Removes the expired flows of one family, and counts those that stay. A connection is two entries; it is
/// over when both are.
pub(crate) fn sweep<F: Family>(
    tables: &FamilyTables<F>,
    clock: &Clock,
    ticks_per_s: u32,
    timeouts: &Timeouts,
) -> Result<(Swept, Census)> {
    let now = clock.ticks()?;
    // Packets that came after `now` was read are seen as of now.
    let idle_s = |flow: &Flow<F>| {
        let age = now.wrapping_sub(flow.seen_ticks as u32).cast_signed().max(0);
        age.cast_unsigned() / ticks_per_s.max(1)
    };
    let is_over = |key: &FlowKey<F>, flow: &Flow<F>, partner: Option<&Flow<F>>| {
        partner.is_none_or(|partner| {
            let idle_s = idle_s(flow).min(idle_s(partner));
            idle_s >= timeouts.of(key.proto, flow_state::closed(flow.state, partner.state))
        })
    };
    let (mut removed, mut census) = (0, Census::default());
    let all = [&tables.flows, &tables.snat];
    for (own, table) in all.into_iter().enumerate() {
        let mut silent = Vec::new();
        table.visit(|batch| {
            batch.iter().for_each(|(key, flow)| census.add(own, key, flow));
            let is_silent = |(key, flow): &&(FlowKey<F>, Flow<F>)| {
                idle_s(flow) >= timeouts.of(key.proto, flow.state)
            };
            silent.extend(batch.iter().filter(is_silent).copied());
        })?;
        for (key, flow) in silent {
            let (other, partner_key) = (partner_table(&flow), partner_key(&key, &flow));
            let partner = all[other].get(&partner_key)?;
            if !is_over(&key, &flow, partner.as_ref()) {
                continue;
            }
            for (at, key, flow) in [(own, key, Some(flow)), (other, partner_key, partner)] {
                if !all[at].remove(&key)? {
                    continue;
                }
                removed += 1;
                // What was not walked yet was not counted either.
                if let Some(flow) = flow.filter(|_| at <= own) {
                    census.remove(at, &key, &flow);
                }
            }
        }
    }
    Ok((Swept { kept: census.entries.iter().sum(), removed }, census))
}

/// The key of the other direction.
fn partner_key<F: Family>(key: &FlowKey<F>, flow: &Flow<F>) -> FlowKey<F> {
    FlowKey {
        src: flow.dst,
        dst: flow.src,
        sport_be: flow.dport_be,
        dport_be: flow.sport_be,
        proto: key.proto,
        pad: 0,
        pad16: 0,
    }
}

/// Where the other direction is: 0 for `flows`, 1 for `snat`.
fn partner_table<F: Family>(flow: &Flow<F>) -> usize {
    let is_opener = flow.flags & flow_flags::REPLY == 0;
    usize::from(is_opener && flow.flags & flow_flags::SNAT != 0)
}

impl Timeouts {
    fn of(&self, protocol: u8, state: u32) -> u32 {
        match protocol {
            proto::TCP | proto::SCTP if state & (flow_state::FIN | flow_state::RST) != 0 => {
                self.tcp_closed_s
            }
            proto::TCP | proto::SCTP => self.tcp_s,
            proto::ICMP | proto::ICMPV6 => self.echo_s,
            _ => self.datagram_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_closed_by_two_fins_or_one_reset() {
        let (fin, rst) = (flow_state::FIN, flow_state::RST);
        let cases = [(0, 0, 0), (fin, 0, 0), (fin, fin, fin), (rst, 0, rst), (0, rst, rst)];
        for (one, other, closed) in cases {
            assert_eq!(flow_state::closed(one, other), closed, "{one} {other}");
        }
    }

    #[test]
    fn timeouts_follow_protocol_and_state() {
        let timeouts = Timeouts::default();
        let cases = [
            (proto::TCP, 0, timeouts.tcp_s),
            (proto::TCP, flow_state::FIN, timeouts.tcp_closed_s),
            (proto::SCTP, 0, timeouts.tcp_s),
            (proto::SCTP, flow_state::RST, timeouts.tcp_closed_s),
            (proto::UDP, 0, timeouts.datagram_s),
            (proto::ICMPV6, 0, timeouts.echo_s),
        ];
        for (protocol, state, seconds) in cases {
            assert_eq!(timeouts.of(protocol, state), seconds);
        }
    }
}
