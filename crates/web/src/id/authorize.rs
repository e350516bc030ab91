//! `/connect/authorize` and the consent page.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use flows::auth::browser_session::SignedIn;
use flows::protocol::authorize::{AuthorizeOutcome, TargetRefusal, VerifiedTarget};
use http::{HeaderMap, Method, StatusCode};
use oauth::params::Params;
use oauth::scope::Scope;

use crate::id::{form_is_ours, form_page};
use crate::messages::ScopeMessages;
use crate::pages::{ConsentPage, ScopeLine};
use crate::request::body;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::error_page;
use crate::request::malformed::form_expired;
use crate::request::malformed::malformed;
use crate::request::render;
use crate::request::render::FormTarget;

/// Separates the request from the proof that the user signed in for it, in the consent page's address.
const PROOF: &str = "&gatehouse_interaction=";

pub(super) async fn get(mut context: RequestContext, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    match Params::parse(query.unwrap_or_default().as_bytes()) {
        Ok(params) => begin(context, &Method::GET, &headers, &params).await,
        Err(error) => malformed(&mut context, error),
    }
}

pub(super) async fn post(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    match body::form(&headers, body).await {
        Ok(params) => begin(context, &Method::POST, &headers, &params).await,
        Err(error) => malformed(&mut context, error),
    }
}

