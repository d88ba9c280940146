//! End to end: the real `portcullis` process, its edge, its control API, its database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod account;
mod api_keys;
mod assertions;
mod certificates;
mod clients;
mod conf;
mod database;
mod demo;
mod durability;
mod enrolment;
mod explain;
mod faults;
mod fleet;
mod framing;
mod headers;
mod hostnames;
mod installation;
mod key_rotation;
mod live_changes;
mod node;
mod operator;
mod policies;
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
mod world;
