//! The wire format: tags, varints, lengths. Reading checks every bound.

/// Why bytes are no message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// Not an object in upstream's envelope
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    NoEnvelope,
    /// A length or a varint goes past the end
    #[error("unexpected EOF")]
    Truncated,
    /// A varint of more than ten bytes, or field number 0
    #[error("proto: illegal tag or integer overflow")]
    Illegal,
    /// The field is of another type
    #[error("proto: wrong wireType = {found} for field {field}")]
    WireType {
        /// JSON name of the field
        field: String,
        /// Its wire type here
        found: u8,
    },
    /// Text that is not UTF-8
    #[error("proto: invalid UTF-8 in a string")]
    NotText,
    /// Messages within messages beyond all reason
    #[error("proto: exceeded the depth limit of {0}")]
    TooDeep(usize),
    /// A quantity that is none
    #[error("{0}")]
    Quantity(&'static str),
    /// A field that holds JSON holds something else
    #[error("proto: field {0} does not hold JSON")]
    NotJson(String),
}

/// A value as it lies on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// Nothing of upstream's has this form: it is skipped
    Fixed32,
}

impl<'a> Value<'a> {
    fn wire_type(self) -> u8 {
        match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32 => 5,
        }
    }

    pub(super) fn mismatch(self, field: &str) -> WireError {
        WireError::WireType { field: field.to_owned(), found: self.wire_type() }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], WireError> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(self.mismatch("")) }
    }

    pub(super) fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::NotText)
    }

    pub(super) fn varint(self) -> Result<u64, WireError> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(self.mismatch("")) }
    }
}

/// Reads fields one after the other.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field; `None` at the end. Groups, which nothing has written for decades, are refused.
    pub(super) fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::Illegal)?;
        if number == 0 {
            return Err(WireError::Illegal);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                let (value, rest) =
                    self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
                self.rest = rest;
                Value::Bytes(value)
            }
            5 => {
                self.take::<4>()?;
                Value::Fixed32
            }
            _ => return Err(WireError::Illegal),
        };
        Ok(Some((number, value)))
    }

    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
            self.rest = rest;
            if shift == 63 && *byte > 1 {
                return Err(WireError::Illegal);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Illegal)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*value)
    }
}

pub(super) fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

pub(super) fn put_number(to: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(to, u64::from(number) << 3);
    put_varint(to, value);
}

pub(super) fn put_double(to: &mut Vec<u8>, number: u32, value: f64) {
    put_varint(to, u64::from(number) << 3 | 1);
    to.extend_from_slice(&value.to_le_bytes());
}

pub(in crate::codec) fn put_bytes(to: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_varint(to, u64::from(number) << 3 | 2);
    put_varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

/// Writes a message in place, then makes room for its length: most lengths are one byte.
pub(in crate::codec) fn put_nested(
    to: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>),
) {
    put_varint(to, u64::from(number) << 3 | 2);
    let start = to.len();
    to.push(0);
    write(to);
    let length = to.len() - start - 1;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        to[start] = short;
        return;
    }
    let mut prefix = Vec::new();
    put_varint(&mut prefix, length as u64);
    to.splice(start..=start, prefix);
}
