//! A record that this version refuses, or that another version wrote, affects nothing but itself.

use acceptance::{MASTER_KEY, TestServer, TokenAnswer};
use flows::MasterKey;
use http::Method;
use oauth::jose::Algorithm;
use serde_json::{Value, json};
use store::{Batch, Change, ChangeKind, CommitOutcome, statement, values};

use crate::{FIRST, SERVICE, assert_refused};

acceptance::on_both! {
    an_application_that_is_refused_is_off_and_repaired_on_its_page
    a_start_meets_damaged_rows_of_every_kind
    one_damaged_instance_is_answered_503_and_the_other_serves
    a_signing_key_that_does_not_open_is_replaced_by_an_administrator_alone
    a_running_server_answers_503_where_a_changed_key_does_not_open
    a_signing_key_whose_row_is_damaged_is_missed_and_replaced_by_an_administrator_alone
    what_a_newer_version_wrote_survives_an_administrators_change
    a_user_of_a_newer_kind_stops_no_list_and_signs_in_nowhere
}

async fn run(server: &TestServer, sql: &'static str) {
    let store = server.store().await;
    let done = store.commit(Batch::new().with(statement(sql, values![store.instance().0]))).await;
    assert_eq!(done.expect("good SQL"), CommitOutcome::Committed, "{sql}");
}

/// Changes the stored record of the demo's first application.
async fn rewrite(server: &TestServer, change: impl FnOnce(&mut Value)) {
    let store = server.store().await;
    let sql = "SELECT record FROM applications WHERE instance = $1 AND uri = 'my.trusted.app/first'";
    let rows = store.query(sql, values![store.instance().0]).await.expect("good SQL");
    let mut record: Value = serde_json::from_str(&rows[0].text(0).expect("a text")).expect("JSON");
    change(&mut record);
    let sql = "UPDATE applications SET record = $2 WHERE instance = $1 AND uri = 'my.trusted.app/first'";
    let written = statement(sql, values![store.instance().0, record.to_string()]).expect(1);
    assert_eq!(store.commit(Batch::new().with(written)).await.expect("good SQL"), CommitOutcome::Committed);
}

async fn stored(server: &TestServer) -> Value {
    let store = server.store().await;
    let sql = "SELECT record FROM applications WHERE instance = $1 AND uri = 'my.trusted.app/first'";
    let rows = store.query(sql, values![store.instance().0]).await.expect("good SQL");
    serde_json::from_str(&rows[0].text(0).expect("a text")).expect("JSON")
}

async fn an_application_that_is_refused_is_off_and_repaired_on_its_page(server: TestServer) {
    rewrite(&server, |record| record["ImpersonateLoginUrl"] = json!(["ftp://a.example/cb"])).await;
    let server = server.restarted().await;
    let app = server.app(FIRST);
    let page = server.browser("alice").open(&app.asks("read").path()).await;
    assert_eq!((page.status.as_u16(), page.page().as_str()), (400, "error"), "it is off");
    TokenAnswer::read(&server.app(SERVICE).service_token("read").await);

    let mut admin = server.browser("admin");
    admin.sign_in().await;
    let list = admin.open("/manage/apps").await;
    assert!(list.text().contains("needs repair") && list.text().contains("Customer Portal"), "{}", list.text());
    let id = server.operator().await.application(FIRST).await.expect("no fault").expect("it is registered").id;
    let page = admin.open(&format!("/manage/apps/{id}")).await;
    assert!(page.text().contains("ftp://a.example/cb") && page.text().contains("is disabled until"), "{}", page.text());
    let form = page.form("redirect_uris");
    assert!(form.field("redirect_uris").is_some_and(|text| text.contains("ftp://a.example/cb")), "prefilled");
    let refused = admin.submit(&page, "redirect_uris", &[]).await;
    assert_eq!(refused.page(), "manage-app", "nothing was repaired");
    let entered = [("redirect_uris", app.redirect_uri.as_str())];
    let saved = admin.submit(&page, "redirect_uris", &entered).await;
    assert!(!saved.text().contains("is disabled until"), "{}", saved.text());
    server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await;
}

