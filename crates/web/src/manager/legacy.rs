//! `/manage/legacy`: who still shows passwords to the APIs.

use axum::response::Response;
use flows::legacy::ApplicationUse;

use super::{Answered, AtDesk};
use crate::pages::manager::{Cell, Content, Link, List, Part, Row, Said, Section};
use crate::pages::profile::When;

const HERE: Section = Section::Legacy;
/// People that one row names.
const NAMED: usize = 5;

pub(super) async fn show(mut at_desk: AtDesk) -> Response {
    let answer = report(&mut at_desk).await;
    at_desk.answer(answer)
}

async fn report(at_desk: &mut AtDesk) -> Answered {
    let (office, _) = at_desk.open();
    let report = office.legacy_report().await?;
    let list = List {
        caption: "Use of Basic and ErpLogin, most recent first",
        columns: vec!["Application", "Scheme", "Uses", "Users", "First used", "Last used", "Recent users"],
        rows: report.applications.iter().map(line).collect(),
        empty: "Basic and ErpLogin have not been used.",
        next: None,
        to: String::new(),
    };
    let sunset = report.sunset.map_or_else(|| "not set".to_owned(), |day| day.to_string());
    let unused = if report.unused.is_empty() { "none".to_owned() } else { report.unused.join(" ") };
    let content = Content {
        name: "manage-legacy",
        title: HERE.name().to_owned(),
        lead: "Applications and users that still send passwords with API calls. They must move to access tokens before Basic and ErpLogin are disabled."
            .to_owned(),
        is_live: false,
        links: vec![Link::new(Section::Settings.path(), "Settings")],
        parts: vec![
            Part::Facts(vec![
                ("Enabled", Cell::text(if report.switched_on { "yes" } else { "no" })),
                ("Disabled from", Cell::text(sunset)),
                ("Allowed but never used", Cell::code(unused)),
            ]),
            Part::List(list),
        ],
    };
    Ok(at_desk.page(HERE, content, Said::Nothing))
}

fn line(row: &ApplicationUse) -> Row {
    let people: Vec<&str> = row.people.iter().take(NAMED).map(|(login, _)| login.as_str()).collect();
    Row {
        cells: vec![
            Cell::code(&row.application),
            Cell::text(row.scheme.as_str()),
            Cell::text(row.uses.to_string()),
            Cell::text(row.users.to_string()),
            Cell::time(When(row.first_at)),
            Cell::time(When(row.last_at)),
            Cell::text(people.join(", ")),
        ],
        button: None,
    }
}
