//! One-time links created by an administrator.

use model::Moment;
use model::link::{LinkLifetime, LinkPurpose};

use crate::Answer;
use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, ElevatedAdminService};
use crate::auth::links::{IssuedLink, draw_link};

impl ElevatedAdminService<'_> {
    /// A link for a new user to choose the first password. The administrator hands it over.
    pub async fn set_up_link(&self, login: &str, moment: &mut Moment<'_>) -> Answer<IssuedLink, AdminRefusal> {
        self.issue_link(login, LinkPurpose::SetUp, LinkLifetime::HandedOver, moment).await
    }

    /// The same link with a longer lifetime, to be sent by mail.
    pub async fn invite(&self, login: &str, moment: &mut Moment<'_>) -> Answer<IssuedLink, AdminRefusal> {
        self.issue_link(login, LinkPurpose::SetUp, LinkLifetime::Invitation, moment).await
    }

    /// A link for a user to choose a new password.
    pub async fn reset_link(&self, login: &str, moment: &mut Moment<'_>) -> Answer<IssuedLink, AdminRefusal> {
        self.issue_link(login, LinkPurpose::PasswordReset, LinkLifetime::HandedOver, moment).await
    }

    async fn issue_link(
        &self,
        login: &str,
        purpose: LinkPurpose,
        life: LinkLifetime,
        moment: &mut Moment<'_>,
    ) -> Answer<IssuedLink, AdminRefusal> {
        let invalid = |problem: String| Ok(Err(AdminRefusal::Invalid(vec![problem])));
        let (user, has_password) = match self.find_user_with_password(login).await? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !user.may_sign_in() {
            let why =
                if user.is_on() { "service accounts cannot sign in" } else { "the user is disabled; enable it first" };
            return invalid(format!("no link can be created for {login}: {why}"));
        }
        if purpose == LinkPurpose::SetUp && has_password {
            return invalid(format!("{login} already has a password; create a password reset link instead"));
        }
        let event = self.events().about(created(purpose), user.id, &user.login, moment);
        let (link, insert) = draw_link(self.store(), user, purpose, life, moment);
        Ok(self.commit(vec![insert, event], AdminRefusal::Overtaken, moment).await?.map(|()| link))
    }
}

const fn created(purpose: LinkPurpose) -> AdminAct {
    match purpose {
        LinkPurpose::SetUp => AdminAct::CreateSetUpLink,
        LinkPurpose::PasswordReset => AdminAct::CreateResetLink,
        LinkPurpose::KnownBrowser => AdminAct::CreateKnownBrowserLink,
    }
}
