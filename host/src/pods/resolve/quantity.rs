//! Kubernetes quantities (`100m`, `1.5Gi`, `2e3`) as exact integers, and their division by a `divisor`.
//!
//! The unit is one thousand-millionth (nano), the finest that the API server keeps.

use std::fmt;

/// Nanos in one.
const ONE: i128 = 1_000_000_000;

/// A quantity in nanos; negative ones exist in the schema but not in resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

/// What no quantity looks like.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quantity such as 100m, 1.5 or 2Gi")]
pub struct NotAQuantity(String);

impl Quantity {
    /// Less than nothing.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Reads a quantity in the API's notation.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        parse(text.trim()).map(Self).ok_or_else(|| NotAQuantity(text.to_string()))
    }

    /// How many times the divisor fits, rounded up; as the kubelet gives resources to containers.
    pub fn divided_by(self, divisor: Self) -> i128 {
        let divisor = if divisor.0 == 0 { ONE } else { divisor.0 };
        self.0.div_euclid(divisor) + i128::from(self.0.rem_euclid(divisor) != 0)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.divided_by(Self(ONE)))
    }
}

fn parse(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (numerator, denominator) = multiplier(suffix)?;
    let product = digits.checked_mul(numerator)?.checked_mul(ONE)?;
    let divisor = scale.checked_mul(denominator)?;
    // The API server rounds up what is finer than a nano.
    let nanos = product / divisor + i128::from(product % divisor != 0);
    Some(if negative { -nanos } else { nanos })
}

/// What the suffix multiplies by, as a fraction.
fn multiplier(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10_i128.checked_pow(power.unsigned_abs()).filter(|_| power.abs() <= 18)?;
            if power < 0 { (1, factor) } else { (factor, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_divide_as_the_kubelet_divides() {
        let table = [
            ("1", "1", 1),
            ("250m", "1", 1),
            ("250m", "1m", 250),
            ("1.5", "1m", 1500),
            ("64Mi", "1", 67_108_864),
            ("64Mi", "1Mi", 64),
            ("64Mi", "1Gi", 1),
            ("1e3", "1", 1000),
            ("2E", "1P", 2000),
            ("0.1Gi", "1", 107_374_183),
            ("5", "0", 5),
        ];
        for (quantity, divisor, expected) in table {
            let (q, d) = (Quantity::parse(quantity).unwrap(), Quantity::parse(divisor).unwrap());
            assert_eq!(q.divided_by(d), expected, "{quantity} / {divisor}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "m", "1x", "1..2", "--1", "1e99", "1 Gi", "0x10"] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
    }
}
