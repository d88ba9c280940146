//! Accounts that people make themselves, where their project lets them: asked for with an address and a password, made when the
//! address is proven. Until then there is nothing of theirs but a link.

use authz::{
    Authorized, Scope,
    action::{ManageRoleBindings, ManageUsers},
};
use domain::{
    Secret, TenantId, UserId,
    audit::{AuditEntry, Crud, Origin, Target},
    model::{
        FederatedIdentity, Membership, MembershipSource, MembershipStatus, NewPasskey, NewRoleBinding, NewUser,
        OneTimeToken, Project, RoleSubject, TokenKind, UserStatus, builtin,
    },
    outbox::NewOutboxEvent,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Audited, SessionTx, Tx, read::*};

use super::{
    access_mode, invitations,
    letters::{self, About, Link},
    login_policies,
    site::Realm,
    users,
};
use crate::{
    App,
    caller::Site,
    context::{RequestContext, new_id},
    error::AppError,
    mail::letter::{Letter, LetterKind},
    rates::Rate,
};

/// Who wants an account.
#[derive(Debug)]
pub struct SignupDraft {
    /// Their address.
    pub email: String,
    /// The password it is to have.
    pub password: Secret<String>,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
}

/// What a link to make an account holds: in a table of ours, as the account will.
#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    tenant_id: TenantId,
    password_hash: String,
    first_name: String,
    last_name: String,
}

/// Asks for an account: sends a link to the address that makes it, or, where it has one, a notice. The answer and the work are the
/// same.
///
/// # Errors
/// [`AppError::Restricted`] where the project does not let people in by themselves; [`AppError::Invalid`] for an address, name or
/// password that is none; [`AppError::SendCooldown`], [`AppError::RateLimited`]; [`AppError::Conflict`] (`mail_unavailable`).
pub async fn sign_up(app: &App, context: &RequestContext, draft: SignupDraft) -> Result<(), AppError> {
    let realm = letters::place(app, context, Rate::Signup).await?;
    let (site, email) = admitted(app, context, &realm, (&draft.email, &draft.first_name, &draft.last_name)).await?;
    let policy = login_policies::passwords_of_tenant(app, site).await?;
    let names = [email, draft.first_name.as_str(), draft.last_name.as_str()];
    app.passwords.check(&policy, &draft.password, &names, "/password")?;
    let hash = app.passwords.hash(draft.password).await?;
    let waiting = Waiting {
        tenant_id: site.tenant,
        password_hash: hash.expose().clone(),
        first_name: draft.first_name,
        last_name: draft.last_name,
    };
    let payload = serde_json::to_value(&waiting);
    let payload = payload.map_err(|error| AppError::internal("a signup cannot be kept", error))?;
    let about = About {
        kind: TokenKind::Signup,
        letter: LetterKind::Signup,
        page: "/auth/email/verify",
        user: None,
        email,
        payload,
        life: app.config.identity.verification.get(),
    };
    let link = Link::new(app, &realm, about).await?;
    let notice = notice(app, &realm, email)?;
    let (link, notice, realm) = (&link, &notice, &realm);
    let asked = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            if asked_for(app, &tx, (realm, email), (&origin, notice)).await? {
                link.send(&tx).await?;
            }
            Ok::<_, AppError>(())
        }
    });
    asked.await
}

/// Where an account would be, and its address, if the project lets whoever has it in by themselves. The answer is the same for
/// addresses that have an account.
pub(super) async fn admitted<'e>(
    app: &App,
    context: &RequestContext,
    realm: &Realm,
    (email, first_name, last_name): (&'e str, &str, &str),
) -> Result<(Site, &'e str), AppError> {
    if !app.config.identity.signup {
        return Err(AppError::Restricted {
            code: "signup_closed",
            detail: "accounts are made by an administrator here",
        });
    }
    app.mail_ready()?;
    let email = letters::address(email)?;
    app.admit_account(Rate::Signup, context, (realm.project.id, email)).await?;
    let site = home(realm)?;
    access_mode::admits(&realm.project, email)?;
    users::personal(Some(first_name), Some(last_name), None)?;
    Ok((site, email))
}

