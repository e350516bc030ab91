//! The one error of this floor: something of ours failed. Never an answer to a caller.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Whether trying again, unchanged, can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Locked, busy, gone, pool empty, queue full: may be tried again.
    Unavailable,
    /// Everything else: disk full, corrupt file, a bug of ours.
    Failed,
}

/// A failure of ours, with its chain of causes for the log.
///
/// Neither it nor its causes carry parameter values, so it may be logged whole.
/// After [`FaultKind::Unavailable`] from a commit it is unknown whether the batch took effect
/// (the connection may have died while the server was committing); guards make a second attempt safe.
#[derive(Clone, Debug)]
pub struct Fault {
    kind: FaultKind,
    // Shared, because one failed commit is answered to every batch that was in it.
    cause: Arc<dyn Error + Send + Sync>,
}

impl Fault {
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: FaultKind::Failed, cause: Arc::from(cause.into()) }
    }

    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: FaultKind::Unavailable, cause: Arc::from(cause.into()) }
    }

    pub fn kind(&self) -> FaultKind {
        self.kind
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
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
}
