//! A row that does not read back is no fault of anybody else: lists go on without it, and it is told of.

use model::reference_token::ReferenceTokenKind;
use model::{ApplicationId, AuthorizationId, InstanceSettings, ReferenceTokenId, SessionId, UserId};
use oauth::scope::Scope;
use serde_json::json;
use store::{Batch, CommitOutcome, ConsentParties, SessionsToClose, Store, TokensOf, statement, values};
use uuid::Uuid;

use crate::applications::{application, register};
use crate::common::Place;
use crate::{LATER, NOW, done, server, somebody, user_id};

crate::on_both! {
    one_bad_row_of_each_kind_stops_no_list
    a_page_is_full_although_rows_of_it_cannot_be_read
    settings_that_cannot_be_read_permit_least_and_are_kept
    a_role_keeps_what_a_newer_version_wrote
    an_application_is_read_with_its_secrets_in_one_statement
}

async fn run(store: &Store, sql: &'static str) {
    let sql = sql.replace("$instance", &format!("'{}'", store.instance().0));
    let done = store.commit(Batch::new().with(statement(sql.clone(), values![]))).await.expect("good SQL");
    assert_eq!(done, CommitOutcome::Committed, "{sql}");
}

const BAD: &str = "'00000000-0000-0000-0000-00000000000b'";

const DIGEST: [u8; 32] = [7; 32];

/// A good and a bad one of each kind.
async fn fill(store: &Store) {
    somebody(store, 1, "alice").await;
    done(store, store.insert_application(&application("my.app", 1, None, &json!({})), NOW)).await;
    let bad = [
        "INSERT INTO applications (instance, id, uri, record, epoch, version, created_at) \
         VALUES ($instance, $bad, 'a.bad', '{\"ClientType\":\"Device\"}', 0, 1, 0)",
        "INSERT INTO application_secrets (instance, id, application, label, digest, created_at) \
         VALUES ($instance, 's', $bad, '', CAST('x' AS BYTEA), 0)",
        "INSERT INTO roles (instance, name, permits) VALUES ($instance, 'Bad', 'none')",
        "INSERT INTO users (instance, id, login, login_folded, user_type, is_admin, enabled, name, email_verified, role, \
         epoch, created_at, updated_at) \
         VALUES ($instance, $bad, 'bad', 'bad', 'Robot', 0, 1, 'x', 0, 'Bad', 0, 0, 0)",
        "INSERT INTO signing_keys (instance, kid, algorithm, private_key, signs_from, created_at) \
         VALUES ($instance, 'bad', 'ES512', CAST('x' AS BYTEA), 0, 0)",
        "INSERT INTO reference_tokens (instance, id, digest, kind, application, user_id, tail, description, scope, \
         created_by, created_at) \
         VALUES ($instance, $bad, CAST('x' AS BYTEA), 'robot', $bad, $bad, '', '', 'read', '', 0)",
        "INSERT INTO consents (instance, user_id, application, scope, granted_at) \
         VALUES ($instance, $bad, $bad, 'a\"b', 7)",
        "INSERT INTO email_changes (instance, user_id, user_epoch, new_address, new_digest, expires_at) \
         VALUES ($instance, $bad, 0, 'nowhere', CAST('x' AS BYTEA), 0)",
        "INSERT INTO identity_sessions (instance, id, secret, user_id, user_epoch, auth_time, amr, created_at, last_seen) \
         VALUES ($instance, $bad, CAST('x' AS BYTEA), $bad, 0, 0, '', 0, 0)",
        "INSERT INTO authorizations (instance, id, state, application, user_id, session, scope, auth_time, amr, \
         application_epoch, user_epoch, code_digest, code_expires_at, redirect_uri, generation, rotated_at, proven) \
         VALUES ($instance, $bad, 'paused', $bad, $bad, $bad, 'read', 0, '', 0, 0, \
         $1, 0, '', 0, 5, 0)",
        "INSERT INTO api_sessions (instance, id, key, user_id, seat, opened_at, last_call) \
         VALUES ($instance, $bad, 'robot:7', $bad, 'shared', 0, 0)",
        "INSERT INTO links (instance, digest, kind, user_id, user_epoch, expires_at) \
         VALUES ($instance, $1, 'robot', $bad, 0, 9000000000000000000)",
        "INSERT INTO changes (instance, number, kind, subject, at) VALUES ($instance, 1, 'robots', 'x', 0)",
        "INSERT INTO changes (instance, number, kind, subject, at) VALUES ($instance, 2, 'user', 'nobody', 0)",
    ];
    for sql in bad {
        let sql = sql.replace("$bad", BAD).replace("$instance", &format!("'{}'", store.instance().0));
        let params = if sql.contains("$1") { values![DIGEST] } else { values![] };
        let done = store.commit(Batch::new().with(statement(sql.clone(), params))).await.expect("good SQL");
        assert_eq!(done, CommitOutcome::Committed, "{sql}");
    }
}

