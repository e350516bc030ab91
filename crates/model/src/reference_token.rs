//! Reference tokens (`identity.md` §3.4): opaque API keys, shown once and stored as a digest.

use oauth::scope::Scope;
use oauth::secret::{Digest, Presented};

use crate::application::{API_SCOPES, ReferenceTokenPolicy};
use crate::line::{LINE_RULE, is_line};
use crate::{ApplicationId, ReferenceTokenId, Rng, Timestamp, TrustedApplication, User, UserId, UserType};

/// Marks the value of a reference token.
pub enum ReferenceTokenValue {}

const PREFIX: &str = "enrt_";
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// `enrt_` and 64 upper-case hexadecimal digits. Other texts were never issued.
pub fn is_reference_token(shown: &str) -> bool {
    shown.strip_prefix(PREFIX).is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit))
    })
}

/// Generates a value with 256 random bits in the documented form.
pub fn draw(rng: &mut dyn Rng) -> Presented<ReferenceTokenValue> {
    let mut value = String::with_capacity(PREFIX.len() + 64);
    value.push_str(PREFIX);
    for byte in rng.secret() {
        value.push(char::from(DIGITS[usize::from(byte >> 4)]));
        value.push(char::from(DIGITS[usize::from(byte & 0xf)]));
    }
    Presented::new(value)
}

/// The value as shown after its creation.
pub fn masked(tail: &str) -> String {
    format!("{PREFIX}…{tail}")
}

/// The token's kind: personal (PAT), or of the application (SAT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceTokenKind {
    Personal,
    Service,
}

impl ReferenceTokenKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Service => "service",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Personal, Self::Service].into_iter().find(|kind| kind.as_str() == text)
    }
}

#[derive(Clone, Debug)]
pub struct ReferenceToken {
    pub id: ReferenceTokenId,
    pub kind: ReferenceTokenKind,
    pub digest: Digest<ReferenceTokenValue>,
    /// The last four digits, shown in lists.
    pub tail: String,
    pub application: ApplicationId,
    /// The user that the token acts as.
    pub user: UserId,
    pub description: String,
    pub scope: Scope,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Why a token was not issued. The text states what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueRefusal {
    #[error("this application does not allow reference tokens (AccessTokens)")]
    PolicyForbids,
    #[error("only administrators can issue tokens for this application")]
    AdministratorsOnly,
    #[error("the application has no System User (SystemUserAllowed)")]
    NoSystemUser,
    #[error("personal access tokens are only available to internal users")]
    WrongKindOfUser,
    #[error("at least one scope is required")]
    NoScope,
    #[error("scope {0} is not registered for this application or is not an API scope")]
    ScopeNotAllowed(String),
    #[error("this instance requires an expiry")]
    ExpiryRequired,
    #[error("the expiry is in the past")]
    AlreadyExpired,
    #[error("description: must be 1 to 200 characters {LINE_RULE}")]
    NoDescription,
}

/// The attributes of a new token.
pub struct NewTokenRequest<'a> {
    pub kind: ReferenceTokenKind,
    pub description: &'a str,
    pub scope: &'a Scope,
    pub expires_at: Option<Timestamp>,
}

/// Who issues a token, and the instance's rule for it.
#[derive(Clone, Copy)]
pub struct IssueConditions {
    pub by_administrator: bool,
    /// Tokens without expiry are not allowed.
    pub must_expire: bool,
}

/// Whether this token may be issued. The token acts as `holder`.
pub fn check_issue(
    now: Timestamp,
    application: &TrustedApplication,
    holder: &User,
    wish: &NewTokenRequest<'_>,
    conditions: IssueConditions,
) -> Result<(), IssueRefusal> {
    use ReferenceTokenKind::{Personal, Service};
    let IssueConditions { by_administrator, must_expire } = conditions;
    match (wish.kind, application.access_tokens) {
        (_, ReferenceTokenPolicy::None) => return Err(IssueRefusal::PolicyForbids),
        (Personal, ReferenceTokenPolicy::AuthenticatedUsers) => {}
        (Personal | Service, _) if by_administrator => {}
        (Personal | Service, _) => return Err(IssueRefusal::AdministratorsOnly),
    }
    if wish.kind == Personal && holder.user_type != UserType::Internal {
        return Err(IssueRefusal::WrongKindOfUser);
    }
    if wish.scope.is_empty() {
        return Err(IssueRefusal::NoScope);
    }
    let good = |token: &str| API_SCOPES.contains(&token) && application.scope.contains(token);
    if let Some(token) = wish.scope.iter().find(|token| !good(token)) {
        return Err(IssueRefusal::ScopeNotAllowed(token.to_owned()));
    }
    match wish.expires_at {
        None if must_expire => return Err(IssueRefusal::ExpiryRequired),
        Some(end) if end <= now => return Err(IssueRefusal::AlreadyExpired),
        _ => {}
    }
    if is_line(wish.description.trim(), 200) { Ok(()) } else { Err(IssueRefusal::NoDescription) }
}

impl ReferenceToken {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether the application's current policy still allows the token.
    pub fn is_allowed(&self, application: &TrustedApplication, holder: &User) -> bool {
        match (self.kind, application.access_tokens) {
            (_, ReferenceTokenPolicy::None) => false,
            (ReferenceTokenKind::Personal, ReferenceTokenPolicy::AdministratorsOnly) => holder.is_admin(),
            _ => true,
        }
    }

