//! The same on both databases.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};
use store::{Batch, CommitOutcome, DatabaseUrl, FaultKind, SqlValue, Store, statement, values};
use uuid::Uuid;

use crate::common::Place;
use crate::{Held, commit, kind, note, notes, with_notes};

crate::on_both! {
    a_batch_takes_effect_whole
    a_batch_with_a_breach_of_a_constraint_leaves_nothing
    a_batch_with_a_missing_parameter_leaves_nothing
    a_guard_that_fails_says_which_it_was_and_undoes_its_batch
    a_guard_may_count_what_a_select_finds
    a_guard_counts_an_insert_that_gave_way_as_nothing
    a_guard_stands_alone_too
    of_racing_guarded_updates_exactly_one_wins
    a_batch_that_fails_leaves_its_neighbours_alone
    references_are_checked
    an_empty_batch_is_committed_without_asking
    lower_knows_letters_beyond_ascii
    nothing_fits_every_type
    values_come_back_as_they_went
    a_text_with_a_nul_is_refused
    a_text_holds_one_statement
    parameters_go_where_their_numbers_say
    a_big_value_comes_back_whole
    a_query_cannot_write
    a_broken_statement_is_a_fault_that_says_no_values
    reopening_keeps_what_was_committed
    a_caller_that_goes_away_does_not_undo_its_batch
    more_than_the_queue_holds_is_refused_at_once
    an_instance_that_fills_the_queue_keeps_no_other_out
    an_instance_that_asks_much_lets_others_ask
    a_database_held_by_another_is_unavailable_until_let_go
    a_closed_database_is_unavailable
    several_nodes_may_migrate_at_once
    a_store_reads_and_writes_through_its_database
    commits_are_counted
}

