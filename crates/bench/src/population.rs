//! People and reference tokens in bulk: real rows and real digests, through the store's own statements.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flows::{Database, DatabaseUrl, World as _};
use model::domain::Permissions;
use model::record::{ApplicationRecord, RecordClientType, Registration};
use model::reference_token::{ReferenceToken, ReferenceTokenKind, draw};
use model::seat::{Seat, SessionKey};
use model::{
    ApiSessionId, ApplicationId, Dice as _, Login, ReferenceTokenId, Timestamp, TrustedApplication, UserId, UserType,
};
use oauth::client::ClientId;
use oauth::scope::Scope;
use store::{Batch, NewApiSession, NewUser, Outcome, Statement, Store, TokensOf, statement, values};
use tokio::task::JoinSet;
use web::SystemDice;

use crate::tenant::{DEMO, RealWorld};

/// Whose tokens they are: public, so that a token's owner may revoke it without a secret.
pub(crate) const APPLICATION: &str = "my.trusted.app/scripts";

/// Nothing ends by itself while it is measured.
const LONG: Duration = Duration::from_hours(24);

/// Statements of one batch, and batches under way.
const TOGETHER: usize = 1000;
const AT_ONCE: usize = 8;

/// Adds so many people with so many personal tokens, as even as can be. Answers the values of the first tokens, no two
/// of which are one person's unless there are more than people.
pub(crate) async fn add(url: &str, people: usize, tokens: usize, kept: usize) -> Result<Vec<String>> {
    let (database, store) = open(url).await?;
    let applications = store.applications().await?;
    let wanted = |uri: &ClientId| uri.as_str() == APPLICATION;
    let application = applications.iter().find(|known| wanted(&known.uri)).context("the demo has scripts")?.id;
    let (mut dice, now) = (SystemDice, RealWorld.now());

    let ids: Vec<UserId> = (0..people).map(|_| UserId(dice.id(now))).collect();
    let users = ids.iter().enumerate().map(|(number, id)| user(&store, number, *id, now));
    write(&store, "people", people, users).await?;
    let mut values = Vec::with_capacity(kept);
    let rows = (0..tokens).map(|number| {
        let value = draw(&mut dice);
        if number < kept {
            values.push(value.expose().to_owned());
        }
        let tail = value.expose()[value.expose().len() - 4..].to_owned();
        let row = token((number, value.digest(), tail), application, ids[number % people], now);
        store.insert_reference_token(&row)
    });
    write(&store, "reference tokens", tokens, rows).await?;
    database.close().await;
    Ok(values)
}

/// Somebody and something in the middle of the lists.
pub(crate) struct Middle {
    pub(crate) user: UserId,
    pub(crate) token: ReferenceTokenId,
    pub(crate) session: ApiSessionId,
}

/// Adds so many applications, roles and live sessions to the people that [`add`] made.
pub(crate) async fn add_rest(url: &str, lines: usize) -> Result<Middle> {
    let (database, store) = open(url).await?;
    let now = RealWorld.now();
    let applications = (0..lines).map(|number| store.insert_application(&application(number, now), now));
    write(&store, "applications", lines, applications).await?;
    let permissions = Permissions::new(&["Crm_*"], &[]);
    let roles = (0..lines).map(|number| store.insert_role(&format!("role.{number:07}"), &permissions));
    write(&store, "roles", lines, roles).await?;
    let half = lines / 2;
    let login = Login::parse(&format!("person.{half}")).context("printable and short")?;
    let (user, _) = store.user_by_login(&login).await?.context("the people are there")?;
    let token = store.reference_tokens_before(None, TokensOf::User(user.id), 1).await?;
    let token = token.first().context("everybody has one")?.id;
    let ids: Vec<ApiSessionId> = (0..lines).map(|_| ApiSessionId(SystemDice.id(now))).collect();
    let sessions = ids.iter().map(|id| session(&store, *id, user.id, now));
    write(&store, "sessions", lines, sessions).await?;
    let live = values![i64::try_from(lines)?, store.instance().0];
    let counted = statement("UPDATE seats SET live = live + $1 WHERE instance = $2", live);
    ensure!(store.commit(Batch::new().with(counted)).await? == Outcome::Committed, "the seats are there");
    database.close().await;
    Ok(Middle { user: user.id, token, session: ids[half] })
}

async fn open(url: &str) -> Result<(Database, Store)> {
    let database = Database::open(&DatabaseUrl::parse(url)?).await?;
    let instances = database.instances().await?;
    let instance = instances.into_iter().find(|known| known.name == DEMO.name()).context("the demo is there")?;
    let store = Store::new(database.clone(), instance.id);
    Ok((database, store))
}

fn application(number: usize, now: Timestamp) -> TrustedApplication {
    let record = ApplicationRecord {
        application_uri: format!("vendor.{number:07}"),
        name: format!("Application {number}"),
        ..ApplicationRecord::blank(RecordClientType::Public)
    };
    let id = ApplicationId(SystemDice.id(now));
    let registration = Registration { id, secrets: vec![], epoch: 0, version: 1 };
    record.check(registration, None).expect("it is a record").application
}

/// Each by a key of its own, as that of a service token is.
fn session(store: &Store, id: ApiSessionId, user: UserId, now: Timestamp) -> Statement {
    let key = SessionKey::Service(id.0.simple().to_string());
    store.open_api_session(&NewApiSession {
        id,
        key: &key,
        user,
        seat: Seat::Shared,
        opened_at: now,
        ends_at: now.plus(LONG),
        final_end: None,
        node: id.0,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        application: ApplicationId(id.0),
    })
}

fn user(store: &Store, number: usize, id: UserId, now: Timestamp) -> Statement {
    let login = Login::parse(&format!("person.{number}")).expect("printable and short");
    let user = NewUser {
        id,
        login: &login,
        user_type: UserType::Internal,
        is_admin: false,
        enabled: true,
        name: "Somebody of Many",
        email: None,
        role: Some("Sales"),
        password: None,
    };
    store.insert_user(&user, now)
}

fn token(
    (number, digest, tail): (usize, oauth::secret::Digest<model::reference_token::ReferenceTokenValue>, String),
    application: ApplicationId,
    user: UserId,
    now: Timestamp,
) -> ReferenceToken {
    ReferenceToken {
        id: ReferenceTokenId(SystemDice.id(now)),
        kind: ReferenceTokenKind::Personal,
        digest,
        tail,
        application,
        user,
        description: format!("Export number {number}"),
        scope: Scope::parse("read").expect("a scope"),
        created_by: format!("person.{number}"),
        created_at: now,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

async fn write(store: &Store, what: &str, all: usize, rows: impl Iterator<Item = Statement>) -> Result<()> {
    let mut rows = rows.peekable();
    let mut under_way = JoinSet::new();
    let mut written = 0;
    while rows.peek().is_some() || !under_way.is_empty() {
        if rows.peek().is_some() && under_way.len() < AT_ONCE {
            let batch: Vec<Statement> = rows.by_ref().take(TOGETHER).collect();
            let (store, count) = (store.clone(), batch.len());
            under_way.spawn(async move { (store.commit(Batch::from(batch)).await, count) });
        } else if let Some(done) = under_way.join_next().await {
            let (outcome, count) = done?;
            ensure!(outcome? == Outcome::Committed, "the {what} are new");
            written += count;
            eprint!("\r{written} of {all} {what}   ");
        }
    }
    eprintln!();
    Ok(())
}
