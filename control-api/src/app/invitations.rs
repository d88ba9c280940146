//! Invitations: how people join a tenant that are not made by its administrators.
//!
//! Whether an address has an account is not told to who invites. Who accepts shows the token, which went to the address
//! alone, and the password: of the account that has the address, or of the one that is made. So an account that somebody
//! else once made with that address joins nothing by it. What the inviter may not give any more when it is accepted, nobody
//! gets.

use std::time::Duration;

use authz::{
    Authorized,
    action::{ManageInvitations, ManageRoleBindings, ManageUsers},
};
use domain::{
    InvitationId, RoleId, Secret, TenantId, UserId,
    audit::{Actor, ActorKind, AuditEntry, Origin},
    model::{
        Invitation, InvitationStatus, Membership, MembershipSource, MembershipStatus, NewInvitation, NewRoleBinding,
        NewUser, Project, Role, RoleSubject, Tenant, User, UserStatus,
    },
    snapshot::RoleScope,
};
use store::{
    Audited, Commit, Tx,
    list::{InvitationList, Selection, Slice},
    read::*,
};

use super::{
    links,
    login::{self, Credentials},
    role_bindings::{self, covers, giveable},
    site,
    tokens::{hash, random_token},
    users::{self, UserDraft},
};
use crate::{
    App,
    bootstrap::ROOT,
    caller::{self, Principal, Rights, Site},
    config::Environment,
    context::{RequestContext, new_id},
    error::AppError,
    mail::letter::{Letter, LetterKind},
};

/// For so long letters to one address are counted together.
const DAY: Duration = Duration::from_secs(86_400);

/// Most roles of an invitation.
const MAX_ROLES: usize = 16;

/// An invitation that was made, and where it is accepted: told in `dev` only. Otherwise the address alone is told.
#[derive(Debug)]
pub struct Invited {
    /// It.
    pub invitation: Invitation,
    /// With its token.
    pub url: Option<Secret<String>>,
}

/// What somebody shows who joins.
#[derive(Debug)]
pub struct Acceptance {
    /// The invitation's token.
    pub token: Secret<String>,
    /// The password of the account that has the address, or of the one that is made.
    pub password: Secret<String>,
    /// User name of a new account.
    pub username: Option<String>,
    /// First name of a new account.
    pub first_name: String,
    /// Last name of a new account.
    pub last_name: String,
}

/// Who joined, and what.
#[derive(Debug)]
pub struct Joined {
    /// The user.
    pub user: UserId,
    /// The tenant.
    pub tenant: Tenant,
}

/// A page of a tenant's invitations, whatever became of them.
pub async fn list_invitations(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    asked: &Selection<InvitationList>,
) -> Result<Slice<Invitation>, AppError> {
    let site = principal.site(app, Some(tenant)).await?;
    principal.may_in::<ManageInvitations>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// Invites whoever reads an address, with roles that the caller may give.
///
/// # Errors
/// [`AppError::Conflict`] while another invitation of that address waits; [`AppError::Escalation`].
pub async fn create_invitation(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    (email, roles): (String, Vec<RoleId>),
) -> Result<(Invited, Commit), AppError> {
    let site = principal.site(app, Some(tenant)).await?;
    let by = principal.may_in::<ManageInvitations>(site, "create")?;
    // A token that nobody is told is worth nothing.
    app.mail_ready()?;
    users::named(Some(&email), None)?;
    if roles.len() > MAX_ROLES {
        return Err(AppError::field("/role_ids", "range", format!("at most {MAX_ROLES} are allowed")));
    }
    let store = app.store.within(site.scope());
    if !roles.is_empty() {
        principal.may_in::<ManageRoleBindings>(site, "create")?;
    }
    covers(&store, principal, site, &roles).await?;
    for (at, id) in roles.iter().enumerate() {
        if store.role(*id).await?.is_none_or(|role| role.scope != RoleScope::Tenant) {
            return Err(AppError::field(format!("/role_ids/{at}"), "choice", "is no role of the whole tenant"));
        }
    }
    let token = random_token()?;
    let new = NewInvitation {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        email,
        roles,
        invited_by: principal.user,
        by_staff: principal.is_system(),
        token_hash: hash(token.expose()),
        expires_at: app.now() + app.config.invitations.lifetime.get(),
    };
    let project = app.store.project(site.project).await?.ok_or(AppError::NotFound("project"))?;
    let invited_to = app.store.tenant(site.tenant).await?.ok_or(AppError::NotFound("tenant"))?;
    let url = links::link(app, &project, Some(site.tenant), "/invitations/accept", &token).await?;
    let letter = Letter::new(LetterKind::Invitation, &new.email)
        .with("inviter_tenant", &invited_to.name)
        .with("url", url.expose())
        .until(new.expires_at)
        .event(app, site.project, Some(site.tenant))?;
    let letter = &letter;
    let made = app.store.write(&by, app.now(), |tx| {
        let (by, new) = (by.clone(), new.clone());
        async move {
            let made = tx.insert_invitation(&by, new).await.map_err(|error| match error {
                taken if taken.is_conflict("invitations", "email_fold") => {
                    let detail = "an invitation of that address waits already".to_owned();
                    AppError::Conflict { code: "invitation_pending", detail }
                }
                other => other.into(),
            })?;
            // To whom it is sent may not know the tenant: inviting, taking back and inviting again fills nobody's mailbox.
            if !tx.count_strangers_letter(&made.peek().email, app.config.identity.strangers_a_day).await? {
                return Err(AppError::SendCooldown { retry_after: DAY.as_secs() });
            }
            tx.leave(letter).await?;
            Ok::<_, AppError>(tx.created(made).await?)
        }
    });
    let (invitation, commit) = made.await?;
    let url = (app.config.environment == Environment::Dev).then_some(url);
    Ok((Invited { invitation, url }, commit))
}

/// Takes an invitation back that waits.
///
/// # Errors
/// [`AppError::NotFound`] for one that does not wait any more, too.
pub async fn revoke_invitation(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    id: InvitationId,
) -> Result<Commit, AppError> {
    let site = principal.site(app, Some(tenant)).await?;
    let by = principal.may_in::<ManageInvitations>(site, "delete")?;
    let revoked = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            let change = tx.revoke_invitation(&by, site.tenant, id).await?;
            Ok::<_, AppError>(tx.done("revoked", change).await?)
        }
    });
    revoked.await.map(|(_, commit)| commit)
}

