//! Passwords typed at a terminal.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::browser::Browser;
use crate::support::installation::{ERP, Installation, erp};
use crate::support::process::Heard;
use crate::support::{PATIENCE, until};

#[test]
fn a_password_typed_at_a_terminal_is_not_shown() {
    let installation = Installation::with("sqlite:house.db", "", ERP);
    installation.create_erp();
    let set_password = format!(
        "tty; exec '{}' user set-password admin --config '{}'",
        env!("CARGO_BIN_EXE_gatehouse"),
        installation.path("gatehouse.toml").display()
    );
    // A pseudo-terminal, which would echo typed input into its output.
    let mut script = Command::new("script")
        .args(["-qefc", &set_password, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux has script");
    let screen = Heard::listen(script.stdout.take().expect("piped"));
    let terminal =
        screen.wait_for(|text| text.lines().next().filter(|line| line.starts_with("/dev/")).map(str::to_owned));
    until("the terminal shows nothing that is typed", PATIENCE, || {
        let settings = Command::new("stty").args(["-a", "-F", &terminal]).output().expect("coreutils has stty");
        String::from_utf8_lossy(&settings.stdout).split_whitespace().any(|word| word == "-echo")
    });
    let mut keyboard = script.stdin.take().expect("piped");
    keyboard.write_all(b"typed in secret\n").expect("typed");
    let said = screen.wait_for(|text| text.contains("changed. All sign-ins have ended").then(|| text.to_owned()));
    drop(keyboard);
    assert!(script.wait().expect("our own child").success());
    assert!(said.contains("New password of admin") && !said.contains("typed in secret"), "{said}");

    let server = installation.serve();
    let mut admin = Browser::at(erp(&server));
    admin.sign_in("/id/account/login", "admin", "typed in secret");
    assert!(admin.is_signed_in());
}
