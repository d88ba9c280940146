//! What the edge is told: the wire entity of a row, derived inside the transaction that changed it.
//!
//! Every write method that touches something a gateway knows calls the function of its aggregate here. Each reads the
//! state as the transaction sees it and leaves the entity, or its tombstone, for the next tick. Configuration
//! transactions are serializable, so of two that derive the same entity from each other's rows one is tried again.

use domain::{
    CertificateId, HostnameId, IssuerId, ProductId, ProjectId, RoleId, ServiceId, SigningKeyId, TenantId, UpstreamId,
    client_certificate::{CertificateBinding, CertificatePrincipal},
    model::{AssertionMode, BoundCertificate, KeyPurpose, ProjectStatus, RouteOwner, VerifyState},
    snapshot::{
        Algorithm, Assertion, Certificate, ClientAuthentication, Entity, EntityKey, EntityKind, Hostname, Issuer,
        Origin, Project, Role, Service, Tenant, Upstream,
    },
};
use uuid::Uuid;

use super::{feed, readers};
use crate::{
    StoreError,
    aggregate::{certificate, issuer::Issuers, project, role::Roles, signing_key, upstream},
    read::{
        CertificateBindings, Certificates, Customers, Entitlements, Hostnames, OrgUnits, Projects, Routes, Services,
        SigningKeys, Tenants, Upstreams,
    },
    tx::Work,
    value::{Value, values},
};

/// Whether a change takes something away. Gateways that have not applied it lose their lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    /// Only gives, or changes how.
    Widens,
    /// Takes away: [`domain::fact::Proof::min_revision`] rises to it.
    Narrows,
}

/// Leaves an entity's new state.
async fn leave(work: &Work, entity: &Entity, effect: Effect) -> Result<(), StoreError> {
    let (key, min_reader) = (entity.key(), entity.min_reader());
    if work.is_for_readers() {
        readers::can_read(work, &key, min_reader).await?;
    }
    let (body, sealed) = feed::stored(&work.view, &key, entity)?;
    insert(work, &key, min_reader, effect, (body, sealed)).await
}

/// Leaves an entity's tombstone, if anybody was ever told of it.
async fn bury(work: &Work, kind: EntityKind, id: Uuid) -> Result<(), StoreError> {
    if !feed::is_published(&work.view, kind, id).await? {
        return Ok(());
    }
    insert(work, &EntityKey { kind, id }, 1, Effect::Narrows, (Value::Null, Value::Null)).await
}

async fn insert(
    work: &Work,
    key: &EntityKey,
    min_reader: u32,
    effect: Effect,
    (body, sealed): (Value, Value),
) -> Result<(), StoreError> {
    let (tag, kind, narrows) = (work.tag.0, key.kind.as_str(), effect == Effect::Narrows);
    work.view
        .execute(
            "INSERT INTO pending_changes (tag, kind, entity_id, min_reader, narrows, body, sealed)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            vec![tag.into(), kind.into(), key.id.into(), min_reader.into(), narrows.into(), body, sealed],
        )
        .await?;
    work.note_change();
    Ok(())
}

/// A row that another row of the same transaction promises.
fn there<T>(found: Option<T>, what: &'static str) -> Result<T, StoreError> {
    found.ok_or(StoreError::NotFound { what })
}

pub(crate) async fn project(work: &Work, id: ProjectId, effect: Effect) -> Result<(), StoreError> {
    let project = there(work.view.project(id).await?, "project")?;
    let entity = Project {
        id,
        slug: project.slug.clone(),
        root: project.is_root(),
        suspended: project.status == ProjectStatus::Suspended,
    };
    leave(work, &Entity::Project(entity), effect).await
}

/// A project's own issuer: its published keys that are not retired. Without any there is no issuer.
pub(crate) async fn own_issuer(work: &Work, id: ProjectId, effect: Effect) -> Result<(), StoreError> {
    let project = there(work.view.project(id).await?, "project")?;
    let keys = work.view.published_keys(id, KeyPurpose::Tokens).await?;
    if keys.is_empty() {
        return bury(work, EntityKind::Issuer, project.own_issuer_id().uuid()).await;
    }
    let mut algorithms: Vec<Algorithm> = keys.iter().map(|key| key.algorithm).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let entity = Issuer {
        id: project.own_issuer_id(),
        issuer: project.issuer,
        project_id: id,
        origin: Origin::Own,
        audiences: project.audiences,
        algorithms,
        jwks: project::jwks(&keys),
    };
    leave(work, &Entity::Issuer(entity), effect).await
}

