//! The page where links to the old and the new e-mail address confirm or refuse a change of address.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::account::email::{AddressSide, EmailConfirmation, EmailOutcome};
use http::{HeaderMap, StatusCode};
use model::audit::AuditKind;
use model::link::{DeadLink, LinkCode};
use oauth::params::Params;
use oauth::secret::Presented;

use crate::id::form_page;
use crate::id::links::{form, link_spent};
use crate::pages::email::{ConfirmEmailPage, EmailAnsweredPage};
use crate::pages::profile::ProfileSection;
use crate::request::body::BodyError;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::malformed;
use crate::request::malformed::tell_refused;
use crate::request::render;
use crate::request::render::FormTarget;

pub(super) const PATH: &str = "/id/account/confirm-email";

/// Opening the link consumes nothing: mail programs open links too.
pub(super) async fn show(mut context: RequestContext, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let code = params.ok().and_then(|params| params.get("code").map(str::to_owned)).unwrap_or_default();
    let code = Presented::<LinkCode>::new(code);
    let EmailConfirmation { change, side, user } =
        match context.instance.account().email_question(&code, context.now).await {
            Ok(Some(question)) => question,
            Ok(None) => {
                return match tell_refused(&mut context, AuditKind::EmailChange, &DeadLink) {
                    Ok(()) => link_spent(&context),
                    Err(fault) => failures::fault_page(&context, &fault),
                };
            }
            Err(fault) => return failures::fault_page(&context, &fault),
        };
    form_page(&mut context, &headers, |context, csrf| {
        let page = ConfirmEmailPage {
            messages: context.messages(),
            instance_name: &context.instance.info.name,
            side,
            login: user.login.as_str(),
            address: change.new.as_str(),
            action: PATH,
            csrf,
            code: code.expose(),
        };
        render::page(StatusCode::OK, &page, FormTarget::Ourselves)
    })
}

pub(super) async fn answer(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    let form = match form(&mut context, &headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let code = Presented::<LinkCode>::new(form.get("code").unwrap_or_default());
    let agrees = match form.get("answer") {
        Some("yes") => true,
        Some("no") => false,
        _ => return malformed(&mut context, BodyError::Field("answer")),
    };
    let (instance, mut ctx) = context.split();
    let (question, answer) = match instance.account().answer_email(&mut ctx, &code, agrees).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) => return link_spent(&context),
        Err(fault) => return failures::fault_page(&context, &fault),
    };
    let messages = context.messages();
    let changed = (messages.email.changed)(&context.instance.info.name, question.change.new.as_str());
    let (title, meaning) = match answer {
        EmailOutcome::Changed => (messages.email.changed_title, changed.as_str()),
        EmailOutcome::Waiting => (messages.email.waiting_title, messages.email.other_asked),
        EmailOutcome::Declined => (messages.email.declined_title, messages.email.declined),
    };
    let is_alarming = answer == EmailOutcome::Declined && question.side == AddressSide::Old;
    let page = EmailAnsweredPage {
        messages,
        instance_name: &context.instance.info.name,
        title,
        meaning,
        password_url: is_alarming.then_some(ProfileSection::Password.path()),
    };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}
