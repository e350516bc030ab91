//! What administrators change: users, roles, applications, each guarded by the version that was read.

use model::entities::Permissions;
use model::reference_token::{ReferenceToken, ReferenceTokenKind, ReferenceTokenValue};
use model::{ApplicationId, Email, ReferenceTokenId, Timestamp};
use oauth::scope::Scope;
use oauth::secret::Presented;
use serde_json::json;
use store::{Batch, CommitOutcome, Role, Store, TokensOf, UserRow};
use uuid::Uuid;

use crate::applications::{application, register, secret};
use crate::common::Place;
use crate::{LATER, NOW, done, refused, server, somebody, switched, user_id};

crate::on_both! {
    a_user_is_changed_by_the_version_that_was_read
    users_come_in_the_order_of_logins
    a_role_is_changed_by_the_version_that_was_read
    a_role_that_somebody_has_stays
    an_application_is_found_by_id_and_by_uri_and_in_order
    a_secret_goes_with_the_version_that_was_read
    tokens_come_newest_first_of_everybody_or_of_one
}

async fn row(store: &Store, number: u128) -> UserRow {
    store.user_row(user_id(number)).await.expect("no fault").expect("there")
}

async fn a_user_is_changed_by_the_version_that_was_read(place: Place) {
    let server = server(&place).await;
    done(&server.here, server.here.insert_role("Sales", &Permissions::default())).await;
    somebody(&server.here, 1, "alice").await;
    let before = row(&server.here, 1).await;
    assert_eq!((before.version, before.has_password, before.role.as_deref()), (1, false, None));
    let mut changed = before.clone();
    "Alice".clone_into(&mut changed.user.name);
    changed.user.email = Some(Email { address: "a@example.com".to_owned(), verified: true });
    (changed.user.admin_flag, changed.user.enabled) = (true, false);
    changed.user.locale = Some("de".to_owned());
    changed.role = Some("Sales".to_owned());
    refused(&server.there, server.there.update_user(&changed, false, LATER)).await;
    done(&server.here, server.here.update_user(&changed, false, LATER)).await;
    refused(&server.here, server.here.update_user(&changed, false, LATER)).await;
    let after = row(&server.here, 1).await;
    assert_eq!((after.version, after.user.epoch, after.user.updated_at), (2, 0, LATER));
    assert_eq!((after.user.name.as_str(), &after.user.email), ("Alice", &changed.user.email));
    assert_eq!((after.user.admin_flag, after.user.enabled, after.user.locale.as_deref()), (true, false, Some("de")));
    assert_eq!(after.role.as_deref(), Some("Sales"));
    done(&server.here, server.here.update_user(&UserRow { role: None, ..after }, true, LATER)).await;
    let last = row(&server.here, 1).await;
    assert_eq!((last.version, last.user.epoch, last.role), (3, 1, None), "what ends tokens raises the epoch");

    // A password and a switch are changes too.
    done(&server.here, server.here.set_password(&last.user, &crate::phc("one"), LATER)).await;
    let last = row(&server.here, 1).await;
    assert_eq!((last.version, last.has_password), (4, true));
    done(&server.here, switched(&server.here, 1, true, LATER).await).await;
    assert_eq!(row(&server.here, 1).await.version, 5);
    assert!(server.there.user_row(user_id(1)).await.expect("no fault").is_none());
}