async fn a_start_meets_damaged_rows_of_every_kind(server: TestServer) {
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "read offline_access").await;
    for sql in [
        "INSERT INTO applications (instance, id, uri, record, epoch, version, created_at) \
         VALUES ($1, '00000000-0000-0000-0000-00000000000b', 'a.bad', 'no record', 0, 1, 0)",
        "INSERT INTO application_secrets (instance, id, application, label, digest, created_at) \
         VALUES ($1, 's', '00000000-0000-0000-0000-00000000000b', '', CAST('x' AS BYTEA), 0)",
        "UPDATE roles SET permits = '{\"read\":7}' WHERE instance = $1 AND name = 'Viewer'",
        "UPDATE instances SET settings = '{\"seats\":8,\"legacy_sunset\":\"tomorrow\",\"colour\":\"red\"}' WHERE id = $1",
        "INSERT INTO api_sessions (instance, id, key, user_id, seat, opened_at, last_call, ends_at) \
         SELECT instance, '00000000-0000-0000-0000-00000000000b', 'robot:7', id, 'shared', 0, 0, 9000000000000000000 \
         FROM users WHERE instance = $1 AND login = 'bob'",
        "INSERT INTO changes (instance, number, kind, subject, at) \
         SELECT id, feed + 1, 'user', 'nobody', 0 FROM instances WHERE id = $1",
        "UPDATE instances SET feed = feed + 1 WHERE id = $1",
        "INSERT INTO revoked_tokens (instance, id, revoked_at) VALUES ($1, 'what', 9000000000000000)",
    ] {
        run(&server, sql).await;
    }
    server.catch_up().await;
    assert_eq!(server.client().call_api(&tokens.access).await.status, 200, "a running server goes on");
    let server = server.restarted().await;
    let app = server.app(FIRST);
    let refreshed = TokenAnswer::read(&app.refresh(tokens.refresh()).await);
    assert_eq!(server.client().call_api(&refreshed.access).await.status, 200);
    let mut admin = server.browser("admin");
    admin.sign_in().await;
    for (path, expected) in [
        ("/manage/apps", "a.bad"),
        ("/manage/users", "alice"),
        ("/manage/roles", "Sales"),
        ("/manage/roles?role=Viewer", "grant nothing"),
        ("/manage/settings", "legacy_sunset"),
        ("/manage/sessions", "alice"),
    ] {
        let page = admin.open(path).await;
        assert!(page.status == 200 && page.text().contains(expected), "{path}: {}", page.text());
    }
    // A revocation does not stop at a session that cannot be read.
    server.enable_user("bob", false).await;
    server.enable_app(FIRST, false).await;
    assert_eq!(server.client().call_api(&refreshed.access).await.status, 401);
}

async fn one_damaged_instance_is_answered_503_and_the_other_serves(server: TestServer) {
    run(&server, "UPDATE instances SET root_secret = CAST('damaged' AS BYTEA) WHERE id <> $1").await;
    let server = server.restarted().await;
    let refused: Vec<&str> = server.server.refused().iter().map(|refused| refused.name.as_str()).collect();
    assert_eq!(refused, ["demodb"]);
    server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await;
    for path in ["/", "/id/.well-known/openid-configuration", "/id/account/login", "/api/domain/odata/Crm_Customers"] {
        let answer = server.other_client().get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "60"), "{path}: {}", answer.text());
    }
    assert_eq!(server.client().asking_host("elsewhere.example").get("/id/account/login").await.status, 200);
    let other = server.other_office().await;
    assert!(other.is_err(), "the operator's key does not open it either");
}

const SEALED_UNDER_ANOTHER: &str =
    "UPDATE signing_keys SET private_key = $2 WHERE instance = $1 AND algorithm = 'ES256'";
const RESTORED: &str = "UPDATE signing_keys \
                        SET private_key = (SELECT k.private_key FROM kept_keys k WHERE k.kid = signing_keys.kid) \
                        WHERE instance = $1";

