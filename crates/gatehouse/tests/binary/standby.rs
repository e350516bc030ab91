//! Two nodes on a PostgreSQL server that dies, and on a standby that lacks the newest transactions.

use std::collections::BTreeSet;

use store::Store;

use crate::support::browser::{App, Browser, call_api, service_token, user_info};
use crate::support::http::Site;
use crate::support::installation::{Installation, erp, look};
use crate::support::pair::{MovingAddress, PrivateServer};
use crate::support::process::ServerProcess;
use crate::support::{PATIENCE, SOON, until};

const PASSWORD: &str = "correct horse battery";
const WENT_BACK: &str = "the database went back";
const ANOTHER_SERVER: &str = "another database server answers";

/// An installation on a primary with a standby, and two nodes.
struct Town {
    primary: PrivateServer,
    standby: PrivateServer,
    address: MovingAddress,
    installation: Installation,
    nodes: [ServerProcess; 2],
    portal: App,
    /// The secret of the service `sync`.
    sync: String,
}

impl Town {
    fn found() -> Option<Self> {
        let primary = PrivateServer::new()?;
        let address = MovingAddress::of(&primary);
        let installation = Installation::on(&address.url());
        installation.create_erp();
        let (portal, sync) = (installation.create_portal(), installation.create_service("sync"));
        let nodes = [installation.serve(), installation.serve()];
        for login in ["alice", "bob", "carol"] {
            installation.create_person(erp(&nodes[0]), login, PASSWORD);
        }
        let standby = primary.standby();
        Some(Self { primary, standby, address, installation, nodes, portal, sync })
    }

    fn sites(&self) -> [Site; 2] {
        self.nodes.each_ref().map(erp)
    }

    /// Signs in at the first node; returns access token and refresh token.
    fn sign_in(&self, login: &str) -> (String, String) {
        let site = self.sites()[0];
        let code = self.portal.code(&mut Browser::at(site), login, PASSWORD);
        let tokens = self.portal.redeem(site, &code);
        (tokens.member("access_token"), tokens.member("refresh_token"))
    }

    fn service_token(&self) -> String {
        service_token(self.sites()[0], "sync", &self.sync).member("access_token")
    }

    /// The number of the newest seal.
    fn sealed(&self) -> i64 {
        look(&self.address.url(), async |database| {
            let id = database.instances().await.expect("no fault")[0].id;
            Store::new(database, id).audit_head().await.expect("no fault").number
        })
    }

    /// A node seals something after `kept` that the standby does not have, and a checkpoint covers it.
    fn seal_what_will_be_lost(&self, kept: i64) {
        until("the lost part is sealed", PATIENCE, || self.sealed() > kept);
        self.installation.run(&["audit", "checkpoint", "--instance", "erp"]).done();
    }

    /// The primary dies, and the standby takes its place.
    fn fail_over(&self) {
        self.primary.kill();
        self.take_over();
    }

    fn take_over(&self) {
        self.standby.promote();
        self.address.move_to(&self.standby);
    }

    /// Waits until a condition holds on both nodes.
    fn until_both(&self, what: &str, is_so: impl Fn(Site) -> bool) {
        for site in self.sites() {
            until(what, PATIENCE, || is_so(site));
        }
    }

    fn both(&self, is_so: impl Fn(Site) -> bool) -> bool {
        self.sites().into_iter().all(is_so)
    }

    fn said(&self, text: &str) -> [usize; 2] {
        self.nodes.each_ref().map(|node| node.err.text().matches(text).count())
    }

    /// The number of live sessions, and of seats counted as taken.
    fn seats(&self) -> (i64, i64) {
        look(&self.address.url(), async |database| {
            let id = database.instances().await.expect("no fault")[0].id;
            let (live, counted) = Store::new(database, id).seats_taken().await.expect("no fault");
            (i64::try_from(live).expect("few"), i64::try_from(counted).expect("few"))
        })
    }

    /// The published keys and the keys in the database.
    fn keys(&self, site: Site) -> (BTreeSet<String>, BTreeSet<String>) {
        let kids = |keys: &serde_json::Value, name: &str| {
            let keys = keys.as_array().expect("a list").iter();
            keys.map(|key| key[name].as_str().expect("a name").to_owned()).collect()
        };
        let published = site.get("/id/.well-known/openid-configuration/jwks", &[]).json();
        let kept = self.installation.json(&["key", "list", "--instance", "erp"]);
        (kids(&published["keys"], "kid"), kids(&kept, "kid"))
    }
}

fn is_known(site: Site, token: &str) -> bool {
    user_info(site, token).status == 200
}

