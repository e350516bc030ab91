//! The instance manager (`identity.md` §3.8): access, pages and refusals.

mod applications;
mod door;
mod install;
mod operating;
mod people;
mod trial;

use acceptance::{Browser, HttpAnswer, TestServer, TokenAnswer};

/// Every page, with an existing id where one is needed.
async fn every_page(admin: &mut Browser) -> Vec<String> {
    let mut pages: Vec<String> = [
        "",
        "/",
        "/apps",
        "/apps/new",
        "/apps/new?kind=web",
        "/apps/install?applicationUri=new.app",
        "/users",
        "/users/new",
        "/apps/uninstall?applicationUri=my.trusted.app/first",
        "/roles",
        "/sessions",
        "/tokens",
        "/keys",
        "/audit",
        "/keys?replace=ES256",
        "/refusals",
        "/legacy",
        "/settings",
    ]
    .map(|page| format!("/manage{page}"))
    .into();
    for list in ["/manage/apps", "/manage/users", "/manage/roles"] {
        pages.push(first_of(&admin.open(list).await));
    }
    pages.push(format!("{}/try", first_of(&admin.open("/manage/apps").await)));
    pages
}

/// The link of the first line of a list.
fn first_of(list: &HttpAnswer) -> String {
    list.attributes("tbody a", "href").into_iter().next().expect("a line")
}

pub(super) async fn administrator(server: &TestServer) -> Browser {
    let mut admin = server.browser("admin");
    admin.sign_in().await;
    admin
}

/// The page of the application or user that comes first in a filtered list.
pub(super) async fn found(admin: &mut Browser, list: &str, find: &str) -> HttpAnswer {
    let list = admin.open(&format!("/manage/{list}?find={find}")).await;
    admin.open(&first_of(&list)).await
}

/// Submits the form whose `do` has this value.
async fn act(admin: &mut Browser, page: &HttpAnswer, does: &str, entered: &[(&str, &str)]) -> HttpAnswer {
    let form = page.form_that("do", does);
    let kept = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let kept = kept.filter(|(name, _)| entered.iter().all(|(entered, _)| entered != name));
    let fields: Vec<_> = kept.chain(entered.iter().copied()).collect();
    admin.post(&form.action, &fields).await
}

/// A token of an application registered by the test.
async fn service_token(server: &TestServer, uri: &str, secret: &str) -> String {
    let asked =
        [("grant_type", "client_credentials"), ("client_id", uri), ("client_secret", secret), ("scope", "read")];
    TokenAnswer::read(&server.client().post("/id/connect/token", &asked).await).access
}

#[track_caller]
fn assert_refused(page: &HttpAnswer, name: &str, why: &str) {
    assert_eq!((page.status.as_u16(), page.page().as_str()), (422, name), "{}", page.text());
    let said = page.words("[role=alert]").expect("a reason");
    assert!(said.contains(why), "{said}");
}

#[track_caller]
fn assert_done(page: &HttpAnswer, name: &str) {
    assert_eq!((page.status.as_u16(), page.page().as_str()), (200, name), "{}", page.text());
    assert!(page.words("[role=status]").is_some(), "{}", page.text());
}

/// A value that is shown once.
#[track_caller]
fn shown(page: &HttpAnswer, name: &str) -> String {
    assert_eq!((page.status.as_u16(), page.page().as_str()), (201, name), "{}", page.text());
    assert_eq!(page.header("cache-control"), "no-store");
    page.words("#value").expect("the value")
}