/// Announces a change of signing keys in the feed.
async fn announce_keys(server: &TestServer, sql: &'static str, more: Vec<store::SqlValue>) {
    let store = server.store().await;
    let parameters = values![store.instance().0].into_iter().chain(more).collect();
    let mut batch = Batch::new().with(statement(sql, parameters));
    batch.announce(Change { kind: ChangeKind::Keys, subject: store.instance().0 }, server.now());
    assert_eq!(store.commit(batch).await.expect("good SQL"), CommitOutcome::Committed);
}

/// As if the master key that encrypts it was removed from the configuration too early.
async fn a_signing_key_that_does_not_open_is_replaced_by_an_administrator_alone(server: TestServer) {
    const OF_NEWER_VERSION: &str = "INSERT INTO signing_keys (instance, kid, algorithm, private_key, signs_from, created_at) \
                                    VALUES ($1, 'of a newer version', 'ML-DSA-44', CAST('x' AS BYTEA), 0, 0)";
    let app = server.app(FIRST);
    let before = app.sign_in(&mut server.browser("alice"), "openid read offline_access").await;
    run(&server, OF_NEWER_VERSION).await;
    run(&server, "CREATE TABLE kept_keys AS SELECT * FROM signing_keys WHERE instance = $1").await;
    announce_keys(&server, SEALED_UNDER_ANOTHER, values![vec![7_u8; 64]]).await;
    let keys = async |server: &TestServer| {
        let store = server.store().await;
        let sql = "SELECT kid FROM signing_keys WHERE instance = $1 ORDER BY kid";
        let rows = store.query(sql, values![store.instance().0]).await.expect("good SQL");
        rows.iter().map(|row| row.text(0).expect("a name")).collect::<Vec<_>>()
    };
    let known = keys(&server).await;

    let server = server.restarted().await;
    let refused = server.server.refused().iter().map(|refused| (refused.name.as_str(), refused.fault.causes()));
    let [(name, why)] = &refused.collect::<Vec<_>>()[..] else { panic!("one is refused") };
    assert!(*name == "testdb" && why.contains("[previous_master_key]") && why.contains("key replace"), "{why}");
    assert_eq!(server.client().call_api(&before.access).await.status, 503, "a good token is not called bad");
    TokenAnswer::read(&server.app_at_other(SERVICE).service_token("read").await);
    server.server.maintain_keys().await.expect("the database answers");
    assert_eq!(keys(&server).await, known, "nothing takes its place");

    announce_keys(&server, RESTORED, values![]).await;
    let server = server.restarted().await;
    assert_eq!(server.client().call_api(&before.access).await.status, 200, "as if nothing had been");

    announce_keys(&server, SEALED_UNDER_ANOTHER, values![vec![7_u8; 64]]).await;
    let mut rng = server.rng();
    let operator = server.operator().await;
    let master = MasterKey::new(&MASTER_KEY);
    let made = operator.replace_keys(&master, Algorithm::Es256, &mut server.moment(&mut rng)).await;
    made.expect("no fault").expect("there is one to replace");
    drop(operator);
    let server = server.restarted().await;
    assert_eq!(server.client().call_api(&before.access).await.status, 401, "an administrator said so");
    let after = TokenAnswer::read(&server.app(FIRST).refresh(before.refresh()).await);
    assert_eq!(server.client().call_api(&after.access).await.status, 200);
    assert!(keys(&server).await.contains(&"of a newer version".to_owned()));
}

/// A running server continues with the keys in memory. It is behind as soon as it has to read a key that cannot be
/// decrypted.
async fn a_running_server_answers_503_where_a_changed_key_does_not_open(server: TestServer) {
    let app = server.app(FIRST);
    let token = app.sign_in(&mut server.browser("alice"), "openid read").await.access;
    run(&server, "CREATE TABLE kept_keys AS SELECT * FROM signing_keys WHERE instance = $1").await;
    announce_keys(&server, SEALED_UNDER_ANOTHER, values![vec![7_u8; 64]]).await;
    server.server.catch_up().await.expect_err("a key does not open");
    let behind = server.server.instances()[0].behind().expect("it is");
    assert!(behind.fault.contains("signing keys do not open"), "{behind:?}");
    assert_eq!(server.client().call_api(&token).await.status, 503);
    assert_eq!(server.app(SERVICE).service_token("read").await.status, 503);
    TokenAnswer::read(&server.app_at_other(SERVICE).service_token("read").await);
    announce_keys(&server, RESTORED, values![]).await;
    assert_eq!(server.client().call_api(&token).await.status, 200);
}

