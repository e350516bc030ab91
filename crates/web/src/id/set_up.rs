//! The first administrator chooses a password, by a link that works once.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::admin::{SetUpCode, SetUpRefusal};
use http::{HeaderMap, StatusCode};
use model::user::Password;
use oauth::params::Params;
use oauth::secret::Presented;

use super::{error_page, form_expired, form_is_ours, form_page, malformed, problem};
use crate::body;
use crate::pages::{SetUp, SetUpDone};
use crate::render;
use crate::visit::Visit;

pub(super) async fn show(mut visit: Visit, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let code = params.ok().and_then(|params| params.get("code").map(str::to_owned)).unwrap_or_default();
    page(&mut visit, &headers, &Presented::new(code), None).await
}

async fn page(visit: &mut Visit, headers: &HeaderMap, code: &Presented<SetUpCode>, error: Option<&str>) -> Response {
    let user = match visit.instance.set_up_user(code, visit.now).await {
        Ok(Some(user)) => user,
        Ok(None) => return link_spent(visit),
        Err(fault) => return render::fault_page(visit, &fault),
    };
    form_page(visit, headers, |visit, csrf| {
        let page = SetUp {
            words: visit.words(),
            instance_name: &visit.instance.name,
            login: user.login.as_str(),
            action: "/id/account/set-up",
            csrf,
            code: code.expose(),
            error,
        };
        render::page(StatusCode::OK, &page, None)
    })
}

fn link_spent(visit: &Visit) -> Response {
    error_page(visit, StatusCode::GONE, problem(visit.words().problems.spent, "invalid_request"))
}

pub(super) async fn submit(mut visit: Visit, headers: HeaderMap, body: Body) -> Response {
    let form = match body::form(&headers, body).await {
        Ok(form) => form,
        Err(error) => return malformed(&mut visit, &error.description()),
    };
    if !form_is_ours(&mut visit, &headers, form.get("csrf")) {
        return form_expired(&mut visit);
    }
    let code = Presented::<SetUpCode>::new(form.get("code").unwrap_or_default());
    let password = form.get("password").unwrap_or_default();
    if form.get("repeat").unwrap_or_default() != password {
        let differ = visit.words().set_up.differ;
        return page(&mut visit, &headers, &code, Some(differ)).await;
    }
    let password = Presented::<Password>::new(password);
    let (instance, visitor) = (visit.instance.clone(), visit.visitor.clone());
    match instance.set_up(&mut visit.moment(), &visitor, (&code, &password)).await {
        Ok(Ok(())) => {
            let page = SetUpDone {
                words: visit.words(),
                instance_name: &visit.instance.name,
                sign_in_url: "/id/account/login",
            };
            render::page(StatusCode::OK, &page, None)
        }
        Ok(Err(SetUpRefusal::LinkSpent)) => link_spent(&visit),
        Ok(Err(SetUpRefusal::Password(problem))) => page(&mut visit, &headers, &code, Some(&problem)).await,
        Err(fault) => render::fault_page(&visit, &fault),
    }
}
