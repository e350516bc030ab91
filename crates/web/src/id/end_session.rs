//! `/connect/endsession`: RP-initiated logout.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::protocol::sign_out::SignOutOutcome;
use http::{HeaderMap, Method, StatusCode};
use oauth::params::Params;

use crate::id::{form_is_ours, form_page};
use crate::pages::{SignOutPage, SignedOutPage};
use crate::request::body;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::malformed;
use crate::request::render;
use crate::request::render::FormTarget;

/// The parameters that the confirmation form carries.
const CARRIED: [&str; 4] = ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"];

pub(super) async fn get(mut context: RequestContext, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    match Params::parse(query.unwrap_or_default().as_bytes()) {
        Ok(params) => sign_out(context, &Method::GET, &headers, &params, false).await,
        Err(error) => malformed(&mut context, error),
    }
}

/// Called by an application or by our confirmation page. Only the latter has a CSRF token of ours.
pub(super) async fn post(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    match body::form(&headers, body).await {
        // On a POST from another site the browser withholds its cookie. It sends the cookie with a GET, hence the
        // redirect.
        Ok(params) if context.session_cookies(&headers).next().is_none() => {
            render::redirect(&Method::POST, &format!("/id/connect/endsession?{}", params.to_query()))
        }
        Ok(params) => {
            let confirmed = form_is_ours(&context, &headers, params.get("csrf"));
            sign_out(context, &Method::POST, &headers, &params, confirmed).await
        }
        Err(error) => malformed(&mut context, error),
    }
}

async fn sign_out(
    mut context: RequestContext,
    method: &Method,
    headers: &HeaderMap,
    params: &Params,
    confirmed: bool,
) -> Response {
    let done = async {
        let browser = context.browser(headers).await?;
        let (instance, mut ctx) = context.split();
        let outcome = instance.protocol().sign_out(&mut ctx, params, browser.as_ref(), confirmed).await?;
        Ok::<_, flows::Fault>((browser, outcome))
    };
    let (browser, outcome) = match done.await {
        Ok(done) => done,
        Err(fault) => return failures::fault_page(&context, &fault),
    };
    if let Some(browser) = &browser {
        context.speak_to(&browser.user);
    }
    match outcome {
        SignOutOutcome::Confirm { application } => {
            let user = browser.as_ref().map_or("", |browser| browser.user.login.as_str());
            let fields: Vec<(String, String)> =
                CARRIED.iter().filter_map(|name| Some(((*name).to_owned(), params.get(name)?.to_owned()))).collect();
            let back = application.as_ref().zip(params.get("post_logout_redirect_uri"));
            let leads_back = back.is_some_and(|(application, uri)| application.accepts_post_logout(uri));
            let form_target = if leads_back { FormTarget::Application } else { FormTarget::Ourselves };
            form_page(&mut context, headers, |context, csrf| {
                let page = SignOutPage {
                    messages: context.messages(),
                    instance_name: &context.instance.info.name,
                    user,
                    application_name: application.as_ref().map(|application| application.name.as_str()),
                    action: "/id/connect/endsession",
                    csrf,
                    fields: &fields,
                };
                render::page(StatusCode::OK, &page, form_target)
            })
        }
        SignOutOutcome::Done { application, redirect } => {
            let response = if let Some(location) = redirect {
                render::redirect(method, &location)
            } else {
                let page = SignedOutPage {
                    messages: context.messages(),
                    instance_name: &context.instance.info.name,
                    application_name: application.as_ref().map(|application| application.name.as_str()),
                    return_url: None,
                };
                render::page(StatusCode::OK, &page, FormTarget::Ourselves)
            };
            let names = context.cookie_names();
            match context.session_cookies(headers).next() {
                Some(_) => render::with_cookie(response, &names.clear(names.session)),
                None => response,
            }
        }
    }
}
