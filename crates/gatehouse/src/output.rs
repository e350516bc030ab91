//! Standard output and standard error of commands. The macros of the standard library panic when their reader is gone.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};

/// The reader of the output went away, as `head` does once it has its lines. There is nobody to tell.
#[derive(Debug)]
pub struct ClosedPipe;

/// What a shell reports of a program that SIGPIPE ended: never success, as the command may not have come to its end.
pub const UNREAD_EXIT_CODE: u8 = 128 + 13;

impl fmt::Display for ClosedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output was closed")
    }
}

impl std::error::Error for ClosedPipe {}

/// What was written to an output; a closed pipe is [`ClosedPipe`].
pub(crate) fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
        result => result.context("cannot write the output"),
    }
}

/// Prints a result, as it is.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// How far a command has come, on one line of the terminal; nothing where there is none.
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

/// Tells the person at the terminal something beside the result. Where nobody listens, the command goes on.
pub fn note(text: fmt::Arguments<'_>) {
    let mut out = io::stderr().lock();
    let _unheard = out.write_fmt(text).and_then(|()| out.flush());
}
