//! resource.Quantity: fixed-point numbers with a suffix, read and written in upstream's canonical form.

use std::fmt;

/// Nano units: upstream's finest scale.
const NANO: i128 = 1_000_000_000;
/// Upstream caps amounts at the largest int64.
const LARGEST: i128 = i64::MAX as i128 * NANO;

/// A fixed-point amount and the family of suffixes it is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// Upstream's message for text that is no quantity.
pub const MALFORMED: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

impl Quantity {
    /// Reads `100m`, `1.5Gi`, `1e3`.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
        let (number, suffix) = digits.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(MALFORMED);
        }
        let (format, scale) = read_suffix(suffix)?;
        let magnitude = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent),
            Scale::Two(shift) => {
                decimal(whole, fraction, 0).saturating_mul(1 << shift).min(LARGEST)
            }
        };
        // Halves of a byte cannot be written with a binary suffix.
        let format =
            if format == Format::BinarySi && magnitude < NANO { Format::DecimalSi } else { format };
        Ok(Self { nano: if negative { -magnitude } else { magnitude }, format })
    }

    /// Thousandths, rounded up as upstream's `MilliValue` does.
    pub fn milli(&self) -> i64 {
        clamp(round_up(self.nano, NANO / 1000))
    }

    /// Whole units, rounded up as upstream's `Value` does.
    pub fn value(&self) -> i64 {
        clamp(round_up(self.nano, NANO))
    }

    /// Whether the amount is zero.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// Whether the amount is below zero.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.nano.cmp(&other.nano))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        if self.nano < 0 {
            f.write_str("-")?;
        }
        let magnitude = self.nano.abs();
        if self.format == Format::BinarySi && magnitude >= 1024 * NANO {
            let mut value = round_up(magnitude, NANO);
            let mut suffix = "";
            for (name, _) in BINARY {
                if value % 1024 != 0 {
                    break;
                }
                (value, suffix) = (value / 1024, name);
            }
            return write!(f, "{value}{suffix}");
        }
        let (mut value, mut exponent) = (magnitude, -9);
        while exponent < 18 && value % 1000 == 0 {
            (value, exponent) = (value / 1000, exponent + 3);
        }
        match self.format {
            Format::DecimalExponent if exponent != 0 => write!(f, "{value}e{exponent}"),
            _ => {
                let suffix = DECIMAL
                    .iter()
                    .find(|(_, known)| *known == exponent)
                    .map_or("", |(name, _)| name);
                write!(f, "{value}{suffix}")
            }
        }
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn read_suffix(suffix: &str) -> Result<(Format, Scale), &'static str> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::DecimalSi, Scale::Ten(*exponent)));
    }
    if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Format::BinarySi, Scale::Two(*shift)));
    }
    match suffix.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse::<i32>().ok()) {
        Some(exponent) => Ok((Format::DecimalExponent, Scale::Ten(exponent.clamp(-64, 64)))),
        None => Err(MALFORMED),
    }
}

/// The digits times ten to the exponent, in nano units: rounded up, capped.
fn decimal(whole: &str, fraction: &str, exponent: i32) -> i128 {
    let mut nano: i128 = 0;
    let mut rest = false;
    // The power of ten, in nano units, that the next digit counts.
    let mut place =
        i32::try_from(whole.len()).unwrap_or(i32::MAX).saturating_add(exponent).saturating_add(8);
    for digit in whole.bytes().chain(fraction.bytes()).map(|byte| i128::from(byte - b'0')) {
        if digit != 0 {
            match u32::try_from(place) {
                Ok(power) if power > 36 => return LARGEST,
                Ok(power) => nano = nano.saturating_add(digit * 10i128.pow(power)),
                Err(_) => rest = true,
            }
        }
        place = place.saturating_sub(1);
    }
    (nano + i128::from(rest)).min(LARGEST)
}

/// Away from zero, as upstream rounds.
fn round_up(value: i128, unit: i128) -> i128 {
    let away = if value % unit == 0 { 0 } else { value.signum() };
    value / unit + away
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form() {
        let cases = [
            ("0", "0"),
            ("1", "1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("1k", "1k"),
            ("1000", "1k"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("128Mi", "128Mi"),
            ("512", "512"),
            ("1e3", "1e3"),
            ("1E", "1E"),
            ("12e6", "12e6"),
            ("0.1Ki", "102400m"),
            ("100Ki", "100Ki"),
            ("-1", "-1"),
            ("+5", "5"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.0000000001", "1n"),
            ("010", "10"),
            ("1.1", "1100m"),
            ("9223372036854775807", "9223372036854775807"),
            ("1e40", "9223372036854775807e0"),
        ];
        for (text, canonical) in cases {
            let canonical = canonical.trim_end_matches("e0");
            assert_eq!(Quantity::parse(text).expect(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity() {
        for text in ["", "abc", "1.1.1", "-", "1 Gi", "1Zi", "Ki", "1e", "--1"] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_round_up() {
        let milli = Quantity::parse("1m").expect("1m");
        assert_eq!((milli.value(), milli.milli()), (1, 1));
        assert_eq!(Quantity::parse("1.5Gi").expect("1.5Gi").value(), 1_610_612_736);
    }
}
