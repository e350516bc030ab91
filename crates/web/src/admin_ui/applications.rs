//! `/manage/apps`: Trusted Applications and their secrets.

mod form;
mod secrets;
pub(super) mod trial;

use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::response::Response;
use flows::Fault;
use flows::admin::{AdminRefusal, draw_secret};
use http::{HeaderMap, StatusCode};
use model::application::record::{ApplicationRecord, RecordClientType};
use model::{ApplicationId, TrustedApplication, UserId};
use oauth::client::ClientId;
use oauth::params::Params;
use oauth::secret::{ClientSecret, Presented};
use serde_json::json;

use self::form::{entered, fields};
use crate::admin_ui::{
    AdminPage, PageInterruption, PageResult, READ, asked, at, done, id, overtaken, paged, refused, said, version,
};
use crate::pages::admin::{
    AdminSection, Cell, FormField, FormNotice, ListRow, PageContent, PageForm, PageLink, PageList, PagePart,
};
use crate::request::render;

const HERE: AdminSection = AdminSection::Applications;

pub(super) async fn list(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let answer = listed(&mut admin, &asked(query.as_deref())).await;
    admin.answer(answer)
}

async fn listed(admin: &mut AdminPage, asked: &Params) -> PageResult {
    let (find, after) = (asked.get("find").unwrap_or_default().trim(), asked.get("after"));
    let (service, _) = admin.open();
    let mut rows = Vec::new();
    if after.is_none() && !find.is_empty() {
        // The list starts after the search text, so an exact match is added here.
        rows.extend(service.application(find).await?.ok());
    }
    rows.extend(service.applications_after(after.unwrap_or(find), READ).await?);
    rows.retain(|application| application.uri.as_str().starts_with(find));
    let (rows, behind) = paged(rows, |application| application.uri.as_str().to_owned());
    let line = |application: &TrustedApplication| ListRow {
        cells: vec![
            Cell::text(&application.name).link(format!("{}/{}", HERE.path(), application.id)).badge(badge(application)),
            Cell::code(application.uri.as_str()),
            Cell::text(format!("{:?}", application.to_record().client_type)),
            Cell::code(application.scope.to_string()),
        ],
        button: None,
    };
    let list = PageList {
        caption: "Trusted Applications",
        columns: vec!["Name", "ApplicationUri", "Type", "Scope"],
        rows: rows.iter().map(line).collect(),
        empty: "No applications found.",
        next: behind.map(|behind| at(HERE.path(), &[("find", find), ("after", &behind)])),
        to: String::new(),
    };
    let search = PageForm {
        to: HERE.path().to_owned(),
        is_question: true,
        hidden: vec![],
        fields: vec![FormField::line("find", "ApplicationUri", "Full ApplicationUri or its beginning.", find)],
        button: "Find",
        is_grave: false,
        is_checked: false,
    };
    let content = PageContent {
        name: "manage-apps",
        title: "Trusted Applications".to_owned(),
        lead: "Applications that can sign users in or call the APIs.".to_owned(),
        is_live: false,
        links: vec![PageLink::new("/manage/apps/new", "Register application")],
        parts: vec![PagePart::Form(search), PagePart::List(list)],
    };
    Ok(admin.page(HERE, content, FormNotice::Nothing))
}

/// The kinds of applications in plain words, without OAuth terms.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ApplicationKind {
    Web,
    Browser,
    Native,
    Service,
    Hybrid,
}

impl ApplicationKind {
    const ALL: [Self; 5] = [Self::Web, Self::Browser, Self::Native, Self::Service, Self::Hybrid];