#[test]
fn after_a_failover_that_lost_changes_every_node_holds_what_the_database_does() {
    let Some(town) = Town::found() else { return };
    let run = |arguments: &[&str]| town.installation.run(&[arguments, &["--instance", "erp"]].concat()).done();
    run(&["user", "disable", "carol"]);
    let ((alice, _), (bob, bobs_refresh)) = (town.sign_in("alice"), town.sign_in("bob"));
    assert!(town.both(|site| is_known(site, &alice) && call_api(site, &bob).status == 200));
    town.standby.cut_off_from(&town.primary);
    let kept = town.sealed();

    run(&["user", "disable", "alice"]);
    run(&["user", "enable", "carol"]);
    let (carol, carols_refresh) = town.sign_in("carol");
    let rotated = town.portal.refresh(town.sites()[0], &bobs_refresh);
    assert!(town.both(|site| call_api(site, &carol).status == 200));
    run(&["key", "replace", "ES256", "--yes"]);
    town.until_both("the old key is gone", |site| !is_known(site, &bob));
    let by_lost_key = town.service_token();
    assert!(town.both(|site| call_api(site, &by_lost_key).status == 200));
    run(&["app", "disable", "sync"]);
    town.until_both("alice and sync are off", |site| {
        !is_known(site, &alice) && call_api(site, &by_lost_key).status == 401
    });

    town.seal_what_will_be_lost(kept);
    town.fail_over();
    town.until_both("alice is as the database has her", |site| is_known(site, &alice));
    town.until_both("so is bob", |site| is_known(site, &bob));
    assert_eq!(town.said(WENT_BACK), [1, 1]);
    assert_eq!(town.said(ANOTHER_SERVER), [1, 1]);
    for site in town.sites() {
        assert_eq!(user_info(site, &carol).status, 401, "she is disabled, and her sign-in is lost");
        assert_eq!(town.portal.refresh(site, &carols_refresh).status, 400);
        assert_eq!(call_api(site, &by_lost_key).status, 401, "no such key is in the database");
        let (published, kept) = town.keys(site);
        assert_eq!(published, kept);
        let signed = service_token(site, "sync", &town.sync).member("access_token");
        assert!(town.both(|site| call_api(site, &signed).status == 200), "what one signs all trust");
    }
    assert_eq!(
        town.portal.refresh(town.sites()[1], &rotated.member("refresh_token")).status,
        400,
        "its rotation is lost"
    );
    assert_eq!(town.portal.refresh(town.sites()[1], &bobs_refresh).status, 200);
    let (live, counted) = town.seats();
    assert_eq!(live, counted);

    // Later changes are followed, and audited.
    let signed = town.service_token();
    run(&["app", "disable", "sync"]);
    for site in town.sites() {
        until("a change is followed", SOON, || call_api(site, &signed).status == 401);
    }
    let [one, other] = town.nodes;
    one.stop();
    other.stop();
    let found = look(&town.address.url(), async |database| {
        let id = database.instances().await.expect("no fault")[0].id;
        let trail = flows::audit::sealed_trail(&Store::new(database, id)).await.expect("no fault");
        trail.iter().filter(|event| event.kind == "database-rewound").count()
    });
    assert_eq!(found, 2, "each node tells what it knew");
    expect_break(&town.installation);
}

/// The audit reports that the database lost seals, and no other finding.
fn expect_break(installation: &Installation) {
    let verified = installation.run(&["audit", "verify", "--instance", "erp"]);
    assert_eq!(verified.code, Some(4), "{verified:?}");
    assert!(verified.stdout.contains("the database had gone back to an earlier state"), "{verified:?}");
}

/// A planned switchover: memory is reloaded, and nothing is missing.
#[test]
fn after_a_switch_to_a_standby_that_has_everything_the_audit_is_whole() {
    let Some(town) = Town::found() else { return };
    let (token, refresh) = town.sign_in("alice");
    assert!(town.both(|site| call_api(site, &token).status == 200));
    let kept = town.sealed();
    town.primary.stop();
    town.take_over();
    town.until_both("the token is good", |site| is_known(site, &token));
    until("both nodes have seen it", PATIENCE, || town.said(ANOTHER_SERVER) == [1, 1]);
    assert_eq!(town.said(WENT_BACK), [0, 0]);
    assert_eq!(town.portal.refresh(town.sites()[1], &refresh).status, 200);
    assert!(town.both(|site| call_api(site, &token).status == 200));
    until("it is sealed", PATIENCE, || town.sealed() > kept);
    let [one, other] = town.nodes;
    one.stop();
    other.stop();
    let verified = town.installation.run(&["audit", "verify", "--instance", "erp"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// A sign-in, its tokens and sessions are not announced in the feed, so no node misses a change.
#[test]
fn after_a_failover_that_lost_sign_ins_alone_their_tokens_and_sessions_are_gone_too() {
    let Some(town) = Town::found() else { return };
    let (kept, _) = town.sign_in("alice");
    assert!(town.both(|site| call_api(site, &kept).status == 200));
    town.standby.cut_off_from(&town.primary);
    let sealed = town.sealed();
    let (lost, refresh) = town.sign_in("bob");
    assert!(town.both(|site| call_api(site, &lost).status == 200 && is_known(site, &lost)));
    assert_eq!(town.seats(), (2, 2));
    town.seal_what_will_be_lost(sealed);

    town.fail_over();
    town.until_both("the token is gone", |site| user_info(site, &lost).status == 401);
    for site in town.sites() {
        assert_eq!(call_api(site, &lost).status, 401);
        assert_eq!(town.portal.refresh(site, &refresh).status, 400);
        assert_eq!(call_api(site, &kept).status, 200);
    }
    assert_eq!(town.seats(), (1, 1));
    assert_eq!(town.said(WENT_BACK), [0, 0]);
    assert_eq!(town.said(ANOTHER_SERVER), [1, 1]);
    let [one, other] = town.nodes;
    one.stop();
    other.stop();
    expect_break(&town.installation);
}
