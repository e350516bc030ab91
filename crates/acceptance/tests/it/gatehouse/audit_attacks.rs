//! An attacker with write access to the database but without the master key: every manipulation of the audit is found.

use acceptance::switch_user;
use std::time::Duration;

use acceptance::{TestServer, on_both};
use flows::audit::VerificationResult;
use model::audit::chain::{ChainHead, Seal, SealLink};
use model::audit::verify::AuditFinding;
use model::audit::{BreakCause, Doubt, StoredEvent};
use model::{InstanceId, Timestamp};
use store::{Batch, CommitOutcome, Store, statement};

on_both! {
    checkpoints_that_are_taken_out_are_found
    a_newest_checkpoint_that_is_taken_out_breaks_the_chain
    a_chain_without_some_events_and_with_right_hashes_is_found
    a_head_in_the_place_of_another_breaks_the_chain_of_a_running_server
    an_end_that_is_cut_off_while_no_server_runs_is_found
    a_row_that_somebody_put_among_those_that_wait_is_sealed_as_forged
    a_row_or_block_that_somebody_edited_while_it_waited_is_sealed_as_forged
    a_row_that_was_sealed_before_is_sealed_as_repeated
    rows_of_a_version_without_codes_are_counted
    what_is_remembered_cannot_be_wiped
    a_secret_in_the_place_of_another_is_told_of_once
    an_installation_that_remembered_nothing_begins_to_without_an_alarm
    a_chain_put_back_with_its_memory_is_found_by_what_was_published
    a_chain_put_back_under_a_running_server_goes_on_behind_a_break
    a_database_that_went_back_goes_on_behind_a_break_that_says_so
    seals_of_a_version_that_remembers_nothing_are_counted
    a_break_hides_nothing
}

const MINUTE: Duration = Duration::from_mins(1);
const KEPT: [&str; 3] = ["audit_seals", "audit_checkpoints", "audit_memory"];

/// Runs an attacker's statements in one commit, so that no tick of the server comes between them.
async fn run(server: &TestServer, sql: &[&str]) {
    let statements: Vec<_> = sql.iter().map(|sql| statement((*sql).to_owned(), vec![])).collect();
    let done = server.store().await.database().commit(statements.into()).await;
    assert_eq!(done.expect("the database answers"), CommitOutcome::Committed);
}

/// A server with several seals, each signed.
async fn written(server: &TestServer) {
    for enabled in [false, true, false, true] {
        change(server, enabled).await;
    }
}

/// Adds one event, sealed and signed.
async fn change(server: &TestServer, enabled: bool) {
    server.enable_user("bob", enabled).await;
    server.advance(MINUTE);
    server.seal().await;
}

/// Adds an unsealed event, while no server runs.
async fn wait(server: &TestServer, login: &str) {
    let mut rng = server.rng();
    let done = switch_user(&server.operator().await, login, false, &mut server.moment(&mut rng)).await;
    done.expect("the database answers").expect("the user is there");
}

async fn seals(store: &Store) -> Vec<Seal> {
    store.seals_after(0, 1000).await.expect("the database answers")
}

/// The id of the attacked instance, quoted for SQL.
async fn quoted(server: &TestServer) -> String {
    format!("'{}'", server.store().await.instance())
}

fn breaks(verdict: &VerificationResult) -> Vec<BreakCause> {
    let cause = |finding: &AuditFinding| match finding {
        AuditFinding::Broken { broken, .. } => Some(broken.cause),
        _ => None,
    };
    verdict.findings.iter().filter_map(cause).collect()
}

fn doubts(verdict: &VerificationResult) -> (usize, usize) {
    let count = |is: fn(&AuditFinding) -> bool| verdict.findings.iter().filter(|finding| is(finding)).count();
    (
        count(|finding| matches!(finding, AuditFinding::EventForged(_))),
        count(|finding| matches!(finding, AuditFinding::EventRepeated(_))),
    )
}

fn head(seal: &Seal, instance: InstanceId) -> ChainHead {
    ChainHead { number: seal.number, hash: seal.actual_hash(instance), at: seal.at }
}

