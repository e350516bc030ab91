//! What the house counts of itself.

use std::time::Duration;

use acceptance::TestHouse;
use flows::meters::Meters;
use flows::sessions::Ending;
use model::meter::Tally;

use crate::{READER, SERVICE};

fn counted(tally: &Tally, name: &str) -> u64 {
    tally.read().into_iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| count)
}

async fn call(house: &TestHouse, uri: &str) -> u16 {
    let token = house.app(uri).service_token("read").await.json()["access_token"].as_str().expect("a token").to_owned();
    house.client().call_api(&token).await.status.as_u16()
}

#[tokio::test]
async fn each_session_is_counted_once_when_it_opens_and_once_by_its_reason_when_it_closes() {
    let house = TestHouse::open().await;
    let instance = house.house.instances()[0].clone();
    let meters: &Meters = instance.meters();
    for _ in 0..4 {
        assert_eq!(call(&house, SERVICE).await, 200);
    }
    assert_eq!(call(&house, READER).await, 429, "one seat is kept for the administrator");
    assert_eq!(meters.sessions_opened.read(), 4);
    assert_eq!(meters.sessions_refused.read(), [("no_seat_free", 1)]);
    assert_eq!(counted(&meters.calls_refused, "no_seat_free"), 1);
    let seats = house.house.seats().await.expect("no fault")[0];
    assert_eq!((seats.total, seats.used, seats.reserved), (Some(5), 4, 1));

    let mut dice = house.dice();
    let office = house.office().await;
    let (_, sessions) = office.sessions().await.expect("no fault");
    let one = Ending::One(sessions[0].session.id);
    office.end_sessions(one, &mut house.moment(&mut dice)).await.expect("no fault").expect("ended");
    house.catch_up().await;
    house.catch_up().await;
    assert_eq!(counted(&meters.sessions_closed, "ended_by_administrator"), 1);
    house.advance(Duration::from_mins(20));
    house.beat().await;
    // The feed tells this node of its own closings too.
    house.catch_up().await;
    assert_eq!(counted(&meters.sessions_closed, "timer"), 3);
    assert_eq!(house.house.seats().await.expect("no fault")[0].used, 0);
}

#[tokio::test]
async fn tokens_and_sign_ins_are_counted_by_what_became_of_them() {
    let house = TestHouse::open().await;
    let instance = house.house.instances()[0].clone();
    let meters = instance.meters();
    house.app(SERVICE).service_token("read").await;
    house.app(SERVICE).with_secret(Some("wrong")).service_token("read").await;
    let mut alice = house.browser("alice");
    alice.sign_in().await;
    alice.password = "wrong password".to_owned();
    alice.sign_in().await;
    house.browser("nobody").sign_in().await;
    assert_eq!(meters.tokens_issued.read(), [("client_credentials", 1)]);
    assert_eq!(meters.tokens_refused.read().len(), 1);
    assert_eq!(counted(&meters.sign_ins, "done"), 1);
    assert_eq!(counted(&meters.sign_ins, "wrong_password"), 1);
    assert_eq!(counted(&meters.sign_ins, "unknown_user"), 1);
    let other = house.house.instances()[1].clone();
    assert_eq!((other.meters().sessions_opened.read(), other.meters().sign_ins.read().len()), (0, 0), "each its own");
}
