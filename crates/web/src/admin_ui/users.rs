//! `/manage/users`: users and service accounts.

use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::response::Response;
use flows::Fault;
use flows::admin::operations::users::{InviteUser, ResetPassword, UserLink};
use flows::admin::sessions::SessionSelector;
use flows::admin::{AdminRefusal, UserDraft, UserRow};
use http::{HeaderMap, StatusCode};
use model::user::{PersonRecord, person_problems};
use model::{ApplicationId, Email, UserId, UserType};
use oauth::params::Params;

use crate::admin_ui::{
    AdminPage, PageResult, READ, asked, at, done, id, is_checked, overtaken, paged, refused, said, version,
};
use crate::pages::admin::{
    AdminSection, Button, Cell, FormField, FormNotice, ListRow, PageContent, PageForm, PageLink, PageList, PagePart,
};
use crate::pages::profile::DisplayTime;

const HERE: AdminSection = AdminSection::Users;

pub(super) async fn list(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let answer = listed(&mut admin, &asked(query.as_deref())).await;
    admin.answer(answer)
}

async fn listed(admin: &mut AdminPage, asked: &Params) -> PageResult {
    // Logins are sorted in their comparison form.
    let find = asked.get("find").unwrap_or_default().trim().to_ascii_lowercase();
    let after = asked.get("after");
    let (service, _) = admin.open();
    let mut rows = Vec::new();
    if after.is_none() && !find.is_empty() {
        rows.extend(service.user_by_name(&find).await?.ok());
    }
    rows.extend(service.users_after(after.unwrap_or(&find), READ).await?);
    rows.retain(|row| row.user.login.folded().starts_with(&find));
    let (rows, behind) = paged(rows, |row| row.user.login.folded());
    let line = |row: &UserRow| ListRow {
        cells: vec![
            Cell::text(row.user.login.as_str()).link(format!("{}/{}", HERE.path(), row.user.id)).badge(badge(row)),
            Cell::text(&row.user.name),
            Cell::text(row.user.user_type.as_str()),
            Cell::text(row.role.as_deref().unwrap_or("–")),
            Cell::text(row.user.email.as_ref().map_or("–", |email| email.address.as_str())),
        ],
        button: None,
    };
    let list = PageList {
        caption: "Users",
        columns: vec!["Login", "Name", "Type", "Role", "E-mail"],
        rows: rows.iter().map(line).collect(),
        empty: "No users found.",
        next: behind.map(|behind| at(HERE.path(), &[("find", &find), ("after", &behind)])),
        to: String::new(),
    };
    let search = PageForm {
        to: HERE.path().to_owned(),
        is_question: true,
        hidden: vec![],
        fields: vec![FormField::line("find", "Login", "Full login or its beginning. Not case-sensitive.", &find)],
        button: "Find",
        is_grave: false,
        is_checked: false,
    };
    let content = PageContent {
        name: "manage-users",
        title: "Users".to_owned(),
        lead: "People and service accounts.".to_owned(),
        is_live: false,
        links: vec![PageLink::new("/manage/users/new", "Create user")],
        parts: vec![PagePart::Form(search), PagePart::List(list)],
    };
    Ok(admin.page(HERE, content, FormNotice::Nothing))
}

fn badge(row: &UserRow) -> Option<&'static str> {
    match (row.user.enabled, row.user.is_admin()) {
        _ if !row.user.problems.is_empty() => Some("needs repair"),
        (false, _) => Some("disabled"),
        (true, true) => Some("administrator"),
        (true, false) => None,
    }
}

async fn roles(admin: &mut AdminPage, chosen: Option<&str>) -> Result<FormField, Fault> {
    let (service, _) = admin.open();
    let known = service.roles_after("", 1000).await?;
    let none = [(String::new(), "No role: no access to the APIs (403)".to_owned())];
    let options = none.into_iter().chain(known.into_iter().map(|role| (role.name.clone(), role.name)));
    Ok(FormField::choice("role", "Role (permissions on the APIs)", options, chosen.unwrap_or_default()))
}

