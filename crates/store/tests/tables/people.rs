//! Users, roles, consents.

use model::entities::{AccessKind, Permissions};
use model::user::PasswordHash;
use model::{ApplicationId, Email, Login, User, UserId, UserType};
use oauth::scope::Scope;
use store::{CommitOutcome, ConnectedApplication, ConsentParties, NewUser, Store};
use uuid::Uuid;

use crate::common::Place;
use crate::{LATER, MUCH_LATER, NOW, commit, done, login, phc, refused, server, somebody, switched, user, user_id};

crate::on_both! {
    a_user_reads_back_as_written_with_the_permissions_of_the_role
    a_login_is_never_given_out_again_in_any_case
    a_role_must_exist_and_has_a_name_of_its_own
    a_new_password_raises_the_epoch_and_counts_on_the_one_that_was_read
    a_stronger_hash_replaces_only_the_hash_that_was_read
    a_hash_reads_back_with_the_form_of_the_password_it_is_of
    disabling_raises_the_epoch_and_counts_on_the_one_that_was_read
    a_language_is_chosen_without_ending_anything_and_counts_on_what_was_read
    a_picture_is_kept_in_each_size_and_the_last_one_stands
    consent_is_remembered_for_one_user_and_one_application
    consent_is_relied_on_as_it_was_read_and_forgotten_for_one_application
}

async fn by_login(store: &Store, name: &str) -> Option<(User, Option<String>)> {
    let found = store.user_by_login(&login(name)).await.expect("no fault");
    found.map(|(user, hash)| (user, hash.map(|hash| hash.as_phc().to_owned())))
}

async fn a_user_reads_back_as_written_with_the_permissions_of_the_role(place: Place) {
    let server = server(&place).await;
    let permissions = Permissions::new(&["Crm_*", "General_*"], &["Crm_*"]);
    done(&server.here, server.here.insert_role("Sales", &permissions)).await;
    let (name, hash) = (login("Alice"), phc("$argon2id$one"));
    let new = NewUser {
        id: user_id(7),
        login: &name,
        user_type: UserType::ExternalCommunity,
        is_admin: true,
        enabled: false,
        name: "Alice Árcher 東",
        email: Some(Email { address: "alice@example.com".to_owned(), verified: true }),
        role: Some("Sales"),
        password: Some(&hash),
    };
    done(&server.here, server.here.insert_user(&new, NOW)).await;
    somebody(&server.here, 8, "aaron").await;

    let read = user(&server.here, 7).await;
    assert_eq!((read.id, read.login.as_str(), read.user_type), (user_id(7), "Alice", UserType::ExternalCommunity));
    assert_eq!((read.admin_flag, read.enabled, read.name.as_str()), (true, false, "Alice Árcher 東"));
    assert_eq!(read.email, Some(Email { address: "alice@example.com".to_owned(), verified: true }));
    assert_eq!((read.locale, read.epoch, read.updated_at), (None, 0, NOW));
    assert!(read.permissions.allows("Crm_Customers", AccessKind::Update));
    assert!(!read.permissions.allows("General_Products", AccessKind::Update));
    let other = user(&server.here, 8).await;
    assert_eq!((other.admin_flag, other.enabled, other.email), (false, true, None));
    assert!(!other.permissions.allows("Crm_Customers", AccessKind::Read), "no role, no permission");

    let (found, hash) = by_login(&server.here, "aLICE").await.expect("found in any case");
    assert_eq!((found.id, hash.as_deref()), (user_id(7), Some("$argon2id$one")));
    assert_eq!(by_login(&server.here, "aaron").await.expect("found").1, None, "no password was ever set");
    assert!(by_login(&server.here, "bob").await.is_none());
    assert!(by_login(&server.there, "alice").await.is_none(), "not of this instance");
    assert!(server.there.user(user_id(7)).await.expect("no fault").is_none(), "not of this instance");
    let logins: Vec<_> =
        server.here.users_after("", 1000).await.expect("no fault").into_iter().map(|row| row.user.login).collect();
    assert_eq!(logins.iter().map(Login::as_str).collect::<Vec<_>>(), ["aaron", "Alice"]);
    assert!(server.there.users_after("", 1000).await.expect("no fault").is_empty());
}

async fn a_login_is_never_given_out_again_in_any_case(place: Place) {
    let server = server(&place).await;
    somebody(&server.here, 1, "alice").await;
    let again = login("ALICE");
    let new = |number| NewUser {
        id: user_id(number),
        login: &again,
        user_type: UserType::Internal,
        is_admin: false,
        enabled: true,
        name: "",
        email: None,
        role: None,
        password: None,
    };
    refused(&server.here, server.here.insert_user(&new(2), NOW)).await;
    done(&server.there, server.there.insert_user(&new(2), NOW)).await;
    assert!(server.here.user(user_id(2)).await.expect("no fault").is_none());
}

