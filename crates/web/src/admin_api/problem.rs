//! Refusals of the admin API in the format of RFC 9457.

use axum::response::Response;
use flows::Fault;
use flows::admin::AdminRefusal;
use flows::admin::admission::AdmissionRefusal;
use flows::protocol::guard::{GuardRefusal, TokenRefusal};
use http::{HeaderValue, StatusCode, header};
use model::application::MANAGE_SCOPE;
use model::refusal::{Refusal, RefusalDetails};
use model::session::RECENT_SIGN_IN;
use oauth::bearer;

use crate::request::body::BodyError;
use crate::request::context::{AnyInstance, RequestContext};
use crate::request::failures;

/// The reason for which a call was refused.
#[derive(Debug)]
pub(super) enum Problem {
    NoCredential,
    BadCredential(&'static str),
    Manage(AdmissionRefusal),
    NotFound(String),
    /// A malformed parameter, header or member, by its name.
    Malformed(String),
    TooLarge,
    Encoded,
    NotJson,
    IfMatchMissing,
    Admin(AdminRefusal),
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::TooLarge,
            BodyError::Encoded => Self::Encoded,
            other => Self::Malformed(other.description()),
        }
    }
}

impl Problem {
    pub(super) fn invalid(member: &str, what: &impl std::fmt::Display) -> Self {
        Self::Admin(AdminRefusal::Invalid(vec![format!("{member}: {what}")]))
    }

    fn is_about_the_token(&self) -> bool {
        matches!(self, Self::NoCredential)
            || matches!(
                self,
                Self::Manage(AdmissionRefusal::Guard(GuardRefusal::Token(_) | GuardRefusal::WrongAudience { .. }))
            )
    }

    /// The cause for the audit.
    const fn cause_elsewhere(&self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::BadCredential(_) => "malformed_credential",
            Self::Manage(_) => "not_let_in",
            Self::NotFound(_) | Self::Admin(AdminRefusal::Unknown(_)) => "not_found",
            Self::Malformed(_) | Self::NotJson => "malformed_request",
            Self::TooLarge | Self::Encoded => "unreadable_body",
            Self::IfMatchMissing => "precondition_required",
            Self::Admin(AdminRefusal::Outdated) => "precondition_failed",
            Self::Admin(AdminRefusal::Overtaken) => "overtaken",
            Self::Admin(AdminRefusal::Taken(_)) => "taken",
            Self::Admin(AdminRefusal::Invalid(_)) => "invalid",
        }
    }

    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            _ if self.is_about_the_token() => {
                (StatusCode::UNAUTHORIZED, "unauthorized", "The access token is missing or invalid")
            }
            Self::BadCredential(_) | Self::Malformed(_) => {
                (StatusCode::BAD_REQUEST, "malformed", "The request is malformed")
            }
            Self::NoCredential | Self::Manage(AdmissionRefusal::Guard(_)) => {
                (StatusCode::FORBIDDEN, "insufficient-scope", "The access token lacks the required scope")
            }
            Self::Manage(AdmissionRefusal::SignInTooOld(_)) => {
                (StatusCode::UNAUTHORIZED, "insufficient-user-authentication", "This change requires a recent sign-in")
            }
            Self::Manage(AdmissionRefusal::NotAnAdministrator(_)) => (
                StatusCode::FORBIDDEN,
                "not-an-administrator",
                "Only administrators of this instance are allowed to do this",
            ),
            Self::NotFound(_) | Self::Admin(AdminRefusal::Unknown(_)) => {
                (StatusCode::NOT_FOUND, "not-found", "Not found")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request body is too large"),
            Self::Encoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoded", "The request body is compressed"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "The request body is not JSON"),
            Self::IfMatchMissing => {
                (StatusCode::PRECONDITION_REQUIRED, "if-match-missing", "The If-Match header is missing")
            }
            Self::Admin(AdminRefusal::Overtaken | AdminRefusal::Outdated) => {
                (StatusCode::PRECONDITION_FAILED, "changed-meanwhile", "The resource was changed in the meantime")
            }
            Self::Admin(AdminRefusal::Taken(_)) => (StatusCode::CONFLICT, "taken", "The name is already in use"),
            Self::Admin(AdminRefusal::Invalid(_)) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The values are invalid")
            }
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::NoCredential => "Send an access token: Authorization: Bearer ….".to_owned(),
            Self::BadCredential(what) => (*what).to_owned(),
            Self::Manage(AdmissionRefusal::Guard(GuardRefusal::Token(refusal))) => refusal.description().to_owned(),
            Self::Manage(AdmissionRefusal::Guard(_)) => {
                format!("Request a token with the scope {MANAGE_SCOPE}; it is granted only if requested by name.")
            }
            Self::Manage(AdmissionRefusal::NotAnAdministrator(_)) => {
                "The user the token acts as is not an administrator of this instance.".to_owned()
            }
            Self::Manage(AdmissionRefusal::SignInTooOld(_)) => format!(
                "The user of the token signed in more than {} minutes ago. Sign in again with max_age={}.",
                RECENT_SIGN_IN.as_secs() / 60,
                RECENT_SIGN_IN.as_secs()
            ),
            Self::NotFound(what) | Self::Malformed(what) => what.clone(),
            Self::TooLarge => format!("The maximum is {} KiB.", super::LARGEST_BODY / 1024),
            Self::Encoded => BodyError::Encoded.description(),
            Self::NotJson => "Send application/json, or application/merge-patch+json with PATCH.".to_owned(),
            Self::IfMatchMissing => {
                "Send If-Match with the ETag of the version you read, or If-Match: * to change any version.".to_owned()
            }
            Self::Admin(AdminRefusal::Outdated) => {
                "Get the resource again and repeat the change with its new ETag.".to_owned()
            }
            Self::Admin(AdminRefusal::Invalid(problems)) => problems.join("; "),
            Self::Admin(refusal) => refusal.to_string(),
        }
    }

    pub(super) fn response(&self, context: &RequestContext<impl AnyInstance>) -> Response {
        let (status, kind, title) = self.kind();
        let detail = self.detail();
        let mut response = failures::problem(context.reference(), status, kind, title, detail, self.problems());
        let is_about_the_token = status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN;
        if is_about_the_token
            && let Ok(challenge) = HeaderValue::try_from(self.challenge(&context.instance.info.issuer))
        {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        match self {
            Self::Encoded => BodyError::Encoded.answered(response),
            _ => response,
        }
    }

    fn problems(&self) -> Vec<String> {
        match self {
            Self::Admin(AdminRefusal::Invalid(problems)) => problems.clone(),
            _ => Vec::new(),
        }
    }

    /// The challenge of RFC 6750 §3 and RFC 9470 §3.
    fn challenge(&self, realm: &str) -> String {
        let error = match self {
            Self::NoCredential => return bearer::challenge(realm, None, None),
            Self::Manage(AdmissionRefusal::SignInTooOld(_)) => {
                return bearer::step_up_challenge(realm, &self.detail(), RECENT_SIGN_IN.as_secs());
            }
            _ if self.is_about_the_token() => "invalid_token",
            _ => "insufficient_scope",
        };
        bearer::challenge(realm, Some((error, &self.detail())), Some(MANAGE_SCOPE))
    }
}

