//! What gateways are told: the log, proofs, the feed.
//!
//! [`Hub`] runs the tick and knows who waits for what; [`Plane`] answers gateways over it, in the same process or behind
//! gRPC.

mod hub;
mod plane;

pub use hub::{CLOCK_SKEW, Hub, Laggard, Ticked};
pub use plane::Plane;
