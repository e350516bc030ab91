//! Pages of applications.

use acceptance::TestServer;

use super::{act, administrator, assert_done, assert_refused, found, service_token, shown};
use crate::FIRST;

#[tokio::test]
async fn a_service_is_registered_by_its_kind_and_works_with_the_secret_that_is_shown() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let kinds = admin.open("/manage/apps/new").await;
    assert_eq!(kinds.attributes(".ways a", "href").len(), 5);
    let form = admin.open("/manage/apps/new?kind=service").await;
    let refused = admin.submit(&form, "uri", &[("uri", "nightly"), ("name", "Nightly")]).await;
    assert_refused(&refused, "manage-app-new", "SystemUser");
    let made = admin.submit(&refused, "uri", &[("system_user", "svc.reader")]).await;
    let secret = shown(&made, "manage-app-registered");
    let token = service_token(&server, "nightly", &secret).await;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let again = admin.submit(&form, "uri", &[("uri", "nightly"), ("name", "N"), ("system_user", "svc.reader")]).await;
    assert_refused(&again, "manage-app-new", "already exists");
    let nobody = admin.submit(&form, "uri", &[("uri", "n2"), ("name", "N"), ("system_user", "nobody")]).await;
    assert_refused(&nobody, "manage-app-new", "SystemUser: user nobody not found");
}

#[tokio::test]
async fn every_kind_is_a_record_that_can_be_registered() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    for kind in ["web", "spa", "native", "service", "hybrid"] {
        let form = admin.open(&format!("/manage/apps/new?kind={kind}")).await;
        let mut entered = vec![
            ("uri", kind),
            ("name", kind),
            ("redirect_uris", "https://app.example/cb, https://app.example/two\nhttps://app.example/three"),
        ];
        if ["service", "hybrid"].contains(&kind) {
            entered.push(("system_user", "svc.reader"));
        }
        let made = admin.submit(&form, "uri", &entered).await;
        assert_eq!(made.page(), "manage-app-registered", "{kind}: {}", made.text());
        let record = server.operator().await.application(kind).await.expect("no fault").expect("there").to_record();
        assert_eq!(record.impersonate_login_url.len(), 3, "{kind}");
    }
}

#[tokio::test]
async fn what_nobody_touches_is_saved_as_it_was() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let list = admin.open("/manage/apps").await;
    let operator = server.operator().await;
    for path in list.attributes("tbody a", "href") {
        let id = path.rsplit('/').next().and_then(|id| id.parse().ok()).expect("an id");
        let id = model::ApplicationId(id);
        let before = operator.application_by_id(id).await.expect("no fault").expect("there");
        let page = admin.open(&path).await;
        assert_done(&act(&mut admin, &page, "save", &[]).await, "manage-app");
        let after = operator.application_by_id(id).await.expect("no fault").expect("there");
        let json = |application: &model::TrustedApplication| {
            let mut record = serde_json::to_value(application.to_record()).expect("it writes");
            let mut scope: Vec<String> =
                record["Scope"].as_str().expect("a text").split(' ').map(str::to_owned).collect();
            scope.sort_unstable();
            record["Scope"] = scope.into();
            record
        };
        assert_eq!(json(&after), json(&before));
    }
}

#[tokio::test]
async fn of_two_administrators_the_second_is_told_what_the_first_did() {
    let server = TestServer::open().await;
    let (mut first, mut second) = (administrator(&server).await, administrator(&server).await);
    let page = found(&mut first, "apps", FIRST).await;
    let stale = found(&mut second, "apps", FIRST).await;
    assert_done(&act(&mut first, &page, "save", &[("name", "Renamed")]).await, "manage-app");
    let late = act(&mut second, &stale, "save", &[("name", "Otherwise")]).await;
    assert_refused(&late, "manage-app", "it was changed in the meantime");
    assert_eq!(late.words("h1").as_deref(), Some("Renamed"), "the page shows what it is now");
}

#[tokio::test]
async fn a_bad_record_is_refused_with_every_reason_and_what_was_entered_stays() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = found(&mut admin, "apps", FIRST).await;
    let bad = [("redirect_uris", "http://elsewhere.example/"), ("seconds", "7"), ("policy_url", "javascript:alert(1)")];
    let refused = act(&mut admin, &page, "save", &bad).await;
    for why in ["ImpersonateLoginUrl", "AccessTokenSeconds", "PolicyUrl"] {
        assert_refused(&refused, "manage-app", why);
    }
    assert_eq!(refused.form("redirect_uris").field("redirect_uris"), Some("http://elsewhere.example/"));
    for name in ["redirect_uris", "post_logout_uris"] {
        let several = "https://one.example/cb, https://two.example/#f\nhttps://three.example/*";
        let refused = act(&mut admin, &page, "save", &[(name, several)]).await;
        assert_refused(&refused, "manage-app", "\"https://two.example/#f\": must not contain a fragment");
        assert_refused(&refused, "manage-app", "\"https://three.example/*\": wildcards are not supported");
        assert!(!refused.words("[role=alert]").expect("a reason").contains("one.example"), "that one is good");
    }
    for (name, value, why) in
        [("seconds", "many", "enter a whole number"), ("access_algorithm", "none", "unknown algorithm")]
    {
        assert_refused(&act(&mut admin, &page, "save", &[(name, value)]).await, "manage-app", why);
    }
}

