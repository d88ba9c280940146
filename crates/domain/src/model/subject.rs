//! What the audit trail calls a thing.

use serde_json::{Value, json};

use super::{
    ApiKey, Artifact, BoundCertificate, BreakGlass, Certificate, Customer, EmailDomain, Enrolment, Entitlement,
    ExternalIssuer, Group, GroupMember, HelpRequest, Hostname, IdentityProvider, IdentityVerification, Invitation,
    LoginPolicy, MachineClient, Membership, Menu, OrgUnit, Preferences, Product, ProductRequest, Project,
    ProjectCredential, Provisioning, Role, RoleBinding, Route, RouteOwner, Service, Session, SigningKey, Tenant,
    UnitMember, Upstream, User, Webhook,
};
use crate::{
    ProjectId, TenantId,
    audit::{AuditEntry, Crud, Target},
};

/// A thing that audit events are about.
pub trait Subject {
    /// Kind of thing, such as `route`; the first half of an action's name.
    const KIND: &'static str;
    /// Its id.
    fn subject_id(&self) -> String;
    /// Its name now.
    fn subject_name(&self) -> String;
    /// Whose project it is in.
    fn subject_project(&self) -> Option<ProjectId> {
        None
    }
    /// Whose tenant it is in.
    fn subject_tenant(&self) -> Option<TenantId> {
        None
    }
    /// What is worth keeping of its state: names and values, never secrets.
    fn subject_fields(&self) -> Value {
        Value::Object(serde_json::Map::default())
    }
}

impl AuditEntry {
    /// `{kind}.created`, with the thing's state.
    pub fn created(subject: &impl Subject) -> Self {
        Self::of(subject, "created", Crud::C)
    }

    /// `{kind}.updated`, with the thing's new state.
    pub fn updated(subject: &impl Subject) -> Self {
        Self::of(subject, "updated", Crud::U)
    }

    /// `{kind}.deleted`, with the thing's last state.
    pub fn deleted(subject: &impl Subject) -> Self {
        Self::of(subject, "deleted", Crud::D)
    }

    /// `{kind}.{verb}`, such as `tenant.suspended`, with the thing's new state.
    pub fn done(subject: &impl Subject, verb: &str) -> Self {
        Self::of(subject, verb, Crud::U)
    }

    /// The same with these fields instead of the thing's state.
    #[must_use]
    pub fn with_fields(mut self, fields: Value) -> Self {
        self.fields = fields;
        self
    }

    /// The same as something that was tried and failed.
    #[must_use]
    pub fn failed(mut self) -> Self {
        self.is_failure = true;
        self
    }

    fn of<S: Subject>(subject: &S, verb: &str, crud: Crud) -> Self {
        Self {
            action: format!("{}.{verb}", S::KIND),
            crud,
            target: Target { kind: S::KIND.into(), id: subject.subject_id(), name: subject.subject_name() },
            project_id: subject.subject_project(),
            tenant_id: subject.subject_tenant(),
            is_failure: false,
            fields: subject.subject_fields(),
        }
    }
}

macro_rules! subject {
    ($type:ty, $kind:literal, $it:ident => $id:expr, $name:expr, $project:expr, $tenant:expr, $fields:expr) => {
        impl Subject for $type {
            const KIND: &'static str = $kind;
            fn subject_id(&self) -> String {
                let $it = self;
                $id.to_string()
            }
            fn subject_name(&self) -> String {
                let $it = self;
                $name.to_string()
            }
            fn subject_project(&self) -> Option<ProjectId> {
                let $it = self;
                let _ = $it;
                $project
            }
            fn subject_tenant(&self) -> Option<TenantId> {
                let $it = self;
                let _ = $it;
                $tenant
            }
            fn subject_fields(&self) -> Value {
                let $it = self;
                $fields
            }
        }
    };
}

subject!(Customer, "customer", it => it.id, it.code, None, None,
    json!({ "kyc": it.kyc, "payment": it.payment, "tenancy": it.tenancy }));