/// To who has an account already: that somebody asked for one.
pub(super) fn notice(app: &App, realm: &Realm, email: &str) -> Result<NewOutboxEvent, AppError> {
    Letter::new(LetterKind::AccountExists, email).event(app, realm.project.id, realm.tenant)
}

/// Notes that somebody asks for an account, once the address's turn to be written to has come. False where there is one: its
/// holder gets the notice, and what would make another is not to be sent; nor is it to who was written to too often.
pub(super) async fn asked_for(
    app: &App,
    tx: &SessionTx,
    (realm, email): (&Realm, &str),
    (origin, notice): (&Origin, &NewOutboxEvent),
) -> Result<bool, AppError> {
    let project = &realm.project;
    letters::turn(app, tx, (project.id, LetterKind::Signup), email).await?;
    if let Some(known) = tx.user_by_login(project.id, email).await? {
        if letters::may_be_written_to(&known) {
            tx.leave(notice).await?;
        }
        let entry = letters::told("signup_refused", project, realm.tenant, &known, json!({}));
        tx.record(&letters::nobody(), origin, &entry.failed()).await?;
        return Ok(false);
    }
    let requested = AuditEntry {
        action: "signup_requested".into(),
        crud: Crud::C,
        target: Target { kind: "user".into(), id: String::new(), name: String::new() },
        project_id: Some(project.id),
        tenant_id: realm.tenant,
        is_failure: false,
        fields: json!({}),
    };
    tx.record(&letters::nobody(), origin, &requested).await?;
    letters::strangers_turn(app, tx, email).await
}

/// The tenant that new accounts become members of: the hostname's.
pub(super) fn home(realm: &Realm) -> Result<Site, AppError> {
    let tenant = realm.tenant.ok_or(AppError::Restricted {
        code: "signup_closed",
        detail: "accounts are made at a tenant's own hostname",
    })?;
    Ok(Site { project: realm.project.id, tenant })
}

/// Makes the account that a link was sent for. It has the password that was chosen if `password` shows that who chose it is who reads
/// the address; otherwise somebody else may have, and it has none.
///
/// # Errors
/// [`AppError::LinkInvalid`]; [`AppError::CredentialsInvalid`] for another password, with which the link is not used up.
pub(super) async fn finish_signup(
    app: &App,
    found: &OneTimeToken,
    (realm, context): (&Realm, &RequestContext),
    password: Option<Secret<String>>,
) -> Result<(), AppError> {
    let waiting: Waiting = serde_json::from_value(found.payload.clone())
        .map_err(|error| AppError::internal("a signup cannot be read", error))?;
    if realm.tenant.is_some_and(|tenant| tenant != waiting.tenant_id) {
        return Err(AppError::LinkInvalid);
    }
    let hash = Secret::new(waiting.password_hash);
    let chosen = match password {
        Some(shown) => {
            let right = app.passwords.verify(shown, Some(hash.clone())).await?;
            Some(hash).filter(|_| right).ok_or(AppError::CredentialsInvalid).map(Some)?
        }
        None => None,
    };
    let new = NewAccount {
        id: new_id(&*app.clock),
        email: found.email.clone(),
        password_hash: chosen,
        names: (waiting.first_name, waiting.last_name),
        place: Site { project: found.project_id, tenant: waiting.tenant_id },
        passkey: None,
        proven: true,
        identity: None,
    };
    let token = Some((TokenKind::Signup, found.hash));
    make(app, context, &realm.project, new, token).await
}

/// An account to be made for who showed that they read its address, or is known by a provider.
#[derive(Debug)]
pub(super) struct NewAccount {
    /// Its id.
    pub(super) id: UserId,
    /// The address.
    pub(super) email: String,
    /// The password they chose.
    pub(super) password_hash: Option<Secret<String>>,
    /// First and last name.
    pub(super) names: (String, String),
    /// Where they become a member.
    pub(super) place: Site,
    /// The passkey they made.
    pub(super) passkey: Option<NewPasskey>,
    /// Whether it is shown that they read the address.
    pub(super) proven: bool,
    /// By which a provider knows them.
    pub(super) identity: Option<FederatedIdentity>,
}

