use model::audit::chain::SealHash;
use model::entities::Permissions;
use model::line;
use model::mail::EmailAddress;
use model::user::PasswordHash;
use model::{Email, Login, Timestamp, User, UserId, UserType};

use crate::tables::{ExaminedTable, PageQuery};
use crate::{DamagedRow, Fault, SqlRow, Statement, Store, values};

/// Attributes of a new user.
pub struct NewUser<'a> {
    pub id: UserId,
    pub login: &'a Login,
    pub user_type: UserType,
    pub is_admin: bool,
    pub enabled: bool,
    pub name: &'a str,
    pub email: Option<Email>,
    pub role: Option<&'a str>,
    pub password: Option<&'a PasswordHash>,
}

/// A stored user, for administrators.
#[derive(Clone, Debug)]
pub struct UserRow {
    pub user: User,
    pub role: Option<String>,
    pub has_password: bool,
    /// Incremented by every change. Guards the next one.
    pub version: i64,
}

/// The columns that [`read`] and [`read_row`] expect, in their order. With `EXISTS`, PostgreSQL could read the second
/// factors of all users for one page.
macro_rules! select_users {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.login, u.user_type, u.is_admin, u.enabled, u.name, u.email, u.email_verified, u.locale, \
             u.epoch, u.updated_at, r.permits, u.password_hash, COALESCE( \
             (SELECT 1 FROM authenticator_apps t WHERE t.instance = u.instance AND t.user_id = u.id LIMIT 1), \
             (SELECT 1 FROM passkeys p WHERE p.instance = u.instance AND p.user_id = u.id LIMIT 1), 0), \
             u.role, u.version, u.password_nfc, u.login_folded \
             FROM users u LEFT JOIN roles r ON r.instance = u.instance AND r.name = u.role WHERE u.instance = $1 ",
            $rest
        )
    };
}

pub(super) const USERS_AFTER: &str = select_users!("AND u.login_folded > $2 ORDER BY u.login_folded LIMIT $3");

/// A role's unreadable permissions are not granted. They are a problem of the role, not of its users.
fn read(row: &SqlRow) -> Result<User, DamagedRow> {
    let permissions = row.opt_text(11)?.map(|permits| Permissions::restore(&permits).value).unwrap_or_default();
    let verified = row.flag(7)?;
    let (login, problem) = Login::kept(row.text(1)?);
    let mut problems: Vec<String> = problem.into_iter().map(str::to_owned).collect();
    let user_type = row.text(2)?;
    let user_type = UserType::parse(&user_type).unwrap_or_else(|| {
        problems.push(format!("type: this version does not know {user_type:?}"));
        // A type that cannot sign in.
        UserType::SystemNoLogin
    });
    Ok(User {
        id: UserId(row.uuid(0)?),
        login,
        user_type,
        admin_flag: row.flag(3)?,
        enabled: row.flag(4)?,
        name: line::shown(row.text(5)?),
        email: row.opt_text(6)?.map(|address| Email { address, verified }),
        locale: row.opt_text(8)?,
        permissions,
        epoch: row.int(9)?,
        has_second_factor: row.flag(13)?,
        updated_at: row.time(10)?,
        problems,
    })
}

fn read_row(row: &SqlRow) -> Result<UserRow, DamagedRow> {
    Ok(UserRow {
        user: read(row)?,
        role: row.opt_text(14)?,
        has_password: row.opt_text(12)?.is_some(),
        version: row.int(15)?,
    })
}

const KIND: &str = "user";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: select_users!("AND u.id > $2 ORDER BY u.id LIMIT $3"),
    examine: |row| read(row).map(|user| user.problems),
};

fn read_hash(row: &SqlRow) -> Result<Option<PasswordHash>, DamagedRow> {
    let made = if row.flag(16)? { PasswordHash::of_nfc } else { PasswordHash::of_bytes };
    Ok(row.opt_text(12)?.map(made))
}

impl Store {
    pub async fn user(&self, id: UserId) -> Result<Option<User>, Fault> {
        Ok(self.row(select_users!("AND u.id = $2"), values![id.0]).await?.as_ref().map(read).transpose()?)
    }

