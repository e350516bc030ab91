//! `kill -9` at any moment loses nothing that was acknowledged.

use std::sync::mpsc;

use tempfile::TempDir;

use crate::support::browser::{App, Browser};
use crate::support::http::Site;
use crate::support::installation::audit;
use crate::support::process::{ServerProcess, demo};

fn start(folder: &TempDir) -> (ServerProcess, Site) {
    let server = ServerProcess::demo(demo().arg("--data").arg(folder.path()));
    let site = Site { port: server.port, host: "localhost" };
    (server, site)
}

/// Acknowledged state at the moment when the server died.
struct Acknowledged {
    code: String,
    refresh_token: String,
    refreshes: usize,
}

/// Signs in, redeems and refreshes without a pause, until a kill interrupts a request.
fn cut_off(server: &mut ServerProcess, site: Site, browser: &mut Browser, enough: usize) -> Acknowledged {
    let app = App::portal();
    let code = app.code(browser, "alice", "ecila-Demo1");
    let mut refresh_token = app.redeem(site, &code).member("refresh_token");
    let (tell, told) = mpsc::channel();
    let client = std::thread::spawn(move || {
        let mut refreshes = 0;
        while let Ok(answer) = app.try_refresh(site, &refresh_token) {
            assert_eq!(answer.status, 200, "{answer:?}");
            refresh_token = answer.member("refresh_token");
            refreshes += 1;
            let _enough = tell.send(refreshes);
        }
        (refresh_token, refreshes)
    });
    while told.recv().expect("the client goes on until the server dies") < enough {}
    server.signal("KILL");
    assert_eq!(server.ended().code(), None, "killed");
    let (refresh_token, refreshes) = client.join().expect("no answer but the last is cut");
    Acknowledged { code, refresh_token, refreshes }
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let folder = TempDir::new().expect("a folder");
    let app = App::portal();
    let (mut refreshed, mut spent) = (0, Vec::new());
    let (mut server, mut site) = start(&folder);
    let rounds = 6;
    for round in 1..=rounds {
        let mut browser = Browser::at(site);
        let acknowledged = cut_off(&mut server, site, &mut browser, round * 3);
        refreshed += acknowledged.refreshes;
        (server, site) = start(&folder);
        assert!(browser.moved_to(site).is_signed_in(), "round {round}");
        let answer = app.refresh(site, &acknowledged.refresh_token);
        assert_eq!(answer.status, 200, "round {round}, the newest acknowledged token: {answer:?}");
        spent.push(acknowledged.code);
    }
    for code in &spent {
        let answer = app.redeem(site, code);
        assert_eq!((answer.status, &*answer.member("error")), (400, "invalid_grant"), "a spent code stays spent");
    }
    server.stop();
    let trail = audit(&folder.path().join("demo/gatehouse.db"));
    let count = |kind: &str| trail.iter().filter(|(known, _)| known == kind).count();
    assert_eq!((count("sign-in"), count("code-issued"), count("code-redeemed")), (rounds, rounds, rounds));
    assert!(count("token-refreshed") >= refreshed, "{} of {refreshed}", count("token-refreshed"));
    assert_eq!(count("code-reused"), rounds);
}
