use std::collections::HashMap;

use model::application::Secret;
use model::record::{ApplicationRecord, Registration};
use model::{ApplicationId, Timestamp, TrustedApplication, User, UserId};
use oauth::secret::{ClientSecret, Digest};

use super::damaged;
use crate::{Fault, Statement, Store, values};

/// A secret about to be written; only its digest is.
pub struct NewSecret<'a> {
    pub id: &'a str,
    pub application: ApplicationId,
    pub label: &'a str,
    pub digest: Digest<ClientSecret>,
    pub expires_at: Option<Timestamp>,
}

impl Store {
    /// The whole register, for the snapshot that requests are served from.
    pub async fn applications(&self) -> Result<Vec<TrustedApplication>, Fault> {
        let system_users: HashMap<UserId, User> =
            self.system_users().await?.into_iter().map(|user| (user.id, user)).collect();
        let mut secrets = self.secrets().await?;
        let sql = "SELECT id, record, epoch, version FROM applications WHERE instance = $1 ORDER BY uri";
        let rows = self.rows(sql, vec![]).await?;
        rows.iter()
            .map(|row| {
                let id = ApplicationId(row.uuid(0)?);
                let record: ApplicationRecord = serde_json::from_str(&row.text(1)?).map_err(Fault::failed)?;
                let registration = Registration {
                    id,
                    secrets: secrets.remove(&id).unwrap_or_default(),
                    epoch: row.int(2)?,
                    version: row.int(3)?,
                };
                let system_user = record.system_user.and_then(|user| system_users.get(&UserId(user)));
                let accepted = record.check(registration, system_user);
                accepted.map(|good| good.application).map_err(|_| damaged("an application's record does not read back"))
            })
            .collect()
    }

    async fn secrets(&self) -> Result<HashMap<ApplicationId, Vec<Secret>>, Fault> {
        let sql = "SELECT application, id, label, digest, created_at, expires_at FROM application_secrets \
                   WHERE instance = $1 ORDER BY created_at";
        let mut secrets: HashMap<ApplicationId, Vec<Secret>> = HashMap::new();
        for row in self.rows(sql, vec![]).await? {
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
}

fn json(record: &ApplicationRecord) -> String {
    serde_json::to_string(record).expect("a record is strings, numbers and flags")
}
