//! "Forgot your password?" The answer is the same for existing and unknown logins, and is sent before any look-up.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::id::{SIGN_IN_PATH, form_is_ours, form_page};
use crate::pages::{PasswordResetPage, PasswordResetSentPage};
use crate::request::body;
use crate::request::context::RequestContext;
use crate::request::failures;
use crate::request::malformed::form_expired;
use crate::request::malformed::malformed;
use crate::request::render;
use crate::request::render::FormTarget;

pub(super) const PATH: &str = "/id/account/forgotten";

pub(super) async fn show(mut context: RequestContext, headers: HeaderMap) -> Response {
    page(&mut context, &headers, StatusCode::OK, None)
}

fn page(context: &mut RequestContext, headers: &HeaderMap, status: StatusCode, notice: Option<&str>) -> Response {
    form_page(context, headers, |context, csrf| {
        let page = PasswordResetPage {
            messages: context.messages(),
            instance_name: &context.instance.info.name,
            sends_mail: context.instance.mail().is_open(),
            action: PATH,
            csrf,
            notice,
            sign_in_url: SIGN_IN_PATH,
        };
        render::page(status, &page, FormTarget::Ourselves)
    })
}

pub(super) async fn submit(mut context: RequestContext, headers: HeaderMap, body: Body) -> Response {
    let form = match body::form(&headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut context, error),
    };
    if !form_is_ours(&context, &headers, form.get("csrf")) {
        return form_expired(&mut context);
    }
    let typed = form.get("login").unwrap_or_default();
    match context.instance.auth().request_password_reset(&context.request, typed, context.now) {
        Ok(None) => {
            let page = PasswordResetSentPage {
                messages: context.messages(),
                instance_name: &context.instance.info.name,
                sign_in_url: SIGN_IN_PATH,
            };
            render::page(StatusCode::OK, &page, FormTarget::Ourselves)
        }
        Ok(Some(wait)) => {
            let seconds = wait.as_secs() + 1;
            let notice = (context.messages().forgotten.wait)(seconds);
            let mut response = page(&mut context, &headers, StatusCode::TOO_MANY_REQUESTS, Some(&notice));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Err(fault) => failures::fault_page(&context, &fault),
    }
}
