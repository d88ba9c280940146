//! What is ensured at every start: that gateways were told what this release has to tell them, the built-in roles, the
//! root and the shared project, the platform's own customer and tenant, its first administrator, and the identity service.
//!
//! Every step looks first and leaves alone what is there, so that it can be run again at any point and by any replica.

use std::time::Duration;

use authz::{
    Authorized,
    action::{
        ManageCustomers, ManageHostnames, ManageProjects, ManageRoles, ManageRoutes, ManageSigningKeys, ManageTenants,
        ManageUpstreams,
    },
};
use domain::{
    HostName, Permission, Secret, Slug, TaxIds,
    declarative::{self, RawFile, ReadAs},
    model::{
        AssertionMode, Branding, ClaimState, CustomerKind, KeyPurpose, KycKind, NewCustomer, NewProject, NewRole,
        NewRoute, NewService, NewTenant, NewUpstream, NewUser, Project, ProjectKind, RouteOwner, Tenancy, Tenant,
        UpstreamSpec, UserStatus, builtin,
    },
    snapshot::{Entity, KycStatus, PaymentStatus, Peer, RoleScope, TenantStatus, UpstreamTls},
};
use link::file::{Document, Loaded, Overrides};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{Audited, StoreError, read::*};

use crate::{
    App,
    app::{customers, first_administrator::FirstAdministrator, hostnames, new_tenant, projects, signing_keys},
    context::new_id,
    error::AppError,
};

/// Slug of the platform's own project and tenant, and code of its customer.
pub const ROOT: &str = "root";
/// Slug of the shared project.
pub const CLOUD: &str = "cloud";
/// Name of the upstream that leads to the `public` listener.
pub const CONTROL_API: &str = "control-api";
/// Name of the service of identity routes.
pub const IDENTITY: &str = "identity";

/// The identity routes as they are shipped.
const IDENTITY_POLICY: &str = include_str!("../../policies/identity.yaml");
/// The built-in roles as they are shipped.
const ROLES_POLICY: &str = include_str!("../../policies/roles.yaml");

/// The name in the audit trail.
const JOB: &str = "bootstrap";

/// What was made that somebody has to be told.
#[derive(Debug, Default)]
pub struct Bootstrapped {
    /// The platform administrator's name and password, when they were made just now with a password of ours.
    pub platform_admin: Option<(String, Secret<String>)>,
}

/// How the edge reaches the `public` listener.
#[derive(Clone, Debug)]
pub struct WayIn {
    /// Its address.
    pub peer: Peer,
    /// TLS to it; none for plain HTTP on this machine.
    pub tls: Option<UpstreamTls>,
}

/// How often everything is looked at again because another replica made the same thing first.
const ATTEMPTS: u32 = 40;

/// Pause before that.
const PAUSE: Duration = Duration::from_millis(50);

/// Ensures everything. `public` is how the edge reaches the `public` listener. Of replicas that start at once each thing
/// is made by one; the others find it there.
///
/// # Errors
/// [`AppError`]; what was ensured before it stays.
pub async fn ensure(app: &App, public: Option<WayIn>) -> Result<Bootstrapped, AppError> {
    let (mut attempt, mut made) = (1, Bootstrapped::default());
    loop {
        match ensure_each(app, public.clone(), &mut made).await {
            Err(error) if attempt < ATTEMPTS && was_made(&error) => {
                tracing::info!(attempt, error = crate::problem::chain(&error), "another replica was first");
                tokio::time::sleep(PAUSE).await;
                attempt += 1;
            }
            done => return done.map(|()| made),
        }
    }
}

/// Whether what was to be made had been made since it was looked for, or was being made.
const fn was_made(error: &AppError) -> bool {
    matches!(
        error,
        AppError::Store(StoreError::Conflict { .. } | StoreError::VersionMismatch { .. } | StoreError::Serialization)
    )
}

