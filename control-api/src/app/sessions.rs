//! Sessions after they were opened: refreshed, looked at, ended.

use std::time::Duration;

use authz::Scope;
use domain::{
    Secret, SessionId, Timestamp, TokenId,
    audit::{Actor, ActorKind, AuditEntry, Crud, Origin},
    model::{Project, ProjectStatus, Session, Tenant, User},
    snapshot::TenantStatus,
};
use futures::try_join;
use store::{Consumed, SessionTx, StoreError, View, read::*};

use super::{
    login::{Door, event, held},
    login_policies::{self, Says},
    site::{self, Realm},
    tokens::{TokenPair, assembled, hash},
};
use crate::{
    App,
    caller::{Principal, Site},
    context::RequestContext,
    error::AppError,
    signer,
};

/// Through what a session is refreshed.
#[derive(Clone, Copy, Debug)]
pub enum Through<'a> {
    /// A door of ours, which must be the session's.
    Door(Door),
    /// A service that names a place, which must be the session's.
    Service(&'a Realm),
}

impl Through<'_> {
    /// The session's own door, if this leads to it.
    fn door(self, session: &Session) -> Result<Door, AppError> {
        let own = if session.system { Door::System } else { Door::Tenant };
        let leads_there = match self {
            Self::Door(door) => door == own,
            Self::Service(realm) => {
                realm.project.id == session.project_id && realm.tenant.is_none_or(|id| id == session.tenant_id)
            }
        };
        if leads_there { Ok(own) } else { Err(AppError::RefreshInvalid) }
    }
}

/// Exchanges a refresh token for a new pair. Of any number of callers that show one token at once, one succeeds.
///
/// # Errors
/// [`AppError::RefreshInvalid`]; [`AppError::RefreshSuperseded`] for the loser of a race;
/// [`AppError::RefreshReplayed`] for a token used before, after all its user's sessions were ended.
pub async fn refresh(
    app: &App,
    context: &RequestContext,
    through: Through<'_>,
    token: &Secret<String>,
) -> Result<TokenPair, AppError> {
    let shown = hash(token.expose());
    let at = app.store.view().await?;
    let session = at.session_of_refresh(shown).await?.ok_or(AppError::RefreshInvalid)?;
    let door = through.door(&session)?;
    let (place, ends, key, held) = try_join!(
        place(&at, context, &session),
        login_policies::ends(app, &at, session.tenant_id, &session),
        signer::active(app, &at, session.project_id),
        held(&at, session.tenant_id, session.user_id, door),
    )?;
    drop(at);
    let of = (&place.project, place.tenant.id, &place.user);
    let (draft, holder) = assembled(app, of, (key, held), ends)?;
    let (now, grace) = (app.now(), app.config.sessions.refresh_grace.get());
    let (draft, holder, place) = (&draft, &holder, &place);
    // A replay ends sessions in every tenant of the user's.
    let scope = Scope::Project(session.project_id);
    let outcome = app.store.write_session(scope, now, |tx| {
        let origin = context.origin();
        async move {
            let used = match spend(&tx, shown, grace, &actor(&place.user), &origin).await? {
                Ok(used) => used,
                Err(refused) => return Ok(Err(refused)),
            };
            // They go out in this order: what is read after the generations is read while nobody can raise them.
            let (generations, open, bindings, said) = try_join!(
                tx.generations(used.project_id, used.tenant_id, used.user_id),
                tx.session(used.sid),
                tx.bindings(used.tenant_id, used.user_id),
                tx.login_policy(used.tenant_id),
            )?;
            let open = open.filter(|session| session.is_open(now));
            let current = open.filter(|it| (it.user_generation, it.tenant_generation) == generations);
            let active = bindings.active;
            let Some(session) = current.filter(|_| active) else { return Ok(Err(AppError::RefreshInvalid)) };
            match login_policies::judge_by(&tx, said.as_ref(), session.tenant_id, &session, now).await? {
                Says::GoesOn => {}
                // Not `Ok`: the refresh token stays good for the step up.
                Says::StepsUp => return Err(AppError::StepUp),
                Says::Ends => {
                    if let Some(ended) = tx.end_session(session.sid, "login_policy").await? {
                        tx.record(&actor(&place.user), &origin, &event("session_revoked", Crud::D, &ended)).await?;
                    }
                    return Ok(Err(AppError::RefreshInvalid));
                }
            }
            // Not `Ok`: the refresh token stays good for when it is.
            let of = (session.tenant_id, session.user_id);
            login_policies::known_by(&tx, said.as_ref(), of, session.method, now).await?;
            let next = draft.refresh_row(session.sid, ends);
            let written =
                try_join!(tx.extend_session(session.sid, generations, draft.exp), tx.replace_refresh(shown, &next));
            match written {
                // Signed out since it was read. Not `Ok`: nothing follows the refresh token, which is worth nothing.
                Err(StoreError::NotFound { .. }) => return Err(AppError::RefreshInvalid),
                written => written.map(|_| ())?,
            }
            draft.sign(&session, holder, generations).await.map(Ok)
        }
    });
    told(app, outcome.await?).await
}