/// Otherwise its valid tokens would be refused, and another key be created in its place. So it counts as a key that
/// cannot be decrypted. The row of another version's key does not concern this version and stops nothing.
async fn a_signing_key_whose_row_is_damaged_is_missed_and_replaced_by_an_administrator_alone(server: TestServer) {
    let before = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read offline_access").await;
    run(&server, "CREATE TABLE kept_keys AS SELECT * FROM signing_keys WHERE instance = $1").await;
    // Either a newer version wrote this name and the key cannot be decrypted, or the row has another key's name.
    run(
        &server,
        "INSERT INTO signing_keys (instance, kid, algorithm, private_key, signs_from, created_at) \
         SELECT instance, kid || '-rs384', 'RS384', private_key, 0, 0 FROM signing_keys \
         WHERE instance = $1 AND algorithm = 'RS256'",
    )
    .await;
    let server = server.restarted().await;
    assert_eq!(server.client().call_api(&before.access).await.status, 200, "a newer version's key is not ours");

    let damage = "UPDATE signing_keys SET algorithm = 'E\u{fffd}256' WHERE instance = $1 AND algorithm = 'ES256'";
    announce_keys(&server, damage, values![]).await;
    server.server.catch_up().await.expect_err("a key is missed");
    assert_eq!(server.client().call_api(&before.access).await.status, 503, "a good token is not called bad");
    let server = server.restarted().await;
    let refused: Vec<_> = server.server.refused().iter().map(|refused| refused.fault.causes()).collect();
    assert!(refused.len() == 1 && refused[0].contains("key replace"), "{refused:?}");
    assert_eq!(server.client().call_api(&before.access).await.status, 503);
    TokenAnswer::read(&server.app_at_other(SERVICE).service_token("read").await);

    let master = MasterKey::new(&MASTER_KEY);
    let examined = flows::admin::examine(server.store().await.database(), &master, "testdb").await;
    let mut kinds: Vec<&str> = examined.expect("no fault").1.iter().map(|found| found.kind).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["signing key", "signing key of another version"], "each once");

    let mended = "UPDATE signing_keys SET algorithm = 'ES256' WHERE instance = $1 AND algorithm = 'E\u{fffd}256'";
    announce_keys(&server, mended, values![]).await;
    let server = server.restarted().await;
    assert_eq!(server.client().call_api(&before.access).await.status, 200, "as if nothing had been");

    announce_keys(&server, damage, values![]).await;
    let (operator, mut rng) = (server.operator().await, server.rng());
    let removed = operator.preview_replacement(&master, Algorithm::Es256).await.expect("no fault").expect("one");
    assert_eq!(removed.removed.len(), 1, "the damaged one");
    let made = operator.replace_keys(&master, Algorithm::Es256, &mut server.moment(&mut rng)).await;
    made.expect("no fault").expect("there is one to replace");
    drop(operator);
    let server = server.restarted().await;
    assert_eq!(server.client().call_api(&before.access).await.status, 401, "an administrator said so");
    let after = TokenAnswer::read(&server.app(FIRST).refresh(before.refresh()).await);
    assert_eq!(server.client().call_api(&after.access).await.status, 200);
}

