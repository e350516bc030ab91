//! Secrets never reach the log, at any log level.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::browser::{Browser, call_api, service_token, user_info};
use crate::support::installation::{Installation, erp, text};
use crate::support::process::ServerProcess;

#[test]
fn no_secret_is_logged_at_any_level() {
    let installation = Installation::new();
    let link = installation.create_erp();
    let (app, service) = (installation.create_portal(), installation.create_service("sync"));
    let server = ServerProcess::serve(installation.command(&["serve"]).env("RUST_LOG", "trace"));
    let site = erp(&server);

    let mut admin = Browser::at(site);
    admin.set_up(&link, "the password of the administrator");
    installation.create_person(site, "alice", "the password of alice");
    let mut alice = Browser::at(site);
    alice.sign_in(&app.authorize_path(), "alice", "a wrong password of alice");
    let code = app.code(&mut alice, "alice", "the password of alice");
    let first = app.redeem(site, &code);
    let second = app.refresh(site, &first.member("refresh_token"));
    let service_access = service_token(site, "sync", &service).member("access_token");
    assert_eq!(user_info(site, &second.member("access_token")).status, 200);
    assert_eq!(call_api(site, &service_access).status, 200);
    // Clients put secrets where they do not belong.
    let in_query = format!("/api/domain/odata/?access_token={service_access}");
    assert_eq!(site.get(&in_query, &[]).status, 401);
    let basic = STANDARD.encode(format!("sync:{service}"));
    site.post("/id/connect/token", &[("Authorization", &format!("Basic {basic}"))], &[("grant_type", "x")]);
    assert_eq!(service_token(site, "sync", "a wrong secret of sync").status, 401);
    app.redeem(site, &code);

    let mut secrets = vec![
        link.rsplit('=').next().expect("the code of the link").to_owned(),
        "the password of".to_owned(),
        "a wrong password".to_owned(),
        "a wrong secret".to_owned(),
        code,
        service_access,
        service,
        basic,
        app.secret.clone(),
        alice.cookie("gatehouse").to_owned(),
        alice.cookie("gatehouse-form").to_owned(),
        text(&first.json()["id_token"]),
        std::fs::read_to_string(installation.path("master.key")).expect("there"),
    ];
    for answer in [&first, &second] {
        secrets.extend(["access_token", "refresh_token"].map(|name| answer.member(name)));
    }
    let (_, log) = server.stop();
    for path in ["/id/account/set-up", "/id/account/login", "/id/connect/token", "/api/domain/odata/"] {
        assert!(log.contains(&format!(r#""path":"{path}""#)), "{path} is not in the log");
    }
    for secret in &secrets {
        // The secret itself, and its encoding in forms and URLs.
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for shape in [secret.as_str(), &encoded] {
            let found = log.lines().find(|line| line.contains(shape));
            assert_eq!(found, None, "{shape}");
        }
        let signature = secret.rsplit('.').next().expect("split gives one at least");
        assert!(!log.contains(signature), "{secret}");
    }
}
