//! What only SQLite promises: a file, one writer, many callers in one commit.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use model::InstanceId;
use store::{Batch, CommitOutcome, FaultKind, Store, Trouble, statement, values};
use tokio::time::timeout;
use uuid::Uuid;

use crate::common::{Place, sqlite};
use crate::{Held, commit, kind, note, notes, with_notes};

/// All these batches in one queue before the writer can finish the first of them.
async fn together(
    place: &Place,
    database: &store::Database,
    batches: Vec<Batch>,
) -> Vec<Result<CommitOutcome, store::Fault>> {
    let held = Held::by_another(place).await;
    let mut all = Box::pin(join_all(batches.into_iter().map(|batch| database.commit(batch))));
    assert!((&mut all).now_or_never().is_none(), "the lock is held");
    held.release().await;
    all.await
}

/// By `df`, give or take what others write meanwhile.
#[tokio::test]
async fn the_room_on_the_files_disk_is_told() {
    const LEEWAY: u64 = 1024 * 1024 * 1024;
    let place = sqlite();
    let database = place.open().await;
    let reported = database.free_bytes().await.expect("a file is on a disk");
    let mut df = std::process::Command::new("df");
    df.args(["--block-size=1", "--output=avail"]).arg(place.url.trim_start_matches("sqlite:"));
    let output = String::from_utf8(df.output().expect("df runs").stdout).expect("text");
    let free: u64 = output.lines().nth(1).and_then(|line| line.trim().parse().ok()).expect("a number");
    assert!(reported.abs_diff(free) < LEEWAY, "{reported}, and not {free}");
}

#[tokio::test]
async fn callers_that_wait_share_a_commit() {
    let place = sqlite();
    let database = with_notes(place.open().await).await;
    let (commits_before, batches_before) = database.commits();
    let batches = (0..64).map(|id| Batch::new().with(note(id))).collect();
    for answer in together(&place, &database, batches).await {
        assert_eq!(answer.expect("no fault"), CommitOutcome::Committed);
    }
    let (commits, batches) = database.commits();
    assert_eq!(batches - batches_before, 64);
    // One for those the writer had taken when it met the lock, one for the rest.
    assert!(commits - commits_before <= 2, "{commits} commits");
    assert_eq!(notes(&database, "new").await.len(), 64);
}

#[tokio::test]
async fn groups_are_made_of_all_instances_in_turn() {
    let place = sqlite();
    let database = with_notes(place.open().await).await;
    let [storming, other] = [1, 2].map(|id| Store::new(database.clone(), InstanceId(Uuid::from_u128(id))));
    let held = Held::by_another(&place).await;
    let mut storm = Box::pin(join_all((0..1000).map(|id| storming.commit(vec![note(id)].into()))));
    assert!((&mut storm).now_or_never().is_none(), "the lock is held");
    let counted = "INSERT INTO notes (id, state) SELECT -$1, 'counted ' || COUNT(*) FROM notes";
    let few = (1..=3).map(|id| other.commit(vec![statement(counted, values![id])].into()));
    let mut few = Box::pin(join_all(few));
    assert!((&mut few).now_or_never().is_none(), "the lock is held");
    held.release().await;
    for answer in storm.await.into_iter().chain(few.await) {
        assert_eq!(answer.expect("no fault"), CommitOutcome::Committed);
    }
    // One was first: with the writer when the others came, or before them in the queue.
    let sql = "SELECT state FROM notes WHERE id < 0 ORDER BY id DESC";
    let rows = database.query(sql, values![]).await.expect("a read");
    let before: Vec<String> = rows.iter().map(|row| row.text(0).expect("a text")).collect();
    assert_eq!(before, ["counted 1", "counted 3", "counted 5"]);
}

