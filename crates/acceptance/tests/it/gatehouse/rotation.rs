//! Rotation of the master key and of an instance's root secret.

use std::sync::Arc;

use acceptance::{App, Browser, MASTER_KEY, TestServer, TokenAnswer, on_both};
use flows::admin::rotation::{MasterKeyRotationRefusal, SealCounts, examine_seals, rotate_master_key};
use flows::{MasterKey, Server};
use oauth::jose::Algorithm;
use store::{Batch, CommitOutcome, SealedColumn, SealedRow};

use super::legacy;
use super::two_step::{STEP, WithApp, enter_code, set_up_app};
use crate::FIRST;

on_both! {
    the_master_key_is_rotated_under_nodes_that_know_both_and_everything_opens_at_every_moment
    a_secret_that_no_key_opens_is_named_and_left_as_it_is
    without_a_previous_key_or_beside_a_newer_database_nothing_is_rotated
    a_new_root_secret_ends_everything_that_the_old_one_vouched_for_on_every_node
}

const NEW_KEY: [u8; 32] = *b"the master key after the rotatio";

fn old() -> MasterKey {
    MasterKey::new(&MASTER_KEY)
}

fn new() -> MasterKey {
    MasterKey::new(&NEW_KEY)
}

fn both() -> MasterKey {
    MasterKey::new(&NEW_KEY).with_previous(&MASTER_KEY)
}

async fn examine(server: &TestServer, master: &MasterKey) -> SealCounts {
    examine_seals(server.beside().await, master).await.expect("no fault").expect("of this version")
}

fn at(server: &TestServer, node: &Arc<Server>, login: &str) -> Browser {
    Browser { client: server.client_of(node), ..server.browser(login) }
}

fn app_at(server: &TestServer, node: &Arc<Server>) -> App {
    App { client: server.client_of(node), ..server.app(FIRST) }
}

/// Password and code open the account.
async fn signs_in(server: &TestServer, mut browser: Browser, app: &WithApp) {
    server.advance(STEP);
    browser.jar.clear();
    let page = browser.sign_in().await;
    assert_eq!(page.page(), "second-step", "{}", page.text());
    assert_eq!(enter_code(&mut browser, &page, &app.code(server)).await.page(), "account", "{}", browser.login);
}

async fn the_master_key_is_rotated_under_nodes_that_know_both_and_everything_opens_at_every_moment(server: TestServer) {
    let alice = set_up_app(&server, &mut server.browser("alice")).await;
    let tokens = server.app(FIRST).sign_in(&mut server.browser("admin"), "openid read offline_access").await;

    // A node restarted with both keys, beside one that knows only the old key.
    let node = server.another_node_under(both()).await;
    let bob = set_up_app(&server, &mut at(&server, &node, "bob")).await;
    let mut rng = server.rng();
    let made = server.operator().await.rotate_key(&both(), Algorithm::Es256, &mut server.moment(&mut rng)).await;
    made.expect("no fault").expect("no successor was made yet");
    server.catch_up().await;
    signs_in(&server, server.browser("bob"), &bob).await;
    signs_in(&server, at(&server, &node, "alice"), &alice).await;
    let before = examine(&server, &both()).await;
    assert_eq!((before.current, before.neither), (0, 0), "nobody seals under the new key before the rotation begins");

    let mut counts = Vec::new();
    let keys = both();
    let rotated = rotate_master_key(server.beside().await, &keys, server.platform(), |count| counts.push(count));
    let rotated = rotated.await.expect("no fault").expect("both keys are known");
    assert_eq!((rotated.resealed, rotated.seals.current), (before.previous, before.previous));
    assert_eq!((rotated.seals.previous, rotated.seals.neither), (0, 0));
    assert!(counts.is_sorted() && counts.last() == Some(&before.previous), "{counts:?}");

    // The node keeps working, and encrypts with the new key from now on.
    node.catch_up().await.expect("no fault");
    signs_in(&server, at(&server, &node, "alice"), &alice).await;
    let refreshed = TokenAnswer::read(&app_at(&server, &node).refresh(tokens.refresh()).await);
    let carol = set_up_app(&server, &mut at(&server, &node, "carol")).await;
    assert_eq!(examine(&server, &both()).await.previous, 0);
    let again = rotate_master_key(server.beside().await, &both(), server.platform(), |_| ()).await;
    assert_eq!(again.expect("no fault").expect("both keys are known").resealed, 0, "there is nothing left to do");
    // The node that was not restarted reports an error instead of continuing with the old key.
    assert!(server.server.catch_up().await.is_err());
    node.close().await;

    let server = server.restarted_under(new).await;
    let after = examine(&server, &new()).await;
    assert_eq!((after.current, after.neither), (before.previous + 1, 0), "the old key is gone, and nothing is missed");
    for (login, app) in [("alice", &alice), ("bob", &bob), ("carol", &carol)] {
        signs_in(&server, server.browser(login), app).await;
    }
    let last = TokenAnswer::read(&server.app(FIRST).refresh(refreshed.refresh()).await);
    assert_eq!(server.client().call_api(&last.access).await.status, 200);
    server.seal().await;
    let verdict = server.operator().await.audit_reader(&new()).verify(&[], |_, _| ()).await;
    assert!(verdict.expect("no fault").expect("no checkpoint was given").is_whole(), "the audit's keys open, too");
    let events = server.audit().await;
    let events = events.iter().filter(|row| row.columns.iter().any(|text| text.contains("rotate-master-key")));
    assert_eq!(events.count(), 1, "the audit tells of it once for each instance");
}

