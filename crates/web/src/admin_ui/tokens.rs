//! `/manage/tokens`: reference tokens, masked. Service tokens are issued here; users create personal ones themselves.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::admin::TokensOf;
use flows::admin::operations::tokens::{IssueToken, NewToken, TokenWish};
use flows::memory::ApplicationRegister;
use http::{HeaderMap, StatusCode};
use model::application::API_SCOPES;
use model::reference_token::{ReferenceToken, ReferenceTokenKind, masked};
use model::{ApplicationId, ReferenceTokenId, Timestamp, UserId};
use oauth::params::Params;
use oauth::scope::Scope;

use crate::admin_ui::{AdminPage, DONE, PageResult, READ, asked, at, done, id, paged, refused, several};
use crate::pages::admin::{
    AdminSection, Button, Cell, FieldInput, FormField, FormNotice, ListRow, PageContent, PageForm, PageLink, PageList,
    PagePart,
};
use crate::pages::profile::DisplayTime;

const HERE: AdminSection = AdminSection::Tokens;

pub(super) async fn show(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let said = if query.as_deref() == Some(DONE) { FormNotice::Done("Revoked.") } else { FormNotice::Nothing };
    let nothing = Params::parse(b"").expect("nothing is readable");
    let answer = listed(&mut admin, &asked(query.as_deref()), &nothing, said).await;
    admin.answer(answer)
}

async fn listed(admin: &mut AdminPage, asked: &Params, entered: &Params, said: FormNotice) -> PageResult {
    let (application, user) = (asked.get("application").unwrap_or_default(), asked.get("user").unwrap_or_default());
    let of = match (id(Some(application)), id(Some(user))) {
        (Some(application), _) => TokensOf::Application(ApplicationId(application)),
        (None, Some(user)) => TokensOf::User(UserId(user)),
        (None, None) => TokensOf::Everybody,
    };
    let (register, now) = (admin.manager.instance().applications(), admin.now());
    let (service, _) = admin.open();
    let rows = service.tokens_before(id(asked.get("before")).map(ReferenceTokenId), of, READ).await?;
    let (rows, behind) = paged(rows, |token| token.id.to_string());
    let list = PageList {
        caption: "Reference tokens, newest first",
        columns: vec![
            "Description",
            "Value",
            "Kind",
            "Application",
            "Scope",
            "Created",
            "Expires",
            "Last used",
            "Action",
        ],
        rows: rows.iter().map(|token| line(token, &register, now)).collect(),
        empty: "No reference tokens.",
        next: behind
            .map(|behind| at(HERE.path(), &[("application", application), ("user", user), ("before", &behind)])),
        to: HERE.path().to_owned(),
    };
    let chosen = id(Some(application)).and_then(|id| register.by_id(ApplicationId(id))).map(|known| known.uri.as_str());
    let content = PageContent {
        name: "manage-tokens",
        title: "Reference tokens".to_owned(),
        lead: "API keys. Personal tokens act as a user; service tokens act as an application's System User.".to_owned(),
        is_live: false,
        links: if matches!(of, TokensOf::Everybody) { vec![] } else { vec![PageLink::new(HERE.path(), "All tokens")] },
        parts: vec![
            PagePart::List(list),
            PagePart::Heading("Issue service token"),
            PagePart::Form(wish(entered, chosen.unwrap_or_default())),
        ],
    };
    Ok(admin.page(HERE, content, said))
}

fn wish(entered: &Params, application: &str) -> PageForm {
    let text = |name: &str| entered.get(name).unwrap_or_default().to_owned();
    let scopes = several(entered, "scope");
    let uri = entered.get("uri").unwrap_or(application);
    PageForm {
        to: HERE.path().to_owned(),
        is_question: false,
        hidden: vec![("do", "issue".to_owned())],
        fields: vec![
            FormField::line(
                "uri",
                "ApplicationUri",
                "The application must allow reference tokens (AccessTokens) and have a System User.",
                uri,
            )
            .required(),
            FormField::line("description", "Description", "Who or what will use the token.", text("description"))
                .required(),
            FormField::several(
                "scope",
                "Scope",
                API_SCOPES.map(|name| (name, name, scopes.iter().any(|chosen| chosen == name))),
            ),
            FormField {
                input: FieldInput::Day,
                ..FormField::line("expires", "Expires", "Leave empty for no expiry.", text("expires"))
            },
        ],
        button: "Issue",
        is_grave: false,
        is_checked: false,
    }
}

