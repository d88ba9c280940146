//! The aggregates: each file holds the SQL of one, reads as a trait over [`crate::tx::Reader`], writes as methods of
//! [`crate::Tx`] or [`crate::SessionTx`].
//!
//! An update takes the whole changed row. Its `version` must be the stored one, so that nobody overwrites what they
//! have not seen; each write checks that it stays in the scope it was authorized for.

pub(crate) mod access;
pub(crate) mod account_deletion;
pub(crate) mod adoption;
pub(crate) mod api_key;
pub(crate) mod audit;
pub(crate) mod binding;
pub(crate) mod break_glass;
pub(crate) mod certificate;
pub(crate) mod certificate_binding;
pub(crate) mod credential;
pub(crate) mod customer;
pub(crate) mod customer_change;
pub(crate) mod decision;
pub(crate) mod email_domain;
pub(crate) mod enrolment;
pub(crate) mod entitlement;
pub(crate) mod favorite;
pub(crate) mod federated_identity;
pub(crate) mod folding;
pub(crate) mod gateway;
pub(crate) mod generation;
pub(crate) mod group;
pub(crate) mod help_request;
pub(crate) mod hostname;
pub(crate) mod hostname_claim;
pub(crate) mod idempotency;
pub(crate) mod identity_provider;
pub(crate) mod identity_verification;
pub(crate) mod invitation;
pub(crate) mod issuer;
pub(crate) mod issuer_fetch;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod login_challenge;
pub(crate) mod login_policy;
pub(crate) mod machine_client;
pub(crate) mod mail_request;
pub(crate) mod membership;
pub(crate) mod menu;
pub(crate) mod oauth_flow;
pub(crate) mod one_time_code;
pub(crate) mod one_time_token;
pub(crate) mod org_unit;
pub(crate) mod outbox;
pub(crate) mod own_password;
pub(crate) mod page;
pub(crate) mod passkey;
pub(crate) mod personal;
pub(crate) mod phone;
pub(crate) mod preference;
pub(crate) mod product;
pub(crate) mod product_request;
pub(crate) mod project;
pub(crate) mod project_credential;
pub(crate) mod proof;
pub(crate) mod provisioning;
pub(crate) mod purge;
pub(crate) mod qr_login;
pub(crate) mod refresh;
pub(crate) mod role;
pub(crate) mod route;
pub(crate) mod service;
pub(crate) mod session;
pub(crate) mod signing_key;
pub(crate) mod tenant;
pub(crate) mod text_count;
pub(crate) mod tie;
pub(crate) mod totp;
pub(crate) mod turn;
pub(crate) mod unit_member;
pub(crate) mod upstream;
pub(crate) mod usage;
pub(crate) mod user;
pub(crate) mod webhook;
pub(crate) mod webhook_announcement;
pub(crate) mod webhook_delivery;

use authz::{Action, Authorized, Scope};
use domain::{ProjectId, model::Version};
use uuid::Uuid;

use crate::{
    StoreError, View,
    value::{Value, values},
};

/// Refuses a write outside the scope it was authorized for.
pub(crate) fn within<A: Action>(by: &Authorized<A>, scope: Scope) -> Result<(), StoreError> {
    if by.scope().contains(scope) { Ok(()) } else { Err(StoreError::OutOfScope) }
}

/// The same for what belongs to a project and is shared by its tenants, such as users: a tenant's administrator may.
pub(crate) fn in_project<A: Action>(by: &Authorized<A>, project: ProjectId) -> Result<(), StoreError> {
    if by.scope().project().is_none_or(|own| own == project) { Ok(()) } else { Err(StoreError::OutOfScope) }
}

/// The smallest scope that holds a thing of this project and, if it has one, tenant.
pub(crate) fn scope_of(project: Option<ProjectId>, tenant: Option<domain::TenantId>) -> Scope {
    match (project, tenant) {
        (Some(project), Some(tenant)) => Scope::Tenant(project, tenant),
        (Some(project), None) => Scope::Project(project),
        (None, _) => Scope::Platform,
    }
}

/// The row a write needs.
pub(crate) fn needed<T>(found: Option<T>, what: &'static str) -> Result<T, StoreError> {
    found.ok_or(StoreError::NotFound { what })
}

/// Runs an `UPDATE … WHERE id = $1 AND version = $2`, `values` being `$3` and on; answers the new version.
pub(crate) async fn swap(
    view: &View,
    what: &'static str,
    table: &'static str,
    (id, expected): (Uuid, Version),
    assignments: &str,
    mut values: Vec<Value>,
) -> Result<Version, StoreError> {
    let mut all = values![id, expected.0];
    all.append(&mut values);
    let sql = format!("UPDATE {table} SET {assignments}, version = version + 1 WHERE id = $1 AND version = $2");
    if view.execute(&sql, all).await? == 1 {
        return Ok(Version(expected.0 + 1));
    }
    let sql = format!("SELECT version FROM {table} WHERE id = $1");
    let found = needed(view.first(&sql, values![id], |row| row.at("version")).await?, what)?;
    Err(StoreError::VersionMismatch { what, expected, found: Version(found) })
}

/// Runs a statement that must touch one row.
pub(crate) async fn one(view: &View, what: &'static str, sql: &str, values: Vec<Value>) -> Result<(), StoreError> {
    if view.execute(sql, values).await? == 0 { Err(StoreError::NotFound { what }) } else { Ok(()) }
}
