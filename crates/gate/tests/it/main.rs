//! The gate from outside: whole decisions, without a socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod admission;
mod allocations;
mod api_keys;
mod certificates;
mod codes;
mod cors;
mod explain;
mod fact_table;
mod forward;
mod lasting;
mod life_cycle;
mod limits;
mod permissions;
mod quotas;
mod redaction;
mod revocation;
mod routes;
mod snapshot;
mod step_up;
mod tokens;
mod units;
mod world;