    const fn key(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Browser => "spa",
            Self::Native => "native",
            Self::Service => "service",
            Self::Hybrid => "hybrid",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Web => "Web application: signs users in, runs on a server and keeps a secret",
            Self::Browser => "Single-page application: runs in the browser, has no secret",
            Self::Native => "Desktop, mobile or console application: runs on user devices, has no secret",
            Self::Service => "Service: calls the APIs on its own, without a user",
            Self::Hybrid => "Web application that also calls the APIs on its own",
        }
    }

    fn of(text: Option<&str>) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| Some(kind.key()) == text)
    }

    const fn has_secret(self) -> bool {
        matches!(self, Self::Web | Self::Service | Self::Hybrid)
    }

    /// The usual settings of this kind.
    fn record(self) -> ApplicationRecord {
        let signs_in = self != Self::Service;
        let client_type = if self.has_secret() { RecordClientType::Confidential } else { RecordClientType::Public };
        ApplicationRecord {
            impersonate_login_url: if self == Self::Native { vec!["http://127.0.0.1/".to_owned()] } else { vec![] },
            impersonate_as_internal_user_allowed: signs_in,
            system_user_allowed: !signs_in || self == Self::Hybrid,
            public_refresh_allowed: self == Self::Native,
            ..ApplicationRecord::blank(client_type)
        }
    }
}

pub(super) async fn blank(admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    match ApplicationKind::of(asked(query.as_deref()).get("kind")) {
        Some(kind) => registration(&admin, kind, &kind.record(), "", FormNotice::Nothing),
        None => kinds(&admin),
    }
}

fn kinds(admin: &AdminPage) -> Response {
    let links =
        ApplicationKind::ALL.map(|kind| PageLink::new(at("/manage/apps/new", &[("kind", kind.key())]), kind.text()));
    let content = PageContent {
        name: "manage-app-kinds",
        title: "Register application".to_owned(),
        lead: "Choose the kind of application. It only sets defaults for the next page.".to_owned(),
        is_live: false,
        links: links.into(),
        parts: vec![],
    };
    admin.page(HERE, content, FormNotice::Nothing)
}

fn registration(
    admin: &AdminPage,
    kind: ApplicationKind,
    record: &ApplicationRecord,
    system_user: &str,
    said: FormNotice,
) -> Response {
    let mut entries = vec![
        FormField::line(
            "uri",
            "ApplicationUri",
            "The client_id in the application's configuration. Cannot be changed later.",
            &record.application_uri,
        )
        .required(),
    ];
    entries.extend(fields(record, system_user));
    let form = PageForm {
        to: "/manage/apps/new".to_owned(),
        is_question: false,
        hidden: vec![("kind", kind.key().to_owned())],
        fields: entries,
        button: "Register",
        is_grave: false,
        is_checked: true,
    };
    let content = PageContent {
        name: "manage-app-new",
        title: "Register application".to_owned(),
        lead: kind.text().to_owned(),
        is_live: false,
        links: vec![PageLink::new("/manage/apps/new", "Choose another kind")],
        parts: vec![PagePart::Form(form)],
    };
    admin.page(HERE, content, said)
}

/// Resolves the login of the System User.
pub(super) async fn with_system_user(
    admin: &mut AdminPage,
    mut record: ApplicationRecord,
    login: &str,
) -> Result<(ApplicationRecord, Vec<String>), Fault> {
    if login.is_empty() || !record.system_user_allowed {
        return Ok((record, vec![]));
    }
    let (service, _) = admin.open();
    Ok(match service.user_by_name(login).await? {
        Ok(row) => {
            record.system_user = Some(row.user.id.0);
            (record, vec![])
        }
        Err(refusal) => (record, vec![format!("SystemUser: {refusal}")]),
    })
}

pub(super) async fn create(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = created(&mut admin, &form).await;
    admin.answer(answer)
}

async fn created(admin: &mut AdminPage, form: &Params) -> PageResult {
    let Some(kind) = ApplicationKind::of(form.get("kind")) else { return Ok(admin.gone()) };
    let (uri, login) = (form.get("uri").unwrap_or_default().trim(), form.get("system_user").unwrap_or_default().trim());
    let client_type = if kind.has_secret() { RecordClientType::Confidential } else { RecordClientType::Public };
    let (record, mut problems) = entered(form, uri, client_type);
    let (record, unknown) = with_system_user(admin, record, login).await?;
    problems.extend(unknown);
    if form.get("check").is_some() {
        return checked(admin, record, None, problems).await;
    }
    if !problems.is_empty() {
        return Ok(registration(admin, kind, &record, login, FormNotice::Refused(problems)));
    }
    Ok(match register(admin, record.clone()).await? {
        Ok((application, secret, warnings)) => registered(admin, &application, secret.as_ref(), warnings),
        Err(refusal) => registration(admin, kind, &record, login, refused(refusal)),
    })
}