subject!(Artifact, "artifact", it => it.id, it.kind, None, None,
    json!({ "customer_id": it.customer_id, "kind": it.kind, "reference": it.reference }));
subject!(BreakGlass, "break-glass", it => it.user_id, it.customer_id, Some(it.project_id), Some(it.tenant_id),
    json!({ "customer_id": it.customer_id, "disabled_at": it.disabled_at }));
subject!(Provisioning, "keycloak", it => it.tenant_id, it.tenant_id, Some(it.project_id), Some(it.tenant_id),
    json!({ "steps": it.steps, "attempts": it.attempts }));
subject!(Project, "project", it => it.id, it.slug, Some(it.id), None,
    json!({ "kind": it.kind, "status": it.status, "issuer": it.issuer }));
subject!(ProjectCredential, "project-credential", it => it.id, it.name, Some(it.project_id), None,
    json!({ "kind": it.kind, "public_id": it.public_id,
            "certificate_sha256": it.certificate.as_ref().map(crate::model::CredentialCertificate::hex) }));
subject!(Tenant, "tenant", it => it.id, it.slug, Some(it.project_id), Some(it.id),
    json!({ "status": it.status, "plan": it.plan, "generation": it.generation }));
subject!(Hostname, "hostname", it => it.id, it.hostname, Some(it.project_id), it.tenant_id,
    json!({ "purpose": it.purpose, "verify_state": it.verify_state, "certificate_id": it.certificate_id,
            "fleet": it.fleet, "services": it.services, "client_certificates": it.client_certificates.as_ref().map(|it| it.mode),
            "kind": it.kind, "is_primary": it.is_primary, "failure": it.proof.as_ref().and_then(|proof| proof.failure) }));
subject!(EmailDomain, "email-domain", it => it.id, it.domain, Some(it.project_id), Some(it.tenant_id),
    json!({ "state": it.state, "failure": it.proof.failure }));
subject!(LoginPolicy, "login-policy", it => it.tenant_id, it.tenant_id, Some(it.project_id), Some(it.tenant_id),
    json!({ "methods": it.methods, "require_2fa": it.require_2fa,
        "require_verified_identity": it.require_verified_identity, "idle_s": it.idle_s, "absolute_s": it.absolute_s,
            "lock_after": it.lock_after, "lock_s": it.lock_s, "password": it.password }));
subject!(Certificate, "certificate", it => it.id, it.fingerprint, it.project_id, None,
    json!({ "names": it.names, "not_after": it.not_after, "source": it.source }));
subject!(BoundCertificate, "certificate-binding", it => it.id, it.name, Some(it.project_id), Some(it.tenant_id),
    json!({ "hostname_id": it.hostname_id, "name": it.name, "user_id": it.user_id }));
subject!(Enrolment, "gateway", it => it.id, it.name, None, None,
    json!({ "fleet": it.fleet, "certificate_expires_at": it.certificate_expires_at }));
subject!(Upstream, "upstream", it => it.id, it.name, None, None,
    json!({ "peers": it.spec.peers, "assertion": it.assertion }));
subject!(Service, "service", it => it.id, it.name, None, None, json!({ "upstream_id": it.upstream_id }));
subject!(Route, "route", it => it.rule.id, it.rule.path, None, None,
    json!({ "methods": it.rule.methods, "access": it.rule.access, "enabled": it.enabled,
            "owner": match it.owner { RouteOwner::Service(id) => id.uuid(), RouteOwner::Hostname(id) => id.uuid() } }));
subject!(HelpRequest, "help-request", it => it.id, it.id, Some(it.project_id), Some(it.tenant_id),
    json!({ "status": it.status }));
subject!(IdentityVerification, "identity-verification", it => it.id, it.id, Some(it.project_id), Some(it.tenant_id),
    json!({ "state": it.state, "user_id": it.user_id, "reason": it.reason }));
subject!(MachineClient, "machine-client", it => it.id, it.name, Some(it.project_id), Some(it.tenant_id),
    json!({ "user_id": it.user_id }));
