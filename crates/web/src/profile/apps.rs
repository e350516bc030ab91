//! The applications that a user consented to, and withdrawal of consent.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::Fault;
use http::{HeaderMap, StatusCode};
use model::ApplicationId;
use uuid::Uuid;

use crate::pages::profile::{AppLine, AppsPage, DisplayTime, ProfileNotice, ProfileSection};
use crate::profile::{done, frame, gone, said};
use crate::request::failures;
use crate::request::render;
use crate::request::render::FormTarget;
use crate::request::signed_in_user::SignedInUser;

pub(super) async fn show(mut person: SignedInUser, RawQuery(query): RawQuery) -> Response {
    let said = said(&person, query.as_deref());
    page(&mut person, said).await.unwrap_or_else(|fault| failures::fault_page(&person.context, &fault))
}

async fn page(person: &mut SignedInUser, said: ProfileNotice<'_>) -> Result<Response, Fault> {
    let (instance, mut ctx, browser) = person.split();
    let connections = instance.account().connections(browser.user.id, &ctx.moment()).await?;
    let register = instance.applications();
    let messages = person.context.messages();
    let lines: Vec<AppLine> = connections
        .into_iter()
        .filter_map(|connection| {
            let application = register.by_id(connection.application)?;
            let (scope, since) = connection.consent.unzip();
            let allowed = |name: &str| messages.scopes.of(name).0;
            Some(AppLine {
                id: application.id.to_string(),
                name: application.name.clone(),
                uri: application.uri.as_str().to_owned(),
                allowed: scope.iter().flat_map(|scope| scope.iter().map(allowed)).collect(),
                since: since.map(DisplayTime),
                holds_tokens: connection.holds_tokens,
            })
        })
        .collect();
    let csrf = person.csrf();
    let page = AppsPage { messages, frame: frame(person, ProfileSection::Apps, &csrf).saying(said), lines: &lines };
    Ok(render::page(StatusCode::OK, &page, FormTarget::Ourselves))
}

/// `withdraw=<application's id>`.
pub(super) async fn change(mut person: SignedInUser, headers: HeaderMap, body: Body) -> Response {
    let form = match person.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let (instance, mut ctx, browser) = person.split();
    let register = instance.applications();
    let asked = form.get("withdraw").and_then(|id| Uuid::try_parse(id).ok());
    let Some(application) = asked.and_then(|id| register.by_id(ApplicationId(id))) else {
        return gone(&person.context);
    };
    match instance.account().withdraw_consent(&mut ctx, browser.user.id, application).await {
        Ok(Ok(())) => done(ProfileSection::Apps),
        Ok(Err(_)) => gone(&person.context),
        Err(fault) => failures::fault_page(&person.context, &fault),
    }
}