async fn one_bad_row_of_each_kind_stops_no_list(place: Place) {
    let server = server(&place).await;
    done(&server.here, server.here.insert_seats()).await;
    let store = &server.here;
    fill(store).await;
    let bad = Uuid::from_u128(11);

    let applications = register(store).await;
    let seen: Vec<(&str, bool)> = applications.iter().map(|one| (one.uri.as_str(), one.enabled)).collect();
    assert_eq!(seen, [("a.bad", false), ("my.app", true)]);
    assert!(applications[0].problems().join(" ").contains("Device") && applications[0].secrets().is_empty());
    let users = store.users_after("", 1000).await.expect("no fault");
    let users: Vec<_> = users.into_iter().map(|row| row.user).collect();
    let on: Vec<(&str, bool)> = users.iter().map(|user| (user.login.as_str(), user.is_on())).collect();
    assert_eq!(on, [("alice", true), ("bad", false)]);
    assert!(!users[1].may_sign_in() && users[1].active().is_none() && users[1].problems[0].contains("Robot"));
    let roles = store.roles_after("", 9).await.expect("no fault");
    assert!(roles[0].permissions.read.is_empty() && roles[0].problems.len() == 1);
    let stored = store.signing_keys().await.expect("no fault");
    let unreadable: Vec<&str> = stored.unreadable.iter().map(|row| row.algorithm.as_str()).collect();
    assert!(stored.keys.is_empty() && unreadable == ["ES512"], "{unreadable:?}");
    assert_eq!(store.key_count("ES512").await.expect("no fault"), 1);
    assert!(store.reference_tokens_before(None, TokensOf::Everybody, 9).await.expect("no fault").is_empty());
    assert!(store.personal_tokens(UserId(bad), 9).await.expect("no fault").is_empty());
    assert!(store.reference_token_by_id(ReferenceTokenId(bad)).await.is_err(), "who asks for this one");
    assert_eq!(ReferenceTokenKind::parse("robot"), None);
    let parties = ConsentParties { user: UserId(bad), application: ApplicationId(bad) };
    let consent = store.consent_as_written(parties).await.expect("no fault");
    assert_eq!(consent, (Scope::default(), "a\"b".to_owned()), "asked again, and written over");
    let read = Scope::parse("read").expect("a scope");
    let connections = store.connections(UserId(bad), NOW, NOW).await.expect("no fault");
    assert_eq!(connections[0].consent.as_ref().map(|(scope, _)| scope.is_empty()), Some(true), "it can be withdrawn");
    done(store, store.remember_consent(parties, &consent.1, &read, LATER)).await;
    assert!(store.email_change(UserId(bad)).await.expect("no fault").is_none());
    assert!(store.identity_session(SessionId(bad)).await.expect("no fault").is_none());
    assert!(store.identity_sessions_of(UserId(bad), 9).await.expect("no fault").is_empty());
    let (authorization, _) = store.authorization(AuthorizationId(bad)).await.expect("no fault").expect("it is there");
    let end = format!("{:?}", authorization.state);
    assert!(end.contains("Ended") && end.contains("unreadable"), "{end}");
    assert!(store.live_api_sessions(9).await.expect("no fault").is_empty());
    assert!(store.live_api_sessions_of(SessionsToClose::All).await.expect("no fault").is_empty());
    assert_eq!(store.seats_taken().await.expect("no fault").0, 1, "its seat is still taken");
    assert_eq!(store.link(&DIGEST, NOW).await.expect("no fault"), None);
    let newest = store.newest_change().await.expect("no fault").expect("a row that is known by its content");
    assert_eq!(store.changes_after(&newest, 1000).await.expect("no fault"), Some(vec![]));

    let findings = store.findings(100).await.expect("no fault");
    let kinds: Vec<&str> = findings.iter().map(|finding| finding.kind).collect();
    let expected = [
        "application",
        "user",
        "role",
        "signing key",
        "reference token",
        "change of address",
        "sign-in",
        "authorization",
        "API session",
    ];
    assert_eq!(kinds, expected, "{findings:?}");
    assert!(findings.iter().all(|finding| !finding.problems.is_empty()));
    assert_eq!(store.findings(2).await.expect("no fault").len(), 2, "so many at most");
    assert!(server.there.findings(100).await.expect("no fault").is_empty());
}

async fn a_page_is_full_although_rows_of_it_cannot_be_read(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    fill(store).await;
    for number in 1..=9_u8 {
        let bad = number % 3 != 0;
        let kind = if bad { "robot" } else { "personal" };
        let sql = "INSERT INTO reference_tokens (instance, id, digest, kind, application, user_id, tail, description, \
                   scope, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, '', '', 'read', '', 0)";
        let id = Uuid::from_u128(0x100 + u128::from(number));
        let application = Uuid::from_u128(1);
        let row = values![store.instance().0, id, [number; 32], kind, application, user_id(1).0];
        let done = store.commit(Batch::new().with(statement(sql, row))).await.expect("good SQL");
        assert_eq!(done, CommitOutcome::Committed);
    }
    let page = async |after: Option<u128>, limit| {
        let after = after.map(|number| ReferenceTokenId(Uuid::from_u128(0x100 + number)));
        let tokens = store.reference_tokens_before(after, TokensOf::User(user_id(1)), limit).await.expect("no fault");
        tokens.iter().map(|token| token.id.0.as_u128() - 0x100).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2).await, [9, 6]);
    assert_eq!(page(Some(6), 2).await, [3]);
    assert_eq!(page(None, 9).await, [9, 6, 3]);
    assert_eq!(page(None, 0).await, [0_u128; 0]);
}

