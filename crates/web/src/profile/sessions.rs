//! A user's sessions, and ending them.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use http::{HeaderMap, Method, StatusCode};
use model::SessionId;
use uuid::Uuid;

use crate::pages::profile::{DisplayTime, ProfileNotice, ProfileSection, SessionLine, SessionsPage};
use crate::profile::device::DeviceName;
use crate::profile::{done, frame, gone, said};
use crate::request::failures;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

pub(super) async fn show(person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let said = said(&person, query.as_deref());
    page(&person, said).await.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

async fn page(person: &SignedInUser, said: ProfileNotice<'_>) -> Result<Response, Fault> {
    let messages = person.context.messages();
    let views = person.context.instance.account().sign_ins(&person.browser, person.context.now).await?;
    let lines: Vec<SessionLine> = views
        .into_iter()
        .map(|view| SessionLine {
            id: view.session.id.to_string(),
            device: DeviceName::of(&view.user_agent).name(messages),
            address: view.address,
            since: DisplayTime(view.session.auth_time),
            last_used: DisplayTime(view.last_used),
            applications: view.applications,
            is_this: view.is_this,
        })
        .collect();
    let csrf = person.csrf();
    let page =
        SessionsPage { messages, frame: frame(person, ProfileSection::Sessions, &csrf).saying(said), lines: &lines };
    Ok(render::page(StatusCode::OK, &page, FormTarget::Ourselves))
}

/// Form fields: `end=<id>` ends one session, `others=1` all but the current one.
pub(super) async fn change(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let (instance, mut ctx, browser) = person.split();
    let one = form.get("end").and_then(|id| Uuid::try_parse(id).ok()).map(SessionId);
    let answer = if let Some(id) = one {
        let ended = instance.account().end_own_sign_in(&mut ctx, browser, id).await;
        ended.map(|ended| ended.map(|()| id == browser.session.id).ok())
    } else if form.get("others").is_some() {
        let ended = instance.account().end_other_sign_ins(&mut ctx, browser).await;
        ended.map(|_| Some(false))
    } else {
        Ok(None)
    };
    match answer {
        Ok(Some(true)) => {
            let names = person.context.cookie_names();
            render::with_cookie(render::redirect(&Method::POST, "/id/account/login"), &names.clear(names.session))
        }
        Ok(Some(false)) => done(ProfileSection::Sessions),
        Ok(None) => gone(&person.context),
        Err(fault) => failures::fault_page(&person.context, &fault),
    }
}