/// Uses a refresh token; answers its session. What refuses is inside: what was written with it is to be committed.
pub(super) async fn spend(
    tx: &SessionTx,
    shown: [u8; 32],
    grace: Duration,
    actor: &Actor,
    origin: &Origin,
) -> Result<Result<Session, AppError>, AppError> {
    Ok(match tx.consume_refresh(shown, grace).await? {
        Consumed::Fresh(_, session) => Ok(session),
        Consumed::Superseded(_) => Err(AppError::RefreshSuperseded),
        Consumed::Replayed(session) => {
            tx.revoke_all_sessions(session.user_id).await?;
            tx.record(actor, origin, &event("refresh_replayed", Crud::D, &session).failed()).await?;
            Err(AppError::RefreshReplayed)
        }
        Consumed::Expired | Consumed::Unknown => Err(AppError::RefreshInvalid),
    })
}

/// What the caller is told, once it was committed. A replay is numbered at once: whoever holds the copy may hold an
/// access token too.
pub(super) async fn told(app: &App, outcome: Result<TokenPair, AppError>) -> Result<TokenPair, AppError> {
    if matches!(outcome, Err(AppError::RefreshReplayed)) {
        let ticked = app.hub.tick().await;
        ticked.map_err(|error| AppError::internal("the tick after a replay failed", error))?;
    }
    outcome
}

struct Place {
    project: Project,
    tenant: Tenant,
    user: User,
}

/// Where a session is refreshed: on its own tenant's hostname, while the tenant is in service.
async fn place(at: &View, context: &RequestContext, session: &Session) -> Result<Place, AppError> {
    let site = Site { project: session.project_id, tenant: session.tenant_id };
    let read = async { Ok(try_join!(at.project(site.project), at.tenant(site.tenant), at.user(session.user_id))?) };
    let ((project, tenant, user), here) = try_join!(read, site::is_here(at, context, site))?;
    let project = project.ok_or(AppError::RefreshInvalid)?;
    let tenant = tenant.ok_or(AppError::RefreshInvalid)?;
    if !here {
        return Err(AppError::RefreshInvalid);
    }
    in_service(&project, &tenant)?;
    let user = user.ok_or(AppError::RefreshInvalid)?;
    Ok(Place { project, tenant, user })
}

fn in_service(project: &Project, tenant: &Tenant) -> Result<(), AppError> {
    let suspended = project.status == ProjectStatus::Suspended
        || matches!(tenant.status, TenantStatus::Suspended | TenantStatus::Deleted);
    if suspended { Err(AppError::TenantSuspended) } else { Ok(()) }
}

/// Ends the caller's session and refuses its token.
pub async fn logout(app: &App, principal: &Principal) -> Result<(), AppError> {
    let site = Site { project: principal.project, tenant: principal.tenant };
    let token = (principal.token, principal.token_exp);
    end(app, site, token, principal.session, &principal.caller.actor, &principal.caller.origin).await
}

/// Ends a session and refuses one of its tokens (id and expiry).
pub(super) async fn end(
    app: &App,
    site: Site,
    (jti, exp): (TokenId, Timestamp),
    sid: SessionId,
    actor: &Actor,
    origin: &Origin,
) -> Result<(), AppError> {
    let ended = app.store.write_session(site.scope(), app.now(), |tx| async move {
        tx.refuse_token(jti, exp).await?;
        if let Some(session) = tx.end_session(sid, "signed_out").await? {
            let entry: AuditEntry = event("logout", Crud::D, &session);
            tx.record(actor, origin, &entry).await?;
        }
        Ok::<_, AppError>(())
    });
    ended.await
}

/// Who the caller is: the user and the tenant.
pub async fn info(app: &App, principal: &Principal) -> Result<(User, Tenant), AppError> {
    let user = app.store.user(principal.user).await?.ok_or(AppError::PrincipalInactive)?;
    let tenant = app.store.tenant(principal.tenant).await?.ok_or(AppError::PrincipalInactive)?;
    Ok((user, tenant))
}

fn actor(user: &User) -> Actor {
    Actor { kind: ActorKind::User, id: Some(user.id.uuid()), name: user.display_name() }
}