fn line(token: &ReferenceToken, register: &ApplicationRegister, now: Timestamp) -> ListRow {
    let badge = match token.revoked_at {
        Some(_) => Some("revoked"),
        None => (!token.is_live(now)).then_some("expired"),
    };
    let kind = match token.kind {
        ReferenceTokenKind::Personal => "personal",
        ReferenceTokenKind::Service => "service",
    };
    let time =
        |at: Option<Timestamp>, none: &str| at.map_or_else(|| Cell::text(none), |at| Cell::time(DisplayTime(at)));
    let uri = register.by_id(token.application).map(|known| known.uri.as_str().to_owned()).unwrap_or_default();
    ListRow {
        cells: vec![
            Cell::text(&token.description).badge(badge),
            Cell::code(masked(&token.tail)),
            Cell::text(kind).link(format!("{}/{}", AdminSection::Users.path(), token.user)),
            Cell::code(uri).link(format!("{}/{}", AdminSection::Applications.path(), token.application)),
            Cell::code(token.scope.to_string()),
            Cell::time(DisplayTime(token.created_at)),
            time(token.expires_at, "never"),
            time(token.last_used_at, "never"),
        ],
        button: (token.revoked_at.is_none()).then(|| Button {
            does: "revoke",
            id: token.id.to_string(),
            text: "Revoke",
            about: token.description.clone(),
        }),
    }
}

pub(super) async fn change(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = match form.get("do") {
        Some("issue") => issue(&mut admin, &form).await,
        Some("revoke") => revoke(&mut admin, &form).await,
        _ => Ok(admin.gone()),
    };
    admin.answer(answer)
}

async fn revoke(admin: &mut AdminPage, form: &Params) -> PageResult {
    let Some(id) = id(form.get("id")) else { return Ok(admin.gone()) };
    let (service, mut moment) = admin.open();
    let Ok(token) = service.token(ReferenceTokenId(id)).await? else { return Ok(admin.gone()) };
    // A refusal means that the token was revoked already.
    let _revoked = service.revoke_token(token.id, &mut moment).await?;
    Ok(done(HERE.path()))
}

async fn issue(admin: &mut AdminPage, form: &Params) -> PageResult {
    let nothing = Params::parse(b"").expect("nothing is readable");
    let expires = match super::day(form, "expires") {
        Ok(expires) => expires,
        Err(problem) => return listed(admin, &nothing, form, FormNotice::Refused(vec![problem])).await,
    };
    let Ok(scope) = Scope::parse(&several(form, "scope").join(" ")) else { return Ok(admin.gone()) };
    let wish = TokenWish {
        application: form.get("uri").unwrap_or_default().trim().to_owned(),
        login: None,
        description: form.get("description").unwrap_or_default().to_owned(),
        scope,
        expires_at: expires,
    };
    match admin.run::<IssueToken>(wish).await? {
        Ok(NewToken { token, value }) => {
            let call = &admin.person.context.instance.info.service_root;
            let content = PageContent {
                name: "manage-token-made",
                title: "Service token issued".to_owned(),
                lead: token.description,
                is_live: false,
                links: vec![PageLink::new(HERE.path(), "Back to reference tokens")],
                parts: vec![
                    PagePart::Once { what: "Service token", value },
                    PagePart::Text(format!(
                        "To call {call}, send the token as \"Authorization: Bearer\" or in the X-Api-Key header."
                    )),
                ],
            };
            Ok(admin.page_with(StatusCode::CREATED, HERE, content, FormNotice::Nothing))
        }
        Err(refusal) => listed(admin, &nothing, form, refused(refusal)).await,
    }
}
