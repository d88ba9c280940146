//! End to end: the real `portcullis` process, its edge, its control API, its database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod account;
mod api_keys;
mod assertions;
mod browser;
mod certificates;
mod cli;
mod cli_login;
mod clients;
mod conf;
mod database;
mod demo;
mod durability;
mod enrolment;
mod explain;
mod faults;
mod fleet;
mod fleet_keys;
mod framing;
mod full_disk;
mod headers;
mod hostnames;
mod identity;
mod installation;
mod key_rotation;
mod live_changes;
mod machine_clients;
mod node;
mod operator;
mod policies;
mod postgres;
mod probing;
mod process;
mod quotas;
mod rpc;
mod staff;
mod start;
mod step_up;
mod takeover;
mod tenant_states;
mod three_ways;
mod traces;
mod units;
mod walk;
mod world;
