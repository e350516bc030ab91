//! Live API sessions, and the seats' row of the instance.
//!
//! Every opening and every closing begins with that row, whose lock puts them in order: a closing that comes second
//! sees the session that was opened; an opening that comes second finds the version changed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use model::audit::StoredEvent;
use model::seat::{CeilingUse, CloseReason, Extension, OwnSession, Seat, SeatAdmission, SeatPolicy, SessionKey};
use model::{
    ApiSessionId, ApplicationId, InstanceId, InstanceSettings, Login, ReferenceTokenId, SessionId, Timestamp, UserId,
};
use oauth::secret::sha256;
use uuid::Uuid;

use crate::tables::{ExaminedTable, PageQuery, before, count, damaged};
use crate::{DamagedRow, Database, Fault, SqlRow, SqlValue, Statement, Store, statement, values};

/// A live session, as last written.
#[derive(Clone, Debug)]
pub struct ApiSessionRow {
    pub id: ApiSessionId,
    pub key: SessionKey,
    pub user: UserId,
    pub login: Login,
    pub seat: Seat,
    pub opened_at: Timestamp,
    pub last_call: Timestamp,
    pub ends_at: Timestamp,
    pub final_end: Option<Timestamp>,
    pub calls: u64,
    pub address: String,
    pub applications: Vec<ApplicationId>,
}

/// A session to be opened.
pub struct NewApiSession<'a> {
    pub id: ApiSessionId,
    pub key: &'a SessionKey,
    pub user: UserId,
    pub seat: Seat,
    pub opened_at: Timestamp,
    pub ends_at: Timestamp,
    pub final_end: Option<Timestamp>,
    pub node: Uuid,
    pub address: IpAddr,
    pub application: ApplicationId,
}

/// The facts about seats that a node needs to open a session, read by one statement.
#[derive(Clone, Debug)]
pub struct SeatReading {
    pub version: i64,
    pub live: u64,
    pub settings: InstanceSettings,
    pub earliest_end: Option<Timestamp>,
    /// Of the requested accounts, those that hold a seat.
    pub holders: Vec<Login>,
    /// Of the requested keys, those that have a live session.
    pub keys: Vec<(String, OwnSession)>,
    /// Of the requested users, those that have live sessions. Only read if users have a ceiling.
    pub users: HashMap<UserId, CeilingUse>,
    /// Of the requested applications, those that opened live sessions. Only read if applications have a ceiling.
    pub applications: HashMap<ApplicationId, CeilingUse>,
}

/// A request for a seat.
#[derive(Clone, Debug)]
pub struct SeatRequest {
    /// The session key, as text.
    pub key: String,
    pub user: UserId,
    pub application: ApplicationId,
}

/// Selects the sessions to close.
#[derive(Clone, Copy, Debug)]
pub enum SessionsToClose {
    All,
    /// Sessions whose timers have expired at `now`. Idle timers are only trusted up to `idle_until`.
    Due {
        now: Timestamp,
        idle_until: Timestamp,
    },
    One(ApiSessionId),
    OfUser(UserId),
    OfSignIn(SessionId),
    OfReferenceToken(ReferenceTokenId),
    /// By the `jti`.
    OfServiceToken(Uuid),
    /// Opened with Basic or ErpLogin.
    OfLegacySchemes,
    /// Every session that the application uses.
    UsedBy(ApplicationId),
    /// Sessions that no application uses any more.
    Unused,
}

impl SessionsToClose {
    /// The condition on `s`, and its parameters, which begin with `$2`.
    fn condition(self) -> (&'static str, Vec<SqlValue>) {
        let of_key = |key: &SessionKey| ("s.key = $2", values![key.as_text()]);
        match self {
            Self::All => ("1 = 1", vec![]),
            Self::Due { now, idle_until } => (
                "s.ends_at <= $2 AND (s.ends_at <= $3 OR s.final_end <= $2)",
                values![now.micros(), idle_until.micros()],
            ),
            Self::One(id) => ("s.id = $2", values![id.0]),
            Self::OfUser(user) => ("s.user_id = $2", values![user.0]),
            Self::OfSignIn(sid) => of_key(&SessionKey::SignIn(sid)),
            Self::OfReferenceToken(id) => of_key(&SessionKey::Reference(id)),
            Self::OfServiceToken(jti) => of_key(&SessionKey::Service(jti.simple().to_string())),
            Self::OfLegacySchemes => ("(s.key LIKE 'basic:%' OR s.key LIKE 'erp:%')", vec![]),
            Self::UsedBy(application) => ("s.applications LIKE $2", values![format!("%{}%", application.0)]),
            Self::Unused => ("s.applications = ''", vec![]),
        }
    }
}

