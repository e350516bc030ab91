//! `gatehouse audit list`: newest events first.

use anyhow::{Context as _, Result};
use flows::Platform as _;
use flows::admin::{AdminService, AuditedEvent};
use flows::audit::EventFilter;
use model::audit::AuditOutcome;
use model::{Moment, UserId};
use serde_json::{Value, json};
use uuid::Uuid;
use web::SystemRng;

use crate::cli::{AuditFilter, Target};
use crate::commands::cli_session::{CliSession, granted, moment, print};
use crate::commands::table::table;
use crate::commands::why;
use crate::config::Environment;
use crate::platform::SystemPlatform;

pub(super) async fn run(target: &Target, filter: AuditFilter, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&target.installation, environment).await?;
    let admin = desk.admin(target).await?;
    let admin = &admin.service;
    // Without a running server, earlier commands leave unsealed events. Sealing them here includes them in the list.
    let mut rng = SystemRng;
    admin.audit_reader_of(filter.chain, &desk.master).await?.seal(&mut moment!(rng)).await.context("database error")?;
    let limit = usize::try_from(filter.limit)?;
    let wanted = wanted(filter, admin).await?;
    let (mut events, mut place) = (Vec::new(), None);
    // A rare event may need several queries: each one reads a bounded number of events.
    while events.len() < limit {
        let listed = admin.events_before(&wanted, place, limit - events.len()).await?;
        events.extend(listed.events);
        place = listed.next;
        if place.is_none() {
            break;
        }
    }
    let list: Vec<Value> = events.iter().map(why::entry).collect();
    let names = ["time", "kind", "outcome", "reason", "application", "who", "reference"];
    print(&target.output, &json!(list), &table(names, events.iter().map(row)))?;
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

fn row(event: &AuditedEvent) -> [String; 7] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let who = event.login.as_ref().or(event.user.as_ref()).or(event.actor.as_ref());
    [
        event.at.rfc3339(),
        event.kind.clone(),
        event.outcome.clone(),
        event.reason.clone(),
        text(&event.application),
        who.cloned().unwrap_or_default(),
        text(&event.request),
    ]
}