pub(super) async fn blank(mut admin: AdminPage) -> Response {
    let nothing = Params::parse(b"internal=1").expect("it is readable");
    let answer = registration(&mut admin, &nothing, FormNotice::Nothing).await;
    admin.answer(answer)
}

async fn registration(admin: &mut AdminPage, entered: &Params, said: FormNotice) -> PageResult {
    let text = |name: &str| entered.get(name).unwrap_or_default().to_owned();
    let types = [
        (UserType::Internal, "Internal user (InternalUser)"),
        (UserType::ExternalCommunity, "Community user (ExternalCommunityUser): no access to the APIs"),
        (UserType::SystemNoLogin, "Service account (SystemUserNoLogin): cannot sign in"),
    ];
    let types = types.map(|(kind, text)| (kind.as_str().to_owned(), text.to_owned()));
    let fields = vec![
        FormField::line(
            "login",
            "Login",
            "1 to 128 printable ASCII characters. Cannot be changed or reused later.",
            text("login"),
        )
        .required(),
        FormField::line("name", "Name", "Display name. Defaults to the login.", text("name")),
        FormField::line("email", "E-mail", "Used for the invitation.", text("email")),
        FormField::choice("type", "Type", types, text("type")),
        roles(admin, entered.get("role")).await?,
        FormField::check("admin", "Administrator", "Full access to the instance manager", is_checked(entered, "admin")),
    ];
    let form = PageForm {
        to: "/manage/users/new".to_owned(),
        is_question: false,
        hidden: vec![],
        fields,
        button: "Create user",
        is_grave: false,
        is_checked: false,
    };
    let content = PageContent {
        name: "manage-user-new",
        title: "Create user".to_owned(),
        lead: "After creating the user, you can send an invitation to choose a password.".to_owned(),
        is_live: false,
        links: vec![],
        parts: vec![PagePart::Form(form)],
    };
    Ok(admin.page(HERE, content, said))
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
    let login = form.get("login").unwrap_or_default().trim();
    let name = form.get("name").map(str::trim).filter(|name| !name.is_empty()).unwrap_or(login);
    let email = form.get("email").map(|address| Email { address: address.trim().to_owned(), verified: false });
    let Some(user_type) = form.get("type").and_then(UserType::parse) else { return Ok(admin.gone()) };
    let mut problems = person_problems(name, email.as_ref());
    if let Err(refusal) = flows::admin::parse_login(login) {
        problems.insert(0, refusal.to_string());
    }
    if !problems.is_empty() {
        return registration(admin, form, FormNotice::Refused(problems)).await;
    }
    let draft = UserDraft {
        login,
        user_type,
        is_admin: is_checked(form, "admin"),
        name,
        email,
        role: form.get("role"),
        enabled: true,
    };
    let (service, mut moment) = admin.elevate()?;
    match service.create_user(draft, &mut moment).await? {
        Ok(id) => Ok(done(format_args!("{}/{id}", HERE.path()))),
        Err(refusal) => registration(admin, form, refused(refusal)).await,
    }
}

pub(super) async fn show(mut admin: AdminPage, Path(text): Path<String>, RawQuery(query): RawQuery) -> Response {
    let answer = shown(&mut admin, &text, said(query.as_deref())).await;
    admin.answer(answer)
}

async fn shown(admin: &mut AdminPage, text: &str, said: FormNotice) -> PageResult {
    let Some(id) = id(Some(text)) else { return Ok(admin.gone()) };
    let (service, _) = admin.open();
    let Ok(row) = service.user_by_id(UserId(id)).await? else { return Ok(admin.gone()) };
    let record = PersonRecord::of(&row.user, row.role.as_deref());
    overview(admin, &row, &record, said).await
}

