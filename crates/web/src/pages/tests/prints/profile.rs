//! The profile site.

use model::{Email, Language, Timestamp};

use super::Press;
use crate::pages::profile::*;
use crate::words::{self, Words};

const WORDS: fn() -> &'static Words = || words::of(Language::English);

fn frame(press: &mut Press, section: Section) -> Frame<'static> {
    Frame {
        words: WORDS(),
        instance_name: press.ink("instance", "testdb"),
        user_name: press.ink("user", "Alice Archer"),
        login: press.ink("login", "alice"),
        section,
        csrf: press.ink("csrf", "9b2e7c"),
        said: Said::Nothing,
    }
}

pub(super) fn print(press: &mut Press) {
    let since = When(Timestamp::from_seconds(1_795_255_032));
    let email = Email { address: press.ink("email", "alice@example.com").to_owned(), verified: true };
    let mut page = Overview {
        words: WORDS(),
        frame: frame(press, Section::Overview),
        email: Some(&email),
        kind: "Internal user",
        is_admin: true,
        since,
    };
    // The overview has no form.
    press.texts.retain(|text| *text != "csrf");
    press.print("profile", &page);
    page = Overview { frame: frame(press, Section::Overview), email: None, is_admin: false, ..page };
    press.texts.retain(|text| *text != "csrf");
    press.print("profile.bare", &page);

    let frame_of_language = frame(press, Section::Language);
    let page = LanguagePage { words: WORDS(), frame: frame_of_language, chosen: Some(Language::Bulgarian) };
    press.print("profile-language", &page);
    let said = Said::Refused(press.ink("error", "Somebody else changed this."));
    let frame_of_language = frame(press, Section::Language).saying(said);
    press.print("profile-language.error", &LanguagePage { frame: frame_of_language, chosen: None, ..page });
}
