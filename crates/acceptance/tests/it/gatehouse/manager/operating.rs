//! Pages of sessions, tokens, keys, settings, audit and refusals.

use acceptance::{TestServer, TokenAnswer};

use super::{act, administrator, assert_done, assert_refused, shown};
use crate::{FIRST, SERVICE};

#[tokio::test]
async fn the_sessions_page_shows_who_has_a_seat_and_ends_it() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    server.tick().await;
    let page = admin.open("/manage/sessions").await;
    let text = page.words("main").expect("a page");
    for part in ["1 of 5 seats", "alice", FIRST, "sign-in", "shared", "20 min"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let most = "1 of 5 seats (measured";
    let dashboard = admin.open("/manage").await;
    assert!(dashboard.text().contains(most), "{}", dashboard.text());
    let filtered = admin.open("/manage/sessions?user=bob").await;
    assert!(filtered.words("main").expect("a page").contains("No live sessions"));
    let id = page.attributes("[name=id]", "value").remove(0);
    assert_done(&act(&mut admin, &page, "end", &[("id", &id)]).await, "manage-sessions");
    assert_eq!(server.client().call_api(&token).await.status, 401);
    assert_done(&act(&mut admin, &page, "end", &[("id", &id)]).await, "manage-sessions");
    let service = TokenAnswer::read(&server.app(SERVICE).service_token("read").await).access;
    assert_eq!(server.client().call_api(&service).await.status, 200);
    assert_done(&act(&mut admin, &page, "end-app", &[("uri", SERVICE)]).await, "manage-sessions");
    let (seats, _) = server.operator().await.seats().await.expect("sessions can be read");
    assert_eq!(seats.used, 0);
    let nobody = act(&mut admin, &page, "end-user", &[("login", "nobody")]).await;
    assert_refused(&nobody, "manage-sessions", "user nobody not found");
}

#[tokio::test]
async fn a_service_token_is_issued_shown_once_and_revoked() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = admin.open("/manage/tokens").await;
    let wish = [("uri", SERVICE), ("description", "warehouse"), ("scope", "read")];
    let none = act(&mut admin, &page, "issue", &wish[..2]).await;
    assert_refused(&none, "manage-tokens", "scope");
    let odd = act(&mut admin, &page, "issue", &[wish[0], wish[1], wish[2], ("expires", "never")]).await;
    assert_refused(&odd, "manage-tokens", "enter a date");
    let value = shown(&act(&mut admin, &page, "issue", &wish).await, "manage-token-made");
    assert_eq!(server.client().call_api(&value).await.status, 200);
    let list = admin.open("/manage/tokens").await;
    assert!(list.text().contains("warehouse") && !list.text().contains(&value));
    let id = list.attributes("[name=id]", "value").remove(0);
    assert_done(&act(&mut admin, &list, "revoke", &[("id", &id)]).await, "manage-tokens");
    assert_eq!(server.client().call_api(&value).await.status, 401);
    assert_done(&act(&mut admin, &list, "revoke", &[("id", &id)]).await, "manage-tokens");
    assert_refused(
        &act(&mut admin, &page, "issue", &[("uri", "none"), wish[1], wish[2]]).await,
        "manage-tokens",
        "none",
    );
}

#[tokio::test]
async fn keys_are_rotated_and_replaced_with_a_look_at_what_breaks() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let page = admin.open("/manage/keys").await;
    let before = page.attributes("tbody tr", "class").len() + page.text().matches("<tr>").count();
    let form = [("algorithm", "ES256")];
    assert_done(&act(&mut admin, &page, "rotate", &form).await, "manage-keys");
    let page = admin.open("/manage/keys").await;
    assert_eq!(page.text().matches("<tr>").count(), before + 1);
    assert_refused(&act(&mut admin, &page, "rotate", &form).await, "manage-keys", "published already");
    assert_eq!(server.client().call_api(&token).await.status, 200, "rotating breaks nothing");
    let preview = admin.open("/manage/keys?replace=ES256").await;
    assert!(preview.words("main").expect("a page").contains(FIRST));
    assert_done(&act(&mut admin, &preview, "replace", &[]).await, "manage-keys");
    assert_eq!(server.client().call_api(&token).await.status, 401, "what the old keys signed is dead");
    assert_eq!(admin.open("/manage/keys?replace=none").await.status, 404);
}

#[tokio::test]
async fn settings_are_saved_and_bad_ones_refused() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = admin.open("/manage/settings").await;
    let saved = admin.submit(&page, "seats", &[("seats", "7"), ("reserved_seats", "admin\nbob")]).await;
    assert_done(&saved, "manage-settings");
    let settings = server.operator().await.settings().await.expect("no fault");
    assert_eq!((settings.seats, settings.reserved_seats.len()), (Some(7), 2));
    let stale = admin.submit(&page, "seats", &[("seats", "8")]).await;
    assert_refused(&stale, "manage-settings", "it was changed in the meantime");
    let now = admin.open("/manage/settings").await;
    for (name, value, why) in [
        ("seats", "1", "reserved_seats"),
        ("seats", "many", "u32"),
        ("seats_per_user", "0", "seats_per_user: must be at least 1"),
        ("seats_per_application", "0", "seats_per_application: must be at least 1"),
        ("access_token_seconds", "5", "access_token_seconds"),
        ("legacy_sunset", "soon", "must be a date"),
        ("access_token_algorithm", "none", "none"),
    ] {
        let refused = admin.submit(&now, "seats", &[(name, value)]).await;
        assert_refused(&refused, "manage-settings", why);
    }
    let unlimited = admin.submit(&now, "seats", &[("seats", "")]).await;
    assert_done(&unlimited, "manage-settings");
    assert_eq!(server.operator().await.settings().await.expect("no fault").seats, None);
}

