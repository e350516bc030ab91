//! A user's own access tokens: created after a recent sign-in, shown once, listed masked, revoked.

use std::time::Duration;

use acceptance::{Browser, HttpAnswer, TestServer, change_setting};
use serde_json::json;

const SCRIPTS: &str = "my.trusted.app/scripts";

/// The form for the demo's only application that allows users to create tokens.
async fn form(browser: &mut Browser) -> HttpAnswer {
    let page = browser.open("/profile/tokens").await;
    let links = page.attributes(".sites a", "href");
    browser.open(&links[0]).await
}

pub(in super::super) async fn make(
    browser: &mut Browser,
    description: &str,
    scopes: &[&str],
    expires: &str,
) -> HttpAnswer {
    let page = form(browser).await;
    let sent = page.form("description");
    let field = |name: &str| sent.field(name).unwrap_or_default().to_owned();
    let (csrf, application) = (field("csrf"), field("application"));
    let mut fields = vec![("csrf", csrf.as_str()), ("application", &application), ("description", description)];
    fields.extend(scopes.iter().map(|scope| ("scope", *scope)));
    fields.push(("expires", expires));
    browser.post(&sent.action, &fields).await
}

pub(in super::super) fn value(page: &HttpAnswer) -> String {
    assert_eq!((page.status.as_u16(), page.page().as_str()), (201, "profile-token-made"), "{}", page.text());
    page.words("#value").expect("the value")
}

async fn signed_in(server: &TestServer, login: &str) -> Browser {
    let mut browser = server.browser(login);
    browser.sign_in().await;
    browser
}

fn refusal(page: &HttpAnswer) -> String {
    assert_eq!(page.page(), "profile-token-new", "{}", page.text());
    page.words("[role=alert]").expect("a reason")
}

#[tokio::test]
async fn a_token_is_shown_once_works_is_listed_masked_and_dies_when_revoked() {
    let server = TestServer::open().await;
    let mut alice = signed_in(&server, "alice").await;
    let made = make(&mut alice, "nightly export", &["read"], "30").await;
    let value = value(&made);
    assert_eq!(made.header("cache-control"), "no-store");
    assert_eq!(server.client().call_api(&value).await.status, 200);
    server.tick().await;
    let list = alice.open("/profile/tokens").await;
    let text = list.words("main").expect("a page");
    assert!(text.contains("nightly export") && text.contains(&format!("enrt_…{}", &value[65..])), "{text}");
    assert!(text.contains("last used") && !list.text().contains(&value), "{text}");
    let id = list.attributes("[name=revoke]", "value").remove(0);
    let list = alice.submit(&list, "revoke", &[("revoke", &id)]).await;
    assert!(list.attributes("[name=revoke]", "value").is_empty());
    assert_eq!(server.client().call_api(&value).await.status, 401, "on the next call");
    let trail = server.audit().await;
    assert!(trail.iter().any(|row| row.kind == "token-issued" && row.application == SCRIPTS && row.token == id));
    assert!(trail.iter().any(|row| row.kind == "token-revoked" && row.reason == "owner"));
    assert!(trail.iter().all(|row| row.columns.iter().all(|column| !column.contains(&value))));
}

