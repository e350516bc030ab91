//! Second factors: authenticator apps, passkeys, recovery codes.

use model::two_step::RecoveryCode;
use model::{PasskeyId, Timestamp, User, UserId};
use oauth::secret::Digest;

use crate::tables::ExaminedTable;
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// A stored authenticator app.
pub struct AuthenticatorApp {
    /// Sealed under the master key.
    pub sealed_secret: Vec<u8>,
    /// The newest time step whose code was accepted.
    pub last_step: i64,
    pub created_at: Timestamp,
}

/// A stored passkey.
#[derive(Clone, Debug)]
pub struct StoredPasskey {
    pub id: PasskeyId,
    pub user: UserId,
    pub credential: Vec<u8>,
    pub name: String,
    /// JSON: public key, signature counter, backup state.
    pub record: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// The columns that [`passkey`] expects, in its order.
macro_rules! select_passkeys {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_id, credential, name, record, created_at, last_used_at FROM passkeys WHERE instance = $1 ",
            $rest
        )
    };
}

const KIND: &str = "passkey";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: select_passkeys!("AND id > $2 ORDER BY id LIMIT $3"),
    examine: |row| passkey(row).map(|_| Vec::new()),
};

fn passkey(row: &SqlRow) -> Result<StoredPasskey, DamagedRow> {
    Ok(StoredPasskey {
        id: PasskeyId(row.uuid(0)?),
        user: UserId(row.uuid(1)?),
        credential: row.bytes(2)?,
        name: row.text(3)?,
        record: row.text(4)?,
        created_at: row.time(5)?,
        last_used_at: row.opt_time(6)?,
    })
}

impl Store {
    pub async fn authenticator_app(&self, user: UserId) -> Result<Option<AuthenticatorApp>, Fault> {
        let sql = "SELECT sealed_secret, last_step, created_at FROM authenticator_apps \
                   WHERE instance = $1 AND user_id = $2";
        let Some(row) = self.row(sql, values![user.0]).await? else { return Ok(None) };
        Ok(Some(AuthenticatorApp { sealed_secret: row.bytes(0)?, last_step: row.int(1)?, created_at: row.time(2)? }))
    }

    /// Guarded: a user has one. The step is that of the confirming code.
    pub fn insert_authenticator_app(
        &self,
        user: UserId,
        sealed_secret: Vec<u8>,
        step: i64,
        now: Timestamp,
    ) -> Statement {
        self.bound(
            "INSERT INTO authenticator_apps (instance, user_id, sealed_secret, last_step, created_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            values![user.0, sealed_secret, step, now.micros()],
        )
        .expect(1)
    }

    /// Guarded: the code of a step is accepted once, and no code of an earlier step.
    pub fn use_authenticator_step(&self, user: UserId, step: i64) -> Statement {
        self.bound(
            "UPDATE authenticator_apps SET last_step = $3 WHERE instance = $1 AND user_id = $2 AND last_step < $3",
            values![user.0, step],
        )
        .expect(1)
    }

    /// A caller that must be the one to remove it expects one row.
    pub fn delete_authenticator_app(&self, user: UserId) -> Statement {
        self.bound("DELETE FROM authenticator_apps WHERE instance = $1 AND user_id = $2", values![user.0])
    }

    /// Oldest first.
    pub async fn passkeys(&self, user: UserId) -> Result<Vec<StoredPasskey>, Fault> {
        let sql = select_passkeys!("AND user_id = $2 ORDER BY created_at, id");
        self.list(KIND, sql, values![user.0], passkey).await
    }

    pub async fn passkey_by_credential(&self, credential: &[u8]) -> Result<Option<StoredPasskey>, Fault> {
        Ok(self.list(KIND, select_passkeys!("AND credential = $2"), values![credential], passkey).await?.pop())
    }

    /// Guarded: a credential is registered once, for one user.
    pub fn insert_passkey(&self, new: &StoredPasskey) -> Statement {
        self.bound(
            "INSERT INTO passkeys (instance, id, user_id, credential, name, record, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            values![new.id.0, new.user.0, new.credential.as_slice(), &new.name, &new.record, new.created_at.micros()],
        )
        .expect(1)
    }

