//! OAuth for machines: tokens by client credentials (RFC 6749 §4.4), what a token is worth (RFC 7662), and its end
//! (RFC 7009).
//!
//! A client is one of a tenant's, and is asked for at that tenant's hostname or its project's. All its tokens are of one
//! session, so that they are one row. A secret that is rotated without overlap, a client that is deleted, its user who is
//! disabled, and a tenant that is signed out end them. There is no refresh token: the secret is one.

use authn::AccessClaims;
use domain::{
    AmrSet, MachineClientId, Secret, SessionId, Timestamp,
    audit::{Actor, ActorKind, AuditEntry, Crud},
    model::{AuthMethod, MachineClient, NewSession, Project, Session, Tenant, User, machine_client::MAX_A_MINUTE},
};
use store::{SessionTx, StoreError, read::*};

use super::{
    login::{Door, event, may_sign_in},
    site,
    tokens::{TokenPair, hash, prepared},
};
use crate::{
    App, caller,
    caller::{Site, Standing},
    context::{RequestContext, new_id},
    error::AppError,
    rates::Rate,
};

/// A token that holds.
#[derive(Debug)]
pub struct Introspected {
    /// What it says.
    pub claims: AccessClaims,
    /// Whether it is the asking client's.
    pub own: bool,
}

/// What a client shows.
#[derive(Debug)]
pub struct ClientCredentials {
    /// Its id.
    pub id: MachineClientId,
    /// Its secret.
    pub secret: Secret<String>,
}

/// A client that has shown its secret, with where it is.
#[derive(Debug)]
pub struct KnownClient {
    client: MachineClient,
    /// What it showed.
    shown: Secret<[u8; 32]>,
    project: Project,
    tenant: Tenant,
    user: User,
}

impl KnownClient {
    fn actor(&self) -> Actor {
        Actor { kind: ActorKind::User, id: Some(self.user.id.uuid()), name: self.client.name.clone() }
    }
}

/// The client of these credentials. Wrong ones are counted by where they come from.
///
/// # Errors
/// [`AppError::CredentialsInvalid`] for one that is unknown, is another hostname's, or has another secret;
/// [`AppError::RateLimited`] after many of those, without a look at the database unless the secret was right lately;
/// [`AppError::TenantSuspended`].
pub async fn known_client(
    app: &App,
    context: &RequestContext,
    shown: &ClientCredentials,
) -> Result<KnownClient, AppError> {
    let secret = Secret::new(hash(shown.secret.expose()));
    if let Some(retry_after) = app.spent_address(Rate::Machine, context)
        && !app.known_programs.knows(shown.id, &secret)
    {
        return Err(AppError::RateLimited { retry_after });
    }
    match recognized(app, context, (shown.id, secret)).await {
        Err(AppError::CredentialsInvalid) => {
            let answer = refused(app, context).await;
            // Counted by address: beyond that nothing is written.
            if matches!(answer, AppError::CredentialsInvalid) {
                note_guess(app, context, shown.id).await?;
            }
            Err(answer)
        }
        Ok(known) => {
            app.known_programs.learn(known.client.id, &known.shown);
            Ok(known)
        }
        Err(other) => Err(other),
    }
}

/// Tells a client's tenant that somebody showed another secret.
async fn note_guess(app: &App, context: &RequestContext, id: MachineClientId) -> Result<(), AppError> {
    let Some(client) = app.store.machine_client(id).await? else { return Ok(()) };
    let nobody = &Actor { kind: ActorKind::Anonymous, id: None, name: String::new() };
    let entry = &AuditEntry { action: "client_refused".into(), ..AuditEntry::done(&client, "refused") }.failed();
    let scope = authz::Scope::Tenant(client.project_id, client.tenant_id);
    let noted = app.store.write_session(scope, app.now(), |tx| {
        let origin = context.origin();
        async move { tx.record(nobody, &origin, entry).await }
    });
    Ok(noted.await?)
}

/// Counts what costs everybody.
async fn within_pace(tx: &SessionTx, id: MachineClientId) -> Result<(), AppError> {
    if tx.count_machine_client(id).await? > MAX_A_MINUTE {
        return Err(AppError::RateLimited { retry_after: 60 });
    }
    Ok(())
}

/// What credentials that are no client's are answered.
pub async fn refused(app: &App, context: &RequestContext) -> AppError {
    let counted = app.admit_address(Rate::Machine, context).await;
    counted.err().unwrap_or(AppError::CredentialsInvalid)
}

async fn recognized(
    app: &App,
    context: &RequestContext,
    (id, shown): (MachineClientId, Secret<[u8; 32]>),
) -> Result<KnownClient, AppError> {
    const NOBODY: AppError = AppError::CredentialsInvalid;
    let client = app.store.machine_client(id).await?.ok_or(NOBODY)?;
    if !client.accepts(&shown, app.now()) {
        return Err(NOBODY);
    }
    if !site::is_here(&app.store, context, Site { project: client.project_id, tenant: client.tenant_id }).await? {
        return Err(NOBODY);
    }
    let project = app.store.project(client.project_id).await?.ok_or(NOBODY)?;
    let tenant = app.store.tenant(client.tenant_id).await?.ok_or(NOBODY)?;
    let user = app.store.user(client.user_id).await?.ok_or(NOBODY)?;
    caller::served(&project, &tenant, true)?;
    may_sign_in(&project, &tenant, &user)?;
    Ok(KnownClient { client, shown, project, tenant, user })
}

