//! `/connect/authorize` and the consent page.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::protocol::authorize::{AuthorizeOutcome, RequestUser};
use http::{HeaderMap, Method, StatusCode};
use oauth::authorize::AuthorizationRequest;
use oauth::params::Params;
use oauth::scope::Scope;

use crate::id::pending::{CONSENT_PATH, PendingRequest, address, find, id_in, proceed, respond, target_page};
use crate::id::{SIGN_IN_PATH, form_is_ours, form_page};
use crate::messages::ScopeMessages;
use crate::pages::{ConsentPage, ScopeLine};
use crate::request::body;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::form_expired;
use crate::request::malformed::malformed;
use crate::request::render;
use crate::request::render::FormTarget;

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

/// Parses the request. No later code sees a raw parameter.
async fn begin(mut context: RequestContext, method: &Method, headers: &HeaderMap, params: &Params) -> Response {
    let done = async {
        let (instance, mut ctx) = context.split();
        let verified = match AuthorizationRequest::parse(params) {
            Ok(request) => instance.protocol().verify_request(&mut ctx, request.into()).await?,
            Err(malformed) => match instance.protocol().refuse_malformed(&mut ctx, malformed).await? {
                Ok(response) => return Ok(respond(&context, method, &response)),
                Err(refusal) => Err(refusal),
            },
        };
        let verified = match verified {
            Ok(verified) => verified,
            Err(refusal) => return Ok(target_page(&context, &refusal)),
        };
        let browser = context.browser(headers).await?;
        let user = browser.as_ref().map(|browser| RequestUser { browser, for_this_request: false });
        proceed(&mut context, method, headers, &verified, None, user).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}

pub(super) async fn show_consent(
    mut context: RequestContext,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(id) = id_in(query.as_deref()) else { return form_expired(&mut context) };
    let done = async {
        let asked = match find(&mut context, &headers, id).await? {
            Ok(asked) => asked,
            Err(page) => return Ok(page),
        };
        let browser = context.browser(&headers).await?;
        let user = browser
            .as_ref()
            .map(|browser| RequestUser { browser, for_this_request: asked.is_met_by(browser, &context) });
        if let Some(user) = user.filter(|user| user.for_this_request) {
            let (instance, mut ctx) = context.split();
            let outcome = instance.protocol().authorize(&mut ctx, &asked.verified, Some(user)).await?;
            match outcome {
                AuthorizeOutcome::Consent { scope } => {
                    return Ok(consent_page(&mut context, &headers, &asked, user, &scope));
                }
                AuthorizeOutcome::Respond(response) => return Ok(respond(&context, &Method::GET, &response)),
                AuthorizeOutcome::SignIn => {}
            }
        }
        proceed(&mut context, &Method::GET, &headers, &asked.verified, Some(&asked.pending), user).await
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}

fn consent_page(
    context: &mut RequestContext,
    headers: &HeaderMap,
    asked: &PendingRequest,
    user: RequestUser<'_>,
    scope: &Scope,
) -> Response {
    let user = &user.browser.user;
    context.speak_to(user);
    let (action, switch_url) = (address(CONSENT_PATH, &asked.pending.id), address(SIGN_IN_PATH, &asked.pending.id));
    let scopes: Vec<ScopeLine<'_>> = scope.iter().map(|name| scope_line(name, &context.messages().scopes)).collect();
    let application = &asked.verified.application;
    form_page(context, headers, |context, csrf| {
        let page = ConsentPage {
            messages: context.messages(),
            instance_name: &context.instance.info.name,
            application_name: &application.name,
            application_uri: application.uri.as_str(),
            user_name: &user.name,
            user_login: user.login.as_str(),
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
    let Some(id) = id_in(query.as_deref()) else { return form_expired(&mut context) };
    let form = match body::form(&headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut context, error),
    };
    if !form_is_ours(&context, &headers, form.get("csrf")) {
        return form_expired(&mut context);
    }
    let done = async {
        let asked = match find(&mut context, &headers, id).await? {
            Ok(asked) => asked,
            Err(page) => return Ok(page),
        };
        let browser = context.browser(&headers).await?;
        match browser.as_ref() {
            Some(browser) if asked.is_met_by(browser, &context) => {
                let allowed = form.get("decision") == Some("allow");
                let (instance, mut ctx) = context.split();
                let response = instance.protocol().consent(&mut ctx, &asked.verified, browser, allowed).await?;
                Ok(respond(&context, &Method::POST, &response))
            }
            // The page came too late, or another user has signed in: the request is processed again.
            browser => {
                let user = browser.map(|browser| RequestUser { browser, for_this_request: false });
                proceed(&mut context, &Method::POST, &headers, &asked.verified, Some(&asked.pending), user).await
            }
        }
    };
    match done.await {
        Ok(response) => response,
        Err(fault) => failures::fault_page(&context, &fault),
    }
}
