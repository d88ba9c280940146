//! Identity providers: a tenant manages its own, in the shared project the platform does for all; staff manages those of a project.

use authz::{Authorized, Scope, action::ManageIdentityProviders};
use domain::{
    IdentityProviderId, ProjectId, Secret, TenantId,
    model::{IdentityProvider, NewIdentityProvider, ProjectKind, ProviderKey, ProviderKind, ProviderOptions, Version},
};
use store::{
    Commit,
    list::{ProjectProviderList, Selection, Slice, TenantProviderList},
    read::*,
    serves_others,
};

use super::{projects, text};
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
    oauth::is_apples_key,
    outbound,
};

/// Longest client id, and longest secret (of Apple, a key in PEM), in bytes.
const MAX_CLIENT_ID: usize = 256;
const MAX_SECRET: usize = 4096;

/// Longest issuer, in bytes: what an ID token's claim can hold.
const MAX_ISSUER: usize = 256;

/// Most scopes, and most clients of programs.
const MAX_LIST: usize = 10;

/// Longest name, in characters (S0's).
const NAME: std::ops::RangeInclusive<usize> = 1..=30;

/// Whose providers are meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// A tenant's.
    Tenant(Site),
    /// A project's, for all its tenants.
    Project(ProjectId),
}

impl Owner {
    /// The one that is named: by staff a tenant or a project, by others nobody but their own tenant.
    ///
    /// # Errors
    /// [`AppError::Parameter`], [`AppError::NotFound`].
    pub async fn named(
        app: &App,
        principal: &Principal,
        tenant: Option<TenantId>,
        project: Option<ProjectId>,
    ) -> Result<Self, AppError> {
        match project {
            None => principal.site(app, tenant).await.map(Self::Tenant),
            Some(project) if tenant.is_some() => {
                let site = principal.site(app, tenant).await?;
                if site.project == project { Ok(Self::Tenant(site)) } else { Err(AppError::NotFound("tenant")) }
            }
            Some(_) if !principal.is_system() => Err(AppError::NotFound("project")),
            Some(project) => {
                app.store.project(project).await?.ok_or(AppError::NotFound("project"))?;
                Ok(Self::Project(project))
            }
        }
    }

    const fn scope(self) -> Scope {
        match self {
            Self::Tenant(site) => site.scope(),
            Self::Project(project) => Scope::Project(project),
        }
    }

    const fn project(self) -> ProjectId {
        match self {
            Self::Tenant(site) => site.project,
            Self::Project(project) => project,
        }
    }

    const fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(site) => Some(site.tenant),
            Self::Project(_) => None,
        }
    }

    fn may(self, principal: &Principal, verb: &str) -> Result<Authorized<ManageIdentityProviders>, AppError> {
        match self {
            Self::Tenant(site) => principal.may_in(site, verb),
            Self::Project(_) => principal.may(verb),
        }
    }

    /// That whoever asks may change what these are.
    async fn is_own(self, app: &App, principal: &Principal) -> Result<(), AppError> {
        match self {
            Self::Tenant(site) => projects::is_tenants_own(app, principal, site).await,
            Self::Project(_) => Ok(()),
        }
    }
}

/// A provider as it is asked for.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `domain::model::IdentityProvider`")]
pub struct ProviderDraft {
    pub name: String,
    pub display_order: u32,
    pub enabled: bool,
    pub client_id: String,
    /// None: as it is.
    pub secret: Option<Secret<String>>,
    pub options: ProviderOptions,
}

/// A page of providers.
pub async fn list_identity_providers(
    app: &App,
    principal: &Principal,
    owner: Owner,
    (of_tenant, of_project): (&Selection<TenantProviderList>, &Selection<ProjectProviderList>),
) -> Result<Slice<IdentityProvider>, AppError> {
    owner.may(principal, "list")?;
    let store = app.store.within(owner.scope());
    match owner {
        Owner::Tenant(site) => Ok(store.list(site.tenant, of_tenant).await?),
        Owner::Project(project) => Ok(store.list(project, of_project).await?),
    }
}

/// One provider.
pub async fn read_identity_provider(
    app: &App,
    principal: &Principal,
    owner: Owner,
    key: &ProviderKey,
) -> Result<IdentityProvider, AppError> {
    owner.may(principal, "get")?;
    found(app, owner, key).await
}