/// Makes an account with a proven address and its membership, using up the link it was asked for by, where there is one.
///
/// # Errors
/// [`AppError::LinkInvalid`] when the link is used up, somebody has the address by now, or the project lets nobody in any more.
pub(super) async fn make(
    app: &App,
    context: &RequestContext,
    project: &Project,
    new: NewAccount,
    token: Option<(TokenKind, [u8; 32])>,
) -> Result<(), AppError> {
    let (id, place) = (new.id, new.place);
    let user = NewUser {
        id,
        project_id: place.project,
        email: Some(new.email.clone()),
        username: None,
        first_name: new.names.0,
        last_name: new.names.1,
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: new.password_hash,
        must_change_password: false,
        is_break_glass: false,
    };
    let membership = Membership {
        id: new_id(&*app.clock),
        project_id: place.project,
        tenant_id: place.tenant,
        user_id: id,
        source: MembershipSource::Added,
        status: MembershipStatus::Active,
        default_ou_id: None,
        created_at: app.now(),
    };
    let role = NewRoleBinding {
        id: new_id(&*app.clock),
        role_id: builtin::MEMBER,
        subject: RoleSubject::User(id),
        project_id: place.project,
        tenant_id: place.tenant,
        ou_id: None,
    };
    let by = Authorized::<ManageUsers>::system("signup");
    let by_role = Authorized::<ManageRoleBindings>::system("signup");
    let (by, by_role, user, membership, role) = (&by, &by_role, &user, &membership, &role);
    let (email, passkey, proven) = (&new.email, &new.passkey, new.proven);
    let identity = &new.identity;
    let made = app.store.write(by, app.now(), |tx| async move {
        // First of all: who loses the race has changed nothing.
        if let Some((kind, hash)) = token {
            tx.use_one_time_token(kind, hash).await?.ok_or(AppError::LinkInvalid)?;
        }
        stands(&tx, project, place, email).await?;
        invitations::make(&tx, place, user.clone(), proven).await?;
        if let Some(identity) = identity {
            tx.insert_federated_identity(identity).await?;
        }
        if let Some(passkey) = passkey {
            let kept = tx.insert_first_passkey(by, passkey.clone()).await?;
            let fields = json!({ "passkey_id": passkey.id, "rp_id": passkey.rp_id });
            let entry = AuditEntry {
                action: "passkey_added".into(),
                crud: Crud::U,
                target: Target { kind: "user".into(), id: id.to_string(), name: String::new() },
                project_id: Some(place.project),
                tenant_id: Some(place.tenant),
                is_failure: false,
                fields,
            };
            tx.audit(entry, kept).await?;
        }
        let joined = tx.created(tx.insert_membership(by, membership.clone()).await?).await?;
        tx.created(tx.insert_role_binding(by_role, role.clone()).await?).await?;
        Ok::<Audited<()>, AppError>(joined.map(|_| ()))
    });
    made.await?;
    let scope = Scope::Tenant(place.project, place.tenant);
    let noted = app.store.write_session(scope, app.now(), |tx| async move {
        let made = tx.user(id).await?.ok_or(AppError::LinkInvalid)?;
        let entry = letters::told("signup", project, Some(place.tenant), &made, json!({}));
        Ok::<_, AppError>(tx.record(&letters::oneself(&made), &context.origin(), &entry).await?)
    });
    noted.await
}

/// What was judged when the account was asked for still stands, and nobody has the address meanwhile.
async fn stands(tx: &Tx, project: &Project, place: Site, email: &str) -> Result<(), AppError> {
    let again = tx.project(project.id).await?.ok_or(AppError::LinkInvalid)?;
    access_mode::admits(&again, email).map_err(|_| AppError::LinkInvalid)?;
    let there = tx.tenant(place.tenant).await?.is_some_and(|it| it.deleted_at.is_none() && it.project_id == project.id);
    let taken = tx.user_by_login(project.id, email).await?.is_some();
    if there && !taken { Ok(()) } else { Err(AppError::LinkInvalid) }
}