/// Numbers of keys in one query. Few sizes mean few prepared texts.
const KEYS_ASKED: [usize; 3] = [1, 16, 256];

/// Maximum keys in one query.
pub const MAX_KEYS_ASKED: usize = KEYS_ASKED[KEYS_ASKED.len() - 1];

macro_rules! select_sessions {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.key, s.user_id, u.login, s.seat, s.opened_at, s.last_call, s.ends_at, s.final_end, \
             s.calls, s.address, s.applications FROM api_sessions s \
             JOIN users u ON u.instance = s.instance AND u.id = s.user_id \
             WHERE s.instance = $1 AND s.closed_at IS NULL ",
            $rest
        )
    };
}

pub(super) const SESSIONS_BEFORE: &str = select_sessions!("AND s.id < $2 ORDER BY s.id DESC LIMIT $3");
pub(super) const SESSIONS_OF_USER: &str =
    select_sessions!("AND s.user_id = $2 AND s.id < $3 ORDER BY s.id DESC LIMIT $4");

/// The change in live sessions in each span of `$3` microseconds since `$2`, and the current number, as span -1.
const SEATS_OVER: &str = "SELECT place, CAST(SUM(change) AS BIGINT) FROM ( \
     SELECT -1 AS place, live AS change FROM seats WHERE instance = $1 \
     UNION ALL SELECT (opened_at - $2) / $3, 1 FROM api_sessions WHERE instance = $1 AND opened_at >= $2 \
     UNION ALL SELECT (closed_at - $2) / $3, -1 FROM api_sessions WHERE instance = $1 AND closed_at >= $2 \
     ) AS changes GROUP BY place";

const KIND: &str = "API session";

pub(super) const EXAMINED: ExaminedTable = ExaminedTable {
    kind: KIND,
    sql: select_sessions!("AND s.id > $2 ORDER BY s.id LIMIT $3"),
    examine: |row| read(row).map(|_| Vec::new()),
};

/// A session whose key or seat is of a newer version is not served from memory. It keeps its seat and its timers.
fn read(row: &SqlRow) -> Result<ApiSessionRow, DamagedRow> {
    let applications = row.text(11)?;
    let application = |id: &str| {
        Uuid::try_parse(id).map(ApplicationId).map_err(|_| damaged("an application's id does not read back"))
    };
    Ok(ApiSessionRow {
        id: ApiSessionId(row.uuid(0)?),
        key: SessionKey::parse(&row.text(1)?).ok_or_else(|| damaged("a session's key does not read back"))?,
        user: UserId(row.uuid(2)?),
        login: Login::kept(row.text(3)?).0,
        seat: Seat::parse(&row.text(4)?).ok_or_else(|| damaged("a seat does not read back"))?,
        opened_at: row.time(5)?,
        last_call: row.time(6)?,
        ends_at: row.time(7)?,
        final_end: row.opt_time(8)?,
        calls: count(row.int(9)?)?,
        address: row.text(10)?,
        applications: applications.split_ascii_whitespace().map(application).collect::<Result<_, _>>()?,
    })
}

fn share(row: &SqlRow) -> Result<CeilingUse, DamagedRow> {
    Ok(CeilingUse { live: count(row.int(3)?)?, earliest_end: row.opt_time(4)? })
}