async fn what_a_newer_version_wrote_survives_an_administrators_change(server: TestServer) {
    rewrite(&server, |record| {
        record["TokenFormat"] = json!({ "kind": "opaque" });
        record["Scope"] = json!("read update export offline_access");
    })
    .await;
    let server = server.restarted().await;
    let manager = server.manager().await;
    let token = TokenAnswer::read(&manager.service_token("manage").await).access;
    let id = server.operator().await.application(FIRST).await.expect("no fault").expect("it is registered").id;
    let path = format!("/manage/api/v1/applications/{id}");
    let change = async |change: Value| {
        let ask = server.client();
        let ask = ask.ask(&Method::PATCH, &path).bearer(&token).header("if-match", "*");
        ask.body("application/merge-patch+json", change.to_string()).send().await
    };
    let answer = change(json!({ "Name": "Renamed" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains("TokenFormat"), "what is not known is not sent");
    let kept = stored(&server).await;
    assert_eq!(kept["Name"], "Renamed");
    assert_eq!(kept["TokenFormat"], json!({ "kind": "opaque" }));
    assert_eq!(kept["Scope"], "read update export offline_access");

    // A value unknown to this version is not replaced silently.
    rewrite(&server, |record| record["AccessTokens"] = json!("Everybody")).await;
    let answer = change(json!({ "Name": "Once more" })).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(stored(&server).await["AccessTokens"], "Everybody");
    let shown = server.client().get_with(&path, &token).await.json();
    assert!(shown["problems"][0].as_str().is_some_and(|text| text.contains("Everybody")), "{shown}");
    let answer = change(json!({ "AccessTokens": "None" })).await;
    assert_eq!((answer.status.as_u16(), answer.json().get("problems")), (200, None), "{}", answer.text());
    assert_eq!(stored(&server).await["TokenFormat"], json!({ "kind": "opaque" }));
}

async fn a_user_of_a_newer_kind_stops_no_list_and_signs_in_nowhere(server: TestServer) {
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "read offline_access").await;
    run(&server, "UPDATE users SET user_type = 'Robot' WHERE instance = $1 AND login = 'alice'").await;
    let server = server.restarted().await;
    assert_eq!(server.browser("alice").sign_in().await.page(), "sign-in");
    assert_eq!(server.client().call_api(&tokens.access).await.status, 401);
    assert_refused(&server.app(FIRST).refresh(tokens.refresh()).await, 400, "invalid_grant");
    let mut admin = server.browser("admin");
    admin.sign_in().await;
    let list = admin.open("/manage/users").await;
    assert!(list.text().contains("needs repair") && list.text().contains("bob"), "{}", list.text());
    run(&server, "UPDATE users SET user_type = 'InternalUser' WHERE instance = $1 AND login = 'alice'").await;
    let server = server.restarted().await;
    assert_eq!(server.browser("alice").sign_in().await.page(), "account", "the newer version is right again");
}

/// The proof of an administrator of one instance is not valid at another.
#[tokio::test]
async fn an_administrator_of_one_instance_is_none_of_another() {
    let server = TestServer::open().await;
    let mut admin = server.browser("admin");
    admin.sign_in().await;
    let (testdb, demodb) = (server.believed("testdb").await, server.believed("demodb").await);
    let cookie = oauth::secret::Presented::new(admin.jar["gatehouse"].clone());
    let browser = testdb.auth().signed_in(&cookie, server.now()).await.expect("no fault").expect("signed in");
    let mut rng = server.rng();
    let request = model::audit::RequestInfo {
        address: [192, 0, 2, 1].into(),
        user_agent: None,
        id: model::audit::RequestId::new(server.now(), 1, 1),
    };
    let mut ctx = model::Ctx { now: server.now(), rng: &mut *rng, request: &request };
    assert!(testdb.admit_admin_at_browser(&mut ctx, &browser).expect("no fault").is_ok());
    assert!(demodb.admit_admin_at_browser(&mut ctx, &browser).expect("no fault").is_err());
}

/// Another master key than the instance's own decrypts nothing.
#[tokio::test]
async fn an_office_opens_under_the_master_key_of_its_instance_alone() {
    let server = TestServer::open().await;
    let store = server.store().await;
    let open = async |key: [u8; 32]| {
        let master = flows::MasterKey::new(&key);
        flows::admin::ElevatedAdminService::open(store.database(), &master, "testdb").await.is_ok()
    };
    assert!(open(*b"the master key of every test hou").await);
    assert!(!open([7; 32]).await);
}