/// What is made is noted at once: it is told of also when a later step has to be tried again.
async fn ensure_each(app: &App, public: Option<WayIn>, made: &mut Bootstrapped) -> Result<(), AppError> {
    roles(app).await?;
    let told = app.store.republish(app.now()).await?;
    if told > 0 {
        tracing::info!(entities = told, "gateways are told anew what an older release told them");
    }
    let taken = customers::take_over_unchecked(app).await?;
    if taken > 0 {
        tracing::info!(customers = taken, "what an older release kept of customers was taken over");
    }
    let config = &app.config.bootstrap;
    let console = config.console_hostname.as_ref();
    let cloud_host = config.cloud_hostname.as_ref();
    let root = project(app, ROOT, ProjectKind::Root, issuer(config.root_issuer.as_deref(), console, "console")).await?;
    assertion_key(app, &root).await?;
    let cloud = issuer(config.cloud_issuer.as_deref(), cloud_host, "cloud");
    let cloud = project(app, CLOUD, ProjectKind::Shared, cloud).await?;
    let tenant = root_tenant(app, &root).await?;
    if let Some(admin) = platform_admin(app, &root, &tenant).await? {
        made.platform_admin = Some(admin);
    }
    if let Some(way) = public {
        upstream(app, way).await?;
        identity(app).await?;
    }
    if let Some(name) = console {
        hostname(app, &root, Some(&tenant), name).await?;
    }
    if let Some(name) = cloud_host {
        hostname(app, &cloud, None, name).await?;
    }
    Ok(())
}

fn issuer(configured: Option<&str>, hostname: Option<&HostName>, label: &str) -> String {
    match (configured, hostname) {
        (Some(issuer), _) => issuer.into(),
        (None, Some(hostname)) => format!("https://{hostname}"),
        (None, None) => format!("https://{label}.localhost"),
    }
}

/// The shipped roles file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RolesFile {
    roles: Vec<RoleBundle>,
}

/// One built-in role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RoleBundle {
    name: String,
    scope: RoleScope,
    #[serde(default)]
    description: String,
    #[serde(default)]
    permissions: Vec<Permission>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    super_admin: bool,
}

/// The built-in roles: ids by this release, everything else by `policies/roles.yaml`.
///
/// # Errors
/// [`AppError::Internal`] when the file and the ids do not belong together.
pub fn builtin_roles() -> Result<Vec<NewRole>, AppError> {
    let failed = |mistakes: link::file::Mistakes| AppError::internal("policies/roles.yaml", mistakes.to_string());
    let document = Document::parse("policies/roles.yaml", ROLES_POLICY).map_err(failed)?;
    let loaded = link::file::load::<RolesFile>(document, &Overrides::none());
    let file = loaded.and_then(Loaded::sound).map_err(failed)?;
    let known = builtin::all();
    let bundle = |bundle: RoleBundle| {
        let id = known.iter().find(|role| role.name == bundle.name).map(|role| role.id);
        let id =
            id.ok_or_else(|| AppError::internal("policies/roles.yaml", format!("role `{}` has no id", bundle.name)))?;
        Ok(NewRole {
            id,
            tenant_id: None,
            scope: bundle.scope,
            name: bundle.name,
            description: bundle.description,
            permissions: bundle.permissions,
            admin: bundle.admin,
            super_admin: bundle.super_admin,
        })
    };
    file.roles.into_iter().map(bundle).collect()
}

async fn roles(app: &App) -> Result<(), AppError> {
    let by: Authorized<ManageRoles> = Authorized::system(JOB);
    let wanted = builtin_roles()?;
    let (by, wanted) = (&by, &wanted);
    let ensured = app.store.write(by, app.now(), |tx| async move {
        for role in wanted {
            if let Some(change) = tx.ensure_builtin_role(by, role.clone()).await? {
                tx.updated(change).await?;
            }
        }
        Ok::<_, StoreError>(Audited::unchanged(()))
    });
    ensured.await?;
    Ok(())
}

async fn project(app: &App, slug: &str, kind: ProjectKind, issuer: String) -> Result<Project, AppError> {
    if let Some(found) = app.store.project_by_slug(slug).await? {
        return Ok(found);
    }
    let new = NewProject {
        id: new_id(&*app.clock),
        slug: named(slug)?,
        name: slug.into(),
        kind,
        audiences: vec![issuer.clone()],
        issuer,
        config: serde_json::json!({}),
    };
    let key = signing_keys::fresh_key(app, new.id)?;
    let (by, keys_by): (Authorized<ManageProjects>, Authorized<ManageSigningKeys>) =
        (Authorized::system(JOB), Authorized::system(JOB));
    let (by, keys_by, new, key) = (&by, &keys_by, &new, &key);
    let made = app
        .store
        .write(by, app.now(), |tx| async move { projects::insert(&tx, by, keys_by, new.clone(), key.clone()).await });
    made.await.map(|(project, _)| project)
}