async fn users_come_in_the_order_of_logins(place: Place) {
    let server = server(&place).await;
    for (number, name) in [(1, "Dora"), (2, "alice"), (3, "Carl"), (4, "bob")] {
        somebody(&server.here, number, name).await;
    }
    somebody(&server.there, 5, "eve").await;
    let after = async |login: &str, limit| {
        let rows = server.here.users_after(login, limit).await.expect("no fault");
        rows.iter().map(|row| row.user.login.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(after("", 3).await, ["alice", "bob", "Carl"]);
    assert_eq!(after("carl", 3).await, ["Dora"]);
    assert!(after("dora", 3).await.is_empty());
}

async fn a_role_is_changed_by_the_version_that_was_read(place: Place) {
    let server = server(&place).await;
    for name in ["Viewer", "Sales"] {
        done(&server.here, server.here.insert_role(name, &Permissions::new(&["A"], &[]))).await;
    }
    let read = async |name| server.here.role(name).await.expect("no fault");
    let sales = read("Sales").await.expect("there");
    assert_eq!((sales.version, &sales.permissions), (1, &Permissions::new(&["A"], &[])));
    let changed = Role { permissions: Permissions::new(&["A", "B"], &["C"]), ..sales };
    refused(&server.there, server.there.update_role(&changed)).await;
    done(&server.here, server.here.update_role(&changed)).await;
    refused(&server.here, server.here.update_role(&changed)).await;
    assert_eq!(read("Sales").await, Some(Role { version: 2, ..changed }));
    let names = async |store: &Store, after: &str| {
        let roles = store.roles_after(after, 2).await.expect("no fault");
        roles.into_iter().map(|role| role.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&server.here, "").await, ["Sales", "Viewer"]);
    assert_eq!(names(&server.here, "Sales").await, ["Viewer"]);
    assert!(names(&server.there, "").await.is_empty());
    assert_eq!(server.there.role("Sales").await.expect("no fault"), None);
}

async fn a_role_that_somebody_has_stays(place: Place) {
    let server = server(&place).await;
    done(&server.here, server.here.insert_role("Sales", &Permissions::default())).await;
    done(&server.here, server.here.hold_role("Sales")).await;
    refused(&server.here, server.here.hold_role("sales")).await;
    refused(&server.there, server.there.hold_role("Sales")).await;
    let role = server.here.role("Sales").await.expect("no fault").expect("there");
    assert_eq!(role.version, 1, "holding is no change");
    somebody(&server.here, 1, "alice").await;
    let alice = row(&server.here, 1).await;
    done(&server.here, server.here.update_user(&UserRow { role: Some("Sales".to_owned()), ..alice }, false, NOW)).await;
    assert!(server.here.role_is_used("Sales").await.expect("no fault"));
    assert!(!server.there.role_is_used("Sales").await.expect("no fault"));
    let delete = async |role: &Role| {
        let batch = Batch::from(server.here.delete_role(role).to_vec());
        server.here.commit(batch).await.expect("no fault")
    };
    assert_eq!(delete(&role).await, CommitOutcome::GuardFailed { statement: 1 }, "somebody has it");
    let alice = row(&server.here, 1).await;
    done(&server.here, server.here.update_user(&UserRow { role: None, ..alice }, false, NOW)).await;
    assert_eq!(delete(&Role { version: 2, ..role.clone() }).await, CommitOutcome::GuardFailed { statement: 1 });
    assert_eq!(delete(&role).await, CommitOutcome::Committed);
    assert_eq!(delete(&role).await, CommitOutcome::GuardFailed { statement: 0 }, "gone");
}

async fn an_application_is_found_by_id_and_by_uri_and_in_order(place: Place) {
    let server = server(&place).await;
    for (number, uri) in [(1, "my.app/b"), (2, "my.app/a"), (3, "my.app/c")] {
        let new = application(uri, number, None, &json!({"ClientType": "Confidential"}));
        done(&server.here, server.here.insert_application(&new, NOW)).await;
        let (first, second) = (format!("{number}-1"), format!("{number}-2"));
        done(&server.here, server.here.insert_secret(&secret(&first, &new, None), NOW)).await;
        done(&server.here, server.here.insert_secret(&secret(&second, &new, Some(LATER)), LATER)).await;
    }
    let id = ApplicationId(Uuid::from_u128(2));
    let found = server.here.application(id).await.expect("no fault").expect("there");
    let secrets: Vec<&str> = found.secrets().iter().map(|secret| secret.id.as_str()).collect();
    assert_eq!((found.uri.as_str(), secrets.as_slice()), ("my.app/a", ["2-1", "2-2"].as_slice()));
    assert!(server.there.application(id).await.expect("no fault").is_none());
    let by_uri = async |store: &Store, uri: &str| {
        let found = store.application_by_uri(&uri.parse().expect("a client_id")).await;
        found.expect("no fault").map(|application| application.id.0.as_u128())
    };
    assert_eq!(by_uri(&server.here, "my.app/c").await, Some(3));
    assert_eq!(by_uri(&server.here, "my.app/C").await, None, "byte for byte");
    assert_eq!(by_uri(&server.there, "my.app/c").await, None);
    let after = async |store: &Store, uri: &str| {
        let found = store.applications_after(uri, 2).await.expect("no fault");
        found.iter().map(|application| application.uri.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(after(&server.here, "").await, ["my.app/a", "my.app/b"]);
    assert_eq!(after(&server.here, "my.app/b").await, ["my.app/c"]);
    assert!(after(&server.there, "").await.is_empty());
}

async fn a_secret_goes_with_the_version_that_was_read(place: Place) {
    let server = server(&place).await;
    let new = application("my.app", 1, None, &json!({"ClientType": "Confidential"}));
    done(&server.here, server.here.insert_application(&new, NOW)).await;
    for id in ["one", "two"] {
        done(&server.here, server.here.insert_secret(&secret(id, &new, None), NOW)).await;
    }
    refused(&server.there, server.there.touch_application(&new)).await;
    done(&server.here, server.here.touch_application(&new)).await;
    refused(&server.here, server.here.touch_application(&new)).await;
    assert_eq!(register(&server.here).await[0].version, 2);
    refused(&server.there, server.there.delete_secret(new.id, "one")).await;
    refused(&server.here, server.here.delete_secret(ApplicationId(Uuid::from_u128(9)), "one")).await;
    done(&server.here, server.here.delete_secret(new.id, "one")).await;
    refused(&server.here, server.here.delete_secret(new.id, "one")).await;
    assert_eq!(register(&server.here).await[0].secrets().len(), 1);
}

async fn tokens_come_newest_first_of_everybody_or_of_one(place: Place) {
    let server = server(&place).await;
    let apps = [1, 2].map(|number| application(&format!("app.{number}"), number, None, &json!({})));
    for app in &apps {
        done(&server.here, server.here.insert_application(app, NOW)).await;
    }
    for (number, name) in [(1, "alice"), (2, "bob")] {
        somebody(&server.here, number, name).await;
    }
    for (number, app, user) in [(1, 0, 1), (2, 1, 1), (3, 0, 2), (4, 1, 2)] {
        let token = ReferenceToken {
            id: ReferenceTokenId(Uuid::from_u128(number)),
            kind: ReferenceTokenKind::Personal,
            digest: Presented::<ReferenceTokenValue>::new(number.to_string()).digest(),
            tail: "0000".to_owned(),
            application: apps[app].id,
            user: user_id(user),
            description: String::new(),
            scope: Scope::parse("read").expect("a scope"),
            created_by: "operator".to_owned(),
            created_at: Timestamp(NOW.0),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        };
        done(&server.here, server.here.insert_reference_token(&token)).await;
    }
    let before = async |store: &Store, id: Option<u128>, of, limit| {
        let id = id.map(|number| ReferenceTokenId(Uuid::from_u128(number)));
        let tokens = store.reference_tokens_before(id, of, limit).await.expect("no fault");
        tokens.iter().map(|token| token.id.0.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(before(&server.here, None, TokensOf::Everybody, 3).await, [4, 3, 2]);
    assert_eq!(before(&server.here, Some(2), TokensOf::Everybody, 3).await, [1]);
    assert_eq!(before(&server.here, None, TokensOf::Application(apps[0].id), 3).await, [3, 1]);
    assert_eq!(before(&server.here, Some(3), TokensOf::Application(apps[0].id), 3).await, [1]);
    assert_eq!(before(&server.here, None, TokensOf::User(user_id(2)), 3).await, [4, 3]);
    assert_eq!(before(&server.here, Some(4), TokensOf::User(user_id(2)), 1).await, [3]);
    assert!(before(&server.there, None, TokensOf::Everybody, 3).await.is_empty());
}
