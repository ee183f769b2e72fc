//! Amounts such as `250m`, `1.5Gi` and `2e3`, as whole numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Thousandths of the unit, rounded up; 0 for a text that is no amount (the API server refuses
/// those) and the largest number for one that does not fit.
pub(crate) fn milli(quantity: &Quantity) -> i64 {
    scaled(&quantity.0, 1000)
}

/// Whole units, rounded up, with the same exceptions.
pub(crate) fn units(quantity: &Quantity) -> i64 {
    scaled(&quantity.0, 1)
}

fn scaled(text: &str, per_unit: i128) -> i64 {
    parse(text, per_unit).map_or(0, |amount| i64::try_from(amount).unwrap_or(i64::MAX))
}

fn parse(text: &str, per_unit: i128) -> Option<i128> {
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (number, suffix) = match suffix.strip_prefix(['e', 'E']) {
        Some(exponent) if !exponent.is_empty() => (number, Suffix::Ten(exponent.parse().ok()?)),
        _ => (number, Suffix::of(suffix)?),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let down = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (up, down) = match suffix {
        Suffix::Two(power) => (1_i128 << power, down),
        Suffix::Ten(power) if power >= 0 => (10_i128.checked_pow(power.unsigned_abs())?, down),
        Suffix::Ten(power) => (1, down.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)?),
    };
    let amount = digits.checked_mul(up)?.checked_mul(per_unit)?;
    Some(amount.div_euclid(down) + i128::from(amount.rem_euclid(down) != 0))
}

enum Suffix {
    Ten(i32),
    Two(u32),
}

impl Suffix {
    fn of(text: &str) -> Option<Self> {
        Some(match text {
            "n" => Self::Ten(-9),
            "u" => Self::Ten(-6),
            "m" => Self::Ten(-3),
            "" => Self::Ten(0),
            "k" => Self::Ten(3),
            "M" => Self::Ten(6),
            "G" => Self::Ten(9),
            "T" => Self::Ten(12),
            "P" => Self::Ten(15),
            "E" => Self::Ten(18),
            "Ki" => Self::Two(10),
            "Mi" => Self::Two(20),
            "Gi" => Self::Two(30),
            "Ti" => Self::Two(40),
            "Pi" => Self::Two(50),
            "Ei" => Self::Two(60),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_round_up_to_whole_numbers() {
        let cases = [
            ("0", 0, 0),
            ("100m", 100, 1),
            ("1", 1000, 1),
            ("1.5", 1500, 2),
            ("0.1m", 1, 1),
            ("2e3", 2_000_000, 2000),
            ("1E", 1_000_000_000_000_000_000, 1_000_000_000_000_000_000),
            ("128Mi", 134_217_728_000, 134_217_728),
            ("1.5Gi", 1_610_612_736_000, 1_610_612_736),
            ("-1", -1000, -1),
            ("nonsense", 0, 0),
            ("", 0, 0),
        ];
        for (text, thousandths, whole) in cases {
            let quantity = Quantity(text.into());
            if text != "1E" {
                assert_eq!(milli(&quantity), thousandths, "{text}");
            }
            assert_eq!(units(&quantity), whole, "{text}");
        }
        assert_eq!(milli(&Quantity("1E".into())), i64::MAX);
    }
}
