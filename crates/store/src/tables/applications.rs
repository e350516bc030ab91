use std::collections::HashMap;

use model::application::Secret;
use model::record::{ApplicationRecord, Registration};
use model::{ApplicationId, Timestamp, TrustedApplication, User, UserId};
use oauth::client::ClientId;
use oauth::secret::{ClientSecret, Digest};

use super::damaged;
use crate::{Fault, Row, Statement, Store, values};

/// A secret about to be written; only its digest is.
pub struct NewSecret<'a> {
    pub id: &'a str,
    pub application: ApplicationId,
    pub label: &'a str,
    pub digest: Digest<ClientSecret>,
    pub expires_at: Option<Timestamp>,
}

pub(super) const APPLICATIONS_AFTER: &str =
    "SELECT id, record, epoch, version FROM applications WHERE instance = $1 AND uri > $2 ORDER BY uri LIMIT $3";

pub(super) const SECRETS_OF: &str = "SELECT application, id, label, digest, created_at, expires_at \
     FROM application_secrets WHERE instance = $1 AND application = $2 ORDER BY created_at, id";

fn record(row: &Row) -> Result<ApplicationRecord, Fault> {
    serde_json::from_str(&row.text(1)?).map_err(Fault::failed)
}

type Secrets = HashMap<ApplicationId, Vec<Secret>>;

fn by_application(rows: &[Row]) -> Result<Secrets, Fault> {
    let mut secrets = Secrets::new();
    for row in rows {
        let secret = Secret {
            id: row.text(1)?,
            label: row.text(2)?,
            digest: Digest::try_from(row.bytes(3)?.as_slice()).map_err(|_| damaged("a digest has 32 bytes"))?,
            created_at: row.time(4)?,
            expires_at: row.opt_time(5)?,
        };
        secrets.entry(ApplicationId(row.uuid(0)?)).or_default().push(secret);
    }
    Ok(secrets)
}

fn read_all(rows: &[Row], mut secrets: Secrets, users: Vec<User>) -> Result<Vec<TrustedApplication>, Fault> {
    let users: HashMap<UserId, User> = users.into_iter().map(|user| (user.id, user)).collect();
    let read = |row: &Row| {
        let (id, record) = (ApplicationId(row.uuid(0)?), record(row)?);
        let registration = Registration {
            id,
            secrets: secrets.remove(&id).unwrap_or_default(),
            epoch: row.int(2)?,
            version: row.int(3)?,
        };
        let system_user = record.system_user.and_then(|user| users.get(&UserId(user)));
        let accepted = record.restore(registration, system_user);
        accepted.map(|good| good.application).map_err(|_| damaged("an application's record does not read back"))
    };
    rows.iter().map(read).collect()
}

impl Store {
    /// The whole register, for the snapshot that requests are served from.
    pub async fn applications(&self) -> Result<Vec<TrustedApplication>, Fault> {
        let sql = "SELECT id, record, epoch, version FROM applications WHERE instance = $1 ORDER BY uri";
        let rows = self.rows(sql, vec![]).await?;
        let sql = "SELECT application, id, label, digest, created_at, expires_at FROM application_secrets \
                   WHERE instance = $1 ORDER BY created_at, id";
        let secrets = by_application(&self.rows(sql, vec![]).await?)?;
        read_all(&rows, secrets, self.system_users().await?)
    }

    pub async fn application(&self, id: ApplicationId) -> Result<Option<TrustedApplication>, Fault> {
        let sql = "SELECT id, record, epoch, version FROM applications WHERE instance = $1 AND id = $2";
        Ok(self.with_what_they_need(&self.rows(sql, values![id.0]).await?).await?.pop())
    }

    /// By its `ApplicationUri`, byte for byte.
    pub async fn application_by_uri(&self, uri: &ClientId) -> Result<Option<TrustedApplication>, Fault> {
        let sql = "SELECT id, record, epoch, version FROM applications WHERE instance = $1 AND uri = $2";
        Ok(self.with_what_they_need(&self.rows(sql, values![uri.as_str()]).await?).await?.pop())
    }

    /// The next applications behind an `ApplicationUri`, in their order, at most so many.
    pub async fn applications_after(&self, uri: &str, limit: u32) -> Result<Vec<TrustedApplication>, Fault> {
        self.with_what_they_need(&self.rows(APPLICATIONS_AFTER, values![uri, limit]).await?).await
    }

    /// Secrets and System Users of a few applications, asked for side by side.
    async fn with_what_they_need(&self, rows: &[Row]) -> Result<Vec<TrustedApplication>, Fault> {
        let asked = rows.iter().map(async |row| {
            let secrets = self.rows(SECRETS_OF, values![row.uuid(0)?]).await?;
            let user = match record(row)?.system_user {
                Some(user) => self.user(UserId(user)).await?,
                None => None,
            };
            Ok::<_, Fault>((secrets, user))
        });
        let (secrets, users): (Vec<_>, Vec<_>) = futures_util::future::try_join_all(asked).await?.into_iter().unzip();
        let secrets: Vec<Row> = secrets.into_iter().flatten().collect();
        read_all(rows, by_application(&secrets)?, users.into_iter().flatten().collect())
    }

    /// Guarded: an `ApplicationUri` is given once.
    pub fn insert_application(&self, application: &TrustedApplication, now: Timestamp) -> Statement {
        let record = application.to_record();
        self.bound(
            "INSERT INTO applications (instance, id, uri, record, system_user, epoch, version, created_at) \
             VALUES ($1, $2, $3, $4, $5, 0, 1, $6) ON CONFLICT DO NOTHING",
            values![application.id.0, application.uri.as_str(), json(&record), record.system_user, now.micros()],
        )
        .expect(1)
    }

    /// Guarded by the version that was read; `ends_tokens` raises the epoch.
    pub fn update_application(&self, application: &TrustedApplication, ends_tokens: bool) -> Statement {
        let record = application.to_record();
        self.bound(
            "UPDATE applications SET uri = $3, record = $4, system_user = $5, epoch = epoch + $6, version = version + 1 \
             WHERE instance = $1 AND id = $2 AND version = $7",
            values![
                application.id.0,
                application.uri.as_str(),
                json(&record),
                record.system_user,
                ends_tokens,
                application.version
            ],
        )
        .expect(1)
    }

    pub fn insert_secret(&self, secret: &NewSecret<'_>, now: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO application_secrets (instance, id, application, label, digest, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            values![
                secret.id,
                secret.application.0,
                secret.label,
                *secret.digest.as_bytes(),
                now.micros(),
                secret.expires_at.map(Timestamp::micros)
            ],
        )
        .expect(1)
    }

    /// What hangs on the record changed. Guarded by the version that was read.
    pub fn touch_application(&self, application: &TrustedApplication) -> Statement {
        self.bound(
            "UPDATE applications SET version = version + 1 WHERE instance = $1 AND id = $2 AND version = $3",
            values![application.id.0, application.version],
        )
        .expect(1)
    }

    pub fn delete_secret(&self, application: ApplicationId, id: &str) -> Statement {
        self.bound(
            "DELETE FROM application_secrets WHERE instance = $1 AND application = $2 AND id = $3",
            values![application.0, id],
        )
        .expect(1)
    }
}

fn json(record: &ApplicationRecord) -> String {
    serde_json::to_string(record).expect("a record is strings, numbers and flags")
}
