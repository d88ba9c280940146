//! A small platform to try things on: the root project with its tenant, and the project `cloud` with the tenants `acme`
//! and `globex`, each with a hostname, a member and a service behind it.

use std::time::Duration;

use authz::{Action, Authorized, action::*};
use domain::{
    HostnameId, Id, Permission, ProjectId, ServiceId, TenantId, UpstreamId, UserId,
    model::*,
    snapshot::{Access, KycStatus, PaymentStatus, Peer, Purpose, RoleScope, TenantStatus},
};
use store::{
    Store, StoreError, Tx,
    list::{Listing, Selection},
    read::Lists,
};
use uuid::Uuid;

use crate::harness::{Database, NOW};

pub(crate) const ROOT: ProjectId = Id::new(Uuid::from_u128(0x1));
pub(crate) const CLOUD: ProjectId = Id::new(Uuid::from_u128(0x2));
pub(crate) const STAFF: TenantId = Id::new(Uuid::from_u128(0x10));
pub(crate) const ACME: TenantId = Id::new(Uuid::from_u128(0x11));
pub(crate) const GLOBEX: TenantId = Id::new(Uuid::from_u128(0x12));
pub(crate) const CUSTOMER: domain::CustomerId = Id::new(Uuid::from_u128(0x20));
pub(crate) const ANN: UserId = Id::new(Uuid::from_u128(0x31));
pub(crate) const GUS: UserId = Id::new(Uuid::from_u128(0x32));
pub(crate) const ORDERS: UpstreamId = Id::new(Uuid::from_u128(0x40));
pub(crate) const SHOP: ServiceId = Id::new(Uuid::from_u128(0x50));
pub(crate) const ACME_HOST: HostnameId = Id::new(Uuid::from_u128(0x61));
pub(crate) const GLOBEX_HOST: HostnameId = Id::new(Uuid::from_u128(0x62));

pub(crate) fn system<A: Action>() -> Authorized<A> {
    Authorized::system("test")
}

pub(crate) fn fresh<K>() -> Id<K> {
    Id::new(Uuid::new_v4())
}

/// Makes the world, and numbers what that left in the log.
pub(crate) async fn world(db: &Database) -> Store {
    let by = system::<ManageTenants>();
    db.store.write(&by, NOW, async |tx| populate(&tx).await).await.unwrap();
    db.store.tick(NOW).await.unwrap();
    db.store.clone()
}

async fn populate(tx: &Tx) -> Result<store::Audited<()>, StoreError> {
    let customer = tx.insert_customer(&system(), customer()).await?;
    tx.created(customer).await?;
    for (id, slug, kind) in [(ROOT, "root", ProjectKind::Root), (CLOUD, "cloud", ProjectKind::Shared)] {
        let project = tx.insert_project(&system(), project(id, slug, kind)).await?;
        tx.created(project).await?;
    }
    for (id, project, slug) in [(STAFF, ROOT, "staff"), (ACME, CLOUD, "acme"), (GLOBEX, CLOUD, "globex")] {
        let tenant = tx.insert_tenant(&system(), tenant(id, project, slug)).await?;
        tx.created(tenant).await?;
    }
    let upstream = tx.insert_upstream(&system(), upstream(ORDERS, "orders")).await?;
    tx.created(upstream).await?;
    let service = NewService { id: SHOP, name: "shop".into(), upstream_id: ORDERS };
    tx.created(tx.insert_service(&system(), service).await?).await?;
    for (id, tenant, name) in [(ACME_HOST, ACME, "acme.example.com"), (GLOBEX_HOST, GLOBEX, "globex.example.com")] {
        let hostname = tx.insert_hostname(&system(), hostname(id, tenant, name)).await?;
        tx.created(hostname).await?;
    }
    for (id, tenant, name) in [(ANN, ACME, "ann"), (GUS, GLOBEX, "gus")] {
        let user = tx.insert_user(&system(), user(id, name)).await?;
        tx.created(user).await?;
        let membership = tx.insert_membership(&system(), membership(tenant, id)).await?;
        tx.created(membership).await?;
    }
    Ok(store::Audited::unchanged(()))
}

