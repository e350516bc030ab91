//! The legacy schemes (`identity.md` §3.5): a user's own password on API calls, by Basic or by ErpLogin, for clients
//! older than Gatehouse. Off unless the instance and the application enable them, and limited in time.

use std::fmt;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refusal::{Refusal, RefusalDetails};
use crate::session::SignInRefusal;
use crate::{ApplicationId, InstanceSettings, Timestamp, TrustedApplication, User, UserId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegacyScheme {
    /// RFC 7617: login and password with every call.
    Basic,
    /// Login and password once, in exchange for the id of an API session.
    ErpLogin,
}

impl LegacyScheme {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::ErpLogin => "ErpLogin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Basic, Self::ErpLogin].into_iter().find(|scheme| scheme.as_str() == text)
    }
}

/// The first day (UTC) on which Basic and ErpLogin are disabled, as `yyyy-mm-dd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("format" = "date"))]
pub struct Sunset(Date);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a date, as yyyy-mm-dd")]
pub struct InvalidDate;

impl Sunset {
    /// A date long past.
    pub const PAST: Self = Self(Date::constant(1970, 1, 1));

    /// The schemes are refused from this time on.
    pub fn begins(self) -> Timestamp {
        let midnight = self.0.to_zoned(TimeZone::UTC);
        midnight.map_or(Timestamp(i64::MAX), |midnight| Timestamp(midnight.timestamp().as_microsecond()))
    }
}

impl TryFrom<String> for Sunset {
    type Error = InvalidDate;

    fn try_from(text: String) -> Result<Self, InvalidDate> {
        let day: Date = text.parse().map_err(|_| InvalidDate)?;
        // The parser accepts other forms too; only the canonical one is allowed.
        if day.to_string() == text { Ok(Self(day)) } else { Err(InvalidDate) }
    }
}

impl From<Sunset> for String {
    fn from(sunset: Sunset) -> Self {
        sunset.to_string()
    }
}

impl fmt::Display for Sunset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a legacy credential was refused at the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegacyRefusal {
    /// The instance does not enable the schemes.
    SwitchedOff,
    /// The sunset date has come.
    Over(Sunset),
    /// The request names no application, and the instance has no default.
    NoApplication,
    UnknownApplication,
    /// By its `ApplicationUri`, as in the next variant.
    ApplicationDisabled(String),
    /// `BasicAuthenticationAllowed` is not set.
    ApplicationForbids(String),
    /// The caller cannot tell these apart, except a throttle.
    Password(SignInRefusal),
    /// No ErpSession of this instance. The presented value has this many bytes.
    UnknownSession {
        length: usize,
    },
    /// The ErpSession has ended, or the user or the application was changed since it began.
    SessionOver,
}

impl LegacyRefusal {
    /// The cause and a remedy, without revealing to an unauthenticated client which users or applications exist.
    pub fn description(&self) -> String {
        match self {
            Self::SwitchedOff => "Basic and ErpLogin are disabled. Use an access token.".to_owned(),
            Self::Over(day) => format!("Basic and ErpLogin were disabled on {day}. Use an access token."),
            Self::NoApplication => {
                "Name the calling application in X-Application-Uri or in the app member of the login.".to_owned()
            }
            Self::UnknownApplication | Self::ApplicationDisabled(_) | Self::ApplicationForbids(_) => {
                "This application is not allowed to use Basic or ErpLogin. Use an access token.".to_owned()
            }
            Self::Password(SignInRefusal::Throttled(wait) | SignInRefusal::GuessesSpent(wait)) => {
                let seconds = wait.as_secs() + 1;
                format!("Too many wrong passwords. Try again in {seconds} seconds.")
            }
            Self::Password(_) => "Wrong login or password, or the user is not allowed to sign in this way.".to_owned(),
            Self::UnknownSession { .. } => "Unknown ErpSession. Log in again.".to_owned(),
            Self::SessionOver => "The session has ended. Log in again.".to_owned(),
        }
    }

    /// The wait, if throttling is the only reason.
    pub const fn wait(&self) -> Option<Duration> {
        match self {
            Self::Password(refusal) => refusal.wait(),
            _ => None,
        }
    }

    /// Whether another login or password could succeed.
    pub const fn is_wrong_password(&self) -> bool {
        matches!(self, Self::Password(_)) && self.wait().is_none()
    }
}

