//! A whole edge between raw clients and a canary, over real sockets and TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a step that fails is a test that fails, and says where"
)]

mod certificates;
mod clients;
mod command;
mod conf;
mod control_plane;
mod cors;
mod decisions;
mod doors;
mod feed;
mod floods;
mod forwarding;
mod framing;
mod hellos;
mod hosts;
mod identity;
mod limits;
mod paths;
mod patience;
mod process;
mod protocols;
mod record;
mod responses;
mod sizes;
mod status;
mod streams;
mod support;
mod takeover;
mod tokens;
mod upgrades;
