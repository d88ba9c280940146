//! Brings the demo into a node. Every step finds what an earlier start made, so that it can be run again at any point.

mod keys;
mod menus;

use std::{collections::HashMap, net::SocketAddr};

use authz::{
    Authorized,
    action::{ManageCertificates, ManageHostnames, ManageRoleBindings, ManageUsers},
};
use control_api::{
    App, AppError,
    app::{apply, certificates},
};
use domain::{
    Id, ServiceId, TenantId, UserId,
    declarative::{self, Problem, RawFile, RawRoute, ReadAs},
    model::{Membership, MembershipSource, MembershipStatus, NewRoleBinding, NewUser, RoleSubject, UserStatus},
    snapshot::Entity,
};
use link::file::{Document, Mistakes, Overrides};
use store::{Audited, StoreError, read::*};
use uuid::Uuid;

use crate::{
    authority::{AuthorityError, Leaf},
    demo::{CLOUD, CONSOLE, Demo, DemoTenant, DemoUser},
    node::{Node, NodeError, today},
};

/// The demo's routes and roles.
const POLICY: &str = include_str!("../../../policies/demo.yaml");

/// The name in the audit trail.
const JOB: &str = "demo";

/// What the demo tenants stand in front of.
#[derive(Clone, Copy, Debug)]
pub enum Front {
    /// The demo's routes, to the echo or another upstream that answers like it.
    Demo(SocketAddr),
    /// A person's own service, on every path but the identity routes, for who is signed in.
    Own(SocketAddr),
}

impl Front {
    /// Where requests go.
    pub const fn address(&self) -> SocketAddr {
        match self {
            Self::Demo(address) | Self::Own(address) => *address,
        }
    }

    /// A path that it serves to who is signed in.
    pub const fn example_path(&self) -> &'static str {
        match self {
            Self::Demo(_) => "/demo/me",
            Self::Own(_) => "/",
        }
    }
}

