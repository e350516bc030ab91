//! Signing keys: published before use, kept until the last token is dead.

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

async fn published(house: &TestServer) -> Vec<String> {
    let jwks = house.client().get("/id/.well-known/openid-configuration/jwks").await.json();
    let kids = jwks["keys"].as_array().expect("keys").iter().map(|key| key["kid"].as_str().expect("text").to_owned());
    kids.collect()
}

fn kid(token: &str) -> String {
    jwt::header(token)["kid"].as_str().expect("a kid").to_owned()
}

async fn service_token(house: &TestServer) -> String {
    TokenAnswer::read(&house.app(SERVICE).service_token("").await).access
}

async fn keys_rotate_on_their_own_and_no_token_notices(house: TestServer) {
    let client = house.client();
    let begun = house.now();
    let first_keys = published(&house).await;
    assert_eq!(first_keys.len(), 2, "one for each algorithm");
    let old = kid(&service_token(&house).await);

    // A successor is made up to a week earlier, a day before it signs.
    house.set_clock(begun.plus(82 * DAY).minus(MINUTE));
    house.tidy().await;
    assert_eq!(published(&house).await, first_keys);

    house.set_clock(begun.plus(89 * DAY));
    house.tidy().await;
    let with_successors = published(&house).await;
    assert_eq!(with_successors.len(), 4, "published a day before they sign");
    assert!(first_keys.iter().all(|kid| with_successors.contains(kid)));
    house.set_clock(begun.plus(90 * DAY).minus(MINUTE));
    house.tidy().await;
    let last_of_the_old = service_token(&house).await;
    assert_eq!(kid(&last_of_the_old), old, "not before the day is over");
    let tokens = house.app(FIRST).sign_in(&mut house.browser("alice"), "openid read").await;

    house.set_clock(begun.plus(90 * DAY));
    let first_of_the_new = service_token(&house).await;
    assert_ne!(kid(&first_of_the_new), old);
    assert!(with_successors.contains(&kid(&first_of_the_new)), "everybody could know it");
    house.tidy().await;
    assert_eq!(published(&house).await.len(), 4, "the old ones stay published");
    house.advance(58 * MINUTE);
    let jwks: Value = client.get("/id/.well-known/openid-configuration/jwks").await.json();
    for token in [&last_of_the_old, &first_of_the_new, &tokens.access] {
        assert_eq!(client.call_api(token).await.status, 200, "verified until it is dead");
        assert!(jwt::is_signed_by(token, &jwks, "at+jwt"));
    }
    assert!(jwt::is_signed_by(tokens.id(), &jwks, "JWT"));
    let fresh = house.app(FIRST).sign_in(&mut house.browser("alice"), "openid read").await;
    assert_ne!(kid(fresh.id()), kid(tokens.id()), "ID tokens have new keys, too");

    house.set_clock(begun.plus(91 * DAY));
    house.tidy().await;
    assert_eq!(published(&house).await.len(), 4);
    house.set_clock(begun.plus(90 * DAY).plus(48 * HOUR));
    house.tidy().await;
    let last = published(&house).await;
    assert_eq!(last.len(), 2, "nothing that the old ones signed is alive");
    assert!(last.iter().all(|kid| !first_keys.contains(kid)));
    assert_eq!(kid(&service_token(&house).await), kid(&first_of_the_new));
    let audit = house.audit().await;
    let rotated = audit.iter().filter(|row| row.kind == "key-rotated");
    let what: Vec<String> = rotated.filter_map(|row| row.columns.last().cloned()).collect();
    // Of two algorithms each: made at the beginning, made again, retired, deleted.
    for (word, count) in [("created", 4), ("retired", 2), ("deleted", 2)] {
        assert_eq!(what.iter().filter(|detail| detail.contains(word)).count(), count, "{word}: {what:?}");
    }
}

async fn keys_survive_a_restart(house: TestServer) {
    let before = published(&house).await;
    let token = service_token(&house).await;
    let house = house.restarted().await;
    assert_eq!(published(&house).await, before);
    assert_eq!(house.client().call_api(&token).await.status, 200);
}
