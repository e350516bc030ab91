//! A server in its own process, so that its resource usage is measured separately from the load.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// Far longer than any start worth measuring.
const MAX_START: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(1);

/// CPU time of each thread in nanoseconds. The process total in `/proc/…/stat` has a resolution of only 10 ms.
pub(crate) struct Cpu(HashMap<OsString, u64>);

impl Cpu {
    /// A thread that ended in between was idle for seconds, because the runtime keeps its threads that long.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let used = self.0.iter().map(|(thread, now)| now.saturating_sub(before.0.get(thread).copied().unwrap_or(0)));
        Duration::from_nanos(used.sum())
    }
}

/// CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Result<Duration> {
    Ok(Duration::from_nanos(nanoseconds(&fs::read_to_string("/proc/thread-self/schedstat")?)?))
}

/// The first number of a `schedstat` file.
fn nanoseconds(schedstat: &str) -> Result<u64> {
    Ok(schedstat.split(' ').next().context("schedstat has three numbers")?.parse()?)
}

/// A server process, killed on drop.
pub(crate) struct ServerProcess {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl ServerProcess {
    /// Starts a server that prints its address on the first line.
    pub(crate) fn that_tells(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("the server's output is piped")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("{line:?} is no address"))?;
        Ok(Self { child, address })
    }

    /// Starts a server at a given address and waits until it is ready. Returns how long that took.
    pub(crate) fn that_was_told(mut command: Command, address: SocketAddr) -> Result<(Self, Duration)> {
        let begun = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut server = Self { child, address };
        while !is_ready(address) {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended before it was ready: {status}");
            }
            ensure!(begun.elapsed() < MAX_START, "the server does not get ready");
            std::thread::sleep(POLL);
        }
        Ok((server, begun.elapsed()))
    }

    /// CPU time of each thread so far.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let mut threads = HashMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let thread = thread?;
            // A thread may end while it is read.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            threads.insert(thread.file_name(), nanoseconds(&text)?);
        }
        Ok(Cpu(threads))
    }

    /// Resident memory in KiB: current and peak.
    pub(crate) fn resident(&self) -> Result<(u32, u32)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = |name: &str| -> Result<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_ascii_whitespace().next()).context("/proc/…/status has it")?;
            Ok(number.parse()?)
        };
        Ok((value("VmRSS:")?, value("VmHWM:")?))
    }

    /// Number of open files and connections.
    pub(crate) fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// Asks the server to stop, and waits until it has written everything and ended.
    pub(crate) fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(asked.success(), "the server cannot be told to stop");
        let status = self.child.wait()?;
        ensure!(status.success(), "the server did not stop well: {status}");
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Fails only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on which no process listens at the moment.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(MAX_START))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
