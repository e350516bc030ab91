//! `kill -9` loses nothing that was acknowledged, and leaves nothing half-written.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use store::{Database, DatabaseUrl, statement, values};

use crate::common::{Place, postgres, sqlite};
use crate::{commit, note, with_notes};

/// Where the killed process works. It is this very test, which finds the variable set.
const URL: &str = "GATEHOUSE_TEST_KILLED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_to_a_kill_on_sqlite() {
    if let Ok(url) = env::var(URL) {
        return work_until_killed(&url).await;
    }
    let test = "killed::nothing_acknowledged_is_lost_to_a_kill_on_sqlite";
    kill_and_compare(&sqlite(), test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_to_a_kill_on_postgres() {
    if let Ok(url) = env::var(URL) {
        return work_until_killed(&url).await;
    }
    let test = "killed::nothing_acknowledged_is_lost_to_a_kill_on_postgres";
    if let Some(place) = postgres().await {
        kill_and_compare(&place, test).await;
    }
}

/// Runs `test` again in a process of its own, kills it at work, and holds what it said against what is kept.
async fn kill_and_compare(place: &Place, test: &str) {
    with_notes(place.open().await).await.close().await;

    let mut child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", test])
        .env(URL, &place.url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs again");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut acknowledged = BTreeSet::new();
    let mut hear = |line: Option<std::io::Result<String>>| {
        let line = line?.expect("text");
        if let Some(id) = line.strip_prefix("acknowledged ") {
            acknowledged.insert(id.parse::<i64>().expect("a number"));
        }
        Some(acknowledged.len())
    };
    while hear(lines.next()).expect("it works until killed") < 60 {}
    child.kill().expect("it was running");
    child.wait().expect("it is dead");
    // What it said before the kill and nobody had read yet.
    while hear(lines.next()).is_some() {}

    let database = place.open().await;
    let sql = "SELECT id FROM notes ORDER BY id";
    let rows = database.query(sql, values![]).await.expect("a read");
    let kept: BTreeSet<i64> = rows.iter().map(|row| row.int(0).expect("a number")).collect();
    for id in acknowledged {
        assert!(kept.contains(&id), "{id} was acknowledged");
    }
    for id in &kept {
        assert!(kept.contains(&-id), "half of batch {id} was kept");
    }
}

async fn work_until_killed(url: &str) {
    let url = DatabaseUrl::parse(url).expect("a URL");
    let database = Database::open(&url).await.expect("the database opens");
    let callers = (1..=8).map(|caller: i64| {
        let database = database.clone();
        tokio::spawn(async move {
            for turn in 0_i64.. {
                let id = turn * 8 + caller;
                let other = statement("INSERT INTO notes (id, state) VALUES ($1, 'new')", values![-id]);
                let _ = commit(&database, vec![note(id), other]).await.expect("no fault");
                let mut out = std::io::stdout().lock();
                writeln!(out, "acknowledged {id}").expect("somebody listens");
                out.flush().expect("somebody listens");
            }
        })
    });
    futures_util::future::join_all(callers).await;
}