type Registered = (TrustedApplication, Option<Presented<ClientSecret>>, Vec<String>);

/// Registers an application. A Confidential one gets its first secret.
pub(super) async fn register(
    admin: &mut AdminPage,
    record: ApplicationRecord,
) -> Result<Result<Registered, AdminRefusal>, PageInterruption> {
    let (service, mut moment) = admin.elevate()?;
    let secret = (record.client_type == RecordClientType::Confidential).then(|| draw_secret(&mut moment));
    let made = service.create_application(record, secret.as_ref(), &mut moment).await?;
    Ok(made.map(|(application, warnings)| (application, secret, warnings)))
}

/// The page with the data that the developer needs, shown once.
pub(super) fn registered(
    admin: &AdminPage,
    application: &TrustedApplication,
    secret: Option<&Presented<ClientSecret>>,
    warnings: Vec<String>,
) -> Response {
    let mut parts: Vec<PagePart> =
        warnings.into_iter().map(|warning| PagePart::Text(format!("Note: {warning}."))).collect();
    parts.extend(secret.map(|secret| PagePart::Once { what: "Client secret", value: secret.expose().to_owned() }));
    parts.push(PagePart::Heading("Client configuration"));
    let issuer = &admin.person.context.instance.info.issuer;
    parts.push(PagePart::Facts(vec![
        ("Issuer", Cell::code(issuer)),
        ("Discovery", Cell::code(format!("{issuer}/.well-known/openid-configuration"))),
        ("client_id", Cell::code(application.uri.as_str())),
        ("Scope", Cell::code(application.scope.to_string())),
    ]));
    let content = PageContent {
        name: "manage-app-registered",
        title: format!("{} registered", application.name),
        lead: String::new(),
        is_live: false,
        links: vec![PageLink::new(format!("{}/{}", HERE.path(), application.id), "Open application")],
        parts,
    };
    admin.page_with(StatusCode::CREATED, HERE, content, FormNotice::Nothing)
}

pub(super) async fn show(mut admin: AdminPage, Path(text): Path<String>, RawQuery(query): RawQuery) -> Response {
    let answer = shown(&mut admin, &text, said(query.as_deref())).await;
    admin.answer(answer)
}

/// The application that the address names.
async fn found(admin: &mut AdminPage, text: &str) -> Result<Option<TrustedApplication>, Fault> {
    let Some(id) = id(Some(text)) else { return Ok(None) };
    let (service, _) = admin.open();
    Ok(service.application_by_id(ApplicationId(id)).await?.ok())
}

async fn shown(admin: &mut AdminPage, text: &str, said: FormNotice) -> PageResult {
    let Some(application) = found(admin, text).await? else { return Ok(admin.gone()) };
    let login = system_user(admin, &application.to_record()).await?;
    Ok(overview(admin, &application, &application.to_record(), &login, said))
}

/// The login of the System User.
async fn system_user(admin: &mut AdminPage, record: &ApplicationRecord) -> Result<String, Fault> {
    let Some(user) = record.system_user else { return Ok(String::new()) };
    let (service, _) = admin.open();
    let row = service.user_by_id(UserId(user)).await?;
    Ok(row.map(|row| row.user.login.to_string()).unwrap_or_default())
}

fn badge(application: &TrustedApplication) -> Option<&'static str> {
    match application.enabled {
        _ if !application.problems().is_empty() => Some("needs repair"),
        true => None,
        false => Some("disabled"),
    }
}

