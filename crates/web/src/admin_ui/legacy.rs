//! `/manage/legacy`: clients that still send passwords to the APIs.

use axum::response::Response;
use flows::admin::legacy_report::ApplicationUse;

use crate::admin_ui::{AdminPage, PageResult};
use crate::pages::admin::{AdminSection, Cell, FormNotice, ListRow, PageContent, PageLink, PageList, PagePart};
use crate::pages::profile::DisplayTime;

const HERE: AdminSection = AdminSection::Legacy;
/// Maximum number of users named per row.
const NAMED: usize = 5;

pub(super) async fn show(mut admin: AdminPage) -> Response {
    let answer = report(&mut admin).await;
    admin.answer(answer)
}

async fn report(admin: &mut AdminPage) -> PageResult {
    let (service, _) = admin.open();
    let report = service.legacy_report().await?;
    let list = PageList {
        caption: "Use of Basic and ErpLogin, most recent first",
        columns: vec!["Application", "Scheme", "Uses", "Users", "First used", "Last used", "Recent users"],
        rows: report.applications.iter().map(line).collect(),
        empty: "Basic and ErpLogin have not been used.",
        next: None,
        to: String::new(),
    };
    let sunset = report.sunset.map_or_else(|| "not set".to_owned(), |day| day.to_string());
    let unused = if report.unused.is_empty() { "none".to_owned() } else { report.unused.join(" ") };
    let content = PageContent {
        name: "manage-legacy",
        title: HERE.name().to_owned(),
        lead: "Applications and users that still send passwords with API calls. They must move to access tokens before Basic and ErpLogin are disabled."
            .to_owned(),
        is_live: false,
        links: vec![PageLink::new(AdminSection::Settings.path(), "Settings")],
        parts: vec![
            PagePart::Facts(vec![
                ("Enabled", Cell::text(if report.switched_on { "yes" } else { "no" })),
                ("Disabled from", Cell::text(sunset)),
                ("Allowed but never used", Cell::code(unused)),
            ]),
            PagePart::List(list),
        ],
    };
    Ok(admin.page(HERE, content, FormNotice::Nothing))
}

fn line(row: &ApplicationUse) -> ListRow {
    let people: Vec<&str> = row.people.iter().take(NAMED).map(|(login, _)| login.as_str()).collect();
    ListRow {
        cells: vec![
            Cell::code(&row.application),
            Cell::text(row.scheme.as_str()),
            Cell::text(row.uses.to_string()),
            Cell::text(row.users.to_string()),
            Cell::time(DisplayTime(row.first_at)),
            Cell::time(DisplayTime(row.last_at)),
            Cell::text(people.join(", ")),
        ],
        button: None,
    }
}
