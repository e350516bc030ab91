//! The only error of this floor: a failure of the system. Never an answer to a caller.

pub(crate) mod postgres;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Whether an unchanged retry can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Temporary: full, locked, read-only, gone, too slow, queue full. May be retried.
    Unavailable,
    /// Everything else: a corrupt file, a bug.
    Failed,
}

/// The kind of problem, as far as an operator can recognise and fix it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No room on the database's disk.
    Full,
    /// The database can be read but not written.
    ReadOnly,
    /// Reading or writing the disk failed.
    Disk,
    /// The database refuses this user.
    Denied,
    /// Another program holds a lock on the whole database.
    Locked,
    /// No answer within the deadline.
    Silent,
    /// No connection to the server.
    Gone,
    /// The database's file was deleted, or another was put in its place.
    Replaced,
    /// One of our own queues is full.
    Crowded,
    /// Any other temporary problem.
    Passing,
    /// A bug, or damaged data.
    Defect,
}

impl Trouble {
    /// A short name, for a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "disk full",
            Self::ReadOnly => "read-only",
            Self::Disk => "disk error",
            Self::Denied => "access denied",
            Self::Locked => "locked",
            Self::Silent => "no answer",
            Self::Gone => "not reachable",
            Self::Replaced => "file replaced",
            Self::Crowded => "queue full",
            Self::Passing => "unavailable",
            Self::Defect => "internal error",
        }
    }

    /// The fix that an operator can apply.
    pub const fn mend(self) -> &'static str {
        match self {
            Self::Full => "make room on the database's disk",
            Self::ReadOnly => {
                "let the server write to the database: promote the standby, point `database` at the primary, or change the permissions of the file and its folder"
            }
            Self::Disk => "check the database's disk: errors, quota, mount options",
            Self::Denied => "check the user, password and rights of `database`",
            Self::Locked => "look for the program that holds a lock on the database: a backup, a second server",
            Self::Silent => "check that the database server runs, is reachable and not overloaded",
            Self::Gone => "check that the database server runs and is reachable",
            Self::Replaced => "put the file back; if another one is to be used, restart the server",
            Self::Crowded => "nothing if it passes; else a faster disk, or fewer requests",
            Self::Passing => "nothing if it passes",
            Self::Defect => "report it; if data may be damaged, run `gatehouse doctor`",
        }
    }

    /// Whether the database fails for all requests. The other troubles concern one request.
    pub(crate) const fn is_of_the_database(self) -> bool {
        !matches!(self, Self::Crowded | Self::Passing | Self::Defect)
    }
}

/// A failure of the system, with its chain of causes for the log.
///
/// Neither it nor its causes contain parameter values, so it may be logged whole. After [`FaultKind::Unavailable`] from
/// a commit it is unknown whether the batch took effect (the connection may have died while the server was committing);
/// guards make a second attempt safe.
#[derive(Clone, Debug)]
pub struct Fault {
    trouble: Trouble,
    // Shared, because one failed commit is the answer to every batch in it.
    cause: Arc<dyn Error + Send + Sync>,
}

impl Fault {
    pub fn because(trouble: Trouble, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { trouble, cause: Arc::from(cause.into()) }
    }

    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::because(Trouble::Defect, cause)
    }

    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::because(Trouble::Passing, cause)
    }

    pub fn kind(&self) -> FaultKind {
        match self.trouble {
            Trouble::Defect => FaultKind::Failed,
            _ => FaultKind::Unavailable,
        }
    }

    /// The trouble; if this fault only says that it is temporary, the trouble of its cause.
    pub fn trouble(&self) -> Trouble {
        match self.cause.downcast_ref::<Self>() {
            Some(cause) if self.trouble == Trouble::Passing => cause.trouble(),
            _ => self.trouble,
        }
    }

    /// The causes, outermost first.
    pub fn causes(&self) -> String {
        let mut causes = String::new();
        let mut source = self.source();
        while let Some(cause) = source {
            if !causes.is_empty() {
                causes.push_str(": ");
            }
            causes.push_str(&cause.to_string());
            source = cause.source();
        }
        causes
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind() {
            FaultKind::Unavailable => "unavailable for the moment",
            FaultKind::Failed => "internal failure",
        })
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_keeps_its_cause_out_of_its_text_and_in_its_chain() {
        let fault = Fault::failed("page 7 is torn");
        assert_eq!(fault.kind(), FaultKind::Failed);
        assert!(!fault.to_string().contains("torn"));
        let cause = fault.source().expect("a fault always has a cause");
        assert_eq!(cause.to_string(), "page 7 is torn");
        assert_eq!(Fault::unavailable("full").kind(), FaultKind::Unavailable);
    }

    #[test]
    fn a_fault_around_another_keeps_what_the_other_knows() {
        let full = Fault::because(Trouble::Full, "no space left");
        assert_eq!(full.kind(), FaultKind::Unavailable);
        let around = Fault::unavailable(full);
        assert_eq!(
            (around.trouble(), around.causes()),
            (Trouble::Full, "unavailable for the moment: no space left".to_owned())
        );
        assert_eq!(Fault::failed(Fault::unavailable("x")).trouble(), Trouble::Defect);
    }
}