pub(crate) fn customer() -> NewCustomer {
    NewCustomer {
        id: CUSTOMER,
        code: "initech".into(),
        name: "Initech".into(),
        description: String::new(),
        kind: CustomerKind::Company,
        tenancy: Tenancy::Shared,
        address: None,
        contact: None,
        tax_ids: serde_json::from_str(r#"{"gstin":"27AAPFU0939F1ZV"}"#).unwrap(),
        kyc: KycStatus::Completed,
        kyc_kind: KycKind::Kyb,
        payment: PaymentStatus::Ok,
        is_root: false,
    }
}

pub(crate) fn project(id: ProjectId, slug: &str, kind: ProjectKind) -> NewProject {
    let issuer = format!("https://{slug}.example.com");
    NewProject {
        id,
        slug: slug.parse().unwrap(),
        name: slug.into(),
        kind,
        audiences: vec![issuer.clone()],
        issuer,
        config: serde_json::json!({}),
    }
}

pub(crate) fn tenant(id: TenantId, project_id: ProjectId, slug: &str) -> NewTenant {
    NewTenant {
        id,
        project_id,
        customer_id: CUSTOMER,
        slug: slug.parse().unwrap(),
        name: slug.into(),
        status: TenantStatus::Active,
        claim_state: ClaimState::Claimed,
        plan: Some("pro".into()),
        trial_ends_at: None,
        rate_limit: None,
        principal_rate_limit: None,
        admission: domain::Admission::default(),
        branding: Branding::default(),
    }
}

pub(crate) fn upstream(id: UpstreamId, name: &str) -> NewUpstream {
    let peer = Peer::Socket("127.0.0.1:3000".parse().unwrap());
    NewUpstream { id, name: name.into(), assertion: AssertionMode::Hmac, spec: UpstreamSpec::to(vec![peer]) }
}

pub(crate) fn hostname(id: HostnameId, tenant: TenantId, name: &str) -> NewHostname {
    NewHostname {
        id,
        hostname: name.parse().unwrap(),
        project_id: CLOUD,
        tenant_id: Some(tenant),
        fleet: domain::FleetName::default(),
        purpose: Purpose::App,
        kind: HostnameKind::Platform,
        is_primary: false,
        verify_state: VerifyState::Verified,
        tls_mode: TlsMode::Manual,
        certificate_id: None,
        services: vec![SHOP],
        max_body: None,
        response: Default::default(),
        admission: domain::Admission::default(),
        cors: domain::Cors::default(),
        client_certificates: None,
        challenge: None,
    }
}

/// How long proofs by DNS last here.
pub(crate) const RULES: ProofRules = ProofRules {
    grace: Duration::from_secs(60),
    takeover_after: Duration::from_secs(600),
    quarantine: Duration::from_secs(6000),
};

pub(crate) fn user(id: UserId, name: &str) -> NewUser {
    NewUser {
        id,
        project_id: CLOUD,
        email: Some(format!("{name}@Example.com")),
        username: Some(name.into()),
        first_name: name.into(),
        last_name: String::new(),
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: None,
        must_change_password: false,
        is_break_glass: false,
    }
}

pub(crate) fn membership(tenant_id: TenantId, user_id: UserId) -> Membership {
    Membership {
        id: fresh(),
        project_id: CLOUD,
        tenant_id,
        user_id,
        source: MembershipSource::Added,
        status: MembershipStatus::Active,
        default_ou_id: None,
        created_at: NOW,
    }
}

pub(crate) fn route(owner: RouteOwner, path: &str, methods: &[&str]) -> NewRoute {
    NewRoute {
        owner,
        rule: domain::snapshot::Route {
            id: fresh(),
            path: path.parse().unwrap(),
            methods: methods.iter().map(|m| (*m).into()).collect(),
            access: Access::Authenticated,
            upstream_id: None,
            product: None,
            ou_parameter: None,
            ou_header: None,
            credentials: domain::Credentials::default(),
            on_unproven: None,
            session: false,
            tenant_api: false,
            rate_limit: None,
            max_body: None,
            max_stream: None,
            require: None,
        },
        enabled: true,
    }
}

pub(crate) fn role(tenant: TenantId, scope: RoleScope, name: &str, permissions: &[&str]) -> NewRole {
    NewRole {
        id: fresh(),
        tenant_id: Some(tenant),
        scope,
        name: name.into(),
        description: String::new(),
        permissions: permissions.iter().map(|p| p.parse::<Permission>().unwrap()).collect(),
        admin: false,
        super_admin: false,
    }
}

pub(crate) fn binding(role_id: domain::RoleId, tenant_id: TenantId, user: UserId) -> NewRoleBinding {
    NewRoleBinding { id: fresh(), role_id, subject: RoleSubject::User(user), project_id: CLOUD, tenant_id, ou_id: None }
}

/// The first page of a list.
pub(crate) async fn listed<L: Listing>(store: &Store, of: L::Of) -> Vec<L::Item> {
    store.list::<L>(of, &Selection::default()).await.unwrap().rows
}

/// Runs one audited write as the system; what it borrows is named before the transaction.
macro_rules! change {
    ($store:expr, |$tx:ident $(, $borrowed:ident)*| $write:expr) => {{
        let by = $crate::world::system::<authz::action::ManageTenants>();
        $(let $borrowed = &$borrowed;)*
        $store
            .write(&by, $crate::harness::NOW, |$tx: store::Tx| async move {
                let written = $write.await?;
                $tx.done("changed", written).await
            })
            .await
    }};
}
pub(crate) use change;
