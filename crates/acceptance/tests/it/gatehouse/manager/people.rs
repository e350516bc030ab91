//! Pages of users and roles.

use acceptance::TestServer;

use super::{act, administrator, assert_done, assert_refused, found, shown};
use crate::FIRST;

#[tokio::test]
async fn a_person_is_made_invited_and_signs_in() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let form = admin.open("/manage/users/new").await;
    let bad = admin.submit(&form, "type", &[("login", "ünïcode"), ("email", "nowhere")]).await;
    for why in ["printable ASCII", "valid e-mail address"] {
        assert_refused(&bad, "manage-user-new", why);
    }
    let known = admin.submit(&form, "type", &[("login", "ALICE")]).await;
    assert_refused(&known, "manage-user-new", "already exists");
    let made = admin.submit(&form, "type", &[("login", "erin"), ("name", "Erin Example"), ("role", "Viewer")]).await;
    assert_done(&made, "manage-user");
    let link = shown(&act(&mut admin, &made, "invite", &[]).await, "manage-link");
    let path = link.split_once("//").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| format!("/{path}"));
    let mut erin = server.browser("erin");
    let page = erin.open(&path.expect("an address")).await;
    assert_eq!(page.page(), "set-up");
    let chosen = erin.submit(&page, "password", &[("password", "nire-Demo1"), ("repeat", "nire-Demo1")]).await;
    assert_eq!(chosen.page(), "set-up-done");
    let token = server.app(FIRST).sign_in(&mut server.browser("erin"), "read").await.access;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let page = found(&mut admin, "users", "erin").await;
    let reset = shown(&act(&mut admin, &page, "reset", &[]).await, "manage-link");
    assert_ne!(reset, link);
}

#[tokio::test]
async fn a_change_of_a_user_counts_at_once_and_nobody_locks_themselves_out() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let page = found(&mut admin, "users", "alice").await;
    let without = |page: &acceptance::HttpAnswer, gone: &str| -> (String, Vec<(String, String)>) {
        let form = page.form_that("do", "save");
        (form.action, form.fields.into_iter().filter(|(name, _)| name != gone).collect())
    };
    let (action, fields) = without(&page, "enabled");
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_done(&admin.post(&action, &fields).await, "manage-user");
    assert_eq!(server.client().call_api(&token).await.status, 401);
    let own = found(&mut admin, "users", "admin").await;
    for (gone, why) in
        [("enabled", "you cannot disable yourself"), ("admin", "you cannot remove your own administrator rights")]
    {
        let (action, fields) = without(&own, gone);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_refused(&admin.post(&action, &fields).await, "manage-user", why);
    }
    assert_refused(&act(&mut admin, &page, "save", &[]).await, "manage-user", "it was changed in the meantime");
    let now = found(&mut admin, "users", "alice").await;
    assert_refused(&act(&mut admin, &now, "save", &[("role", "Nothing")]).await, "manage-user", "Nothing not found");
}

#[tokio::test]
async fn a_new_address_is_nobodys_until_that_is_said_of_it() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let operator = server.operator().await;
    let email =
        async || operator.user_by_name("alice").await.expect("no fault").expect("there").user.email.expect("one");
    for (entered, verified) in [("alice@one.example", false), ("alice@one.example", true), ("alice@two.example", false)]
    {
        let page = found(&mut admin, "users", "alice").await;
        assert_done(&act(&mut admin, &page, "save", &[("email", entered), ("verified", "1")]).await, "manage-user");
        let known = email().await;
        assert_eq!((known.address.as_str(), known.verified), (entered, verified));
    }
}

#[tokio::test]
async fn who_lost_the_second_step_is_let_in_by_an_administrator() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = found(&mut admin, "users", "alice").await;
    assert!(page.attributes("[value=reset-second-factor]", "value").is_empty(), "there is none to take away");
    let mut alice = server.browser("alice");
    crate::gatehouse::two_step::set_up_app(&server, &mut alice).await;
    let page = found(&mut admin, "users", "alice").await;
    assert_done(&act(&mut admin, &page, "reset-second-factor", &[]).await, "manage-user");
    assert_eq!(alice.open("/id/account").await.page(), "sign-in", "what was lost may have been found");
    assert_eq!(server.browser("alice").sign_in().await.page(), "account", "the password alone");
    assert_refused(
        &act(&mut admin, &page, "reset-second-factor", &[]).await,
        "manage-user",
        "second factor of alice not found",
    );
}

