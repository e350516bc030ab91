//! Another password.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::account::password::PasswordRefusal;
use flows::auth::strength::Weakness;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::user::Password;
use oauth::secret::Presented;

use crate::messages::Messages;
use crate::pages::profile::{PasswordPage, ProfileNotice, ProfileSection};
use crate::profile::{done, frame, said};
use crate::request::failures;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

/// After a change, with the offer to revoke the reference tokens, which a new password leaves alone.
pub(super) async fn show(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let said = said(&person, query.as_deref());
    let live = match said {
        ProfileNotice::Done(_) => {
            person.visit.instance.account().live_own_tokens(&person.browser, person.visit.now).await
        }
        ProfileNotice::Nothing | ProfileNotice::Refused(_) => Ok(0),
    };
    match live {
        Ok(live) => page_with(&person, (said, live), StatusCode::OK),
        Err(fault) => failures::fault_page(&person.visit, &fault),
    }
}

fn page(person: &SignedInUser, said: ProfileNotice<'_>, status: StatusCode) -> Response {
    page_with(person, (said, 0), status)
}

fn page_with(person: &SignedInUser, (said, live_tokens): (ProfileNotice<'_>, usize), status: StatusCode) -> Response {
    let csrf = person.csrf();
    let frame = frame(person, ProfileSection::Password, &csrf).saying(said);
    render::page(status, &PasswordPage { words: person.visit.messages(), frame, live_tokens }, FormTarget::Ourselves)
}

pub(super) async fn change(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let words = person.visit.messages();
    let field = |name: &str| form.get(name).unwrap_or_default();
    if field("password") != field("repeat") {
        return page(&person, ProfileNotice::Refused(words.set_up.differ), StatusCode::OK);
    }
    let (current, new) = (Presented::<Password>::new(field("current")), Presented::<Password>::new(field("password")));
    let (instance, mut ctx, browser) = person.split();
    match instance.account().change_password(&mut ctx, browser, (&current, &new)).await {
        Ok(Ok(cookie)) => {
            let names = person.visit.cookie_names();
            render::with_cookie(done(ProfileSection::Password), &names.set(names.session, cookie.expose()))
        }
        Ok(Err(PasswordRefusal::Throttled(wait))) => {
            let seconds = wait.as_secs() + 1;
            let text = (words.sign_in.wait)(seconds);
            let mut response = page(&person, ProfileNotice::Refused(&text), StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Ok(Err(refusal)) => page(&person, ProfileNotice::Refused(&text(refusal, words)), StatusCode::OK),
        Err(fault) => failures::fault_page(&person.visit, &fault),
    }
}

fn text(refusal: PasswordRefusal, words: &Messages) -> String {
    match refusal {
        PasswordRefusal::Wrong => words.password.wrong.to_owned(),
        PasswordRefusal::Throttled(wait) => (words.sign_in.wait)(wait.as_secs() + 1),
        PasswordRefusal::Same => words.password.same.to_owned(),
        PasswordRefusal::Weak(weakness) => weakness_text(weakness, words),
        PasswordRefusal::Overtaken => words.profile.overtaken.to_owned(),
    }
}

/// Why a password that somebody chose is not good enough.
pub(crate) fn weakness_text(weakness: Weakness, words: &Messages) -> String {
    match weakness {
        Weakness::Empty | Weakness::TooShort => words.password.too_short.to_owned(),
        Weakness::TooLong => words.password.too_long.to_owned(),
        Weakness::Common => words.password.common.to_owned(),
        Weakness::AboutYou => words.password.about_you.to_owned(),
        Weakness::Guessable(tens) => (words.password.guessable)(&grouped(tens)),
    }
}

/// A power of ten as people write it: `10 000`.
fn grouped(tens: u32) -> String {
    let digits = format!("1{}", "0".repeat(usize::try_from(tens).unwrap_or(0).min(19)));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn a_power_of_ten_is_grouped_by_three() {
        assert_eq!(grouped(0), "1");
        assert_eq!(grouped(3), "1\u{202f}000");
        assert_eq!(grouped(7), "10\u{202f}000\u{202f}000");
    }
}