/// The fleet's key for assertions.
async fn assertion_key(app: &App, root: &Project) -> Result<(), AppError> {
    if app.store.active_key(root.id, KeyPurpose::Assertions).await?.is_some() {
        return Ok(());
    }
    let new = signing_keys::fresh_assertion_key(app, root.id)?;
    let by: Authorized<ManageSigningKeys> = Authorized::system(JOB);
    let (by, new) = (&by, &new);
    let made = app.store.write(by, app.now(), |tx| async move {
        // Another replica may have been first.
        match tx.active_key(root.id, KeyPurpose::Assertions).await? {
            Some(_) => Ok::<_, AppError>(Audited::unchanged(())),
            None => Ok(signing_keys::insert_active(&tx, by, new.clone()).await?.map(|_| ())),
        }
    });
    made.await.map(|_| ())
}

async fn root_tenant(app: &App, root: &Project) -> Result<Tenant, AppError> {
    if let Some(found) = app.store.tenant_by_slug(ROOT).await? {
        return Ok(found);
    }
    let customer = NewCustomer {
        id: new_id(&*app.clock),
        code: ROOT.into(),
        name: "Platform".into(),
        description: String::new(),
        kind: CustomerKind::Company,
        tenancy: Tenancy::Dedicated,
        address: None,
        contact: None,
        tax_ids: TaxIds::default(),
        kyc: KycStatus::Completed,
        kyc_kind: KycKind::Kyb,
        payment: PaymentStatus::Ok,
        is_root: true,
    };
    let tenant = NewTenant {
        id: new_id(&*app.clock),
        project_id: root.id,
        customer_id: customer.id,
        slug: named(ROOT)?,
        name: "Platform".into(),
        status: TenantStatus::Active,
        claim_state: ClaimState::Claimed,
        plan: None,
        trial_ends_at: None,
        rate_limit: None,
        principal_rate_limit: None,
        admission: domain::Admission::default(),
        branding: Branding::default(),
    };
    let (by, customers_by): (Authorized<ManageTenants>, Authorized<ManageCustomers>) =
        (Authorized::system(JOB), Authorized::system(JOB));
    let (by, customers_by, customer, tenant) = (&by, &customers_by, &customer, &tenant);
    let made = app.store.write(by, app.now(), |tx| async move {
        let customer_id = match tx.customer_by_code(ROOT).await? {
            Some(found) => found.id,
            None => tx.created(tx.insert_customer(customers_by, customer.clone()).await?).await?.peek().id,
        };
        let tenant = NewTenant { customer_id, ..tenant.clone() };
        tx.created(tx.insert_tenant(by, tenant).await?).await
    });
    made.await.map(|(tenant, _)| tenant).map_err(|error: StoreError| error.into())
}

async fn platform_admin(
    app: &App,
    root: &Project,
    tenant: &Tenant,
) -> Result<Option<(String, Secret<String>)>, AppError> {
    let config = &app.config.bootstrap;
    if app.store.user_by_login(root.id, &config.admin_username).await?.is_some() {
        return Ok(None);
    }
    let given = match &config.admin_password {
        Some(reference) => {
            let resolved = reference.resolve(std::path::Path::new("."));
            Some(resolved.map_err(|error| AppError::internal("the administrator's password cannot be read", error))?)
        }
        None => None,
    };
    let password = match &given {
        Some(password) => password.clone(),
        None => new_tenant::one_time_password()?,
    };
    let user = NewUser {
        id: new_id(&*app.clock),
        project_id: root.id,
        email: None,
        username: Some(config.admin_username.clone()),
        first_name: String::new(),
        last_name: String::new(),
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: Some(app.passwords.hash(password.clone()).await?),
        must_change_password: false,
        is_break_glass: true,
    };
    let admin = FirstAdministrator::by_job(app, user, (tenant.id, builtin::PLATFORM_ADMIN), JOB);
    let admin = &admin;
    let made = app.store.write(admin.by(), app.now(), |tx| async move { admin.insert(&tx).await });
    made.await?;
    Ok(given.is_none().then(|| (config.admin_username.clone(), password)))
}