/// Logs the fault. Faults are logged once, here.
pub(super) fn fault(context: &RequestContext, fault: &Fault) -> Response {
    let status = failures::fault_status(context, fault);
    failures::problem_failure(status, context.reference())
}

pub(super) fn method_not_allowed(context: &RequestContext, allowed: &str) -> Response {
    let detail = format!("Allowed methods: {allowed}.");
    let mut response = failures::problem(
        context.reference(),
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "Method not allowed",
        detail,
        Vec::new(),
    );
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

impl From<TokenRefusal> for Problem {
    fn from(refusal: TokenRefusal) -> Self {
        Self::Manage(AdmissionRefusal::Guard(GuardRefusal::Token(refusal)))
    }
}

impl Refusal for Problem {
    fn cause(&self) -> &'static str {
        match self {
            Self::Manage(refusal) => refusal.cause(),
            other => other.cause_elsewhere(),
        }
    }

    /// Only the kind of error: bodies hold personal names and secrets.
    fn details(&self) -> RefusalDetails {
        let check = match self {
            Self::Manage(refusal) => return refusal.details(),
            Self::NoCredential => "the call carries a credential",
            Self::BadCredential(_) => "the call carries one well-formed credential",
            Self::NotFound(_) | Self::Admin(AdminRefusal::Unknown(_)) => "the resource exists",
            Self::Malformed(_) | Self::NotJson | Self::TooLarge | Self::Encoded => "the request can be read",
            Self::IfMatchMissing => "If-Match is sent",
            Self::Admin(AdminRefusal::Overtaken | AdminRefusal::Outdated) => {
                "the resource was not changed in the meantime"
            }
            Self::Admin(AdminRefusal::Taken(_)) => "the name is not in use",
            Self::Admin(AdminRefusal::Invalid(_)) => "the values are valid",
        };
        RefusalDetails::new(check, "docs/admin-api.md")
    }
}
