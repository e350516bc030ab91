//! Checks that the open file is still the one at its path: writes to a deleted file are lost with it.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use crate::{Fault, Trouble};

pub(super) struct OpenFile {
    path: PathBuf,
    known: (u64, u64),
    is_replaced: AtomicBool,
}

impl OpenFile {
    /// The file at this path, which is about to be opened.
    pub(super) fn at(path: &Path) -> Result<Self, Fault> {
        let known = fs::metadata(path).map(|file| identity(&file)).map_err(Fault::failed)?;
        Ok(Self { path: path.to_owned(), known, is_replaced: AtomicBool::new(false) })
    }

    /// Compares with the file at the path.
    pub(super) fn look(&self) -> Result<(), Fault> {
        let found = match fs::metadata(&self.path) {
            Ok(file) => Some(identity(&file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::because(Trouble::Disk, error)),
        };
        self.is_replaced.store(found != Some(self.known), Ordering::Release);
        self.is_here()
    }

    /// The result of the last comparison.
    pub(super) fn is_here(&self) -> Result<(), Fault> {
        if self.is_replaced.load(Ordering::Acquire) {
            return Err(Fault::because(Trouble::Replaced, "the database's file was deleted or replaced"));
        }
        Ok(())
    }
}

/// Device and inode.
#[cfg(unix)]
fn identity(file: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

/// For systems where an open file cannot be deleted.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}
