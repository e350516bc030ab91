//! Signing keys: published before use, and kept until the last token expires.

use std::time::Duration;

use acceptance::{TestServer, TokenAnswer, jwt, on_both};
use serde_json::Value;

use crate::{FIRST, SERVICE};

on_both! {
    keys_rotate_on_their_own_and_no_token_notices
    keys_survive_a_restart
}

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

async fn published(server: &TestServer) -> Vec<String> {
    let jwks = server.client().get("/id/.well-known/openid-configuration/jwks").await.json();
    let kids = jwks["keys"].as_array().expect("keys").iter().map(|key| key["kid"].as_str().expect("text").to_owned());
    kids.collect()
}

fn kid(token: &str) -> String {
    jwt::header(token)["kid"].as_str().expect("a kid").to_owned()
}

async fn service_token(server: &TestServer) -> String {
    TokenAnswer::read(&server.app(SERVICE).service_token("").await).access
}

async fn keys_rotate_on_their_own_and_no_token_notices(server: TestServer) {
    let client = server.client();
    let begun = server.now();
    let first_keys = published(&server).await;
    assert_eq!(first_keys.len(), 2, "one for each algorithm");
    let old = kid(&service_token(&server).await);

    // A successor is created up to a week early, and at least a day before it signs.
    server.set_clock(begun.plus(82 * DAY).minus(MINUTE));
    server.tidy().await;
    assert_eq!(published(&server).await, first_keys);

    server.set_clock(begun.plus(89 * DAY));
    server.tidy().await;
    let with_successors = published(&server).await;
    assert_eq!(with_successors.len(), 4, "published a day before they sign");
    assert!(first_keys.iter().all(|kid| with_successors.contains(kid)));
    server.set_clock(begun.plus(90 * DAY).minus(MINUTE));
    server.tidy().await;
    let last_of_the_old = service_token(&server).await;
    assert_eq!(kid(&last_of_the_old), old, "not before the day is over");
    let tokens = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;

    server.set_clock(begun.plus(90 * DAY));
    let first_of_the_new = service_token(&server).await;
    assert_ne!(kid(&first_of_the_new), old);
    assert!(with_successors.contains(&kid(&first_of_the_new)), "everybody could know it");
    server.tidy().await;
    assert_eq!(published(&server).await.len(), 4, "the old ones stay published");
    server.advance(58 * MINUTE);
    let jwks: Value = client.get("/id/.well-known/openid-configuration/jwks").await.json();
    for token in [&last_of_the_old, &first_of_the_new, &tokens.access] {
        assert_eq!(client.call_api(token).await.status, 200, "verified until it is dead");
        assert!(jwt::is_signed_by(token, &jwks, "at+jwt"));
    }
    assert!(jwt::is_signed_by(tokens.id(), &jwks, "JWT"));
    let fresh = server.app(FIRST).sign_in(&mut server.browser("alice"), "openid read").await;
    assert_ne!(kid(fresh.id()), kid(tokens.id()), "ID tokens have new keys, too");

    server.set_clock(begun.plus(91 * DAY));
    server.tidy().await;
    assert_eq!(published(&server).await.len(), 4);
    server.set_clock(begun.plus(90 * DAY).plus(48 * HOUR));
    server.tidy().await;
    let last = published(&server).await;
    assert_eq!(last.len(), 2, "nothing that the old ones signed is alive");
    assert!(last.iter().all(|kid| !first_keys.contains(kid)));
    assert_eq!(kid(&service_token(&server).await), kid(&first_of_the_new));
    let audit = server.audit().await;
    let rotated = audit.iter().filter(|row| row.kind == "key-rotated");
    let what: Vec<String> = rotated.filter_map(|row| row.columns.last().cloned()).collect();
    // For two algorithms each: created at the beginning, created again, retired, deleted.
    for (word, count) in [("created", 4), ("retired", 2), ("deleted", 2)] {
        assert_eq!(what.iter().filter(|detail| detail.contains(word)).count(), count, "{word}: {what:?}");
    }
}

async fn keys_survive_a_restart(server: TestServer) {
    let before = published(&server).await;
    let token = service_token(&server).await;
    let server = server.restarted().await;
    assert_eq!(published(&server).await, before);
    assert_eq!(server.client().call_api(&token).await.status, 200);
}
