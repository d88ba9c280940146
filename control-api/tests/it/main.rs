//! The control API over its real routers: SQLite for everything, PostgreSQL for what depends on the database.

mod audit;
mod boundary;
mod catalogue;
mod edge_door;
mod gateways;
mod idempotency;
mod login;
mod logout;
mod openapi;
mod refresh;
mod support;
mod tenants;