/// Text and parameters of one query for the seats. Each row has a kind, a name and three numbers.
fn look(asking: &[SeatRequest], licences: SeatPolicy<'_>) -> (String, Vec<SqlValue>) {
    let size = KEYS_ASKED.into_iter().find(|size| asking.len() <= *size).unwrap_or(asking.len());
    let mut params: Vec<SqlValue> = Vec::new();
    let mut list = |values: Vec<SqlValue>, size: usize| {
        let from = params.len();
        let padding = values.last().cloned().unwrap_or(SqlValue::Null);
        params.extend(values);
        params.resize(from + size, padding);
        placeholders(from + 2, size)
    };
    let keys = list(asking.iter().map(|one| SqlValue::from(&one.key)).collect(), size);
    let mut sql = format!(
        "SELECT '' AS what, i.settings AS name, s.version AS a, s.live AS b, (SELECT MIN(e.ends_at) \
         FROM api_sessions e WHERE e.instance = $1 AND e.closed_at IS NULL) AS c \
         FROM seats s JOIN instances i ON i.id = s.instance WHERE s.instance = $1 \
         UNION ALL SELECT 'key', key, 0, ends_at, final_end FROM api_sessions \
         WHERE instance = $1 AND closed_at IS NULL AND key IN ({keys})"
    );
    if !licences.reserved.is_empty() {
        let logins = licences.reserved.iter().map(|login| SqlValue::from(login.folded())).collect();
        let _infallible = write!(
            sql,
            " UNION ALL SELECT 'holder', u.login, 0, 0, 0 FROM users u WHERE u.instance = $1 \
             AND u.login_folded IN ({}) AND EXISTS (SELECT 1 FROM api_sessions h WHERE h.instance = u.instance \
             AND h.user_id = u.id AND h.closed_at IS NULL)",
            list(logins, licences.reserved.len())
        );
    }
    let users = licences.per_user.map(|_| ("user", "user_id", asking.iter().map(|one| one.user.0.into()).collect()));
    let applications = asking.iter().map(|one| one.application.0.into()).collect();
    let applications = licences.per_application.map(|_| ("application", "opened_by", applications));
    for (what, column, ids) in users.into_iter().chain(applications) {
        let _infallible = write!(
            sql,
            " UNION ALL SELECT '{what}', {column}, 0, COUNT(*), MIN(ends_at) FROM api_sessions \
             WHERE instance = $1 AND closed_at IS NULL AND {column} IN ({}) GROUP BY {column}",
            list(ids, size)
        );
    }
    (sql, params)
}

