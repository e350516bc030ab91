//! Refused commands: exit code 1 and a helpful message. Wrong usage is 2.

use serde_json::json;

use crate::support::browser::service_token;
use crate::support::installation::{ERP, Installation, SHOP, erp};
use crate::support::process::{gatehouse, run};

const RECORD: &str = r#"{"ApplicationUri": "a", "Name": "A", "ClientType": "Public"}"#;

/// Two addresses in one text, one of them bad.
const LIST: &str = r#"{"ApplicationUri": "b", "Name": "B", "ClientType": "Public",
    "ImpersonateLoginUrl": "https://a.example/, http://b.example/"}"#;

#[test]
fn every_refusal_says_why_and_changes_nothing() {
    let installation = Installation::new();
    installation.create_erp();
    installation.run_with(&["app", "create", "-"], RECORD).done();
    let (long, reference) = ("x".repeat(1025), "0".repeat(32));
    for (arguments, input, why) in [
        (&["instance", "create", "erp"][..], "", "instance erp already exists"),
        (&["instance", "create", "other"], "", "add an [[instance]] with its name and url"),
        (&["user", "list", "--instance", "nowhere"], "", "instance nowhere not found"),
        (&["user", "create", "Admin"], "", "user Admin already exists"),
        (&["user", "create", " x"], "", "login: must be 1 to 128"),
        (&["user", "create", "bob", "--role", "Nobody"], "", "role Nobody not found"),
        (&["user", "create", "bob", "--email", "notanemail"], "", "email: must be a valid"),
        (&["user", "create", "bob", "--name", "B\u{202e}ob"], "", "name: must be 1 to 200 characters"),
        (&["user", "set", "admin", "--email", "notanemail"], "", "email: must be a valid"),
        (&["user", "set", "admin", "--name", "A\nB"], "", "name: must be 1 to 200 characters"),
        (&["user", "set", "admin", "--language", "no language"], "", "preferredLanguage"),
        (&["role", "create", "S\u{200b}ales"], "", "name: must be 1 to 64 characters"),
        (&["user", "set-password", "nobody"], "long enough", "user nobody not found"),
        (&["user", "set-password", "admin"], "short\n", "at least 8 characters"),
        (&["user", "set-password", "admin"], "", "at least 8 characters"),
        (&["user", "set-password", "admin"], "aaaaaaaaaaaa\n", "can be guessed in about"),
        (&["user", "set-password", "admin"], "password1\n", "too common"),
        (&["user", "set-password", "admin", "--force"], "\n", "the password is empty"),
        (&["user", "set-password", "admin", "--force"], &long, "at most 1024 bytes"),
        (&["user", "set-password", "admin"], &long, "at most 1024 bytes"),
        (&["user", "reset-second-factor", "nobody"], "", "user nobody not found"),
        (&["user", "reset-second-factor", "admin"], "", "second factor of admin not found"),
        (&["user", "disable", "nobody"], "", "user nobody not found"),
        (&["user", "enable", "nobody"], "", "user nobody not found"),
        (&["app", "create", "-"], RECORD, "application a already exists"),
        (&["app", "create", "-"], "{", "- is not a valid application record"),
        (&["app", "create", "-"], r#"{"Nmae": "A"}"#, "unknown field `Nmae`"),
        (&["app", "create", "no-such-file.json"], "", "no-such-file.json cannot be read"),
        (
            &["app", "create", "-"],
            r#"{"ApplicationUri": "b", "Name": "", "ClientType": "Public"}"#,
            "Name: must be 1 to 200",
        ),
        (&["app", "create", "-"], LIST, "\"http://b.example/\": http is allowed only for"),
        (&["app", "show", "nobody"], "", "application nobody not found"),
        (&["app", "disable", "nobody"], "", "application nobody not found"),
        (&["app", "enable", "nobody"], "", "application nobody not found"),
        (&["app", "add-secret", "nobody"], "", "application nobody not found"),
        (&["app", "add-secret", "a"], "", "is not a Confidential application"),
        (&["why", &reference], "", "in instance erp: check the instance (--instance)"),
        (&["why", "0"], "", "32 hexadecimal digits"),
    ] {
        let said = installation.run_with(arguments, input).refused();
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert!(!said.contains("database error"), "a refusal is no failure: {arguments:?}: {said}");
    }
    assert_eq!(installation.json(&["user", "list"]).as_array().expect("a list").len(), 1);
    assert_eq!(installation.json(&["app", "list"]).as_array().expect("a list").len(), 1);
    assert_eq!(installation.json(&["instance", "list"]), json!(["erp"]));
}

#[test]
fn a_first_administrator_that_cannot_be_made_leaves_no_instance_behind() {
    let installation = Installation::new();
    let said = installation.run(&["instance", "create", "erp", "--administrator", " x"]).refused();
    assert!(said.contains("login: must be 1 to 128"), "{said}");
    assert_eq!(installation.json(&["instance", "list"]), json!([]));
    installation.create_erp();
}

#[test]
fn of_several_instances_one_must_be_named() {
    let installation = Installation::with("sqlite:house.db", "", &[ERP, SHOP].concat());
    installation.create_erp();
    let said = installation.run(&["user", "list"]).refused();
    assert!(said.contains("choose one with --instance"), "{said}");
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

/// As with `gatehouse … | head -1` once `head` has its line.
#[test]
fn a_reader_that_went_away_ends_every_command_quietly() {
    let installation = Installation::new();
    installation.create_erp();
    for arguments in [
        &["doctor"][..],
        &["audit", "export"],
        &["audit", "export", "--format", "csv"],
        &["audit", "verify"],
        &["audit", "list", "--json"],
        &["session", "list"],
        &["session", "history"],
        &["user", "list"],
        &["user", "show", "admin"],
        &["app", "list"],
        &["role", "list"],
        &["token", "list"],
        &["key", "list"],
        &["report", "legacy"],
        &["instance", "show", "erp"],
        &["config", "check"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = installation.command(arguments).stdout(writer).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(141), ""), "{arguments:?}");
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = gatehouse().args(["completion", "bash"]).stdout(writer).status().expect("the program starts");
    assert_eq!(status.code(), Some(141));
    // With standard error in the same pipe, even the error message cannot be written.
    for arguments in [&["doctor"][..], &["user", "show", "nobody"], &["app", "create", "-"], &["config", "check"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let errors = writer.try_clone().expect("another end");
        let mut command = installation.command(arguments);
        let status = command.stdout(writer).stderr(errors).status().expect("the program starts");
        assert!(matches!(status.code(), Some(1 | 141)), "{arguments:?}: {status}: a panic is 101");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let installation = Installation::new();
    installation.create_erp();
    for arguments in [&["user", "list"][..], &["audit", "export"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
        let output = installation.command(arguments).stdout(full).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write the output"), "{said}");
    }
}

/// A new file would look like an installation without users.
#[test]
fn a_lost_database_is_named_and_no_other_takes_its_place() {
    let installation = Installation::new();
    installation.create_erp();
    let file = installation.path("house.db");
    let moved = |from: &str, to: &str| {
        for companion in ["", "-wal", "-shm", ".lock"] {
            let [from, to] = [from, to].map(|name| installation.path(&format!("{name}{companion}")));
            let _absent = std::fs::rename(from, to);
        }
    };
    moved("house.db", "elsewhere.db");
    for arguments in [
        &["serve"][..],
        &["user", "list"],
        &["user", "create", "bob"],
        &["app", "list"],
        &["instance", "list"],
        &["instance", "show", "erp"],
        &["instance", "create", "misspelt"],
        &["audit", "verify"],
        &["key", "list"],
        &["why", "0123456789abcdef0123456789abcdef"],
    ] {
        let said = installation.run(arguments).refused();
        let is_told = said.contains(&file.display().to_string()) && said.contains("restore it from a backup");
        assert!(is_told || said.contains("misspelt is not in the configuration"), "{arguments:?}: {said}");
        assert!(!file.exists() && !installation.path("house.db.lock").exists(), "{arguments:?}");
    }
    let examined = installation.run(&["doctor"]);
    assert_eq!(examined.code, Some(1));
    assert!(examined.stdout.contains("restore it from a backup"), "{examined:?}");
    assert!(!file.exists());
    // An empty file counts as lost, too.
    std::fs::write(&file, "").expect("an empty file");
    let said = installation.run(&["user", "list"]).refused();
    assert!(said.contains("is empty"), "{said}");
    moved("elsewhere.db", "house.db");
    assert_eq!(installation.json(&["user", "list"]).as_array().expect("a list").len(), 1);
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
    assert_eq!(here(&["config", "check"]).done(), "gatehouse.toml is valid. The server can start with it.\n");
    here(&["instance", "create", "erp"]).done();
    assert_eq!(installation.json(&["instance", "list"]), json!(["erp"]), "its paths begin at its folder");
    assert!(here(&["--version"]).done().starts_with("gatehouse "));
    assert!(here(&["--help"]).done().contains("Exit codes: 0 success, 1 refused or failed, 2 usage error"));
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
    assert!(installation.run(&["config", "check"]).done().contains("is valid"));
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
    let installation = Installation::with("sqlite:house.db", "", &[ERP, SHOP].concat());
    let said = installation.run(&["serve"]).refused();
    assert!(said.contains("for a new installation, run `gatehouse instance create NAME`"), "{said}");
    installation.create_erp();
    let said = installation.run(&["serve"]).refused();
    assert!(said.contains("run `gatehouse instance create shop`"), "{said}");
    assert!(said.contains("instance shop is configured but was not created yet"), "{said}");
    assert!(!said.contains("internal failure"), "nothing of ours failed: {said}");
}

#[test]
fn a_refusal_is_explained_right_after_it() {
    let installation = Installation::new();
    installation.create_erp();
    let server = installation.serve();
    let site = erp(&server);
    for _ in 0..3 {
        let refused = service_token(site, "nobody", "guessed");
        assert_eq!(refused.status, 401);
        let reference = refused.header("x-request-id").expect("every answer has one");
        let explanation = installation.run(&["why", reference]).done();
        assert!(explanation.contains("(unknown_application)"), "{explanation}");
    }
}
