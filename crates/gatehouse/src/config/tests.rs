use crate::provisions::Provisions;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::key::MASTER_KEY;
use crate::config::*;

const EXAMPLE: &str = include_str!("../../../../docs/gatehouse.example.toml");

const SMALL: &str = r#"listen = ["127.0.0.1:8080"]
database = "sqlite:gatehouse.db"
[master_key]
environment = "KEY"
[[instance]]
name = "testdb"
url = "https://erp.example.com/"
hosts = ["Alias.example.com"]
"#;

fn parse(text: &str) -> Result<Config, StartupProblem> {
    Config::parse(Path::new("etc/gatehouse.toml"), text)
}

/// Loads the small configuration with one part replaced.
fn with(old: &str, new: &str) -> Result<Config, StartupProblem> {
    assert!(SMALL.contains(old), "{old}");
    parse(&SMALL.replacen(old, new, 1))
}

fn refusal(old: &str, new: &str) -> String {
    with(old, new).expect_err(new).to_string()
}

fn no_variables(_: &str) -> Option<String> {
    None
}

fn a_key(variable: &str) -> Option<String> {
    (variable == "KEY").then(|| STANDARD.encode([7; 32]))
}

#[test]
fn the_example_in_the_documentation_is_a_configuration() {
    let config = parse(EXAMPLE).expect("the example is good");
    assert_eq!(config.instances[0].hosts.len(), 2);
    assert!(config.tls.is_some());
}

#[test]
fn a_small_configuration_says_everything_needed() {
    let config = parse(SMALL).expect("good");
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().expect("an address")]);
    assert_eq!(config.instances[0].name, "testdb");
    assert_eq!(config.instances[0].root.as_str(), "https://erp.example.com");
    let hosts: Vec<&str> = config.instances[0].hosts.iter().map(HostName::as_str).collect();
    assert_eq!(hosts, ["erp.example.com", "alias.example.com"]);
    assert_eq!(config.default_instance, None);
    assert_eq!(config.log, LogSettings::default());
    let provisions = Provisions::fetch(&config, &a_key).expect("good");
    assert_eq!(provisions.master_keys.current.bytes(), &[7; 32]);
    assert_eq!(format!("{:?}", provisions.database), "sqlite:etc/gatehouse.db");
    assert!(provisions.certificate.is_none());
}

