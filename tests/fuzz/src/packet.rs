//! Target `packet`: parsing, translation and rejection of a single frame.

use skep_abi::{Family, V4, V6};
use skep_packet::{
    Headers, Kind, Packet, Tuple, Wire, answer_to_quoted, decrement_ttl, host::HostPacket, parse,
    reject, rewrite, rewrite_quoted,
};

use crate::{
    Target,
    frame::{self, Ends, address, is_sound},
};

pub(crate) const TARGET: Target = Target { name: "packet", run, seeds, words: Vec::new };

/// No packet that skep sees is longer.
const LONGEST: usize = 65_535;

fn run(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    holds::<V4>(bytes);
    holds::<V6>(bytes);
}

fn holds<F: Wire>(bytes: &[u8]) {
    let packet = HostPacket(bytes.to_vec());
    let Some(headers) = parse::<F>(&packet) else { return };
    let sound = is_sound::<F>(bytes);
    let tuple = tuple::<F>();
    let to =
        Tuple::<F> { src: tuple.src, dst: tuple.dst, sport_be: tuple.sport, dport_be: tuple.dport };

    let mut translated = packet.clone();
    if rewrite(&mut translated, &headers, &to).is_some() {
        let now = parse::<F>(&translated).expect("a translated packet still has its headers");
        assert_eq!((now.src, now.dst), (tuple.src, tuple.dst));
        assert_eq!((now.kind, now.l4, now.ttl), (headers.kind, headers.l4, headers.ttl));
        keeps::<F>(sound, &translated);
        back(&mut translated, &headers, &now);
        if sound {
            assert_eq!(parse::<F>(&translated), Some(headers), "there and back");
        }
    }

    if headers.kind == Kind::IcmpError
        && let Some(answer) = answer_to_quoted(&packet, &headers)
    {
        let mut error = packet.clone();
        if rewrite_quoted(&mut error, &answer, &to).is_some() {
            let now = parse::<F>(&error).expect("a translated error still has its headers");
            let again = answer_to_quoted(&error, &now).expect("and its quote");
            assert_eq!((again.src, again.dst), (to.src, to.dst));
            keeps::<F>(sound, &error);
        }
    }

    let mut routed = packet.clone();
    if headers.ttl > 1 && decrement_ttl::<F>(&mut routed).is_some() {
        let now = parse::<F>(&routed).expect("a routed packet still has its headers");
        assert_eq!(now, Headers { ttl: headers.ttl - 1, ..headers });
        keeps::<F>(sound, &routed);
    }

    let mut answer = packet;
    if reject(&mut answer, &headers).is_some() {
        let now = parse::<F>(&answer).expect("an answer is a packet");
        assert_eq!((now.src, now.dst), (headers.dst, headers.src));
        assert!(is_sound::<F>(&answer.0), "the answer {:02x?}", answer.0);
    }
}

/// Undoes a translation.
fn back<F: Wire>(packet: &mut HostPacket, old: &Headers<F>, now: &Headers<F>) {
    let to =
        Tuple::<F> { src: old.src, dst: old.dst, sport_be: old.sport_be, dport_be: old.dport_be };
    rewrite(packet, now, &to).expect("what was translated can be translated back");
}

fn keeps<F: Family>(sound: bool, packet: &HostPacket) {
    assert!(!sound || is_sound::<F>(&packet.0), "{} bytes: {:02x?}", packet.len(), packet.0);
}

fn tuple<F: Family>() -> Ends<F> {
    Ends { src: address::<F>(7, 7), dst: address::<F>(8, 8), sport: 0x1234, dport: 0xfffe }
}

/// A frame of each protocol, in both families.
fn seeds() -> Vec<Vec<u8>> {
    fn of<F: Family>(choices: &[u8]) -> Vec<u8> {
        frame::frame(&mut arbitrary::Unstructured::new(choices), tuple::<F>()).unwrap_or_default()
    }
    // The first byte chooses the protocol; what is not there reads as zero.
    let plain = (0..8u8).flat_map(|first| [of::<V4>(&[first]), of::<V6>(&[first])]);
    plain.chain(frame::longer(tuple::<V4>())).chain(frame::longer(tuple::<V6>())).collect()
}
