//! What the mirror costs, counted.

#![allow(clippy::unwrap_used, reason = "tests")]

mod memory;
