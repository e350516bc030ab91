//! Users and roles, by their pages.

use acceptance::TestHouse;

use super::{act, administrator, assert_done, assert_refused, found, shown};
use crate::FIRST;

#[tokio::test]
async fn a_person_is_made_invited_and_signs_in() {
    let house = TestHouse::open().await;
    let mut admin = administrator(&house).await;
    let form = admin.open("/manage/users/new").await;
    let bad = admin.submit(&form, "type", &[("login", "ünïcode"), ("email", "nowhere")]).await;
    for why in ["printable ASCII", "name@host"] {
        assert_refused(&bad, "manage-user-new", why);
    }
    let known = admin.submit(&form, "type", &[("login", "ALICE")]).await;
    assert_refused(&known, "manage-user-new", "exists already");
    let made = admin.submit(&form, "type", &[("login", "erin"), ("name", "Erin Example"), ("role", "Viewer")]).await;
    assert_done(&made, "manage-user");
    let link = shown(&act(&mut admin, &made, "invite", &[]).await, "manage-link");
    let path = link.split_once("//").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| format!("/{path}"));
    let mut erin = house.browser("erin");
    let page = erin.open(&path.expect("an address")).await;
    assert_eq!(page.page(), "set-up");
    let chosen = erin.submit(&page, "password", &[("password", "nire-Demo1"), ("repeat", "nire-Demo1")]).await;
    assert_eq!(chosen.page(), "set-up-done");
    let token = house.app(FIRST).sign_in(&mut house.browser("erin"), "read").await.access;
    assert_eq!(house.client().call_api(&token).await.status, 200);
    let page = found(&mut admin, "users", "erin").await;
    let reset = shown(&act(&mut admin, &page, "reset", &[]).await, "manage-link");
    assert_ne!(reset, link);
}

#[tokio::test]
async fn a_change_of_a_user_counts_at_once_and_nobody_locks_themselves_out() {
    let house = TestHouse::open().await;
    let mut admin = administrator(&house).await;
    let token = house.app(FIRST).sign_in(&mut house.browser("alice"), "read").await.access;
    assert_eq!(house.client().call_api(&token).await.status, 200);
    let page = found(&mut admin, "users", "alice").await;
    let without = |page: &acceptance::Answer, gone: &str| -> (String, Vec<(String, String)>) {
        let form = page.form_that("do", "save");
        (form.action, form.fields.into_iter().filter(|(name, _)| name != gone).collect())
    };
    let (action, fields) = without(&page, "enabled");
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_done(&admin.post(&action, &fields).await, "manage-user");
    assert_eq!(house.client().call_api(&token).await.status, 401);
    let own = found(&mut admin, "users", "admin").await;
    for (gone, why) in [("enabled", "nobody switches themselves off"), ("admin", "nobody takes it from themselves")] {
        let (action, fields) = without(&own, gone);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_refused(&admin.post(&action, &fields).await, "manage-user", why);
    }
    assert_refused(&act(&mut admin, &page, "save", &[]).await, "manage-user", "somebody else changed it");
    let now = found(&mut admin, "users", "alice").await;
    assert_refused(&act(&mut admin, &now, "save", &[("role", "Nothing")]).await, "manage-user", "no role Nothing");
}

#[tokio::test]
async fn a_role_is_made_changed_and_deleted() {
    let house = TestHouse::open().await;
    let mut admin = administrator(&house).await;
    let page = admin.open("/manage/roles").await;
    assert_refused(&act(&mut admin, &page, "create", &[("name", "a/b")]).await, "manage-roles", "slashes");
    let odd = act(&mut admin, &page, "create", &[("name", "New"), ("read", "Crm Customers")]).await;
    assert_refused(&odd, "manage-roles", "Crm Customers");
    let made = act(&mut admin, &page, "create", &[("name", "New"), ("read", "Crm_*\nGeneral_*")]).await;
    assert_done(&made, "manage-roles");
    let role = admin.open("/manage/roles?role=New").await;
    assert_done(&act(&mut admin, &role, "save", &[("update", "Crm_*")]).await, "manage-roles");
    assert_refused(&act(&mut admin, &role, "save", &[]).await, "manage-role", "somebody else changed it");
    let role = admin.open("/manage/roles?role=New").await;
    assert_done(&act(&mut admin, &role, "delete", &[]).await, "manage-roles");
    assert_eq!(admin.open("/manage/roles?role=New").await.status, 404);
    let used = admin.open("/manage/roles?role=Viewer").await;
    assert_refused(&act(&mut admin, &used, "delete", &[]).await, "manage-role", "somebody's");
}
