//! The page of the second step, and signing in by a passkey alone.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::second_step::{SecondStepRefusal, Shown};
use flows::sign_in::AtBrowser;
use http::{HeaderMap, Method, StatusCode};
use oauth::params::Params;

use super::sign_in::{self, Said, Way, after_wait, seconds, signed_in, way};
use super::{forgotten, form_expired, form_is_ours, form_page, malformed};
use crate::body;
use crate::pages::two_step::{CodeField, PasskeyForm, SecondStepPage};
use crate::render;
use crate::visit::Visit;

pub(super) const PATH: &str = "/id/account/second-step";
pub(super) const RECOVERY_PATH: &str = "/id/account/recovery-code";

/// Which of the two pages it is: they differ in the code that they ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    AppOrPasskey,
    RecoveryCode,
}

impl Asking {
    const fn path(self) -> &'static str {
        match self {
            Self::AppOrPasskey => PATH,
            Self::RecoveryCode => RECOVERY_PATH,
        }
    }
}

pub(super) async fn show(visit: Visit, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    show_asking(visit, &headers, query.as_deref(), Asking::AppOrPasskey).await
}

pub(super) async fn show_recovery(visit: Visit, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    show_asking(visit, &headers, query.as_deref(), Asking::RecoveryCode).await
}

async fn show_asking(mut visit: Visit, headers: &HeaderMap, query: Option<&str>, asking: Asking) -> Response {
    let done = async {
        match way(&mut visit, query).await? {
            Ok(way) => page(&mut visit, headers, (&way, asking), Said::default()).await,
            Err(page) => Ok(page),
        }
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => render::fault_page(&visit, &fault),
    }
}

/// The page, or the way back to the sign-in page if the first step must be taken anew.
async fn page(
    visit: &mut Visit,
    headers: &HeaderMap,
    (way, asking): (&Way, Asking),
    said: Said<'_>,
) -> Result<Response, Fault> {
    let (form_cookie, is_new) = visit.form_cookie(headers);
    let step = if is_new {
        None
    } else {
        let csrf = visit.instance.form_token(&form_cookie);
        visit.instance.second_step(&csrf, &visit.step_cookies(headers), visit.now).await?
    };
    let begin_anew_url = way.along("/id/account/login");
    let Some(step) = step else { return Ok(render::redirect(&Method::GET, &begin_anew_url)) };
    let words = visit.words();
    let (action, passkey_action) = (way.along(asking.path()), way.along(PATH));
    let (field, other_way) = match asking {
        Asking::AppOrPasskey => (
            step.by_app.then_some(CodeField::App),
            step.by_recovery_code.then(|| (way.along(RECOVERY_PATH), words.two_step.by_recovery_code)),
        ),
        Asking::RecoveryCode => (Some(CodeField::Recovery), Some((way.along(PATH), words.two_step.by_other))),
    };
    let passkey = step.by_passkey.as_ref().filter(|_| asking == Asking::AppOrPasskey);
    Ok(form_page(visit, headers, |visit, csrf| {
        let page = SecondStepPage {
            words,
            instance_name: &visit.instance.name,
            login: &step.login,
            action: &action,
            csrf,
            field,
            passkey: passkey.map(|passkey| PasskeyForm {
                action: &passkey_action,
                label: words.two_step.use_passkey,
                options: &passkey.options,
                state: &passkey.state,
            }),
            error: said.error,
            notice: said.notice,
            other_way: other_way.as_ref().map(|(url, text)| (url.as_str(), *text)),
            begin_anew_url: &begin_anew_url,
            new_password_url: said.is_spent.then_some(forgotten::PATH),
        };
        render::page_with_script(said.status, &page, way.form_target())
    }))
}

pub(super) async fn submit(visit: Visit, headers: HeaderMap, RawQuery(query): RawQuery, body: Body) -> Response {
    submit_asked(visit, &headers, (query.as_deref(), body), Asking::AppOrPasskey).await
}

pub(super) async fn submit_recovery(
    visit: Visit,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    submit_asked(visit, &headers, (query.as_deref(), body), Asking::RecoveryCode).await
}

