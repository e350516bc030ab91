//! Another e-mail address.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::email::EmailRefusal;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use model::email_change::asked_besides;

use super::frame;
use crate::pages::email::{EmailPage, Waiting, Way};
use crate::pages::profile::{Said, Section, When};
use crate::person::Person;
use crate::render::{self, FormTarget};
use crate::words::Words;

const WITHDRAWN: &str = "withdrawn";

pub(super) async fn show(person: Person, RawQuery(query): RawQuery) -> Response {
    let said = match query.as_deref() {
        Some(WITHDRAWN) => Said::Done(person.visit.words().email.withdrawn),
        _ => Said::Nothing,
    };
    let shown = page(&person, ("", said), StatusCode::OK).await;
    shown.unwrap_or_else(|fault| render::fault_page(&person.visit, &fault))
}

async fn page(person: &Person, (typed, said): (&str, Said<'_>), status: StatusCode) -> Result<Response, Fault> {
    let (instance, now) = (&person.visit.instance, person.visit.now);
    let change = instance.email_change(&person.browser, now).await?;
    let user = &person.browser.user;
    let old = change.as_ref().and_then(|change| asked_besides(user, &change.new));
    let mut asked = Vec::new();
    if let Some(change) = &change {
        asked.push((change.new.as_str(), change.new_code.is_none()));
        asked.extend(old.as_ref().map(|old| (old.as_str(), change.old_code.is_none())));
    }
    let again = person.sign_in_again(Section::Email.path());
    let way = if !instance.sends_mail() {
        Way::NoMail
    } else if person.browser.session.is_recent(now) {
        Way::Ask(typed)
    } else {
        Way::SignInAgain(&again)
    };
    let csrf = person.csrf();
    let page = EmailPage {
        words: person.visit.words(),
        frame: frame(person, Section::Email, &csrf).saying(said),
        email: user.email.as_ref(),
        waiting: change.as_ref().map(|change| Waiting { asked: &asked, until: When(change.expires_at) }),
        way,
    };
    Ok(render::page(status, &page, FormTarget::Ourselves))
}

/// `withdraw=1`, or the new address.
pub(super) async fn change(mut person: Person, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let changed = match form.get("withdraw") {
        Some(_) => withdraw(&mut person).await,
        None => ask(&mut person, form.get("email").unwrap_or_default()).await,
    };
    changed.unwrap_or_else(|fault| render::fault_page(&person.visit, &fault))
}

async fn withdraw(person: &mut Person) -> Result<Response, Fault> {
    let (instance, visitor, browser) = person.parts();
    if instance.withdraw_email(&mut person.visit.moment(), &visitor, &browser).await?.is_ok() {
        return Ok(render::redirect(&Method::POST, &format!("{}?{WITHDRAWN}", Section::Email.path())));
    }
    let overtaken = Said::Refused(person.visit.words().profile.overtaken);
    page(person, ("", overtaken), StatusCode::OK).await
}

async fn ask(person: &mut Person, typed: &str) -> Result<Response, Fault> {
    let (instance, visitor, browser) = person.parts();
    let asked = instance.ask_for_email(&mut person.visit.moment(), &visitor, (&browser, typed)).await?;
    let Err(refusal) = asked else { return Ok(render::redirect(&Method::POST, Section::Email.path())) };
    let why = why(refusal, person.visit.words());
    let (EmailRefusal::Throttled(wait) | EmailRefusal::TooManyToday(wait)) = refusal else {
        return page(person, (typed, Said::Refused(&why)), StatusCode::OK).await;
    };
    let mut response = page(person, (typed, Said::Refused(&why)), StatusCode::TOO_MANY_REQUESTS).await?;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    Ok(response)
}

fn why(refusal: EmailRefusal, words: &Words) -> String {
    let text = match refusal {
        EmailRefusal::Throttled(wait) => return (words.email.wait)(wait.as_secs() + 1),
        EmailRefusal::TooManyToday(_) => words.email.too_many_today,
        EmailRefusal::NotAnAddress => words.email.not_an_address,
        EmailRefusal::Known => words.email.known,
        EmailRefusal::NotLately => words.tokens.not_lately,
        EmailRefusal::NoMail => words.email.no_mail,
        EmailRefusal::Overtaken => words.profile.overtaken,
    };
    text.to_owned()
}