pub(crate) async fn external_issuer(work: &Work, id: IssuerId, effect: Effect) -> Result<(), StoreError> {
    let Some(issuer) = work.view.issuer(id).await? else {
        return bury(work, EntityKind::Issuer, id.uuid()).await;
    };
    let entity = Issuer {
        id,
        issuer: issuer.issuer,
        project_id: issuer.project_id,
        origin: Origin::External(issuer.binding),
        audiences: issuer.audiences,
        algorithms: issuer.algorithms,
        jwks: issuer.jwks,
    };
    leave(work, &Entity::Issuer(entity), effect).await
}

pub(crate) async fn tenant(work: &Work, id: TenantId, effect: Effect) -> Result<(), StoreError> {
    let tenant = there(work.view.tenant(id).await?, "tenant")?;
    let customer = there(work.view.customer(tenant.customer_id).await?, "customer")?;
    let entitled = work.view.entitled(id, work.now).await?;
    let entity = Tenant {
        id,
        project_id: tenant.project_id,
        slug: tenant.slug,
        status: tenant.status,
        kyc: customer.kyc,
        payment: customer.payment,
        plan: tenant.plan,
        quotas: entitled
            .iter()
            .filter(|it| !it.allowed().is_open())
            .map(|it| (it.product.clone().into(), it.allowed()))
            .collect(),
        products: entitled.into_iter().map(|it| (it.product.into(), it.ends_at)).collect(),
        rate_limit: tenant.rate_limit,
        principal_rate_limit: tenant.principal_rate_limit,
        admission: tenant.admission,
        org_units: work.view.org_unit_ids(id).await?.into_iter().collect(),
        generation: tenant.generation,
        cutoff: tenant.cutoff,
    };
    leave(work, &Entity::Tenant(entity), effect).await
}

/// That a tenant is gone with everything of it.
pub(crate) async fn purged_tenant(work: &Work, id: TenantId) -> Result<(), StoreError> {
    bury(work, EntityKind::Tenant, id.uuid()).await
}

/// That a project is gone with everything of it, and its own issuer with it.
pub(crate) async fn purged_project(work: &Work, id: ProjectId) -> Result<(), StoreError> {
    bury(work, EntityKind::Issuer, id.uuid()).await?;
    bury(work, EntityKind::Project, id.uuid()).await
}

pub(crate) async fn role(work: &Work, id: RoleId, effect: Effect) -> Result<(), StoreError> {
    let Some(role) = work.view.role(id).await? else {
        return bury(work, EntityKind::Role, id.uuid()).await;
    };
    let entity = Role {
        id,
        tenant_id: role.tenant_id,
        name: role.name,
        scope: role.scope,
        permissions: role.permissions,
        admin: role.admin,
        super_admin: role.super_admin,
    };
    leave(work, &Entity::Role(entity), effect).await
}

pub(crate) async fn certificate(work: &Work, id: CertificateId, effect: Effect) -> Result<(), StoreError> {
    let Some(certificate) = work.view.certificate(id).await? else {
        return bury(work, EntityKind::Certificate, id.uuid()).await;
    };
    let key_pem = certificate::key(&work.view, id).await?;
    let entity = Certificate { id, chain_pem: certificate.chain_pem, key_pem };
    leave(work, &Entity::Certificate(entity), effect).await
}

pub(crate) async fn upstream(work: &Work, id: UpstreamId, effect: Effect) -> Result<(), StoreError> {
    let Some(upstream) = work.view.upstream(id).await? else {
        return bury(work, EntityKind::Upstream, id.uuid()).await;
    };
    let assertion = match upstream.assertion {
        AssertionMode::Off => Assertion::Off,
        AssertionMode::Hmac => {
            let key = upstream::assertion_keys(&work.view, id).await?.active;
            Assertion::Hmac { key: key.key, kid: key.kid }
        }
        AssertionMode::Eddsa => {
            let (kid, key): (SigningKeyId, _) = signing_key::fleet_key(&work.view).await?;
            Assertion::Eddsa { key, kid: kid.to_string() }
        }
    };
    let spec = upstream.spec;
    let entity = Upstream {
        id,
        name: upstream.name,
        peers: spec.peers,
        tls: spec.tls,
        http2: spec.http2,
        assertion,
        headers: spec.headers,
        host: spec.host,
        forward_credentials: spec.forward_credentials,
        connect_timeout: spec.connect_timeout,
        read_timeout: spec.read_timeout,
        write_timeout: spec.write_timeout,
    };
    leave(work, &Entity::Upstream(entity), effect).await
}

