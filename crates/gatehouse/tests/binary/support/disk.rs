//! A disk that fails on demand.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Errors of `pwrite(2)` by their Linux numbers.
pub(crate) const NO_SPACE: i32 = 28;
pub(crate) const READ_ONLY: i32 = 30;
pub(crate) const IO_ERROR: i32 = 5;

/// A library loaded between a process and its C library. Unlike a small file system it needs no permission to mount
/// one.
pub(crate) struct FailingDisk {
    folder: TempDir,
}

impl FailingDisk {
    pub(crate) fn new() -> Self {
        let disk = Self { folder: TempDir::new().expect("a folder") };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/binary/support/failing_disk.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(disk.library()).arg(source).arg("-ldl");
        assert!(cc.status().expect("a C compiler, which Rust's linker is too").success());
        disk
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("failing_disk.so")
    }

    fn switch(&self) -> PathBuf {
        self.folder.path().join("fault")
    }

    /// Puts the command's files on this disk.
    pub(crate) fn under(&self, command: &mut Command) {
        command.env("LD_PRELOAD", self.library()).env("DISK_FAULT", self.switch());
    }

    pub(crate) fn fail(&self, error: i32) {
        // Replaced atomically, because the process may read it at any time.
        let new = self.folder.path().join("new");
        fs::write(&new, error.to_string()).expect("written");
        fs::rename(new, self.switch()).expect("moved");
    }

    pub(crate) fn mend(&self) {
        fs::remove_file(self.switch()).expect("it failed");
    }
}
