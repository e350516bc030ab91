use std::fmt;

use uuid::Uuid;

/// A decimal in millionths: compared, ordered and added exactly, in a database too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fixed(pub i64);

impl Fixed {
    pub const PLACES: u32 = 6;
    pub const ONE: i64 = 1_000_000;
}

/// As JSON and people write it, without zeros at the end.
impl fmt::Display for Fixed {
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

/// What an attribute or a reference holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Decimal(Fixed),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Instant(i64),
    /// An `Id`, or the id a reference points to.
    Guid(Uuid),
    Text(String),
    /// The rank of an enumeration's member.
    Rank(i64),
    /// Language (two upper-case letters) and text, in the order written.
    Names(Vec<(String, String)>),
    /// An amount with its currency's sign, or a quantity with its unit's code.
    Measure {
        value: Fixed,
        code: String,
    },
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// What a person who reads no other language is shown: the English text, else the first.
    pub fn shown(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Names(names) => {
                let english = names.iter().find(|(language, _)| language == "EN");
                english.or(names.first()).map_or("", |(_, text)| text)
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
            assert_eq!(Fixed(millionths).to_string(), written);
        }
    }

    #[test]
    fn the_shown_text_is_english_or_the_first() {
        let names = |pairs: &[(&str, &str)]| {
            Value::Names(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
        };
        assert_eq!(names(&[("DE", "Apfel"), ("EN", "Apple")]).shown(), "Apple");
        assert_eq!(names(&[("DE", "Apfel")]).shown(), "Apfel");
        assert_eq!(Value::text("x").shown(), "x");
        assert_eq!(Value::Null.shown(), "");
    }
}