async fn a_secret_that_no_key_opens_is_named_and_left_as_it_is(server: TestServer) {
    let _app = set_up_app(&server, &mut server.browser("alice")).await;
    let store = server.store().await;
    let column = SealedColumn::AuthenticatorApp;
    let row = store.sealed_after(column, "", 1).await.expect("no fault").remove(0);
    let strange = SealedRow { key: row.key.clone(), sealed: vec![7; 48] };
    let bend = Batch::from(vec![store.reseal(column, &row, strange.sealed.clone()).expect(1)]);
    assert_eq!(store.commit(bend).await.expect("no fault"), CommitOutcome::Committed);

    let before = examine(&server, &both()).await;
    let rotated = rotate_master_key(server.beside().await, &both(), server.platform(), |_| ()).await;
    let rotated = rotated.expect("no fault").expect("both keys are known");
    assert_eq!((rotated.resealed, rotated.seals.previous), (before.previous, 0), "the others are sealed anew");
    assert_eq!(rotated.seals.neither, 1);
    let named = &rotated.seals.unopened[0];
    assert_eq!((named.instance.as_str(), named.table, &named.key), ("testdb", "authenticator_apps", &row.key));
    assert_eq!(store.sealed_after(column, "", 1).await.expect("no fault")[0].sealed, strange.sealed);
}

async fn without_a_previous_key_or_beside_a_newer_database_nothing_is_rotated(server: TestServer) {
    let before = examine(&server, &old()).await;
    let rotate = async |master: &MasterKey| {
        let rotated = rotate_master_key(server.beside().await, master, server.platform(), |_| ()).await;
        rotated.expect("no fault").map(|rotated| rotated.resealed)
    };
    assert_eq!(rotate(&old()).await, Err(MasterKeyRotationRefusal::NoPreviousKey));
    let insert = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
                  VALUES (9999, 'later', '2027-01-01T00:00:00Z', '1')";
    let newer = server.beside().await.commit(vec![store::statement(insert, vec![]).expect(1)].into()).await;
    assert_eq!(newer.expect("no fault"), CommitOutcome::Committed);
    assert_eq!(rotate(&both()).await, Err(MasterKeyRotationRefusal::NewerDatabase));
    let examined = examine_seals(server.beside().await, &both()).await.expect("no fault");
    assert_eq!(examined.map(|seals| seals.total()).err(), Some(MasterKeyRotationRefusal::NewerDatabase));
    let remove = store::statement("DELETE FROM refinery_schema_history WHERE version = 9999", vec![]).expect(1);
    assert_eq!(server.beside().await.commit(vec![remove].into()).await.expect("no fault"), CommitOutcome::Committed);
    let after = examine(&server, &old()).await;
    assert_eq!((after.current, after.previous), (before.current, 0));
}

async fn a_new_root_secret_ends_everything_that_the_old_one_vouched_for_on_every_node(server: TestServer) {
    let node = server.another_node().await;
    let carol = set_up_app(&server, &mut server.browser("carol")).await;
    let (app, mut browser) = (server.app(FIRST), server.browser("bob"));
    let tokens = app.sign_in(&mut browser, "openid read offline_access").await;
    let erp_session = legacy::alices_session(&server.client()).await;
    assert_eq!(legacy::call(&server.client(), &erp_session).await.status, 200);
    let mut stranger = server.browser("bob");
    let open_form = stranger.open("/id/account/login").await;
    let mut halfway = server.browser("carol");
    let second_step = halfway.sign_in().await;

    let mut rng = server.rng();
    let operator = server.operator().await;
    let preview = operator.preview_root_secret(&server.moment(&mut rng)).await.expect("no fault");
    assert_eq!(preview.refresh_tokens, 1);
    let rotated = operator.rotate_root_secret(&old(), &mut server.moment(&mut rng)).await;
    rotated.expect("no fault").expect("nobody else changed it");
    server.catch_up().await;
    node.catch_up().await.expect("no fault");

    for app in [&app, &app_at(&server, &node)] {
        let refused = app.refresh(tokens.refresh()).await;
        assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str()), (400, Some("invalid_grant")));
    }
    for client in [server.client(), server.client_of(&node)] {
        assert_eq!(legacy::call(&client, &erp_session).await.status, 401);
        assert_eq!(client.call_api(&tokens.access).await.status, 200, "access tokens have a signature of their own");
    }
    let refused = stranger.enter(&open_form).await;
    assert_ne!(refused.page(), "account", "the form was of the old secret");
    assert_eq!(stranger.sign_in().await.page(), "account", "loaded again, it is not");
    server.advance(STEP);
    let refused = enter_code(&mut halfway, &second_step, &carol.code(&server)).await;
    assert_ne!(refused.page(), "account", "the proof of the first step was of the old secret");
    signs_in(&server, server.browser("carol"), &carol).await;
    assert_eq!(browser.open("/id/account").await.page(), "account", "who is signed in stays so");
    let fresh = app.sign_in(&mut browser, "openid read offline_access").await;
    TokenAnswer::read(&app_at(&server, &node).refresh(fresh.refresh()).await);
    let again = legacy::alices_session(&server.client_of(&node)).await;
    assert_eq!(legacy::call(&server.client(), &again).await.status, 200);
    node.close().await;

    let server = server.restarted().await;
    assert_eq!(server.app(FIRST).refresh(tokens.refresh()).await.status, 400);
    let events = server.audit().await;
    assert_eq!(
        events.iter().filter(|row| row.columns.iter().any(|text| text.contains("rotate-root-secret"))).count(),
        1
    );
}
