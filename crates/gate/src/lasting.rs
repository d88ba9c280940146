//! A permit that lasts, judged again.
//!
//! Between a decision and the moment its request is sent on, and for as long as its stream goes on, everything it was
//! made from may change: the token may be revoked or expire, the lease run out, the tenant be suspended, the route go or
//! ask for more, a role be narrowed or taken away, the issuer lose its key. Credential, log and lease are looked at each time;
//! the rest only when the snapshot has changed since, or the log names a change of the user's bindings. Then the request
//! is judged by the stages that judged it first, against what is in force now. Limits are not spent again.

use std::sync::{Arc, atomic::Ordering};

use domain::Clock;

use crate::{
    Denial, Gate, Permit, Trace, admit, api_key, authorize, bind, certificate, permit::Shown, revoke, revoke::Active,
    route, snapshot::route::CompiledRoute, tenant, verify,
};

/// Judges a permit again.
///
/// # Errors
/// The [`Denial`] that the same request would now meet.
pub(crate) async fn still_holds(gate: &Gate, permit: &Permit, path: &str, clock: &dyn Clock) -> Result<(), Denial> {
    // Before anything is read of the snapshot, as in `decide`.
    let changes = gate.snapshot.changes();
    if let Some(facts) = &permit.shown {
        revoke::still_holds(gate, facts, clock)?;
        // Whoever met the fact first has read the key anew for all that came by it.
        if let Some(key) = facts.known.key() {
            api_key::in_force(gate, key, permit.client, clock)?;
        }
    }
    // What a list that is out of date means, its hostname says.
    let in_time = permit.certificate.as_ref().is_none_or(|shown| shown.is_in_time(clock));
    if in_time && changes == permit.judged_at.load(Ordering::Acquire) && is_current(gate, permit) {
        return Ok(());
    }
    let mut trace = Trace::default();
    let site = tenant::of(&gate.snapshot, &permit.host, &mut trace)?;
    admit::addresses(&site, permit.client)?;
    certificate::demanded(&site, permit.certificate.as_ref(), clock)?;
    let matched = route::find(&site, permit.method, path, permit.safe, &mut trace)?;
    let active = match &permit.shown {
        None => Active::Anonymous,
        Some(facts) => {
            let known = Arc::clone(&facts.known);
            verify::still_believed(&known, &site, clock)?;
            if let Some(key) = known.key() {
                api_key::refresh(gate, &known, key).await?;
                api_key::in_force(gate, key, permit.client, clock)?;
            }
            let bindings = revoke::bindings(gate, &known, &mut trace).await?;
            Active::Known { known, bindings, facts: Shown::clone(facts) }
        }
    };
    let bound = bind::to_site(active, &site, &matched, (permit.client, permit.safe), clock, &mut trace)?;
    let named = |route: &CompiledRoute| Ok(authorize::unit_again(route, permit, path));
    authorize::judge(&bound, &matched, (permit.method, clock), named, &mut None)?;
    permit.judged_at.store(changes, Ordering::Release);
    Ok(())
}

/// Whether the log names no newer change of what the permit's principal may do, nor of its API key.
fn is_current(gate: &Gate, permit: &Permit) -> bool {
    let key = permit.shown.as_ref().and_then(|shown| shown.known.key());
    if key.is_some_and(|key| !key.is_current(gate)) {
        return false;
    }
    let bindings = permit.identity.as_ref().and_then(|principal| principal.bindings.as_ref());
    let user = permit.shown.as_ref().and_then(|facts| facts.identity.tenant.zip(facts.identity.user));
    match (bindings, user) {
        (Some(bindings), Some((tenant, user))) => gate.mirror.bindings_current(tenant, user, bindings),
        (None, _) | (_, None) => true,
    }
}
