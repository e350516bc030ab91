//! The page of a one-time link for choosing a password. Opening it consumes nothing: mail programs open links too.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::account::links::LinkRefusal;
use http::{HeaderMap, StatusCode};
use model::audit::AuditKind;
use model::link::{DeadLink, LinkCode, LinkPurpose};
use model::user::Password;
use oauth::params::Params;
use oauth::secret::Presented;

use crate::id::{SIGN_IN_PATH, form_is_ours, form_page};
use crate::pages::{SetUpDonePage, SetUpPage};
use crate::request::body;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::PageRefusal;
use crate::request::malformed::error_page;
use crate::request::malformed::form_expired;
use crate::request::malformed::malformed;
use crate::request::malformed::tell_refused;
use crate::request::render;
use crate::request::render::FormTarget;

pub(super) async fn show(mut context: RequestContext, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let code = params.ok().and_then(|params| params.get("code").map(str::to_owned)).unwrap_or_default();
    page(&mut context, &headers, &Presented::new(code), None).await
}

async fn page(
    context: &mut RequestContext,
    headers: &HeaderMap,
    code: &Presented<LinkCode>,
    error: Option<&str>,
) -> Response {
    let (purpose, user) = match context.instance.account().link(code, context.now).await {
        Ok(Some(found)) if found.0.sets_password() => found,
        Ok(_) => {
            return match tell_refused(context, AuditKind::SignIn, &DeadLink) {
                Ok(()) => link_spent(context),
                Err(fault) => failures::fault_page(context, &fault),
            };
        }
        Err(fault) => return failures::fault_page(context, &fault),
    };
    let action = format!("/id{}", purpose.page());
    form_page(context, headers, |context, csrf| {
        let (messages, code) = (context.messages(), code.expose());
        let (instance_name, login) = (&*context.instance.info.name, user.login.as_str());
        let reset = purpose == LinkPurpose::PasswordReset;
        let page = SetUpPage { messages, instance_name, login, reset, action: &action, csrf, code, error };
        render::page(StatusCode::OK, &page, FormTarget::Ourselves)
    })
}

pub(super) fn link_spent(context: &RequestContext) -> Response {
    let text = context.messages().problems.spent;
    error_page(context, &PageRefusal::new(StatusCode::GONE, "invalid_request", text))
}

/// Reads the form of a link's page and checks its CSRF token.
pub(super) async fn form(context: &mut RequestContext, headers: &HeaderMap, body: Body) -> Result<Params, Response> {
    let form = match body::form(headers, body).await {
        Ok(form) => form,
        Err(error) => return Err(malformed(context, error)),
    };
    if form_is_ours(context, headers, form.get("csrf")) { Ok(form) } else { Err(form_expired(context)) }
}

pub(super) async fn choose_password(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    let form = match form(&mut context, &headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let code = Presented::<LinkCode>::new(form.get("code").unwrap_or_default());
    let password = form.get("password").unwrap_or_default();
    if form.get("repeat").unwrap_or_default() != password {
        let differ = context.messages().set_up.differ;
        return page(&mut context, &headers, &code, Some(differ)).await;
    }
    let password = Presented::<Password>::new(password);
    let (instance, mut ctx) = context.split();
    match instance.account().choose_password(&mut ctx, &code, &password).await {
        Ok(Ok(user)) => {
            // The link came by e-mail or from an administrator, so the browser is trusted like one that opened a
            // browser link.
            let cookie = context.know_browser(&headers, &user.login);
            let page = SetUpDonePage {
                messages: context.messages(),
                instance_name: &context.instance.info.name,
                sign_in_url: SIGN_IN_PATH,
            };
            render::with_cookie(render::page(StatusCode::OK, &page, FormTarget::Ourselves), &cookie)
        }
        Ok(Err(LinkRefusal::Spent)) => link_spent(&context),
        Ok(Err(LinkRefusal::Weak(weakness))) => {
            let text = context.messages().password.weakness(weakness);
            page(&mut context, &headers, &code, Some(&text)).await
        }
        Err(fault) => failures::fault_page(&context, &fault),
    }
}
