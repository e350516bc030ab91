//! Change of the e-mail address.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::account::email::EmailRefusal;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::email_change::asked_besides;

use crate::messages::Messages;
use crate::pages::email::{EmailChangeMethod, EmailPage, PendingAddress};
use crate::pages::profile::{DisplayTime, ProfileNotice, ProfileSection};
use crate::profile::frame;
use crate::request::failures;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

const WITHDRAWN: &str = "withdrawn";

pub(super) async fn show(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let said = match query.as_deref() {
        Some(WITHDRAWN) => ProfileNotice::Done(person.context.messages().email.withdrawn),
        _ => ProfileNotice::Nothing,
    };
    let shown = page(&person, "", said, StatusCode::OK).await;
    shown.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

async fn page(
    person: &SignedInUser,
    typed: &str,
    said: ProfileNotice<'_>,
    status: StatusCode,
) -> Result<Response, Fault> {
    let (instance, now) = (&person.context.instance, person.context.now);
    let change = instance.account().email_change(&person.browser, now).await?;
    let user = &person.browser.user;
    let old = change.as_ref().and_then(|change| asked_besides(user, &change.new));
    let mut asked = Vec::new();
    if let Some(change) = &change {
        asked.push((change.new.as_str(), change.new_code.is_none()));
        asked.extend(old.as_ref().map(|old| (old.as_str(), change.old_code.is_none())));
    }
    let again = person.sign_in_again(ProfileSection::Email.path());
    let way = if !instance.mail().is_open() {
        EmailChangeMethod::NoMail
    } else if person.browser.session.is_recent(now) {
        EmailChangeMethod::Ask(typed)
    } else {
        EmailChangeMethod::SignInAgain(&again)
    };
    let csrf = person.csrf();
    let page = EmailPage {
        messages: person.context.messages(),
        frame: frame(person, ProfileSection::Email, &csrf).saying(said),
        email: user.email.as_ref(),
        waiting: change.as_ref().map(|change| PendingAddress { asked: &asked, until: DisplayTime(change.expires_at) }),
        way,
    };
    Ok(render::page(status, &page, FormTarget::Ourselves))
}

/// Form fields: `withdraw=1`, or the new address.
pub(super) async fn change(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let changed = match form.get("withdraw") {
        Some(_) => withdraw(&mut person).await,
        None => ask(&mut person, form.get("email").unwrap_or_default()).await,
    };
    changed.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

async fn withdraw(person: &mut SignedInUser) -> Result<Response, Fault> {
    let (instance, mut ctx, browser) = person.split();
    if instance.account().withdraw_email(&mut ctx, browser).await?.is_ok() {
        return Ok(render::redirect(&Method::POST, &format!("{}?{WITHDRAWN}", ProfileSection::Email.path())));
    }
    let overtaken = ProfileNotice::Refused(person.context.messages().profile.overtaken);
    page(person, "", overtaken, StatusCode::OK).await
}

async fn ask(person: &mut SignedInUser, typed: &str) -> Result<Response, Fault> {
    let (instance, mut ctx, browser) = person.split();
    let asked = instance.account().ask_for_email(&mut ctx, browser, typed).await?;
    let Err(refusal) = asked else { return Ok(render::redirect(&Method::POST, ProfileSection::Email.path())) };
    let why = why(refusal, person.context.messages());
    let (EmailRefusal::Throttled(wait) | EmailRefusal::TooManyToday(wait)) = refusal else {
        return page(person, typed, ProfileNotice::Refused(&why), StatusCode::OK).await;
    };
    let mut response = page(person, typed, ProfileNotice::Refused(&why), StatusCode::TOO_MANY_REQUESTS).await?;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    Ok(response)
}

fn why(refusal: EmailRefusal, messages: &Messages) -> String {
    let text = match refusal {
        EmailRefusal::Throttled(wait) => return (messages.email.wait)(wait.as_secs() + 1),
        EmailRefusal::TooManyToday(_) => messages.email.too_many_today,
        EmailRefusal::NotAnAddress => messages.email.not_an_address,
        EmailRefusal::Known => messages.email.known,
        EmailRefusal::NotLately => messages.tokens.not_lately,
        EmailRefusal::NoMail => messages.email.no_mail,
        EmailRefusal::Overtaken => messages.profile.overtaken,
    };
    text.to_owned()
}
