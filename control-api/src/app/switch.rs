//! Switching the tenant: a session in one tenant is exchanged for one in another of the same project.
//!
//! It takes the whole pair. An access token is shown to services behind the edge, and one that leaks there must stay
//! worth its own tenant; the refresh token goes nowhere but here, so who has it is the client itself (ADR 7). The new
//! session is as old as the one it replaces: neither the proof of who one is nor the longest life begin anew.

use authz::Scope;
use domain::{
    Secret, SessionId, TenantId,
    audit::Crud,
    model::{NewSession, Session, Tenant, User},
};
use store::{SessionTx, read::*};

use super::{
    login::{Door, event, may_sign_in},
    login_policies::{self, Says},
    sessions::{spend, told},
    tokens::{Draft, TokenPair, hash, prepared},
};
use crate::{
    App,
    caller::Principal,
    context::{RequestContext, new_id},
    error::AppError,
};

/// Exchanges the caller's session for one in the tenant `named` by slug or id. The old token and session are refused
/// from then on.
///
/// # Errors
/// As of [`super::sessions::refresh`]; [`AppError::NotFound`] for a tenant that is not there, in another project, or
/// not one of the user's, which look the same.
pub async fn switch_tenant(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    named: &str,
    token: &Secret<String>,
) -> Result<TokenPair, AppError> {
    let shown = hash(token.expose());
    let row = app.store.refresh_token(shown).await?.filter(|row| row.sid == principal.session);
    row.ok_or(AppError::RefreshInvalid)?;
    let session = app.store.session(principal.session).await?.ok_or(AppError::RefreshInvalid)?;
    let project = app.store.project(principal.project).await?.ok_or(AppError::RefreshInvalid)?;
    let user = app.store.user(principal.user).await?.ok_or(AppError::RefreshInvalid)?;
    let tenant = target(app, principal, named).await?;
    may_sign_in(&project, &tenant, &user)?;
    let at = app.store.view().await?;
    let ends = login_policies::ends(app, &at, tenant.id, &session).await?;
    let (draft, holder) = prepared(app, &at, (&project, tenant.id, &user), Door::Tenant, ends).await?;
    drop(at);
    let (now, grace) = (app.now(), app.config.sessions.refresh_grace.get());
    let sid = new_id(&*app.clock);
    let actor = &principal.caller.actor;
    let (project, tenant, user, draft, holder) = (&project, &tenant, &user, &draft, &holder);
    let outcome = app.store.write_session(Scope::Project(project.id), now, |tx| {
        let origin = context.origin();
        async move {
            // The old tenant's first: who signs the user out everywhere waits for this, or this for them.
            let held = tx.generations(project.id, principal.tenant, user.id).await?;
            let old = match spend(&tx, shown, grace, actor, &origin).await? {
                Ok(old) => old,
                Err(refused) => return Ok(Err(refused)),
            };
            if !old.is_open(now) || (old.user_generation, old.tenant_generation) != held {
                return Ok(Err(AppError::RefreshInvalid));
            }
            tx.refuse_token(principal.token, principal.token_exp).await?;
            let left = tx.end_session(old.sid, "switched").await?.ok_or(AppError::RefreshInvalid)?;
            tx.record(actor, &origin, &event("session_switched_away", Crud::D, &left)).await?;

            let generations = tx.generations(project.id, tenant.id, user.id).await?;
            still_a_member(&tx, tenant, user).await?;
            // It begins to be used there now; not `Ok`: the old pair stays good.
            match login_policies::judge_session(&tx, tenant.id, &Session { last_used_at: now, ..old.clone() }, now)
                .await?
            {
                Says::GoesOn => {}
                Says::StepsUp => return Err(AppError::StepUp),
                Says::Ends => return Err(login_policies::refused()),
            }
            login_policies::known_enough(&tx, (tenant.id, user.id), old.method, now).await?;
            let new = NewSession { expires_at: ends, ..succeeding(&old, sid, tenant, generations, draft) };
            let opened =
                tx.open_session(NewSession { ip: origin.source_ip, user_agent: origin.user_agent.clone(), ..new });
            let opened = opened.await?;
            tx.insert_refresh(&draft.refresh_row(sid, opened.expires_at)).await?;
            tx.record(actor, &origin, &event("session_switched_in", Crud::C, &opened)).await?;
            draft.sign(&opened, holder, generations).await.map(Ok)
        }
    });
    told(app, outcome.await?).await
}

/// The tenant that is wanted, where it is one of the user's.
async fn target(app: &App, principal: &Principal, named: &str) -> Result<Tenant, AppError> {
    let found = match named.parse::<TenantId>() {
        Ok(id) => app.store.tenant(id).await?,
        Err(_) => app.store.tenant_by_slug(named).await?,
    };
    let there = found.filter(|tenant| tenant.project_id == principal.project && tenant.deleted_at.is_none());
    let tenant = there.ok_or(AppError::NotFound("tenant"))?;
    if app.store.bindings(tenant.id, principal.user).await?.active {
        Ok(tenant)
    } else {
        Err(AppError::NotFound("tenant"))
    }
}

/// What decided before the transaction, read again under its locks.
async fn still_a_member(tx: &SessionTx, tenant: &Tenant, user: &User) -> Result<(), AppError> {
    let unchanged = tx.user(user.id).await?.is_some_and(|again| again.password_hash == user.password_hash);
    if unchanged && tx.bindings(tenant.id, user.id).await?.active { Ok(()) } else { Err(AppError::NotFound("tenant")) }
}

/// The session that takes the place of `old`.
fn succeeding(
    old: &Session,
    sid: SessionId,
    tenant: &Tenant,
    (user_generation, tenant_generation): (u64, u64),
    draft: &Draft,
) -> NewSession {
    NewSession {
        sid,
        project_id: old.project_id,
        tenant_id: tenant.id,
        user_id: old.user_id,
        system: false,
        method: old.method,
        approved_by: old.approved_by,
        provider_id: old.provider_id,
        lent: old.lent,
        amr: old.amr,
        auth_time: old.auth_time,
        ip: old.ip,
        user_agent: old.user_agent.clone(),
        user_generation,
        tenant_generation,
        created_at: old.created_at,
        expires_at: old.expires_at,
        token_exp: draft.exp,
    }
}