async fn begin(mut context: RequestContext, method: &Method, headers: &HeaderMap, params: &Params) -> Response {
    let done = async {
        let target = match target(&mut context, params).await? {
            Ok(target) => target,
            Err(page) => return Ok(page),
        };
        let browser = context.browser(headers).await?;
        proceed(&mut context, method, params, &target, browser.as_ref(), false).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}

/// Runs checks 1 and 2 of an authorization request. Returns the error page if one fails.
pub(super) async fn target(
    context: &mut RequestContext,
    params: &Params,
) -> Result<Result<VerifiedTarget, Response>, Fault> {
    let (instance, mut ctx) = context.split();
    let answer = instance.protocol().authorization_target(&mut ctx, params).await?;
    Ok(answer.map_err(|refusal| target_page(context, &refusal)))
}

/// Redirects to the next page, or back to the application.
pub(super) async fn proceed(
    context: &mut RequestContext,
    method: &Method,
    params: &Params,
    target: &VerifiedTarget,
    browser: Option<&SignedIn>,
    for_this_request: bool,
) -> Result<Response, Fault> {
    let (instance, mut ctx) = context.split();
    let next = instance.protocol().authorize(&mut ctx, (target, params), (browser, for_this_request)).await?;
    let query = params.to_query();
    Ok(match (next, browser) {
        (AuthorizeOutcome::Redirect(location), _) => render::redirect(method, &location),
        (AuthorizeOutcome::Consent { .. }, Some(browser)) => {
            let proof = context.instance.auth().interaction(browser, &query, context.now);
            render::redirect(method, &format!("/id/account/consent?{query}{PROOF}{proof}"))
        }
        (AuthorizeOutcome::SignIn | AuthorizeOutcome::Consent { .. }, _) => {
            render::redirect(method, &format!("/id/account/login?{query}"))
        }
    })
}

fn target_page(context: &RequestContext, refusal: &TargetRefusal) -> Response {
    let (messages, malformed) = (&context.messages().target, &context.messages().malformed);
    let message = match refusal {
        TargetRefusal::Malformed(error) => format!("{} {}.", messages.malformed, malformed.target(error)).into(),
        TargetRefusal::UnknownApplication => Cow::Borrowed(messages.unknown),
        TargetRefusal::ApplicationDisabled => messages.disabled.into(),
        TargetRefusal::RedirectUriNotRegistered { .. } => messages.not_registered.into(),
    };
    let code = match refusal {
        TargetRefusal::UnknownApplication | TargetRefusal::ApplicationDisabled => "unauthorized_client",
        TargetRefusal::Malformed(_) | TargetRefusal::RedirectUriNotRegistered { .. } => "invalid_request",
    };
    error_page(context, StatusCode::BAD_REQUEST, (messages.title, &message, messages.what_to_do, code))
}

/// The query of the consent page: the application's request and the proof.
struct ConsentRequest {
    params: Params,
    query: String,
    proof: String,
}

/// Splits the query. The proof comes after the request, so it cannot replace a parameter.
fn asked(query: Option<&str>) -> Option<ConsentRequest> {
    let (request, proof) = query?.rsplit_once(PROOF)?;
    let params = Params::parse(request.as_bytes()).ok()?;
    let query = params.to_query();
    Some(ConsentRequest { params, query, proof: proof.to_owned() })
}

/// The signed-in user, if the proof was made for this user and request. `None` restarts the request.
async fn person(
    context: &RequestContext,
    headers: &HeaderMap,
    asked: &ConsentRequest,
) -> Result<Option<SignedIn>, Fault> {
    let browser = context.browser(headers).await?;
    Ok(browser
        .filter(|browser| context.instance.auth().is_interaction(browser, &asked.query, &asked.proof, context.now)))
}

pub(super) async fn show_consent(
    mut context: RequestContext,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(asked) = asked(query.as_deref()) else { return form_expired(&mut context) };
    let done = async {
        let target = match target(&mut context, &asked.params).await? {
            Ok(target) => target,
            Err(page) => return Ok(page),
        };
        let Some(browser) = person(&context, &headers, &asked).await? else {
            return Ok(render::redirect(&Method::GET, &format!("/id/connect/authorize?{}", asked.query)));
        };
        let (instance, mut ctx) = context.split();
        let next = instance.protocol().authorize(&mut ctx, (&target, &asked.params), (Some(&browser), true)).await?;
        Ok(match next {
            AuthorizeOutcome::Consent { scope } => {
                consent_page(&mut context, &headers, &target, &browser, &scope, &asked)
            }
            AuthorizeOutcome::Redirect(location) => render::redirect(&Method::GET, &location),
            AuthorizeOutcome::SignIn => render::redirect(&Method::GET, &format!("/id/account/login?{}", asked.query)),
        })
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}

fn consent_page(
    context: &mut RequestContext,
    headers: &HeaderMap,
    target: &VerifiedTarget,
    browser: &SignedIn,
    scope: &Scope,
    asked: &ConsentRequest,
) -> Response {
    context.speak_to(&browser.user);
    let action = format!("/id/account/consent?{}{PROOF}{}", asked.query, asked.proof);
    let switch_url = format!("/id/account/login?{}", asked.query);
    let scopes: Vec<ScopeLine<'_>> = scope.iter().map(|name| scope_line(name, &context.messages().scopes)).collect();
    let application = &target.application;
    form_page(context, headers, |context, csrf| {
        let page = ConsentPage {
            messages: context.messages(),
            instance_name: &context.instance.info.name,
            application_name: &application.name,
            application_uri: application.uri.as_str(),
            user_name: &browser.user.name,
            user_login: browser.user.login.as_str(),
            scopes: &scopes,
            action: &action,
            csrf,
            policy_url: application.policy_url.as_deref(),
            terms_url: application.terms_url.as_deref(),
            switch_url: Some(&switch_url),
        };
        render::page(StatusCode::OK, &page, FormTarget::Application)
    })
}

fn scope_line<'a>(name: &'a str, messages: &ScopeMessages) -> ScopeLine<'a> {
    let (title, description) = messages.of(name);
    ScopeLine { name, title, description }
}

pub(super) async fn submit_consent(
    mut context: RequestContext,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let Some(asked) = asked(query.as_deref()) else { return form_expired(&mut context) };
    let form = match body::form(&headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut context, error),
    };
    if !form_is_ours(&context, &headers, form.get("csrf")) {
        return form_expired(&mut context);
    }
    let done = async {
        let target = match target(&mut context, &asked.params).await? {
            Ok(target) => target,
            Err(page) => return Ok(page),
        };
        let Some(browser) = person(&context, &headers, &asked).await? else {
            return Ok(render::redirect(&Method::POST, &format!("/id/connect/authorize?{}", asked.query)));
        };
        let allowed = form.get("decision") == Some("allow");
        let (instance, mut ctx) = context.split();
        let next = instance.protocol().consent(&mut ctx, (&target, &asked.params), (&browser, allowed)).await?;
        Ok(match next {
            AuthorizeOutcome::Redirect(location) => render::redirect(&Method::POST, &location),
            AuthorizeOutcome::SignIn | AuthorizeOutcome::Consent { .. } => form_expired(&mut context),
        })
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}