impl Refusal for LegacyRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::SwitchedOff => "legacy_switched_off",
            Self::Over(_) => "legacy_sunset",
            Self::NoApplication => "no_application_named",
            Self::UnknownApplication => "unknown_application",
            Self::ApplicationDisabled(_) => "application_disabled",
            Self::ApplicationForbids(_) => "application_forbids_legacy",
            Self::Password(refusal) => refusal.cause(),
            Self::UnknownSession { .. } => "erp_session_unknown",
            Self::SessionOver => "erp_session_over",
        }
    }

    fn details(&self) -> RefusalDetails {
        const OLD_CLIENTS: &str = "docs/api.md, Old clients";
        const SETTING: &str = "setting of the instance";
        match self {
            Self::SwitchedOff => {
                RefusalDetails::new("Basic and ErpLogin are enabled", SETTING).expected("legacy_schemes", "true")
            }
            Self::Over(day) => {
                RefusalDetails::new("the sunset date is not reached", SETTING).expected("legacy_sunset", day)
            }
            Self::NoApplication => RefusalDetails::new("the application that calls is known", OLD_CLIENTS)
                .expected("X-Application-Uri, or app", "an ApplicationUri, or the setting default_legacy_application"),
            Self::UnknownApplication => RefusalDetails::new("the application is registered", OLD_CLIENTS),
            Self::ApplicationDisabled(uri) => {
                RefusalDetails::new("the application is enabled", "IsEnabled of its record").sent("application", uri)
            }
            Self::ApplicationForbids(uri) => RefusalDetails::new(
                "the application allows Basic and ErpLogin",
                "BasicAuthenticationAllowed of its record",
            )
            .sent("application", uri)
            .expected("BasicAuthenticationAllowed", "true"),
            Self::Password(refusal) => refusal.details(),
            Self::UnknownSession { length } => {
                RefusalDetails::new("the ErpSession was answered by this instance", OLD_CLIENTS)
                    .hidden("ErpSession", *length)
            }
            Self::SessionOver => RefusalDetails::new(
                "the session is active, and its user and application were not changed since it began",
                OLD_CLIENTS,
            ),
        }
    }
}

/// The refusal with the attempted scheme, for the audit.
pub struct AttemptedScheme<'a> {
    pub scheme: LegacyScheme,
    pub refusal: &'a LegacyRefusal,
}

impl Refusal for AttemptedScheme<'_> {
    fn cause(&self) -> &'static str {
        self.refusal.cause()
    }

    fn details(&self) -> RefusalDetails {
        self.refusal.details().sent("scheme", self.scheme.as_str())
    }
}

/// Whether the instance allows the schemes at this time.
pub fn check_open(now: Timestamp, settings: &InstanceSettings) -> Result<(), LegacyRefusal> {
    match settings.legacy_sunset {
        _ if !settings.legacy_schemes => Err(LegacyRefusal::SwitchedOff),
        Some(day) if now >= day.begins() => Err(LegacyRefusal::Over(day)),
        _ => Ok(()),
    }
}

/// Whether the application may use the schemes.
pub fn check_application(application: Option<&TrustedApplication>) -> Result<&TrustedApplication, LegacyRefusal> {
    match application {
        None => Err(LegacyRefusal::UnknownApplication),
        Some(application) if !application.enabled => {
            Err(LegacyRefusal::ApplicationDisabled(application.uri.as_str().to_owned()))
        }
        Some(application) if !application.basic_authentication_allowed => {
            Err(LegacyRefusal::ApplicationForbids(application.uri.as_str().to_owned()))
        }
        Some(application) => Ok(application),
    }
}

/// Whether the user may authenticate by password alone. A client that cannot ask for a second factor must not bypass
/// it.
pub fn check_person(user: &User, application: &TrustedApplication) -> Result<(), SignInRefusal> {
    user.check_sign_in()?;
    if !application.admits(user) {
        return Err(SignInRefusal::NotAdmitted(user.user_type));
    }
    if user.has_second_factor { Err(SignInRefusal::SecondFactor) } else { Ok(()) }
}