async fn a_role_must_exist_and_has_a_name_of_its_own(place: Place) {
    let server = server(&place).await;
    let nothing = Permissions::default();
    done(&server.here, server.here.insert_role("Viewer", &nothing)).await;
    refused(&server.here, server.here.insert_role("Viewer", &nothing)).await;
    assert!(server.here.has_role("Viewer").await.expect("no fault"));
    assert!(!server.here.has_role("viewer").await.expect("no fault"));
    assert!(!server.there.has_role("Viewer").await.expect("no fault"), "not of this instance");
}

async fn a_new_password_raises_the_epoch_and_counts_on_the_one_that_was_read(place: Place) {
    let server = server(&place).await;
    let before = somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.set_password(&before, &phc("one"), LATER)).await;
    refused(&server.here, server.here.set_password(&before, &phc("two"), MUCH_LATER)).await;
    let (after, hash) = by_login(&server.here, "alice").await.expect("still there");
    assert_eq!((hash.as_deref(), after.epoch, after.updated_at), (Some("one"), 1, LATER));
    done(&server.here, server.here.set_password(&after, &phc("two"), MUCH_LATER)).await;
    refused(&server.there, server.there.set_password(&user(&server.here, 1).await, &phc("three"), MUCH_LATER)).await;
}

async fn a_stronger_hash_replaces_only_the_hash_that_was_read(place: Place) {
    let server = server(&place).await;
    let alice = somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.set_password(&alice, &phc("weak"), LATER)).await;
    done(&server.here, server.here.rehash_password(alice.id, &phc("weak"), &phc("strong"))).await;
    refused(&server.here, server.here.rehash_password(alice.id, &phc("weak"), &phc("stronger"))).await;
    let (after, hash) = by_login(&server.here, "alice").await.expect("still there");
    assert_eq!((hash.as_deref(), after.epoch), (Some("strong"), 1), "nothing ends by a better hash");
}

async fn a_hash_reads_back_with_the_form_of_the_password_it_is_of(place: Place) {
    let server = server(&place).await;
    let name = login("alice");
    let before = PasswordHash::of_bytes("typed".to_owned());
    let new = NewUser {
        id: user_id(1),
        login: &name,
        user_type: UserType::Internal,
        is_admin: false,
        enabled: true,
        name: "Alice",
        email: None,
        role: None,
        password: Some(&before),
    };
    done(&server.here, server.here.insert_user(&new, NOW)).await;
    let form = async || {
        let (_, hash) = server.here.user_by_login(&name).await.expect("no fault").expect("still there");
        hash.map(|hash| (hash.as_phc().to_owned(), hash.is_nfc()))
    };
    assert_eq!(form().await, Some(("typed".to_owned(), false)));
    done(&server.here, server.here.rehash_password(user_id(1), &before, &phc("normal"))).await;
    assert_eq!(form().await, Some(("normal".to_owned(), true)));
    let alice = user(&server.here, 1).await;
    done(&server.here, server.here.set_password(&alice, &PasswordHash::of_bytes("again".to_owned()), LATER)).await;
    assert_eq!(form().await, Some(("again".to_owned(), false)));
    done(&server.here, server.here.set_password(&user(&server.here, 1).await, &phc("new"), LATER)).await;
    assert_eq!(form().await, Some(("new".to_owned(), true)));
}

async fn disabling_raises_the_epoch_and_counts_on_the_one_that_was_read(place: Place) {
    let server = server(&place).await;
    somebody(&server.here, 1, "alice").await;
    let before = server.here.user_row(user_id(1)).await.expect("no fault").expect("there");
    done(&server.here, switched(&server.here, 1, false, LATER).await).await;
    refused(&server.here, server.here.update_user(&before, true, MUCH_LATER)).await;
    let disabled = user(&server.here, 1).await;
    assert_eq!((disabled.enabled, disabled.epoch, disabled.updated_at), (false, 1, LATER));
    done(&server.here, switched(&server.here, 1, true, MUCH_LATER).await).await;
    assert!(user(&server.here, 1).await.enabled);
}