async fn settings_that_cannot_be_read_permit_least_and_are_kept(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    run(
        store,
        "UPDATE instances SET settings = '{\"seats\":\"many\",\"scope_as_string\":true,\"colour\":\"red\"}' \
                WHERE id = $instance",
    )
    .await;
    let (settings, text) = store.settings_as_written().await.expect("no fault");
    assert_eq!((settings.seats, settings.scope_as_string), (Some(0), true));
    assert_eq!(store.settings_problems().await.expect("no fault").len(), 1);
    let changed = InstanceSettings { session_seconds: 600, ..settings };
    done(store, store.update_settings(&changed, &text)).await;
    let (settings, text) = store.settings_as_written().await.expect("no fault");
    assert_eq!(settings.session_seconds, 600);
    assert!(text.contains("\"seats\":\"many\"") && text.contains("\"colour\":\"red\""), "{text}");
    done(store, store.update_settings(&InstanceSettings { seats: Some(7), ..settings }, &text)).await;
    let (settings, text) = store.settings_as_written().await.expect("no fault");
    assert_eq!(settings.seats, Some(7));
    assert!(text.contains("\"colour\":\"red\""), "{text}");
    assert_eq!(store.settings_problems().await.expect("no fault"), [""; 0]);
    run(store, "UPDATE instances SET settings = 'nothing' WHERE id = $instance").await;
    assert_eq!(store.settings().await.expect("no fault").seats, Some(0));
    assert_eq!(store.database().instances().await.expect("no fault").len(), 2);
}

async fn a_role_keeps_what_a_newer_version_wrote(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let permits = "'{\"read\":[\"A\"],\"update\":[],\"delete\":[\"B\"]}'";
    let sql =
        format!("INSERT INTO roles (instance, name, permits) VALUES ('{}', 'New', {permits})", store.instance().0);
    assert_eq!(
        store.commit(Batch::new().with(statement(sql, values![]))).await.expect("good SQL"),
        CommitOutcome::Committed
    );
    let mut role = store.role("New").await.expect("no fault").expect("it is there");
    assert_eq!((role.permissions.read.as_slice(), role.problems.len()), (&["A".to_owned()][..], 0));
    role.permissions.read.push("C".to_owned());
    done(store, store.update_role(&role)).await;
    let row = store.query("SELECT permits FROM roles", values![]).await.expect("good SQL").remove(0);
    let written: serde_json::Value = serde_json::from_str(&row.text(0).expect("a text")).expect("JSON");
    assert_eq!(written, json!({ "read": ["A", "C"], "update": [], "delete": ["B"] }));
}

/// A register read in two statements could show an application of now with the secrets of before.
async fn an_application_is_read_with_its_secrets_in_one_statement(place: Place) {
    let server = server(&place).await;
    let store = &server.here;
    let confidential = json!({ "ClientType": "Confidential" });
    for (number, uri) in [(1, "my.app/one"), (2, "my.app/two"), (3, "my.app/bare")] {
        done(store, store.insert_application(&application(uri, number, None, &confidential), NOW)).await;
    }
    for (application, id, at) in [(1, "b", LATER), (2, "c", NOW), (1, "a", NOW)] {
        let sql = "INSERT INTO application_secrets (instance, id, application, label, digest, created_at) \
                   VALUES ($1, $2, $3, '', $4, $5)";
        let row = values![store.instance().0, id, Uuid::from_u128(application), [7; 32], at.micros()];
        assert_eq!(
            store.commit(Batch::new().with(statement(sql, row))).await.expect("good SQL"),
            CommitOutcome::Committed
        );
    }
    let seen: Vec<(String, Vec<String>, bool)> = register(store)
        .await
        .iter()
        .map(|one| {
            let secrets = one.secrets().iter().map(|secret| secret.id.clone()).collect();
            (one.uri.to_string(), secrets, one.enabled)
        })
        .collect();
    let expected =
        [("my.app/bare", vec![], false), ("my.app/one", vec!["a", "b"], true), ("my.app/two", vec!["c"], true)];
    let expected = expected
        .map(|(uri, secrets, on)| (uri.to_owned(), secrets.into_iter().map(str::to_owned).collect::<Vec<_>>(), on));
    assert_eq!(seen, expected, "a Confidential one without a secret is off");
    let page = store.applications_after("my.app/bare", 9).await.expect("no fault");
    assert_eq!(page.iter().map(|one| one.secrets().len()).collect::<Vec<_>>(), [2, 1]);
    let one = store.application(ApplicationId(Uuid::from_u128(1))).await.expect("no fault").expect("it is there");
    assert_eq!(one.secrets().len(), 2);
}
