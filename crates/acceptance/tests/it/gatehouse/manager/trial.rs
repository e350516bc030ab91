//! Test run of an application's flow from its page.

use acceptance::{Browser, HttpAnswer, TestServer};

use super::{administrator, first_of, found};
use crate::{FIRST, NATIVE, SERVICE};

async fn trial(admin: &mut Browser, uri: &str) -> HttpAnswer {
    let application = admin.open(&format!("/manage/apps?find={uri}")).await;
    admin.open(&format!("{}/try", first_of(&application))).await
}

/// Each step, and whether it succeeded.
fn steps(page: &HttpAnswer) -> Vec<(String, bool)> {
    assert_eq!((page.status.as_u16(), page.page().as_str()), (200, "manage-app-try"), "{}", page.text());
    assert!(!page.text().contains(".eyJ"), "no token is shown whole");
    let titles = page.every(".step h2");
    let parted = titles.iter().map(|title| title.rsplit_once(' ').expect("a word behind it"));
    parted.map(|(title, badge)| (title.trim().to_owned(), badge == "done")).collect()
}

fn titles(page: &HttpAnswer) -> Vec<String> {
    let steps = steps(page);
    assert!(steps.iter().all(|(_, went_well)| *went_well), "{steps:?}");
    steps.into_iter().map(|(title, _)| title).collect()
}

#[track_caller]
fn ends_refused(page: &HttpAnswer, title: &str, why: &str) {
    let steps = steps(page);
    let (last, well) = steps.split_last().expect("a step");
    assert_eq!((last.0.as_str(), last.1), (title, false), "{steps:?}");
    assert!(well.iter().all(|(_, went_well)| *went_well), "{steps:?}");
    assert!(page.words("main").expect("a page").contains(why), "{}", page.text());
}

#[tokio::test]
async fn signing_in_is_shown_step_by_step_and_leaves_nothing_behind() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = trial(&mut admin, FIRST).await;
    let asked = admin.submit(&page, "flow", &[]).await;
    ends_refused(&asked, "The user is asked for consent", "Select automatic consent below");
    let scope = [("agrees", "1"), ("scope", "openid profile read offline_access")];
    let done = admin.submit(&asked, "flow", &scope).await;
    let all = [
        "The application reads the discovery document",
        "The browser opens the authorization endpoint",
        "The user is asked for consent",
        "The user consents",
        "The application exchanges the code",
        "The application requests the user info",
        "The application calls the API",
        "The application refreshes its token",
        "The tokens are revoked",
        "The token no longer works",
    ];
    assert_eq!(titles(&done), all);
    let text = done.words("main").expect("a page");
    for part in ["access_token claims", "\"scope\": \"", "WWW-Authenticate: Bearer", "code_challenge_method=S256"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let again = admin.submit(&done, "flow", &[("calls", "1"), scope[1]]).await;
    assert!(!titles(&again).iter().any(|title| title.contains("consent")), "it is remembered");
    let operator = server.operator().await;
    assert_eq!(operator.seats().await.expect("seats can be read").0.used, 0);
    assert_eq!(operator.sessions_before(None, None, 1).await.expect("sessions can be read").len(), 0);
    let application = server.operator().await.application(FIRST).await.expect("no fault").expect("there");
    assert_eq!(application.secrets().len(), 1, "the secret of the run is gone");
    assert_eq!(admin.open("/manage").await.page(), "manage", "the administrator stays signed in");
}

/// RFC 8252 §8.6: this page is part of every user's flow.
#[tokio::test]
async fn a_native_app_is_tried_with_the_page_that_asks_whether_to_continue() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = trial(&mut admin, NATIVE).await;
    let asked = admin.submit(&page, "flow", &[("agrees", "1")]).await;
    assert!(titles(&asked).contains(&"The user consents".to_owned()));
    let again = admin.submit(&asked, "flow", &[]).await;
    let titles = titles(&again);
    assert_eq!(titles[2..4], ["The user is asked to continue", "The user continues"], "{titles:?}");
    assert!(!titles.iter().any(|title| title.contains("consent")), "it is remembered");
}

