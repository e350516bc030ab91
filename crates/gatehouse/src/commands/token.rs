//! `gatehouse token`: reference tokens (API keys).

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flows::Platform as _;
use flows::admin::TokensOf;
use flows::admin::tokens::{IssuedToken, TokenDraft};
use model::reference_token::{NewTokenRequest, ReferenceToken, ReferenceTokenKind, masked};
use model::{ApplicationId, Moment, ReferenceTokenId, Timestamp};
use oauth::scope::Scope;
use serde_json::{Value, json};
use web::SystemRng;

use crate::cli::TokenCommand;
use crate::commands::cli_session::{CliSession, granted, moment, print};
use crate::commands::table::table;
use crate::config::Environment;
use crate::platform::SystemPlatform;

const DAY: Duration = Duration::from_hours(24);

pub(super) async fn run(command: TokenCommand, environment: Environment<'_>) -> Result<()> {
    let mut rng = SystemRng;
    match command {
        TokenCommand::Issue { target, uri, user, description, scope, expires_in } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let instance = admin.instance.clone();
            let admin = &admin.service;
            let scope = Scope::parse(&scope).context("--scope")?;
            let mut moment = moment!(rng);
            let wish = NewTokenRequest {
                kind: if user.is_some() { ReferenceTokenKind::Personal } else { ReferenceTokenKind::Service },
                description: &description,
                scope: &scope,
                expires_at: expires_in.map(|days| moment.now.plus(DAY * days)),
            };
            let draft = TokenDraft { application: &uri, login: user.as_deref(), wish };
            let IssuedToken { token, value, holder } = granted(admin.issue_token(&draft, &mut moment).await)?;
            if token.kind == ReferenceTokenKind::Personal {
                let told = (masked(&token.tail), &token.description);
                desk.write_to(&instance, &holder, |letter| letter.token_created(&told.0, told.1)).await;
            }
            let shown = json!({ "id": token.id.to_string(), "value": value.expose(), "application": uri });
            let text = format!("Token {}. Its value, shown only once:\n\n  {}\n", token.id, value.expose());
            print(&target.output, &shown, &text)?;
            desk.database.close().await;
        }
        TokenCommand::List { target, app, user, limit } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            let names: HashMap<ApplicationId, String> =
                admin.applications().await?.into_iter().map(|app| (app.id, app.uri.to_string())).collect();
            let of = match (app, user) {
                (Some(uri), _) => TokensOf::Application(granted(admin.application(&uri).await)?.id),
                (None, Some(login)) => TokensOf::User(granted(admin.user_by_name(&login).await)?.user.id),
                (None, None) => TokensOf::Everybody,
            };
            let tokens = admin.tokens_before(None, of, limit).await?;
            let now = SystemPlatform.now();
            let list: Vec<Value> = tokens.iter().map(|token| entry(token, &names)).collect();
            let columns = ["id", "value", "state", "kind", "application", "description"];
            let text = table(columns, tokens.iter().map(|token| row(token, &names, now)));
            print(&target.output, &json!(list), &text)?;
        }
        TokenCommand::Revoke { target, id } => {
            let desk = CliSession::open(&target.installation, environment).await?;
            let admin = desk.admin(&target).await?;
            let admin = &admin.service;
            granted(admin.revoke_token(ReferenceTokenId(id), &mut moment!(rng)).await)?;
            print(&target.output, &json!({ "id": id }), &format!("Token {id} revoked."))?;
            desk.database.close().await;
        }
    }
    Ok(())
}

fn state(token: &ReferenceToken, now: Timestamp) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.is_live(now) {
        "live"
    } else {
        "expired"
    }
}

fn row(token: &ReferenceToken, names: &HashMap<ApplicationId, String>, now: Timestamp) -> [String; 6] {
    [
        token.id.to_string(),
        masked(&token.tail),
        state(token, now).to_owned(),
        token.kind.as_str().to_owned(),
        names.get(&token.application).cloned().unwrap_or_default(),
        token.description.clone(),
    ]
}

fn entry(token: &ReferenceToken, names: &HashMap<ApplicationId, String>) -> Value {
    json!({
        "id": token.id.to_string(),
        "value": masked(&token.tail),
        "kind": token.kind.as_str(),
        "application": names.get(&token.application),
        "user": token.user.to_string(),
        "description": token.description,
        "scope": token.scope.to_string(),
        "createdBy": token.created_by,
        "createdAt": token.created_at.seconds(),
        "expiresAt": token.expires_at.map(Timestamp::seconds),
        "lastUsedAt": token.last_used_at.map(Timestamp::seconds),
        "revokedAt": token.revoked_at.map(Timestamp::seconds),
    })
}
