//! The change feed: what other nodes, and a server beside a command line, must drop from their memory.

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
    /// What is known of a user changed, and nothing of theirs ended.
    Person => "person",
    /// What users may do, whoever they are.
    Roles => "roles",
    Keys => "keys",
    Settings => "settings",
    /// The root secret is another one, or the same under another master key.
    RootSecret => "root-secret",
    AuthorizationEnded => "authorization-ended",
    SessionEnded => "session-ended",
    /// A user withdrew a consent: the subject is the user.
    ConsentWithdrawn => "consent-withdrawn",
    /// API sessions were closed: the subject is what they were closed under.
    ApiSessionsClosed => "api-sessions-closed",
    ReferenceTokenRevoked => "reference-token-revoked",
    AccessTokenRevoked => "access-token-revoked",
    /// The database may have gone back: everything that is remembered of it is read anew.
    Reread => "reread",
}

/// Something memory may hold an older view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    pub subject: Uuid,
}

/// Where somebody stands in the change feed of an instance: the row that was read last. A database that went back (a
/// standby that lacked transactions, a restored backup) lacks it, or has another one under its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedMark {
    pub number: i64,
    pub at: Timestamp,
    id: String,
}

/// `number`, `at` and id of a row `c`. One that an older version wrote is known by its content.
macro_rules! mark {
    () => {
        "c.number, c.at, COALESCE(c.id, CAST(c.at AS TEXT) || ' ' || c.kind || ' ' || c.subject)"
    };
}

/// Holds where the row `$number` of the feed is there with its id.
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
    /// Number and id: by these two the row is known.
    pub(super) fn key(&self) -> (i64, &str) {
        (self.number, &self.id)
    }

    fn read(row: &SqlRow, column: usize) -> Result<Self, Fault> {
        Ok(Self { number: row.int(column)?, at: row.time(column + 1)?, id: row.text(column + 2)? })
    }
}

/// The end of a feed, told from every other end that it had: by its number, and where this version wrote it by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEnd {
    number: i64,
    id: Option<String>,
}

impl Database {
    /// The end of every instance's feed.
    pub async fn feeds(&self) -> Result<Vec<(InstanceId, FeedEnd)>, Fault> {
        let rows = self.query("SELECT id, feed, feed_id FROM instances", vec![]).await?;
        let read = |row: &SqlRow| {
            Some((InstanceId(row.uuid(0).ok()?), FeedEnd { number: row.int(1).ok()?, id: row.opt_text(2).ok()? }))
        };
        // A row that cannot be read is no end that anybody knows.
        Ok(rows.iter().filter_map(read).collect())
    }
}

impl Store {
    /// Two statements, in this order: the number is drawn under the instance's row lock, so that a change is never
    /// committed behind one with a higher number.
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

    /// The first rows behind one that was read, in order; `None` where that row is not there. A change of a kind that this
    /// version does not know concerns memory that this version does not have.
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
            // A subject that cannot be read names nothing that memory could hold.
            let change = ChangeKind::parse(&row.text(3)?).zip(row.uuid(4).ok());
            Ok((FeedMark::read(row, 0)?, change.map(|(kind, subject)| Change { kind, subject })))
        };
        news.iter().map(read).collect::<Result<_, Fault>>().map(Some)
    }

    /// Whether the row is there.
    pub async fn has_change(&self, mark: &FeedMark) -> Result<bool, Fault> {
        let sql = concat!("SELECT 1 FROM instances i WHERE i.id = $1 AND ", change_is_there!("$2", "$3"));
        let (number, id) = mark.key();
        Ok(self.row(sql, values![number, id]).await?.is_some())
    }

    /// Whether a row that is not there was swept, as older versions sweep the newest row too, and as who was away for more
    /// than a day finds it: the feed went on, and holds nothing that old.
    pub async fn is_change_swept(&self, mark: &FeedMark) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM instances i WHERE i.id = $1 AND i.feed >= $2 \
                   AND NOT EXISTS (SELECT 1 FROM changes c WHERE c.instance = $1 AND c.number <= $2)";
        Ok(self.row(sql, values![mark.number]).await?.is_some())
    }

    /// When somebody last saw that this database may have gone back.
    pub async fn reread_at(&self) -> Result<Option<Timestamp>, Fault> {
        let sql = "SELECT MAX(at) FROM changes WHERE instance = $1 AND kind = $2";
        self.row(sql, values![ChangeKind::Reread.as_str()]).await?.map_or(Ok(None), |row| Ok(row.opt_time(0)?))
    }

    /// Changes every node has long seen, but never the newest: it is what nodes know the feed by. A small batch.
    pub fn sweep_changes(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM changes WHERE instance = $1 AND number IN \
             (SELECT number FROM changes WHERE instance = $1 AND at < $2 \
             AND number < (SELECT feed FROM instances WHERE id = $1) ORDER BY number LIMIT 500)",
            values![before.micros()],
        )
    }
}