/// Makes a provider.
///
/// # Errors
/// [`AppError::ManagedByPlatform`] in the shared project; [`AppError::Invalid`]; [`AppError::Store`] for a key that is taken
/// (`already_exists`), (`identity_provider_limit`).
pub async fn create_identity_provider(
    app: &App,
    principal: &Principal,
    owner: Owner,
    (key, kind, draft): (ProviderKey, ProviderKind, ProviderDraft),
) -> Result<(IdentityProvider, Commit), AppError> {
    let by = owner.may(principal, "create")?;
    owner.is_own(app, principal).await?;
    let project = app.store.project(owner.project()).await?.ok_or(AppError::NotFound("project"))?;
    if project.kind == ProjectKind::Root {
        let detail = "the platform's staff signs in with a password";
        return Err(AppError::Restricted { code: "login_method_refused", detail });
    }
    checked(app, kind, &draft)?;
    if draft.secret.is_none() && needs_secret(kind) {
        return Err(AppError::field("/client_secret", "required", "the provider knows its clients by it"));
    }
    let new = &NewIdentityProvider {
        id: new_id(&*app.clock),
        project_id: owner.project(),
        tenant_id: owner.tenant(),
        key,
        kind,
        name: draft.name,
        display_order: draft.display_order,
        enabled: draft.enabled,
        client_id: draft.client_id,
        secret: draft.secret,
        options: draft.options,
    };
    let by = &by;
    app.store
        .write(by, app.now(), |tx| async move {
            Ok::<_, AppError>(tx.created(tx.insert_identity_provider(by, new.clone()).await?).await?)
        })
        .await
}

/// Replaces what a provider is. Its kind, and who it is, stay: whom it knows of ours they know by that. Without a secret it keeps the
/// one it has.
///
/// # Errors
/// As [`create_identity_provider`]; [`AppError::NotFound`]; [`AppError::Store`] (412).
pub async fn replace_identity_provider(
    app: &App,
    principal: &Principal,
    (owner, key): (Owner, &ProviderKey),
    version: Option<Version>,
    (kind, draft): (ProviderKind, ProviderDraft),
) -> Result<(IdentityProvider, Commit), AppError> {
    let by = owner.may(principal, "update")?;
    let before = found(app, owner, key).await?;
    owner.is_own(app, principal).await?;
    if kind != before.kind {
        return Err(AppError::field("/type", "immutable", "stays: make another provider"));
    }
    checked(app, kind, &draft)?;
    for (pointer, same) in [
        ("/options/issuer", draft.options.issuer == before.options.issuer),
        ("/options/directory", draft.options.directory == before.options.directory),
    ] {
        if !same {
            return Err(AppError::field(pointer, "immutable", "stays: make another provider"));
        }
    }
    let secret = &draft.secret;
    let changed = &IdentityProvider {
        name: draft.name,
        display_order: draft.display_order,
        enabled: draft.enabled,
        client_id: draft.client_id,
        options: draft.options,
        version: version.unwrap_or(before.version),
        ..before.clone()
    };
    let (by, ends) = (&by, serves_others(&before, changed));
    let replaced = app.store.write(by, app.now(), |tx| async move {
        let updated = tx.update_identity_provider(by, changed.clone(), secret.as_ref()).await?;
        Ok::<_, AppError>(tx.updated(updated).await?)
    });
    let replaced = replaced.await?;
    if ends {
        end_sessions(app, changed.id).await?;
    }
    Ok(replaced)
}

/// Deletes a provider. Nobody signs in through it any more, and what it knew of our people is forgotten.
///
/// # Errors
/// As [`replace_identity_provider`].
pub async fn delete_identity_provider(
    app: &App,
    principal: &Principal,
    (owner, key): (Owner, &ProviderKey),
    version: Option<Version>,
) -> Result<Commit, AppError> {
    let by = owner.may(principal, "delete")?;
    let provider = found(app, owner, key).await?;
    owner.is_own(app, principal).await?;
    let (by, which) = (&by, (provider.id, version));
    let deleted = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.deleted(tx.delete_identity_provider(by, which).await?).await?)
    });
    let (_, commit) = deleted.await?;
    end_sessions(app, provider.id).await?;
    Ok(commit)
}

/// Sessions that end in one transaction.
const AT_ONCE: u32 = 200;