/// Why the demo could not be brought in.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum SeedError {
    #[error("the demo's policy cannot be read: {0}")]
    Policy(#[from] Mistakes),
    #[error("the demo's policy cannot be compiled: {}", .0.iter().map(|p| format!("{}: {}", p.pointer, p.message)).collect::<Vec<_>>().join("; "))]
    Compile(Vec<Problem>),
    #[error("a certificate of the demo cannot be made")]
    Certificate(#[from] AuthorityError),
    #[error("the demo cannot be written")]
    Apply(#[from] AppError),
    #[error("the demo cannot be stored")]
    Store(#[from] StoreError),
    #[error("the demo does not reach the edge")]
    Node(#[from] NodeError),
}

/// Brings the demo in and waits until the edge serves it.
///
/// # Errors
/// [`SeedError`].
pub async fn demo(node: &Node, demo: &Demo, front: &Front) -> Result<(), SeedError> {
    let app = node.app();
    let entities = entities(node, front).await?;
    let port = node.endpoint().port();
    let (_, commit) = apply::apply(app, &apply::Writer::system(JOB), &entities, &[], Some(port)).await?;
    let ticked = app.hub.number(Some(commit)).await.map_err(AppError::from)?;
    for tenant in &demo.tenants {
        for user in &tenant.users {
            ensure_user(app, tenant, user).await?;
        }
        keys::ensure(app, tenant).await?;
        menus::ensure_tenants(app, &tenant.slug).await?;
    }
    menus::ensure_staffs(app).await?;
    for hostname in [CONSOLE, CLOUD] {
        ensure_certificate(node, hostname).await?;
    }
    let ticked = app.hub.tick().await.map_err(AppError::from)?.revision.max(ticked.revision);
    node.applied(ticked).await?;
    Ok(())
}

/// A fresh certificate for one of the platform's own hostnames.
async fn ensure_certificate(node: &Node, name: &str) -> Result<(), SeedError> {
    let app = node.app();
    let leaf = node.authority().leaf(name, today(&*app.clock))?;
    let parsed = name.parse().map_err(|_| AppError::NotFound("hostname"))?;
    let found = app.store.hostname_by_name(&parsed).await?.ok_or(AppError::NotFound("hostname"))?;
    let new = certificates::read_upload(app, found.project_id, &parsed, leaf.chain_pem, leaf.key_pem.into())?;
    let by: Authorized<ManageHostnames> = Authorized::system(JOB);
    let certificates_by: Authorized<ManageCertificates> = Authorized::system(JOB);
    let (by, certificates_by, new) = (&by, &certificates_by, &new);
    app.store
        .write(by, app.now(), |tx| async move {
            let certificate = tx.created(tx.insert_certificate(certificates_by, new.clone()).await?).await?;
            let mut hostname = tx.hostname(found.id).await?.ok_or(StoreError::NotFound { what: "hostname" })?;
            hostname.certificate_id = Some(certificate.peek().id);
            tx.done("certificate_replaced", tx.update_hostname(by, hostname).await?).await
        })
        .await?;
    Ok(())
}

async fn entities(node: &Node, front: &Front) -> Result<Vec<Entity>, SeedError> {
    let document = Document::parse("policies/demo.yaml", POLICY)?;
    let mut file = link::file::load::<RawFile>(document, &Overrides::none())?.sound()?;
    for upstream in &mut file.upstreams {
        upstream.peers = vec![front.address().to_string()];
    }
    if let Front::Own(_) = front {
        for service in &mut file.services {
            service.routes = vec![own_route()];
        }
    }
    let today = today(&*node.app().clock);
    let mut pems: HashMap<String, String> = HashMap::new();
    for hostname in &file.hostnames {
        let Leaf { chain_pem, key_pem } = node.authority().leaf(&hostname.hostname, today)?;
        pems.insert(format!("{}.crt", hostname.hostname), chain_pem);
        pems.insert(format!("{}.key", hostname.hostname), key_pem);
    }
    let read = |name: &str| pems.get(name).cloned().ok_or_else(|| format!("the demo makes no `{name}`"));
    let mut entities = declarative::compile(&file, ReadAs::Apply, &read).map_err(SeedError::Compile)?.entities;
    let identity = identity_service(node.app()).await?;
    for entity in &mut entities {
        if let Entity::Hostname(hostname) = entity {
            hostname.services.extend(identity);
        }
    }
    Ok(entities)
}

/// Every path, for who is signed in.
fn own_route() -> RawRoute {
    RawRoute {
        path: "/**".into(),
        methods: Vec::new(),
        access: Some(declarative::RawAccess::Authenticated),
        permission: None,
        platform: None,
        upstream: None,
        product: None,
        ou_parameter: None,
        ou_header: None,
        credentials: None,
        on_unproven: None,
        rate_limit: None,
        max_body: None,
        max_stream: None,
        require: None,
        session: false,
        tenant_api: false,
    }
}

async fn identity_service(app: &App) -> Result<Option<ServiceId>, SeedError> {
    Ok(app.store.service_by_name(control_api::bootstrap::IDENTITY).await?.map(|service| service.id))
}

/// Makes a user with a membership and the roles of its name, all of it or nothing.
async fn ensure_user(app: &App, tenant: &DemoTenant, user: &DemoUser) -> Result<(), SeedError> {
    let stored = app.store.tenant_by_slug(&tenant.slug).await?.ok_or(AppError::NotFound("tenant"))?;
    if app.store.user_by_login(stored.project_id, &user.username).await?.is_some() {
        return Ok(());
    }
    let roles = app.store.roles_of_tenant(stored.id, store::Page::WIDEST).await?;
    let wanted = [user.role.clone(), format!("demo_{}", user.role)];
    let roles: Vec<_> = roles.into_iter().filter(|role| wanted.contains(&role.name)).map(|role| role.id).collect();
    let hash = app.passwords.hash(domain::Secret::new(user.password.clone())).await?;
    let by: Authorized<ManageUsers> = Authorized::system(JOB);
    let grants_by: Authorized<ManageRoleBindings> = Authorized::system(JOB);
    let user_id: UserId = Id::new(Uuid::new_v4());
    let tenant_id: TenantId = stored.id;
    let new = NewUser {
        id: user_id,
        project_id: stored.project_id,
        email: Some(format!("{}@{}.example", user.username, tenant.slug)),
        username: Some(user.username.clone()),
        first_name: user.username.clone(),
        last_name: tenant.slug.clone(),
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: Some(hash),
        must_change_password: false,
        is_break_glass: false,
    };
    let (by, grants_by, new, roles) = (&by, &grants_by, &new, &roles);
    app.store
        .write(by, app.now(), |tx| async move {
            tx.created(tx.insert_user(by, new.clone()).await?).await?;
            let membership = Membership {
                id: Id::new(Uuid::new_v4()),
                project_id: new.project_id,
                tenant_id,
                user_id,
                source: MembershipSource::Bootstrap,
                status: MembershipStatus::Active,
                default_ou_id: None,
                created_at: app.now(),
            };
            tx.created(tx.insert_membership(by, membership).await?).await?;
            for role_id in roles {
                let binding = NewRoleBinding {
                    id: Id::new(Uuid::new_v4()),
                    role_id: *role_id,
                    subject: RoleSubject::User(user_id),
                    project_id: new.project_id,
                    tenant_id,
                    ou_id: None,
                };
                tx.created(tx.insert_role_binding(grants_by, binding).await?).await?;
            }
            Ok::<_, StoreError>(Audited::unchanged(()))
        })
        .await?;
    Ok(())
}