#[tokio::test]
async fn a_full_disk_fails_the_whole_group_and_nothing_is_half_written() {
    let place = sqlite();
    let database = with_notes(place.open().await).await;
    let limit = |pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        commit(&database, vec![statement(sql, values![])])
    };
    let _ = limit(40).await.expect("a small disk");
    let big = || statement("INSERT INTO notes (id, state, body) VALUES (2, 'new', $1)", values![vec![7; 400_000]]);
    let batches = vec![Batch::from(vec![note(1)]), Batch::from(vec![note(3), big()])];
    for answer in together(&place, &database, batches).await {
        // The first may have been taken alone, before the second was there.
        if !matches!(answer, Ok(CommitOutcome::Committed)) {
            assert_eq!(kind(answer), FaultKind::Unavailable);
        }
    }
    let kept = notes(&database, "new").await;
    assert!(kept.is_empty() || kept == [1], "{kept:?}");
    assert_eq!(kind(commit(&database, vec![note(3), big()]).await), FaultKind::Unavailable);
    assert_eq!(database.writes().ailment().map(|ailment| ailment.trouble), Some(Trouble::Full));
    assert_eq!(notes(&database, "new").await, kept);

    let _ = commit(&database, vec![note(4)]).await.expect("what fits still goes in");
    let ends = async {
        while database.writes().ailment().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), ends).await.expect("a problem ends where nothing fails any more");
    let _ = limit(1_000_000).await.expect("a bigger disk");
    let _ = commit(&database, vec![note(3), big()]).await.expect("room");
    assert_eq!(notes(&database, "new").await[kept.len()..], [2, 3, 4]);
}

#[tokio::test]
async fn nothing_is_answered_yes_that_is_written_into_a_deleted_file() {
    let place = sqlite();
    let database = with_notes(place.open().await).await;
    let path = place.path().expect("a file");
    let aside = path.with_extension("aside");
    let trouble = async |id| commit(&database, vec![note(id)]).await.expect_err("a fault").trouble();
    std::fs::rename(path, &aside).expect("moved");
    assert_eq!(trouble(1).await, Trouble::Replaced);
    std::fs::copy(&aside, path).expect("another file of the same content");
    assert_eq!(trouble(2).await, Trouble::Replaced);
    let asked = database.query("SELECT id FROM notes", values![]).await;
    assert_eq!(asked.expect_err("the newest is elsewhere").trouble(), Trouble::Replaced);
    assert_eq!(database.changed_elsewhere().await.expect_err("nobody knows").trouble(), Trouble::Replaced);
    std::fs::rename(&aside, path).expect("moved back");
    let _ = commit(&database, vec![note(3)]).await.expect("it heals");
    assert_eq!(notes(&database, "new").await, [3], "what was refused was not done");
}

#[tokio::test]
async fn a_change_by_another_process_is_noticed_once_and_ours_never() {
    let place = sqlite();
    let database = with_notes(place.open().await).await;
    let changed = async || database.changed_elsewhere().await.expect("no fault");
    assert!(!changed().await);
    let _ = commit(&database, vec![note(1)]).await.expect("a note");
    assert!(!changed().await, "our own commit");
    let other = rusqlite::Connection::open(place.path().expect("a file")).expect("another connection");
    other.execute("DELETE FROM notes", []).expect("a change");
    let _ = commit(&database, vec![note(2)]).await.expect("a note");
    assert!(changed().await, "even with a commit of ours since");
    assert!(!changed().await);
}

#[tokio::test]
async fn the_file_and_its_companions_are_for_this_user_alone() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let parent = directory.path().join("var/house");
    let path = parent.join("house.db");
    let url = format!("sqlite:{}", path.display());
    let url = store::DatabaseUrl::parse(&url).expect("a URL");
    let database = store::Database::open(&url).await.expect("the directory is made");
    let database = with_notes(database).await;
    let mode = |path: &std::path::Path| {
        let metadata = path.metadata().expect("it exists");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&parent), 0o700);
    for companion in ["house.db", "house.db-wal", "house.db-shm", "house.db.lock"] {
        assert_eq!(mode(&parent.join(companion)), 0o600, "{companion}");
    }
    database.close().await;
    assert!(!parent.join("house.db-wal").exists(), "closing leaves one file");
}

#[tokio::test]
async fn what_is_no_database_is_a_fault() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("letter.txt");
    std::fs::write(&path, "Dear database, ".repeat(1000)).expect("a file");
    let url = format!("sqlite:{}", path.display());
    let url = store::DatabaseUrl::parse(&url).expect("a URL");
    let Err(fault) = store::Database::open(&url).await else {
        panic!("a letter was opened as a database");
    };
    assert_eq!(fault.kind(), FaultKind::Failed);
}
