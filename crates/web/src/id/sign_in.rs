//! The sign-in page, by itself or as part of an application's request.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::auth::sign_in::{SignInCookies, SignInOutcome, SignInRefusal};
use http::{HeaderMap, Method, StatusCode};
use model::user::{Password, PasswordCredentials};
use oauth::params::Params;
use oauth::secret::Presented;

use crate::id::pending::address;
use crate::id::sign_in_page::{
    SignInDestination, SignInNotice, after_wait, continuing, onwards, page, request_of_old, seconds, signed_in, way,
};
use crate::id::{SIGN_IN_PATH, form_is_ours, second_step};
use crate::pages::AccountPage;
use crate::request::body;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::form_expired;
use crate::request::malformed::malformed;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::site;

pub(super) async fn show(mut context: RequestContext, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let done = async {
        let way = match way(&mut context, &headers, query.as_deref()).await? {
            Ok(way) => way,
            Err(page) => return Ok(page),
        };
        if let SignInDestination::Ourselves(params) = &way
            && let Some(request) = request_of_old(params)
        {
            return Ok(render::redirect(&Method::GET, &request));
        }
        let login = way.login_hint().unwrap_or_default();
        // Our pages send a signed-in user here only for a more recent sign-in.
        let again = way.is_from_our_page() && context.browser(&headers).await?.is_some();
        let notice = again.then(|| context.messages().sign_in.once_more);
        page(&mut context, &headers, &way, SignInNotice { login, notice, ..SignInNotice::default() }).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}

pub(super) async fn submit(
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
    let done = async {
        let way = match way(&mut context, &headers, query.as_deref()).await? {
            Ok(way) => way,
            Err(page) => return Ok(page),
        };
        if form.get("continue").is_some() {
            let browser = continuing(&context, &headers, &way).await?;
            return match browser {
                Some(browser) => onwards(&mut context, &headers, &way, &browser).await,
                None => Ok(form_expired(&mut context)),
            };
        }
        sign_in(&mut context, &headers, &way, &form).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}

async fn sign_in(
    context: &mut RequestContext,
    headers: &HeaderMap,
    way: &SignInDestination,
    form: &Params,
) -> Result<Response, Fault> {
    let login = form.get("login").unwrap_or_default();
    let password = Presented::<Password>::new(form.get("password").unwrap_or_default());
    let csrf = form.get("csrf").unwrap_or_default();
    let previous = context.browser(headers).await?;
    let devices = context.device_cookies(headers);
    let (instance, mut ctx) = context.split();
    let browser = SignInCookies { form: csrf, devices: &devices, signed_in: previous.as_ref() };
    let credentials = PasswordCredentials { login, password: &password };
    let answer = instance.auth().sign_in(&mut ctx, credentials, browser, way.pending()).await?;
    match answer {
        Ok(SignInOutcome::Done(browser, cookie)) => signed_in(context, headers, way, &browser, &cookie).await,
        Ok(SignInOutcome::SecondStep { first_step, pending }) => {
            let names = context.cookie_names();
            let next =
                pending.map_or_else(|| way.along(second_step::PATH), |kept| address(second_step::PATH, &kept.id));
            let response = render::redirect(&Method::POST, &next);
            Ok(render::with_cookie(response, &names.set(names.step, first_step.expose())))
        }
        Err(SignInRefusal::Throttled(wait)) => {
            let notice = (context.messages().sign_in.wait)(seconds(wait));
            let said = SignInNotice {
                login,
                notice: Some(&notice),
                status: StatusCode::TOO_MANY_REQUESTS,
                ..SignInNotice::default()
            };
            Ok(after_wait(page(context, headers, way, said).await?, wait))
        }
        // The same answer for logins that do not exist.
        Err(SignInRefusal::GuessesSpent(wait)) => {
            let notice = (context.messages().sign_in.spent)(seconds(wait).div_ceil(60));
            let status = StatusCode::TOO_MANY_REQUESTS;
            let said = SignInNotice { login, notice: Some(&notice), is_spent: true, status, ..SignInNotice::default() };
            Ok(after_wait(page(context, headers, way, said).await?, wait))
        }
        Err(
            SignInRefusal::UnknownUser
            | SignInRefusal::WrongPassword
            | SignInRefusal::UserDisabled { .. }
            | SignInRefusal::NotForSignIn(_)
            | SignInRefusal::NotAdmitted(_)
            | SignInRefusal::SecondFactor,
        ) => {
            page(
                context,
                headers,
                way,
                SignInNotice { login, error: Some(context.messages().sign_in.wrong), ..SignInNotice::default() },
            )
            .await
        }
    }
}

/// The page shown to a signed-in user.
pub(super) async fn account(context: RequestContext, headers: HeaderMap) -> Response {
    match context.browser(&headers).await {
        Err(fault) => failures::fault_page(&context, &fault),
        Ok(None) => render::redirect(&Method::GET, SIGN_IN_PATH),
        Ok(Some(browser)) => {
            let context = context.speaking_to(&browser.user);
            let mut sites = site::sites(&context.instance);
            sites.retain(|site| site.is_for(&browser.user));
            let page = AccountPage {
                messages: context.messages(),
                instance_name: &context.instance.info.name,
                user_name: &browser.user.name,
                login: browser.user.login.as_str(),
                sign_out_url: "/id/connect/endsession",
                sites: &site::as_lines(&sites, site::ACCOUNT, context.messages()),
            };
            render::page(StatusCode::OK, &page, FormTarget::Ourselves)
        }
    }
}