    /// For signing in: the user with the hash to compare, or without one if no password was ever set.
    pub async fn user_by_login(&self, login: &Login) -> Result<Option<(User, Option<PasswordHash>)>, Fault> {
        let row = self.row(select_users!("AND u.login_folded = $2"), values![login.folded()]).await?;
        row.map(|row| Ok((read(&row)?, read_hash(&row)?))).transpose()
    }

    pub async fn user_row(&self, id: UserId) -> Result<Option<UserRow>, Fault> {
        Ok(self.row(select_users!("AND u.id = $2"), values![id.0]).await?.as_ref().map(read_row).transpose()?)
    }

    /// The next users after a folded login, ordered by login, at most `limit`.
    pub async fn users_after(&self, login: &str, limit: u32) -> Result<Vec<UserRow>, Fault> {
        let query = PageQuery { kind: KIND, sql: USERS_AFTER, params: vec![], key: 17 };
        self.page(query, login.to_owned(), limit, read_row).await
    }

    /// Stores an administrator's change. Guarded by the version that was read; `ends_tokens` increments the epoch.
    pub fn update_user(&self, row: &UserRow, ends_tokens: bool, now: Timestamp) -> Statement {
        let (user, email) = (&row.user, row.user.email.as_ref());
        self.bound(
            "UPDATE users SET name = $4, email = $5, email_verified = $6, is_admin = $7, enabled = $8, role = $9, \
             locale = $10, epoch = epoch + $11, version = version + 1, updated_at = $12 \
             WHERE instance = $1 AND id = $2 AND version = $3",
            values![
                user.id.0,
                row.version,
                user.name.as_str(),
                email.map(|email| email.address.as_str()),
                email.is_some_and(|email| email.verified),
                user.admin_flag,
                user.enabled,
                row.role.as_deref(),
                user.locale.as_deref(),
                ends_tokens,
                now.micros()
            ],
        )
        .expect(1)
    }

    /// Guarded: a login that was ever used is not used again, even after its user was erased.
    pub fn insert_user(&self, user: &NewUser<'_>, now: Timestamp) -> Statement {
        self.bound(
            "INSERT INTO users (instance, id, login, login_folded, user_type, is_admin, enabled, name, email, \
             email_verified, role, password_hash, epoch, created_at, updated_at, password_nfc) \
             SELECT i.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, $13, $15 FROM instances i \
             WHERE i.id = $1 \
             AND NOT EXISTS (SELECT 1 FROM users e WHERE e.instance = $1 AND e.login_folded = $14) \
             ON CONFLICT DO NOTHING",
            values![
                user.id.0,
                user.login.as_str(),
                user.login.folded(),
                user.user_type.as_str(),
                user.is_admin,
                user.enabled,
                user.name,
                user.email.as_ref().map(|email| email.address.clone()),
                user.email.as_ref().is_some_and(|email| email.verified),
                user.role,
                user.password.map(PasswordHash::as_phc),
                now.micros(),
                self.erased_login(user.login),
                user.password.is_some_and(PasswordHash::is_nfc)
            ],
        )
        .expect(1)
    }

    /// Replaces an erased login, so that it can be distinguished from a free one. No login looks like it.
    fn erased_login(&self, login: &Login) -> String {
        let said = format!("gatehouse-erased-login\n{}\n{}", self.instance(), login.folded());
        format!("\u{2020}{}", SealHash::of(said.as_bytes()))
    }