async fn a_batch_takes_effect_whole(place: Place) {
    let database = with_notes(place.open().await).await;
    let batch = Batch::new().with(note(1)).with(note(2)).with(note(3));
    assert_eq!(database.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(notes(&database, "new").await, [1, 2, 3]);
}

async fn a_batch_with_a_breach_of_a_constraint_leaves_nothing(place: Place) {
    let database = with_notes(place.open().await).await;
    let answer = commit(&database, vec![note(1), note(2), note(1), note(3)]).await;
    assert_eq!(kind(answer), FaultKind::Failed);
    assert!(notes(&database, "new").await.is_empty());
}

async fn a_batch_with_a_missing_parameter_leaves_nothing(place: Place) {
    let database = with_notes(place.open().await).await;
    let short = statement("INSERT INTO notes (id, state) VALUES ($1, $2)", values![2]);
    let answer = commit(&database, vec![note(1), short, note(3)]).await;
    assert_eq!(kind(answer), FaultKind::Failed);
    assert!(notes(&database, "new").await.is_empty());
    let _ = commit(&database, vec![note(4)]).await.expect("the next batch is fine");
    assert_eq!(notes(&database, "new").await, [4]);
}

async fn a_guard_that_fails_says_which_it_was_and_undoes_its_batch(place: Place) {
    let database = with_notes(place.migrated().await).await;
    let _ = commit(&database, vec![note(1)]).await.expect("a note");
    let moved = |from: &str| {
        let sql = "UPDATE notes SET state = 'done' WHERE id = 1 AND state = $1";
        statement(sql, values![from]).expect(1)
    };
    let answer = commit(&database, vec![note(2), moved("new"), moved("new"), note(3)]).await;
    assert_eq!(answer.expect("no fault"), CommitOutcome::GuardFailed { statement: 2 });
    assert_eq!(notes(&database, "new").await, [1]);
    assert!(notes(&database, "done").await.is_empty());
    let answer = commit(&database, vec![note(2), moved("new"), note(3)]).await;
    assert_eq!(answer.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(notes(&database, "done").await, [1]);
}

async fn a_guard_may_count_what_a_select_finds(place: Place) {
    let database = with_notes(place.migrated().await).await;
    let none = statement("SELECT id FROM notes WHERE state = $1", values!["new"]).expect(0);
    let batch = vec![none, note(1)];
    let first = commit(&database, batch.clone()).await.expect("no fault");
    assert_eq!(first, CommitOutcome::Committed);
    let second = commit(&database, batch).await.expect("no fault");
    assert_eq!(second, CommitOutcome::GuardFailed { statement: 0 });
}

async fn a_guard_counts_an_insert_that_gave_way_as_nothing(place: Place) {
    let database = with_notes(place.migrated().await).await;
    let insert =
        statement("INSERT INTO notes (id, state) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING", values![1, "new"]);
    let insert = vec![note(9), insert.expect(1)];
    assert_eq!(commit(&database, insert.clone()).await.expect("no fault"), CommitOutcome::Committed);
    let again = vec![note(10), insert[1].clone()];
    assert_eq!(commit(&database, again).await.expect("no fault"), CommitOutcome::GuardFailed { statement: 1 });
    assert_eq!(notes(&database, "new").await, [1, 9]);
}

async fn a_guard_stands_alone_too(place: Place) {
    let database = with_notes(place.migrated().await).await;
    let _ = commit(&database, vec![note(1), note(2)]).await.expect("notes");
    let all = || statement("DELETE FROM notes WHERE state = $1", values!["new"]);
    let answer = commit(&database, vec![all().expect(1)]).await;
    assert_eq!(answer.expect("no fault"), CommitOutcome::GuardFailed { statement: 0 });
    assert_eq!(notes(&database, "new").await, [1, 2]);
    assert_eq!(commit(&database, vec![all().expect(2)]).await.expect("no fault"), CommitOutcome::Committed);
    assert!(notes(&database, "new").await.is_empty());
}

async fn of_racing_guarded_updates_exactly_one_wins(place: Place) {
    let database = with_notes(place.migrated().await).await;
    let _ = commit(&database, vec![note(1)]).await.expect("a note");
    let racers = (0..24).map(|racer| {
        let database = database.clone();
        tokio::spawn(async move {
            let taken = "UPDATE notes SET state = 'taken' WHERE id = 1 AND state = 'new'";
            let mine = statement("INSERT INTO notes (id, state) VALUES ($1, 'mine')", values![100 + racer]);
            commit(&database, vec![mine, statement(taken, values![]).expect(1)]).await
        })
    });
    let mut winners = Vec::new();
    for (racer, answer) in (0..).zip(join_all(racers).await) {
        match answer.expect("no panic").expect("no fault") {
            CommitOutcome::Committed => winners.push(100 + racer),
            CommitOutcome::GuardFailed { statement } => assert_eq!(statement, 1),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(notes(&database, "mine").await, winners);
}

async fn a_batch_that_fails_leaves_its_neighbours_alone(place: Place) {
    let database = with_notes(place.migrated().await).await;
    let _ = commit(&database, vec![note(0)]).await.expect("a note");
    let guard = || statement("DELETE FROM notes WHERE id = $1", values![77]).expect(1);
    let batches = (1..=30).map(|id| match id % 3 {
        0 => vec![note(id), note(0)],
        1 => vec![note(id), guard()],
        _ => vec![note(id)],
    });
    let answers = join_all(batches.map(|batch| commit(&database, batch))).await;
    for (id, answer) in (1..).zip(answers) {
        match id % 3 {
            0 => assert_eq!(kind(answer), FaultKind::Failed),
            1 => assert_eq!(answer.expect("no fault"), CommitOutcome::GuardFailed { statement: 1 }),
            _ => assert_eq!(answer.expect("no fault"), CommitOutcome::Committed),
        }
    }
    let kept: Vec<i64> = (0..=30).filter(|id| *id == 0 || id % 3 == 2).collect();
    assert_eq!(notes(&database, "new").await, kept);
}

async fn references_are_checked(place: Place) {
    let database = with_notes(place.open().await).await;
    let table = "CREATE TABLE replies (note BIGINT NOT NULL REFERENCES notes (id))";
    let _ = commit(&database, vec![statement(table, values![])]).await.expect("a table");
    let reply = || statement("INSERT INTO replies (note) VALUES ($1)", values![1]);
    assert_eq!(kind(commit(&database, vec![reply()]).await), FaultKind::Failed);
    let _ = commit(&database, vec![note(1), reply()]).await.expect("now there is a note");
}

async fn an_empty_batch_is_committed_without_asking(place: Place) {
    let database = place.open().await;
    let answer = database.commit(Batch::new()).now_or_never();
    assert_eq!(answer.expect("at once").expect("no fault"), CommitOutcome::Committed);
    assert_eq!(database.commits(), (0, 0));
}

async fn lower_knows_letters_beyond_ascii(place: Place) {
    let database = place.open().await;
    let sql = "SELECT LOWER(CAST($1 AS TEXT)), lower(CAST($2 AS TEXT))";
    let rows = database.query(sql, values!["ÄRGER Σ Ж Łódź", None::<String>]).await.expect("a row");
    assert_eq!(rows[0].text(0).expect("text"), "ärger σ ж łódź");
    assert_eq!(rows[0].opt_text(1).expect("text or null"), None);
}

async fn nothing_fits_every_type(place: Place) {
    let database = place.open().await;
    let table = "CREATE TABLE blanks (a BIGINT, b TEXT, c BYTEA)";
    let _ = commit(&database, vec![statement(table, values![])]).await.expect("a table");
    let row = values![None::<i64>, None::<String>, None::<Vec<u8>>];
    let insert = "INSERT INTO blanks (a, b, c) VALUES ($1, $2, $3)";
    let _ = commit(&database, vec![statement(insert, row)]).await.expect("nulls");
    let sql = "SELECT a, b, c FROM blanks WHERE a IS NULL AND b IS NULL AND c IS NULL";
    let rows = database.query(sql, values![]).await.expect("a row");
    assert_eq!(rows[0].opt_int(0).expect("null"), None);
    assert_eq!(rows[0].opt_text(1).expect("null"), None);
    assert_eq!(rows[0].opt_bytes(2).expect("null"), None);
}

async fn values_come_back_as_they_went(place: Place) {
    let database = place.open().await;
    let table = "CREATE TABLE kinds (a BIGINT, b BIGINT, c TEXT, d TEXT, e BYTEA, f BYTEA, g BIGINT)";
    let _ = commit(&database, vec![statement(table, values![])]).await.expect("a table");
    let id = Uuid::from_u128(7);
    let row = values![i64::MIN, i64::MAX, "", id, Vec::new(), [0; 32], true];
    let insert = "INSERT INTO kinds (a, b, c, d, e, f, g) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let _ = commit(&database, vec![statement(insert, row)]).await.expect("a row");
    let sql = "SELECT a, b, c, d, e, f, g, COUNT(*) OVER (), EXISTS (SELECT 1 FROM kinds), 1 FROM kinds WHERE d = $1";
    let rows = database.query(sql, values![id]).await.expect("a row");
    let row = &rows[0];
    assert_eq!(row.int(0).expect("an integer"), i64::MIN);
    assert_eq!(row.int(1).expect("an integer"), i64::MAX);
    assert_eq!(row.text(2).expect("text"), "");
    assert_eq!(row.text(3).expect("text"), "00000000-0000-0000-0000-000000000007");
    assert_eq!(row.bytes(4).expect("bytes"), b"");
    assert_eq!(row.bytes(5).expect("bytes"), [0; 32]);
    assert!(row.flag(6).expect("a flag"));
    assert_eq!(row.int(7).expect("a count"), 1);
    assert!(row.flag(8).expect("a truth"));
    assert_eq!(row.int(9).expect("a literal"), 1);
}

async fn a_text_with_a_nul_is_refused(place: Place) {
    let database = with_notes(place.open().await).await;
    let insert = statement("INSERT INTO notes (id, state) VALUES ($1, $2)", values![1, "a\0b"]);
    assert_eq!(kind(commit(&database, vec![note(2), insert]).await), FaultKind::Failed);
    let sql = "SELECT id FROM notes WHERE state = $1 OR state = 'new'";
    assert_eq!(kind(database.query(sql, values!["a\0b"]).await), FaultKind::Failed);
    assert!(notes(&database, "new").await.is_empty());
}

async fn a_text_holds_one_statement(place: Place) {
    let database = with_notes(place.open().await).await;
    let two = "INSERT INTO notes (id, state) VALUES (1, 'new'); DELETE FROM notes";
    assert_eq!(kind(commit(&database, vec![statement(two, values![])]).await), FaultKind::Failed);
    assert_eq!(kind(database.query("SELECT 1; SELECT 2", values![]).await), FaultKind::Failed);
}

async fn parameters_go_where_their_numbers_say(place: Place) {
    let database = with_notes(place.open().await).await;
    let insert = "INSERT INTO notes (state, id) VALUES ($2 || '-$1-' || $2, $1)";
    let _ = commit(&database, vec![statement(insert, values![5, "x"])]).await.expect("a note");
    assert_eq!(notes(&database, "x-$1-x").await, [5]);
}

async fn a_big_value_comes_back_whole(place: Place) {
    let database = with_notes(place.open().await).await;
    let big: Vec<u8> = (0..6_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let insert = "INSERT INTO notes (id, state, body) VALUES (1, 'big', $1)";
    let _ = commit(&database, vec![statement(insert, values![big.clone()])]).await.expect("a note");
    let rows = database.query("SELECT body FROM notes", values![]).await.expect("a row");
    assert!(rows[0].bytes(0).expect("bytes") == big);
}

async fn a_query_cannot_write(place: Place) {
    let database = with_notes(place.open().await).await;
    for sql in [
        "INSERT INTO notes (id, state) VALUES (1, 'new')",
        "INSERT INTO notes (id, state) VALUES (1, 'new') RETURNING id",
        "DROP TABLE notes",
    ] {
        assert_eq!(kind(database.query(sql, values![]).await), FaultKind::Failed, "{sql}");
    }
    assert!(notes(&database, "new").await.is_empty());
}

async fn a_broken_statement_is_a_fault_that_says_no_values(place: Place) {
    let database = with_notes(place.open().await).await;
    let unique = "CREATE UNIQUE INDEX one_each ON notes (state)";
    let _ = commit(&database, vec![statement(unique, values![])]).await.expect("an index");
    let secret = |id: i64| statement("INSERT INTO notes (id, state) VALUES ($1, $2)", values![id, "hunter2"]);
    let twice = commit(&database, vec![secret(1), secret(2)]).await.expect_err("one each");
    let cast = "SELECT CAST($1 AS BIGINT) FROM nowhere";
    let missing = database.query(cast, vec![SqlValue::from("hunter2")]).await.expect_err("no table");
    for fault in [twice, missing] {
        assert_eq!(fault.kind(), FaultKind::Failed);
        let mut said = format!("{fault} {fault:?}");
        let mut cause = std::error::Error::source(&fault);
        assert!(cause.is_some(), "the log is told why");
        while let Some(error) = cause {
            write!(said, " {error} {error:?}").expect("a string grows");
            cause = error.source();
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

async fn reopening_keeps_what_was_committed(place: Place) {
    let database = with_notes(place.open().await).await;
    let _ = commit(&database, vec![note(1)]).await.expect("a note");
    database.close().await;
    assert_eq!(notes(&place.open().await, "new").await, [1]);
}

async fn a_caller_that_goes_away_does_not_undo_its_batch(place: Place) {
    let database = with_notes(place.open().await).await;
    for id in 0..20 {
        // Polled once, which hands the batch over; then dropped.
        let _ = commit(&database, vec![note(id), note(100 + id)]).now_or_never();
    }
    database.close().await;
    assert_eq!(notes(&place.open().await, "new").await.len(), 40);
}

async fn more_than_the_queue_holds_is_refused_at_once(place: Place) {
    let database = with_notes(place.open().await).await;
    let held = Held::by_another(&place).await;
    let mut waiting: Vec<_> = (0..1500).map(|id| Box::pin(commit(&database, vec![note(id)]))).collect();
    let mut refused = 0;
    waiting.retain_mut(|waiting| match waiting.as_mut().now_or_never() {
        Some(answer) => {
            assert_eq!(kind(answer), FaultKind::Unavailable);
            refused += 1;
            false
        }
        None => true,
    });
    assert!(refused > 0);
    held.release().await;
    join_all(waiting).await;
    let room = commit(&database, vec![note(-1)]).await;
    assert_eq!(room.expect("there is room again"), CommitOutcome::Committed);
}

/// As two instances see the database.
fn stores(database: &store::Database) -> [Store; 2] {
    [1, 2].map(|id| Store::new(database.clone(), model::InstanceId(Uuid::from_u128(id))))
}

/// Starts as many as are taken.
fn fill<F: Future<Output = Result<T, store::Fault>>, T: std::fmt::Debug>(
    start: impl Fn(i64) -> F,
) -> Vec<std::pin::Pin<Box<F>>> {
    let mut waiting = Vec::new();
    for id in 0..5000 {
        let mut one = Box::pin(start(id));
        match one.as_mut().now_or_never() {
            Some(Err(fault)) => {
                assert_eq!(fault.kind(), FaultKind::Unavailable);
                return waiting;
            }
            Some(Ok(answer)) => panic!("answered at once: {answer:?}"),
            None => waiting.push(one),
        }
    }
    panic!("the queue has no end");
}

async fn an_instance_that_fills_the_queue_keeps_no_other_out(place: Place) {
    let database = with_notes(place.open().await).await;
    let [storming, other] = stores(&database);
    let held = Held::by_another(&place).await;
    let storm = fill(|id| storming.commit(vec![note(id)].into()));
    assert!(storm.len() >= 1000, "alone, it has everything: {}", storm.len());
    // Once among those that wait, it shares with work that is no instance's, too.
    let mut theirs = Box::pin(other.commit(vec![note(-1)].into()));
    let mut nobodys = Box::pin(commit(&database, vec![note(-2)]));
    assert!(theirs.as_mut().now_or_never().is_none() && nobodys.as_mut().now_or_never().is_none());
    let refused = storming.commit(vec![note(-3)].into()).await;
    assert_eq!(kind(refused), FaultKind::Unavailable, "it has more than its share");
    held.release().await;
    assert_eq!(theirs.await.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(nobodys.await.expect("no fault"), CommitOutcome::Committed);
    join_all(storm).await;
}

async fn an_instance_that_asks_much_lets_others_ask(place: Place) {
    let database = place.open().await;
    let [storming, other] = stores(&database);
    let slow = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) SELECT MAX(i) FROM n";
    let answered = AtomicUsize::new(0);
    let storm = fill(|_| async {
        let rows = storming.query(slow, values![]).await?;
        answered.fetch_add(1, Ordering::Relaxed);
        Ok(rows)
    });
    assert!(storm.len() >= 1000, "alone, it has everything: {}", storm.len());
    let theirs = Box::pin(other.query("SELECT 7", values![]));
    let Either::Left((rows, _)) = select(theirs, join_all(storm)).await else { panic!("all others were first") };
    assert_eq!(rows.expect("not refused").len(), 1);
    let before = answered.load(Ordering::Relaxed);
    assert!(before < 100, "{before} questions of the other were first");
}

async fn a_database_held_by_another_is_unavailable_until_let_go(place: Place) {
    let database = with_notes(place.open().await).await;
    let held = Held::by_another(&place).await;
    assert_eq!(kind(commit(&database, vec![note(1), note(2)]).await), FaultKind::Unavailable);
    assert!(notes(&database, "new").await.is_empty(), "reads go on");
    held.release().await;
    let answer = commit(&database, vec![note(1), note(2)]).await;
    assert_eq!(answer.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(notes(&database, "new").await, [1, 2]);
}

async fn a_closed_database_is_unavailable(place: Place) {
    let database = with_notes(place.open().await).await;
    database.close().await;
    assert_eq!(kind(commit(&database, vec![note(1)]).await), FaultKind::Unavailable);
    assert_eq!(kind(database.query("SELECT 1", values![]).await), FaultKind::Unavailable);
    database.close().await;
}

async fn several_nodes_may_migrate_at_once(place: Place) {
    let url = DatabaseUrl::parse(&place.url).expect("a URL");
    let nodes = (0..6).map(|_| {
        let url = url.clone();
        tokio::spawn(async move {
            let node = store::Database::open(&url).await?;
            node.migrate().await?;
            Ok::<_, store::Fault>(node)
        })
    });
    for node in join_all(nodes).await {
        let node = node.expect("no panic").expect("every node finds itself migrated");
        let sql = "SELECT version FROM refinery_schema_history";
        let versions = node.query(sql, values![]).await.expect("the history");
        assert!(!versions.is_empty());
    }
}

async fn a_store_reads_and_writes_through_its_database(place: Place) {
    let instance = model::InstanceId(Uuid::from_u128(1));
    let store = Store::new(with_notes(place.open().await).await, instance);
    let mine = "INSERT INTO notes (id, state) VALUES (1, $1)";
    let batch = Batch::new().with(statement(mine, values![store.instance().0]));
    let _ = store.commit(batch).await.expect("a note");
    let rows = store.query("SELECT state FROM notes", values![]).await.expect("a row");
    assert_eq!(rows[0].text(0).expect("text"), instance.to_string());
    assert_eq!(notes(store.database(), &instance.to_string()).await, [1]);
}

async fn commits_are_counted(place: Place) {
    let database = with_notes(place.migrated().await).await;
    let (commits, batches) = database.commits();
    let _ = commit(&database, vec![note(1)]).await.expect("a note");
    let guard = statement("DELETE FROM notes WHERE id = 9", values![]).expect(1);
    let _ = commit(&database, vec![guard]).await.expect("no fault");
    assert_eq!(database.commits(), (commits + 1, batches + 1));
}
