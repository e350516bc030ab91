//! `/manage/roles`: roles, the permissions of users on the APIs.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::admin::Role;
use http::HeaderMap;
use model::entities::Permissions;
use oauth::params::Params;

use crate::admin_ui::{AdminPage, DONE, PageResult, READ, asked, at, done, lines, overtaken, paged, refused, version};
use crate::pages::admin::{
    AdminSection, Cell, FormField, FormNotice, ListRow, PageContent, PageForm, PageLink, PageList, PagePart,
};

const HERE: AdminSection = AdminSection::Roles;

/// All roles, or the one in the parameter `role`.
pub(super) async fn show(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let asked = asked(query.as_deref());
    let said = if query.as_deref() == Some(DONE) { FormNotice::Done("Saved.") } else { FormNotice::Nothing };
    let answer = if let Some(name) = asked.get("role") {
        one(&mut admin, name, FormNotice::Nothing).await
    } else {
        let blank = Role { name: String::new(), ..Role::default() };
        all(&mut admin, asked.get("after"), &blank, said).await
    };
    admin.answer(answer)
}

const HINT: &str = "Entity set names, one per line. End with * to match a prefix: Crm_*";

fn fields(permissions: &Permissions) -> [FormField; 2] {
    [
        FormField::lines("read", "May read", HINT, &permissions.read),
        FormField::lines("update", "May update", "Same format. Does not include read access.", &permissions.update),
    ]
}

async fn all(admin: &mut AdminPage, after: Option<&str>, entered: &Role, said: FormNotice) -> PageResult {
    let (service, _) = admin.open();
    let (rows, behind) = paged(service.roles_after(after.unwrap_or_default(), READ).await?, |role| role.name.clone());
    let line = |role: &Role| ListRow {
        cells: vec![
            Cell::text(&role.name).link(at(HERE.path(), &[("role", &role.name)])),
            Cell::code(role.permissions.read.join(" ")),
            Cell::code(role.permissions.update.join(" ")),
        ],
        button: None,
    };
    let list = PageList {
        caption: "Roles",
        columns: vec!["Name", "May read", "May update"],
        rows: rows.iter().map(line).collect(),
        empty: "No roles yet.",
        next: behind.map(|behind| at(HERE.path(), &[("after", &behind)])),
        to: String::new(),
    };
    let name = FormField::line("name", "Name", "1 to 64 characters.", &entered.name).required();
    let form = PageForm {
        to: HERE.path().to_owned(),
        is_question: false,
        hidden: vec![("do", "create".to_owned())],
        fields: std::iter::once(name).chain(fields(&entered.permissions)).collect(),
        button: "Create role",
        is_grave: false,
        is_checked: false,
    };
    let content = PageContent {
        name: "manage-roles",
        title: "Roles".to_owned(),
        lead: "A role sets what its users may do on the APIs, within the scope of the token.".to_owned(),
        is_live: false,
        links: vec![],
        parts: vec![PagePart::List(list), PagePart::Heading("Create role"), PagePart::Form(form)],
    };
    Ok(admin.page(HERE, content, said))
}

async fn one(admin: &mut AdminPage, name: &str, said: FormNotice) -> PageResult {
    let (service, _) = admin.open();
    match service.role(name).await? {
        Ok(role) => Ok(overview(admin, &role, &role.permissions, said)),
        Err(_) => Ok(admin.gone()),
    }
}

fn overview(admin: &AdminPage, role: &Role, permissions: &Permissions, said: FormNotice) -> Response {
    let form = |does: &str, fields: Vec<FormField>, button, is_grave| {
        let hidden = vec![("do", does.to_owned()), ("role", role.name.clone()), ("version", role.version.to_string())];
        PagePart::Form(PageForm {
            to: HERE.path().to_owned(),
            is_question: false,
            hidden,
            fields,
            button,
            is_grave,
            is_checked: false,
        })
    };
    let mut parts = super::repairs(&role.problems, "Invalid permissions grant nothing until they are corrected:");
    parts.push(form("save", fields(permissions).into(), "Save", false));
    parts.push(form("delete", vec![], "Delete role", true));
    let content = PageContent {
        name: "manage-role",
        title: role.name.clone(),
        lead: "Changes apply from the next call on.".to_owned(),
        is_live: false,
        links: vec![PageLink::new(HERE.path(), "All roles")],
        parts,
    };
    admin.page(HERE, content, said)
}

pub(super) async fn change(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let permissions = Permissions { read: lines(&form, "read"), update: lines(&form, "update") };
    let answer = match form.get("do") {
        Some("create") => create(&mut admin, &form, permissions).await,
        Some(does @ ("save" | "delete")) => changed(&mut admin, does, &form, permissions).await,
        _ => Ok(admin.gone()),
    };
    admin.answer(answer)
}

async fn create(admin: &mut AdminPage, form: &Params, permissions: Permissions) -> PageResult {
    let name = form.get("name").unwrap_or_default().trim();
    let (service, mut moment) = admin.elevate()?;
    match service.create_role(name, &permissions, &mut moment).await? {
        Ok(()) => Ok(done(HERE.path())),
        Err(refusal) => {
            let entered = Role { name: name.to_owned(), permissions, ..Role::default() };
            all(admin, None, &entered, refused(refusal)).await
        }
    }
}

async fn changed(admin: &mut AdminPage, does: &str, form: &Params, permissions: Permissions) -> PageResult {
    let (service, mut moment) = admin.elevate()?;
    let Ok(role) = service.role(form.get("role").unwrap_or_default()).await? else { return Ok(admin.gone()) };
    if version(form) != Some(role.version) {
        return one(admin, &role.name, overtaken()).await;
    }
    let answer = match does {
        "delete" => service.delete_role(&role, &mut moment).await?,
        _ => service.change_role(&role, permissions.clone(), &mut moment).await?.map(|_| ()),
    };
    Ok(match answer {
        Ok(()) => done(HERE.path()),
        Err(refusal) => overview(admin, &role, &permissions, refused(refusal)),
    })
}
