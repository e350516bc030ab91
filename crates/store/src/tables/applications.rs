use model::application::Secret;
use model::application::record::{ApplicationRecord, Registration};
use model::{ApplicationId, Timestamp, TrustedApplication, UserId};
use oauth::client::ClientId;
use oauth::secret::{ClientSecret, Digest};

use uuid::Uuid;

use crate::tables::PageQuery;
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// A secret to be written. Only its digest is stored.
pub struct NewSecret<'a> {
    pub id: &'a str,
    pub application: ApplicationId,
    pub label: &'a str,
    pub digest: Digest<ClientSecret>,
    pub expires_at: Option<Timestamp>,
}

pub(super) const APPLICATIONS_AFTER: &str = "SELECT id, uri, record, epoch, version, system_user FROM applications \
                                             WHERE instance = $1 AND uri > $2 ORDER BY uri LIMIT $3";

pub(super) const SECRETS_OF: &str = "SELECT id, label, digest, created_at, expires_at \
     FROM application_secrets WHERE instance = $1 AND application = $2 ORDER BY created_at, id";

/// Applications with their secrets, one row per secret: one statement, so that both are of the same time.
macro_rules! select_whole {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.uri, a.record, a.epoch, a.version, a.system_user, s.id, s.label, s.digest, s.created_at, \
             s.expires_at FROM applications a LEFT JOIN application_secrets s \
             ON s.instance = a.instance AND s.application = a.id WHERE a.instance = $1 ",
            $rest,
            "ORDER BY a.uri, s.created_at, s.id"
        )
    };
}

const KIND: &str = "application";

/// Reads a secret from the columns that begin here.
fn secret(row: &SqlRow, from: usize) -> Result<Secret, DamagedRow> {
    Ok(Secret {
        id: row.text(from)?,
        label: row.text(from + 1)?,
        digest: row.digest(from + 2)?,
        created_at: row.time(from + 3)?,
        expires_at: row.opt_time(from + 4)?,
    })
}

/// A refused record makes a disabled application, so that the register can always be loaded.
fn read(row: &SqlRow, secrets: Vec<Secret>) -> Result<TrustedApplication, DamagedRow> {
    let system_user = row.opt_text(5)?.and_then(|id| Uuid::try_parse(&id).ok()).map(UserId);
    let registration = Registration {
        epoch: row.int(3)?,
        version: row.int(4)?,
        ..Registration::new(ApplicationId(row.uuid(0)?), secrets)
    };
    Ok(ApplicationRecord::restore(&row.text(2)?, registration, row.text(1)?, system_user))
}

impl Store {
    /// All applications, for the snapshot that requests are served from.
    pub async fn applications(&self) -> Result<Vec<TrustedApplication>, Fault> {
        Ok(self.with_secrets(&self.rows(select_whole!(""), vec![]).await?))
    }

    pub async fn application(&self, id: ApplicationId) -> Result<Option<TrustedApplication>, Fault> {
        Ok(self.with_secrets(&self.rows(select_whole!("AND a.id = $2 "), values![id.0]).await?).pop())
    }

    /// By its `ApplicationUri`, compared byte for byte.
    pub async fn application_by_uri(&self, uri: &ClientId) -> Result<Option<TrustedApplication>, Fault> {
        Ok(self.with_secrets(&self.rows(select_whole!("AND a.uri = $2 "), values![uri.as_str()]).await?).pop())
    }

    /// Groups adjacent rows by application.
    fn with_secrets(&self, rows: &[SqlRow]) -> Vec<TrustedApplication> {
        let of_one = rows.chunk_by(|one, next| one.name() == next.name());
        let application = |rows: &[SqlRow]| {
            // An application without secrets has one row, without a secret.
            let with_one: Vec<SqlRow> = rows.iter().filter(|row| row.opt_text(6) != Ok(None)).cloned().collect();
            let secrets = self.readable("secret of an application", &with_one, |row| secret(row, 6));
            self.readable(KIND, &rows[..1], |row| read(row, secrets.clone())).pop()
        };
        of_one.filter_map(application).collect()
    }

    /// The next applications after an `ApplicationUri`, in its order, at most `limit`.
    pub async fn applications_after(&self, uri: &str, limit: u32) -> Result<Vec<TrustedApplication>, Fault> {
        let query = PageQuery { kind: KIND, sql: APPLICATIONS_AFTER, params: vec![], key: 1 };
        let mut page = self.page(query, uri.to_owned(), limit, |row| Ok(row.clone())).await?;
        let secrets = page.iter().map(async |row| {
            let rows = self.rows(SECRETS_OF, values![row.text(0)?]).await?;
            Ok::<_, Fault>(self.readable("secret of an application", &rows, |row| secret(row, 0)))
        });
        let secrets = futures_util::future::try_join_all(secrets).await?;
        let both = page.drain(..).zip(secrets);
        Ok(both
            .filter_map(|(row, secrets)| self.readable(KIND, &[row], |row| read(row, secrets.clone())).pop())
            .collect())
    }

    /// Guarded: an `ApplicationUri` is used once.
    pub fn insert_application(&self, application: &TrustedApplication, now: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO applications (instance, id, uri, record, system_user, epoch, version, created_at) \
             VALUES ($1, $2, $3, $4, $5, 0, 1, $6) ON CONFLICT DO NOTHING",
            values![
                application.id.0,
                application.uri.as_str(),
                application.to_stored(),
                application.to_record().system_user,
                now.micros()
            ],
        )
        .expect(1)
    }

    /// Guarded by the version that was read; `ends_tokens` increments the epoch.
    pub fn update_application(&self, application: &TrustedApplication, ends_tokens: bool) -> Statement {
        self.bound(
            "UPDATE applications SET uri = $3, record = $4, system_user = $5, epoch = epoch + $6, version = version + 1 \
             WHERE instance = $1 AND id = $2 AND version = $7",
            values![
                application.id.0,
                application.uri.as_str(),
                application.to_stored(),
                application.to_record().system_user,
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

    /// Data belonging to the record changed, such as a secret. Guarded by the version that was read.
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