/// Ends every session that a provider opened, some in each transaction.
async fn end_sessions(app: &App, id: IdentityProviderId) -> Result<(), AppError> {
    loop {
        let ended = app.store.write_session(Scope::Platform, app.now(), |tx| async move {
            Ok::<_, AppError>(tx.end_provider_sessions(id, AT_ONCE).await?)
        });
        if ended.await? < AT_ONCE {
            return Ok(());
        }
    }
}

/// Ends what was left when a process stopped in the middle.
///
/// # Errors
/// Of the database.
pub(super) async fn sweep_strays(app: &App) -> Result<(), AppError> {
    for id in app.store.providers_with_strays(app.now(), AT_ONCE).await? {
        end_sessions(app, id).await?;
    }
    Ok(())
}

async fn found(app: &App, owner: Owner, key: &ProviderKey) -> Result<IdentityProvider, AppError> {
    let store = app.store.within(owner.scope());
    let found = store.identity_provider_by_key(owner.project(), owner.tenant(), key).await?;
    found.ok_or(AppError::NotFound("identity provider"))
}

const fn needs_secret(kind: ProviderKind) -> bool {
    // Of others, a client may be public: PKCE binds what it is given to it.
    !matches!(kind, ProviderKind::Oidc)
}

fn checked(app: &App, kind: ProviderKind, draft: &ProviderDraft) -> Result<(), AppError> {
    let ProviderDraft { name, client_id, secret, options, .. } = draft;
    let refuse = |pointer: &str, detail: &str| Err(AppError::field(pointer, "invalid", detail));
    text::check("/name", name, NAME)?;
    if name.contains('\n') {
        return refuse("/name", "is one line");
    }
    if !is_visible(client_id, MAX_CLIENT_ID) {
        return refuse("/client_id", "1 to 256 visible ASCII characters");
    }
    if let Some(secret) = secret {
        let of_apple = kind == ProviderKind::Apple;
        if of_apple && (secret.expose().len() > MAX_SECRET || !is_apples_key(secret)) {
            return refuse("/client_secret", "is no P-256 key as PKCS #8 in PEM");
        }
        if !of_apple && !is_visible(secret.expose(), MAX_SECRET) {
            return refuse("/client_secret", "1 to 4096 visible ASCII characters");
        }
    }
    let ProviderOptions { issuer, hosted_domain, directory, team_id, key_id, scopes, native_client_ids } = options;
    for (pointer, given, of) in [
        ("/options/issuer", issuer.as_ref(), ProviderKind::Oidc),
        ("/options/hosted_domain", hosted_domain.as_ref(), ProviderKind::Google),
        ("/options/directory", directory.as_ref(), ProviderKind::Microsoft),
        ("/options/team_id", team_id.as_ref(), ProviderKind::Apple),
        ("/options/key_id", key_id.as_ref(), ProviderKind::Apple),
    ] {
        let needed = kind == of && of != ProviderKind::Google;
        match given {
            None if needed => return Err(AppError::field(pointer, "required", "is needed for this type")),
            Some(_) if kind != of => return refuse(pointer, "is for another type"),
            Some(text) if !is_visible(text, MAX_ISSUER) => return refuse(pointer, "1 to 256 visible ASCII characters"),
            _ => {}
        }
    }
    if issuer.as_ref().is_some_and(|it| outbound::url(it, app.config.oauth.on_loopback).is_err() || it.contains('?')) {
        return refuse("/options/issuer", "is no https URL without credentials, query and fragment");
    }
    let microsofts = format!("{}/", app.config.oauth.microsoft);
    if issuer.as_ref().is_some_and(|it| it.starts_with(&microsofts)) {
        return refuse("/options/issuer", "is Microsoft's, which has a type of its own");
    }
    let of_many = ["common", "organizations", "consumers"];
    if directory.as_ref().is_some_and(|it| !of_many.contains(&it.as_str()) && it.parse::<uuid::Uuid>().is_err()) {
        return refuse("/options/directory", "is no id of a directory, nor `common`, `organizations` or `consumers`");
    }
    if kind == ProviderKind::Github && !native_client_ids.is_empty() {
        return refuse("/options/native_client_ids", "is for another type");
    }
    for (pointer, list) in [("/options/scopes", scopes), ("/options/native_client_ids", native_client_ids)] {
        if list.len() > MAX_LIST || !list.iter().all(|it| is_visible(it, MAX_CLIENT_ID)) {
            return refuse(pointer, "at most 10, each 1 to 256 visible ASCII characters");
        }
    }
    Ok(())
}

fn is_visible(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