#[tokio::test]
async fn the_audit_is_filtered_and_a_refusal_explained() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let asked = server.app(FIRST).asks("read").with("redirect_uri", "https://elsewhere.example/").path();
    let refused = server.browser("alice").open(&asked).await;
    let reference = refused.header("x-request-id").to_owned();
    server.tick().await;
    server.seal().await;
    let page = admin.open(&format!("/manage/refusals?reference={reference}")).await;
    let text = page.words("main").expect("a page");
    assert!(text.contains("https://elsewhere.example/") && text.contains("authorize"), "{text}");
    assert!(page.words("mark").is_some(), "where it differs");
    let list = admin.open("/manage/audit?outcome=refused&chain=refusals").await;
    assert!(list.attributes("tbody a", "href").iter().any(|link| link.contains(&reference)));
    let none = admin.open("/manage/audit?kind=token-reused").await;
    assert!(none.words("main").expect("a page").contains("No matching events"));
    assert_refused(&admin.open("/manage/audit?user=nobody").await, "manage-audit", "user nobody not found");
    assert_refused(&admin.open("/manage/audit?since=soon").await, "manage-audit", "enter a date");
    assert_refused(&admin.open("/manage/refusals?reference=1").await, "manage-refusals", "32 hexadecimal digits");
    let unknown = admin.open("/manage/refusals?reference=00000000000000000000000000000000").await;
    assert_refused(&unknown, "manage-refusals", "not found");
}

#[tokio::test]
async fn the_audit_is_a_file_and_it_shows_who_changed_it() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    server.seal().await;
    let page = admin.open("/manage/audit").await;
    let links = page.attributes(".ways a", "href");
    let jsonl = admin.open(links.iter().find(|link| link.contains("format=jsonl")).expect("a link")).await;
    assert_eq!((jsonl.status.as_u16(), jsonl.header("content-type")), (200, "application/jsonl"));
    assert_eq!(jsonl.header("content-disposition"), "attachment; filename=\"audit-testdb.jsonl\"");
    let events: Vec<serde_json::Value> =
        jsonl.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events[0]["format"], "gatehouse-audit-1");
    let signed_in = events.iter().filter(|line| line["event"]["kind"] == "sign-in").count();
    assert_eq!(signed_in, 1, "{}", jsonl.text());
    let csv = admin.open("/manage/audit/export?format=csv&kind=sign-in").await;
    assert_eq!(csv.text().lines().count(), 2, "{}", csv.text());
    assert_eq!(admin.open("/manage/audit/export?format=xml").await.status, 404);
    assert_eq!(admin.open("/manage/audit/export?format=csv&since=soon").await.status, 404);
    let whole = admin.submit(&page, "csrf", &[]).await;
    assert_eq!((whole.status.as_u16(), whole.page().as_str()), (200, "manage-audit-verified"));
    assert!(whole.text().contains("No tampering found."), "{}", whole.text());
    let store = server.store().await;
    let forged = store::statement(
        "UPDATE audit_seals SET events = REPLACE(events, 'sign-in', 'sign-on') WHERE instance = $1",
        store::values![store.instance().0],
    );
    let done = store.commit(store::Batch::new().with(forged)).await.expect("no fault");
    assert_eq!(done, store::CommitOutcome::Committed);
    let changed = admin.submit(&page, "csrf", &[]).await;
    let text = changed.words("main").expect("a page");
    assert!(text.contains("The audit was changed") && text.contains("event edited"), "{text}");
}

#[tokio::test]
async fn the_audit_is_walked_to_its_beginning() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let (operator, mut rng) = (server.operator().await, server.rng());
    let mut moment = server.moment(&mut rng);
    for number in 0..60 {
        let role = model::entities::Permissions::default();
        operator.create_role(&format!("role {number}"), &role, &mut moment).await.expect("no fault").expect("made");
    }
    server.seal().await;
    let (mut at, mut seen, mut pages) = ("/manage/audit?kind=admin-change".to_owned(), 0, 1);
    loop {
        let page = admin.open(&at).await;
        seen += page.attributes("tbody time", "datetime").len();
        let Some(next) = page.attributes("a[rel=next]", "href").into_iter().next() else { break };
        assert!(next.contains("kind=admin-change"), "the question goes along: {next}");
        (at, pages) = (next, pages + 1);
        assert!(pages < 20, "it comes to an end");
    }
    let found = server.audit().await.iter().filter(|row| row.kind == "admin-change").count();
    assert_eq!((seen, pages > 1), (found, true));
}
