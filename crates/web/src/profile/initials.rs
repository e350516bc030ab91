//! The picture of a user without one: the initials.

use std::fmt::Write as _;

use model::User;

/// Background colours: dark enough for white letters (WCAG 2.2 §1.4.3), and distinct.
const GROUNDS: [&str; 8] = ["#0b6658", "#7a3e0c", "#1f4e8c", "#6b2a7a", "#8f1d14", "#3c5a14", "#4a4a8c", "#7a2350"];

/// The initials as SVG. The text consists of letters and digits only, each escaped as a number.
pub(super) fn svg(user: &User, pixels: u32) -> String {
    let mut letters = String::new();
    for letter in initials(&user.name, user.login.as_str()) {
        write!(letters, "&#{};", u32::from(letter)).expect("writing to a string cannot fail");
    }
    let ground = GROUNDS[usize::from(user.id.0.as_bytes()[15]) % GROUNDS.len()];
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{pixels}\" height=\"{pixels}\" viewBox=\"0 0 64 64\">\
         <path fill=\"{ground}\" d=\"M0 0h64v64H0z\"/><text x=\"32\" y=\"32\" dy=\"0.35em\" text-anchor=\"middle\" \
         font-family=\"system-ui, sans-serif\" font-size=\"26\" font-weight=\"600\" fill=\"#fff\">{letters}</text></svg>"
    )
}

/// The first letters of the first and the last word of the name; without any, of the login.
fn initials(name: &str, login: &str) -> Vec<char> {
    let mut firsts: Vec<char> = name.split_whitespace().filter_map(first_letter).collect();
    if firsts.is_empty() {
        firsts.extend(first_letter(login));
    }
    match firsts.as_slice() {
        [] => vec!['?'],
        [only] => vec![*only],
        [first, .., last] => vec![*first, *last],
    }
}

fn first_letter(word: &str) -> Option<char> {
    word.chars().find(|letter| letter.is_alphanumeric()).and_then(|letter| letter.to_uppercase().next())
}

#[cfg(test)]
mod tests {
    use super::initials;

    #[test]
    fn initials_are_the_first_letters_of_the_outer_names() {
        let of = |name: &str, login: &str| initials(name, login).into_iter().collect::<String>();
        assert_eq!(of("Alice Archer", "alice"), "AA");
        assert_eq!(of("ivan petrov иванов", "x"), "IИ");
        assert_eq!(of("Cher", "x"), "C");
        assert_eq!(of("", "svc.integration"), "S");
        assert_eq!(of("<script> \"x\"", "x"), "SX");
        assert_eq!(of("  ", "--"), "?");
        assert_eq!(of("東京 太郎", "x"), "東太");
    }
}
