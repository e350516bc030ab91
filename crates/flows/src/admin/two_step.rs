//! Resetting the second factor of a user who lost it.

use crate::Answer;
use crate::admin::AdminRefusal;
use crate::admin::ElevatedAdminService;
use crate::admin::act::AdminAct;
use crate::memory::live_sessions::ending_user;
use model::Moment;
use store::Batch;

impl ElevatedAdminService<'_> {
    /// For a user who lost phone, passkeys and recovery codes: the password alone signs in again. Ends every sign-in
    /// and token, because the lost device may be in wrong hands.
    pub async fn reset_second_factor(&self, login: &str, moment: &mut Moment<'_>) -> Answer<(), AdminRefusal> {
        let user = match self.find_user(login).await? {
            Ok(user) => user,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !user.has_second_factor {
            return Ok(Err(AdminRefusal::Unknown(format!("second factor of {login}"))));
        }
        let mut batch = Batch::from(vec![
            self.store().raise_user_epoch(&user),
            self.events().about(AdminAct::ResetSecondFactor, user.id, &user.login, moment),
        ]);
        batch.extend(self.store().delete_second_factors(user.id));
        batch.append(ending_user(self.store(), user.id, moment));
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }
}
