//! A link that admits a new browser to a login whose guesses others have used up. Opening it consumes nothing: mail
//! programs open links too.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use http::{HeaderMap, StatusCode};
use model::audit::AuditKind;
use model::link::{DeadLink, LinkCode, LinkPurpose};
use oauth::params::Params;
use oauth::secret::Presented;

use crate::id::form_page;
use crate::id::links::{form, link_spent};
use crate::id::sign_in_page;
use crate::id::sign_in_page::{SignInDestination, SignInNotice, after_wait, seconds};
use crate::id::{KNOWN_BROWSER_PATH, SIGN_IN_PATH};
use crate::pages::{KnownBrowserDonePage, KnownBrowserPage};
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::tell_refused;
use crate::request::render;
use crate::request::render::FormTarget;

pub(super) async fn show(mut context: RequestContext, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let code = params.ok().and_then(|params| params.get("code").map(str::to_owned)).unwrap_or_default();
    let code = Presented::<LinkCode>::new(code);
    let user = match context.instance.account().link(&code, context.now).await {
        Ok(Some((LinkPurpose::KnownBrowser, user))) => user,
        Ok(_) => {
            return match tell_refused(&mut context, AuditKind::KnownBrowser, &DeadLink) {
                Ok(()) => link_spent(&context),
                Err(fault) => failures::fault_page(&context, &fault),
            };
        }
        Err(fault) => return failures::fault_page(&context, &fault),
    };
    context.speak_to(&user);
    form_page(&mut context, &headers, |context, csrf| {
        let (messages, instance_name) = (context.messages(), &*context.instance.info.name);
        let login = user.login.as_str();
        let page =
            KnownBrowserPage { messages, instance_name, login, action: KNOWN_BROWSER_PATH, csrf, code: code.expose() };
        render::page(StatusCode::OK, &page, FormTarget::Ourselves)
    })
}

/// Requests a link, or confirms one.
pub(super) async fn submit(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    let form = match form(&mut context, &headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let done = match form.get("code") {
        Some(code) => confirm(&mut context, &headers, &Presented::new(code)).await,
        None => ask(&mut context, &headers, form.get("login").unwrap_or_default()).await,
    };
    done.unwrap_or_else(|fault| failures::fault_page(&context, &fault))
}

async fn confirm(
    context: &mut RequestContext,
    headers: &HeaderMap,
    code: &Presented<LinkCode>,
) -> Result<Response, Fault> {
    let (instance, mut ctx) = context.split();
    let Ok(user) = instance.account().recognise_browser(&mut ctx, code).await? else {
        return Ok(link_spent(context));
    };
    context.speak_to(&user);
    let cookie = context.know_browser(headers, &user.login);
    Ok(render::with_cookie(done(context, false), &cookie))
}

async fn ask(context: &mut RequestContext, headers: &HeaderMap, login: &str) -> Result<Response, Fault> {
    match context.instance.auth().request_browser_link(&context.request, login, context.now)? {
        None => Ok(done(context, true)),
        Some(wait) => {
            let notice = (context.messages().forgotten.wait)(seconds(wait));
            let status = StatusCode::TOO_MANY_REQUESTS;
            let said = SignInNotice { login, notice: Some(&notice), is_spent: true, status, ..SignInNotice::default() };
            let way = SignInDestination::Ourselves(Params::default());
            Ok(after_wait(sign_in_page::page(context, headers, &way, said).await?, wait))
        }
    }
}

fn done(context: &RequestContext, is_sent: bool) -> Response {
    let (messages, instance_name) = (context.messages(), &*context.instance.info.name);
    let page = KnownBrowserDonePage { messages, instance_name, is_sent, sign_in_url: SIGN_IN_PATH };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}