async fn submit_asked(
    mut visit: Visit,
    headers: &HeaderMap,
    (query, body): (Option<&str>, Body),
    asking: Asking,
) -> Response {
    let form = match body::form(headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut visit, error),
    };
    if !form_is_ours(&visit, headers, form.get("csrf")) {
        return form_expired(&mut visit);
    }
    let done = async {
        match way(&mut visit, query).await? {
            Ok(way) => take(&mut visit, headers, (&way, asking), &form).await,
            Err(page) => Ok(page),
        }
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => render::fault_page(&visit, &fault),
    }
}

async fn take(
    visit: &mut Visit,
    headers: &HeaderMap,
    (way, asking): (&Way, Asking),
    form: &Params,
) -> Result<Response, Fault> {
    let field = |name| form.get(name).unwrap_or_default();
    let shown = match asking {
        Asking::RecoveryCode => Shown::RecoveryCode(field("recovery_code")),
        Asking::AppOrPasskey if form.get("answer").is_some() => {
            Shown::Passkey { state: field("state"), answer: field("answer") }
        }
        Asking::AppOrPasskey => Shown::Code(field("code")),
    };
    let first_steps = visit.step_cookies(headers);
    let previous = visit.browser(headers).await?;
    let (instance, visitor) = (visit.instance.clone(), visit.visitor.clone());
    let devices = visit.device_cookies(headers);
    let browser = AtBrowser { form: field("csrf"), devices: &devices, signed_in: previous.as_ref() };
    let step = (&*first_steps, shown);
    let refusal = match instance.take_second_step(&mut visit.moment(), &visitor, step, browser).await? {
        Ok((browser, cookie)) => return signed_in(visit, headers, way, (&browser, &cookie)).await,
        Err(refusal) => refusal,
    };
    let words = &visit.words().two_step;
    let error = match refusal {
        SecondStepRefusal::FirstStepStale => {
            return sign_in::page(visit, headers, way, Said { notice: Some(words.too_late), ..Said::default() }).await;
        }
        SecondStepRefusal::Throttled(wait) => {
            let notice = (words.wait)(seconds(wait));
            let said = Said { notice: Some(&notice), status: StatusCode::TOO_MANY_REQUESTS, ..Said::default() };
            return Ok(after_wait(page(visit, headers, (way, asking), said).await?, wait));
        }
        SecondStepRefusal::Closed(wait) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let said = Said { notice: Some(words.closed), is_spent: true, status, ..Said::default() };
            return Ok(after_wait(page(visit, headers, (way, asking), said).await?, wait));
        }
        SecondStepRefusal::NoApp | SecondStepRefusal::WrongCode | SecondStepRefusal::CodeUsed => words.wrong_code,
        SecondStepRefusal::WrongRecoveryCode => words.wrong_recovery_code,
        SecondStepRefusal::Passkey(_) => words.wrong_passkey,
    };
    page(visit, headers, (way, asking), Said { error: Some(error), ..Said::default() }).await
}

/// A passkey instead of login and password. Why it was refused is nobody's business, as for a password.
pub(super) async fn submit_passkey(
    mut visit: Visit,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let form = match body::form(&headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut visit, error),
    };
    if !form_is_ours(&visit, &headers, form.get("csrf")) {
        return form_expired(&mut visit);
    }
    let field = |name| form.get(name).unwrap_or_default();
    let done = async {
        let way = match way(&mut visit, query.as_deref()).await? {
            Ok(way) => way,
            Err(page) => return Ok(page),
        };
        let previous = visit.browser(&headers).await?;
        let (instance, visitor) = (visit.instance.clone(), visit.visitor.clone());
        let shown = (field("csrf"), field("state"), field("answer"));
        let answer = instance.sign_in_by_passkey(&mut visit.moment(), &visitor, shown, previous.as_ref()).await?;
        if let Ok((browser, cookie)) = answer {
            return signed_in(&mut visit, &headers, &way, (&browser, &cookie)).await;
        }
        // A notice: login and password are not what is wrong.
        let said = Said { notice: Some(visit.words().two_step.wrong_passkey), ..Said::default() };
        sign_in::page(&mut visit, &headers, &way, said).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => render::fault_page(&visit, &fault),
    }
}
