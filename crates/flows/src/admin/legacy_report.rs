//! Usage of the legacy schemes, so that an operator knows the effect of switching them off.

use std::collections::HashMap;

use model::legacy::{LegacyScheme, LegacyUse, Sunset};
use model::{ApplicationId, Login, Timestamp};

use crate::Fault;
use crate::admin::AdminService;

/// Maximum users in a report, most recent first.
pub const MAX_USERS_REPORTED: u32 = 1000;

pub struct LegacyReport {
    /// The instance's setting.
    pub switched_on: bool,
    pub sunset: Option<Sunset>,
    /// Most recently used first.
    pub applications: Vec<ApplicationUse>,
    /// `ApplicationUri`s that may use the schemes and never did. Forbidding them breaks nothing.
    pub unused: Vec<String>,
}

/// How an application uses one scheme.
pub struct ApplicationUse {
    /// `ApplicationUri`.
    pub application: String,
    pub scheme: LegacyScheme,
    pub uses: u64,
    pub users: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    /// The users, most recent first. At most [`MAX_USERS_REPORTED`], so there may be fewer than `users`.
    pub people: Vec<(Login, LegacyUse)>,
}

impl AdminService<'_> {
    pub async fn legacy_report(&self) -> Result<LegacyReport, Fault> {
        let settings = self.store().settings().await?;
        let applications = self.store().applications().await?;
        let totals = self.store().legacy_totals().await?;
        let mut people: HashMap<(ApplicationId, LegacyScheme), Vec<(Login, LegacyUse)>> = HashMap::new();
        for (seen, login) in self.store().legacy_uses(MAX_USERS_REPORTED).await? {
            people.entry((seen.application, seen.scheme)).or_default().push((login, seen));
        }
        let uri = |id: ApplicationId| {
            let known = applications.iter().find(|application| application.id == id);
            known.map_or_else(|| id.to_string(), |application| application.uri.as_str().to_owned())
        };
        let is_unused = |id| totals.iter().all(|total| total.application != id);
        let allowed = applications.iter().filter(|application| application.basic_authentication_allowed);
        let unused = allowed.filter(|application| is_unused(application.id));
        Ok(LegacyReport {
            switched_on: settings.legacy_schemes,
            sunset: settings.legacy_sunset,
            unused: unused.map(|application| application.uri.as_str().to_owned()).collect(),
            applications: totals
                .iter()
                .map(|total| ApplicationUse {
                    application: uri(total.application),
                    scheme: total.scheme,
                    uses: total.uses,
                    users: total.users,
                    first_at: total.first_at,
                    last_at: total.last_at,
                    people: people.remove(&(total.application, total.scheme)).unwrap_or_default(),
                })
                .collect(),
        })
    }
}
