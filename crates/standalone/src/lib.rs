//! Gateway, control API and SQLite in one process: what the `portcullis` command runs, its demo, and the home of the
//! end-to-end tests.

pub mod admin;
pub mod announce;
pub mod apply;
pub mod audit;
pub mod authority;
pub mod config;
pub mod demo;
pub mod echo;
pub mod explain;
pub mod import;
pub mod keys;
pub mod node;
pub mod resources;
pub mod rpc;
pub mod seed;
