//! Use cases: authorize, transact, audit. One file a resource; names are the same in [`crate::router`], `api` and here.

pub mod apply;
pub mod audit;
pub mod certificates;
pub mod customers;
pub mod gateways;
pub mod hostnames;
pub mod issuers;
pub mod login;
pub mod me;
pub mod members;
pub mod menus;
pub mod navigation;
pub mod permissions;
pub mod projects;
pub mod role_bindings;
pub mod roles;
pub mod routes;
pub mod services;
pub mod sessions;
pub mod signing_keys;
pub mod site;
pub mod switch;
pub mod tenants;
pub mod tokens;
pub mod upstreams;
pub mod users;
