//! `gatehouse consent`: users' consents to applications.

use anyhow::Result;
use flows::admin::operations::consents::{ConsentEntry, ConsentOf, ListConsents, WithdrawConsent};
use serde_json::json;

use crate::cli::ConsentCommand;
use crate::commands::cli_session::{CliSession, granted, print, print_answer};
use crate::commands::table::table;
use crate::config::Environment;

pub(super) async fn run(command: ConsentCommand, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&command.target().installation, environment).await?;
    let admin = desk.admin(command.target()).await?;
    match command {
        ConsentCommand::List { target, user } => {
            let user = granted(admin.service.user_by_name(&user).await)?.user.id;
            let items = admin.run::<ListConsents>(user).await?.items;
            let text = table(["application", "consented scope", "holds tokens"], items.iter().map(row));
            print_answer(&target.output, "consent list", &items, &text)?;
        }
        ConsentCommand::Withdraw { target, user, app } => {
            let id = granted(admin.service.user_by_name(&user).await)?.user.id;
            let application = granted(admin.service.application(&app).await)?.id;
            admin.run::<WithdrawConsent>(ConsentOf { user: id, application }).await?;
            let text = format!("Consent of {user} to {app} withdrawn. Its tokens are revoked.");
            print(&target.output, &json!({ "user": user, "application": app }), &text)?;
        }
    }
    desk.database.close().await;
    Ok(())
}

fn row(consent: &ConsentEntry) -> [String; 3] {
    let agreed = consent.scope.clone().unwrap_or_else(|| "not required".to_owned());
    let holds = if consent.holds_tokens { "yes" } else { "no" };
    [consent.application_uri.clone(), agreed, holds.to_owned()]
}
