//! Memory follows its database in order and never backwards, and is not trusted while it is behind.

use std::sync::Arc;
use std::time::Duration;

use acceptance::{TestServer, TokenAnswer, on_both};
use flows::Instance;
use http::Method;
use model::audit::BreakCause;
use model::audit::verify::AuditFinding;
use serde_json::{Value, json};
use store::{Batch, Change, ChangeKind, Statement, statement};
use uuid::Uuid;

use crate::{FIRST, PORTAL, READER, SERVICE};

on_both! {
    an_application_that_is_switched_off_stays_off_whatever_else_is_changed
    a_change_that_cannot_be_applied_takes_the_trust_from_its_own_instance_alone
    a_closed_session_is_counted_with_its_reason_by_who_closed_it
    a_database_that_was_restored_under_the_server_is_all_that_memory_holds
    a_feed_that_went_back_and_came_as_far_again_is_another_one
    nothing_is_judged_by_memory_until_it_is_read_anew
    a_token_whose_authorization_is_lost_is_refused_after_a_restart_too
    a_feed_that_an_older_version_swept_is_no_database_that_went_back
    no_page_of_an_application_that_was_switched_off_is_allowed_while_memory_is_behind
}

const ROOT: &str = "/manage/api/v1";

/// While one administrator's change waits for a new key, another disables and enables applications. Each answer holds
/// from the moment it is given.
async fn an_application_that_is_switched_off_stays_off_whatever_else_is_changed(server: TestServer) {
    let token = TokenAnswer::read(&server.manager().await.service_token("manage").await).access;
    let client = server.client();
    let ask = async |method: Method, path: &str, tag: &str, body: Value| {
        let ask = client.ask(&method, &format!("{ROOT}{path}")).bearer(&token).header("if-match", tag);
        ask.body("application/json", body.to_string()).send().await
    };
    let application = async |uri: &str| {
        let list = client.get_with(&format!("{ROOT}/applications?uri={}", uri.replace('/', "%2F")), &token).await;
        let path = format!("/applications/{}", list.json()["items"][0]["id"].as_str().expect("it is registered"));
        let read = client.get_with(&format!("{ROOT}{path}"), &token).await;
        (path, read.header("etag").to_owned())
    };
    // Each of these needs a key that nothing was signed with before.
    for algorithm in ["PS256", "EdDSA"] {
        let (first, first_tag) = application(FIRST).await;
        let slow = ask(Method::PATCH, &first, &first_tag, json!({ "AccessTokenAlgorithm": algorithm }));
        let switching = async {
            for on in [false, true, false, true, false, true] {
                let (service, tag) = application(SERVICE).await;
                let switched = ask(Method::PATCH, &service, &tag, json!({ "IsEnabled": on })).await;
                assert_eq!(switched.status, 200, "{}", switched.text());
                let asked = server.app(SERVICE).service_token("read").await;
                assert_eq!(asked.status, if on { 200 } else { 401 }, "{algorithm}: {}", asked.text());
            }
        };
        let (changed, ()) = tokio::join!(slow, switching);
        assert_eq!(changed.status, 200, "{}", changed.text());
        // The change takes effect with its answer: the key exists.
        TokenAnswer::read(&server.app(SERVICE).service_token("read").await);
    }
}

/// The key that a setting needs exists when the answer is sent.
#[tokio::test]
async fn an_algorithm_of_the_settings_is_signed_with_from_the_answer_on() {
    let server = TestServer::open().await;
    let token = TokenAnswer::read(&server.manager().await.service_token("manage").await).access;
    let client = server.client();
    let read = client.get_with(&format!("{ROOT}/settings"), &token).await;
    let path = format!("{ROOT}/settings");
    let ask = client.ask(&Method::PATCH, &path).bearer(&token).header("if-match", read.header("etag"));
    let body = json!({ "access_token_algorithm": "PS256" }).to_string();
    let changed = ask.body("application/json", body).send().await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let signed = TokenAnswer::read(&server.app(SERVICE).service_token("read").await).access;
    assert_eq!(client.call_api(&signed).await.status, 200);
}

