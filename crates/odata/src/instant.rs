use jiff::{Timestamp, civil, tz::TimeZone};

/// Parses `yyyy-mm-dd` with an optional `Z`, or `yyyy-mm-ddThh:mm[:ss[.f…]]` with `Z`, an offset, or nothing, which
/// means UTC. Returns microseconds since 1970-01-01T00:00:00Z; finer digits are cut off.
pub fn parse_instant(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() <= 40
        && bytes.len() >= 10
        && bytes.iter().enumerate().all(|(i, b)| match (i, b) {
            (4 | 7, _) => *b == b'-',
            (0..10, _) => b.is_ascii_digit(),
            (10, _) => matches!(b, b'T' | b'Z'),
            _ => b.is_ascii_digit() || matches!(b, b':' | b'.' | b'+' | b'-' | b'Z'),
        });
    if !shaped {
        return None;
    }
    let instant = if bytes.len() <= 11 {
        let date: civil::Date = text.strip_suffix('Z').unwrap_or(text).parse().ok()?;
        utc(date.at(0, 0, 0, 0))?
    } else if text.ends_with('Z') || text[10..].contains(['+', '-']) {
        text.parse().ok()?
    } else {
        utc(text.parse().ok()?)?
    };
    Some(instant.as_microsecond())
}

fn utc(moment: civil::DateTime) -> Option<Timestamp> {
    moment.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Writes `2020-05-08T00:00:00Z`, with as many fraction digits as needed.
pub fn format_instant(micros: i64) -> String {
    Timestamp::from_microsecond(micros).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        for (text, written) in [
            ("2020-05-08", "2020-05-08T00:00:00Z"),
            ("2020-05-08Z", "2020-05-08T00:00:00Z"),
            ("2020-05-08T10:20", "2020-05-08T10:20:00Z"),
            ("2020-05-08T10:20Z", "2020-05-08T10:20:00Z"),
            ("2020-05-08T10:20:30", "2020-05-08T10:20:30Z"),
            ("2020-05-08T10:20:30+02:00", "2020-05-08T08:20:30Z"),
            ("2020-05-08T10:20:30-02:30", "2020-05-08T12:50:30Z"),
            ("2020-05-08T10:20:30.1234567", "2020-05-08T10:20:30.123456Z"),
            ("2020-05-08T10:20:30.5Z", "2020-05-08T10:20:30.5Z"),
            ("0001-01-01", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse_instant(text).map(format_instant).as_deref(), Some(written), "{text}");
        }
    }

    #[test]
    fn no_other_form_is() {
        for text in [
            "",
            "2020",
            "2020-13-01",
            "2020-02-30",
            "20200508T102030Z",
            "2020-05-08T",
            "2020-05-08ZZ",
            "2020-05-08T25:00Z",
            "2020-05-08T10:20:30[UTC]",
            "2020-05-08 10:20",
            "2020-05-08T10:20:30Z+01:00",
            "+12020-05-08",
            "2020-05-0é",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }
}
