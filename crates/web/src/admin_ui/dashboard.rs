//! `/manage`: overview of the instance.

use std::time::Duration;

use axum::response::Response;
use flows::admin::AuditedEvent;
use flows::admin::keys::KeyState;
use flows::audit::EventFilter;
use model::Timestamp;
use model::audit::{AuditKind, AuditOutcome};

use crate::admin_ui::{AdminPage, PageResult, audit, sessions};
use crate::pages::admin::{AdminSection, Cell, FormNotice, ListRow, PageContent, PageLink, PageList, PagePart};
use crate::pages::profile::DisplayTime;

const HERE: AdminSection = AdminSection::Dashboard;
/// Secrets that expire within this time are listed.
const SOON: Duration = Duration::from_hours(24 * 30);
const RECENT: usize = 10;

pub(super) async fn show(mut admin: AdminPage) -> Response {
    let answer = glance(&mut admin).await;
    admin.answer(answer)
}

async fn glance(admin: &mut AdminPage) -> PageResult {
    let now = admin.now();
    let secrets = expiring(admin, now);
    let (service, _) = admin.open();
    let (seats, _) = service.seats().await?;
    let over_the_day = sessions::chart(&seats, service.seats_over_the_day(now).await?);
    let keys = service.keys(now).await?;
    let wanted = EventFilter { outcome: Some(AuditOutcome::Refused), ..EventFilter::default() };
    let mut refusals = service.events_before(&wanted, None, RECENT).await?.events;
    let wanted = EventFilter { kind: Some(AuditKind::SignIn), ..EventFilter::default() };
    let mut sign_ins = service.events_before(&wanted, None, RECENT).await?.events;
    audit::name_people(admin, &mut refusals).await?;
    audit::name_people(admin, &mut sign_ins).await?;
    let signing = keys.iter().filter(|key| key.state == KeyState::Signing);
    let next = signing.map(|key| key.until).min();
    let events = |caption, events: &[AuditedEvent], empty| PageList {
        caption,
        columns: audit::COLUMNS.into(),
        rows: events.iter().map(audit::line).collect(),
        empty,
        next: None,
        to: String::new(),
    };
    let content = PageContent {
        name: "manage",
        title: "Dashboard".to_owned(),
        lead: sessions::summary(&seats),
        is_live: false,
        links: vec![
            PageLink::new(AdminSection::Sessions.path(), "Seats and sessions"),
            PageLink::new("/manage/apps/new", "Register application"),
            PageLink::new("/manage/users/new", "Create user"),
        ],
        parts: vec![
            PagePart::Chart(over_the_day),
            PagePart::Facts(vec![(
                "Next key rotation",
                next.map_or_else(|| Cell::text("–"), |at| Cell::time(DisplayTime(at))).link(AdminSection::Keys.path()),
            )]),
            PagePart::Heading("Secrets expiring within 30 days"),
            PagePart::List(secrets),
            PagePart::Heading("Recent refusals"),
            PagePart::List(events("Recent refusals", &refusals, "No recent refusals.")),
            PagePart::Heading("Recent sign-ins"),
            PagePart::List(events("Recent sign-ins", &sign_ins, "No recent sign-ins.")),
        ],
    };
    Ok(admin.page(HERE, content, FormNotice::Nothing))
}

fn expiring(admin: &AdminPage, now: Timestamp) -> PageList {
    let register = admin.manager.instance().applications();
    let mut ends: Vec<_> = register
        .all()
        .filter(|application| application.enabled)
        .flat_map(|application| {
            let soon = application
                .secrets()
                .iter()
                .filter(|secret| secret.expires_at.is_some_and(|end| end <= now.plus(SOON)));
            soon.map(move |secret| (secret.expires_at, application, secret))
        })
        .collect();
    ends.sort_by_key(|(end, ..)| *end);
    ends.truncate(RECENT);
    let rows = ends.into_iter().map(|(end, application, secret)| ListRow {
        cells: vec![
            Cell::text(&application.name).link(format!("{}/{}", AdminSection::Applications.path(), application.id)),
            Cell::text(&secret.label),
            end.map_or_else(|| Cell::text("–"), |end| Cell::time(DisplayTime(end))),
        ],
        button: None,
    });
    PageList {
        caption: "Secrets expiring within 30 days",
        columns: vec!["Application", "Secret", "Expires"],
        rows: rows.collect(),
        empty: "None.",
        next: None,
        to: String::new(),
    }
}
