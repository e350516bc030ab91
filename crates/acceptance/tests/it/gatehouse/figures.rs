//! Gatehouse's own metrics.

use std::time::Duration;

use acceptance::TestServer;
use axum::body::Body;
use flows::admin::sessions::SessionSelector;
use flows::platform::meters::Meters;
use http::Request;
use model::HostName;
use model::meter::NamedCounters;
use web::AppState;
use web::server::{Responder as _, TrustedProxies};

use crate::{READER, SERVICE};

fn counted(tally: &NamedCounters, name: &str) -> u64 {
    tally.read().into_iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| count)
}

async fn call(server: &TestServer, uri: &str) -> u16 {
    let token =
        server.app(uri).service_token("read").await.json()["access_token"].as_str().expect("a token").to_owned();
    server.client().call_api(&token).await.status.as_u16()
}

#[tokio::test]
async fn each_session_is_counted_once_when_it_opens_and_once_by_its_reason_when_it_closes() {
    let server = TestServer::open().await;
    let instance = server.server.instances()[0].clone();
    let meters: &Meters = instance.meters();
    for _ in 0..4 {
        assert_eq!(call(&server, SERVICE).await, 200);
    }
    assert_eq!(call(&server, READER).await, 429, "one seat is kept for the administrator");
    assert_eq!(meters.sessions_opened.read(), 4);
    assert_eq!(meters.sessions_refused.read(), [("no_seat_free", 1)]);
    assert_eq!(counted(&meters.calls_refused, "no_seat_free"), 1);
    let seats = server.server.seats().await.expect("no fault")[0];
    assert_eq!((seats.total, seats.used, seats.reserved), (Some(5), 4, 1));

    let mut rng = server.rng();
    let operator = server.operator().await;
    let sessions = operator.sessions_before(None, None, 1000).await.expect("no fault");
    let one = SessionSelector::One(sessions[0].id);
    operator.end_sessions(one, &mut server.moment(&mut rng)).await.expect("no fault").expect("ended");
    server.catch_up().await;
    server.catch_up().await;
    assert_eq!(counted(&meters.sessions_closed, "ended_by_administrator"), 1);
    server.advance(Duration::from_mins(20));
    server.tick().await;
    // The feed also announces this node's own closings.
    server.catch_up().await;
    assert_eq!(counted(&meters.sessions_closed, "timer"), 3);
    assert_eq!(server.server.seats().await.expect("no fault")[0].used, 0);
}

/// DNS rebinding: a foreign page whose name now resolves to this address still sends its own name as the host.
#[tokio::test]
async fn figures_are_shown_to_whoever_asks_by_an_address_or_a_known_name() {
    let server = TestServer::open().await;
    let gate = AppState::new(server.server.clone(), TrustedProxies::default());
    let hosts = ["figures.example.com"].map(|host| HostName::parse(host).expect("a host"));
    let router = web::metrics::router(gate, hosts.into());
    let ask = async |host: &str| {
        let request = Request::builder().uri("/metrics").header("host", host).body(Body::empty());
        router.answer(request.expect("a request"), ([192, 0, 2, 1], 50_000).into()).await.status().as_u16()
    };
    for known in [
        "127.0.0.1:9464",
        "localhost:9464",
        "node.localhost",
        "[::1]:9464",
        "192.0.2.7:9464",
        "[2001:db8::7]:9464",
        "demodb.localhost",
        "figures.example.com:9464",
        "FIGURES.example.com.",
    ] {
        assert_eq!(ask(known).await, 200, "{known}");
    }
    for unknown in
        ["evil.example", "evil.example:9464", "figures.example.com.evil.example", "7.evil.example", "", "a b"]
    {
        assert_eq!(ask(unknown).await, 421, "{unknown:?}");
    }
}

#[tokio::test]
async fn tokens_and_sign_ins_are_counted_by_what_became_of_them() {
    let server = TestServer::open().await;
    let instance = server.server.instances()[0].clone();
    let meters = instance.meters();
    server.app(SERVICE).service_token("read").await;
    server.app(SERVICE).with_secret(Some("wrong")).service_token("read").await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    alice.password = "wrong password".to_owned();
    alice.sign_in().await;
    server.browser("nobody").sign_in().await;
    assert_eq!(meters.tokens_issued.read(), [("client_credentials", 1)]);
    assert_eq!(meters.tokens_refused.read().len(), 1);
    assert_eq!(counted(&meters.sign_ins, "done"), 1);
    assert_eq!(counted(&meters.sign_ins, "wrong_password"), 1);
    assert_eq!(counted(&meters.sign_ins, "unknown_user"), 1);
    let other = server.server.instances()[1].clone();
    assert_eq!((other.meters().sessions_opened.read(), other.meters().sign_ins.read().len()), (0, 0), "each its own");
}
