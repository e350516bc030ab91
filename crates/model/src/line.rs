//! Single-line texts shown to other people: names, labels and descriptions.

use std::borrow::Cow;

/// The rule on characters, as every refusal of a line states it.
pub const LINE_RULE: &str = "on one line, without control, invisible or direction-changing characters";

/// Whether the text has 1 to `max_chars` characters, all visible and none that changes how others are read.
pub fn is_line(text: &str, max_chars: usize) -> bool {
    let length = text.chars().count();
    (1..=max_chars).contains(&length) && !text.trim().is_empty() && !with_verdicts(text).any(|(_, fits)| !fits)
}

/// A stored line for display: characters that today's rules refuse are removed. It may be older than these rules.
pub fn shown(text: String) -> String {
    if with_verdicts(&text).all(|(_, fits)| fits) {
        return text;
    }
    with_verdicts(&text).filter(|(_, fits)| *fits).map(|(c, _)| c).collect()
}

/// External text for a terminal or a page: characters that a line may not contain are replaced by U+FFFD.
pub fn marked(text: &str) -> Cow<'_, str> {
    if with_verdicts(text).all(|(_, fits)| fits) {
        return Cow::Borrowed(text);
    }
    with_verdicts(text).map(|(c, fits)| if fits { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Joiners (U+200C, U+200D) form letters in Arabic, Indic and other scripts, and emoji, all of which follow U+0590.
/// After a Latin, Greek or Cyrillic letter, a joiner is only an invisible difference between two names that look the
/// same.
fn with_verdicts(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut may_join = false;
    text.chars().map(move |c| {
        let is_joiner = matches!(c, '\u{200c}' | '\u{200d}');
        let fits = if is_joiner { may_join } else { !is_deceptive(c) };
        may_join = !is_joiner && fits && c >= '\u{590}';
        (c, fits)
    })
}

/// Control characters (Cc), line and paragraph separators, the bidirectional marks, embeddings, overrides and isolates
/// of Unicode UAX #9 §2, and the default ignorable and blank characters by which two names look the same. Variation
/// selectors are allowed: emoji and Japanese names need them.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{17b4}'
                | '\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e00ff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_everywhere_are_lines() {
        for name in [
            "Alice",
            "Ünal Ğüneş-O’Neill",
            "София Иванова",
            "محمد العربي",
            "שרה לוי",
            "علی\u{200c}رضا",
            "क्\u{200d}ष",
            "葛\u{e0100}城",
            "Team 👩\u{200d}💻",
            "Shop ❤\u{fe0f}",
            "Γιώργος, Ltd. (GmbH) & Co. <KG>",
        ] {
            assert!(is_line(name, 200), "{name:?}");
            assert_eq!(shown(name.to_owned()), name);
            assert_eq!(marked(name), name);
        }
    }

    #[test]
    fn what_cannot_be_seen_or_turns_the_text_around_is_in_no_line() {
        let deceptive = "\u{0}\u{9}\u{a}\u{d}\u{1b}\u{7f}\u{85}\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}\u{200c}\u{200d}\
                         \u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2064}\u{2066}\
                         \u{2067}\u{2068}\u{2069}\u{206f}\u{2800}\u{3164}\u{feff}\u{ffa0}\u{fff9}\u{e0041}";
        for c in deceptive.chars() {
            let name = format!("Pay{c}Pal");
            assert!(!is_line(&name, 200), "U+{:04X}", u32::from(c));
            assert_eq!(shown(name.clone()), "PayPal");
            assert_eq!(marked(&name), "Pay\u{fffd}Pal");
            assert!(!is_line(&format!("{c}"), 200) && !is_line(&format!("Pay{c}"), 200), "U+{:04X}", u32::from(c));
        }
        assert!(!is_line("علی\u{200c}\u{200c}رضا", 200), "a second joiner joins nothing");
    }

    #[test]
    fn a_line_has_a_length_and_says_something() {
        assert!(is_line("ééé", 3) && !is_line("éééé", 3));
        assert!(!is_line("", 3) && !is_line("  ", 3) && !is_line("\u{a0}", 3));
    }
}
