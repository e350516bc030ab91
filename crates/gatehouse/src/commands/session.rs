//! `gatehouse session`: live API sessions and seat usage.

use anyhow::Result;
use flows::admin::operations::sessions::{
    EndSession, EndSessions, EndedSessions, GetSeatHistory, GetSeats, ListSessions, SeatUsage, SessionEntry,
    SessionQuery, SessionsOf,
};
use model::seat::SessionKey;
use model::{ApiSessionId, Timestamp};
use serde::Serialize;

use crate::cli::{SessionChoice, SessionCommand};
use crate::commands::cli_session::{CliSession, print_answer};
use crate::commands::table::table;
use crate::config::Environment;

/// Maximum sessions in one list.
const MAX_SHOWN: u32 = 1000;

/// Live sessions and the seats that they take: the answers of two operations.
#[derive(Serialize)]
struct SessionList {
    #[serde(flatten)]
    seats: SeatUsage,
    sessions: Vec<SessionEntry>,
}

pub(super) async fn session(command: SessionCommand, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&command.target().installation, environment).await?;
    let admin = desk.admin(command.target()).await?;
    match command {
        SessionCommand::List { target } => {
            let query = SessionQuery { login: None, after: None, limit: MAX_SHOWN };
            let sessions = admin.run::<ListSessions>(query).await?.items;
            let list = SessionList { seats: admin.run::<GetSeats>(()).await?, sessions };
            print_answer(&target.output, "session list", &list, &as_text(&list, admin.now))?;
        }
        SessionCommand::History { target } => {
            let history = admin.run::<GetSeatHistory>(()).await?;
            let rows = history.items.iter().map(|then| [then.at.0.rfc3339(), then.used.to_string()]);
            print_answer(&target.output, "session history", &history, &table(["time", "seats in use"], rows))?;
        }
        SessionCommand::End { target, which } => {
            let ended = match which {
                SessionChoice { id: Some(id), .. } => {
                    admin.run::<EndSession>(ApiSessionId(id)).await?;
                    EndedSessions { ended: 1 }
                }
                SessionChoice { user: Some(login), .. } => admin.run::<EndSessions>(SessionsOf::User(login)).await?,
                SessionChoice { app, .. } => {
                    admin.run::<EndSessions>(SessionsOf::Application(app.unwrap_or_default())).await?
                }
            };
            print_answer(&target.output, "session end", &ended, &format!("{} sessions ended.", ended.ended))?;
        }
    }
    desk.database.close().await;
    Ok(())
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

fn as_text(SessionList { seats, sessions }: &SessionList, now: Timestamp) -> String {
    let total = seats.total.map_or_else(|| "unlimited seats".to_owned(), |seats| format!("{seats} seats"));
    let head = format!("{} of {total} in use, {} reserved", seats.used, seats.reserved.len());
    let columns = ["session", "user", "kind", "seat", "calls", "minutes left", "address", "applications"];
    let row = |session: &SessionEntry| {
        [
            session.id.to_string(),
            session.login.clone(),
            kind(&session.key).to_owned(),
            session.seat.to_owned(),
            session.calls.to_string(),
            (session.ends_at.0.since(now).as_secs() / 60).to_string(),
            session.address.clone(),
            session.applications.join(" "),
        ]
    };
    if sessions.is_empty() { head } else { format!("{head}\n\n{}", table(columns, sessions.iter().map(row))) }
}
