//! `gatehouse session`: live API sessions and seat usage.

use anyhow::Result;
use flows::Platform as _;
use flows::admin::sessions::{SeatsView, SessionSelector, SessionView};
use model::seat::SessionKey;
use model::{ApiSessionId, Moment, Timestamp};
use serde_json::{Value, json};
use web::SystemRng;

use crate::cli::{SessionChoice, SessionCommand};
use crate::commands::cli_session::{CliSession, granted, print};
use crate::commands::table::table;
use crate::config::Environment;
use crate::platform::SystemPlatform;

pub(super) async fn session(command: SessionCommand, environment: Environment<'_>) -> Result<()> {
    let now = SystemPlatform.now();
    match command {
        SessionCommand::List { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let (seats, sessions) = admin.sessions().await?;
            let shown: Vec<Value> = sessions.iter().map(|view| as_json(view, now)).collect();
            let json = json!({
                "seats": seats.seats, "used": seats.used, "reserved": seats.reserved, "sessions": shown,
            });
            print(&target.output, &json, &as_text(seats, &sessions, now))?;
            desk.database.close().await;
        }
        SessionCommand::History { target } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let counts = admin.seats_over_the_day(now).await?;
            let items: Vec<Value> =
                counts.iter().map(|(at, used)| json!({ "at": at.seconds(), "used": used })).collect();
            let rows = counts.iter().map(|(at, used)| [at.rfc3339(), used.to_string()]);
            print(&target.output, &json!({ "items": items }), &table(["time", "seats in use"], rows))?;
            desk.database.close().await;
        }
        SessionCommand::End { target, which } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let mut rng = SystemRng;
            let ended = granted(admin.end_sessions(ending(&which), &mut Moment { now, rng: &mut rng }).await)?;
            print(&target.output, &json!({ "ended": ended }), &format!("{ended} sessions ended."))?;
            desk.database.close().await;
        }
    }
    Ok(())
}

fn ending(which: &SessionChoice) -> SessionSelector<'_> {
    match which {
        SessionChoice { id: Some(id), .. } => SessionSelector::One(ApiSessionId(*id)),
        SessionChoice { user: Some(login), .. } => SessionSelector::OfUser(login),
        SessionChoice { app, .. } => SessionSelector::OfApplication(app.as_deref().unwrap_or_default()),
    }
}

const fn kind(key: &SessionKey) -> &'static str {
    match key {
        SessionKey::SignIn(_) => "person",
        SessionKey::Service(_) => "service",
        SessionKey::Reference(_) => "key",
        SessionKey::Basic(..) => "basic",
        SessionKey::ErpLogin(..) => "erp",
    }
}

/// Times are seconds since 1970, as in tokens.
fn as_json(view: &SessionView, now: Timestamp) -> Value {
    let session = &view.session;
    json!({
        "id": session.id.to_string(),
        "user": session.login.as_str(),
        "kind": kind(&session.key),
        "applications": view.applications,
        "opened_at": session.opened_at.seconds(),
        "last_call": session.last_call.seconds(),
        "calls": session.calls,
        "address": session.address,
        "seat": session.seat.as_str(),
        "seconds_left": session.ends_at.since(now).as_secs(),
    })
}

fn as_text(seats: SeatsView, sessions: &[SessionView], now: Timestamp) -> String {
    let total = seats.seats.map_or_else(|| "unlimited seats".to_owned(), |seats| format!("{seats} seats"));
    let head = format!("{} of {total} in use, {} reserved", seats.used, seats.reserved);
    let columns = ["session", "user", "kind", "seat", "calls", "minutes left", "address", "applications"];
    let row = |view: &SessionView| {
        let session = &view.session;
        [
            session.id.to_string(),
            session.login.as_str().to_owned(),
            kind(&session.key).to_owned(),
            session.seat.as_str().to_owned(),
            session.calls.to_string(),
            (session.ends_at.since(now).as_secs() / 60).to_string(),
            session.address.clone(),
            view.applications.join(" "),
        ]
    };
    if sessions.is_empty() { head } else { format!("{head}\n\n{}", table(columns, sessions.iter().map(row))) }
}
