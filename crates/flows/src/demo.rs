//! Fills an instance with the demo's people, applications and data (`demo.md`, an exact contract).

use model::domain::Permissions;
use model::record::ApplicationRecord;
use model::user::PasswordHash;
use model::{Email, InstanceSettings, Moment, Operator, UserType};
use oauth::secret::Presented;
use serde_json::{Value, json};
use store::{Database, Store};

use crate::admin::{AdminRefusal, ElevatedOffice, UserDraft, create_instance};
use crate::passwords::AcceptedPassword;
use crate::{Answer, Fault, MasterKey, Passwords, domain};

/// An instance of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoInstance {
    TestDb,
    DemoDb,
}

impl DemoInstance {
    pub const ALL: [Self; 2] = [Self::TestDb, Self::DemoDb];

    pub const fn name(self) -> &'static str {
        match self {
            Self::TestDb => "testdb",
            Self::DemoDb => "demodb",
        }
    }

    fn secret(self, secret: &str) -> String {
        match self {
            Self::TestDb => secret.to_owned(),
            Self::DemoDb => format!("{secret}-demodb"),
        }
    }

    fn settings(self) -> InstanceSettings {
        match self {
            Self::TestDb => InstanceSettings {
                seats: Some(5),
                reserved_seats: vec!["admin".to_owned()],
                legacy_schemes: true,
                default_legacy_application: Some("legacy.client".to_owned()),
                ..InstanceSettings::default()
            },
            Self::DemoDb => InstanceSettings::default(),
        }
    }
}

struct DemoUser {
    login: &'static str,
    name: &'static str,
    user_type: UserType,
    role: Option<&'static str>,
}

const fn user(login: &'static str, name: &'static str, user_type: UserType, role: Option<&'static str>) -> DemoUser {
    DemoUser { login, name, user_type, role }
}

const USERS: &[DemoUser] = &[
    user("admin", "Ada Admin", UserType::Internal, None),
    user("alice", "Alice Archer", UserType::Internal, Some("Sales")),
    user("bob", "Bob Brewer", UserType::Internal, Some("Viewer")),
    user("carol", "Carol Community", UserType::ExternalCommunity, None),
    user("dave", "Dave Departed", UserType::Internal, Some("Sales")),
    user("svc.integration", "Integration service", UserType::SystemNoLogin, Some("Sales")),
    user("svc.reader", "Reader service", UserType::SystemNoLogin, Some("Viewer")),
];

/// The login reversed and `-Demo1`.
pub fn password_of(login: &str) -> String {
    format!("{}-Demo1", login.chars().rev().collect::<String>())
}

/// The people of the demo who sign in, with their names.
pub fn people() -> impl Iterator<Item = (&'static str, &'static str)> {
    USERS.iter().filter(|user| user.user_type != UserType::SystemNoLogin).map(|user| (user.login, user.name))
}

