//! `/manage`: how the instance is, at a glance.

use std::time::Duration;

use axum::response::Response;
use flows::admin::AuditedEvent;
use flows::audit::Wanted;
use flows::signing_keys::KeyState;
use model::Timestamp;
use model::audit::{AuditKind, AuditOutcome};

use super::{Answered, AtDesk, audit, sessions};
use crate::pages::manager::{Cell, Content, Link, List, Part, Row, Said, Section};
use crate::pages::profile::When;

const HERE: Section = Section::Dashboard;
/// Secrets that expire within this are worth a look.
const SOON: Duration = Duration::from_hours(24 * 30);
const RECENT: usize = 10;

pub(super) async fn show(mut at_desk: AtDesk) -> Response {
    let answer = glance(&mut at_desk).await;
    at_desk.answer(answer)
}

async fn glance(at_desk: &mut AtDesk) -> Answered {
    let now = at_desk.now();
    let secrets = expiring(at_desk, now);
    let (office, _) = at_desk.open();
    let (seats, _) = office.seats().await?;
    let over_the_day = sessions::chart(&seats, office.seats_over_the_day(now).await?);
    let keys = office.keys(now).await?;
    let wanted = Wanted { outcome: Some(AuditOutcome::Refused), ..Wanted::default() };
    let mut refusals = office.events_before(&wanted, None, RECENT).await?.events;
    let wanted = Wanted { kind: Some(AuditKind::SignIn), ..Wanted::default() };
    let mut sign_ins = office.events_before(&wanted, None, RECENT).await?.events;
    audit::name_people(at_desk, &mut refusals).await?;
    audit::name_people(at_desk, &mut sign_ins).await?;
    let signing = keys.iter().filter(|key| key.state == KeyState::Signing);
    let next = signing.map(|key| key.until).min();
    let events = |caption, events: &[AuditedEvent], empty| List {
        caption,
        columns: audit::COLUMNS.into(),
        rows: events.iter().map(audit::line).collect(),
        empty,
        next: None,
        to: String::new(),
    };
    let content = Content {
        name: "manage",
        title: "Dashboard".to_owned(),
        lead: sessions::summary(&seats),
        is_live: false,
        links: vec![
            Link::new(Section::Sessions.path(), "Seats and sessions"),
            Link::new("/manage/apps/new", "Register application"),
            Link::new("/manage/users/new", "Create user"),
        ],
        parts: vec![
            Part::Chart(over_the_day),
            Part::Facts(vec![(
                "Next key rotation",
                next.map_or_else(|| Cell::text("–"), |at| Cell::time(When(at))).link(Section::Keys.path()),
            )]),
            Part::Heading("Secrets expiring within 30 days"),
            Part::List(secrets),
            Part::Heading("Recent refusals"),
            Part::List(events("Recent refusals", &refusals, "No recent refusals.")),
            Part::Heading("Recent sign-ins"),
            Part::List(events("Recent sign-ins", &sign_ins, "No recent sign-ins.")),
        ],
    };
    Ok(at_desk.page(HERE, content, Said::Nothing))
}

fn expiring(at_desk: &AtDesk, now: Timestamp) -> List {
    let register = at_desk.manager.instance().register();
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
    let rows = ends.into_iter().map(|(end, application, secret)| Row {
        cells: vec![
            Cell::text(&application.name).link(format!("{}/{}", Section::Applications.path(), application.id)),
            Cell::text(&secret.label),
            end.map_or_else(|| Cell::text("–"), |end| Cell::time(When(end))),
        ],
        button: None,
    });
    List {
        caption: "Secrets expiring within 30 days",
        columns: vec!["Application", "Secret", "Expires"],
        rows: rows.collect(),
        empty: "None.",
        next: None,
        to: String::new(),
    }
}