#[test]
fn an_unknown_key_is_refused_with_its_line_at_every_level() {
    for (old, new, line, key) in [
        ("database", "databse", "line 2", "`databse`"),
        ("environment =", "enviroment =", "line 4", "`enviroment`"),
        ("hosts", "host", "line 8", "`host`"),
        ("[master_key]", "[tls]\ncert = \"a\"\n[master_key]", "line 4", "`cert`"),
        ("[master_key]", "[log]\nlevle = \"info\"\n[master_key]", "line 4", "`levle`"),
        ("[master_key]", "[other]\n[master_key]", "line 3", "`other`"),
    ] {
        let message = refusal(old, new);
        assert!(message.starts_with(&format!("etc/gatehouse.toml, {line}: unknown ")), "{message}");
        assert!(message.contains(key) && message.contains("^^") && message.contains("→"), "{message}");
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_line_and_what_to_write() {
    for (old, new, line, hint) in [
        ("127.0.0.1:8080", "localhost", "line 1", "127.0.0.1:8080"),
        ("[\"127.0.0.1:8080\"]", "[]", "line 1", "no address"),
        ("[\"127.0.0.1:8080\"]", "[\"[::]:80\", \"[::]:80\"]", "line 1", "twice"),
        ("sqlite:gatehouse.db", "mysql://db", "line 2", "postgres://user"),
        ("[master_key]", "trusted_proxies = [\"10.0.0.0/33\"]\n[master_key]", "line 3", "10.0.0.0/8"),
        ("[master_key]", "default_instance = \"prod\"\n[master_key]", "line 3", "unknown instance `prod`"),
        ("[master_key]", "[log]\nlevel = \"loud\"\n[master_key]", "line 4", "`trace`"),
        ("environment = \"KEY\"", "environment = \"KEY\"\nfile = \"master.key\"", "line 3", "exactly 1"),
        ("\"testdb\"", "\"test db\"", "line 6", "1 to 63"),
        ("https://erp.example.com/", "http://erp.example.com/", "line 7", "https://"),
        ("https://erp.example.com/", "https://erp.example.com/id", "line 7", "optional port only"),
        ("Alias.example.com", "alias.example.com:8080", "line 8", "no port"),
        ("Alias.example.com", "*.example.com", "line 8", "`*.example.com`: wildcards are not supported"),
        ("Alias.example.com", "alias.example.com\", \"https://b.example.com", "line 8", "`https://b.example.com`"),
        ("Alias.example.com", "a b", "line 8", "no blank"),
        ("Alias.example.com", "b\u{fc}cher.example", "line 8", "xn--"),
        ("Alias.example.com", "a..example.com", "line 8", "not a host name"),
        ("Alias.example.com", "ERP.example.com", "line 8", "instance `testdb`"),
        ("Alias.example.com", "erp.example.com.", "line 8", "instance `testdb`"),
        ("https://erp.example.com/", "https://*.example.com/", "line 7", "wildcards are not supported"),
        ("[master_key]", "[metrics]\nlisten = \"127.0.0.1:1\"\nhosts = [\"*\"]\n[master_key]", "line 5", "wildcards"),
    ] {
        let message = refusal(old, new);
        assert!(message.starts_with(&format!("etc/gatehouse.toml, {line}: ")), "{message}");
        assert!(message.contains(hint), "{message}");
    }
}

#[test]
fn two_instances_share_neither_name_nor_host() {
    let second = |name: &str, url: &str| {
        parse(&format!("{SMALL}[[instance]]\nname = \"{name}\"\nurl = \"{url}\"\n"))
            .map(|config| config.instances.len())
    };
    assert_eq!(second("other", "https://other.example.com"), Ok(2));
    for (name, url, line) in [
        ("TestDB", "https://other.example.com", "line 10"),
        ("other", "https://erp.example.com:8443", "line 11"),
        ("other", "https://alias.example.com", "line 11"),
    ] {
        let message = second(name, url).expect_err(url).to_string();
        assert!(message.contains(line), "{message}");
    }
}

#[test]
fn at_least_one_instance_is_wanted() {
    let none = SMALL.split("[[instance]]").next().expect("the part before");
    assert!(parse(none).expect_err("no instance").to_string().contains("`instance`"));
    assert!(parse(&format!("instance = []\n{none}")).expect_err("no instance").to_string().contains("no instance"));
}

#[test]
fn no_mistake_shows_the_database_password() {
    for text in [
        "databse = \"postgres://me:hunter2@db/x\"",
        "database = \"postgres://me:hunter2@db:port/x\"",
        "database = \"mysql://me:hunter2@db/x\"",
        "database = [\"postgres://me:hunter2@db/x\"]",
        "database = \"postgres://me:hunter2@db/x\" x",
        "database = \"postgres://me:hunter2@db/x",
    ] {
        let message = refusal("database = \"sqlite:gatehouse.db\"", text);
        assert!(!message.contains("hunter2"), "{message}");
    }
    let config = with("sqlite:gatehouse.db", "postgres://me:hunter2@db/x").expect("good");
    assert!(!format!("{config:?}").contains("hunter2"));
    let config = with("sqlite:gatehouse.db", "env:URL").expect("good");
    let problems =
        Provisions::fetch(&config, &|_| Some("mysql://me:hunter2@db/x".to_owned())).expect_err("not a database URL");
    assert!(!format!("{problems:?}").contains("hunter2"));
}

#[test]
fn the_database_url_may_come_from_the_environment() {
    let config = with("sqlite:gatehouse.db", "env:URL").expect("good");
    let provisions = Provisions::fetch(&config, &|name| {
        if name == "URL" { Some("sqlite:/var/db/x.db".to_owned()) } else { a_key(name) }
    });
    assert_eq!(format!("{:?}", provisions.expect("good").database), "sqlite:/var/db/x.db");
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let text =
        SMALL.replace("sqlite:gatehouse.db", "env:URL") + "[tls]\ncertificate = \"no.pem\"\nprivate_key = \"no.key\"\n";
    let problems = Provisions::fetch(&parse(&text).expect("good"), &no_variables).expect_err("nothing is there");
    let message: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(message.len(), 3, "{message:?}");
    for (problem, name) in message.iter().zip(["URL", "KEY", "no.pem"]) {
        assert!(problem.contains(name), "{problem}");
    }
}

fn key_file(content: &[u8], mode: u32) -> Result<MasterKeyBytes, StartupProblem> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("master.key");
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("changed");
    SecretSource::File("master.key".into()).within(folder.path()).fetch_key(MASTER_KEY, &no_variables)
}

#[test]
fn a_key_file_holds_32_bytes_that_only_its_owner_can_read() {
    let good = STANDARD.encode([9; 32]) + "\n";
    assert_eq!(key_file(good.as_bytes(), 0o600).expect("good").bytes(), &[9; 32]);
    assert_eq!(key_file(good.as_bytes(), 0o400).expect("good").bytes(), &[9; 32]);
    for mode in [0o640, 0o604, 0o620, 0o644] {
        let message = key_file(good.as_bytes(), mode).expect_err("open to others").to_string();
        assert!(message.contains("chmod 600"), "{message}");
    }
    for content in [&b""[..], b"x", STANDARD.encode([9; 31]).as_bytes(), STANDARD.encode([9; 33]).as_bytes(), &[9; 32]]
    {
        let message = key_file(content, 0o600).expect_err("not a key").to_string();
        assert!(message.contains("32 bytes in base64") && message.contains("openssl rand"), "{message}");
    }
}

#[test]
fn a_missing_or_foreign_key_says_how_to_make_one() {
    let missing =
        SecretSource::File("no/such/master.key".into()).fetch_key(MASTER_KEY, &no_variables).expect_err("missing");
    assert!(missing.to_string().contains("openssl rand"));
    let config = parse(SMALL).expect("good");
    let problems = Provisions::fetch(&config, &|_| Some("c2hvcnQ=".to_owned())).expect_err("too short");
    assert!(!format!("{problems:?}").contains("c2hvcnQ="));
}

#[test]
fn a_key_is_never_printed() {
    let provisions = Provisions::fetch(&parse(SMALL).expect("good"), &a_key).expect("good");
    assert!(format!("{provisions:?}").contains("MasterKey(…)"));
}

#[test]
fn a_key_written_into_the_configuration_is_refused_and_not_shown() {
    let message = refusal("[master_key]\nenvironment = \"KEY\"", "master_key = \"c2VjcmV0\"");
    assert!(message.contains("line 3") && !message.contains("c2VjcmV0"), "{message}");
    let message = refusal("environment = \"KEY\"", "value = \"c2VjcmV0\"");
    assert!(message.contains("line 4") && message.contains("`value`"), "{message}");
    assert!(!message.contains("c2VjcmV0"), "{message}");
}

const MAIL: &str = "[mail]\nhost = \"smtp.example.com\"\nfrom = \"Gatehouse <no-reply@example.com>\"\n";

fn with_mail(more: &str) -> Result<Config, StartupProblem> {
    with("[master_key]", &format!("{MAIL}{more}\n[master_key]"))
}

#[test]
fn mail_needs_a_host_and_a_sender_and_chooses_the_port_by_its_security() {
    let password = |name: &str| if name == "SMTP" { Some("hunter2".to_owned()) } else { a_key(name) };
    for (more, port) in [
        ("", 587),
        ("tls = \"tls\"", 465),
        ("tls = \"none\"", 25),
        ("port = 2525", 2525),
        ("username = \"gate\"\npassword = { environment = \"SMTP\" }", 587),
    ] {
        let config = with_mail(more).expect(more);
        assert_eq!(config.mail.as_ref().map(|mail| (mail.host.as_str(), mail.port)), Some(("smtp.example.com", port)));
        let provisions = Provisions::fetch(&config, &password).expect(more);
        assert!(provisions.post.is_some());
        assert!(!format!("{config:?}{provisions:?}").contains("hunter2"));
    }
    assert!(parse(SMALL).expect("good").mail.is_none(), "off unless asked for");
}

#[test]
fn a_mail_section_that_cannot_work_is_refused_with_its_line() {
    for (more, line, hint) in [
        ("username = \"gate\"", "line 3", "password"),
        ("password = { environment = \"SMTP\" }", "line 3", "username"),
        ("tls = \"none\"\nusername = \"gate\"\npassword = { environment = \"SMTP\" }", "line 3", "unencrypted"),
        ("tls = \"maybe\"", "line 6", "starttls"),
        ("pasword = \"hunter2\"", "line 6", "`pasword`"),
        ("password = \"hunter2\"", "line 6", "secrets are not allowed"),
        ("port = 70000", "line 6", "u16"),
    ] {
        let message = with_mail(more).expect_err(more).to_string();
        assert!(
            message.starts_with(&format!("etc/gatehouse.toml, {line}: ")) && message.contains(hint),
            "{more}: {message}"
        );
        assert!(!message.contains("hunter2"), "{message}");
    }
    let message = refusal("[master_key]", "[mail]\nhost = \"x\"\nfrom = \"nobody\"\n[master_key]");
    assert!(message.contains("line 5") && message.contains("no-reply@example.com"), "{message}");
    let problems = Provisions::fetch(
        &with_mail("username = \"gate\"\npassword = { environment = \"SMTP\" }").expect("good"),
        &a_key,
    );
    assert!(problems.expect_err("not set")[0].to_string().contains("SMTP"));
}

#[test]
fn the_places_for_connections_are_read_and_none_is_no_number_of_them() {
    let section = |text: &str| with("[master_key]", &format!("{text}\n[master_key]"));
    let limits = section("[connections]\nmaximum = 100\nper_network = 10").expect("good").connections.limits();
    assert_eq!((limits.max_connections, limits.connections_per_network, limits.connections_per_site), (100, 10, 1024));
    assert_eq!(section("").expect("good").connections.limits().max_connections, 4096);
    for wrong in ["maximum = 0", "per_network = -1", "per_site = \"all\"", "per_adress = 1"] {
        section(&format!("[connections]\n{wrong}")).expect_err(wrong);
    }
}

#[test]
fn figures_and_traces_are_off_unless_asked_for() {
    let config = parse(SMALL).expect("good");
    assert!(config.metrics.is_none() && config.traces.is_none());
    let section = |text: &str| with("[master_key]", &format!("{text}\n[master_key]"));
    let config = section("[metrics]\nlisten = \"127.0.0.1:9464\"").expect("good");
    let metrics = config.metrics.expect("a table");
    assert_eq!(metrics.listen, "127.0.0.1:9464".parse().expect("an address"));
    assert!(metrics.hosts.is_empty());
    let config = section("[traces]\notlp = \"http://127.0.0.1:4318\"\nsample = 0.05").expect("good");
    assert_eq!(config.traces.map(|traces| traces.sample), Some(0.05));
    assert!(config.publishing.is_none());
    let publish = "{ log = true, file = \"c.jsonl\", webhook = \"https://auditor.example.com/taken\" }";
    let config = section(&format!("[audit]\npublish = {publish}")).expect("good");
    let publishing = config.publishing.expect("a table");
    assert!(publishing.log && publishing.webhook.is_some());
    assert_eq!(publishing.file.as_deref().and_then(Path::file_name), Some("c.jsonl".as_ref()));
    let config = section("[audit.publish]\nfile = \"/var/lib/c.jsonl\"").expect("good");
    let publishing = config.publishing.expect("a table");
    assert!(!publishing.log && publishing.webhook.is_none());
    assert_eq!(publishing.file, Some("/var/lib/c.jsonl".into()));
    for (text, hint) in [
        ("[metrics]\nlisten = \"9464\"", "127.0.0.1:8080"),
        ("[traces]\notlp = \"127.0.0.1:4318\"", "http://127.0.0.1:4318"),
        ("[traces]\notlp = \"http://x\"\nsample = 2.0", "from 0 to 1"),
        ("[traces]\notlp = \"http://x\"\nsampel = 1.0", "`sampel`"),
        ("[audit]\npublish = { webhook = \"https://x?key=1\" }", "https://auditor.example.com/checkpoints"),
        ("[audit]\npublish = { fiel = \"x\" }", "`fiel`"),
        ("[audit]", "`publish`"),
    ] {
        let message = section(text).expect_err(text).to_string();
        assert!(message.contains(hint), "{message}");
    }
}