/// The upstream that leads here follows the listener.
async fn upstream(app: &App, way: WayIn) -> Result<(), AppError> {
    let by: Authorized<ManageUpstreams> = Authorized::system(JOB);
    let spec = UpstreamSpec { forward_credentials: true, tls: way.tls, ..UpstreamSpec::to(vec![way.peer]) };
    let new = NewUpstream { id: new_id(&*app.clock), name: CONTROL_API.into(), assertion: AssertionMode::Hmac, spec };
    let (by, new) = (&by, &new);
    let ensured = app.store.write(by, app.now(), |tx| async move {
        match tx.upstream_by_name(CONTROL_API).await? {
            None => Ok(tx.created(tx.insert_upstream(by, new.clone()).await?).await?),
            Some(found) if found.spec.peers == new.spec.peers && found.spec.tls == new.spec.tls => {
                Ok(Audited::unchanged(found))
            }
            Some(mut found) => {
                found.spec.peers.clone_from(&new.spec.peers);
                found.spec.tls.clone_from(&new.spec.tls);
                Ok::<_, StoreError>(tx.updated(tx.update_upstream(by, found).await?).await?)
            }
        }
    });
    ensured.await?;
    Ok(())
}

/// The identity service with its routes, once: what an operator changes stays changed.
async fn identity(app: &App) -> Result<(), AppError> {
    if app.store.service_by_name(IDENTITY).await?.is_some() {
        return Ok(());
    }
    let failed = |reason: String| AppError::internal("policies/identity.yaml", reason);
    let document = Document::parse("policies/identity.yaml", IDENTITY_POLICY).map_err(|m| failed(m.to_string()))?;
    let loaded = link::file::load::<RawFile>(document, &Overrides::none());
    let file = loaded.and_then(Loaded::sound).map_err(|m| failed(m.to_string()))?;
    let no_files = |name: &str| Err(format!("`{name}` is not shipped"));
    let compiled = declarative::compile(&file, ReadAs::Apply, &no_files).map_err(|problems| {
        failed(problems.iter().map(|p| format!("{}: {}", p.pointer, p.message)).collect::<Vec<_>>().join("; "))
    })?;
    let upstream = app.store.upstream_by_name(CONTROL_API).await?.ok_or(AppError::NotFound("upstream"))?;
    let by: Authorized<ManageRoutes> = Authorized::system(JOB);
    let service = compiled.entities.iter().find_map(|entity| match entity {
        Entity::Service(service) if service.name == IDENTITY => Some(service),
        _ => None,
    });
    let service = service.ok_or_else(|| failed("has no service `identity`".into()))?;
    let new = NewService { id: service.id, name: IDENTITY.into(), upstream_id: upstream.id };
    let (by, new) = (&by, &new);
    let made = app.store.write(by, app.now(), |tx| async move {
        let made = tx.created(tx.insert_service(by, new.clone()).await?).await?;
        for rule in &service.routes {
            let route = NewRoute { owner: RouteOwner::Service(new.id), rule: rule.clone(), enabled: true };
            tx.created(tx.insert_route(by, route).await?).await?;
        }
        Ok::<_, StoreError>(made)
    });
    made.await?;
    Ok(())
}

/// A hostname of the platform's own, with the identity routes.
async fn hostname(app: &App, project: &Project, tenant: Option<&Tenant>, name: &HostName) -> Result<(), AppError> {
    if app.store.hostname_by_name(name).await?.is_some() {
        return Ok(());
    }
    let new = hostnames::of_platform(app, project.id, tenant.map(|tenant| tenant.id), name).await?;
    let by: Authorized<ManageHostnames> = Authorized::system(JOB);
    let (by, new) = (&by, &new);
    let made = app
        .store
        .write(by, app.now(), |tx| async move { tx.created(tx.insert_hostname(by, new.clone()).await?).await });
    made.await.map(|_| ()).map_err(|error: StoreError| error.into())
}

fn named(slug: &str) -> Result<Slug, AppError> {
    slug.parse().map_err(|error| AppError::internal("a built-in name is no slug", error))
}

#[test]
fn the_shipped_roles_are_the_built_in_ones() {
    let (shipped, known) = (builtin_roles().unwrap(), builtin::all());
    assert_eq!(shipped.len(), known.len());
    for (shipped, known) in shipped.iter().zip(&known) {
        assert_eq!((&shipped.name, shipped.scope, shipped.admin), (&known.name, known.scope, known.admin));
        assert_eq!((&shipped.permissions, shipped.super_admin), (&known.permissions, known.super_admin));
    }
}
