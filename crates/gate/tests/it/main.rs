//! The gate from outside: whole decisions, without a socket.

mod allocations;
mod codes;
mod forward;
mod life_cycle;
mod permissions;
mod revocation;
mod routes;
mod snapshot;
mod tokens;
mod world;
