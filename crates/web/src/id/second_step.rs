//! The page of the second step, and signing in by a passkey alone.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::auth::passkeys::PasskeyAnswer;
use flows::auth::second_step::{SecondFactorProof, SecondStepRefusal};
use flows::auth::sign_in::SignInCookies;
use http::{HeaderMap, Method, StatusCode};
use oauth::params::Params;

use crate::id::sign_in_page;
use crate::id::sign_in_page::{SignInDestination, SignInNotice, after_wait, seconds, signed_in, way};
use crate::id::{SIGN_IN_PATH, form_is_ours, form_page, password_reset};
use crate::pages::two_step::{CodeField, PasskeyForm, SecondStepPage};
use crate::request::body;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::form_expired;
use crate::request::malformed::malformed;
use crate::request::render;

pub(super) const PATH: &str = "/id/account/second-step";
pub(super) const RECOVERY_PATH: &str = "/id/account/recovery-code";

/// The two variants of the page. They ask for different codes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SecondStepDoor {
    AppOrPasskey,
    RecoveryCode,
}

impl SecondStepDoor {
    const fn path(self) -> &'static str {
        match self {
            Self::AppOrPasskey => PATH,
            Self::RecoveryCode => RECOVERY_PATH,
        }
    }
}

pub(super) async fn show(context: RequestContext, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    show_asking(context, &headers, query.as_deref(), SecondStepDoor::AppOrPasskey).await
}

pub(super) async fn show_recovery(context: RequestContext, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    show_asking(context, &headers, query.as_deref(), SecondStepDoor::RecoveryCode).await
}

