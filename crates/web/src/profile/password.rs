//! Change of password.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::account::password::{PasswordChange, PasswordRefusal};
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

/// After a change, the page offers to revoke the reference tokens: a new password does not affect them.
pub(super) async fn show(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let said = said(&person, query.as_deref());
    let live = match said {
        ProfileNotice::Done(_) => {
            person.context.instance.account().live_own_tokens(&person.browser, person.context.now).await
        }
        ProfileNotice::Nothing | ProfileNotice::Refused(_) => Ok(0),
    };
    match live {
        Ok(live) => page_with(&person, said, live, StatusCode::OK),
        Err(fault) => failures::fault_page(&person.context, &fault),
    }
}

fn page(person: &SignedInUser, said: ProfileNotice<'_>, status: StatusCode) -> Response {
    page_with(person, said, 0, status)
}

fn page_with(person: &SignedInUser, said: ProfileNotice<'_>, live_tokens: usize, status: StatusCode) -> Response {
    let csrf = person.csrf();
    let frame = frame(person, ProfileSection::Password, &csrf).saying(said);
    render::page(
        status,
        &PasswordPage { messages: person.context.messages(), frame, live_tokens },
        FormTarget::Ourselves,
    )
}

pub(super) async fn change(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let messages = person.context.messages();
    let field = |name: &str| form.get(name).unwrap_or_default();
    if field("password") != field("repeat") {
        return page(&person, ProfileNotice::Refused(messages.set_up.differ), StatusCode::OK);
    }
    let (current, new) = (Presented::<Password>::new(field("current")), Presented::<Password>::new(field("password")));
    let (instance, mut ctx, browser) = person.split();
    let change = PasswordChange { current: &current, new: &new };
    match instance.account().change_password(&mut ctx, browser, change).await {
        Ok(Ok(cookie)) => {
            let names = person.context.cookie_names();
            render::with_cookie(done(ProfileSection::Password), &names.set(names.session, cookie.expose()))
        }
        Ok(Err(PasswordRefusal::Throttled(wait))) => {
            let seconds = wait.as_secs() + 1;
            let text = (messages.sign_in.wait)(seconds);
            let mut response = page(&person, ProfileNotice::Refused(&text), StatusCode::TOO_MANY_REQUESTS);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Ok(Err(refusal)) => page(&person, ProfileNotice::Refused(&text(refusal, messages)), StatusCode::OK),
        Err(fault) => failures::fault_page(&person.context, &fault),
    }
}

fn text(refusal: PasswordRefusal, messages: &Messages) -> String {
    match refusal {
        PasswordRefusal::Wrong => messages.password.wrong.to_owned(),
        PasswordRefusal::Throttled(wait) => (messages.sign_in.wait)(wait.as_secs() + 1),
        PasswordRefusal::Same => messages.password.same.to_owned(),
        PasswordRefusal::Weak(weakness) => messages.password.weakness(weakness),
        PasswordRefusal::Overtaken => messages.profile.overtaken.to_owned(),
    }
}
