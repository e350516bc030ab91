//! Both administrators read before either writes. Both pass every check, and the database decides.

use acceptance::{TestServer, on_both};
use flows::admin::AdminRefusal;
use model::entities::Permissions;
use model::user::PersonRecord;
use serde_json::json;

use crate::{FIRST, SERVICE};

on_both! {
    of_two_changes_of_what_both_have_read_one_is_done
    a_role_is_not_deleted_from_under_who_was_given_it_meanwhile
    the_last_two_secrets_are_not_both_removed
}

async fn of_two_changes_of_what_both_have_read_one_is_done(server: TestServer) {
    let (operator, mut rng) = (server.operator().await, server.rng());
    let mut moment = server.moment(&mut rng);
    let application = operator.application(FIRST).await.expect("no fault").expect("there");
    for (name, expected) in [("First", None), ("Second", Some(AdminRefusal::Overtaken))] {
        let mut record = application.to_record();
        record.name = name.to_owned();
        let done = operator.change_application(&application, record, &mut moment).await.expect("no fault");
        assert_eq!(done.err(), expected, "{name}");
    }
    let alice = operator.user_by_name("alice").await.expect("no fault").expect("there");
    for (name, expected) in [("First", None), ("Second", Some(AdminRefusal::Overtaken))] {
        let mut record = PersonRecord::of(&alice.user, alice.role.as_deref());
        record.name = name.to_owned();
        let done = operator.change_user(&alice, record, &mut moment).await.expect("no fault");
        assert_eq!(done.err(), expected, "{name}");
    }
    let role = operator.role("Viewer").await.expect("no fault").expect("there");
    for expected in [None, Some(AdminRefusal::Overtaken)] {
        let done = operator.change_role(&role, Permissions::default(), &mut moment).await.expect("no fault");
        assert_eq!(done.err(), expected);
    }
    let settings = operator.settings_as_read().await.expect("no fault");
    for (seats, expected) in [(7, None), (8, Some(AdminRefusal::Overtaken))] {
        let patch = json!({ "seats": seats }).as_object().expect("an object").clone();
        let done = operator.change_settings(&settings, patch, &mut moment).await.expect("no fault");
        assert_eq!(done.err(), expected);
    }
    let read = operator.application(FIRST).await.expect("no fault").expect("there");
    assert_eq!((read.name.as_str(), read.version), ("First", application.version + 1));
    assert_eq!(operator.settings().await.expect("no fault").seats, Some(7));
}

async fn a_role_is_not_deleted_from_under_who_was_given_it_meanwhile(server: TestServer) {
    let (operator, mut rng) = (server.operator().await, server.rng());
    let mut moment = server.moment(&mut rng);
    operator.create_role("New", &Permissions::default(), &mut moment).await.expect("no fault").expect("made");
    let role = operator.role("New").await.expect("no fault").expect("there");
    let bob = operator.user_by_name("bob").await.expect("no fault").expect("there");
    let mut record = PersonRecord::of(&bob.user, None);
    record.role = Some("New".to_owned());
    let given = operator.change_user(&bob, record.clone(), &mut moment).await.expect("no fault");
    let given = given.expect("the role is there");
    let kept = operator.delete_role(&role, &mut moment).await.expect("no fault");
    assert!(matches!(kept, Err(AdminRefusal::Invalid(_))), "{kept:?}");
    record.role = None;
    let taken = operator.change_user(&given, record, &mut moment).await.expect("no fault").expect("taken away");
    operator.delete_role(&role, &mut moment).await.expect("no fault").expect("nobody has it");
    let mut again = PersonRecord::of(&taken.user, None);
    again.role = Some("New".to_owned());
    let gone = operator.change_user(&taken, again, &mut moment).await.expect("no fault");
    assert!(matches!(gone, Err(AdminRefusal::Invalid(_))), "{:?}", gone.err());
}

async fn the_last_two_secrets_are_not_both_removed(server: TestServer) {
    let (operator, mut rng) = (server.operator().await, server.rng());
    let mut moment = server.moment(&mut rng);
    operator.add_secret(SERVICE, ("second", None), &mut moment).await.expect("no fault").expect("added");
    let read = operator.application(SERVICE).await.expect("no fault").expect("there");
    let [first, second] = [0, 1].map(|at| read.secrets()[at].id.clone());
    operator.remove_secret(&read, &first, &mut moment).await.expect("no fault").expect("one is left");
    let both = operator.remove_secret(&read, &second, &mut moment).await.expect("no fault");
    assert_eq!(both, Err(AdminRefusal::Overtaken));
    let left = operator.application(SERVICE).await.expect("no fault").expect("there");
    assert_eq!(left.secrets().len(), 1);
}