    /// Removes identifying data, here and in the audit, and everything that the user held; ends everything they opened.
    /// Guarded by the epoch that was read. The row stays, because the audit refers to the user by its id.
    pub fn erase_user(&self, user: &User, now: Timestamp) -> Vec<Statement> {
        let id = user.id.0;
        let of_user = |sql: &'static str| self.bound(sql, values![id]);
        let of_user_at = |sql: &'static str| self.bound(sql, values![id, now.micros()]);
        let mut erasing = vec![
            self.bound(
                "UPDATE users SET login = $4, login_folded = $5, name = '', email = NULL, email_verified = 0, \
                 locale = NULL, role = NULL, password_hash = NULL, is_admin = 0, enabled = 0, epoch = epoch + 1, \
                 version = version + 1, updated_at = $6 WHERE instance = $1 AND id = $2 AND epoch = $3",
                values![id, user.epoch, format!("erased-{id}"), self.erased_login(&user.login), now.micros()],
            )
            .expect(1),
            of_user("DELETE FROM links WHERE instance = $1 AND user_id = $2"),
            of_user("DELETE FROM email_changes WHERE instance = $1 AND user_id = $2"),
            of_user("DELETE FROM pending_authorizations WHERE instance = $1 AND user_id = $2"),
            of_user("DELETE FROM new_address_letters WHERE instance = $1 AND user_id = $2"),
            of_user("DELETE FROM known_networks WHERE instance = $1 AND user_id = $2"),
            of_user("DELETE FROM attack_letters WHERE instance = $1 AND user_id = $2"),
            of_user("DELETE FROM set_up_links WHERE instance = $1 AND user_id = $2"),
            of_user("DELETE FROM consents WHERE instance = $1 AND user_id = $2"),
            of_user("UPDATE api_sessions SET address = '' WHERE instance = $1 AND user_id = $2"),
            of_user("UPDATE identity_sessions SET address = '', user_agent = '' WHERE instance = $1 AND user_id = $2"),
            of_user_at(
                "UPDATE identity_sessions SET ended_at = $3 WHERE instance = $1 AND user_id = $2 AND ended_at IS NULL",
            ),
            of_user(
                "UPDATE authorizations SET rotated_address = NULL, rotated_user_agent = NULL \
                 WHERE instance = $1 AND user_id = $2",
            ),
            self.remove_pictures(user.id),
            of_user_at(
                "UPDATE authorizations SET state = 'ended', ended_at = $3, end_reason = 'user_erased' \
                 WHERE instance = $1 AND user_id = $2 AND state <> 'ended'",
            ),
            of_user_at(
                "UPDATE reference_tokens SET description = '', revoked_at = COALESCE(revoked_at, $3), \
                 revoke_reason = COALESCE(revoke_reason, 'user_erased') WHERE instance = $1 AND user_id = $2",
            ),
            self.erase_audit_person(user.id),
        ];
        erasing.extend(self.delete_second_factors(user.id));
        erasing
    }

    /// A new password ends everything opened with the old one, so the epoch rises. Guarded by the epoch that was read.
    pub fn set_password(&self, user: &User, hash: &PasswordHash, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE users SET password_hash = $4, password_nfc = $6, epoch = epoch + 1, version = version + 1, \
             updated_at = $5 WHERE instance = $1 AND id = $2 AND epoch = $3",
            values![user.id.0, user.epoch, hash.as_phc(), now.micros(), hash.is_nfc()],
        )
        .expect(1)
    }

    /// Stores the same password with stronger parameters, or in NFC: nothing ends. Guarded by the hash that was read.
    pub fn rehash_password(&self, user: UserId, old: &PasswordHash, new: &PasswordHash) -> Statement {
        self.bound(
            "UPDATE users SET password_hash = $4, password_nfc = $5 \
             WHERE instance = $1 AND id = $2 AND password_hash = $3",
            values![user.0, old.as_phc(), new.as_phc(), new.is_nfc()],
        )
        .expect(1)
    }

    /// Ends nothing, so the epoch stays. Guarded by the time of the last change, as it was read.
    pub fn set_locale(&self, user: &User, locale: Option<&str>, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE users SET locale = $5, version = version + 1, updated_at = $6 \
             WHERE instance = $1 AND id = $2 AND epoch = $3 AND updated_at = $4",
            values![user.id.0, user.epoch, user.updated_at.micros(), locale, now.micros()],
        )
        .expect(1)
    }

    /// Users with this address, case-insensitive; at most `most`.
    pub async fn users_by_email(&self, address: &EmailAddress, most: i64) -> Result<Vec<User>, Fault> {
        let sql = select_users!("AND lower(u.email) = $2 ORDER BY u.login_folded LIMIT $3");
        self.list(KIND, sql, values![address.folded(), most], read).await
    }

    /// Stores a confirmed address. Guarded by the epoch and the address that were read.
    pub fn set_email(&self, user: &User, address: &EmailAddress, now: Timestamp) -> Statement {
        self.bound(
            "UPDATE users SET email = $4, email_verified = 1, version = version + 1, updated_at = $5 \
             WHERE instance = $1 AND id = $2 AND epoch = $3 AND email IS NOT DISTINCT FROM $6",
            values![
                user.id.0,
                user.epoch,
                address.as_str(),
                now.micros(),
                user.email.as_ref().map(|email| email.address.as_str())
            ],
        )
        .expect(1)
    }
}