fn overview(
    admin: &AdminPage,
    application: &TrustedApplication,
    record: &ApplicationRecord,
    system_user: &str,
    said: FormNotice,
) -> Response {
    let here = format!("{}/{}", HERE.path(), application.id);
    let (uri, id) = (application.uri.as_str(), application.id.to_string());
    let mut parts =
        super::repairs(application.problems(), "The application is disabled until its record is corrected:");
    parts.extend([
        PagePart::Facts(vec![
            ("ApplicationUri", Cell::code(uri).badge(badge(application))),
            ("ClientType", Cell::text(format!("{:?}", record.client_type))),
        ]),
        PagePart::Form(PageForm {
            to: here.clone(),
            is_question: false,
            hidden: vec![("do", "save".to_owned()), ("version", application.version.to_string())],
            fields: fields(record, system_user),
            button: "Save",
            is_grave: false,
            is_checked: true,
        }),
    ]);
    if record.client_type == RecordClientType::Confidential {
        parts.extend(secrets::list(application.secrets(), &here, admin.now()));
    }
    let content = PageContent {
        name: "manage-app",
        title: application.name.clone(),
        lead: String::new(),
        is_live: false,
        links: vec![
            PageLink::new(format!("{here}/try"), "Try it"),
            PageLink::new(at(AdminSection::Tokens.path(), &[("application", &id)]), "Reference tokens"),
            PageLink::new(at(AdminSection::Audit.path(), &[("application", uri)]), "Audit events"),
        ],
        parts,
    };
    admin.page(HERE, content, said)
}

pub(super) async fn change(mut admin: AdminPage, Path(text): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = changed(&mut admin, &text, &form).await;
    admin.answer(answer)
}

async fn changed(admin: &mut AdminPage, text: &str, form: &Params) -> PageResult {
    let Some(application) = found(admin, text).await? else { return Ok(admin.gone()) };
    match form.get("do") {
        Some("save") => save(admin, &application, form).await,
        Some("add-secret") => secrets::add(admin, &application, form).await,
        Some("remove-secret") => {
            let (service, mut moment) = admin.elevate()?;
            let removed = service.remove_secret(&application, form.get("id").unwrap_or_default(), &mut moment).await?;
            again(admin, &application, removed).await
        }
        _ => Ok(admin.gone()),
    }
}

/// Redirects to the application's page, or shows the page with the errors.
async fn again(
    admin: &mut AdminPage,
    application: &TrustedApplication,
    answer: Result<(), AdminRefusal>,
) -> PageResult {
    match answer {
        Ok(()) => Ok(done(format_args!("{}/{}", HERE.path(), application.id))),
        Err(refusal) => shown(admin, &application.id.to_string(), refused(refusal)).await,
    }
}

/// Validates a record, for the script that checks the form while it is filled in.
async fn checked(
    admin: &mut AdminPage,
    record: ApplicationRecord,
    current: Option<&TrustedApplication>,
    mut problems: Vec<String>,
) -> PageResult {
    let (service, mut moment) = admin.open();
    problems.extend(service.problems_of(record, current, &mut moment).await?);
    Ok(render::no_store(render::json(StatusCode::OK, &json!({ "problems": problems }))))
}

async fn save(admin: &mut AdminPage, application: &TrustedApplication, form: &Params) -> PageResult {
    if form.get("check").is_none() && version(form) != Some(application.version) {
        return shown(admin, &application.id.to_string(), overtaken()).await;
    }
    let uri: &ClientId = &application.uri;
    let login = form.get("system_user").unwrap_or_default().trim();
    let (mut record, mut problems) = entered(form, uri.as_str(), application.to_record().client_type);
    record.keep_unknown_scopes(&application.scope);
    let (record, unknown) = with_system_user(admin, record, login).await?;
    problems.extend(unknown);
    if form.get("check").is_some() {
        return checked(admin, record, Some(application), problems).await;
    }
    if !problems.is_empty() {
        return Ok(overview(admin, application, &record, login, FormNotice::Refused(problems)));
    }
    let (service, mut moment) = admin.elevate()?;
    match service.change_application(application, record.clone(), &mut moment).await? {
        Ok(_) => again(admin, application, Ok(())).await,
        Err(AdminRefusal::Overtaken) => shown(admin, &application.id.to_string(), overtaken()).await,
        Err(refusal) => Ok(overview(admin, application, &record, login, refused(refusal))),
    }
}