async fn checkpoints_that_are_taken_out_are_found(server: TestServer) {
    written(&server).await;
    let server = server.stopped().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    let store = server.store().await;
    let checkpoints = store.checkpoints(0, i64::MAX).await.expect("the database answers");
    let (middle, _) = checkpoints[checkpoints.len() / 2];
    let instance = quoted(&server).await;
    run(&server, &[&format!("DELETE FROM audit_checkpoints WHERE instance = {instance} AND number = {middle}")]).await;
    let verdict = server.verify_audit().await;
    assert!(matches!(verdict.findings[..], [AuditFinding::CheckpointMissing { seal, .. }] if seal == middle));
    assert!(!verdict.is_only_broken());
    // A running server does not notice: it checks only the newest seal.
    let server = server.started().await;
    change(&server, false).await;
    let verdict = server.verify_audit().await;
    assert!(matches!(verdict.findings[..], [AuditFinding::CheckpointMissing { seal, .. }] if seal == middle));
}

async fn a_newest_checkpoint_that_is_taken_out_breaks_the_chain(server: TestServer) {
    written(&server).await;
    let instance = quoted(&server).await;
    let newest = "(SELECT m FROM (SELECT MAX(number) AS m FROM audit_checkpoints WHERE instance = ";
    run(
        &server,
        &[&format!("DELETE FROM audit_checkpoints WHERE instance = {instance} AND number = {newest}{instance}) n)")],
    )
    .await;
    let verdict = server.verify_audit().await;
    assert!(
        matches!(&verdict.findings[..], [AuditFinding::CheckpointReplaced { .. }]) || breaks(&verdict).len() == 1,
        "{:?}",
        verdict.findings
    );
    change(&server, false).await;
    change(&server, true).await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::CheckpointReplaced], "told once: {:?}", verdict.findings);
    assert!(!verdict.is_only_broken());
    let alarms = server.server.instances()[0].audit_alarms().read();
    assert_eq!(alarms, [("checkpoint-replaced", 1)]);
}

/// Rewrites the chain from the first seal on with right hashes, and removes every signature that would show it.
async fn rewrite(server: &TestServer) {
    let store = server.store().await;
    let (instance, old) = (*store.instance(), seals(&store).await);
    let (mut behind, mut batch) = (ChainHead::NONE, Batch::new());
    for table in ["audit_seals", "audit_checkpoints"] {
        batch.push(statement(format!("DELETE FROM {table} WHERE instance = '{instance}'"), vec![]));
    }
    for seal in old {
        let events = seal.events.lines().filter_map(StoredEvent::parse);
        let events = events.filter(|(event, _)| event.kind != "admin-change").collect();
        let anew = Seal::new(instance, &behind, seal.at, events, seal.people);
        behind = head(&anew, instance);
        batch.push(store.insert_seal(anew, None));
    }
    assert_eq!(store.commit(batch).await.expect("the database answers"), CommitOutcome::Committed);
}

async fn a_chain_without_some_events_and_with_right_hashes_is_found(server: TestServer) {
    written(&server).await;
    let server = server.stopped().await;
    rewrite(&server).await;
    let verdict = server.verify_audit().await;
    assert!(
        verdict.findings.iter().any(|found| matches!(found, AuditFinding::HeadReplaced { .. })),
        "{:?}",
        verdict.findings
    );
    // The next server does not sign the forged chain.
    let server = server.started().await;
    change(&server, false).await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::HeadReplaced], "{:?}", verdict.findings);
    assert!(
        verdict.findings.iter().any(|found| matches!(found, AuditFinding::SealUnlinked { .. })),
        "the seam is seen"
    );
}

async fn a_head_in_the_place_of_another_breaks_the_chain_of_a_running_server(server: TestServer) {
    written(&server).await;
    let store = server.store().await;
    let (instance, all) = (*store.instance(), seals(&store).await);
    let [.., before, newest] = &all[..] else { panic!("there are several seals") };
    let event = StoredEvent { id: "x".to_owned(), at: newest.at, kind: "sign-in".to_owned(), ..StoredEvent::default() };
    let other = Seal::new(instance, &head(before, instance), newest.at, vec![(event, None)], String::new());
    let number = newest.number;
    let gone = format!("DELETE FROM audit_seals WHERE instance = '{instance}' AND number = {number}");
    let batch = Batch::from(vec![statement(gone, vec![]), store.insert_seal(other, None)]);
    assert_eq!(store.commit(batch).await.expect("the database answers"), CommitOutcome::Committed);
    change(&server, false).await;
    change(&server, true).await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::HeadReplaced], "told once: {:?}", verdict.findings);
    assert!(verdict.findings.contains(&AuditFinding::SealUnlinked { seal: number + 1 }), "{:?}", verdict.findings);
    assert!(verdict.findings.contains(&AuditFinding::NotAsSigned { seal: number }), "{:?}", verdict.findings);
    let trail = server.audit().await;
    let found = trail.iter().filter(|row| row.kind == "audit-broken" && row.reason == "head-replaced").count();
    assert_eq!(found, 1);
}

