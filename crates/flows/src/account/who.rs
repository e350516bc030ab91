//! The user behind a token, for applications that show the user's profile (`identity.md` §3.7).

use std::sync::Arc;

use model::audit::{Asker, AuditEvent, AuditKind};
use model::claims::TokenSubject;
use model::reference_token::ReferenceTokenKind;
use model::refusal::{Refusal, RefusalDetails};
use model::{Ctx, User};
use oauth::secret::{AccessToken, Presented};

use crate::Answer;
use crate::account::Account;
use crate::auth::credentials::CredentialRecord;
use model::guard::TokenRefusal;

/// A token that identifies no user, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhoRefusal {
    Token(TokenRefusal),
    /// The token belongs to a service, not to a person.
    NotAPerson,
}

impl Refusal for WhoRefusal {
    fn cause(&self) -> &'static str {
        match self {
            Self::Token(refusal) => refusal.cause(),
            Self::NotAPerson => "not_a_person",
        }
    }

    fn details(&self) -> RefusalDetails {
        match self {
            Self::Token(refusal) => refusal.details(),
            Self::NotAPerson => RefusalDetails::new("the token acts as a person", "docs/profile.md, GET /profile/me"),
        }
    }
}

impl Account<'_> {
    /// The user that a token was issued for, or who owns it. Opens no session and takes no seat.
    pub async fn person_of(&self, ctx: &mut Ctx<'_>, shown: &Presented<AccessToken>) -> Answer<Arc<User>, WhoRefusal> {
        let answer = match self.auth.validate_credential(shown, ctx.now).await? {
            Err(refusal) => Err(WhoRefusal::Token(refusal)),
            Ok(standing) => {
                let is_person = match &standing.credential {
                    CredentialRecord::Jwt(verified) => matches!(verified.token.holder, TokenSubject::User { .. }),
                    CredentialRecord::Reference(token) => token.kind == ReferenceTokenKind::Personal,
                };
                if is_person {
                    self.auth.note_use(&standing, ctx.now);
                    Ok(standing.user)
                } else {
                    Err(WhoRefusal::NotAPerson)
                }
            }
        };
        if let Err(refusal) = &answer {
            let asker = match refusal {
                WhoRefusal::Token(_) => Asker::Stranger,
                WhoRefusal::NotAPerson => Asker::Authenticated,
            };
            let event = AuditEvent::refused(ctx.now, AuditKind::UserInfo, ctx.request, asker, refusal);
            self.audit.put(event)?;
        }
        Ok(answer)
    }
}
