//! The change feed: what other nodes must drop from memory, and likewise a server after a change at the command line.

use model::{InstanceId, Timestamp};
use uuid::Uuid;

use crate::{Database, Fault, SqlRow, Statement, Store, values};

macro_rules! change_kinds {
    ($($(#[$doc:meta])* $variant:ident => $text:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ChangeKind { $($(#[$doc])* $variant),+ }

        impl ChangeKind {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

change_kinds! {
    Register => "register",
    User => "user",
    /// Data about a user changed, and nothing of theirs ended.
    Person => "person",
    /// The permissions of roles changed, for all their users.
    Roles => "roles",
    Keys => "keys",
    Settings => "settings",
    /// A new root secret, or the same one under another master key.
    RootSecret => "root-secret",
    AuthorizationEnded => "authorization-ended",
    SessionEnded => "session-ended",
    /// A user withdrew a consent. The subject is the user.
    ConsentWithdrawn => "consent-withdrawn",
    /// API sessions were closed. The subject is the `close_id` they were closed under.
    ApiSessionsClosed => "api-sessions-closed",
    ReferenceTokenRevoked => "reference-token-revoked",
    AccessTokenRevoked => "access-token-revoked",
    /// The database may have been rolled back: all memory is read again.
    Reread => "reread",
}

/// A change to data that memory may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    pub subject: Uuid,
}

/// A position in the change feed of an instance: the last row read. A database that was rolled back (a standby without
/// the last transactions, a restored backup) lacks this row, or has another one with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedMark {
    pub number: i64,
    pub at: Timestamp,
    id: String,
}

/// `number`, `at` and id of a row `c`. A row that an older version wrote is identified by its content.
macro_rules! mark {
    () => {
        "c.number, c.at, COALESCE(c.id, CAST(c.at AS TEXT) || ' ' || c.kind || ' ' || c.subject)"
    };
}

/// True if row `$number` of the feed exists with this id.
macro_rules! change_is_there {
    ($number:literal, $id:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM changes c WHERE c.instance = $1 AND c.number = ",
            $number,
            " AND COALESCE(c.id, CAST(c.at AS TEXT) || ' ' || c.kind || ' ' || c.subject) = ",
            $id,
            ")"
        )
    };
}
pub(super) use change_is_there;

impl FeedMark {
    /// Number and id, which together identify the row.
    pub(super) fn key(&self) -> (i64, &str) {
        (self.number, &self.id)
    }

    fn read(row: &SqlRow, column: usize) -> Result<Self, Fault> {
        Ok(Self { number: row.int(column)?, at: row.time(column + 1)?, id: row.text(column + 2)? })
    }
}

/// The end of a feed. Its number, and its id if this version wrote it, distinguish it from every other end of this
/// feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEnd {
    number: i64,
    id: Option<String>,
}

impl Database {
    /// The end of the feed of every instance.
    pub async fn feeds(&self) -> Result<Vec<(InstanceId, FeedEnd)>, Fault> {
        let rows = self.query("SELECT id, feed, feed_id FROM instances", vec![]).await?;
        let read = |row: &SqlRow| {
            Some((InstanceId(row.uuid(0).ok()?), FeedEnd { number: row.int(1).ok()?, id: row.opt_text(2).ok()? }))
        };
        // A row that cannot be read is skipped, which counts as a change.
        Ok(rows.iter().filter_map(read).collect())
    }
}

impl Store {
    /// Two statements, in this order: the number is drawn under the instance's row lock, so that a change is never
    /// committed after one with a higher number.
    pub(crate) fn announcement(&self, change: Change, now: Timestamp) -> [Statement; 2] {
        let id = Uuid::new_v4();
        [
            self.bound("UPDATE instances SET feed = feed + 1, feed_id = $2 WHERE id = $1", values![id]).expect(1),
            self.bound(
                "INSERT INTO changes (instance, number, kind, subject, at, id) \
                 SELECT id, feed, $2, $3, $4, feed_id FROM instances WHERE id = $1",
                values![change.kind.as_str(), change.subject, now.micros()],
            )
            .expect(1),
        ]
    }

    /// The newest row of the feed.
    pub async fn newest_change(&self) -> Result<Option<FeedMark>, Fault> {
        let sql = concat!("SELECT ", mark!(), " FROM changes c WHERE c.instance = $1 ORDER BY c.number DESC LIMIT 1");
        self.row(sql, vec![]).await?.map(|row| FeedMark::read(&row, 0)).transpose()
    }

    /// The next rows after one that was read, in order; `None` if that row does not exist. A change of a kind unknown
    /// to this version concerns memory that this version does not have.
    pub async fn changes_after(
        &self,
        last: &FeedMark,
        limit: u32,
    ) -> Result<Option<Vec<(FeedMark, Option<Change>)>>, Fault> {
        let sql = concat!(
            "SELECT ",
            mark!(),
            ", c.kind, c.subject FROM changes c WHERE c.instance = $1 AND c.number >= $2 ORDER BY c.number LIMIT $3"
        );
        let rows = self.rows(sql, values![last.number, i64::from(limit) + 1]).await?;
        let Some((first, news)) = rows.split_first() else { return Ok(None) };
        if FeedMark::read(first, 0)? != *last {
            return Ok(None);
        }
        let read = |row: &SqlRow| {
            // A subject that cannot be read identifies nothing that memory could hold.
            let change = ChangeKind::parse(&row.text(3)?).zip(row.uuid(4).ok());
            Ok((FeedMark::read(row, 0)?, change.map(|(kind, subject)| Change { kind, subject })))
        };
        news.iter().map(read).collect::<Result<_, Fault>>().map(Some)
    }

    /// Whether the row exists.
    pub async fn has_change(&self, mark: &FeedMark) -> Result<bool, Fault> {
        let sql = concat!("SELECT 1 FROM instances i WHERE i.id = $1 AND ", change_is_there!("$2", "$3"));
        let (number, id) = mark.key();
        Ok(self.row(sql, values![number, id]).await?.is_some())
    }

    /// Whether a missing row was swept: the feed went on, and holds no row that old. A node that was away for more than
    /// a day finds this. Older versions swept the newest row too.
    pub async fn is_change_swept(&self, mark: &FeedMark) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM instances i WHERE i.id = $1 AND i.feed >= $2 \
                   AND NOT EXISTS (SELECT 1 FROM changes c WHERE c.instance = $1 AND c.number <= $2)";
        Ok(self.row(sql, values![mark.number]).await?.is_some())
    }

    /// When a node last detected that this database may have been rolled back.
    pub async fn reread_at(&self) -> Result<Option<Timestamp>, Fault> {
        let sql = "SELECT MAX(at) FROM changes WHERE instance = $1 AND kind = $2";
        self.row(sql, values![ChangeKind::Reread.as_str()]).await?.map_or(Ok(None), |row| Ok(row.opt_time(0)?))
    }

    /// Changes that every node has seen long ago, but never the newest, by which nodes identify the feed. A small
    /// batch.
    pub fn sweep_changes(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM changes WHERE instance = $1 AND number IN \
             (SELECT number FROM changes WHERE instance = $1 AND at < $2 \
             AND number < (SELECT feed FROM instances WHERE id = $1) ORDER BY number LIMIT 500)",
            values![before.micros()],
        )
    }
}