/// Lets somebody join by an invitation. Of those who do so at once, one.
///
/// # Errors
/// [`AppError::NotFound`] for a token that is unknown, used, taken back, too old, of another hostname's realm, or of somebody
/// who may not invite with these roles any more: these look the same. [`AppError::CredentialsInvalid`] and
/// [`AppError::LoginLocked`] for the wrong password of an account that has the address.
pub async fn accept_invitation(
    app: &App,
    context: &RequestContext,
    shown: Acceptance,
) -> Result<(Joined, Commit), AppError> {
    let found = app.store.invitation_by_token(hash(shown.token.expose())).await?;
    let waits = |it: &Invitation| it.status(app.now()) == InvitationStatus::Pending;
    let invitation = found.filter(waits).ok_or(GONE)?;
    let project = app.store.project(invitation.project_id).await?.ok_or(GONE)?;
    let tenant = app.store.tenant(invitation.tenant_id).await?.ok_or(GONE)?;
    if !site::is_here(&app.store, context, Site { project: project.id, tenant: tenant.id }).await? {
        return Err(GONE);
    }
    caller::served(&project, &tenant, false)?;
    let inviter = still_giveable(app, &invitation).await?;
    let place = Site { project: project.id, tenant: tenant.id };
    let joining = joining(app, context, (&project, place), &invitation, shown).await?;
    let membership = Membership {
        id: new_id(&*app.clock),
        project_id: project.id,
        tenant_id: tenant.id,
        user_id: joining.id(),
        source: MembershipSource::Invited,
        status: MembershipStatus::Active,
        default_ou_id: None,
        created_at: app.now(),
    };
    let bindings: Vec<NewRoleBinding> = invitation
        .roles
        .iter()
        .map(|role| NewRoleBinding {
            id: new_id(&*app.clock),
            role_id: *role,
            subject: RoleSubject::User(joining.id()),
            project_id: project.id,
            tenant_id: tenant.id,
            ou_id: None,
        })
        .collect();
    let by = Authorized::<ManageInvitations>::system("invitation");
    let (by, joining, membership, bindings, invitation) = (&by, &joining, &membership, &bindings, &invitation);
    let (inviter, known) = (&inviter, &tenant);
    let joined = app.store.write(by, app.now(), |tx| async move {
        // First of all: who loses the race has changed nothing.
        let accepted = tx.accept_invitation(by, (place.tenant, invitation.id), joining.id()).await?;
        let accepted = tx.done("accepted", accepted).await?;
        // What was judged before still stands, or nobody joins.
        inviter.stands(&tx).await?;
        tx.tenant(place.tenant).await?.filter(|again| again.status == known.status).ok_or(GONE)?;
        if let Joining::New(new) = joining {
            make(&tx, place, new.clone(), true).await?;
        }
        join(&tx, membership, bindings).await?;
        Ok::<Audited<Invitation>, AppError>(accepted)
    });
    let (_, commit) = joined.await?;
    Ok((Joined { user: joining.id(), tenant }, commit))
}

/// What is said of a token that is good for nothing, whatever the reason.
const GONE: AppError = AppError::NotFound("invitation");

/// Who joins.
enum Joining {
    /// The account that has the address, by its password.
    Known(User),
    /// An account that is made.
    New(NewUser),
}

impl Joining {
    const fn id(&self) -> UserId {
        match self {
            Self::Known(user) => user.id,
            Self::New(new) => new.id,
        }
    }
}