subject!(User, "user", it => it.id, it.display_name(), Some(it.project_id), None, json!({ "status": it.status }));
subject!(Membership, "membership", it => it.id, it.user_id, Some(it.project_id), Some(it.tenant_id),
    json!({ "user_id": it.user_id, "status": it.status }));
subject!(Menu, "menu", it => it.id, it.key, it.owner.project(), it.owner.tenant(),
    json!({ "parent_id": it.parent_id, "title": it.title, "path": it.path, "permission": it.permission,
            "order": it.order }));
subject!(OrgUnit, "org-unit", it => it.id, it.name, Some(it.project_id), Some(it.tenant_id),
    json!({ "description": it.description, "deleted_at": it.deleted_at, "purge_after": it.purge_after }));
subject!(UnitMember, "org-unit-member", it => it.user_id, it.user_id, Some(it.project_id), Some(it.tenant_id),
    json!({ "ou_id": it.ou_id, "role": it.role }));
subject!(Group, "group", it => it.id, it.name, Some(it.project_id), Some(it.tenant_id),
    json!({ "description": it.description }));
subject!(GroupMember, "group-member", it => it.user_id, it.user_id, Some(it.project_id), Some(it.tenant_id),
    json!({ "group_id": it.group_id }));
subject!(IdentityProvider, "identity-provider", it => it.id, it.key, Some(it.project_id), it.tenant_id,
    json!({ "kind": it.kind, "enabled": it.enabled, "client_id": it.client_id, "options": it.options }));
subject!(Invitation, "invitation", it => it.id, it.id, Some(it.project_id), Some(it.tenant_id),
    json!({ "roles": it.roles, "status": it.noted, "expires_at": it.expires_at, "accepted_by": it.accepted_by }));
subject!(Preferences, "preferences", it => it.user_id, it.user_id, Some(it.project_id), Some(it.tenant_id),
    json!({ "names": it.values.len() }));
subject!(Product, "product", it => it.id, it.key, None, None,
    json!({ "name": it.name, "requestable": it.requestable, "trial_days": it.trial_days, "quota": it.quota }));
subject!(Entitlement, "entitlement", it => it.id, it.product, Some(it.project_id), Some(it.tenant_id),
    json!({ "product": it.product, "source": it.source, "ends": it.ends_at, "revoked_at": it.revoked_at }));
subject!(ProductRequest, "product-request", it => it.id, it.product, Some(it.project_id), Some(it.tenant_id),
    json!({ "product": it.product, "kind": it.kind, "status": it.status }));
subject!(Role, "role", it => it.id, it.name, None, it.tenant_id,
    json!({ "scope": it.scope, "permissions": it.permissions }));
subject!(RoleBinding, "role-binding", it => it.id, it.role_id, Some(it.project_id), Some(it.tenant_id),
    json!({ "role_id": it.role_id, "subject": it.subject, "ou_id": it.ou_id }));
subject!(ApiKey, "api-key", it => it.id, it.name, Some(it.project_id), Some(it.tenant_id),
    json!({ "prefix": it.prefix, "owner_id": it.owner_id, "scopes": it.scopes, "networks": it.networks,
            "expires_at": it.expires_at, "disabled_at": it.disabled_at, "revoked_at": it.revoked_at,
            "previous_until": it.previous_until }));
subject!(Session, "session", it => it.sid, it.sid, Some(it.project_id), Some(it.tenant_id),
    json!({ "user_id": it.user_id, "reason": it.end_reason }));
subject!(SigningKey, "signing-key", it => it.kid, it.kid, Some(it.project_id), None,
    json!({ "algorithm": it.algorithm, "state": it.state, "purpose": it.purpose }));
subject!(ExternalIssuer, "issuer", it => it.id, it.issuer, Some(it.project_id), None,
    json!({ "audiences": it.audiences, "algorithms": it.algorithms }));
subject!(Webhook, "webhook", it => it.id, it.id, Some(it.project_id), Some(it.tenant_id),
    json!({ "origin": it.origin(), "events": it.events, "previous_until": it.previous_until,
            "disabled_by": it.disabled.map(|(_, by)| by) }));
