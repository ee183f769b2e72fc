//! Kubernetes quantities ("100m", "1.5Gi", "2e3") as whole numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The value in thousandths, rounded up; none if the text is no quantity or does not fit.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    let text = quantity.0.trim();
    let digits =
        text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (scale, divisor) = factor(suffix)?;
    let divisor = divisor.checked_mul(10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let scaled = digits.checked_mul(scale)?.checked_mul(1000)?;
    let rounded = scaled / divisor + i128::from(scaled % divisor != 0);
    i64::try_from(if negative { -rounded } else { rounded }).ok()
}

/// The value in whole units, rounded up.
pub(crate) fn units(quantity: &Quantity) -> Option<i64> {
    let milli = milli_wide(quantity)?;
    i64::try_from(milli / 1000 + i128::from(milli % 1000 > 0)).ok()
}

/// Like [`milli`], but large enough for exbibytes.
fn milli_wide(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    match milli(quantity) {
        Some(small) => Some(i128::from(small)),
        // Only byte counts get here, and those have no thousandths worth keeping.
        None => {
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (scale, divisor) = factor(&text[digits..])?;
            Some(text[..digits].parse::<i128>().ok()?.checked_mul(scale)? / divisor * 1000)
        }
    }
}

/// A suffix as (multiplier, divisor).
fn factor(suffix: &str) -> Option<(i128, i128)> {
    let power = |base: i128, exponent: u32| base.checked_pow(exponent);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (power(1000, 2)?, 1),
        "G" => (power(1000, 3)?, 1),
        "T" => (power(1000, 4)?, 1),
        "P" => (power(1000, 5)?, 1),
        "E" => (power(1000, 6)?, 1),
        "Ki" => (1024, 1),
        "Mi" => (power(1024, 2)?, 1),
        "Gi" => (power(1024, 3)?, 1),
        "Ti" => (power(1024, 4)?, 1),
        "Pi" => (power(1024, 5)?, 1),
        "Ei" => (power(1024, 6)?, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let scale = power(10, exponent.unsigned_abs())?;
            if exponent < 0 { (1, scale) } else { (scale, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_notation() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("100m", Some(100)),
            ("0.1", Some(100)),
            (".5", Some(500)),
            ("1.0001", Some(1001)),
            ("1500u", Some(2)),
            ("2k", Some(2_000_000)),
            ("1Ki", Some(1_024_000)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("2e3", Some(2_000_000)),
            ("5E-1", Some(500)),
            ("-1", Some(-1000)),
            ("", None),
            ("abc", None),
            ("1Kib", None),
        ] {
            assert_eq!(milli(&Quantity(text.into())), expected, "{text:?}");
        }
    }

    #[test]
    fn whole_units_round_up_and_may_be_large() {
        for (text, expected) in
            [("1m", Some(1)), ("64Mi", Some(67_108_864)), ("4Ei", Some(4 << 60)), ("9Ei", None)]
        {
            assert_eq!(units(&Quantity(text.into())), expected, "{text:?}");
        }
    }
}
