//! Roles: users' permissions on the APIs.

use model::Moment;
use model::entities::Permissions;
use store::{Batch, Change, ChangeKind, Fault, Role};

use crate::Answer;
use crate::admin::act::AdminAct;
use crate::admin::{AdminRefusal, AdminService, ElevatedAdminService};

impl AdminService<'_> {
    pub async fn role(&self, name: &str) -> Answer<Role, AdminRefusal> {
        Ok(self.store.role(name).await?.ok_or_else(|| AdminRefusal::Unknown(format!("role {name}"))))
    }

    /// The next roles after a name.
    pub async fn roles_after(&self, name: &str, limit: u32) -> Result<Vec<Role>, Fault> {
        self.store.roles_after(name, limit).await
    }
}

impl ElevatedAdminService<'_> {
    pub async fn create_role(
        &self,
        name: &str,
        permissions: &Permissions,
        moment: &mut Moment<'_>,
    ) -> Answer<(), AdminRefusal> {
        let mut problems = model::user::role_name_problem(name).into_iter().collect::<Vec<_>>();
        problems.extend(permissions.problems());
        if !problems.is_empty() {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        let batch = vec![
            self.store.insert_role(name, permissions),
            self.events().change(AdminAct::CreateRole, name, &Permissions::default(), permissions, moment),
        ];
        self.commit(batch, AdminRefusal::Taken(format!("role {name}")), moment).await
    }

    /// `role` as it was read. The change applies to its users from the next call on.
    pub async fn change_role(
        &self,
        role: &Role,
        permissions: Permissions,
        moment: &mut Moment<'_>,
    ) -> Answer<Role, AdminRefusal> {
        let problems = permissions.problems();
        if !problems.is_empty() {
            return Ok(Err(AdminRefusal::Invalid(problems)));
        }
        let changed = Role { permissions, ..role.clone() };
        let mut batch = Batch::from(vec![
            self.store.update_role(&changed),
            self.events().change(AdminAct::ChangeRole, &role.name, &role.permissions, &changed.permissions, moment),
        ]);
        let change = Change { kind: ChangeKind::Roles, subject: self.store.instance().0 };
        batch.announce(change, moment.now);
        let done = self.commit(batch, AdminRefusal::Overtaken, moment).await?;
        Ok(done.map(|()| Role { version: role.version + 1, ..changed }))
    }

    /// `role` as it was read. A role that a user has cannot be deleted.
    pub async fn delete_role(&self, role: &Role, moment: &mut Moment<'_>) -> Answer<(), AdminRefusal> {
        if self.store.role_is_used(&role.name).await? {
            let problem = format!("role {} is still assigned; assign its users another role first", role.name);
            return Ok(Err(AdminRefusal::Invalid(vec![problem])));
        }
        let mut batch = self.store.delete_role(role).to_vec();
        batch.push(self.events().change(
            AdminAct::DeleteRole,
            &role.name,
            &role.permissions,
            &Permissions::default(),
            moment,
        ));
        self.commit(batch, AdminRefusal::Overtaken, moment).await
    }
}
