//! The users (`demo.md` §3).

use model::{Email, UserType};

pub struct DemoUser {
    pub login: &'static str,
    pub name: &'static str,
    pub user_type: UserType,
    pub role: Option<&'static str>,
}

impl DemoUser {
    pub fn is_admin(&self) -> bool {
        self.login == "admin"
    }

    pub fn is_enabled(&self) -> bool {
        self.login != "dave"
    }

    pub fn email(&self) -> Option<Email> {
        let address = || format!("{}@example.com", self.login);
        self.signs_in().then(|| Email { address: address(), verified: self.login == "alice" })
    }

    fn signs_in(&self) -> bool {
        self.user_type != UserType::SystemNoLogin
    }
}

const fn user(login: &'static str, name: &'static str, user_type: UserType, role: Option<&'static str>) -> DemoUser {
    DemoUser { login, name, user_type, role }
}

pub const USERS: &[DemoUser] = &[
    user("admin", "Ada Admin", UserType::Internal, None),
    user("alice", "Alice Archer", UserType::Internal, Some("Sales")),
    user("bob", "Bob Brewer", UserType::Internal, Some("Viewer")),
    user("carol", "Carol Community", UserType::ExternalCommunity, None),
    user("dave", "Dave Departed", UserType::Internal, Some("Sales")),
    user("svc.integration", "Integration service", UserType::SystemNoLogin, Some("Sales")),
    user("svc.reader", "Reader service", UserType::SystemNoLogin, Some("Viewer")),
];

/// The demo's password of a user: the login reversed, then `-Demo1`.
pub fn password_of(login: &str) -> String {
    format!("{}-Demo1", login.chars().rev().collect::<String>())
}

/// Users who can sign in, with their names.
pub fn people() -> impl Iterator<Item = (&'static str, &'static str)> {
    USERS.iter().filter(|user| user.signs_in()).map(|user| (user.login, user.name))
}
