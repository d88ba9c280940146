//! What gateways are told: the log, proofs, the feed; and which gateways are told anything.
//!
//! [`Hub`] runs the tick and knows who waits for what; [`Plane`] answers gateways over it, in the same process or behind
//! gRPC. There, [`Enrolled`] decides who is answered, and [`Certifier`] gives out the certificates to be known by.

mod admission;
mod enroller;
mod hub;
mod plane;

pub use admission::Enrolled;
pub(crate) use admission::forwards;
pub use enroller::Certifier;
pub use hub::{CLOCK_SKEW, Hub, Laggard, Ticked};
pub use plane::Plane;
