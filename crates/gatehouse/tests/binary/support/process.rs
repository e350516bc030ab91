//! The program under test, running.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::{PATIENCE, until};

/// The program with the test's own environment.
pub(crate) fn gatehouse() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A demo on a port that the operating system chooses.
pub(crate) fn demo() -> Command {
    let mut command = gatehouse();
    command.args(["demo", "--listen", "127.0.0.1:0"]);
    command
}

/// Output and exit status of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command, input: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that refuses before it reads closes the pipe.
    let _closed = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the program ends");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

impl Ran {
    /// The command succeeded; returns its output.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.done();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The command refused: nothing on standard output, and the reason on standard error.
    pub(crate) fn refused(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{self:?}");
        assert!(self.stderr.starts_with("gatehouse: "), "{self:?}");
        self.stderr
    }

    /// The command reported wrong usage.
    pub(crate) fn wrong_usage(self) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(2), ""), "{self:?}");
    }
}

/// The output of a stream so far.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<(Mutex<(String, bool)>, Condvar)>);

impl Heard {
    pub(crate) fn listen(stream: impl Read + Send + 'static) -> Self {
        let heard = Self::default();
        let told = heard.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stream);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                told.0.0.lock().expect("not poisoned").0.push_str(&line);
                told.0.1.notify_all();
                line.clear();
            }
            told.0.0.lock().expect("not poisoned").1 = true;
            told.0.1.notify_all();
        });
        heard
    }

    pub(crate) fn text(&self) -> String {
        self.0.0.lock().expect("not poisoned").0.clone()
    }

    /// Waits until `find` finds what it looks for.
    pub(crate) fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        self.find(find).unwrap_or_else(|said| panic!("it was never said:\n{said}"))
    }

    /// As [`Self::wait_for`]; the error is the output so far.
    fn find<T>(&self, find: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = self.0.0.lock().expect("not poisoned");
        loop {
            if let Some(found) = find(&said.0) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.1 || left.is_zero() {
                return Err(said.0.clone());
            }
            said = self.0.1.wait_timeout(said, left).expect("not poisoned").0;
        }
    }

    /// Everything, after the stream has ended.
    pub(crate) fn whole(&self) -> String {
        until("the stream ends", PATIENCE, || self.0.0.lock().expect("not poisoned").1);
        self.text()
    }
}

/// A server that listens; killed when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) port: u16,
    pub(crate) out: Heard,
    pub(crate) err: Heard,
}

impl ServerProcess {
    pub(crate) fn demo(command: &mut Command) -> Self {
        let mut server = Self::started(command);
        let welcome = server.out.find(|text| text.contains("Ctrl-C").then(|| text.to_owned()));
        let welcome = welcome.unwrap_or_else(|said| panic!("{said}{}", server.err.whole()));
        server.port = port_after(&welcome, "http://localhost:").expect("the welcome names the address");
        server
    }

    /// Starts a server that logs JSON at `info` or more.
    pub(crate) fn serve(command: &mut Command) -> Self {
        let mut server = Self::started(command);
        server.port = server.err.wait_for(|text| {
            let ready = text.lines().find(|line| line.contains(r#""message":"ready""#))?;
            port_after(ready, "127.0.0.1:")
        });
        server
    }

    /// A running process that may not listen yet.
    pub(crate) fn started(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let out = Heard::listen(child.stdout.take().expect("piped"));
        let err = Heard::listen(child.stderr.take().expect("piped"));
        Self { child, port: 0, out, err }
    }

    /// Sends a signal to the process id: `INT`, `TERM`, `KILL` …
    pub(crate) fn signal(&self, signal: &str) {
        self.by_id(&format!("kill -{signal}"));
    }

    /// From now on the process cannot write a file beyond `bytes`, as if the disk were full.
    pub(crate) fn limit_files(&self, bytes: &str) {
        self.by_id(&format!("prlimit --fsize={bytes}: --pid"));
    }

    fn by_id(&self, command: &str) {
        let done = Command::new("sh").args(["-c", &format!("{command} {}", self.child.id())]).status();
        assert!(done.expect("a shell").success(), "{command}");
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", PATIENCE, || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        });
        status.expect("waited for")
    }

    /// Sends SIGTERM; the server ends successfully.
    pub(crate) fn stop(mut self) -> (String, String) {
        self.signal("TERM");
        assert_eq!(self.ended().code(), Some(0), "{}", self.err.text());
        (self.out.whole(), self.err.whole())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn port_after(text: &str, before: &str) -> Option<u16> {
    let rest = &text[text.find(before)? + before.len()..];
    rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}