async fn an_end_that_is_cut_off_while_no_server_runs_is_found(server: TestServer) {
    written(&server).await;
    let server = server.stopped().await;
    let newest = seals(&server.store().await).await.last().expect("there are some").number;
    let instance = quoted(&server).await;
    for table in ["audit_seals", "audit_checkpoints"] {
        run(&server, &[&format!("DELETE FROM {table} WHERE instance = {instance} AND number > {}", newest - 2)]).await;
    }
    let missing = AuditFinding::SealsMissing { from: newest - 1, to: newest };
    let verdict = server.verify_audit().await;
    assert!(verdict.findings.contains(&missing), "{:?}", verdict.findings);
    let server = server.started().await;
    change(&server, false).await;
    let server = server.restarted().await;
    change(&server, true).await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::HeadReplaced], "{:?}", verdict.findings);
    assert!(verdict.findings.contains(&missing), "the gap is never filled: {:?}", verdict.findings);
}

async fn a_row_that_somebody_put_among_those_that_wait_is_sealed_as_forged(server: TestServer) {
    let store = server.store().await;
    let event = |number: u32| StoredEvent {
        id: format!("0192f4c8-0000-7000-8000-0000000000{number:02}"),
        at: server.now(),
        kind: "sign-in".to_owned(),
        outcome: "done".to_owned(),
        login: Some("eve".to_owned()),
        ..StoredEvent::default()
    };
    for (number, code) in (0..).zip([Some("1.AAAA"), Some("s1.x.y"), None, Some("7.of a later version")]) {
        let insert = store.insert_audit_event(event(number), code.map(str::to_owned));
        assert_eq!(store.commit(vec![insert].into()).await.expect("the database answers"), CommitOutcome::Committed);
    }
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert_eq!((doubts(&verdict), verdict.unattested.events), ((2, 0), 2), "{:?}", verdict.findings);
    assert!(!verdict.is_only_broken());
    let alarms = server.server.instances()[0].audit_alarms().read();
    assert!(alarms.contains(&("forged", 2)) && alarms.contains(&("unattested", 2)), "{alarms:?}");
}

async fn a_row_or_block_that_somebody_edited_while_it_waited_is_sealed_as_forged(server: TestServer) {
    server.seal().await;
    let server = server.stopped().await;
    wait(&server, "bob").await;
    wait(&server, "alice").await;
    let instance = quoted(&server).await;
    let one = format!("(SELECT MIN(id) FROM audit_events WHERE instance = {instance})");
    // Changes a member of the event, not its own time, which decides its place.
    run(&server, &[&format!("UPDATE audit_events SET actor = 'nobody' WHERE instance = {instance} AND id = {one}")])
        .await;
    // A block that no server of this instance wrote in this form.
    let block = "'0192f4c8-0000-7000-8000-000000000001', 1, 1, '{\"at\":1,\"kind\":\"api-call\",\"outcome\":\"done\"}\n', '1.AAAA'";
    let insert = format!(
        "INSERT INTO audit_blocks (instance, id, first_at, last_at, events, code) VALUES ({instance}, {block})"
    );
    run(&server, &[&insert]).await;
    let server = server.started().await;
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert_eq!((doubts(&verdict), verdict.unattested.events), ((2, 0), 0), "{:?}", verdict.findings);
    let events = flows::audit::sealed_trail(&server.store().await).await.expect("the database answers");
    let forged: Vec<_> = events.iter().filter(|event| event.doubt == Some(Doubt::Forged)).collect();
    assert!(forged.iter().any(|event| event.actor.as_deref() == Some("nobody")), "kept as it was found: {forged:?}");
}

async fn a_row_that_was_sealed_before_is_sealed_as_repeated(server: TestServer) {
    server.seal().await;
    let server = server.stopped().await;
    wait(&server, "bob").await;
    // An attacker's own table may keep copies for later use.
    run(&server, &["CREATE TABLE loot AS SELECT * FROM audit_events"]).await;
    let server = server.started().await;
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole() && verdict.unattested.events == 0, "{:?}", verdict.findings);
    server.advance(Duration::from_hours(48));
    change(&server, true).await;
    run(&server, &["INSERT INTO audit_events SELECT * FROM loot"]).await;
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert_eq!((doubts(&verdict), verdict.unattested.events), ((0, 1), 0), "{:?}", verdict.findings);
}