#[tokio::test]
async fn a_service_is_tried_with_the_secret_that_it_has() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = trial(&mut admin, SERVICE).await;
    let done = admin.submit(&page, "flow", &[]).await;
    let all = [
        "The application requests a token",
        "The application calls the API",
        "The tokens are revoked",
        "The token no longer works",
    ];
    assert_eq!(titles(&done), all);
    let wrong = admin.submit(&page, "flow", &[("secret", "mistyped")]).await;
    ends_refused(&wrong, "The application requests a token", "invalid_client");
    assert!(!wrong.text().contains("mist"), "what was typed is not shown again");
    let why = wrong.attributes(".step a", "href").remove(0);
    server.tick().await;
    server.seal().await;
    assert!(admin.open(&why).await.words("main").expect("a page").contains("secret"));
    let more = admin.submit(&page, "flow", &[("scope", "read update sec")]).await;
    ends_refused(&more, "The application requests a token", "invalid_scope");
}

#[tokio::test]
async fn what_an_application_may_not_is_refused_as_it_would_be() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = trial(&mut admin, FIRST).await;
    let elsewhere = admin.submit(&page, "flow", &[("redirect_uri", "https://elsewhere.example/")]).await;
    ends_refused(&elsewhere, "The browser opens the authorization endpoint", "400 Bad Request");
    let service = trial(&mut admin, SERVICE).await;
    let refused = admin.submit(&service, "flow", &[("flow", "code")]).await;
    ends_refused(&refused, "The browser opens the authorization endpoint", "400 Bad Request");
    let wider = admin.submit(&page, "flow", &[("scope", "openid sec")]).await;
    ends_refused(
        &wider,
        "The browser opens the authorization endpoint",
        "The application receives the error invalid_scope",
    );
    let spa = trial(&mut admin, "my.trusted.app/spa").await;
    assert_eq!(spa.attributes("#secret", "name").len(), 0, "it has none");
    let spa = admin.submit(&spa, "flow", &[("agrees", "1")]).await;
    assert!(titles(&spa).contains(&"The application exchanges the code".to_owned()));
    assert_eq!(admin.open("/manage/apps/00000000-0000-7000-8000-000000000000/try").await.status, 404);
}

#[tokio::test]
async fn a_disabled_application_gets_nowhere() {
    let server = TestServer::open().await;
    let mut admin = administrator(&server).await;
    let page = trial(&mut admin, SERVICE).await;
    let (operator, mut rng) = (server.operator().await, server.rng());
    let mut moment = server.moment(&mut rng);
    operator.set_application_enabled(SERVICE, false, &mut moment).await.expect("no fault").expect("done");
    server.catch_up().await;
    let refused = admin.submit(&page, "flow", &[]).await;
    ends_refused(&refused, "The application requests a token", "invalid_client");
    let overview = found(&mut admin, "apps", SERVICE).await;
    assert!(overview.words("main").expect("a page").contains("disabled"));
}

#[tokio::test]
async fn runs_at_the_same_time_leave_no_secret_behind() {
    let server = TestServer::open().await;
    let (mut first, mut second) = (administrator(&server).await, administrator(&server).await);
    let page = trial(&mut first, SERVICE).await;
    let other = trial(&mut second, SERVICE).await;
    for _ in 0..5 {
        let (one, two) = tokio::join!(first.submit(&page, "flow", &[]), second.submit(&other, "flow", &[]));
        let ran = [&one, &two].into_iter().filter(|page| page.status == 200 && titles(page).len() == 4).count();
        assert!(ran >= 1, "{} {}", one.text(), two.text());
        let application = server.operator().await.application(SERVICE).await.expect("no fault").expect("there");
        assert_eq!(application.secrets().len(), 1);
    }
}
