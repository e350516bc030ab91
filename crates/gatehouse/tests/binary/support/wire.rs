//! A TCP proxy that can be cut without notice to either side.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Forwards bytes in both directions. While it is cut the bytes wait, as behind a router that drops packets, or before
/// a stopped server.
pub(crate) struct Wire {
    pub(crate) port: u16,
    valve: Arc<Valve>,
}

#[derive(Default)]
struct Valve {
    is_cut: Mutex<bool>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Valve {
    fn wait(&self) {
        let mut cut = self.is_cut.lock().expect("not poisoned");
        while *cut {
            cut = self.changed.wait(cut).expect("not poisoned");
        }
    }

    fn set(&self, cut: bool) {
        *self.is_cut.lock().expect("not poisoned") = cut;
        self.changed.notify_all();
    }
}

impl Wire {
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (server, valve) = (server.to_owned(), Arc::<Valve>::default());
        let known = Arc::clone(&valve);
        thread::spawn(move || {
            for near in listener.incoming() {
                if known.is_over.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(&server)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
                    let valve = Arc::clone(&known);
                    thread::spawn(move || pass(from, to, &valve));
                }
            }
        });
        Self { port, valve }
    }

    pub(crate) fn cut(&self) {
        self.valve.set(true);
    }

    pub(crate) fn join(&self) {
        self.valve.set(false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.valve.is_over.store(true, Ordering::Release);
        self.join();
        // Wakes the accepting thread, so that it sees the end.
        let _woken = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, valve: &Valve) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        valve.wait();
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _closed_already = to.shutdown(std::net::Shutdown::Both);
}