/// Usage of one scheme by one user through one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyUse {
    pub application: ApplicationId,
    pub scheme: LegacyScheme,
    pub user: UserId,
    /// Number of accepted requests.
    pub uses: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::application::tests::{PUBLIC, application};
    use crate::entities::Permissions;
    use crate::{Login, UserType};

    fn day(text: &str) -> Sunset {
        text.to_owned().try_into().expect("a day")
    }

    #[test]
    fn a_sunset_is_a_day_and_begins_with_it_in_utc() {
        assert_eq!(day("1970-01-02").begins(), Timestamp::from_seconds(24 * 3600));
        assert_eq!(String::from(day("2027-03-01")), "2027-03-01");
        for bad in ["", "2027", "2027-02-30", "20270301", "2027-03-01T00:00", "2027-03-01Z", "2027-W09-1", "tomorrow"] {
            assert_eq!(Sunset::try_from(bad.to_owned()), Err(InvalidDate), "{bad:?}");
        }
    }

    #[test]
    fn the_schemes_are_closed_unless_switched_on_and_from_their_sunset_on() {
        let on = InstanceSettings { legacy_schemes: true, ..InstanceSettings::default() };
        let ending = InstanceSettings { legacy_sunset: Some(day("1970-01-02")), ..on.clone() };
        let at = |settings: &InstanceSettings, seconds| check_open(Timestamp::from_seconds(seconds), settings);
        assert_eq!(at(&InstanceSettings::default(), 0), Err(LegacyRefusal::SwitchedOff));
        assert_eq!(at(&on, i64::MAX), Ok(()));
        assert_eq!(at(&ending, 24 * 3600 - 1), Ok(()));
        assert_eq!(at(&ending, 24 * 3600), Err(LegacyRefusal::Over(day("1970-01-02"))));
    }

    #[test]
    fn an_application_uses_them_only_if_its_record_says_so() {
        let mut app = application(PUBLIC, "read");
        let refusal = |app: Option<&TrustedApplication>| check_application(app).err();
        assert_eq!(refusal(None), Some(LegacyRefusal::UnknownApplication));
        assert_eq!(refusal(Some(&app)), Some(LegacyRefusal::ApplicationForbids(app.uri.as_str().to_owned())));
        app.basic_authentication_allowed = true;
        assert_eq!(refusal(Some(&app)), None);
        app.enabled = false;
        assert_eq!(refusal(Some(&app)), Some(LegacyRefusal::ApplicationDisabled(app.uri.as_str().to_owned())));
        let told = |refusal: LegacyRefusal| refusal.description();
        assert_eq!(told(LegacyRefusal::UnknownApplication), told(LegacyRefusal::ApplicationForbids("a".into())));
        assert_eq!(told(LegacyRefusal::UnknownApplication), told(LegacyRefusal::ApplicationDisabled("a".into())));
    }

    #[test]
    fn a_password_alone_opens_for_people_of_the_right_kind_without_a_second_factor() {
        let app = application(PUBLIC, "read");
        let person = |user_type, enabled| User {
            id: UserId(Uuid::nil()),
            login: Login::parse("alice").expect("valid"),
            user_type,
            admin_flag: false,
            enabled,
            name: "Alice".into(),
            email: None,
            locale: None,
            permissions: Permissions::default(),
            epoch: 0,
            has_second_factor: false,
            updated_at: Timestamp(0),
            problems: Vec::new(),
        };
        let alice = person(UserType::Internal, true);
        assert_eq!(check_person(&alice, &app), Ok(()));
        let refused = |user: &User| {
            let refusal = check_person(user, &app).expect_err("refused");
            (refusal.cause(), LegacyRefusal::Password(refusal).description())
        };
        let told = [
            refused(&User { has_second_factor: true, ..alice.clone() }),
            refused(&person(UserType::Internal, false)),
            refused(&person(UserType::SystemNoLogin, true)),
            refused(&person(UserType::ExternalCommunity, true)),
        ];
        let causes = told.each_ref().map(|(cause, _)| *cause);
        assert_eq!(causes, ["second_factor", "user_disabled", "user_may_not_sign_in", "user_type_not_admitted"]);
        assert!(told.iter().all(|(_, text)| *text == told[0].1), "a stranger hears one text");
    }

    #[test]
    fn schemes_read_back_as_written() {
        for scheme in [LegacyScheme::Basic, LegacyScheme::ErpLogin] {
            assert_eq!(LegacyScheme::parse(scheme.as_str()), Some(scheme));
        }
        assert_eq!(LegacyScheme::parse("basic"), None);
    }
}