async fn overview(admin: &mut AdminPage, row: &UserRow, record: &PersonRecord, said: FormNotice) -> PageResult {
    let here = format!("{}/{}", HERE.path(), row.user.id);
    let login = row.user.login.as_str();
    let role = roles(admin, record.role.as_deref()).await?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let form = PageForm {
        to: here.clone(),
        is_question: false,
        hidden: vec![("do", "save".to_owned()), ("version", row.version.to_string())],
        fields: vec![
            FormField::line("name", "Name", "", &record.name).required(),
            FormField::line("email", "E-mail", "", text(&record.email)),
            FormField::check("verified", "E-mail verified", "Reset when the address changes", record.email_verified),
            role,
            FormField::check("admin", "Administrator", "Full access to the instance manager", record.is_admin),
            FormField::line(
                "language",
                "Language",
                "Language tag, for example en or de-AT.",
                text(&record.preferred_language),
            ),
            FormField::check(
                "enabled",
                "Enabled",
                "Disabling ends all sign-ins and blocks all tokens immediately",
                record.is_active,
            ),
        ],
        button: "Save",
        is_grave: false,
        is_checked: false,
    };
    let mut parts =
        super::repairs(&row.user.problems, "The user is treated as disabled because the stored record is invalid:");
    parts.extend([
        PagePart::Facts(vec![
            ("Login", Cell::code(login).badge(badge(row))),
            ("Type", Cell::text(row.user.user_type.as_str())),
            ("Id", Cell::code(row.user.id.to_string())),
            ("Password", Cell::text(if row.has_password { "set" } else { "not set" })),
            ("Changed", Cell::time(DisplayTime(row.user.updated_at))),
        ]),
        PagePart::Form(form),
    ]);
    let act = |does: &'static str, button, is_grave| {
        PagePart::Form(PageForm {
            to: here.clone(),
            is_question: false,
            hidden: vec![("do", does.to_owned())],
            fields: vec![],
            button,
            is_grave,
            is_checked: false,
        })
    };
    if row.user.may_sign_in() {
        parts.push(PagePart::Heading("Password"));
        parts.push(if row.has_password {
            act("reset", "Create password reset link", true)
        } else {
            act("invite", "Send invitation", true)
        });
    }
    if row.user.has_second_factor {
        parts.push(PagePart::Heading("Two-step sign-in"));
        parts.push(act("reset-second-factor", "Reset two-step sign-in", true));
    }
    parts.push(PagePart::Heading("Connected applications"));
    parts.push(PagePart::List(connected(admin, login, &here).await?));
    parts.push(PagePart::Heading("Sessions"));
    parts.push(act("end-sessions", "End all API sessions", true));
    let id = row.user.id.to_string();
    let content = PageContent {
        name: "manage-user",
        title: row.user.name.clone(),
        lead: String::new(),
        is_live: false,
        links: vec![
            PageLink::new(at(AdminSection::Sessions.path(), &[("user", login)]), "API sessions"),
            PageLink::new(at(AdminSection::Tokens.path(), &[("user", &id)]), "Reference tokens"),
            PageLink::new(at(AdminSection::Audit.path(), &[("user", login)]), "Audit events"),
        ],
        parts,
    };
    Ok(admin.page(HERE, content, said))
}

