//! Writes the demo's data into a database.

use anyhow::{Context as _, Result, ensure};
use demo::{DemoInstance, DemoUser, USERS, applications, password_of, people, tables};
use flows::admin::{AdminRefusal, ElevatedAdminService, UserDraft, create_instance};
use flows::{AcceptedPassword, Answer, Database, Fault, MasterKey, Passwords};
use model::application::record::ApplicationRecord;
use model::entities::{Author, Permissions};
use model::user::PasswordHash;
use model::{Moment, Timestamp, UserId};
use oauth::secret::Presented;
use serde_json::json;
use store::entities::insert_all;
use store::{Batch, CommitOutcome, Store};

/// The demo's password hashes, computed once and in parallel: each takes about 20 ms of a core.
pub struct DemoPasswords(Vec<(&'static str, PasswordHash)>);

impl DemoPasswords {
    pub async fn hash(passwords: &Passwords, moment: &mut Moment<'_>) -> Result<Self, Fault> {
        let one = async |login: &'static str, salt: [u8; 16]| {
            let password = AcceptedPassword::public(&password_of(login));
            passwords.hash(password, salt).await.map(|hash| (login, hash))
        };
        let mut hashes = Vec::new();
        let mut pairs = people().map(|(login, _)| {
            let mut salt = [0; 16];
            moment.rng.fill(&mut salt);
            (login, salt)
        });
        while let Some((login, salt)) = pairs.next() {
            match pairs.next() {
                None => hashes.push(one(login, salt).await?),
                Some((other, salt_of_other)) => {
                    let (first, second) = tokio::join!(one(login, salt), one(other, salt_of_other));
                    hashes.extend([first?, second?]);
                }
            }
        }
        Ok(Self(hashes))
    }

    fn of(&self, login: &str) -> Option<&PasswordHash> {
        self.0.iter().find(|(name, _)| *name == login).map(|(_, hash)| hash)
    }
}

/// Creates one of the demo's instances. An error may leave it incomplete.
pub async fn seed(
    database: &Database,
    master: &MasterKey,
    instance: DemoInstance,
    passwords: &DemoPasswords,
    moment: &mut Moment<'_>,
) -> Result<()> {
    let id = done(create_instance((database, master), instance.name(), &instance.settings(), moment).await)?;
    seed_entities(&Store::new(database.clone(), id), moment.now).await?;
    let admin = done(ElevatedAdminService::open(database, master, instance.name()).await)?;
    seed_register(&admin, instance, passwords, moment).await
}

/// Writes the entities' rows.
pub async fn seed_entities(store: &Store, now: Timestamp) -> Result<()> {
    let mut batch = Batch::new();
    for (entity, rows) in tables(Author { login: "admin", now }) {
        let rows = rows.iter().map(|row| (row.key, row.assignments.as_slice()));
        batch.extend(insert_all(store, entity, rows, now));
    }
    ensure!(store.commit(batch).await? == CommitOutcome::Committed, "the instance has rows already");
    Ok(())
}

async fn seed_register(
    admin: &ElevatedAdminService<'_>,
    instance: DemoInstance,
    passwords: &DemoPasswords,
    moment: &mut Moment<'_>,
) -> Result<()> {
    let sales = Permissions::new(&["Crm_*", "General_*"], &["Crm_*", "General_*"]);
    done(admin.create_role("Sales", &sales, moment).await)?;
    done(admin.create_role("Viewer", &Permissions::new(&["Crm_*"], &[]), moment).await)?;
    let mut ids = Vec::new();
    for user in USERS {
        let id = done(admin.create_user_with(draft(user), passwords.of(user.login), moment).await)?;
        ids.push((user.login, id));
    }
    let id_of = |login: &str| -> Option<UserId> { ids.iter().find(|(name, _)| *name == login).map(|(_, id)| *id) };
    let [integration, reader] = ["svc.integration", "svc.reader"].map(|login| json!(id_of(login).map(|id| id.0)));
    for (record, secret) in applications(&integration, &reader) {
        let record: ApplicationRecord = serde_json::from_value(record).context("a record of the demo")?;
        let secret = secret.map(|secret| Presented::new(instance.secret(secret)));
        done(admin.create_application(record, secret.as_ref(), moment).await)?;
    }
    Ok(())
}

fn draft(user: &DemoUser) -> UserDraft<'_> {
    UserDraft {
        login: user.login,
        user_type: user.user_type,
        is_admin: user.is_admin(),
        name: user.name,
        email: user.email(),
        role: user.role,
        enabled: user.is_enabled(),
    }
}

/// Unwraps an answer: a refusal here is a mistake in the demo's data.
fn done<T>(answer: Answer<T, AdminRefusal>) -> Result<T> {
    answer?.map_err(|refusal| anyhow::anyhow!("the demo cannot be written: {refusal}"))
}
