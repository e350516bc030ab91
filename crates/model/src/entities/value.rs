use std::fmt;

use odata::{Decimal, DecimalError};
use uuid::Uuid;

use crate::Culture;

/// A decimal in millionths, so that comparison, order and sums are exact, in databases too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FixedDecimal(pub i64);

impl FixedDecimal {
    pub const PLACES: u32 = 6;
    pub const ONE: i64 = 1_000_000;

    pub fn of(number: Decimal) -> Result<Self, DecimalError> {
        number.scaled(Self::PLACES).map(Self)
    }
}

/// The form in JSON and for readers, without trailing zeros.
impl fmt::Display for FixedDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, millionths) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let sign = if self.0 < 0 { "-" } else { "" };
        if millionths == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{millionths:06}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

/// The value of an attribute or a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityValue {
    Null,
    Boolean(bool),
    Integer(i64),
    Decimal(FixedDecimal),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    /// An `Id`, or the id of a referenced entity.
    Guid(Uuid),
    Text(String),
    /// The rank of an enumeration's member.
    Rank(i64),
    /// Language (two upper-case letters) and text, in the order written.
    Names(Vec<(String, String)>),
    /// An amount with its currency sign, or a quantity with its unit code.
    Measure {
        value: FixedDecimal,
        code: String,
    },
}

impl EntityValue {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The text for this language: its own, else the English one, else the first.
    pub fn shown(&self, culture: Culture) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Names(names) => {
                let of = |culture: Culture| names.iter().find(|(language, _)| language == culture.code());
                let shown = of(culture).or_else(|| of(Culture::ENGLISH)).or(names.first());
                shown.map_or("", |(_, text)| text)
            }
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_written_without_needless_zeros() {
        for (millionths, written) in [
            (0, "0"),
            (5_000_000_000, "5000"),
            (12_500_000, "12.5"),
            (-1, "-0.000001"),
            (i64::MIN, "-9223372036854.775808"),
        ] {
            assert_eq!(FixedDecimal(millionths).to_string(), written);
        }
    }

    #[test]
    fn the_shown_text_is_the_readers_the_english_or_the_first() {
        let names = |pairs: &[(&str, &str)]| {
            EntityValue::Names(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
        };
        let culture = |tag| Culture::of_tag(tag).expect("a language");
        let both = names(&[("DE", "Apfel"), ("EN", "Apple")]);
        assert_eq!(both.shown(culture("de")), "Apfel");
        assert_eq!(both.shown(culture("bg")), "Apple");
        assert_eq!(names(&[("DE", "Apfel"), ("FR", "pomme")]).shown(culture("bg")), "Apfel");
        assert_eq!(EntityValue::text("x").shown(culture("de")), "x");
        assert_eq!(EntityValue::Null.shown(culture("de")), "");
    }
}