async fn commit(server: &TestServer, statements: Vec<Statement>, kind: ChangeKind) {
    let store = server.store().await;
    let mut batch = Batch::from(statements);
    batch.announce(Change { kind, subject: store.instance().0 }, server.now());
    assert_eq!(store.commit(batch).await.expect("the database answers"), store::CommitOutcome::Committed);
}

async fn root_secret(server: &TestServer, sealed: Vec<u8>) -> Statement {
    let instance = server.store().await.instance().0;
    statement("UPDATE instances SET root_secret = $2 WHERE id = $1", vec![instance.into(), sealed.into()])
}

async fn a_change_that_cannot_be_applied_takes_the_trust_from_its_own_instance_alone(server: TestServer) {
    let (service, other) = (server.app(SERVICE), server.app_at_other(SERVICE));
    let token = TokenAnswer::read(&service.service_token("read").await).access;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let operator = server.operator().await;
    let good = server.store().await.root_secret().await.expect("the database answers");
    commit(&server, vec![root_secret(&server, vec![0; 32]).await], ChangeKind::RootSecret).await;
    server.server.catch_up().await.expect_err("the root secret does not open");

    for refused in [service.service_token("read").await, server.client().call_api(&token).await] {
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(!refused.header("retry-after").is_empty());
    }
    let elsewhere = TokenAnswer::read(&other.service_token("read").await).access;
    assert_eq!(server.other_client().call_api(&elsewhere).await.status, 200, "no other instance is touched");

    // Later changes are still applied, and the failed one is tried again.
    let mut rng = server.rng();
    let reader = operator.set_application_enabled(READER, false, &mut server.moment(&mut rng)).await;
    reader.expect("the database answers").expect("it is registered");
    commit(&server, vec![root_secret(&server, good).await], ChangeKind::RootSecret).await;
    assert_eq!(server.client().call_api(&token).await.status, 200, "healed by asking the database");
    server.catch_up().await;
    assert_eq!(server.app(READER).service_token("read").await.status, 401);
    TokenAnswer::read(&service.service_token("read").await);
}

/// An application's page may read answers as long as the application is enabled in the database.
async fn no_page_of_an_application_that_was_switched_off_is_allowed_while_memory_is_behind(server: TestServer) {
    const PATHS: [&str; 4] =
        ["/id/connect/token", "/api/domain/odata/Crm_Customers", "/profile/me/picture", "/id/connect/revocation"];
    let client = server.client();
    let allowed = async |method: &Method, path: &str| {
        let answer = client.ask(method, path).header("origin", "http://localhost:3000").send().await;
        (answer.status.as_u16(), answer.header("access-control-allow-origin").to_owned())
    };
    for path in PATHS {
        assert_eq!(allowed(&Method::OPTIONS, path).await, (204, "http://localhost:3000".to_owned()), "{path}");
    }
    // Memory is behind and cannot be reloaded.
    let good = server.store().await.root_secret().await.expect("the database answers");
    commit(&server, vec![root_secret(&server, vec![0; 32]).await], ChangeKind::RootSecret).await;
    server.server.catch_up().await.expect_err("the root secret does not open");
    for path in PATHS {
        assert_eq!(allowed(&Method::OPTIONS, path).await, (503, String::new()), "{path}");
        assert_eq!(allowed(&Method::POST, path).await.1, "", "{path}");
    }
    // Memory recovers. All applications with this origin are disabled, which the first request sees.
    let off = "UPDATE applications SET record = REPLACE(record, '\"IsEnabled\":true', '\"IsEnabled\":false') \
               WHERE instance = $1";
    let instance = server.store().await.instance().0;
    let healed = vec![root_secret(&server, good).await, statement(off, vec![instance.into()])];
    commit(&server, healed, ChangeKind::RootSecret).await;
    commit(&server, Vec::new(), ChangeKind::Register).await;
    for path in PATHS {
        assert_eq!(allowed(&Method::OPTIONS, path).await, (204, String::new()), "{path}");
        assert_eq!(allowed(&Method::POST, path).await.1, "", "{path}");
    }
}