async fn rows_of_a_version_without_codes_are_counted(server: TestServer) {
    server.seal().await;
    let server = server.stopped().await;
    wait(&server, "bob").await;
    run(&server, &["UPDATE audit_events SET code = NULL"]).await;
    let server = server.started().await;
    server.seal().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    assert_eq!(verdict.unattested.events, 1);
    assert!(verdict.unattested.first_at > 0 && verdict.unattested.first_at == verdict.unattested.last_at);
}

async fn what_is_remembered_cannot_be_wiped(server: TestServer) {
    written(&server).await;
    let server = server.stopped().await;
    run(&server, &["DELETE FROM audit_memory"]).await;
    let verdict = server.verify_audit().await;
    assert_eq!(verdict.findings, [AuditFinding::MemoryLost]);
    let server = server.started().await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::NothingRemembered], "{:?}", verdict.findings);
    assert!(!verdict.is_only_broken());

    // Under a running server, with a row in its place that cannot be decrypted.
    run(&server, &["UPDATE audit_memory SET remembered = secret"]).await;
    change(&server, false).await;
    run(&server, &["DELETE FROM audit_memory"]).await;
    change(&server, true).await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::NothingRemembered; 3], "{:?}", verdict.findings);
    assert_eq!(verdict.findings.len(), 3);
}

async fn a_secret_in_the_place_of_another_is_told_of_once(server: TestServer) {
    written(&server).await;
    let server = server.stopped().await;
    run(&server, &["UPDATE audit_memory SET secret = remembered"]).await;
    let server = server.started().await;
    change(&server, false).await;
    let server = server.restarted().await;
    change(&server, true).await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::NothingRemembered], "{:?}", verdict.findings);
    assert_eq!((doubts(&verdict), verdict.unattested.events), ((0, 0), 0));
}

async fn an_installation_that_remembered_nothing_begins_to_without_an_alarm(server: TestServer) {
    written(&server).await;
    let server = server.stopped().await;
    // As the previous version left it: signed, but without names of checkpoints.
    run(&server, &["DELETE FROM audit_memory", "DELETE FROM audit_checkpoints"]).await;
    assert!(server.verify_audit().await.is_whole());
    let server = server.started().await;
    change(&server, false).await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    let (since, _) = verdict.remembered_since.expect("it says from where on");
    assert!(since > 1 && since < verdict.newest);
    assert!(server.server.instances()[0].audit_alarms().read().is_empty());
}

