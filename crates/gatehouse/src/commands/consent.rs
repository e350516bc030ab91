//! `gatehouse consent`: users' consents to applications.

use anyhow::Result;
use flows::Platform as _;
use flows::account::consents::ConnectedApplication;
use model::{Moment, TrustedApplication};
use serde_json::{Value, json};
use web::SystemRng;

use crate::cli::ConsentCommand;
use crate::commands::cli_session::{CliSession, granted, moment, print};
use crate::commands::table::table;
use crate::config::Environment;
use crate::platform::SystemPlatform;

pub(super) async fn run(command: ConsentCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        ConsentCommand::List { target, user } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let known = granted(admin.connections(&user, &moment!(rng)).await)?;
            let list: Vec<Value> = known.iter().map(entry).collect();
            let text = table(["application", "consented scope", "holds tokens"], known.iter().map(row));
            print(&target.output, &json!(list), &text)
        }
        ConsentCommand::Withdraw { target, user, app } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            granted(admin.withdraw_consent(&user, &app, &mut moment!(rng)).await)?;
            let text = format!("Consent of {user} to {app} withdrawn. Its tokens are revoked.");
            print(&target.output, &json!({ "user": user, "application": app }), &text)?;
            desk.database.close().await;
            Ok(())
        }
    }
}

/// Times are seconds since 1970, as in tokens.
fn entry((application, connection): &(TrustedApplication, ConnectedApplication)) -> Value {
    let consent = connection.consent.as_ref();
    json!({
        "application": application.uri.as_str(),
        "name": application.name,
        "scope": consent.map(|(scope, _)| scope.to_string()),
        "grantedAt": consent.map(|(_, at)| at.seconds()),
        "holdsTokens": connection.holds_tokens,
    })
}

fn row((application, connection): &(TrustedApplication, ConnectedApplication)) -> [String; 3] {
    let consent = connection.consent.as_ref();
    let agreed = consent.map_or_else(|| "not required".to_owned(), |(scope, _)| scope.to_string());
    let holds = if connection.holds_tokens { "yes" } else { "no" };
    [application.uri.to_string(), agreed, holds.to_owned()]
}
