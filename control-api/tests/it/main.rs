//! The control API over its real routers: SQLite for everything, PostgreSQL for what depends on the database.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a step that fails is a test that fails, and says where"
)]

mod account;
mod adoption;
mod api_keys;
mod apply;
mod audit;
mod audit_reports;
mod auth_rpc;
mod bootstrap;
mod boundary;
mod break_glass;
mod catalogue;
mod certificates;
mod customers;
mod decisions;
mod docs;
mod edge_door;
mod email_domains;
mod enrolment;
mod export;
mod gateways;
mod groups;
mod help_requests;
mod history;
mod hostnames;
mod idempotency;
mod identity_verifications;
mod invitations;
mod issuer_keys;
mod key_server;
#[cfg(feature = "kms-aws")]
mod kms;
mod letters;
mod life_cycle;
mod lists;
mod login;
mod logout;
mod machine_clients;
mod mail;
mod matrix;
mod me;
mod menus;
mod names;
mod oauth;
mod openapi;
mod org_units;
mod outbox;
mod own_password;
mod passkey_signup;
mod passkey_step_up;
mod passkeys;
mod passwordless;
mod people;
mod permission_cache;
mod phone;
mod products;
mod project_certificates;
mod project_keys;
mod provisioning;
mod qr_login;
mod rates;
mod receiver;
mod refresh;
mod require_2fa;
mod second_factor;
mod signing_keys;
mod signup;
mod support;
mod switch;
mod tenants;
mod user_import;
mod webhooks;