    /// Guarded by the record that was read, so that two concurrent uses compare the signature counter one after the
    /// other.
    pub fn use_passkey(&self, read: &StoredPasskey, record: &str, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE passkeys SET record = $4, last_used_at = $5 WHERE instance = $1 AND id = $2 AND record = $3",
            values![read.id.0, &read.record, record, now.micros()],
        )
        .expect(1)
    }

    /// Guarded: the passkey exists and belongs to this user.
    pub fn delete_passkey(&self, user: UserId, id: PasskeyId) -> Statement {
        self.bound("DELETE FROM passkeys WHERE instance = $1 AND user_id = $2 AND id = $3", values![user.0, id.0])
            .expect(1)
    }

    pub async fn recovery_codes_left(&self, user: UserId) -> Result<usize, Fault> {
        let sql = "SELECT COUNT(*) FROM recovery_codes WHERE instance = $1 AND user_id = $2";
        let row = self.row(sql, values![user.0]).await?;
        Ok(row.map_or(Ok(0), |row| row.int(0))?.try_into().unwrap_or(0))
    }

    pub fn insert_recovery_code(&self, user: UserId, digest: Digest<RecoveryCode>) -> Statement {
        self.bound(
            "INSERT INTO recovery_codes (instance, user_id, digest) VALUES ($1, $2, $3)",
            values![user.0, *digest.as_bytes()],
        )
        .expect(1)
    }

    /// Usable once: the guard fails for the second use, and for a text that never was a code of this user.
    pub fn use_recovery_code(&self, user: UserId, digest: Digest<RecoveryCode>) -> Statement {
        self.bound(
            "DELETE FROM recovery_codes WHERE instance = $1 AND user_id = $2 AND digest = $3",
            values![user.0, *digest.as_bytes()],
        )
        .expect(1)
    }

    pub fn delete_recovery_codes(&self, user: UserId) -> Statement {
        self.bound("DELETE FROM recovery_codes WHERE instance = $1 AND user_id = $2", values![user.0])
    }

    /// Deletes all factors of a user, and their recovery codes.
    pub fn delete_second_factors(&self, user: UserId) -> [Statement; 3] {
        [
            self.delete_authenticator_app(user),
            self.bound("DELETE FROM passkeys WHERE instance = $1 AND user_id = $2", values![user.0]),
            self.delete_recovery_codes(user),
        ]
    }

    /// Recovery codes replace a second factor: they are deleted with the last one.
    pub fn delete_needless_recovery_codes(&self, user: UserId) -> Statement {
        self.bound(
            "DELETE FROM recovery_codes WHERE instance = $1 AND user_id = $2 \
             AND NOT EXISTS (SELECT 1 FROM authenticator_apps WHERE instance = $1 AND user_id = $2) \
             AND NOT EXISTS (SELECT 1 FROM passkeys WHERE instance = $1 AND user_id = $2)",
            values![user.0],
        )
    }

    /// Guarded: a challenge is answered once. After `expires_at` it is refused anyway.
    pub fn spend_challenge(&self, digest: &[u8; 32], expires_at: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO spent_challenges (instance, digest, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            values![*digest, expires_at.micros()],
        )
        .expect(1)
    }

    /// Expired challenges. A small batch.
    pub fn sweep_spent_challenges(&self, expired_before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM spent_challenges WHERE instance = $1 AND digest IN \
             (SELECT digest FROM spent_challenges WHERE instance = $1 AND expires_at < $2 LIMIT 500)",
            values![expired_before.micros()],
        )
    }

    /// Guarded by the epoch that was read. Changes nothing, but locks the user's row: decisions about one user's
    /// factors run one after the other.
    pub fn hold_user(&self, user: &User) -> Statement {
        self.bound(
            "UPDATE users SET epoch = epoch WHERE instance = $1 AND id = $2 AND epoch = $3",
            values![user.id.0, user.epoch],
        )
        .expect(1)
    }

    /// Ends everything opened before. Guarded by the epoch that was read.
    pub fn raise_user_epoch(&self, user: &User) -> Statement {
        self.bound(
            "UPDATE users SET epoch = epoch + 1, version = version + 1 WHERE instance = $1 AND id = $2 AND epoch = $3",
            values![user.id.0, user.epoch],
        )
        .expect(1)
    }
}
