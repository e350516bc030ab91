//! Compares memory with the database, for tests that break things on purpose. While nothing changes, and memory has
//! followed the change feed, there is no difference.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

use model::{ApplicationId, Timestamp, UserId};

use crate::Fault;
use crate::memory::ApplicationRegister;
use crate::memory::InstanceMemory;
use crate::memory::keys::KeyRing;
use model::claims::MAX_TOKEN_LIFETIME;

/// More sessions than any test instance has.
const MAX_SESSIONS: u32 = 100_000;

/// Differences, each as text. Neither side prints a secret.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(&mut self, what: &str, memory: &impl Debug, database: &impl Debug) {
        let (memory, database) = (format!("{memory:?}"), format!("{database:?}"));
        if memory != database {
            self.0.push(format!("{what}: memory has {memory}, the database {database}"));
        }
    }

    fn missing<T: Debug + Eq + Hash>(&mut self, what: &str, from: &HashSet<T>, expected: &HashSet<T>) {
        let missing: Vec<&T> = expected.difference(from).collect();
        if !missing.is_empty() {
            self.0.push(format!("{what}: {missing:?}"));
        }
    }
}

impl InstanceMemory {
    pub async fn differences(&self, now: Timestamp) -> Result<Vec<String>, Fault> {
        let mut found = Differences::default();
        if !self.is_current() {
            found.0.push("memory is behind".to_owned());
        }
        found.compare("settings", &**self.unchecked().settings.load(), &self.store.settings().await?);
        self.compare_register(&mut found).await?;
        let fresh = KeyRing::load(&self.store, &self.master).await?;
        let kids = |ring: &KeyRing| ring.times().cloned().collect::<Vec<_>>();
        found.compare("signing keys", &kids(&self.published_keys()), &kids(&fresh));
        for (id, user) in self.unchecked().users.all() {
            found.compare("user", &Some(&*user), &self.store.user(id).await?.as_ref());
        }
        for (_, token) in self.unchecked().reference_tokens.all() {
            let kept = self.store.reference_token(&token.digest).await?;
            let is_revoked = |token: &model::reference_token::ReferenceToken| (token.id, token.revoked_at.is_some());
            found.compare("reference token", &Some(is_revoked(&token)), &kept.as_ref().map(is_revoked));
        }
        self.compare_kills(&mut found, now).await?;
        self.compare_sessions(&mut found, now).await?;
        Ok(found.0)
    }

    async fn compare_register(&self, found: &mut Differences) -> Result<(), Fault> {
        let fresh = ApplicationRegister::new(self.store.applications().await?);
        let by_id = |register: &ApplicationRegister| -> HashMap<ApplicationId, String> {
            register.all().map(|application| (application.id, format!("{application:?}"))).collect()
        };
        let (memory, database) = (by_id(&self.unchecked().applications.load()), by_id(&fresh));
        for id in memory.keys().chain(database.keys()).collect::<HashSet<_>>() {
            found.compare("application", &memory.get(id), &database.get(id));
        }
        for application in fresh.all() {
            let known = self.unchecked().applications.load().by_uri(&application.uri).map(|known| known.id);
            found.compare("application by its ApplicationUri", &known, &Some(application.id));
        }
        found.compare("origins", &self.unchecked().applications.load().counted_origins(), &fresh.counted_origins());
        Ok(())
    }

    /// A revocation that memory lacks is a token that stays valid; one that the database lacks makes the token valid
    /// again after a restart.
    async fn compare_kills(&self, found: &mut Differences, now: Timestamp) -> Result<(), Fault> {
        let since = now.minus(MAX_TOKEN_LIFETIME);
        let (authorizations, sessions, tokens) = self.unchecked().revocations.since(since);
        let ended: HashSet<_> = self.store.authorizations_ended_since(since).await?.into_iter().collect();
        found.missing("ended authorizations that the database lacks", &ended, &authorizations);
        for id in ended.difference(&authorizations) {
            let kept = self.store.authorization(*id).await?.map(|(kept, _)| (kept.user, kept.epochs.1));
            if self.stands(kept).await? {
                found.0.push(format!("memory lacks the end of authorization {id:?}"));
            }
        }
        let ended: HashSet<_> = self.store.sessions_ended_since(since).await?.into_iter().collect();
        found.missing("ended sign-ins that the database lacks", &ended, &sessions);
        for id in ended.difference(&sessions) {
            let kept = self.store.identity_session(*id).await?.map(|kept| (kept.user, kept.user_epoch));
            if self.stands(kept).await? {
                found.0.push(format!("memory lacks the end of sign-in {id:?}"));
            }
        }
        let revoked = self.store.access_tokens_revoked_since(since).await?.into_iter().collect();
        found.missing("revoked tokens that memory lacks", &tokens, &revoked);
        found.missing("revoked tokens that the database lacks", &revoked, &tokens);
        Ok(())
    }

    /// Whether the user exists with this epoch. If not, the end of the user also ends what the missing revocation
    /// should end.
    async fn stands(&self, of: Option<(UserId, i64)>) -> Result<bool, Fault> {
        let Some((user, epoch)) = of else { return Ok(false) };
        Ok(self.store.user(user).await?.is_some_and(|user| user.epoch == epoch))
    }

    /// Memory serves no session that has ended. A session that memory does not know is loaded by its next call.
    async fn compare_sessions(&self, found: &mut Differences, now: Timestamp) -> Result<(), Fault> {
        let rows = self.store.live_api_sessions(MAX_SESSIONS).await?;
        let rows: HashSet<_> = rows.into_iter().map(|row| (row.key, row.id)).collect();
        found.missing("live sessions that the database lacks", &rows, &self.unchecked().api_sessions.running(now));
        let (live, counted) = self.store.seats_taken().await?;
        found.compare("seats", &live, &counted);
        Ok(())
    }
}
