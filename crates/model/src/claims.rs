//! What must never be, on a route that refuses without proof; and what must be possible.

use stateright::Property;

use crate::{
    Mutant, Protocol,
    state::{Gateway, LEASE, Said, Stage, State},
};

/// No gateway accepts once the caller was told so: after the 200, and after the time that a 202 names.
pub const ANSWERED: &str = "no gateway accepts after the answer";

/// No gateway accepts later than a lease after the commit, whoever was told what.
pub const BOUNDED: &str = "no gateway accepts later than a lease after the commit";

/// The claims, and what shows that they do not hold for want of movement.
pub(crate) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always(ANSWERED, |protocol: &Protocol, state: &State| {
            !accepted(protocol, state, |stage| matches!(stage, Stage::Committed { said: Said::NoneAfter(0), .. }))
        }),
        Property::always(BOUNDED, |protocol: &Protocol, state: &State| {
            !accepted(protocol, state, |stage| matches!(stage, Stage::Committed { age: LEASE, .. }))
        }),
        Property::sometimes("a gateway accepts what was revoked a moment ago", |protocol: &Protocol, state: &State| {
            accepted(protocol, state, |stage| matches!(stage, Stage::Committed { age: 1, .. }))
        }),
        Property::sometimes("a call answers at once while all gateways serve", |_: &Protocol, state: &State| {
            state.gateways.iter().all(|gateway| gateway.lease == LEASE)
                && state
                    .revocations
                    .iter()
                    .all(|revocation| matches!(revocation.stage, Stage::Committed { age: 0, said: Said::NoneAfter(0) }))
        }),
        Property::sometimes("a call names the time of a gateway that is behind", |_: &Protocol, state: &State| {
            state.revocations.iter().any(|revocation| {
                matches!(revocation.stage, Stage::Committed { said: Said::NoneAfter(left), .. } if left > 0)
            })
        }),
    ]
}

/// Whether some gateway would accept now what was revoked and has come that far.
fn accepted(protocol: &Protocol, state: &State, far: impl Fn(&Stage) -> bool) -> bool {
    let revocations = state.revocations.iter().enumerate().filter(|(_, revocation)| far(&revocation.stage));
    revocations
        .into_iter()
        .any(|(fact, _)| state.gateways.iter().any(|gateway| accepts(protocol, state, gateway, fact)))
}

fn accepts(protocol: &Protocol, state: &State, gateway: &Gateway, fact: usize) -> bool {
    let by_redis = protocol.is(Mutant::LookUpWithoutProof) && !state.redis.has(fact);
    !gateway.applied.has(fact) && (gateway.lease > 0 || by_redis)
}
