//! What gateways are told: the log, proofs, the feed; which gateways are told anything; and what services are.
//!
//! [`Answers`] tells services about tokens and rights over gRPC, as `api::auth_rpc` does over REST.
//!
//! [`Hub`] runs the tick and knows who waits for what; [`Plane`] answers gateways over it, in the same process or behind
//! gRPC. There, [`Enrolled`] decides who is answered, and [`Certifier`] gives out the certificates to be known by.

mod admission;
mod answers;
mod enroller;
mod hub;
mod plane;

pub use admission::Enrolled;
pub(crate) use admission::forwards;
pub use answers::Answers;
pub use enroller::Certifier;
pub use hub::{CLOCK_SKEW, Hub, Laggard, Ticked};
pub use plane::Plane;
