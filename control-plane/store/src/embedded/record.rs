//! What a frame of the log holds: transactions and leases, in the order they happened.

use bytes::Bytes;

use crate::{KeyValue, LeaseId, Op, Revision};

/// One entry of the log or of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Changes at one revision.
    Txn { revision: Revision, ops: Vec<Op> },
    /// A lease came to be.
    Lease { id: LeaseId, expires_unix_ms: u64 },
    /// A lease is gone; its keys went in a transaction of their own.
    LeaseEnd { id: LeaseId },
    /// A key as a snapshot keeps it.
    Key(KeyValue),
    /// The last record of a snapshot: as of when it is, and how many keys it has.
    SnapshotEnd { revision: Revision, keys: u64 },
}

const TXN: u8 = 1;
const LEASE: u8 = 2;
const LEASE_END: u8 = 3;
const KEY: u8 = 4;
const SNAPSHOT_END: u8 = 5;
const PUT: u8 = 1;
const DELETE: u8 = 2;

impl Record {
    /// Appends the record's bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Txn { revision, ops } => {
                out.push(TXN);
                put_u64(out, revision.0);
                put_u64(out, ops.len() as u64);
                ops.iter().for_each(|op| encode_op(op, out));
            }
            Self::Lease { id, expires_unix_ms } => {
                out.push(LEASE);
                put_u64(out, id.0);
                put_u64(out, *expires_unix_ms);
            }
            Self::LeaseEnd { id } => {
                out.push(LEASE_END);
                put_u64(out, id.0);
            }
            Self::Key(kv) => {
                out.push(KEY);
                put_bytes(out, &kv.key);
                put_bytes(out, &kv.value);
                put_u64(out, kv.create_revision.0);
                put_u64(out, kv.mod_revision.0);
                put_u64(out, kv.version);
                put_u64(out, kv.lease.map_or(0, |lease| lease.0));
            }
            Self::SnapshotEnd { revision, keys } => {
                out.push(SNAPSHOT_END);
                put_u64(out, revision.0);
                put_u64(out, *keys);
            }
        }
    }
}

fn encode_op(op: &Op, out: &mut Vec<u8>) {
    match op {
        Op::Put { key, value, lease } => {
            out.push(PUT);
            put_bytes(out, key);
            put_bytes(out, value);
            put_u64(out, lease.map_or(0, |lease| lease.0));
        }
        Op::Delete { key } => {
            out.push(DELETE);
            put_bytes(out, key);
        }
    }
}

/// Every record of a frame's payload; `None` when the bytes are not records.
pub(super) fn decode_all(payload: &[u8]) -> Option<Vec<Record>> {
    let mut input = Input(payload);
    let mut records = Vec::new();
    while !input.0.is_empty() {
        records.push(input.record()?);
    }
    Some(records)
}

/// LEB128: small numbers take one byte.
fn put_u64(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn record(&mut self) -> Option<Record> {
        Some(match self.u8()? {
            TXN => {
                let revision = Revision(self.u64()?);
                let count = self.u64()?;
                let ops = (0..count).map(|_| self.op()).collect::<Option<_>>()?;
                Record::Txn { revision, ops }
            }
            LEASE => Record::Lease { id: LeaseId(self.u64()?), expires_unix_ms: self.u64()? },
            LEASE_END => Record::LeaseEnd { id: LeaseId(self.u64()?) },
            KEY => Record::Key(KeyValue {
                key: self.bytes()?,
                value: self.bytes()?,
                create_revision: Revision(self.u64()?),
                mod_revision: Revision(self.u64()?),
                version: self.u64()?,
                lease: self.lease()?,
            }),
            SNAPSHOT_END => {
                Record::SnapshotEnd { revision: Revision(self.u64()?), keys: self.u64()? }
            }
            _ => return None,
        })
    }

    fn op(&mut self) -> Option<Op> {
        Some(match self.u8()? {
            PUT => Op::Put { key: self.bytes()?, value: self.bytes()?, lease: self.lease()? },
            DELETE => Op::Delete { key: self.bytes()? },
            _ => return None,
        })
    }

    fn lease(&mut self) -> Option<Option<LeaseId>> {
        self.u64().map(|id| (id != 0).then_some(LeaseId(id)))
    }

    fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn u64(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Copied out: a value must not keep its whole frame alive.
    fn bytes(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.u64()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip_and_no_cut_is_accepted() {
        let records = vec![
            Record::Txn {
                revision: Revision(300),
                ops: vec![
                    Op::Put { key: "a".into(), value: "1".into(), lease: Some(LeaseId(7)) },
                    Op::Delete { key: "b".into() },
                ],
            },
            Record::Lease { id: LeaseId(7), expires_unix_ms: u64::MAX },
            Record::LeaseEnd { id: LeaseId(7) },
            Record::Key(KeyValue {
                key: "k".into(),
                value: Bytes::from(vec![7; 200]),
                create_revision: Revision(2),
                mod_revision: Revision(3),
                version: 2,
                lease: None,
            }),
            Record::SnapshotEnd { revision: Revision(3), keys: 1 },
        ];
        for record in &records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(decode_all(&bytes).unwrap(), std::slice::from_ref(record));
            for cut in 1..bytes.len() {
                assert_eq!(decode_all(&bytes[..cut]), None, "{record:?} cut at {cut}");
            }
        }
    }
}