async fn a_closed_session_is_counted_with_its_reason_by_who_closed_it(server: TestServer) {
    let app = server.app(FIRST);
    let mut alice = server.browser("alice");
    let tokens = app.sign_in(&mut alice, "openid read").await;
    assert_eq!(app.client.call_api(&tokens.access).await.status, 200);
    let asked = format!("/id/connect/endsession?id_token_hint={}", tokens.id());
    assert_eq!(alice.open(&asked).await.page(), "signed-out");
    let testdb = server.server.instances().iter().find(|instance| instance.info.name == "testdb").expect("there");
    assert_eq!(testdb.meters().sessions_closed.read(), [("sign_out", 1)]);
}

/// A change announced by a node of an older version names all applications.
#[tokio::test]
async fn a_whole_register_is_read_anew_where_an_older_node_announced_it() {
    let server = TestServer::open().await;
    let (store, uri) = (server.store().await, "a.new/app");
    let instance = store.instance().0;
    let copied = "INSERT INTO applications (instance, id, uri, record, system_user, epoch, version, created_at) \
                  SELECT instance, $2, $3, REPLACE(record, 'my.trusted.app/spa', $3), system_user, 0, 1, created_at \
                  FROM applications WHERE instance = $1 AND uri = 'my.trusted.app/spa'";
    let id = Uuid::from_u128(7);
    commit(&server, vec![statement(copied, vec![instance.into(), id.into(), uri.into()])], ChangeKind::Register).await;
    server.catch_up().await;
    let asked = format!(
        "/id/connect/authorize?client_id={uri}&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Findex.html\
         &response_type=code&scope=read&code_challenge={}&code_challenge_method=S256",
        "a".repeat(43)
    );
    assert_eq!(server.client().get(&asked).await.status, 302, "on to the sign-in page");
}

fn instance(server: &TestServer, name: &str) -> Arc<Instance> {
    server
        .server
        .instances()
        .iter()
        .find(|instance| instance.info.name == name)
        .map(Arc::clone)
        .expect("the demo has it")
}

fn rewinds(server: &TestServer) -> (u64, u64) {
    let of = |name| instance(server, name).meters().database_rewinds.read();
    (of("testdb"), of("demodb"))
}

/// Runs SQL without announcing a change.
async fn run(server: &TestServer, sql: &'static str) {
    let store = server.store().await;
    let parameters = if sql.contains("$1") { vec![store.instance().0.into()] } else { Vec::new() };
    let done = store.database().commit(vec![statement(sql, parameters)].into()).await;
    assert_eq!(done.expect("the database answers"), store::CommitOutcome::Committed);
}

/// Removes the two newest changes from the feed.
async fn take_the_newest_changes(server: &TestServer) {
    let sql = "DELETE FROM changes WHERE instance = $1 AND number > (SELECT feed - 2 FROM instances WHERE id = $1)";
    run(server, sql).await;
    run(server, "UPDATE instances SET feed = feed - 2, feed_id = NULL WHERE id = $1").await;
}

async fn create_app(server: &TestServer, uri: &str) {
    let record = json!({
        "ApplicationUri": uri, "Name": uri, "ClientType": "Public", "Scope": "read",
        "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["http://localhost:3000/cb"],
    });
    server.register(record, None).await;
}