async fn show_asking(
    mut context: RequestContext,
    headers: &HeaderMap,
    query: Option<&str>,
    asking: SecondStepDoor,
) -> Response {
    let done = async {
        match way(&mut context, headers, query).await? {
            Ok(way) => page(&mut context, headers, &way, asking, SignInNotice::default()).await,
            Err(page) => Ok(page),
        }
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}

/// The page, or a redirect to the sign-in page if the first step must be repeated.
async fn page(
    context: &mut RequestContext,
    headers: &HeaderMap,
    way: &SignInDestination,
    asking: SecondStepDoor,
    said: SignInNotice<'_>,
) -> Result<Response, Fault> {
    let (form_cookie, is_new) = context.form_cookie(headers);
    let step = if is_new {
        None
    } else {
        let csrf = context.instance.form_tokens().of_browser(&form_cookie);
        context.instance.auth().second_step(&csrf, &context.step_cookies(headers), context.now).await?
    };
    let begin_anew_url = way.along(SIGN_IN_PATH);
    let Some(step) = step else { return Ok(render::redirect(&Method::GET, &begin_anew_url)) };
    let messages = context.messages();
    let (action, passkey_action) = (way.along(asking.path()), way.along(PATH));
    let (field, other_way) = match asking {
        SecondStepDoor::AppOrPasskey => (
            step.by_app.then_some(CodeField::App),
            step.by_recovery_code.then(|| (way.along(RECOVERY_PATH), messages.two_step.by_recovery_code)),
        ),
        SecondStepDoor::RecoveryCode => {
            (Some(CodeField::Recovery), Some((way.along(PATH), messages.two_step.by_other)))
        }
    };
    let passkey = step.by_passkey.as_ref().filter(|_| asking == SecondStepDoor::AppOrPasskey);
    Ok(form_page(context, headers, |context, csrf| {
        let page = SecondStepPage {
            messages,
            instance_name: &context.instance.info.name,
            login: &step.login,
            action: &action,
            csrf,
            field,
            passkey: passkey.map(|passkey| PasskeyForm {
                action: &passkey_action,
                label: messages.two_step.use_passkey,
                options: &passkey.options,
                state: &passkey.state,
            }),
            error: said.error,
            notice: said.notice,
            other_way: other_way.as_ref().map(|(url, text)| (url.as_str(), *text)),
            begin_anew_url: &begin_anew_url,
            new_password_url: said.is_spent.then_some(password_reset::PATH),
        };
        render::page_with_script(said.status, &page, way.form_target())
    }))
}

pub(super) async fn submit(
    context: RequestContext,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    submit_asked(context, &headers, query.as_deref(), body, SecondStepDoor::AppOrPasskey).await
}

pub(super) async fn submit_recovery(
    context: RequestContext,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    submit_asked(context, &headers, query.as_deref(), body, SecondStepDoor::RecoveryCode).await
}

async fn submit_asked(
    mut context: RequestContext,
    headers: &HeaderMap,
    query: Option<&str>,
    body: Body,
    asking: SecondStepDoor,
) -> Response {
    let form = match body::form(headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut context, error),
    };
    if !form_is_ours(&context, headers, form.get("csrf")) {
        return form_expired(&mut context);
    }
    let done = async {
        match way(&mut context, headers, query).await? {
            Ok(way) => take(&mut context, headers, &way, asking, &form).await,
            Err(page) => Ok(page),
        }
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}

async fn take(
    context: &mut RequestContext,
    headers: &HeaderMap,
    way: &SignInDestination,
    asking: SecondStepDoor,
    form: &Params,
) -> Result<Response, Fault> {
    let field = |name| form.get(name).unwrap_or_default();
    let shown = match asking {
        SecondStepDoor::RecoveryCode => SecondFactorProof::RecoveryCode(field("recovery_code")),
        SecondStepDoor::AppOrPasskey if form.get("answer").is_some() => {
            SecondFactorProof::Passkey(PasskeyAnswer { state: field("state"), credential: field("answer") })
        }
        SecondStepDoor::AppOrPasskey => SecondFactorProof::Code(field("code")),
    };
    let first_steps = context.step_cookies(headers);
    let previous = context.browser(headers).await?;
    let devices = context.device_cookies(headers);
    let (instance, mut ctx) = context.split();
    let browser = SignInCookies { form: field("csrf"), devices: &devices, signed_in: previous.as_ref() };
    let refusal = match instance.auth().take_second_step(&mut ctx, &first_steps, shown, browser).await? {
        Ok((browser, cookie)) => return signed_in(context, headers, way, &browser, &cookie).await,
        Err(refusal) => refusal,
    };
    let messages = &context.messages().two_step;
    let error = match refusal {
        SecondStepRefusal::FirstStepStale => {
            return sign_in_page::page(
                context,
                headers,
                way,
                SignInNotice { notice: Some(messages.too_late), ..SignInNotice::default() },
            )
            .await;
        }
        SecondStepRefusal::Throttled(wait) => {
            let notice = (messages.wait)(seconds(wait));
            let said = SignInNotice {
                notice: Some(&notice),
                status: StatusCode::TOO_MANY_REQUESTS,
                ..SignInNotice::default()
            };
            return Ok(after_wait(page(context, headers, way, asking, said).await?, wait));
        }
        SecondStepRefusal::Closed(wait) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let said =
                SignInNotice { notice: Some(messages.closed), is_spent: true, status, ..SignInNotice::default() };
            return Ok(after_wait(page(context, headers, way, asking, said).await?, wait));
        }
        SecondStepRefusal::NoApp | SecondStepRefusal::WrongCode | SecondStepRefusal::CodeUsed => messages.wrong_code,
        SecondStepRefusal::WrongRecoveryCode => messages.wrong_recovery_code,
        SecondStepRefusal::Passkey(_) => messages.wrong_passkey,
    };
    page(context, headers, way, asking, SignInNotice { error: Some(error), ..SignInNotice::default() }).await
}

/// Signs in by a passkey without login and password. As for passwords, the page does not tell why one was refused.
pub(super) async fn submit_passkey(
    mut context: RequestContext,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let form = match body::form(&headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut context, error),
    };
    if !form_is_ours(&context, &headers, form.get("csrf")) {
        return form_expired(&mut context);
    }
    let field = |name| form.get(name).unwrap_or_default();
    let done = async {
        let way = match way(&mut context, &headers, query.as_deref()).await? {
            Ok(way) => way,
            Err(page) => return Ok(page),
        };
        let previous = context.browser(&headers).await?;
        let (instance, mut ctx) = context.split();
        let answer = PasskeyAnswer { state: field("state"), credential: field("answer") };
        let outcome = instance.auth().sign_in_by_passkey(&mut ctx, field("csrf"), answer, previous.as_ref()).await?;
        if let Ok((browser, cookie)) = outcome {
            return signed_in(&mut context, &headers, &way, &browser, &cookie).await;
        }
        // Shown as a notice, because login and password are not at fault.
        let said = SignInNotice { notice: Some(context.messages().two_step.wrong_passkey), ..SignInNotice::default() };
        sign_in_page::page(&mut context, &headers, &way, said).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}