pub(crate) async fn service(work: &Work, id: ServiceId, effect: Effect) -> Result<(), StoreError> {
    let Some(service) = work.view.service(id).await? else {
        return bury(work, EntityKind::Service, id.uuid()).await;
    };
    let routes = work.view.routes(RouteOwner::Service(id)).await?;
    let entity = Service {
        id,
        name: service.name,
        upstream_id: service.upstream_id,
        routes: routes.into_iter().filter(|route| route.enabled).map(|route| route.rule).collect(),
    };
    leave(work, &Entity::Service(entity), effect).await
}

/// A hostname, once it is verified; its tombstone while it is not.
pub(crate) async fn hostname(work: &Work, id: HostnameId, effect: Effect) -> Result<(), StoreError> {
    let found = work.view.hostname(id).await?.filter(|it| it.verify_state == VerifyState::Verified);
    let Some(hostname) = found else {
        return bury(work, EntityKind::Hostname, id.uuid()).await;
    };
    let project = there(work.view.project(hostname.project_id).await?, "project")?;
    let routes = work.view.routes(RouteOwner::Hostname(id)).await?;
    let client_certificates = match hostname.client_certificates {
        Some(certificates) => {
            let bound = work.view.certificate_bindings_of(id).await?;
            Some(ClientAuthentication { certificates, bindings: bound.into_iter().map(on_the_wire).collect() })
        }
        None => None,
    };
    let entity = Hostname {
        id,
        hostname: hostname.hostname,
        project_id: hostname.project_id,
        tenant_id: hostname.tenant_id,
        purpose: hostname.purpose,
        platform: project.is_root(),
        certificate_id: hostname.certificate_id,
        services: hostname.services,
        admission: hostname.admission,
        cors: hostname.cors,
        client_certificates,
        routes: routes.into_iter().filter(|route| route.enabled).map(|route| route.rule).collect(),
        max_body: hostname.max_body,
        response: hostname.response,
    };
    leave(work, &Entity::Hostname(entity), effect).await
}

fn on_the_wire(bound: BoundCertificate) -> CertificateBinding {
    CertificateBinding { id: bound.id, name: bound.name, principal: CertificatePrincipal::User(bound.user_id) }
}

/// What a route belongs to.
pub(crate) async fn owner(work: &Work, owner: RouteOwner, effect: Effect) -> Result<(), StoreError> {
    match owner {
        RouteOwner::Service(id) => service(work, id, effect).await,
        RouteOwner::Hostname(id) => hostname(work, id, effect).await,
    }
}

/// All tenants that may use a product now as much as it says itself.
pub(crate) async fn entitled_to(work: &Work, product: ProductId, effect: Effect) -> Result<(), StoreError> {
    let sql = "SELECT entitlements.tenant_id FROM entitlements JOIN tenants ON tenants.id = entitlements.tenant_id
               WHERE entitlements.product_id = $1 AND entitlements.quota IS NULL AND entitlements.revoked_at IS NULL
                   AND (entitlements.ends_at IS NULL OR entitlements.ends_at > $2) AND tenants.deleted_at IS NULL
               ORDER BY entitlements.tenant_id";
    for id in work.view.all(sql, values![product, work.now], |row| row.at::<TenantId>("tenant_id")).await? {
        tenant(work, id, effect).await?;
    }
    Ok(())
}

/// All tenants of a customer, whose state they share.
pub(crate) async fn tenants_of(work: &Work, customer: domain::CustomerId, effect: Effect) -> Result<(), StoreError> {
    let sql = "SELECT id FROM tenants WHERE customer_id = $1 AND deleted_at IS NULL ORDER BY id";
    for id in work.view.all(sql, values![customer], |row| row.at::<TenantId>("id")).await? {
        tenant(work, id, effect).await?;
    }
    Ok(())
}