#[tokio::test]
async fn switching_an_application_off_ends_its_tokens() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let page = found(&mut admin, "apps", FIRST).await;
    let form = page.form_that("do", "save");
    let fields: Vec<(&str, &str)> = form
        .fields
        .iter()
        .filter(|(name, _)| name != "enabled")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_done(&admin.post(&form.action, &fields).await, "manage-app");
    assert_eq!(server.client().call_api(&token).await.status, 401);
}

#[tokio::test]
async fn a_secret_is_replaced_without_downtime() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = found(&mut admin, "apps", "my.trusted.app/service").await;
    let only = page.attributes("[name=id]", "value").remove(0);
    assert_refused(&act(&mut admin, &page, "remove-secret", &[("id", &only)]).await, "manage-app", "the last secret");
    assert_refused(&act(&mut admin, &page, "add-secret", &[("label", " ")]).await, "manage-app", "label");
    let late = act(&mut admin, &page, "add-secret", &[("label", "x"), ("expires", "2020-01-01")]).await;
    assert_refused(&late, "manage-app", "past");
    let odd = act(&mut admin, &page, "add-secret", &[("label", "x"), ("expires", "soon")]).await;
    assert_refused(&odd, "manage-app", "enter a date");
    let made = act(&mut admin, &page, "add-secret", &[("label", "second server")]).await;
    let secret = shown(&made, "manage-secret-made");
    let service = server.app("my.trusted.app/service");
    let renewed = service.with_secret(Some(&secret));
    assert_eq!(service.service_token("read").await.status, 200);
    assert_eq!(renewed.service_token("read").await.status, 200);
    let page = found(&mut admin, "apps", "my.trusted.app/service").await;
    assert!(page.words("main").expect("a page").contains("second server"));
    assert_done(&act(&mut admin, &page, "remove-secret", &[("id", &only)]).await, "manage-app");
    assert_eq!(service.service_token("read").await.status, 401, "from now on");
    assert_eq!(renewed.service_token("read").await.status, 200);
}

#[tokio::test]
async fn a_form_is_checked_while_it_is_filled_in_and_nothing_is_done() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = found(&mut admin, "apps", FIRST).await;
    let checked = |answer: &acceptance::HttpAnswer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["problems"].as_array().expect("a list").iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let good = act(&mut admin, &page, "save", &[("check", "1"), ("name", "Otherwise"), ("version", "0")]).await;
    assert!(checked(&good).is_empty(), "{}", good.text());
    let bad = [("check", "1"), ("redirect_uris", "http://elsewhere.example/"), ("seconds", "7")];
    let problems = checked(&act(&mut admin, &page, "save", &bad).await);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("ImpersonateLoginUrl"), "{problems:?}");
    let form = admin.open("/manage/apps/new?kind=web").await;
    let taken = [("check", "1"), ("uri", FIRST), ("name", "Again")];
    let problems = checked(&admin.submit(&form, "uri", &taken).await);
    assert!(problems.iter().any(|problem| problem.contains("already exists")), "{problems:?}");
    let free = admin.submit(&form, "uri", &[taken[0], ("uri", "free"), taken[2]]).await;
    assert!(checked(&free).is_empty(), "{}", free.text());
    let operator = server.operator().await;
    assert!(operator.application("free").await.expect("no fault").is_err());
    assert_ne!(operator.application(FIRST).await.expect("no fault").expect("there").name, "Otherwise");
}

#[tokio::test]
async fn pkce_is_required_and_no_longer_by_a_tick() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let bare = server.app(FIRST).asks("read").without("code_challenge").without("code_challenge_method");
    for (entered, required) in [([("pkce", "1")], true), ([("pkce", "")], false)] {
        let page = found(&mut admin, "apps", FIRST).await;
        assert_done(&act(&mut admin, &page, "save", &entered).await, "manage-app");
        let answer = server.browser("alice").open(&bare.path()).await;
        assert_eq!(answer.is_callback(), required, "{}", answer.text());
    }
}