    /// The token's current scope: never more than the scope of the application.
    pub fn effective_scope(&self, application: &TrustedApplication) -> Scope {
        self.scope.intersection(&application.scope)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::application::tests::{PUBLIC, application};
    use crate::entities::Permissions;
    use crate::{Login, Timestamp};

    struct Counting(u8);

    impl Rng for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(0x11);
                *byte = self.0;
            }
        }
    }

    fn person(user_type: UserType, is_admin: bool) -> User {
        User {
            id: UserId(Uuid::nil()),
            login: Login::parse("alice").expect("valid"),
            user_type,
            admin_flag: is_admin,
            enabled: true,
            name: "Alice".into(),
            email: None,
            locale: None,
            permissions: Permissions::default(),
            epoch: 0,
            has_second_factor: false,
            updated_at: Timestamp(0),
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_value_has_the_documented_form_and_no_other_passes() {
        let value = draw(&mut Counting(0));
        assert!(is_reference_token(value.expose()));
        let digits = "A".repeat(64);
        assert!(is_reference_token(&format!("enrt_{digits}")));
        for bad in [
            String::new(),
            digits.clone(),
            format!("ENRT_{digits}"),
            format!("enrt_{}", digits.to_lowercase()),
            format!("enrt_{}", &digits[1..]),
            format!("enrt_{digits}A"),
            format!("enrt_{}G", &digits[1..]),
            format!(" enrt_{digits}"),
        ] {
            assert!(!is_reference_token(&bad), "{bad:?}");
        }
        assert_eq!(masked("7960"), "enrt_…7960");
    }

    #[test]
    fn policy_scope_and_expiry_decide_who_gets_one() {
        use IssueRefusal as R;
        use ReferenceTokenKind::{Personal, Service};
        let mut app = application(PUBLIC, "read update offline_access");
        let issue = |app: &TrustedApplication, kind, holder: &User, admin, scope: &str, expires: Option<i64>, must| {
            let scope = Scope::parse(scope).expect("valid");
            let wish = NewTokenRequest {
                kind,
                description: "for a script",
                scope: &scope,
                expires_at: expires.map(Timestamp),
            };
            let conditions = IssueConditions { by_administrator: admin, must_expire: must };
            check_issue(Timestamp(10), app, holder, &wish, conditions).err()
        };
        let alice = person(UserType::Internal, false);
        let carol = person(UserType::ExternalCommunity, false);
        assert_eq!(issue(&app, Personal, &alice, true, "read", None, false), Some(R::PolicyForbids));
        app.access_tokens = ReferenceTokenPolicy::AdministratorsOnly;
        assert_eq!(issue(&app, Personal, &alice, false, "read", None, false), Some(R::AdministratorsOnly));
        assert_eq!(issue(&app, Service, &alice, true, "read", None, false), None);
        app.access_tokens = ReferenceTokenPolicy::AuthenticatedUsers;
        assert_eq!(issue(&app, Personal, &alice, false, "read", None, false), None);
        assert_eq!(issue(&app, Service, &alice, false, "read", None, false), Some(R::AdministratorsOnly));
        assert_eq!(issue(&app, Personal, &carol, false, "read", None, false), Some(R::WrongKindOfUser));
        assert_eq!(issue(&app, Personal, &alice, false, "", None, false), Some(R::NoScope));
        for scope in ["sec", "openid", "offline_access", "read sec"] {
            let refusal = issue(&app, Personal, &alice, false, scope, None, false);
            assert!(matches!(refusal, Some(R::ScopeNotAllowed(_))), "{scope}");
        }
        assert_eq!(issue(&app, Personal, &alice, false, "read", None, true), Some(R::ExpiryRequired));
        assert_eq!(issue(&app, Personal, &alice, false, "read", Some(10), true), Some(R::AlreadyExpired));
        assert_eq!(issue(&app, Personal, &alice, false, "read", Some(11), true), None);
    }

    #[test]
    fn a_live_token_follows_its_application() {
        let mut app = application(PUBLIC, "read");
        let mut token = ReferenceToken {
            id: ReferenceTokenId(Uuid::nil()),
            kind: ReferenceTokenKind::Personal,
            digest: draw(&mut Counting(0)).digest(),
            tail: "7960".into(),
            application: app.id,
            user: UserId(Uuid::nil()),
            description: "d".into(),
            scope: Scope::parse("read update").expect("valid"),
            created_by: "alice".into(),
            created_at: Timestamp(0),
            expires_at: Some(Timestamp(10)),
            last_used_at: None,
            revoked_at: None,
        };
        assert!(token.is_live(Timestamp(9)) && !token.is_live(Timestamp(10)));
        assert_eq!(token.effective_scope(&app).to_string(), "read", "narrowed with the application");
        let (alice, admin) = (person(UserType::Internal, false), person(UserType::Internal, true));
        assert!(!token.is_allowed(&app, &alice), "the policy forbids tokens now");
        app.access_tokens = ReferenceTokenPolicy::AdministratorsOnly;
        assert!(!token.is_allowed(&app, &alice) && token.is_allowed(&app, &admin));
        app.access_tokens = ReferenceTokenPolicy::AuthenticatedUsers;
        assert!(token.is_allowed(&app, &alice));
        token.revoked_at = Some(Timestamp(1));
        assert!(!token.is_live(Timestamp(2)));
    }
}
