//! `/manage/apps/install` and `/manage/apps/uninstall`: links that an application's vendor gives to administrators.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use model::TrustedApplication;
use model::install::InstallRequest;
use oauth::params::Params;

use crate::admin_ui::applications::{register, registered, with_system_user};
use crate::admin_ui::{AdminPage, PageResult, asked, done, refused};
use crate::pages::admin::{AdminSection, Cell, FormField, FormNotice, PageContent, PageForm, PageLink, PagePart};

const HERE: AdminSection = AdminSection::Applications;

pub(super) async fn show(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let answer = question(&mut admin, &query, FormNotice::Nothing).await;
    admin.answer(answer)
}

/// The confirmation page. The form carries the link, which is parsed again when it is submitted.
async fn question(admin: &mut AdminPage, link: &str, said: FormNotice) -> PageResult {
    let installation = match InstallRequest::parse(&asked(Some(link))) {
        Ok(installation) => installation,
        Err(problems) => return Ok(broken(admin, "Invalid installation link", problems)),
    };
    let record = &installation.record;
    let (service, _) = admin.open();
    if let Ok(known) = service.application(&record.application_uri).await? {
        return Ok(known_already(admin, &known));
    }
    let mut fields = Vec::new();
    if record.system_user_allowed {
        fields.push(
            FormField::line(
                "system_user",
                "System User",
                "Login of the user the application acts as, usually a service account.",
                "",
            )
            .required(),
        );
    }
    let mut parts: Vec<PagePart> = installation.in_words().into_iter().map(PagePart::Text).collect();
    parts.push(PagePart::Facts(vec![
        ("ApplicationUri", Cell::code(&record.application_uri)),
        ("Type", Cell::text(format!("{:?}", record.client_type))),
        ("Scope", Cell::code(&record.scope)),
    ]));
    parts.push(PagePart::Form(PageForm {
        to: "/manage/apps/install".to_owned(),
        is_question: false,
        hidden: vec![("link", link.to_owned())],
        fields,
        button: "Register",
        is_grave: false,
        is_checked: false,
    }));
    let content = PageContent {
        name: "manage-install",
        title: format!("Register {}?", record.name),
        lead: "This link asks you to register an application. Nothing has been changed yet.".to_owned(),
        is_live: false,
        links: vec![PageLink::new(HERE.path(), "Cancel")],
        parts,
    };
    Ok(admin.page(HERE, content, said))
}

fn broken(admin: &AdminPage, title: &str, problems: Vec<String>) -> Response {
    let content = PageContent {
        name: "manage-install-broken",
        title: title.to_owned(),
        lead: "Ask the vendor of the application for a new link.".to_owned(),
        is_live: false,
        links: vec![PageLink::new(HERE.path(), "Applications")],
        parts: vec![],
    };
    admin.page_with(StatusCode::BAD_REQUEST, HERE, content, FormNotice::Refused(problems))
}

fn known_already(admin: &AdminPage, known: &TrustedApplication) -> Response {
    let content = PageContent {
        name: "manage-install-known",
        title: format!("{} is already registered", known.name),
        lead: "Nothing was changed.".to_owned(),
        is_live: false,
        links: vec![PageLink::new(format!("{}/{}", HERE.path(), known.id), "Open application")],
        parts: vec![],
    };
    admin.page(HERE, content, FormNotice::Nothing)
}

pub(super) async fn install(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = installed(&mut admin, &form).await;
    admin.answer(answer)
}

async fn installed(admin: &mut AdminPage, form: &Params) -> PageResult {
    let link = form.get("link").unwrap_or_default();
    let Ok(InstallRequest { record }) = InstallRequest::parse(&asked(Some(link))) else {
        return question(admin, link, FormNotice::Nothing).await;
    };
    let login = form.get("system_user").unwrap_or_default().trim();
    let (record, problems) = with_system_user(admin, record, login).await?;
    if !problems.is_empty() {
        return question(admin, link, FormNotice::Refused(problems)).await;
    }
    match register(admin, record).await? {
        Ok((application, secret, warnings)) => Ok(registered(admin, &application, secret.as_ref(), warnings)),
        Err(refusal) => question(admin, link, refused(refusal)).await,
    }
}

pub(super) async fn show_removal(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let uri = asked(query.as_deref()).get("applicationUri").unwrap_or_default().to_owned();
    let answer = removal(&mut admin, &uri, FormNotice::Nothing).await;
    admin.answer(answer)
}

async fn removal(admin: &mut AdminPage, uri: &str, said: FormNotice) -> PageResult {
    let (service, _) = admin.open();
    let application = match service.application(uri).await? {
        Ok(application) => application,
        Err(refusal) => return Ok(broken(admin, "Application not found", vec![refusal.to_string()])),
    };
    let content = PageContent {
        name: "manage-uninstall",
        title: format!("Disable {}?", application.name),
        lead: "Its tokens stop working and its sessions end immediately. The application stays registered, so that the audit \
               remains readable."
            .to_owned(),
        is_live: false,
        links: vec![PageLink::new(HERE.path(), "Cancel")],
        parts: vec![
            PagePart::Facts(vec![(
                "ApplicationUri",
                Cell::code(application.uri.as_str()).badge((!application.enabled).then_some("disabled")),
            )]),
            PagePart::Form(PageForm {
                to: "/manage/apps/uninstall".to_owned(),
                is_question: false,
                hidden: vec![("uri", application.uri.as_str().to_owned())],
                fields: vec![],
                button: "Disable",
                is_grave: true,
                is_checked: false,
            }),
        ],
    };
    Ok(admin.page(HERE, content, said))
}

pub(super) async fn uninstall(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = uninstalled(&mut admin, &form).await;
    admin.answer(answer)
}

async fn uninstalled(admin: &mut AdminPage, form: &Params) -> PageResult {
    let uri = form.get("uri").unwrap_or_default();
    let (service, mut moment) = admin.elevate()?;
    match service.set_application_enabled(uri, false, &mut moment).await? {
        Ok(application) => Ok(done(format_args!("{}/{}", HERE.path(), application.id))),
        Err(refusal) => removal(admin, uri, refused(refusal)).await,
    }
}
