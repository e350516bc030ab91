//! Standard output and standard error of commands. The macros of the standard library panic when the reader has closed
//! the pipe.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};

/// The reader closed the output, as `head` does once it has its lines. No message can be shown.
#[derive(Debug)]
pub struct ClosedPipe;

/// The exit code that a shell reports for a program ended by SIGPIPE. Never success, because the command may not have
/// finished.
pub const UNREAD_EXIT_CODE: u8 = 128 + 13;

impl fmt::Display for ClosedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output was closed")
    }
}

impl std::error::Error for ClosedPipe {}

/// Converts the result of a write; a closed pipe becomes [`ClosedPipe`].
pub(crate) fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
        result => result.context("cannot write the output"),
    }
}

/// Prints a result unchanged.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Progress of a command on one line of the terminal; prints nothing if there is no terminal.
pub(crate) struct Progress(bool);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(io::stderr().is_terminal())
    }

    pub(crate) fn tell(&self, text: fmt::Arguments<'_>) {
        if self.0 {
            note(format_args!("\r{text} "));
        }
    }

    pub(crate) fn done(&self) {
        if self.0 {
            note(format_args!("\r{:40}\r", ""));
        }
    }
}

/// Prints a note for the user on standard error. If standard error is closed, the command continues.
pub fn note(text: fmt::Arguments<'_>) {
    let mut out = io::stderr().lock();
    let _unheard = out.write_fmt(text).and_then(|()| out.flush());
}