async fn joining(
    app: &App,
    context: &RequestContext,
    (project, place): (&Project, Site),
    invitation: &Invitation,
    shown: Acceptance,
) -> Result<Joining, AppError> {
    if app.store.user_by_login(project.id, &invitation.email).await?.is_some() {
        let credentials = Credentials { username: invitation.email.clone(), password: shown.password, tenant: None };
        let user = login::authenticate(app, context, project, &credentials).await?;
        return if user.status == UserStatus::Active {
            Ok(Joining::Known(user))
        } else {
            Err(AppError::PrincipalInactive)
        };
    }
    let draft = UserDraft {
        email: Some(invitation.email.clone()),
        username: shown.username,
        first_name: shown.first_name,
        last_name: shown.last_name,
        phone: None,
        external_id: None,
        password: Some(shown.password),
        must_change_password: false,
        roles: Vec::new(),
    };
    users::new_user(app, place, &draft).await.map(Joining::New)
}

/// Makes the account. Who showed the token reads the address.
pub(super) async fn make(tx: &Tx, place: Site, new: NewUser, proven: bool) -> Result<(), AppError> {
    let by = Authorized::<ManageUsers>::system("invitation");
    let made = tx.insert_user(&by, new).await?;
    let user = made.peek().clone();
    let entry = AuditEntry { tenant_id: Some(place.tenant), ..AuditEntry::created(made.peek()) };
    tx.audit(entry, made).await?;
    if !proven {
        return Ok(());
    }
    let proven = tx.update_user(&by, User { email_verified_at: Some(user.created_at), ..user }).await?;
    let entry = AuditEntry { tenant_id: Some(place.tenant), ..AuditEntry::done(proven.peek(), "email_verified") };
    tx.audit(entry, proven).await?;
    Ok(())
}

/// Makes the account a member with these roles, as far as it is not already.
async fn join(tx: &Tx, membership: &Membership, bindings: &[NewRoleBinding]) -> Result<(), AppError> {
    let by = Authorized::<ManageUsers>::system("invitation");
    let Membership { tenant_id: tenant, user_id: user, .. } = *membership;
    match tx.membership(tenant, user).await?.map(|known| known.status) {
        Some(MembershipStatus::Active) => {}
        Some(MembershipStatus::Pending) => {
            let change = tx.update_membership(&by, tenant, user, MembershipStatus::Active).await?;
            tx.done("enabled", change).await?;
        }
        // Whom an administrator switched off, an administrator switches on, with all they held.
        Some(MembershipStatus::Inactive) => return Err(GONE),
        None => _ = tx.created(tx.insert_membership(&by, membership.clone()).await?).await?,
    }
    let by = Authorized::<ManageRoleBindings>::system("invitation");
    let held = tx.bindings(tenant, user).await?.roles;
    for binding in bindings.iter().filter(|binding| !held.contains(&binding.role_id)) {
        tx.created(tx.insert_role_binding(&by, binding.clone()).await?).await?;
    }
    Ok(())
}

/// By what somebody could invite.
struct Inviter {
    home: Site,
    user: UserId,
    /// The roles they hold there.
    held: Vec<RoleId>,
    /// Those, and the ones that are given, as they were judged.
    roles: Vec<Role>,
}

impl Inviter {
    /// Whether nothing of it has changed.
    async fn stands(&self, tx: &Tx) -> Result<(), AppError> {
        let now = tx.bindings(self.home.tenant, self.user).await?;
        if !now.active || now.roles != self.held {
            return Err(GONE);
        }
        for role in &self.roles {
            tx.role(role.id).await?.filter(|again| again.version == role.version).ok_or(GONE)?;
        }
        Ok(())
    }
}

/// Who invited, where they may still invite and give these roles.
async fn still_giveable(app: &App, invitation: &Invitation) -> Result<Inviter, AppError> {
    let place = Site { project: invitation.project_id, tenant: invitation.tenant_id };
    let home = if invitation.by_staff {
        let root = app.store.tenant_by_slug(ROOT).await?.ok_or(GONE)?;
        Site { project: root.project_id, tenant: root.id }
    } else {
        place
    };
    let held = app.store.within(home.scope()).bindings(home.tenant, invitation.invited_by).await?.roles;
    let at = app.store.within(home.scope()).view().await?;
    let rights = Rights::of(&at, home, invitation.invited_by, invitation.by_staff).await?;
    drop(at);
    let actor = Actor { kind: ActorKind::User, id: Some(invitation.invited_by.uuid()), name: String::new() };
    let inviter = rights.caller(actor, Origin::default());
    let module = if invitation.by_staff { "platform" } else { "tenant" };
    let asked = format!("{module}:invitation:create").parse();
    let asked = asked.map_err(|error| AppError::internal("an operation names no permission", error))?;
    if !rights.active || inviter.authorize::<ManageInvitations>(&asked, place.scope()).is_err() {
        return Err(GONE);
    }
    let mut roles = rights.roles;
    for id in &invitation.roles {
        let role = role_bindings::role_of(&app.store, place, *id).await.map_err(|_| GONE)?;
        giveable(&inviter, &role, false).map_err(|_| GONE)?;
        roles.push(role);
    }
    Ok(Inviter { home, user: invitation.invited_by, held, roles })
}