/// Copies the audit's tables as a backup does, or restores them.
async fn copy(server: &TestServer, what: impl Fn(&str) -> Vec<String>) {
    let statements: Vec<String> = KEPT.iter().flat_map(|table| what(table)).collect();
    run(server, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

async fn back_up(server: &TestServer) {
    // A table is created in one commit and filled in the next.
    for table in KEPT {
        run(server, &[&format!("CREATE TABLE backup_{table} AS SELECT * FROM {table} WHERE 1 = 0")]).await;
    }
    copy(server, |table| vec![format!("INSERT INTO backup_{table} SELECT * FROM {table}")]).await;
}

async fn put_back(server: &TestServer) {
    copy(server, |table| {
        vec![format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM backup_{table}")]
    })
    .await;
}

/// The newest change is missing from the feed, as after a failover to a standby that lacked it.
async fn lose_a_change(server: &TestServer) -> [String; 2] {
    let instance = quoted(server).await;
    let feed = format!("(SELECT feed FROM instances WHERE id = {instance})");
    [
        format!("DELETE FROM changes WHERE instance = {instance} AND number = {feed}"),
        format!("UPDATE instances SET feed = feed - 1, feed_id = NULL WHERE id = {instance}"),
    ]
}

/// Like [`put_back`], with the feed, in one commit, so that no tick comes between.
async fn fail_over(server: &TestServer) {
    let put = KEPT.iter().flat_map(|table| {
        [format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM backup_{table}")]
    });
    let all: Vec<String> = put.chain(lose_a_change(server).await).collect();
    run(server, &all.iter().map(String::as_str).collect::<Vec<_>>()).await;
    server.catch_up().await;
}

async fn published(server: &TestServer) -> Vec<String> {
    let checkpoints = server.store().await.checkpoints(0, i64::MAX).await.expect("the database answers");
    checkpoints.into_iter().map(|(_, jws)| jws).collect()
}

async fn a_chain_put_back_with_its_memory_is_found_by_what_was_published(server: TestServer) {
    written(&server).await;
    back_up(&server).await;
    change(&server, false).await;
    change(&server, true).await;
    let kept = published(&server).await;
    let server = server.stopped().await;
    put_back(&server).await;
    let server = server.started().await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole(), "nobody can tell who knows only the database: {:?}", verdict.findings);
    let verdict = server.verify_audit_against(&kept).await;
    assert!(matches!(verdict.findings[..], [AuditFinding::SealsMissing { .. }]), "{:?}", verdict.findings);
    for enabled in [false, true, false] {
        change(&server, enabled).await;
    }
    let verdict = server.verify_audit_against(&kept).await;
    assert!(!verdict.is_whole() && !verdict.is_only_broken(), "{:?}", verdict.findings);
    assert!(
        verdict.findings.iter().all(|found| matches!(found, AuditFinding::NotAsSigned { .. })),
        "{:?}",
        verdict.findings
    );
}

async fn a_chain_put_back_under_a_running_server_goes_on_behind_a_break(server: TestServer) {
    written(&server).await;
    back_up(&server).await;
    change(&server, false).await;
    let kept = published(&server).await;
    put_back(&server).await;
    change(&server, true).await;
    change(&server, false).await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::ChainWentBack], "{:?}", verdict.findings);
    assert!(verdict.is_only_broken());
    let against = server.verify_audit_against(&kept).await;
    assert!(against.is_only_broken() && against.findings.len() > 1, "{:?}", against.findings);
}

async fn a_database_that_went_back_goes_on_behind_a_break_that_says_so(server: TestServer) {
    written(&server).await;
    back_up(&server).await;
    change(&server, false).await;
    let lost = seals(&server.store().await).await.last().expect("there are some").clone();
    fail_over(&server).await;
    change(&server, true).await;
    let verdict = server.verify_audit().await;
    let instance = *server.store().await.instance();
    let [AuditFinding::Broken { broken, .. }] = &verdict.findings[..] else { panic!("{:?}", verdict.findings) };
    assert_eq!(broken.cause, BreakCause::DatabaseWentBack);
    assert_eq!(broken.known, SealLink { seal: lost.number, hash: lost.actual_hash(instance) });
    assert!(broken.found.seal < lost.number && verdict.is_only_broken());

    // The database lost a change, but the chain did not go back: the audit has nothing to report.
    let lost = lose_a_change(&server).await;
    run(&server, &lost.each_ref().map(String::as_str)).await;
    server.catch_up().await;
    assert_eq!(server.server.instances()[0].meters().database_rewinds.read(), 2);
    change(&server, false).await;
    assert_eq!(server.verify_audit().await.findings, verdict.findings);
}

/// As written by a version without this memory, running beside this one.
async fn seals_of_a_version_that_remembers_nothing_are_counted(server: TestServer) {
    written(&server).await;
    let store = server.store().await;
    let instance = *store.instance();
    for number in 0..2 {
        let behind = store.audit_head().await.expect("the database answers");
        let id = format!("0192f4c8-0000-7000-8000-00000000000{number}");
        let event = StoredEvent { id, at: server.now(), kind: "sign-in".to_owned(), ..StoredEvent::default() };
        let seal = Seal::new(instance, &behind, Timestamp(0), vec![(event, None)], String::new());
        assert_eq!(
            store.commit(vec![store.insert_seal(seal, None)].into()).await.expect("it answers"),
            CommitOutcome::Committed
        );
    }
    change(&server, false).await;
    let verdict = server.verify_audit().await;
    assert!(verdict.is_whole(), "{:?}", verdict.findings);
    assert_eq!(verdict.unknown_seals, 2);
    let alarms = server.server.instances()[0].audit_alarms().read();
    assert!(matches!(alarms[..], [("unknown-seals", 1 | 2)]), "{alarms:?}");
}

async fn a_break_hides_nothing(server: TestServer) {
    written(&server).await;
    back_up(&server).await;
    change(&server, false).await;
    fail_over(&server).await;
    let instance = quoted(&server).await;
    let forged = format!(
        "INSERT INTO audit_events (instance, id, at, kind, outcome, reason, code) \
         VALUES ({instance}, '0192f4c8-0000-7000-8000-000000000001', 1, 'audit-broken', 'done', 'unknown-seals', '1.AAAA')"
    );
    run(&server, &[&forged]).await;
    change(&server, true).await;
    let edited = format!("UPDATE audit_seals SET events = '' WHERE instance = {instance} AND number = 1");
    run(&server, &[&edited]).await;
    let verdict = server.verify_audit().await;
    assert_eq!(breaks(&verdict), [BreakCause::DatabaseWentBack], "{:?}", verdict.findings);
    assert!(!verdict.is_only_broken());
    assert_eq!(doubts(&verdict), (1, 0));
}
