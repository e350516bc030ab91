/// Why a number cannot be stored with a given number of decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// It has more decimals.
    TooPrecise,
    TooLarge,
}

/// An exact decimal number, `digits × 10^-scale`, as a filter or a body writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: i128,
    scale: i32,
}

impl Decimal {
    /// The number grammar of RFC 8259 §6, with leading zeros tolerated. At most 64 characters and 28 significant
    /// digits.
    pub fn parse(text: &str) -> Option<Self> {
        const MAX_DIGITS: i128 = 10_i128.pow(28);
        if text.len() > 64 {
            return None;
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (text, 0),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        if whole.is_empty() {
            return None;
        }
        let mut digits: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() || digits >= MAX_DIGITS {
                return None;
            }
            digits = digits * 10 + i128::from(byte - b'0');
        }
        let scale = i32::try_from(fraction.len()).ok()? - exponent;
        Some(Self { digits: if negative { -digits } else { digits }, scale })
    }

    /// The number times `10^places`, if the result is an integer within `i64`. Never rounds.
    pub fn scaled(self, places: u32) -> Result<i64, DecimalError> {
        let shift = i64::from(places) - i64::from(self.scale);
        let power = u32::try_from(shift.unsigned_abs()).ok().and_then(|shift| 10_i128.checked_pow(shift));
        let value = match (shift >= 0, power) {
            _ if self.digits == 0 => 0,
            (true, Some(power)) => self.digits.checked_mul(power).ok_or(DecimalError::TooLarge)?,
            (true, None) => return Err(DecimalError::TooLarge),
            (false, Some(power)) if self.digits % power == 0 => self.digits / power,
            (false, _) => return Err(DecimalError::TooPrecise),
        };
        i64::try_from(value).map_err(|_| DecimalError::TooLarge)
    }
}

fn exponent_of(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_exactly() {
        for (text, micro) in [
            ("0", 0),
            ("-0.0", 0),
            ("12.5", 12_500_000),
            ("-12.50", -12_500_000),
            ("1e3", 1_000_000_000),
            ("15E-1", 1_500_000),
            ("9223372036854.775807", i64::MAX),
            ("0.0000010", 1),
            ("0e999", 0),
        ] {
            assert_eq!(Decimal::parse(text).map(|d| d.scaled(6)), Some(Ok(micro)), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_rounded() {
        for (text, unfit) in [
            ("0.0000001", DecimalError::TooPrecise),
            ("1e-999", DecimalError::TooPrecise),
            ("9223372036854.775808", DecimalError::TooLarge),
            ("1e999", DecimalError::TooLarge),
        ] {
            assert_eq!(Decimal::parse(text).map(|d| d.scaled(6)), Some(Err(unfit)), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "+5",
            "1e",
            "1e+",
            "1e9999",
            "0x1",
            "1_0",
            "NaN",
            "1.2.3",
            "٣",
            "99999999999999999999999999999999999",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }
}
