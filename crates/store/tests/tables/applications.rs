//! The register: applications and their secrets.

use model::application::record::{ApplicationRecord, Registration};
use model::application::{ClientType, ServiceAccess};
use model::{ApplicationId, Timestamp, TrustedApplication, User, UserType};
use oauth::redirect::RedirectUri;
use oauth::secret::{ClientSecret, Digest, Presented};
use serde_json::{Value, json};
use store::{Batch, CommitOutcome, NewSecret, NewUser, Store};
use uuid::Uuid;

use crate::common::Place;
use crate::{LATER, NOW, done, login, refused, server, user, user_id};

crate::on_both! {
    an_application_reads_back_with_its_secrets_and_its_system_user
    an_application_uri_is_given_once
    names_and_addresses_of_older_rules_are_read
    a_change_counts_on_the_version_that_was_read
    a_secret_belongs_to_an_application_that_exists
}

pub(crate) fn application(uri: &str, number: u128, system_user: Option<&User>, change: &Value) -> TrustedApplication {
    let mut record = json!({
        "ApplicationUri": uri, "Name": "Mine", "ClientType": "Public", "Scope": "read",
        "ImpersonateAsInternalUserAllowed": true, "ImpersonateLoginUrl": ["https://app.example.com/cb"],
    });
    for (name, value) in change.as_object().expect("an object") {
        record[name] = value.clone();
    }
    let record: ApplicationRecord = serde_json::from_value(record).expect("a record");
    let secrets = match record.client_type {
        model::application::record::RecordClientType::Confidential => vec![model::application::Secret {
            id: "s".to_owned(),
            label: String::new(),
            digest: digest("s"),
            created_at: NOW,
            expires_at: None,
        }],
        _ => vec![],
    };
    let registration = Registration::new(ApplicationId(Uuid::from_u128(number)), secrets);
    record.check(registration, system_user).expect("a good record").application
}

fn digest(secret: &str) -> Digest<ClientSecret> {
    Presented::<ClientSecret>::new(secret).digest()
}

pub(crate) fn secret<'a>(
    id: &'a str,
    application: &TrustedApplication,
    expires_at: Option<Timestamp>,
) -> NewSecret<'a> {
    NewSecret { id, application: application.id, label: "label", digest: digest(id), expires_at }
}

pub(crate) async fn register(store: &Store) -> Vec<TrustedApplication> {
    store.applications().await.expect("no fault")
}

async fn system_user(store: &Store) -> User {
    let name = login("svc");
    let new = NewUser {
        id: user_id(5),
        login: &name,
        user_type: UserType::SystemNoLogin,
        is_admin: false,
        enabled: true,
        name: "Service",
        email: None,
        role: None,
        password: None,
    };
    done(store, store.insert_user(&new, NOW)).await;
    user(store, 5).await
}

async fn an_application_reads_back_with_its_secrets_and_its_system_user(place: Place) {
    let server = server(&place).await;
    let service = system_user(&server.here).await;
    let written = application(
        "my.app/service",
        1,
        Some(&service),
        &json!({
            "ClientType": "Confidential", "SystemUserAllowed": true, "SystemUser": service.id.0,
            "AccessTokenSeconds": 600, "AllowedCorsOrigins": ["https://app.example.com"],
        }),
    );
    let batch = Batch::new()
        .with(server.here.insert_application(&written, NOW))
        .with(server.here.insert_secret(&secret("older", &written, None), NOW))
        .with(server.here.insert_secret(&secret("newer", &written, Some(LATER)), LATER));
    assert_eq!(server.here.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
    done(&server.here, server.here.insert_application(&application("my.app/a", 2, None, &json!({})), NOW)).await;

    let read = register(&server.here).await;
    assert_eq!(read.iter().map(|read| read.uri.as_str()).collect::<Vec<_>>(), ["my.app/a", "my.app/service"]);
    let read = &read[1];
    assert_eq!((read.id, read.epoch, read.version), (written.id, 0, 1));
    assert_eq!(read.service, ServiceAccess::ActsAs(service.id));
    assert_eq!(
        serde_json::to_value(read.to_record()).expect("a record"),
        serde_json::to_value(written.to_record()).expect("a record")
    );
    let ClientType::Confidential { secrets } = &read.client_type else { panic!("Confidential was written") };
    let kept: Vec<_> =
        secrets.iter().map(|one| (one.id.as_str(), one.digest, one.created_at, one.expires_at)).collect();
    assert_eq!(kept, [("older", digest("older"), NOW, None), ("newer", digest("newer"), LATER, Some(LATER))]);
    assert_eq!(secrets[0].label, "label");

    assert!(register(&server.there).await.is_empty());
}

/// What is refused today stops no start: `model::application::record` and `model::line` refuse it where it is written anew.
async fn names_and_addresses_of_older_rules_are_read(place: Place) {
    let server = server(&place).await;
    let mut old = application("my.app/old", 1, None, &json!({}));
    "Pay\u{202e}roll\u{7}".clone_into(&mut old.name);
    old.redirect_uris = vec![RedirectUri::parse("https://a.example/*").expect("it was accepted")];
    done(&server.here, server.here.insert_application(&old, NOW)).await;
    let read = register(&server.here).await.remove(0);
    assert_eq!((read.name.as_str(), &read.redirect_uris), ("Payroll", &old.redirect_uris));
    let name = login("mallory");
    let new = NewUser {
        id: user_id(6),
        login: &name,
        user_type: UserType::Internal,
        is_admin: false,
        enabled: true,
        name: "\u{2067}Mallory\u{200b}",
        email: None,
        role: None,
        password: None,
    };
    done(&server.here, server.here.insert_user(&new, NOW)).await;
    assert_eq!(user(&server.here, 6).await.name, "Mallory");
}

async fn an_application_uri_is_given_once(place: Place) {
    let server = server(&place).await;
    done(&server.here, server.here.insert_application(&application("my.app", 1, None, &json!({})), NOW)).await;
    let second = application("my.app", 2, None, &json!({}));
    refused(&server.here, server.here.insert_application(&second, NOW)).await;
    done(&server.there, server.there.insert_application(&second, NOW)).await;
    assert_eq!(register(&server.here).await[0].id, ApplicationId(Uuid::from_u128(1)));
}

async fn a_change_counts_on_the_version_that_was_read(place: Place) {
    let server = server(&place).await;
    done(&server.here, server.here.insert_application(&application("my.app", 1, None, &json!({})), NOW)).await;
    let before = register(&server.here).await.remove(0);
    let mut off = before.clone();
    off.enabled = false;
    done(&server.here, server.here.update_application(&off, true)).await;
    refused(&server.here, server.here.update_application(&before, false)).await;
    let mut after = register(&server.here).await.remove(0);
    assert_eq!((after.enabled, after.epoch, after.version), (false, 1, 2), "switched off: older tokens are dead");
    after.enabled = true;
    done(&server.here, server.here.update_application(&after, false)).await;
    let on = register(&server.here).await.remove(0);
    assert_eq!((on.enabled, on.epoch, on.version), (true, 1, 3), "switched on: older tokens stay dead");
    refused(&server.there, server.there.update_application(&on, true)).await;
}

async fn a_secret_belongs_to_an_application_that_exists(place: Place) {
    let server = server(&place).await;
    let nobody = application("my.app", 1, None, &json!({}));
    let batch = Batch::new().with(server.here.insert_secret(&secret("s", &nobody, None), NOW));
    assert!(server.here.commit(batch).await.is_err(), "no such application");
}