#[tokio::test]
async fn lists_are_walked_to_their_end_and_searched_by_how_names_begin() {
    const MORE: usize = 60;
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let (operator, mut rng) = (server.operator().await, server.rng());
    let mut moment = server.moment(&mut rng);
    for number in 0..MORE {
        let name = format!("row{number:02}");
        let role = model::entities::Permissions::new(&["Crm_*"], &[]);
        operator.create_role(&name, &role, &mut moment).await.expect("no fault").expect("made");
        let mut record =
            model::application::record::ApplicationRecord::blank(model::application::record::RecordClientType::Public);
        (record.application_uri, record.name) = (name.clone(), name);
        operator.create_application(record, None, &mut moment).await.expect("no fault").expect("made");
    }
    for (list, all) in [("/manage/roles", None), ("/manage/apps", None), ("/manage/apps?find=row", Some(MORE))] {
        let (mut at, mut seen, mut pages) = (Some(list.to_owned()), Vec::new(), 0);
        while let Some(page) = at {
            let rows = admin.open(&page).await;
            seen.extend(rows.attributes("tbody a", "href"));
            at = rows.attributes("a[rel=next]", "href").into_iter().next();
            pages += 1;
            assert!(pages < 10, "{list} comes to an end");
        }
        assert!(pages > 1, "{list} has more than one page");
        let count = seen.len();
        assert!(count >= MORE && all.is_none_or(|all| all == count), "{list}: {count}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{list}: each once");
    }
    for (find, count) in [("row0", 10), ("row05", 1), ("row05x", 0)] {
        let rows = admin.open(&format!("/manage/apps?find={find}")).await;
        assert_eq!(rows.attributes("tbody a", "href").len(), count, "{find}");
    }
    for (find, count) in [("ALI", 1), ("alice", 1), ("svc.", 2), ("nobody", 0)] {
        let rows = admin.open(&format!("/manage/users?find={find}")).await;
        assert_eq!(rows.attributes("tbody a", "href").len(), count, "{find}");
    }
}

#[tokio::test]
async fn a_role_is_made_changed_and_deleted() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = admin.open("/manage/roles").await;
    assert_refused(&act(&mut admin, &page, "create", &[("name", "a/b")]).await, "manage-roles", "slashes");
    let odd = act(&mut admin, &page, "create", &[("name", "New"), ("read", "Crm Customers")]).await;
    assert_refused(&odd, "manage-roles", "Crm Customers");
    let made = act(&mut admin, &page, "create", &[("name", "New"), ("read", "Crm_*\nGeneral_*")]).await;
    assert_done(&made, "manage-roles");
    let role = admin.open("/manage/roles?role=New").await;
    assert_done(&act(&mut admin, &role, "save", &[("update", "Crm_*")]).await, "manage-roles");
    assert_refused(&act(&mut admin, &role, "save", &[]).await, "manage-role", "it was changed in the meantime");
    let role = admin.open("/manage/roles?role=New").await;
    assert_done(&act(&mut admin, &role, "delete", &[]).await, "manage-roles");
    assert_eq!(admin.open("/manage/roles?role=New").await.status, 404);
    let used = admin.open("/manage/roles?role=Viewer").await;
    assert_refused(&act(&mut admin, &used, "delete", &[]).await, "manage-role", "still assigned");
}

#[tokio::test]
async fn an_application_loses_what_a_user_agreed_to() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let token = server.app(FIRST).sign_in(&mut server.browser("alice"), "read").await.access;
    assert_eq!(server.client().call_api(&token).await.status, 200);
    let page = found(&mut admin, "users", "alice").await;
    assert!(page.words("main").expect("a page").contains("First Trusted App"));
    let id = page.attributes("td [name=id]", "value").remove(0);
    assert_done(&act(&mut admin, &page, "withdraw", &[("id", &id)]).await, "manage-user");
    assert_eq!(server.client().call_api(&token).await.status, 401);
    let gone = act(&mut admin, &page, "withdraw", &[("id", &id)]).await;
    assert_refused(&gone, "manage-user", "consent of alice");
    assert_eq!(act(&mut admin, &page, "withdraw", &[("id", "x")]).await.status, 404);
}
