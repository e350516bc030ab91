//! Properties of every page.

use acceptance::{HttpAnswer, TestServer};

use self::FormTarget::{Application, Ourselves};
use crate::FIRST;

/// Where submitting a form of the page may lead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FormTarget {
    Ourselves,
    Application,
}

#[track_caller]
fn assert_well_kept(answer: &HttpAnswer, form_target: FormTarget) {
    let name = answer.page();
    assert!(!name.is_empty(), "a page: {}", answer.text());
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{name}: {policy}");
    }
    // An application's callback may redirect anywhere, and browsers check every redirect against `form-action`.
    let forms = policy.split("; ").find(|part| part.starts_with("form-action"));
    assert_eq!(forms, (form_target == Ourselves).then_some("form-action 'self'"), "{name}: {policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{name}: {policy}");
    assert_eq!(answer.header("x-frame-options"), "DENY", "{name}");
    // An application may have opened the page in a window and wait for that window.
    let alone = name.starts_with("profile") || name.starts_with("manage");
    let opener_policy = if alone { "same-origin" } else { "unsafe-none" };
    assert_eq!(answer.header("cross-origin-opener-policy"), opener_policy, "{name}");
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{name}");
    let permissions = answer.header("permissions-policy");
    for part in ["publickey-credentials-get=(self)", "publickey-credentials-create=(self)", "camera=()", "usb=()"] {
        assert!(permissions.contains(part), "{name}: {permissions}");
    }
    assert_eq!(answer.header("referrer-policy"), "same-origin", "{name}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{name}");
    assert_eq!(answer.header("cache-control"), "no-store", "{name}");
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{name}");
    // Scripts are files of this server, and only pages that name a script may run it.
    let scripts = answer.attributes("script", "src");
    assert!(scripts.iter().all(|path| path.starts_with("/id/assets/")), "{name}: {scripts:?}");
    assert_eq!(answer.every("script"), vec![""; scripts.len()], "{name}: no script in the page itself");
    assert_eq!(policy.contains("script-src 'self';"), !scripts.is_empty(), "{name}: {policy}");
    let text = answer.text();
    assert!(!text.contains(" style=") && !text.contains(" onclick="), "{name}");
}

#[tokio::test]
async fn every_page_is_framed_by_nobody_kept_by_nobody_and_runs_no_script_but_ours() {
    let server = TestServer::open().await;
    let (app, mut alice) = (server.app(FIRST), server.browser("alice"));
    let sign_in = alice.open(&app.asks("read").path()).await;
    assert_well_kept(&sign_in, Application);
    let consent = alice.enter(&sign_in).await;
    assert_well_kept(&consent, Application);
    alice.allow(&consent).await;
    let leaving =
        "/id/connect/endsession?client_id=my.trusted.app/first&post_logout_redirect_uri=http://localhost:3000";
    assert_well_kept(&alice.open(&format!("{leaving}/signed-out")).await, Application);
    assert_well_kept(&alice.open(&format!("{leaving}/elsewhere")).await, Ourselves);
    for (path, page) in [
        ("/", "landing"),
        ("/id/account", "account"),
        ("/id", "account"),
        ("/id/account/login", "sign-in"),
        ("/id/connect/endsession", "sign-out"),
        ("/id/connect/authorize", "error"),
        ("/nothing", "error"),
        ("/profile", "profile"),
        ("/profile/password", "profile-password"),
        ("/profile/tokens", "profile-tokens"),
        ("/profile/apps", "profile-apps"),
        ("/profile/sessions", "profile-sessions"),
        ("/profile/picture", "profile-picture"),
        ("/profile/language", "profile-language"),
    ] {
        let answer = alice.open(path).await;
        assert_eq!(answer.page(), page, "{path}");
        assert_well_kept(&answer, Ourselves);
    }
    let page = alice.open("/id/connect/endsession").await;
    let signed_out = alice.submit(&page, "csrf", &[]).await;
    assert_eq!(signed_out.page(), "signed-out");
    assert_well_kept(&signed_out, Ourselves);
}

#[tokio::test]
async fn what_pages_refer_to_is_there_and_may_be_kept_for_ever() {
    let server = TestServer::open().await;
    let page = server.client().get("/id/account/login").await;
    let references = page.attributes("link", "href");
    assert_eq!(references.len(), 2);
    let scripts = page.attributes("script", "src");
    assert_eq!(scripts.len(), 1);
    for path in references.into_iter().chain(scripts) {
        let asset = server.client().get(&path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(asset.header("cache-control").contains("immutable"), "{path}");
    }
}

#[tokio::test]
async fn what_people_send_comes_back_as_text_only() {
    let server = TestServer::open().await;
    let nasty = "\"><script>alert(1)</script><b x='";
    let mut alice = server.browser(nasty);
    let answer = alice.sign_in().await;
    assert_eq!(answer.page(), "sign-in");
    assert_eq!(answer.attributes("#login", "value"), [nasty], "what was typed is still there");
    assert!(!answer.text().contains("<script>"));
    let app = server.app(FIRST);
    let page = server.browser("alice").open(&app.asks("read").with("state", nasty).path()).await;
    assert_eq!(page.page(), "sign-in");
    assert!(!page.text().contains("<script>"));
}

#[tokio::test]
async fn the_account_page_greets_who_is_signed_in() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    assert_eq!(alice.open("/id/account").await.page(), "sign-in");
    let page = alice.sign_in().await;
    assert_eq!(page.page(), "account");
    assert!(page.text().contains("Alice Archer"));
    let sign_out = page.attributes("#sign-out", "href");
    let page = alice.open(&sign_out[0]).await;
    assert_eq!(page.page(), "sign-out");
    assert_eq!(alice.submit(&page, "csrf", &[]).await.page(), "signed-out");
    assert_eq!(alice.open("/id/account").await.page(), "sign-in");
}

/// RFC 6797 §7.2: sent over https, and never over http.
#[tokio::test]
async fn an_instance_under_https_tells_browsers_to_stay_there() {
    let (plain, secure) = (TestServer::open().await, TestServer::under_https().await);
    for path in ["/", "/id/account/login", "/id", "/nothing", "/api/domain/odata/", "/id/connect/userinfo", "/healthz"]
    {
        let answer = secure.client().get(path).await;
        assert_eq!(
            answer.header("strict-transport-security"),
            "max-age=31536000",
            "{path}: this host, not its neighbours"
        );
        assert_eq!(plain.client().get(path).await.header("strict-transport-security"), "", "{path}");
    }
    // RFC 6797 ignores ports: every other service on the machine would have to use https.
    for host in ["localhost:8443", "localhost.", "a.localhost", "127.0.0.1:8443", "[::1]"] {
        let answer = secure.client().asking_host(host).get("/id/account/login").await;
        assert_eq!((answer.status.as_u16(), answer.header("strict-transport-security")), (200, ""), "{host}");
    }
}

#[tokio::test]
async fn a_page_that_is_not_there_leads_to_the_first_one() {
    let server = TestServer::open().await;
    assert_eq!(server.client().get("/nothing").await.attributes("#home", "href"), ["/"]);
    let other = server.client().get("/id/connect/authorize").await;
    assert!(other.attributes("#home", "href").is_empty(), "whom an application sent here goes back to it");
}
