//! Page language selection.

/// The languages of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Bulgarian,
    German,
}

/// Language ranges read from one header. The rest of a longer list is ignored.
const MAX_RANGES: usize = 32;

impl Language {
    pub const ALL: [Self; 3] = [Self::English, Self::Bulgarian, Self::German];

    /// The BCP 47 tag, stored as the user's choice and sent as the page's language.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Bulgarian => "bg",
            Self::German => "de",
        }
    }

    /// The language's name in that language, readable for users who cannot read the current page.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Bulgarian => "Български",
            Self::German => "Deutsch",
        }
    }

    /// Matches by the primary subtag (RFC 4647 §3.4): `de-AT` is German.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// `ui_locales` (OpenID Connect Core §3.1.2.1): tags in order of preference, separated by spaces.
    pub fn of_locales(locales: &str) -> Option<Self> {
        locales.split(' ').take(MAX_RANGES).find_map(Self::of_tag)
    }

    /// `Accept-Language` (RFC 9110 §12.5.4), limited to the languages of the pages.
    pub fn of_accept_language(header: &str) -> Option<Self> {
        preferred(header, Self::of_tag)
    }
}

/// A language of stored data: the two letters of ISO 639-1, in upper case as the API writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culture([u8; 2]);

impl Default for Culture {
    fn default() -> Self {
        Self::ENGLISH
    }
}

impl Culture {
    pub const ENGLISH: Self = Self(*b"EN");

    /// Matches by the primary subtag, as [`Language::of_tag`]: `de-AT` is `DE`.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split('-').next().unwrap_or_default();
        let letters: [u8; 2] = primary.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphabetic).then(|| Self(letters.map(|letter| letter.to_ascii_uppercase())))
    }

    /// `Accept-Language` (RFC 9110 §12.5.4).
    pub fn of_accept_language(header: &str) -> Option<Self> {
        preferred(header, Self::of_tag)
    }

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two ASCII letters")
    }
}

/// The range with the greatest weight among those that `read` recognises; the first of equals. A weight of zero
/// excludes a range.
fn preferred<T>(header: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let ranges = header.split(',').take(MAX_RANGES).filter_map(|range| {
        let (tag, weight) = range.split_once(';').map_or((range, Some(1.0)), |(tag, q)| {
            let weight = q.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            (tag, weight.filter(|weight| (0.0..=1.0).contains(weight)))
        });
        Some((read(tag)?, weight.filter(|weight| *weight > 0.0)?))
    });
    let best = ranges.fold(None, |best: Option<(T, f32)>, range| match best {
        Some(best) if best.1 >= range.1 => Some(best),
        _ => Some(range),
    });
    best.map(|(language, _)| language)
}

#[cfg(test)]
mod tests {
    use super::Culture;
    use super::Language::{self, Bulgarian, English, German};

    #[test]
    fn a_culture_is_any_language_of_two_letters() {
        for (header, code) in [
            ("fr-CA, de;q=0.9", Some("FR")),
            ("*, bg;q=0.1", Some("BG")),
            ("deu, x-klingon, d1", None),
            ("fr;q=0", None),
            ("", None),
        ] {
            let culture = Culture::of_accept_language(header);
            assert_eq!(culture.as_ref().map(Culture::code), code, "{header:?}");
        }
        assert_eq!(Culture::default().code(), "EN");
    }

    #[test]
    fn a_tag_is_read_by_its_primary_subtag() {
        for (tag, language) in [
            ("de", Some(German)),
            ("de-AT", Some(German)),
            ("BG-bg", Some(Bulgarian)),
            (" en ", Some(English)),
            ("den", None),
            ("", None),
            ("*", None),
            ("fr", None),
        ] {
            assert_eq!(Language::of_tag(tag), language, "{tag:?}");
        }
        for language in Language::ALL {
            assert_eq!(Language::of_tag(language.tag()), Some(language));
        }
    }

    #[test]
    fn the_first_locale_that_is_spoken_wins() {
        assert_eq!(Language::of_locales("fr-CA bg de"), Some(Bulgarian));
        assert_eq!(Language::of_locales("fr"), None);
        assert_eq!(Language::of_locales(""), None);
    }

    #[test]
    fn the_greatest_weight_wins_and_nonsense_is_passed_over() {
        for (header, language) in [
            ("bg-BG,bg;q=0.9,en;q=0.8", Some(Bulgarian)),
            ("fr;q=1, de;q=0.5, bg;q=0.7", Some(Bulgarian)),
            ("en;q=0.1, de;q=0.1", Some(English)),
            ("de;q=0, en;q=0.2", Some(English)),
            ("de;q=0", None),
            ("de;q=2, bg;q=x, en;q=NaN", None),
            ("de;level=1", None),
            (",,;;", None),
            ("*", None),
        ] {
            assert_eq!(Language::of_accept_language(header), language, "{header:?}");
        }
        let long = format!("{}de", "fr,".repeat(40));
        assert_eq!(Language::of_accept_language(&long), None, "only so many are read");
    }
}
