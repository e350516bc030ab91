//! The same on PostgreSQL: a short path through everything, and an unreachable database.

use crate::common::{Place, postgres};
use crate::support::browser::{Browser, call_api, service_token};
use crate::support::installation::{Installation, erp};
use crate::support::{PATIENCE, SOON, until};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

async fn cut_all_connections(place: &Place) {
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    place.client().await.batch_execute(cut).await.expect("a superuser may");
}

#[test]
fn an_installation_on_postgresql_works_and_recovers_when_its_database_went_away() {
    let runtime = runtime();
    let Some(place) = runtime.block_on(postgres()) else { return };
    let installation = Installation::on(&place.url);
    installation.create_erp();
    let (app, secret) = (installation.create_portal(), installation.create_service("sync"));
    let server = installation.serve();
    let site = erp(&server);
    installation.create_person(site, "alice", "correct horse battery");
    let token = service_token(site, "sync", &secret).member("access_token");
    assert_eq!(call_api(site, &token).status, 200);
    let tokens = app.redeem(site, &app.code(&mut Browser::at(site), "alice", "correct horse battery"));
    let mut newest = tokens.member("refresh_token");

    for round in 0..3 {
        runtime.block_on(cut_all_connections(&place));
        until("it works again", PATIENCE, || {
            let answer = app.refresh(site, &newest);
            match answer.status {
                200 => newest = answer.member("refresh_token"),
                // Never a refusal: acknowledged changes are there.
                status => assert_eq!(status, 503, "round {round}: {answer:?}"),
            }
            answer.status == 200
        });
        until("the API works again", PATIENCE, || call_api(site, &token).status == 200);
        until("the server is ready again", PATIENCE, || site.get("/readyz", &[]).status == 200);
    }
    installation.run(&["app", "disable", "sync"]).done();
    until("changes are followed again", SOON, || call_api(site, &token).status == 401);
    server.stop();
}
