//! What commands refuse: exit code 1, and a text that helps. Wrong usage is 2.

use serde_json::json;

use crate::support::installation::{ERP, Installation, SHOP};
use crate::support::process::{gatehouse, run};

const RECORD: &str = r#"{"ApplicationUri": "a", "Name": "A", "ClientType": "Public"}"#;

#[test]
fn every_refusal_says_why_and_changes_nothing() {
    let installation = Installation::new();
    installation.create_erp();
    installation.run_with(&["app", "create", "-"], RECORD).done();
    let long = "x".repeat(1025);
    for (arguments, input, why) in [
        (&["instance", "create", "erp"][..], "", "instance erp exists already"),
        (&["instance", "create", "other"], "", "add an [[instance]] with its name and url"),
        (&["user", "list", "--instance", "nowhere"], "", "there is no instance nowhere"),
        (&["user", "create", "Admin"], "", "user Admin exists already"),
        (&["user", "create", " x"], "", "a login is 1 to 128"),
        (&["user", "create", "bob", "--role", "Nobody"], "", "there is no role Nobody"),
        (&["user", "set-password", "nobody"], "long enough", "there is no user nobody"),
        (&["user", "set-password", "admin"], "short\n", "at least 8 characters"),
        (&["user", "set-password", "admin"], "", "at least 8 characters"),
        (&["user", "set-password", "admin"], "aaaaaaaaaaaa\n", "guessed in about"),
        (&["user", "set-password", "admin"], "password1\n", "tried first"),
        (&["user", "set-password", "admin", "--force"], "\n", "a password is not empty"),
        (&["user", "set-password", "admin", "--force"], &long, "at most 1024 bytes"),
        (&["user", "set-password", "admin"], &long, "at most 1024 bytes"),
        (&["user", "reset-second-factor", "nobody"], "", "there is no user nobody"),
        (&["user", "reset-second-factor", "admin"], "", "there is no second factor of admin"),
        (&["user", "disable", "nobody"], "", "there is no user nobody"),
        (&["user", "enable", "nobody"], "", "there is no user nobody"),
        (&["app", "create", "-"], RECORD, "application a exists already"),
        (&["app", "create", "-"], "{", "- is not an application's record"),
        (&["app", "create", "-"], r#"{"Nmae": "A"}"#, "unknown field `Nmae`"),
        (&["app", "create", "no-such-file.json"], "", "no-such-file.json cannot be read"),
        (&["app", "create", "-"], r#"{"ApplicationUri": "b", "Name": "", "ClientType": "Public"}"#, "Name: give it"),
        (&["app", "show", "nobody"], "", "there is no application nobody"),
        (&["app", "disable", "nobody"], "", "there is no application nobody"),
        (&["app", "enable", "nobody"], "", "there is no application nobody"),
        (&["app", "add-secret", "nobody"], "", "there is no application nobody"),
        (&["app", "add-secret", "a"], "", "only a Confidential application has secrets"),
    ] {
        let said = installation.run_with(arguments, input).refused();
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert!(!said.contains("the database failed"), "a refusal is no failure: {arguments:?}: {said}");
    }
    assert_eq!(installation.json(&["user", "list"]).as_array().expect("a list").len(), 1);
    assert_eq!(installation.json(&["app", "list"]).as_array().expect("a list").len(), 1);
    assert_eq!(installation.json(&["instance", "list"]), json!(["erp"]));
}

#[test]
fn a_first_administrator_that_cannot_be_made_leaves_no_instance_behind() {
    let installation = Installation::new();
    let said = installation.run(&["instance", "create", "erp", "--administrator", " x"]).refused();
    assert!(said.contains("a login is 1 to 128"), "{said}");
    assert_eq!(installation.json(&["instance", "list"]), json!([]));
    installation.create_erp();
}

#[test]
fn of_several_instances_one_must_be_named() {
    let installation = Installation::with("sqlite:house.db", "", &[ERP, SHOP].concat());
    installation.create_erp();
    let said = installation.run(&["user", "list"]).refused();
    assert!(said.contains("say which with --instance"), "{said}");
    installation.run(&["user", "list", "--instance", "erp"]).done();
}

#[test]
fn all_problems_of_a_record_are_told_together() {
    let installation = Installation::new();
    installation.create_erp();
    let record = json!({
        "ApplicationUri": "a", "Name": " ", "ClientType": "Public", "Scope": "everything", "AccessTokenSeconds": 1,
        "ImpersonateLoginUrl": ["http://app.example.com/cb"],
    });
    let said = installation.run_with(&["app", "create", "-"], &record.to_string()).refused();
    for problem in ["Name:", "Scope: everything is unknown", "AccessTokenSeconds:", "ImpersonateLoginUrl:"] {
        assert!(said.contains(problem), "{problem} {said}");
    }
}

#[test]
fn a_result_that_nobody_can_read_is_a_failure() {
    let installation = Installation::new();
    installation.create_erp();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = installation.command(&["user", "list"]).stdout(writer).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("gatehouse: the result cannot be printed"), "{said}");
}

#[test]
fn the_configuration_of_the_current_folder_is_used_unless_another_is_named() {
    let installation = Installation::new();
    let here = |arguments: &[&str]| {
        run(
            gatehouse().args(arguments).current_dir(installation.path("gatehouse.toml").parent().expect("a folder")),
            "",
        )
    };
    assert_eq!(here(&["config", "check"]).done(), "gatehouse.toml is good: the server can start with it.\n");
    here(&["instance", "create", "erp"]).done();
    assert_eq!(installation.json(&["instance", "list"]), json!(["erp"]), "its paths begin at its folder");
    assert!(here(&["--version"]).done().starts_with("gatehouse "));
    assert!(here(&["--help"]).done().contains("Exit codes: 0 done, 1 refused or failed, 2 wrong usage"));
}

#[test]
fn wrong_usage_is_told_from_refusal() {
    let installation = Installation::new();
    for arguments in [&["frobnicate"][..], &["user"], &["user", "create"], &["demo", "--listen", "somewhere"]] {
        let ran = installation.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_configuration_is_found_good_or_told_what_is_wrong_with_it() {
    let installation = Installation::new();
    assert!(installation.run(&["config", "check"]).done().contains("is good"));
    assert!(!installation.path("house.db").exists(), "to look changes nothing");

    installation.configure("postgres://u:hunter2@db.example/x", "lisen = 1", ERP);
    let said = installation.run(&["config", "check"]).refused();
    assert!(said.contains("line 3") && said.contains("lisen") && !said.contains("hunter2"), "{said}");
    installation.configure("env:GATEHOUSE_TEST_UNSET", "", ERP);
    std::fs::remove_file(installation.path("master.key")).expect("it was there");
    let said = installation.run(&["config", "check"]).refused();
    assert!(said.contains("GATEHOUSE_TEST_UNSET") && said.contains("master.key"), "all problems at once: {said}");
    assert!(said.contains("openssl rand -base64 32"), "with what to do: {said}");
    installation.run(&["serve"]).refused();
    std::fs::remove_file(installation.path("gatehouse.toml")).expect("it was there");
    let said = installation.run(&["config", "check"]).refused();
    assert!(said.contains("gatehouse.toml cannot be read"), "{said}");
}

#[test]
fn a_server_does_not_start_before_its_instances_are_made() {
    let installation = Installation::new();
    let said = installation.run(&["serve"]).refused();
    assert!(said.contains("run `gatehouse instance create erp`"), "{said}");
    assert!(said.contains("instance erp is configured, and was not made yet"), "{said}");
    assert!(!said.contains("internal failure"), "nothing of ours failed: {said}");
}
