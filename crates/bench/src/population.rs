//! Many users and reference tokens: real rows and real digests, through the store's own statements.

use anyhow::{Context as _, Result, ensure};
use flows::{Database, DatabaseUrl, Platform as _};
use model::reference_token::{ReferenceToken, ReferenceTokenKind, draw};
use model::{ApplicationId, Login, ReferenceTokenId, Rng as _, Timestamp, UserId, UserType};
use oauth::client::ClientId;
use oauth::scope::Scope;
use store::{Batch, CommitOutcome, NewUser, Statement, Store};
use tokio::task::JoinSet;
use web::SystemRng;

use crate::tenant::{DEMO, RealWorld};

/// The application of the tokens. It is public, so that a token can be revoked without a client secret.
pub(crate) const APPLICATION: &str = "my.trusted.app/scripts";

/// Statements in one batch, and batches in progress.
const TOGETHER: usize = 1000;
const AT_ONCE: usize = 8;

/// Adds users with personal tokens, distributed evenly. Returns the values of the first `kept` tokens; they belong to
/// different users, unless `kept` exceeds the number of users.
pub(crate) async fn add(url: &str, people: usize, tokens: usize, kept: usize) -> Result<Vec<String>> {
    let database = Database::open(&DatabaseUrl::parse(url)?).await?;
    let instances = database.instances().await?;
    let instance = instances.into_iter().find(|known| known.name == DEMO.name()).context("the demo is there")?;
    let store = Store::new(database.clone(), instance.id);
    let applications = store.applications().await?;
    let wanted = |uri: &ClientId| uri.as_str() == APPLICATION;
    let application = applications.iter().find(|known| wanted(&known.uri)).context("the demo has scripts")?.id;
    let (mut rng, now) = (SystemRng, RealWorld.now());

    let ids: Vec<UserId> = (0..people).map(|_| UserId(rng.id(now))).collect();
    let users = ids.iter().enumerate().map(|(number, id)| user(&store, number, *id, now));
    write(&store, "people", people, users).await?;
    let mut values = Vec::with_capacity(kept);
    let rows = (0..tokens).map(|number| {
        let value = draw(&mut rng);
        if number < kept {
            values.push(value.expose().to_owned());
        }
        let tail = value.expose()[value.expose().len() - 4..].to_owned();
        let row = token(number, value.digest(), tail, application, ids[number % people], now);
        store.insert_reference_token(&row)
    });
    write(&store, "reference tokens", tokens, rows).await?;
    database.close().await;
    Ok(values)
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
    number: usize,
    digest: oauth::secret::Digest<model::reference_token::ReferenceTokenValue>,
    tail: String,
    application: ApplicationId,
    user: UserId,
    now: Timestamp,
) -> ReferenceToken {
    ReferenceToken {
        id: ReferenceTokenId(SystemRng.id(now)),
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
            ensure!(outcome? == CommitOutcome::Committed, "the {what} are new");
            written += count;
            eprint!("\r{written} of {all} {what}   ");
        }
    }
    eprintln!();
    Ok(())
}
