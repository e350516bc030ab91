//! Install links: an administrator sees the vendor's parameters in plain words and confirms them.

use acceptance::TestServer;
use http::Method;

use super::{administrator, assert_refused, service_token, shown};
use crate::FIRST;

const LINK: &str = "/manage/apps/install?applicationUri=vendor.app&applicationName=Vendor&clientType=Confidential\
                    &redirectUri=https%3A%2F%2Fvendor.example%2Fcb&impersonate=internal&requestSecret=true\
                    &serviceAccess=clientCredentials&scope=read";

#[tokio::test]
async fn a_link_is_shown_in_plain_words_and_registers_what_it_says() {
    let server = TestServer::open().await;
    let mut admin = server.browser("admin");
    let sign_in = admin.open(LINK).await;
    let page = admin.enter(&sign_in).await;
    assert_eq!(page.page(), "manage-install", "the whole link survives the sign-in: {}", page.text());
    let text = page.words("main").expect("a page");
    for part in ["Register Vendor?", "https://vendor.example/cb", "System User", "read"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let operator = server.operator().await;
    assert!(operator.application("vendor.app").await.expect("no fault").is_err(), "nothing has been done yet");
    assert_refused(
        &admin.submit(&page, "link", &[("system_user", "nobody")]).await,
        "manage-install",
        "user nobody not found",
    );
    assert_refused(&admin.submit(&page, "link", &[]).await, "manage-install", "SystemUser");
    let made = admin.submit(&page, "link", &[("system_user", "svc.reader")]).await;
    let secret = shown(&made, "manage-app-registered");
    let token = service_token(&server, "vendor.app", &secret).await;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let again = admin.open(LINK).await;
    assert_eq!(again.page(), "manage-install-known");
}

#[tokio::test]
async fn a_link_that_cannot_be_followed_registers_nothing() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    for (query, why) in [
        ("", "applicationUri"),
        ("applicationUri=v&clientType=Public&impersonate=internal", "redirectUri"),
        ("applicationUri=v&clientType=Public&redirectUri=https://v.example/&impersonate=none", "impersonate"),
        (
            "applicationUri=v&clientType=Public&redirectUri=https://v.example/&impersonate=all&requestSecret=1",
            "requestSecret",
        ),
        ("applicationUri=v&redirectUri=http://elsewhere.example/", "redirectUri: \"http://elsewhere.example/\""),
        (
            "applicationUri=v&redirectUri=https://v.example/cb,https://*.example/cb",
            "redirectUri: \"https://*.example/cb\": invalid host",
        ),
        ("applicationUri=v&applicationName=Pay%E2%80%AElaP", "applicationName"),
    ] {
        let page = admin.open(&format!("/manage/apps/install?{query}")).await;
        assert_eq!((page.status.as_u16(), page.page().as_str()), (400, "manage-install-broken"), "{query}");
        assert!(page.words("[role=alert]").expect("a reason").contains(why), "{query}");
    }
    let page = admin.open("/manage/apps/install?applicationUri=v&scope=everything").await;
    assert_refused(&admin.submit(&page, "link", &[]).await, "manage-install", "everything is unknown");
    let posted = admin.step(&Method::POST, "/manage/apps/install", &[("link", "applicationUri=v")]).await;
    assert_eq!(posted.status, 403, "another site's form");
    let operator = server.operator().await;
    assert!(operator.application("v").await.expect("no fault").is_err());
}

#[tokio::test]
async fn a_link_switches_an_application_off() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let page = admin.open(&format!("/manage/apps/uninstall?applicationUri={FIRST}")).await;
    assert_eq!(page.page(), "manage-uninstall");
    assert_eq!(server.client().call_api(&token).await.status, 200, "nothing has been done yet");
    let done = admin.submit(&page, "uri", &[]).await;
    assert_eq!(done.page(), "manage-app");
    assert_eq!(server.client().call_api(&token).await.status, 401);
    let none = admin.open("/manage/apps/uninstall?applicationUri=none").await;
    assert_eq!((none.status.as_u16(), none.page().as_str()), (400, "manage-install-broken"));
}
