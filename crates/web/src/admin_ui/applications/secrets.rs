//! Client secrets on an application's page.

use http::StatusCode;
use model::application::Secret;
use model::{Timestamp, TrustedApplication};
use oauth::params::Params;

use crate::admin_ui::applications::{HERE, again, shown as application_page};
use crate::admin_ui::{AdminPage, PageResult};
use crate::pages::admin::{
    Button, Cell, FieldInput, FormField, FormNotice, ListRow, PageContent, PageForm, PageLink, PageList, PagePart,
};
use crate::pages::profile::DisplayTime;

pub(super) fn list(secrets: &[Secret], here: &str, now: Timestamp) -> Vec<PagePart> {
    let line = |secret: &Secret| ListRow {
        cells: vec![
            Cell::text(&secret.label).badge(secret.expires_at.is_some_and(|end| end <= now).then_some("expired")),
            Cell::time(DisplayTime(secret.created_at)),
            secret.expires_at.map_or_else(|| Cell::text("never"), |end| Cell::time(DisplayTime(end))),
        ],
        button: Some(Button {
            does: "remove-secret",
            id: secret.id.clone(),
            text: "Remove",
            about: secret.label.clone(),
        }),
    };
    let list = PageList {
        caption: "Secrets",
        columns: vec!["Label", "Created", "Expires", "Action"],
        rows: secrets.iter().map(line).collect(),
        empty: "None.",
        next: None,
        to: here.to_owned(),
    };
    let expires =
        FormField { input: FieldInput::Day, ..FormField::line("expires", "Expires", "Leave empty for no expiry.", "") };
    let form = PageForm {
        to: here.to_owned(),
        is_question: false,
        hidden: vec![("do", "add-secret".to_owned())],
        fields: vec![
            FormField::line("label", "Label", "The server or team that uses the secret.", "").required(),
            expires,
        ],
        button: "Add secret",
        is_grave: false,
        is_checked: false,
    };
    vec![PagePart::Heading("Secrets"), PagePart::List(list), PagePart::Form(form)]
}

pub(super) async fn add(admin: &mut AdminPage, application: &TrustedApplication, form: &Params) -> PageResult {
    let label = form.get("label").unwrap_or_default();
    let expires = match crate::admin_ui::day(form, "expires") {
        Ok(expires) => expires,
        Err(problem) => {
            return application_page(admin, &application.id.to_string(), FormNotice::Refused(vec![problem])).await;
        }
    };
    let (service, mut moment) = admin.elevate()?;
    Ok(match service.add_secret_to(application, (label, expires), &mut moment).await? {
        Ok((secret, shown)) => {
            let here = format!("{}/{}", HERE.path(), application.id);
            let content = PageContent {
                name: "manage-secret-made",
                title: format!("New secret for {}", application.name),
                lead: secret.label,
                is_live: false,
                links: vec![PageLink::new(here, "Back to the application")],
                parts: vec![
                    PagePart::Once { what: "Client secret", value: shown.expose().to_owned() },
                    PagePart::Text(
                        "Existing secrets keep working. Remove the old secret once it is no longer used.".to_owned(),
                    ),
                ],
            };
            admin.page_with(StatusCode::CREATED, HERE, content, FormNotice::Nothing)
        }
        Err(refusal) => return again(admin, application, Err(refusal)).await,
    })
}
