//! `gatehouse token`: reference tokens (API keys).

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flows::admin::TokensOf;
use flows::admin::operations::tokens::{
    IssueToken, ListTokens, NewToken, RevokeToken, TokenEntry, TokenKind, TokenQuery, TokenWish,
};
use model::{ReferenceTokenId, Timestamp};
use oauth::scope::Scope;
use serde_json::json;
use uuid::Uuid;

use crate::cli::TokenCommand;
use crate::commands::cli_session::{CliSession, granted, print, print_answer, print_answer_to};
use crate::commands::table::table;
use crate::config::Environment;

const DAY: Duration = Duration::from_hours(24);

pub(super) async fn run(command: TokenCommand, environment: Environment<'_>) -> Result<()> {
    let desk = CliSession::open(&command.target().installation, environment).await?;
    let admin = desk.admin(command.target()).await?;
    match command {
        TokenCommand::Issue { target, uri, user, description, scope, expires_in } => {
            let scope = Scope::parse(&scope).context("--scope")?;
            let holder = match &user {
                Some(login) => Some(granted(admin.service.user_by_name(login).await)?.user),
                None => None,
            };
            let expires_at = expires_in.map(|days| admin.now.plus(DAY * days));
            let given = json!({ "application": uri });
            let wish = TokenWish { application: uri, login: user, description, scope, expires_at };
            let new = admin.run::<IssueToken>(wish).await?;
            if let Some(holder) = holder {
                let told = (&new.token.value, &new.token.description);
                desk.write_to(&admin.instance, &holder, |letter| letter.token_created(told.0, told.1)).await;
            }
            let NewToken { token, value } = &new;
            let text = format!("Token {}. Its value, shown only once:\n\n  {value}\n", token.id);
            print_answer_to(&target.output, "token issue", &given, &new, &text)?;
        }
        TokenCommand::List { target, app, user, limit } => {
            let names: HashMap<Uuid, String> =
                admin.service.applications().await?.into_iter().map(|app| (app.id.0, app.uri.to_string())).collect();
            let of = match (app, user) {
                (Some(uri), _) => TokensOf::Application(granted(admin.service.application(&uri).await)?.id),
                (None, Some(login)) => TokensOf::User(granted(admin.service.user_by_name(&login).await)?.user.id),
                (None, None) => TokensOf::Everybody,
            };
            let tokens = admin.run::<ListTokens>(TokenQuery { of, after: None, limit }).await?.items;
            let now = admin.now;
            let columns = ["id", "value", "state", "kind", "application", "description"];
            let text = table(columns, tokens.iter().map(|token| row(token, &names, now)));
            print_answer(&target.output, "token list", &tokens, &text)?;
        }
        TokenCommand::Revoke { target, id } => {
            let token = granted(admin.service.token(ReferenceTokenId(id)).await)?;
            if token.revoked_at.is_some() {
                anyhow::bail!("active token {id} not found");
            }
            admin.run::<RevokeToken>(token.id).await?;
            print(&target.output, &json!({ "id": id }), &format!("Token {id} revoked."))?;
        }
    }
    desk.database.close().await;
    Ok(())
}

fn state(token: &TokenEntry, now: Timestamp) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.expires_at.is_none_or(|end| now < end.0) {
        "live"
    } else {
        "expired"
    }
}

fn row(token: &TokenEntry, names: &HashMap<Uuid, String>, now: Timestamp) -> [String; 6] {
    let kind = match token.kind {
        TokenKind::Personal => "personal",
        TokenKind::Service => "service",
    };
    [
        token.id.to_string(),
        token.value.clone(),
        state(token, now).to_owned(),
        kind.to_owned(),
        names.get(&token.application).cloned().unwrap_or_default(),
        token.description.clone(),
    ]
}