/// Keys, users, applications, tokens, sessions and the audit chain equal the restored database.
async fn a_database_that_was_restored_under_the_server_is_all_that_memory_holds(server: TestServer) {
    let app = server.app(FIRST);
    let (mut alice, mut bob) = (server.browser("alice"), server.browser("bob"));
    let kept = app.sign_in(&mut alice, "openid read offline_access").await;
    assert_eq!(app.client.call_api(&kept.access).await.status, 200);
    server.seal().await;
    let backup = server.back_up().await;

    let lost = app.sign_in(&mut bob, "openid read offline_access").await;
    assert_eq!(app.client.call_api(&lost.access).await.status, 200);
    let refreshed = TokenAnswer::read(&app.refresh(kept.refresh()).await);
    server.enable_app(READER, false).await;
    server.enable_user("admin", false).await;
    create_app(&server, "lost.example.com").await;
    let mut settings = server.store().await.settings().await.expect("the database answers");
    let as_written = server.store().await.settings_as_written().await.expect("the database answers").1;
    settings.access_token_algorithm = oauth::jose::Algorithm::EdDsa;
    let change = server.store().await.update_settings(&settings, &as_written);
    commit(&server, vec![change], ChangeKind::Settings).await;
    server.catch_up().await;
    let with_lost_key = TokenAnswer::read(&server.app(SERVICE).service_token("read").await).access;
    assert_eq!(server.client().call_api(&with_lost_key).await.status, 200);
    server.seal().await;

    server.restore(&backup).await;
    server.catch_up().await;
    assert_eq!(rewinds(&server), (1, 0), "nothing of the other's feed was lost");
    assert!(instance(&server, "testdb").behind().is_none());

    // Users in the database are accepted, and others are refused.
    assert_eq!(app.client.call_api(&kept.access).await.status, 200);
    assert_eq!(app.client.user_info(&refreshed.access).await.status, 200, "its authorization is there");
    assert_eq!(app.client.call_api(&lost.access).await.status, 401);
    assert_eq!(app.client.user_info(&lost.access).await.status, 401);
    assert_eq!(app.refresh(lost.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    assert_eq!(app.refresh(refreshed.refresh()).await.refusal(), (400, "invalid_grant".to_owned()));
    TokenAnswer::read(&app.refresh(kept.refresh()).await);
    assert_eq!(app.client.call_api(&with_lost_key).await.status, 401, "no such key is in the database");
    let signed = TokenAnswer::read(&server.app(SERVICE).service_token("read").await).access;
    assert_eq!(server.client().call_api(&signed).await.status, 200);
    TokenAnswer::read(&server.app(READER).service_token("read").await);
    assert!(
        instance(&server, "testdb")
            .published_keys()
            .algorithms()
            .iter()
            .all(|one| *one != oauth::jose::Algorithm::EdDsa)
    );
    assert_eq!(server.browser("admin").sign_in().await.page(), "account");
    let (live, counted) = server.store().await.seats_taken().await.expect("the database answers");
    assert_eq!(live, counted);

    // The feed continues, and so does the chain, which records the break.
    create_app(&server, "lost.example.com").await;
    server.enable_app(READER, false).await;
    assert_eq!(server.app(READER).service_token("read").await.status, 401);
    server.seal().await;
    let found = server.verify_audit().await.findings;
    let is_break = |finding: &AuditFinding| matches!(finding, AuditFinding::Broken { broken, .. } if broken.cause == BreakCause::DatabaseWentBack);
    assert!(found.len() == 1 && found.iter().all(is_break), "{found:?}");
    let found = server.audit().await.into_iter().filter(|row| row.kind == "database-rewound").count();
    assert_eq!(found, 1);
}

/// A standby lacked two changes, and two others were made before any node read the feed.
async fn a_feed_that_went_back_and_came_as_far_again_is_another_one(server: TestServer) {
    server.enable_app(READER, false).await;
    assert_eq!(server.app(READER).service_token("read").await.status, 401);
    take_the_newest_changes(&server).await;
    run(&server, "UPDATE applications SET record = REPLACE(record, '\"IsEnabled\":false', '\"IsEnabled\":true') WHERE instance = $1")
        .await;
    for _ in 0..2 {
        commit(&server, Vec::new(), ChangeKind::Person).await;
    }
    server.catch_up().await;
    assert_eq!(rewinds(&server), (1, 0), "the other instance has its feed");
    TokenAnswer::read(&server.app(READER).service_token("read").await);
}

/// While memory cannot be reloaded: no token, no call, no page. Public documents and health are answered as usual.
async fn nothing_is_judged_by_memory_until_it_is_read_anew(server: TestServer) {
    let (portal, mut alice, mut admin) = (server.app(PORTAL), server.browser("alice"), server.browser("admin"));
    let token = portal.sign_in(&mut alice, "openid read").await.access;
    let manager = TokenAnswer::read(&server.manager().await.service_token("manage").await).access;
    admin.sign_in().await;
    assert_eq!(admin.open("/manage").await.status, 200);
    let store = server.store().await;
    let good = store.root_secret().await.expect("the database answers");
    let done = store.commit(vec![root_secret(&server, vec![0; 32]).await].into()).await;
    assert_eq!(done.expect("the database answers"), store::CommitOutcome::Committed);
    take_the_newest_changes(&server).await;
    server.server.catch_up().await.expect_err("the root secret does not open");

    let behind = instance(&server, "testdb").behind().expect("it is");
    assert!(behind.fault.contains("does not open"), "{behind:?}");
    let client = server.client();
    let asked = portal.asks("openid read").path();
    for refused in [
        portal.service_token("read").await,
        client.call_api(&token).await,
        client.user_info(&token).await,
        client.get_with("/manage/api/v1/settings", &manager).await,
        alice.open(&asked).await,
        alice.open("/profile").await,
        alice.open("/id/account/login").await,
        admin.open("/manage").await,
    ] {
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(!refused.header("retry-after").is_empty());
    }
    for path in ["/", "/id/.well-known/openid-configuration", "/tools/server-info", "/healthz", "/readyz"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    assert_eq!(server.app_at_other(SERVICE).service_token("read").await.status, 200);

    let done = store.commit(vec![root_secret(&server, good).await].into()).await;
    assert_eq!(done.expect("the database answers"), store::CommitOutcome::Committed);
    assert_eq!(client.call_api(&token).await.status, 200, "read anew by who asks first");
    assert_eq!(alice.open("/profile").await.status, 200);
    server.catch_up().await;
    assert!(instance(&server, "testdb").behind().is_none());
    assert_eq!(rewinds(&server), (1, 0), "told of once, however often it was tried");
}

async fn a_token_whose_authorization_is_lost_is_refused_after_a_restart_too(server: TestServer) {
    let app = server.app(FIRST);
    let [kept, lost] =
        [("alice", "openid read"), ("bob", "openid read")].map(|(login, scope)| (server.browser(login), scope));
    let mut tokens = Vec::new();
    for (mut browser, scope) in [kept, lost] {
        let token = app.sign_in(&mut browser, scope).await.access;
        assert_eq!(app.client.user_info(&token).await.status, 200);
        tokens.push(token);
    }
    let bob =
        server.operator().await.user_by_name("bob").await.expect("the database answers").expect("the demo has him");
    let database = server.store().await.database().clone();
    let sql = "DELETE FROM authorizations WHERE user_id = $1";
    let done = database.commit(vec![statement(sql, vec![bob.user.id.0.into()])].into()).await;
    assert_eq!(done.expect("the database answers"), store::CommitOutcome::Committed);
    assert_eq!(app.client.user_info(&tokens[1]).await.status, 200, "nobody knows");
    // As announced by another node that has noticed it.
    commit(&server, Vec::new(), ChangeKind::Reread).await;
    server.catch_up().await;
    let check = async |server: &TestServer| {
        let client = server.client();
        assert_eq!(client.user_info(&tokens[0]).await.status, 200);
        assert_eq!(client.user_info(&tokens[1]).await.status, 401);
        assert_eq!(client.call_api(&tokens[1]).await.status, 401);
    };
    check(&server).await;
    check(&server.restarted().await).await;
}

async fn a_feed_that_an_older_version_swept_is_no_database_that_went_back(server: TestServer) {
    server.advance(Duration::from_hours(26));
    run(&server, "DELETE FROM changes WHERE instance = $1").await;
    server.catch_up().await;
    assert_eq!(rewinds(&server), (0, 0));
    server.enable_app(READER, false).await;
    assert_eq!(server.app(READER).service_token("read").await.status, 401);
    // A start with an empty feed.
    run(&server, "DELETE FROM changes WHERE instance = $1").await;
    let server = server.restarted().await;
    server.enable_app(READER, true).await;
    TokenAnswer::read(&server.app(READER).service_token("read").await);
    assert_eq!(rewinds(&server), (0, 0));
}
