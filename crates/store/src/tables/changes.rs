//! The change feed: what other nodes, and a server beside a command line, must drop from their memory.

use model::Timestamp;
use uuid::Uuid;

use crate::{Fault, Statement, Store, values};

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
}

/// Something memory may hold an older view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    pub subject: Uuid,
}

impl Store {
    /// Two statements, in this order: the number is drawn under the instance's row lock, so that a change is never
    /// committed behind one with a higher number.
    pub(crate) fn announcement(&self, change: Change, now: Timestamp) -> [Statement; 2] {
        [
            self.bound("UPDATE instances SET feed = feed + 1 WHERE id = $1", vec![]).expect(1),
            self.bound(
                "INSERT INTO changes (instance, number, kind, subject, at) \
                 SELECT id, feed, $2, $3, $4 FROM instances WHERE id = $1",
                values![change.kind.as_str(), change.subject, now.micros()],
            )
            .expect(1),
        ]
    }

    pub async fn newest_change(&self) -> Result<i64, Fault> {
        let row = self.row("SELECT feed FROM instances WHERE id = $1", vec![]).await?;
        Ok(row.map_or(Ok(0), |row| row.int(0))?)
    }

    /// Changes after a number, in order, with theirs.
    pub async fn changes_after(&self, number: i64) -> Result<Vec<(i64, Change)>, Fault> {
        let sql = "SELECT number, kind, subject FROM changes WHERE instance = $1 AND number > $2 ORDER BY number";
        let mut changes = Vec::new();
        for row in self.rows(sql, values![number]).await? {
            let number = row.int(0)?;
            // A kind this version does not know concerns memory that this version does not have.
            if let Some(kind) = ChangeKind::parse(&row.text(1)?) {
                // A subject that cannot be read names nothing that memory could hold.
                changes.extend(row.uuid(2).ok().map(|subject| (number, Change { kind, subject })));
            }
        }
        Ok(changes)
    }

    /// Changes every node has long seen. A small batch.
    pub fn sweep_changes(&self, before: Timestamp) -> Statement {
        self.bound(
            "DELETE FROM changes WHERE instance = $1 AND number IN \
             (SELECT number FROM changes WHERE instance = $1 AND at < $2 ORDER BY number LIMIT 500)",
            values![before.micros()],
        )
    }
}
