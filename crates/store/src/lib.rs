//! The SQL store of the control plane, on PostgreSQL and SQLite.
//!
//! ```text
//! store.tenant(id)                       reads: on the store, a view or a transaction (traits in [`read`])
//! store.write(&by, now, |tx| …)          configuration: change + audit + facts + change log, or nothing
//! store.write_session(scope, now, |tx| …) session state: change + facts + security events
//! store.tick(now)                        numbers what was committed; then gateways can prove how current they are
//! ```
//!
//! Aggregates are written once, in SQL that both databases read (`src/aggregate/`); the databases meet at one small
//! seam (`src/driver.rs`). What the edge must know is derived inside the transaction of the change (`src/log/`), so no
//! caller can forget it. Secrets are sealed before they reach the database ([`seal`]).
//!
//! Two walls keep tenants apart: each statement names its tenant or project, and on PostgreSQL row level security
//! confines each transaction to the scope it was begun with ([`Store::within`], `by.scope()`).

mod aggregate;
mod driver;
mod error;
mod log;
mod postgres;
pub mod reseal;
pub mod seal;
mod sqlite;
mod store;
mod tx;
mod undo;
mod value;

pub use aggregate::{
    access::{AccessKept, AccessQuery, KeptAccess},
    audit::{AuditQuery, Reported},
    binding::Administrators,
    decision::{DecisionsKept, KeptDecision},
    gateway::KnownGateway,
    idempotency::{Claim, KeptClaims, StoredResponse},
    identity_provider::serves_others,
    issuer_fetch::{Fetched, IssuerFetch, MIN_INTERVAL as MIN_FETCH_INTERVAL, no_keys},
    login::{LockPolicy, LoginFailures, LoginSubject},
    login_policy::StrictestLock,
    own_password::Replaced,
    page::Page,
    personal::{PersonalPlace, tables_of_people},
    phone::PhoneProven,
    proof::{Look, Noted},
    purge::{PurgeDue, purged_tables, tenant_tables},
    refresh::Consumed,
    text_count::{SpentBound, TextBound},
    webhook_announcement::{Announced, MAX_PENDING},
    webhook_delivery::{DeliveryQuery, MAX_REPLAYED, Replay, Sent},
};
pub use error::StoreError;
pub use log::{
    chain::ChainReport,
    chain_row::{Broken, ChainedRow, ERASED, Verifier},
    erasure::AuditErasure,
    facts::Standing,
    feed::{Delta, Snapshot},
    retention::Checkpoint,
    tick::Tick,
    unsealed::UnsealedHeads,
};
pub use postgres::PostgresConfig;
pub use seal::{MASTER_KEY_BYTES, Sealer};
pub use store::Store;
pub use tx::{Audited, Commit, SessionTx, Tx, Unaudited, View};

/// Lists that are filtered, sorted and paged.
pub mod list {
    pub use crate::aggregate::{
        api_key::ApiKeyList,
        binding::RoleBindingList,
        certificate::CertificateList,
        certificate_binding::CertificateBindingList,
        customer::CustomerList,
        customer_change::{ArtifactList, CustomerHistory},
        email_domain::EmailDomainList,
        entitlement::EntitlementList,
        gateway::GatewayList,
        group::{GroupList, GroupMemberList},
        help_request::HelpRequestList,
        hostname::HostnameList,
        identity_provider::{ProjectProviderList, TenantProviderList},
        identity_verification::IdentityVerificationList,
        invitation::InvitationList,
        issuer::IssuerList,
        list::{Filter, Listing, MAX_SEARCH, Owner, Selection, Slice, Sortable, Takes, WrongParameter},
        machine_client::MachineClientList,
        membership::MemberList,
        menu::MenuList,
        org_unit::{DeletedOrgUnitList, OrgUnitList, UserUnitList},
        product::{CatalogList, ProductList},
        product_request::ProductRequestList,
        project::ProjectList,
        project_credential::ProjectCredentialList,
        role::RoleList,
        route::RouteList,
        service::ServiceList,
        session::SessionList,
        signing_key::SigningKeyList,
        tenant::{CustomerTenantList, TenantList},
        unit_member::UnitMemberList,
        upstream::UpstreamList,
        user::UserList,
        webhook::WebhookList,
    };
    pub use crate::log::erasure::AuditErasureList;
}

/// The read traits, one per aggregate: `use store::read::*`.
pub mod read {
    pub use crate::{
        aggregate::{
            access::Accesses, account_deletion::AccountDeletions, api_key::ApiKeys, audit::AuditTrail,
            binding::RoleBindings, break_glass::BreakGlasses, certificate::Certificates,
            certificate_binding::CertificateBindings, customer::Customers, decision::Decisions,
            email_domain::EmailDomains, enrolment::Enrolments, entitlement::Entitlements, favorite::Favorites,
            federated_identity::FederatedIdentities, gateway::Gateways, group::Groups, help_request::HelpRequests,
            hostname::Hostnames, idempotency::Responses, identity_provider::IdentityProviders,
            identity_verification::IdentityVerifications, invitation::Invitations, issuer::Issuers,
            issuer_fetch::IssuerFetches, list::Lists, login::Logins, login_challenge::LoginChallenges,
            login_policy::LoginPolicies, machine_client::MachineClients, membership::Memberships, menu::Menus,
            oauth_flow::OauthFlows, one_time_token::OneTimeTokens, org_unit::OrgUnits, outbox::Outbox,
            own_password::PasswordHistory, passkey::Passkeys, personal::PersonalData, phone::PhoneNumbers,
            preference::PreferencesOf, product::Products, product_request::ProductRequests, project::Projects,
            project_credential::ProjectCredentials, proof::Proofs, provisioning::Provisionings, purge::Purges,
            qr_login::QrLogins, refresh::RefreshTokens, role::Roles, route::Routes, service::Services,
            session::Sessions, signing_key::SigningKeys, tenant::Tenants, totp::Authenticators,
            unit_member::UnitMembers, upstream::Upstreams, usage::Usages, user::Users, webhook::Webhooks,
            webhook_announcement::Announcements, webhook_delivery::Deliveries,
        },
        log::{facts::Facts, feed::Feed},
        tx::Reader,
    };
}