/// `$n, $n+1, …`
fn placeholders(from: usize, count: usize) -> String {
    (from..from + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

impl Database {
    /// Instances with a session whose timers have expired at this time. Selects the expired sessions first, by their
    /// index: a plain `DISTINCT` reads all live sessions, whether or not one has expired.
    pub async fn instances_with_due_sessions(&self, now: Timestamp) -> Result<Vec<InstanceId>, Fault> {
        let sql = "SELECT DISTINCT instance FROM (SELECT instance FROM api_sessions \
                   WHERE closed_at IS NULL AND ends_at <= $1 ORDER BY ends_at LIMIT 10000) AS due";
        let rows = self.query(sql, values![now.micros()]).await?;
        Ok(rows.iter().filter_map(|row| row.uuid(0).ok().map(InstanceId)).collect())
    }
}

/// A closed session, with the reason.
pub struct ClosedApiSession {
    pub id: ApiSessionId,
    pub key: SessionKey,
    /// `None` for a reason of a newer version.
    pub reason: Option<CloseReason>,
}

impl Database {
    /// Number of live sessions per instance.
    pub async fn seats_used(&self) -> Result<HashMap<InstanceId, u64>, Fault> {
        let rows = self.query("SELECT instance, live FROM seats", vec![]).await?;
        Ok(rows.iter().filter_map(|row| Some((InstanceId(row.uuid(0).ok()?), count(row.int(1).ok()?).ok()?))).collect())
    }
}

impl Store {
    /// One statement, so that all facts are of one moment. Sessions are only counted against ceilings that are set.
    pub async fn seats_seen(&self, asking: &[SeatRequest], licences: SeatPolicy<'_>) -> Result<SeatReading, Fault> {
        let (sql, params) = look(asking, licences);
        let mut seen: Option<SeatReading> = None;
        let (mut holders, mut keys) = (Vec::new(), Vec::new());
        let (mut users, mut applications) = (HashMap::new(), HashMap::new());
        for row in self.query(sql, self.with_instance(params)).await? {
            match row.text(0)?.as_str() {
                "key" => keys.push((row.text(1)?, OwnSession { ends_at: row.time(3)?, final_end: row.opt_time(4)? })),
                "holder" => {
                    holders.push(Login::kept(row.text(1)?).0);
                }
                "user" => {
                    users.insert(UserId(row.uuid(1)?), share(&row)?);
                }
                "application" => {
                    applications.insert(ApplicationId(row.uuid(1)?), share(&row)?);
                }
                _ => {
                    seen = Some(SeatReading {
                        version: row.int(2)?,
                        live: count(row.int(3)?)?,
                        settings: InstanceSettings::restore(&row.text(1)?).value,
                        earliest_end: row.opt_time(4)?,
                        holders: Vec::new(),
                        keys: Vec::new(),
                        users: HashMap::new(),
                        applications: HashMap::new(),
                    });
                }
            }
        }
        let seen = seen.ok_or_else(|| damaged("the instance has no seats"))?;
        Ok(SeatReading { holders, keys, users, applications, ..seen })
    }

    pub async fn live_api_session(&self, key: &SessionKey) -> Result<Option<ApiSessionRow>, Fault> {
        let sql = select_sessions!("AND s.key = $2");
        Ok(self.list(KIND, sql, values![key.as_text()], read).await?.pop())
    }

    /// All live sessions, newest first, at most `most`.
    pub async fn live_api_sessions(&self, most: u32) -> Result<Vec<ApiSessionRow>, Fault> {
        let sql = select_sessions!("ORDER BY s.opened_at DESC, s.id LIMIT $2");
        self.list(KIND, sql, values![most], read).await
    }

    /// The next live sessions after an id, newest first, at most `limit`; optionally of one user.
    pub async fn live_api_sessions_before(
        &self,
        id: Option<ApiSessionId>,
        user: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<ApiSessionRow>, Fault> {
        let before = before(id.map(|id| id.0));
        let (sql, params) = match user {
            None => (SESSIONS_BEFORE, vec![]),
            Some(user) => (SESSIONS_OF_USER, values![user.0]),
        };
        self.page(PageQuery { kind: KIND, sql, params, key: 0 }, before, limit, read).await
    }

    /// The live sessions that this selects.
    pub async fn live_api_sessions_of(&self, closing: SessionsToClose) -> Result<Vec<ApiSessionRow>, Fault> {
        let (condition, params) = closing.condition();
        let sql = format!("{} AND {condition}", select_sessions!(""));
        Ok(self.readable(KIND, &self.query(sql, self.with_instance(params)).await?, read))
    }

    /// The number of live sessions, and the number according to the seats' row.
    pub async fn seats_taken(&self) -> Result<(u64, u64), Fault> {
        let sql = "SELECT live, (SELECT COUNT(*) FROM api_sessions WHERE instance = $1 AND closed_at IS NULL) \
                   FROM seats WHERE instance = $1";
        let row = self.row(sql, vec![]).await?.ok_or_else(|| damaged("the instance has no seats"))?;
        Ok((count(row.int(1)?)?, count(row.int(0)?)?))
    }

    /// Live sessions at the end of each of `spans` spans of time since `since`. The last span is the present one.
    pub async fn seats_over(&self, since: Timestamp, span: Duration, spans: usize) -> Result<Vec<u64>, Fault> {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let rows = self.rows(SEATS_OVER, values![since.micros(), micros]).await?;
        let mut changes = vec![0; spans];
        let mut now = 0;
        for row in &rows {
            match usize::try_from(row.int(0)?) {
                Ok(place) => changes[place.min(spans - 1)] += row.int(1)?,
                Err(_) => now = row.int(1)?,
            }
        }
        let mut live: i64 = now - changes.iter().sum::<i64>();
        let at_end = changes.into_iter().map(|change| {
            live += change;
            u64::try_from(live).unwrap_or_default()
        });
        Ok(at_end.collect())
    }

    /// The sessions that were closed together.
    pub async fn api_sessions_closed(&self, close_id: Uuid) -> Result<Vec<ClosedApiSession>, Fault> {
        let sql = "SELECT id, key, close_reason FROM api_sessions WHERE instance = $1 AND close_id = $2";
        let key = |row: &SqlRow| {
            SessionKey::parse(&row.text(1)?).ok_or_else(|| damaged("a session's key does not read back"))
        };
        let closed = |row: &SqlRow| {
            let reason = row.opt_text(2)?.as_deref().and_then(CloseReason::parse);
            Ok(ClosedApiSession { id: ApiSessionId(row.uuid(0)?), key: key(row)?, reason })
        };
        self.list(KIND, sql, values![close_id], closed).await
    }

    pub fn insert_seats(&self) -> Statement {
        self.bound("INSERT INTO seats (instance, version, live) VALUES ($1, 0, 0)", vec![]).expect(1)
    }

    /// Locks the seats' row until the end of the batch. Every change to who may open a session begins with it.
    pub fn move_seats(&self) -> Statement {
        self.bound("UPDATE seats SET version = version + 1 WHERE instance = $1", vec![]).expect(1)
    }

    /// Guarded by the admission. A reserved account that takes its seat changes the seats left for others.
    pub fn take_seat(&self, admission: SeatAdmission) -> Statement {
        let moves = i64::from(admission.seat == Seat::Reserved);
        let below = admission.below.map_or(i64::MAX, |below| i64::try_from(below).unwrap_or(i64::MAX));
        self.bound(
            "UPDATE seats SET live = live + 1, version = version + $4 \
             WHERE instance = $1 AND version = $2 AND live < $3",
            values![admission.version, below, moves],
        )
        .expect(1)
    }

    /// Guards after [`Self::take_seat`], whose lock puts openings in order: user and application have fewer sessions
    /// than their ceilings. A separate statement, so that it sees what was committed before the lock was acquired.
    pub fn expect_room_under_ceilings(
        &self,
        admission: SeatAdmission,
        user: UserId,
        application: ApplicationId,
    ) -> Vec<Statement> {
        const OF_USER: &str = "SELECT 1 WHERE (SELECT COUNT(*) FROM api_sessions \
                               WHERE instance = $1 AND user_id = $2 AND closed_at IS NULL) < $3";
        const OF_APPLICATION: &str = "SELECT 1 WHERE (SELECT COUNT(*) FROM api_sessions \
                                      WHERE instance = $1 AND opened_by = $2 AND closed_at IS NULL) < $3";
        let room = |sql, id: Uuid, below: u64| {
            self.bound(sql, values![id, i64::try_from(below).unwrap_or(i64::MAX)]).expect(1)
        };
        let of_user = admission.user_below.map(|below| room(OF_USER, user.0, below));
        let of_application = admission.application_below.map(|below| room(OF_APPLICATION, application.0, below));
        of_user.into_iter().chain(of_application).collect()
    }

    /// Guarded by the unique index of live keys: at most one live session per key.
    pub fn open_api_session(&self, session: &NewApiSession<'_>) -> Statement {
        self.bound(
            "INSERT INTO api_sessions (instance, id, key, user_id, seat, opened_at, last_call, ends_at, final_end, \
             node, calls, address, applications, opened_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9, 1, $10, $11, $12) \
             ON CONFLICT DO NOTHING",
            values![
                session.id.0,
                session.key.as_text(),
                session.user.0,
                session.seat.as_str(),
                session.opened_at.micros(),
                session.ends_at.micros(),
                session.final_end.map(Timestamp::micros),
                session.node,
                session.address.to_string(),
                format!(" {}", session.application.0),
                session.application.0
            ],
        )
        .expect(1)
    }

    /// Slides the timer; flushed in batches. The later call wins. Only the node that wrote a call may move it back,
    /// after its clock was set back (no call can be later than `future`).
    pub fn slide_api_session(
        &self,
        id: ApiSessionId,
        extension: Extension,
        node: Uuid,
        future: Timestamp,
    ) -> Statement {
        self.bound(
            "UPDATE api_sessions SET last_call = $3, ends_at = $4, calls = calls + $5, node = $6 \
             WHERE instance = $1 AND id = $2 AND closed_at IS NULL \
             AND (last_call < $3 OR (node = $6 AND last_call > $7))",
            values![
                id.0,
                extension.last_call.micros(),
                extension.ends_at.micros(),
                i64::try_from(extension.calls).unwrap_or(i64::MAX),
                node,
                future.micros()
            ],
        )
    }

    /// Guarded: the session with this key is still live.
    pub fn prolong_api_session(&self, key: &SessionKey, last_call: Timestamp, ends_at: Timestamp) -> Statement {
        self.bound(
            "UPDATE api_sessions SET last_call = $3, ends_at = $4 WHERE instance = $1 AND key = $2 AND closed_at IS NULL",
            values![key.as_text(), last_call.micros(), ends_at.micros()],
        )
        .expect(1)
    }

    /// Adds an application to the session.
    pub fn join_api_session(&self, id: ApiSessionId, application: ApplicationId) -> Statement {
        self.bound(
            "UPDATE api_sessions SET applications = applications || $3 \
             WHERE instance = $1 AND id = $2 AND closed_at IS NULL AND applications NOT LIKE $4",
            values![id.0, format!(" {}", application.0), format!("%{}%", application.0)],
        )
    }

    /// Removes an application from all sessions that it uses.
    pub fn leave_api_sessions(&self, application: ApplicationId) -> Statement {
        self.bound(
            "UPDATE api_sessions SET applications = REPLACE(applications, $2, '') \
             WHERE instance = $1 AND closed_at IS NULL AND applications LIKE $3",
            values![format!(" {}", application.0), format!("%{}%", application.0)],
        )
    }

    /// Removes an application from a user's sessions. Sessions of tokens issued by hand keep it: they rest on no
    /// sign-in.
    pub fn leave_sessions_of_user(&self, application: ApplicationId, user: UserId) -> Statement {
        self.bound(
            "UPDATE api_sessions SET applications = REPLACE(applications, $2, '') \
             WHERE instance = $1 AND closed_at IS NULL AND applications LIKE $3 AND user_id = $4 AND key LIKE 'sid:%'",
            values![format!(" {}", application.0), format!("%{}%", application.0), user.0],
        )
    }

    /// Closes sessions, audits each, and counts the seats again, all under the lock of the seats' row. `close_id`, a
    /// UUID version 7, identifies the sessions closed together; the events' ids have its time. The key is of this
    /// closing alone. Only the database knows which sessions the statement closes, so the database writes the codes of
    /// their events ([`session_closed_code`]).
    pub fn close_api_sessions(
        &self,
        closing: SessionsToClose,
        reason: CloseReason,
        close_id: Uuid,
        now: Timestamp,
        key: Option<&str>,
    ) -> [Statement; 4] {
        let (condition, mut params) = closing.condition();
        let [at, why, together] = [2, 3, 4].map(|n| params.len() + n);
        let close = format!(
            "UPDATE api_sessions AS s SET closed_at = ${at}, close_reason = ${why}, close_id = ${together} \
             WHERE s.instance = $1 AND s.closed_at IS NULL AND {condition}"
        );
        params.extend(values![now.micros(), reason.as_str(), close_id]);
        [
            self.move_seats(),
            statement(close, self.with_instance(params)),
            self.bound(
                "INSERT INTO audit_events (instance, id, at, kind, outcome, reason, actor, user_id, session, code) \
                 SELECT instance, SUBSTR(close_id, 1, 13) || SUBSTR(id, 14), closed_at, 'session-closed', 'done', \
                 close_reason, 'gatehouse', user_id, id, 's1.' || close_id || '.' || gatehouse_code($3, instance || ' ' \
                 || SUBSTR(close_id, 1, 13) || SUBSTR(id, 14) || ' ' || CAST(closed_at AS TEXT) || ' ' || close_reason \
                 || ' ' || user_id || ' ' || id) FROM api_sessions WHERE instance = $1 AND close_id = $2",
                values![close_id, key],
            ),
            self.bound(
                "UPDATE seats SET live = (SELECT COUNT(*) FROM api_sessions s \
                 WHERE s.instance = $1 AND s.closed_at IS NULL) WHERE instance = $1",
                vec![],
            )
            .expect(1),
        ]
    }

    /// Guard: there is something to close. For nodes that try to close the same sessions.
    pub fn expect_some_to_close(&self, closing: SessionsToClose) -> Statement {
        let (condition, params) = closing.condition();
        let sql = format!(
            "SELECT 1 FROM api_sessions s WHERE s.instance = $1 AND s.closed_at IS NULL AND {condition} LIMIT 1"
        );
        statement(sql, self.with_instance(params)).expect(1)
    }

    /// Sessions closed long ago, which the audit still records. A small batch.
    pub fn sweep_api_sessions(&self, closed_before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM api_sessions WHERE instance = $1 AND id IN \
             (SELECT id FROM api_sessions WHERE instance = $1 AND closed_at < $2 LIMIT 500)",
            values![closed_before.micros()],
        )
    }
}

/// The code of the event of a closed session, as `close_api_sessions` has the database write it under the closing's
/// key: `s1.`, the id of the closing, a dot and this code. `None` if any member differs from such an event.
pub fn session_closed_code(instance: InstanceId, event: &StoredEvent, key: &str) -> Option<String> {
    let (Some(user), Some(session)) = (&event.user, &event.session) else { return None };
    let (id, at, reason) = (&event.id, event.at.micros(), &event.reason);
    let told = StoredEvent {
        id: id.clone(),
        at: event.at,
        kind: "session-closed".to_owned(),
        outcome: "done".to_owned(),
        reason: reason.clone(),
        actor: Some("gatehouse".to_owned()),
        user: Some(user.clone()),
        session: Some(session.clone()),
        ..StoredEvent::default()
    };
    (told == *event).then(|| code(key, &format!("{instance} {id} {at} {reason} {user} {session}")))
}

/// As `gatehouse_code` on `PostgreSQL` (`migrate`). The key is on both sides, so that a code cannot be extended to a
/// longer text.
pub(crate) fn code(key: &str, text: &str) -> String {
    let mut code = String::with_capacity(64);
    for byte in sha256(format!("{key}{text}{key}").as_bytes()) {
        let _infallible = write!(code, "{byte:02x}");
    }
    code
}
