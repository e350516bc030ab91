//! Administration of users' consents.

use model::{Moment, TrustedApplication};
use store::{ConnectedApplication, ConsentParties};

use crate::Answer;
use crate::admin::act::AdminAct;
use crate::admin::events::user_event;
use crate::admin::{AdminRefusal, AdminService};
use crate::auth::consents::{connections, is_connected, withdrawal_batch};

impl AdminService<'_> {
    /// The user's connected applications, each with its `ApplicationUri` and name.
    pub async fn connections(
        &self,
        login: &str,
        moment: &Moment<'_>,
    ) -> Answer<Vec<(TrustedApplication, ConnectedApplication)>, AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut known = Vec::new();
        for connection in connections(&self.store, user.id, moment).await? {
            let application = self.store.application(connection.application).await?;
            known.extend(application.map(|application| (application, connection)));
        }
        Ok(Ok(known))
    }

    /// As `Account::withdraw_consent`, for another user.
    pub async fn withdraw_consent(&self, login: &str, uri: &str, moment: &mut Moment<'_>) -> Answer<(), AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let application = match self.application(uri).await? {
            Ok(application) => application,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let parties = ConsentParties { user: user.id, application: application.id };
        if !is_connected(&self.store, parties, moment).await? {
            return Ok(Err(AdminRefusal::Unknown(format!("consent of {login} to {uri}"))));
        }
        let mut batch = withdrawal_batch(&self.store, parties, moment);
        let event = user_event(AdminAct::WithdrawConsent, user.id, Some(&user.login), moment);
        batch.push(self.events().statement(&event.application(application.uri.as_str()), moment));
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }
}