/// The applications that may act for the user.
async fn connected(admin: &mut AdminPage, login: &str, here: &str) -> Result<PageList, Fault> {
    let (service, moment) = admin.open();
    let connections = service.connections(login, &moment).await?.unwrap_or_default();
    let rows = connections.iter().map(|(application, connection)| {
        let (scope, granted_at) = connection.consent.as_ref().map(|(scope, at)| (scope.to_string(), *at)).unzip();
        ListRow {
            cells: vec![
                Cell::text(&application.name).link(format!("{}/{}", AdminSection::Applications.path(), application.id)),
                scope.map_or_else(|| Cell::text("not required"), Cell::code),
                granted_at.map_or_else(|| Cell::text("–"), |at| Cell::time(DisplayTime(at))),
                Cell::text(if connection.holds_tokens { "may be active" } else { "none" }),
            ],
            button: Some(Button {
                does: "withdraw",
                id: application.id.to_string(),
                text: "Withdraw",
                about: application.name.clone(),
            }),
        }
    });
    Ok(PageList {
        caption: "Connected applications",
        columns: vec!["Application", "Consented scope", "Since", "Tokens", "Action"],
        rows: rows.collect(),
        empty: "None.",
        next: None,
        to: here.to_owned(),
    })
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
    let Some(id) = id(Some(text)) else { return Ok(admin.gone()) };
    let (service, mut moment) = admin.open();
    let Ok(row) = service.user_by_id(UserId(id)).await? else { return Ok(admin.gone()) };
    let login = row.user.login.as_str();
    match form.get("do") {
        Some("save") => save(admin, &row, form).await,
        Some("invite") => {
            let link = admin.run::<InviteUser>(row.user.id).await?;
            handed_over(admin, text, link).await
        }
        Some("reset") => {
            let link = admin.run::<ResetPassword>(row.user.id).await?;
            handed_over(admin, text, link).await
        }
        Some("reset-second-factor") => {
            let (service, mut moment) = admin.elevate()?;
            let reset = service.reset_second_factor(login, &mut moment).await?;
            again(admin, text, reset).await
        }
        Some("withdraw") => {
            let Some(application) = super::id(form.get("id")) else { return Ok(admin.gone()) };
            let application = service.application_by_id(ApplicationId(application)).await?;
            let Ok(application) = application else { return Ok(admin.gone()) };
            let withdrawn = service.withdraw_consent(login, application.uri.as_str(), &mut moment).await?;
            again(admin, text, withdrawn).await
        }
        Some("end-sessions") => {
            let ended = service.end_sessions(SessionSelector::OfUser(login), &mut moment).await?;
            again(admin, text, ended.map(|_| ())).await
        }
        _ => Ok(admin.gone()),
    }
}

async fn again(admin: &mut AdminPage, id: &str, answer: Result<(), AdminRefusal>) -> PageResult {
    match answer {
        Ok(()) => Ok(done(format_args!("{}/{id}", HERE.path()))),
        Err(refusal) => shown(admin, id, refused(refusal)).await,
    }
}

async fn save(admin: &mut AdminPage, row: &UserRow, form: &Params) -> PageResult {
    let id = row.user.id.to_string();
    if version(form) != Some(row.version) {
        return shown(admin, &id, overtaken()).await;
    }
    let text = |name: &str| form.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let before = row.user.email.as_ref();
    let email = text("email");
    // A check mark that was set for the previous address does not verify a new one.
    let is_said = before.is_none_or(|before| !before.verified || Some(&before.address) == email.as_ref());
    let record = PersonRecord {
        name: text("name").unwrap_or_default(),
        email_verified: is_checked(form, "verified") && is_said,
        email,
        is_admin: is_checked(form, "admin"),
        is_active: is_checked(form, "enabled"),
        role: text("role"),
        preferred_language: text("language"),
    };
    let (service, mut moment) = admin.elevate()?;
    match service.change_user(row, record.clone(), &mut moment).await? {
        Ok(_) => again(admin, &id, Ok(())).await,
        Err(AdminRefusal::Overtaken) => shown(admin, &id, overtaken()).await,
        Err(refusal) => overview(admin, row, &record, refused(refusal)).await,
    }
}

/// A link that was mailed, or is shown for the administrator to pass on.
async fn handed_over(admin: &mut AdminPage, id: &str, link: Result<UserLink, AdminRefusal>) -> PageResult {
    let link = match link {
        Ok(link) => link,
        Err(refusal) => return shown(admin, id, refused(refusal)).await,
    };
    let until = DisplayTime(link.expires_at.0).shown();
    let part = match (link.mailed_to, link.url) {
        (None, Some(url)) => PagePart::Once { what: "One-time link for the user", value: url },
        (address, _) => {
            let address = address.unwrap_or_default();
            PagePart::Text(format!("The link has been sent to {address}. It is valid until {until}."))
        }
    };
    let content = PageContent {
        name: "manage-link",
        title: format!("Link for {}", link.issued.user.name),
        lead: format!("Anyone with this link can choose the password. It works once and expires on {until}."),
        is_live: false,
        links: vec![PageLink::new(format!("{}/{id}", HERE.path()), "Back to the user")],
        parts: vec![part],
    };
    Ok(admin.page_with(StatusCode::CREATED, HERE, content, FormNotice::Nothing))
}
