//! Kubernetes quantities: `20`, `500m`, `100Gi`, `1e3`.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// An amount, exact to a billionth, as the API server keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// A whole number.
    pub const fn from_whole(whole: i64) -> Self {
        Self(whole as i128 * NANO)
    }

    /// Thousandths, rounded up: what `cpu` is counted in.
    pub fn millis(self) -> i64 {
        clamp(ceiling(self.0, NANO / 1000))
    }

    /// The whole number, rounded up: what `memory` is counted in.
    pub fn whole(self) -> i64 {
        clamp(ceiling(self.0, NANO))
    }

    /// Below zero, which no resource may be.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, more: Self) {
        self.0 = self.0.saturating_add(more.0);
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// As Kubernetes reads it back: `20`, `500m`, the largest decimal unit below one that is exact. Binary units are not kept: `1Ki` is `1024`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(NANO, ""), (NANO / 1_000, "m"), (NANO / 1_000_000, "u"), (1, "n")];
        let exact = units.into_iter().find(|(unit, _)| self.0 % unit == 0);
        let (unit, suffix) = exact.unwrap_or((1, "n"));
        write!(f, "{}{suffix}", self.0 / unit)
    }
}

fn ceiling(value: i128, unit: i128) -> i128 {
    value.div_euclid(unit) + i128::from(value.rem_euclid(unit) != 0)
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAQuantity {
    /// It does not begin with a number.
    NoNumber(String),
    /// What follows the number is no suffix.
    Suffix(String, String),
    /// More than can be counted.
    TooLarge(String),
}

impl fmt::Display for NotAQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber(text) => {
                write!(f, "{text:?} is not a quantity: it has no number; write it like 20, 500m or 100Gi")
            }
            Self::Suffix(text, suffix) => write!(
                f,
                "{text:?} is not a quantity: {suffix:?} is no unit; known are n u m k M G T P E, Ki Mi Gi Ti Pi Ei and e3"
            ),
            Self::TooLarge(text) => write!(f, "{text:?} is too large a quantity"),
        }
    }
}

impl std::error::Error for NotAQuantity {}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let number_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(NotAQuantity::NoNumber(text.to_owned()));
        }
        let (factor, divisor) =
            scale(suffix).ok_or_else(|| NotAQuantity::Suffix(text.to_owned(), suffix.to_owned()))?;
        let value = exact(whole, fraction, factor, divisor).ok_or_else(|| NotAQuantity::TooLarge(text.to_owned()))?;
        Ok(Self(if text.starts_with('-') { -value } else { value }))
    }
}

/// The unit in billionths, as a factor and a divisor.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "n" => (1, 1),
        "u" => (1_000, 1),
        "m" => (1_000_000, 1),
        "" => (NANO, 1),
        "k" => (NANO * 1_000, 1),
        "M" => (NANO * 1_000_000, 1),
        "G" => (NANO * NANO, 1),
        "T" => (NANO * NANO * 1_000, 1),
        "P" => (NANO * NANO * 1_000_000, 1),
        "E" => (NANO * NANO * NANO, 1),
        "Ki" => (NANO << 10, 1),
        "Mi" => (NANO << 20, 1),
        "Gi" => (NANO << 30, 1),
        "Ti" => (NANO << 40, 1),
        "Pi" => (NANO << 50, 1),
        "Ei" => (NANO << 60, 1),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let power = exponent.parse::<i32>().ok().filter(|power| power.abs() <= 18)?;
            let ten = 10_i128.pow(power.unsigned_abs());
            if power < 0 { (NANO, ten) } else { (NANO * ten, 1) }
        }
    })
}

/// `whole.fraction` times factor / divisor, rounded up as the API server does.
fn exact(whole: &str, fraction: &str, factor: i128, divisor: i128) -> Option<i128> {
    let fraction = fraction.trim_end_matches('0').get(..fraction.trim_end_matches('0').len().min(18))?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let ten = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    // The fraction apart from the whole: its product with the largest unit still fits.
    let part = ceiling(part.checked_mul(factor)?, ten);
    Some(ceiling(whole.checked_mul(factor)?.checked_add(part)?, divisor))
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 500m or 100Gi")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, whole: u64) -> Result<Quantity, E> {
                Ok(Quantity(i128::from(whole) * NANO))
            }
            fn visit_i64<E: serde::de::Error>(self, whole: i64) -> Result<Quantity, E> {
                Ok(Quantity::from_whole(whole))
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Quantity, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_count_as_kubernetes_counts() {
        for (text, millis, whole) in [
            ("20", 20_000, 20),
            ("500m", 500, 1),
            ("0.1", 100, 1),
            (".5", 500, 1),
            ("1.", 1000, 1),
            ("1e3", 1_000_000, 1000),
            ("25E-1", 2500, 3),
            ("1n", 1, 1),
            ("0", 0, 0),
            ("-1500m", -1500, -1),
            ("100k", 100_000_000, 100_000),
        ] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!((quantity.millis(), quantity.whole()), (millis, whole), "{text}");
        }
        assert_eq!("100Gi".parse::<Quantity>().unwrap().whole(), 107_374_182_400);
        assert_eq!("1.5Ki".parse::<Quantity>().unwrap().whole(), 1536);
        assert_eq!("8Ei".parse::<Quantity>().unwrap().whole(), i64::MAX);
    }

    #[test]
    fn quantities_are_added_and_written() {
        for (text, written) in [
            ("20", "20"),
            ("0.5", "500m"),
            ("1.5Ki", "1536"),
            ("-1500m", "-1500m"),
            ("10u", "10u"),
            ("1n", "1n"),
            ("0", "0"),
            ("100E", "100000000000000000000"),
        ] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!(quantity.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(quantity));
        }
        let all = ["1", "250m", "250m"].map(|text| text.parse::<Quantity>().unwrap());
        assert_eq!(all.into_iter().sum::<Quantity>().to_string(), "1500m");
    }

    #[test]
    fn a_bad_quantity_is_told_with_what_is_wrong() {
        for (text, says) in [
            ("", "it has no number"),
            ("Gi", "it has no number"),
            ("1.2.3", "it has no number"),
            ("10 Gi", "\" Gi\" is no unit"),
            ("10GB", "\"GB\" is no unit"),
            ("1e99", "\"e99\" is no unit"),
            ("99999999999999999999999999E", "too large"),
        ] {
            let error = text.parse::<Quantity>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_number_in_json_is_a_quantity_too() {
        let list: Vec<Quantity> = serde_json::from_str(r#"["1", 2, 0.5]"#).unwrap();
        assert_eq!(list.iter().map(|quantity| quantity.millis()).collect::<Vec<_>>(), [1000, 2000, 500]);
    }
}