#[tokio::test]
async fn a_token_may_do_what_was_chosen_and_lives_as_long_as_chosen() {
    let server = TestServer::open().await;
    let mut alice = signed_in(&server, "alice").await;
    let reading = value(&make(&mut alice, "reads", &["read"], "7").await);
    let both = value(&make(&mut alice, "reads and writes", &["read", "update"], "never").await);
    let create = async |token: &str| {
        let client = server.client();
        let ask = client.ask(&http::Method::POST, "/api/domain/odata/Crm_Customers").bearer(token);
        ask.body("application/json", r#"{"Number":"K-9001"}"#).send().await.status.as_u16()
    };
    assert_eq!(create(&reading).await, 403);
    assert_eq!(create(&both).await, 422, "let in, though it is no whole customer");
    server.advance(Duration::from_hours(24 * 7));
    assert_eq!(server.client().call_api(&reading).await.status, 401);
    assert_eq!(server.client().call_api(&both).await.status, 200);
    let mut alice = signed_in(&server, "alice").await;
    let text = alice.open("/profile/tokens").await.words("main").expect("a page");
    assert!(text.contains("expired") && text.contains("never expires"), "{text}");
}

#[tokio::test]
async fn a_token_needs_a_recent_sign_in() {
    let server = TestServer::open().await;
    let mut alice = signed_in(&server, "alice").await;
    let page = form(&mut alice).await;
    server.advance(Duration::from_secs(601));
    let late = alice.submit(&page, "description", &[("description", "x"), ("scope", "read"), ("expires", "7")]).await;
    assert!(refusal(&late).contains("too long ago"));
    let again = late.attributes("#sign-in-again", "href").remove(0);
    assert!(late.attributes("[name=description]", "name").is_empty(), "no form until then");
    let sign_in = alice.open(&again).await;
    assert_eq!((sign_in.page().as_str(), sign_in.attributes("#login", "value")), ("sign-in", vec!["alice".to_owned()]));
    let back = alice.enter(&sign_in).await;
    assert_eq!((back.page().as_str(), back.attributes("[name=description]", "name").len()), ("profile-token-new", 1));
    value(&make(&mut alice, "x", &["read"], "7").await);
}

#[tokio::test]
async fn what_is_amiss_is_said_and_what_was_typed_is_kept() {
    let server = TestServer::open().await;
    let mut alice = signed_in(&server, "alice").await;
    let nothing = make(&mut alice, "nightly", &[], "7").await;
    assert!(refusal(&nothing).contains("at least one"));
    assert_eq!(nothing.attributes("#description", "value"), ["nightly"]);
    assert!(refusal(&make(&mut alice, " ", &["read"], "7").await).contains("1 to 200"));
    assert!(refusal(&make(&mut alice, &"x".repeat(201), &["read"], "7").await).contains("1 to 200"));
    for (scope, expires) in [("read", "0"), ("read", "8"), ("read", ""), ("read", "-1"), ("re\"ad", "7")] {
        assert!(refusal(&make(&mut alice, "x", &[scope], expires).await).contains("expiry"), "{scope} {expires}");
    }
    for scope in ["sec", "openid", "offline_access"] {
        assert!(refusal(&make(&mut alice, "x", &[scope], "7").await).contains("administrator"), "{scope}");
    }
    assert!(alice.open("/profile/tokens").await.attributes("[name=revoke]", "value").is_empty(), "none was made");
}

#[tokio::test]
async fn where_tokens_must_expire_none_lives_for_ever() {
    let server = TestServer::open().await;
    let mut rng = server.rng();
    let set =
        change_setting(&server.operator().await, "reference_tokens_must_expire", "true", &mut server.moment(&mut rng))
            .await;
    set.expect("no fault").expect("a setting");
    server.catch_up().await;
    let mut alice = signed_in(&server, "alice").await;
    assert!(!form(&mut alice).await.attributes("[name=expires]", "value").contains(&"never".to_owned()));
    assert!(refusal(&make(&mut alice, "x", &["read"], "never").await).contains("must expire"));
}

#[tokio::test]
async fn applications_that_give_this_person_no_token_are_not_there() {
    let server = TestServer::open().await;
    let (mut alice, mut admin, mut carol) =
        (signed_in(&server, "alice").await, signed_in(&server, "admin").await, signed_in(&server, "carol").await);
    let offered = async |browser: &mut Browser| browser.open("/profile/tokens").await.attributes(".sites a", "href");
    assert_eq!(offered(&mut alice).await.len(), 1);
    assert_eq!(offered(&mut admin).await.len(), 2, "administrators have one more");
    assert!(offered(&mut carol).await.is_empty(), "community users have none");
    let for_administrators =
        offered(&mut admin).await.into_iter().find(|path| !path.is_empty()).expect("one that is offered");
    let mine = offered(&mut alice).await.remove(0);
    let theirs = offered(&mut admin).await.into_iter().find(|path| *path != mine).expect("the other one");
    assert_eq!(alice.open(&theirs).await.status, 404);
    assert_eq!(carol.open(&for_administrators).await.status, 404);
    assert_eq!(alice.open("/profile/tokens?for=x").await.page(), "profile-tokens");
    let id = theirs.split('=').nth(1).expect("an id").to_owned();
    let csrf = form(&mut alice).await.form("csrf").field("csrf").expect("a token").to_owned();
    let fields =
        [("csrf", csrf.as_str()), ("application", &id), ("description", "x"), ("scope", "read"), ("expires", "7")];
    assert_eq!(alice.post("/profile/tokens", &fields).await.status, 404);
}

#[tokio::test]
async fn somebody_elses_token_is_not_there() {
    let server = TestServer::open().await;
    let (mut alice, mut bob) = (signed_in(&server, "alice").await, signed_in(&server, "bob").await);
    let value = value(&make(&mut bob, "bob's", &["read"], "7").await);
    let id = bob.open("/profile/tokens").await.attributes("[name=revoke]", "value").remove(0);
    assert!(!alice.open("/profile/tokens").await.text().contains("bob&#39;s"));
    let csrf = super::csrf_of(&mut alice).await;
    for id in [id.as_str(), "x", "00000000-0000-0000-0000-000000000000"] {
        assert_eq!(alice.post("/profile/tokens", &[("csrf", &csrf), ("revoke", id)]).await.status, 404, "{id}");
    }
    assert_eq!(server.client().call_api(&value).await.status, 200, "it goes on");
}

#[tokio::test]
async fn markup_in_descriptions_and_names_is_text() {
    let server = TestServer::open().await;
    let nasty = "</h2><script>alert(1)</script>\"'&";
    let record = json!({
        "Name": nasty, "ApplicationUri": "nasty.app", "ClientType": "Public", "Scope": "read",
        "ImpersonateLoginUrl": ["https://nasty.example.com/"], "ImpersonateAsInternalUserAllowed": true,
        "AccessTokens": "AuthenticatedUsers",
    });
    server.register(record, None).await;
    let mut alice = signed_in(&server, "alice").await;
    let page = make(&mut alice, nasty, &["read"], "7").await;
    value(&page);
    for page in [page, alice.open("/profile/tokens").await, form(&mut alice).await] {
        assert!(!page.text().contains("<script") && page.text().contains("&#60;script"), "{}", page.text());
    }
}

/// A new password does not revoke personal tokens, so its page offers to revoke them.
#[tokio::test]
async fn after_a_new_password_all_tokens_are_revoked_at_once_if_the_person_wants() {
    let server = TestServer::open().await;
    let (mut alice, mut bob) = (signed_in(&server, "alice").await, signed_in(&server, "bob").await);
    let of_bob = value(&make(&mut bob, "his", &["read"], "30").await);
    let change = async |browser: &mut Browser, new: &str| {
        let page = browser.open("/profile/password").await;
        assert!(!page.text().contains("value=\"all\""), "offered after a change only");
        let current = std::mem::replace(&mut browser.password, new.to_owned());
        browser.submit(&page, "current", &[("current", &current), ("password", new), ("repeat", new)]).await
    };
    let page = change(&mut alice, "lantern-otter-quill").await;
    assert!(page.words("[role=status]").is_some() && !page.text().contains("value=\"all\""), "there are none");
    let values = [
        value(&make(&mut alice, "one", &["read"], "30").await),
        value(&make(&mut alice, "two", &["read"], "never").await),
    ];
    let page = change(&mut alice, "quill-lantern-otter").await;
    assert!(page.text().contains("Revoke all 2 personal access tokens"), "{}", page.text());
    for value in &values {
        assert_eq!(server.client().call_api(value).await.status, 200, "until the person says so");
    }
    let list = alice.submit(&page, "revoke", &[("revoke", "all")]).await;
    assert!(list.page() == "profile-tokens" && list.attributes("[name=revoke]", "value").is_empty());
    for value in &values {
        assert_eq!(server.client().call_api(value).await.status, 401, "on the next call");
    }
    assert_eq!(server.client().call_api(&of_bob).await.status, 200, "somebody else's");
    let revoked = server.audit().await.into_iter().filter(|row| row.kind == "token-revoked" && row.reason == "owner");
    assert_eq!(revoked.count(), 2);
}
