//! Data of the demo (`demo.md`, an exact contract), outside the floors. Performs no I/O; `gatehouse::demo` writes the
//! data.

mod applications;
mod entities;
mod users;

use model::InstanceSettings;

pub use applications::applications;
pub use entities::{Row, tables};
pub use users::{DemoUser, USERS, password_of, people};

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

    /// The secret of an application in this instance, derived from its secret in `testdb`.
    pub fn secret(self, secret: &str) -> String {
        match self {
            Self::TestDb => secret.to_owned(),
            Self::DemoDb => format!("{secret}-demodb"),
        }
    }

    pub fn settings(self) -> InstanceSettings {
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
