//! Administration of reference tokens (`identity.md` §3.4): issued by hand, shown once, revoked at once.

use model::application::ServiceAccess;
use model::reference_token::{
    IssueConditions, IssueRefusal, NewTokenRequest, ReferenceToken, ReferenceTokenKind, ReferenceTokenValue,
    check_issue,
};
use model::seat::CloseReason;
use model::{Moment, ReferenceTokenId, User};
use oauth::secret::Presented;
use store::{Batch, Change, ChangeKind, SessionsToClose, TokensOf};

use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use crate::auth::reference_tokens::new_token;
use crate::memory::live_sessions::close_sessions;
use crate::{Answer, Fault};

/// A newly issued token.
pub struct IssuedToken {
    pub token: ReferenceToken,
    /// Shown only once.
    pub value: Presented<ReferenceTokenValue>,
    /// The user that the token acts as.
    pub holder: User,
}

/// Attributes of a new token.
pub struct TokenDraft<'a> {
    pub application: &'a str,
    /// The user that a personal token acts as. A service token acts as the application's System User.
    pub login: Option<&'a str>,
    pub wish: NewTokenRequest<'a>,
}

impl AdminService<'_> {
    /// The next tokens after an id, newest first.
    pub async fn tokens_before(
        &self,
        id: Option<ReferenceTokenId>,
        of: TokensOf,
        limit: u32,
    ) -> Result<Vec<ReferenceToken>, Fault> {
        self.store().reference_tokens_before(id, of, limit).await
    }

    pub async fn token(&self, id: ReferenceTokenId) -> Answer<ReferenceToken, AdminRefusal> {
        let found = self.store().reference_token_by_id(id).await?;
        Ok(found.ok_or_else(|| AdminRefusal::Unknown(format!("token {id}"))))
    }

    /// Effective on the next call.
    pub async fn revoke_token(&self, id: ReferenceTokenId, moment: &mut Moment<'_>) -> Answer<(), AdminRefusal> {
        let mut batch = Batch::from(vec![
            self.store().revoke_reference_token(id, "administrator", moment.now),
            self.events().plain(AdminAct::RevokeToken, &id.to_string(), moment),
        ]);
        let change = Change { kind: ChangeKind::ReferenceTokenRevoked, subject: id.0 };
        batch.append(close_sessions(
            self.store(),
            SessionsToClose::OfReferenceToken(id),
            CloseReason::TokenRevoked,
            moment,
        ));
        batch.announce(change, moment.now);
        self.commit(batch, AdminRefusal::Unknown(format!("active token {id}")), moment).await
    }
}

impl ElevatedAdminService<'_> {
    /// Issues a token. The value is returned once, together with the user it acts as, who is then sent a letter.
    pub async fn issue_token(
        &self,
        draft: &TokenDraft<'_>,
        moment: &mut Moment<'_>,
    ) -> Answer<IssuedToken, AdminRefusal> {
        let invalid = |refusal: IssueRefusal| AdminRefusal::Invalid(vec![refusal.to_string()]);
        let application = match self.application(draft.application).await? {
            Ok(application) => application,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let holder = match (draft.wish.kind, draft.login, application.service) {
            (ReferenceTokenKind::Personal, Some(login), _) => match self.find_user(login).await? {
                Ok(user) => Some(user),
                Err(refusal) => return Ok(Err(refusal)),
            },
            (ReferenceTokenKind::Service, _, ServiceAccess::ActsAs(user)) => self.store().user(user).await?,
            _ => None,
        };
        let Some(holder) = holder else { return Ok(Err(invalid(IssueRefusal::NoSystemUser))) };
        let must_expire = self.store().settings().await?.reference_tokens_must_expire;
        let conditions = IssueConditions { by_administrator: true, must_expire };
        if let Err(refusal) = check_issue(moment.now, &application, &holder, &draft.wish, conditions) {
            return Ok(Err(invalid(refusal)));
        }
        let (token, value) = new_token(&draft.wish, &application, &holder, &self.actor(), moment);
        let batch = vec![
            self.store().insert_reference_token(&token),
            self.events().plain(AdminAct::IssueToken, &token.id.to_string(), moment),
        ];
        Ok(self.commit(batch, AdminRefusal::Overtaken, moment).await?.map(|()| IssuedToken { token, value, holder }))
    }
}