/// Gives a client a token.
///
/// # Errors
/// [`AppError::CredentialsInvalid`] when its secret was rotated meanwhile; what its user's or tenant's state says.
pub async fn client_token(app: &App, context: &RequestContext, known: &KnownClient) -> Result<TokenPair, AppError> {
    let KnownClient { client, shown, project, tenant, user } = known;
    let now = app.now();
    let ends = now + app.config.sessions.session.get();
    let at = app.store.view().await?;
    let (draft, holder) = prepared(app, &at, (project, tenant.id, user), Door::Tenant, ends).await?;
    drop(at);
    let sid: SessionId = new_id(&*app.clock);
    let actor = known.actor();
    let (draft, holder, actor) = (&draft, &holder, &actor);
    let minted = app.store.write_session(authz::Scope::Tenant(project.id, tenant.id), now, |tx| {
        let origin = context.origin();
        async move {
            let generations = tx.generations(project.id, tenant.id, user.id).await?;
            // What decided before is read again under the lock.
            let again = tx.machine_client_alone(client.id).await?.filter(|again| again.accepts(shown, now));
            let again = again.ok_or(AppError::CredentialsInvalid)?;
            within_pace(&tx, client.id).await?;
            let current = tx.user(user.id).await?.ok_or(AppError::CredentialsInvalid)?;
            may_sign_in(project, tenant, &current)?;
            if !tx.bindings(tenant.id, user.id).await?.active {
                return Err(AppError::CredentialsInvalid);
            }
            let goes_on = |session: &Session| {
                let same = (session.user_generation, session.tenant_generation) == generations;
                same && session.is_open(now) && session.expires_at >= draft.exp
            };
            let held = match again.session {
                Some(sid) => tx.session(sid).await?.filter(goes_on),
                None => None,
            };
            let held = match held {
                Some(session) => match tx.extend_session(session.sid, generations, draft.exp).await {
                    Ok(()) => Some(session),
                    // It was ended meanwhile.
                    Err(StoreError::NotFound { .. }) => None,
                    Err(error) => return Err(error.into()),
                },
                None => None,
            };
            let session = match held {
                Some(session) => session,
                None => {
                    let new = NewSession {
                        sid,
                        project_id: project.id,
                        tenant_id: tenant.id,
                        user_id: user.id,
                        system: false,
                        method: AuthMethod::ClientCredentials,
                        approved_by: None,
                        provider_id: None,
                        lent: false,
                        amr: AmrSet::default(),
                        auth_time: now,
                        ip: origin.source_ip,
                        user_agent: origin.user_agent.clone(),
                        user_generation: generations.0,
                        tenant_generation: generations.1,
                        created_at: now,
                        expires_at: ends,
                        token_exp: draft.exp,
                    };
                    let opened = tx.open_session(new).await?;
                    tx.record(actor, &origin, &event("login_success", Crud::C, &opened)).await?;
                    opened
                }
            };
            tx.note_machine_client(client.id, session.sid).await?;
            draft.sign(&session, holder, generations).await
        }
    });
    minted.await
}

/// What a token says that holds now, of one of the client's tenant; none for any other text.
///
/// # Errors
/// Of the database.
pub async fn introspect(
    app: &App,
    known: &KnownClient,
    token: &Secret<String>,
) -> Result<Option<Introspected>, AppError> {
    let Some(standing) = standing(app, known, token).await? else { return Ok(None) };
    let (site, user) = (standing.site(), standing.claims.sub);
    let bindings = app.store.within(site.scope()).bindings_at_edge(site.tenant, user, app.now()).await?;
    let active = standing.served(true).is_ok() && bindings.active;
    let own = user == known.user.id;
    Ok(Some(Introspected { claims: standing.claims, own }).filter(|_| active))
}

/// Refuses one of the client's own tokens; whether there was anything to refuse.
///
/// # Errors
/// Of the database.
pub async fn revoke_token(
    app: &App,
    context: &RequestContext,
    known: &KnownClient,
    token: &Secret<String>,
) -> Result<bool, AppError> {
    let own = |standing: &Standing| standing.claims.sub == known.user.id;
    let Some(standing) = standing(app, known, token).await?.filter(own) else { return Ok(false) };
    let (jti, exp) = (standing.claims.jti, Timestamp::from_secs(standing.claims.exp));
    let session = app.store.session(standing.claims.sid).await?.ok_or(AppError::TokenRevoked)?;
    let actor = &known.actor();
    let entry: &AuditEntry = &event("token_revoked", Crud::D, &session);
    let refused = app.store.write_session(standing.site().scope(), app.now(), |tx| {
        let origin = context.origin();
        async move {
            within_pace(&tx, known.client.id).await?;
            tx.refuse_token(jti, exp).await?;
            tx.record(actor, &origin, entry).await?;
            Ok::<_, AppError>(true)
        }
    });
    refused.await
}

/// A token that holds, of the client's tenant.
async fn standing(app: &App, known: &KnownClient, token: &Secret<String>) -> Result<Option<Standing>, AppError> {
    match Standing::of(app, token.expose()).await {
        Ok(standing) => Ok(Some(standing).filter(|standing| standing.tenant.id == known.tenant.id)),
        Err(error) if error.public().0.is_server_error() => Err(error),
        // Whatever is wrong with it: of what holds nothing, nothing is told.
        Err(_) => Ok(None),
    }
}
