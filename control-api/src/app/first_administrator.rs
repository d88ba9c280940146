//! Who administers before anybody could have let them in: the platform's own, a tenant's first, a customer's for
//! emergencies. The user, their membership and their role are made together, or not at all.

use authz::{
    Authorized,
    action::{ManageRoleBindings, ManageUsers},
};
use domain::{
    RoleId, TenantId,
    model::{Membership, MembershipSource, MembershipStatus, NewRoleBinding, NewUser, RoleSubject, User},
};
use store::{Audited, StoreError, Tx};

use crate::{App, context::new_id};

/// One to be made, and the proofs for it.
#[derive(Clone, Debug)]
pub(crate) struct FirstAdministrator {
    user: NewUser,
    membership: Membership,
    binding: NewRoleBinding,
    by: (Authorized<ManageUsers>, Authorized<ManageRoleBindings>),
}

impl FirstAdministrator {
    /// `user` with `role` in a tenant of the user's project.
    pub(crate) fn new(
        app: &App,
        user: NewUser,
        (tenant_id, role_id): (TenantId, RoleId),
        by: (Authorized<ManageUsers>, Authorized<ManageRoleBindings>),
    ) -> Self {
        let (project_id, user_id) = (user.project_id, user.id);
        let membership = Membership {
            id: new_id(&*app.clock),
            project_id,
            tenant_id,
            user_id,
            source: MembershipSource::Bootstrap,
            status: MembershipStatus::Active,
            default_ou_id: None,
            created_at: app.now(),
        };
        let binding = NewRoleBinding {
            id: new_id(&*app.clock),
            role_id,
            subject: RoleSubject::User(user_id),
            project_id,
            tenant_id,
            ou_id: None,
        };
        Self { user, membership, binding, by }
    }

    /// The same, made by a job of ours.
    pub(crate) fn by_job(app: &App, user: NewUser, place: (TenantId, RoleId), job: &'static str) -> Self {
        Self::new(app, user, place, (Authorized::system(job), Authorized::system(job)))
    }

    /// By whom users are made.
    pub(crate) const fn by(&self) -> &Authorized<ManageUsers> {
        &self.by.0
    }

    /// Makes them; answers the user.
    pub(crate) async fn insert(&self, tx: &Tx) -> Result<Audited<User>, StoreError> {
        let (by, grants_by) = &self.by;
        let made = tx.created(tx.insert_user(by, self.user.clone()).await?).await?;
        tx.created(tx.insert_membership(by, self.membership.clone()).await?).await?;
        tx.created(tx.insert_role_binding(grants_by, self.binding.clone()).await?).await?;
        Ok(made)
    }
}
