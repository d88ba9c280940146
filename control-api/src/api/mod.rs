//! Handlers and wire types: parse, call, map. One file a resource.

pub mod answer;
pub mod apply;
pub mod audit;
pub mod auth_rpc;
pub mod catalog;
pub mod certificates;
pub mod customers;
pub mod decisions;
pub mod entitlements;
pub mod extract;
pub mod gateways;
pub mod health;
pub mod hostnames;
pub mod idempotency;
pub mod issuers;
pub mod keycloak;
pub mod me;
pub mod members;
pub mod menus;
pub mod navigation;
pub mod permissions;
pub mod products;
pub mod projects;
pub mod role_bindings;
pub mod roles;
pub mod routes;
pub mod services;
pub mod sessions;
pub mod signing_keys;
pub mod tenant_users;
pub mod tenants;
pub mod upstreams;
pub mod users;
pub mod well_known;

pub(crate) mod schema;