/// The passwords of the demo, hashed once, side by side: each is worth some twenty milliseconds of a core.
pub struct DemoPasswords(Vec<(&'static str, PasswordHash)>);

impl DemoPasswords {
    pub async fn hash(passwords: &Passwords, moment: &mut Moment<'_>) -> Result<Self, Fault> {
        let one = async |login: &'static str, salt: [u8; 16]| {
            let password = AcceptedPassword::of_the_demo(&password_of(login));
            passwords.hash(password, salt).await.map(|hash| (login, hash))
        };
        let mut hashes = Vec::new();
        let mut pairs = people().map(|(login, _)| {
            let mut salt = [0; 16];
            moment.dice.fill(&mut salt);
            (login, salt)
        });
        while let Some((login, salt)) = pairs.next() {
            match pairs.next() {
                None => hashes.push(one(login, salt).await?),
                Some((other, salt_of_other)) => {
                    let (first, second) = tokio::join!(one(login, salt), one(other, salt_of_other));
                    hashes.extend([first?, second?]);
                }
            }
        }
        Ok(Self(hashes))
    }

    fn of(&self, login: &str) -> Option<&PasswordHash> {
        self.0.iter().find(|(name, _)| *name == login).map(|(_, hash)| hash)
    }
}

/// Makes one of the demo's instances. Either all of it is there afterwards, or the start is told of a fault.
pub async fn seed(
    (database, master): (&Database, &MasterKey),
    demo: DemoInstance,
    passwords: &DemoPasswords,
    moment: &mut Moment<'_>,
) -> Result<(), Fault> {
    let operator = master.operator();
    let id = done(create_instance((database, master), &operator, demo.name(), &demo.settings(), moment).await)?;
    domain::seed(&Store::new(database.clone(), id), moment).await?;
    seed_register((database, master), &operator, demo, passwords, moment).await
}

async fn seed_register(
    (database, master): (&Database, &MasterKey),
    operator: &Operator,
    demo: DemoInstance,
    passwords: &DemoPasswords,
    moment: &mut Moment<'_>,
) -> Result<(), Fault> {
    let office = done(ElevatedOffice::open((database, master), operator, demo.name()).await)?;
    let sales = Permissions::new(&["Crm_*", "General_*"], &["Crm_*", "General_*"]);
    done(office.create_role("Sales", &sales, moment).await)?;
    done(office.create_role("Viewer", &Permissions::new(&["Crm_*"], &[]), moment).await)?;
    let mut integration = None;
    let mut reader = None;
    for user in USERS {
        let draft = UserDraft {
            login: user.login,
            user_type: user.user_type,
            is_admin: user.login == "admin",
            name: user.name,
            email: (user.user_type != UserType::SystemNoLogin)
                .then(|| Email { address: format!("{}@example.com", user.login), verified: user.login == "alice" }),
            role: user.role,
            enabled: user.login != "dave",
        };
        let id = done(office.create_user_with(draft, passwords.of(user.login), moment).await)?;
        match user.login {
            "svc.integration" => integration = Some(id.0),
            "svc.reader" => reader = Some(id.0),
            _ => {}
        }
    }
    for (record, secret) in applications(&json!(integration), &json!(reader)) {
        let record: ApplicationRecord = serde_json::from_value(record).map_err(Fault::failed)?;
        let secret = secret.map(|secret| Presented::new(demo.secret(secret)));
        done(office.create_application(record, secret.as_ref(), moment).await)?;
    }
    Ok(())
}

/// The demo is written in one go; a refusal here is a mistake in this file.
fn done<T>(answer: Answer<T, AdminRefusal>) -> Result<T, Fault> {
    answer?.map_err(|refusal| Fault::failed(refusal.to_string()))
}

/// Records and secrets, by the documented attribute names.
fn applications(integration: &Value, reader: &Value) -> [(Value, Option<&'static str>); 9] {
    [
        (
            json!({
                "ApplicationUri": "my.trusted.app/first", "Name": "First Trusted App", "ClientType": "Confidential",
                "ImpersonateAsInternalUserAllowed": true, "Scope": "read update DomainApi offline_access",
                "ImpersonateLoginUrl":
                    ["https://your-app.example.com/signin-callback", "http://localhost:3000/signin-callback"],
                "ImpersonateLogoutUrl": ["http://localhost:3000/signed-out"],
            }),
            Some("first-secret"),
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/spa", "Name": "Single-page App", "ClientType": "Public",
                "ImpersonateAsInternalUserAllowed": true, "Scope": "read",
                "ImpersonateLoginUrl":
                    ["https://your-spa.example.com/index.html", "http://localhost:3000/index.html"],
                "ImpersonateLogoutUrl": ["http://localhost:3000/"],
            }),
            None,
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/native", "Name": "Field App", "ClientType": "Public",
                "ImpersonateAsInternalUserAllowed": true, "Scope": "read update", "PublicRefreshAllowed": true,
                "ImpersonateLoginUrl": ["http://127.0.0.1/callback", "com.example.fieldapp:/callback"],
            }),
            None,
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/service", "Name": "Integration", "ClientType": "Confidential",
                "SystemUserAllowed": true, "SystemUser": integration, "Scope": "read update",
                "AccessTokens": "AdministratorsOnly",
            }),
            Some("service-secret"),
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/reader", "Name": "Reader", "ClientType": "Confidential",
                "SystemUserAllowed": true, "SystemUser": reader, "Scope": "read",
            }),
            Some("reader-secret"),
        ),
        (
            json!({
                "ApplicationUri": "portal.example.com", "Name": "Customer Portal", "ClientType": "Confidential",
                "ImpersonateAsInternalUserAllowed": true, "ImpersonateAsCommunityUserAllowed": true,
                "SystemUserAllowed": true, "SystemUser": integration, "Scope": "read update", "RequireConsent": false,
                "ImpersonateLoginUrl":
                    ["https://portal.example.com/signin-callback", "http://localhost:3000/portal-callback"],
                "ImpersonateLogoutUrl": ["http://localhost:3000/portal-out"],
            }),
            Some("portal-secret"),
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/scripts", "Name": "Scripts", "ClientType": "Public",
                "Scope": "read update", "AccessTokens": "AuthenticatedUsers",
            }),
            None,
        ),
        (
            json!({
                "ApplicationUri": "legacy.client", "Name": "Legacy Client", "ClientType": "Confidential",
                "ImpersonateAsInternalUserAllowed": true, "BasicAuthenticationAllowed": true, "Scope": "read update",
            }),
            Some("legacy-secret"),
        ),
        (
            json!({
                "ApplicationUri": "my.trusted.app/off", "Name": "Switched Off", "ClientType": "Confidential",
                "SystemUserAllowed": true, "SystemUser": integration, "Scope": "read update",
                "AccessTokens": "AdministratorsOnly", "IsEnabled": false,
            }),
            Some("off-secret"),
        ),
    ]
}