async fn consent_is_remembered_for_one_user_and_one_application(place: Place) {
    let server = server(&place).await;
    let with = |user, number| ConsentParties { user, application: ApplicationId(Uuid::from_u128(number)) };
    let scope = |text: &str| Scope::parse(text).expect("a scope");
    let remember = async |user: UserId, number, before: &str, text: &str, now| {
        let written = server.here.remember_consent(with(user, number), before, &scope(text), now);
        commit(&server.here, written).await == CommitOutcome::Committed
    };
    assert!(remember(user_id(1), 1, "", "openid read", NOW).await);
    assert!(remember(user_id(1), 2, "", "openid", NOW).await);
    assert!(!remember(user_id(1), 1, "openid", "openid sec", LATER).await, "another page was first");
    assert!(remember(user_id(1), 1, "openid read", "openid read update", LATER).await);
    let agreed = async |store: &Store, user, number| store.consent(with(user, number)).await.expect("no fault");
    assert_eq!(agreed(&server.here, user_id(1), 1).await, scope("openid read update"));
    assert_eq!(agreed(&server.here, user_id(1), 2).await, scope("openid"));
    assert_eq!(agreed(&server.here, user_id(2), 1).await, Scope::default());
    assert_eq!(agreed(&server.there, user_id(1), 1).await, Scope::default());
}

async fn consent_is_relied_on_as_it_was_read_and_forgotten_for_one_application(place: Place) {
    let server = server(&place).await;
    let with = |number| ConsentParties { user: user_id(1), application: ApplicationId(Uuid::from_u128(number)) };
    let (nothing, read) = (Scope::default(), Scope::parse("openid read").expect("a scope"));
    for number in [1, 2] {
        done(&server.here, server.here.remember_consent(with(number), "", &read, NOW)).await;
    }
    done(&server.here, server.here.rely_on_consent(with(1), &read)).await;
    refused(&server.here, server.here.rely_on_consent(with(1), &nothing)).await;
    refused(&server.there, server.there.rely_on_consent(with(1), &read)).await;
    done(&server.there, server.there.forget_consent(with(1))).await;
    done(&server.here, server.here.rely_on_consent(with(1), &read)).await;
    done(&server.here, server.here.forget_consent(with(1))).await;
    refused(&server.here, server.here.rely_on_consent(with(1), &read)).await;
    done(&server.here, server.here.rely_on_consent(with(2), &read)).await;
    let known = server.here.connections(user_id(1), LATER, NOW).await.expect("no fault");
    let expected =
        ConnectedApplication { application: with(2).application, consent: Some((read, NOW)), holds_tokens: false };
    assert_eq!(known, [expected]);
    assert!(server.there.connections(user_id(1), LATER, NOW).await.expect("no fault").is_empty());
}

async fn a_language_is_chosen_without_ending_anything_and_counts_on_what_was_read(place: Place) {
    let server = server(&place).await;
    let before = somebody(&server.here, 1, "alice").await;
    done(&server.here, server.here.set_locale(&before, Some("bg"), LATER)).await;
    let after = user(&server.here, 1).await;
    assert_eq!((after.locale.as_deref(), after.epoch, after.updated_at), (Some("bg"), before.epoch, LATER));
    refused(&server.here, server.here.set_locale(&before, Some("de"), MUCH_LATER)).await;
    refused(&server.there, server.there.set_locale(&after, None, MUCH_LATER)).await;
    done(&server.here, server.here.set_locale(&after, None, MUCH_LATER)).await;
    assert_eq!(user(&server.here, 1).await.locale, None);
}

async fn a_picture_is_kept_in_each_size_and_the_last_one_stands(place: Place) {
    let server = server(&place).await;
    somebody(&server.here, 1, "alice").await;
    somebody(&server.here, 2, "bob").await;
    let of = async |store: &Store, size| store.picture(user_id(1), size).await.expect("no fault");
    assert_eq!(of(&server.here, 64).await, None);
    done(&server.here, server.here.put_picture(user_id(1), 64, vec![1, 0, 255])).await;
    done(&server.here, server.here.put_picture(user_id(1), 128, vec![2])).await;
    done(&server.here, server.here.put_picture(user_id(2), 64, vec![3])).await;
    done(&server.here, server.here.put_picture(user_id(1), 64, vec![4])).await;
    assert_eq!((of(&server.here, 64).await, of(&server.here, 128).await), (Some(vec![4]), Some(vec![2])));
    assert_eq!(of(&server.there, 64).await, None);
    done(&server.there, server.there.remove_pictures(user_id(1))).await;
    assert_eq!(of(&server.here, 64).await, Some(vec![4]));
    done(&server.here, server.here.remove_pictures(user_id(1))).await;
    assert_eq!((of(&server.here, 64).await, of(&server.here, 128).await), (None, None));
    assert!(server.here.picture(user_id(2), 64).await.expect("no fault").is_some(), "each their own");
}
