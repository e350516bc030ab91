//! `gatehouse audit list`: newest events first.

use anyhow::{Context as _, Result};
use flows::Platform as _;
use flows::admin::AdminService;
use flows::admin::operations::audit::{EventEntry, EventQuery, ListEvents, position};
use flows::admin::operations::cursor_key;
use flows::audit::EventFilter;
use model::audit::AuditOutcome;
use model::{Moment, UserId};
use uuid::Uuid;
use web::SystemRng;

use crate::cli::{AuditFilter, Target};
use crate::commands::cli_session::{CliSession, granted, moment, print_answer};
use crate::commands::table::table;
use crate::config::Environment;
use crate::platform::SystemPlatform;

pub(super) async fn run(target: &Target, filter: AuditFilter, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    // Without a running server, earlier commands leave unsealed events. Sealing them here includes them in the list.
    let mut rng = SystemRng;
    let book = admin.service.audit_reader_of(filter.chain, &desk.master).await?;
    book.seal(&mut moment!(rng)).await.context("database error")?;
    let limit = filter.limit;
    let filter = wanted(filter, &admin.service).await?;
    let (mut events, mut from) = (Vec::<EventEntry>::new(), None);
    // A rare event may need several queries: each one reads a bounded number of events.
    loop {
        let left = limit.saturating_sub(u32::try_from(events.len())?);
        let page = admin.run::<ListEvents>(EventQuery { filter: filter.clone(), from, limit: left }).await?;
        events.extend(page.items);
        from = page.next.as_deref().and_then(cursor_key).and_then(|key| position(&key));
        if from.is_none() || events.len() >= limit as usize {
            break;
        }
    }
    let names = ["time", "kind", "outcome", "reason", "application", "who", "reference"];
    print_answer(&target.output, "audit list", &events, &table(names, events.iter().map(row)))?;
    desk.database.close().await;
    Ok(())
}

async fn wanted(filter: AuditFilter, admin: &AdminService<'_>) -> Result<EventFilter> {
    let AuditFilter { chain, since, until, kind, refused, app, user, limit: _ } = filter;
    let user = match user {
        None => None,
        // An erased user has an id but no login.
        Some(text) => match Uuid::try_parse(&text) {
            Ok(id) => Some(UserId(id)),
            Err(_) => Some(granted(admin.user_by_name(&text).await)?.user.id),
        },
    };
    let outcome = refused.then_some(AuditOutcome::Refused);
    Ok(EventFilter { chain, since, until, kind, outcome, application: app, user })
}

fn row(event: &EventEntry) -> [String; 7] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let who = event.login.as_ref().or(event.user.as_ref()).or(event.actor.as_ref());
    [
        event.at.0.rfc3339(),
        event.kind.clone(),
        event.outcome.clone(),
        event.reason.clone(),
        text(&event.application),
        who.cloned().unwrap_or_default(),
        text(&event.request),
    ]
}
