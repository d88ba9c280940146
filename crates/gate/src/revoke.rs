//! Stage 7: was it revoked since, and can we know that?
//!
//! Everything is answered from the local mirror. Only without a lease, or when bindings are not at hand, does a
//! request wait.

use std::sync::{Arc, atomic::Ordering};

use authn::{Lease, mirror::Identity};
use domain::{BootInstant, Clock, fact::Bindings, snapshot::OnUnproven};

use crate::{
    CanonicalRequest, Denial, Gate, LookUp, Trace, api_key, bind,
    link::HeldBindings,
    permit::Shown,
    route::Matched,
    snapshot::Site,
    verify::{Known, Verified},
};

/// A credential that was not revoked, as far as the route asks to know, with what its user may do.
#[derive(Debug)]
pub(crate) enum Active {
    Anonymous,
    Known {
        known: Arc<Known>,
        /// Of our users in a tenant.
        bindings: Option<Arc<HeldBindings>>,
        facts: Shown,
    },
}

/// Admits a verified credential.
///
/// # Errors
/// It was revoked; or nobody can prove that it was not, and the route refuses then; or nobody can say what its user
/// may do.
pub(crate) async fn admit(
    gate: &Gate,
    verified: Verified,
    matched: &Matched,
    site: &Site,
    request: &CanonicalRequest<'_>,
    clock: &dyn Clock,
    trace: &mut Trace,
) -> Result<Active, Denial> {
    let Verified::Known(known, signed) = verified else { return Ok(Active::Anonymous) };
    let (asked, by_slug) = identity(&known, site);
    // The lease is read before the mirror is asked: the lease is granted after the facts it proves are applied.
    let mut last_proven = unproven_since(gate, clock);
    let mut version = clear(gate, &known, &asked, by_slug).await?;
    if last_proven.is_some() {
        gate.link.renewal().await;
        last_proven = unproven_since(gate, clock);
        version = clear(gate, &known, &asked, by_slug).await?;
    }
    if let Some(key) = known.key() {
        api_key::in_force(gate, key, request.client, clock)?;
    }
    let facts = Shown {
        known: Arc::clone(&known),
        // Of a key, as it was cleared.
        identity: if known.key().is_some() { known.identity() } else { asked },
        signed,
        mirror_version: version,
        on_unproven: matched.on_unproven(),
        safe: request.is_safe(),
    };
    if let Some(last_proven) = last_proven {
        without_proof(&facts, last_proven, clock.boot_now())?;
        match gate.link.look_up(facts.identity).await {
            LookUp::Clear => {}
            LookUp::Refused => return Err(Denial::TokenRevoked(authn::Refusal::Token)),
            LookUp::Unavailable => return Err(Denial::RevocationUnproven),
        }
    }
    let bindings = bindings(gate, &known, trace).await?;
    Ok(Active::Known { known, bindings, facts })
}

/// Judges a credential again: its times, the log, the lease. Asks nobody: what the route serves without proof goes on for as
/// long as it says.
pub(crate) fn still_holds(gate: &Gate, facts: &Shown, clock: &dyn Clock) -> Result<(), Denial> {
    facts.known.lasts(clock.unix_now())?;
    let last_proven = unproven_since(gate, clock);
    if gate.mirror.version() != facts.mirror_version {
        gate.mirror.judge(&facts.identity).map_err(Denial::TokenRevoked)?;
    }
    last_proven.map_or(Ok(()), |last_proven| without_proof(facts, last_proven, clock.boot_now()))
}

/// What the log is asked of a credential, and whether its tenant was found by a slug. A foreign token may name it so: which tenant
/// that is, the site says. One it does not know is refused in the next stage.
fn identity(known: &Known, site: &Site) -> (Identity, bool) {
    let identity = known.identity();
    if identity.tenant.is_some() || known.is_own() {
        return (identity, false);
    }
    let tenant = bind::tenant_of(known, site).ok().flatten();
    (Identity { tenant: tenant.map(|tenant| tenant.id), ..identity }, true)
}

/// The mirror's version at which it does not refuse the credential. An API key that the log names is asked about first.
async fn clear(gate: &Gate, known: &Known, identity: &Identity, by_slug: bool) -> Result<u64, Denial> {
    // Read before the look-up: a fact that comes in between is met by the next reader of an older number.
    let version = gate.mirror.version();
    // What a slug names may change without a fact, so that such a token is looked up each time.
    if by_slug || known.cleared_at.load(Ordering::Acquire) != version {
        if let Some(key) = known.key() {
            api_key::refresh(gate, known, key).await?;
        }
        gate.mirror.judge(identity).map_err(Denial::TokenRevoked)?;
        known.cleared_at.store(version, Ordering::Release);
    }
    Ok(version)
}

fn unproven_since(gate: &Gate, clock: &dyn Clock) -> Option<BootInstant> {
    match gate.mirror.lease(clock.boot_now()) {
        Lease::Proven { .. } => None,
        Lease::Unproven { last_proven } => Some(last_proven),
    }
}

/// What the route does when nothing is proven.
fn without_proof(facts: &Shown, last_proven: BootInstant, now: BootInstant) -> Result<(), Denial> {
    let serves = match facts.on_unproven {
        OnUnproven::Refuse => false,
        OnUnproven::ReadOnly => facts.safe,
        OnUnproven::Serve(longest) => last_proven != BootInstant::default() && now.since(last_proven) <= longest.get(),
    };
    if serves { Ok(()) } else { Err(Denial::RevocationUnproven) }
}

/// What our user may do in the tenant: as kept with the credential while the log knows nothing newer.
pub(crate) async fn bindings(
    gate: &Gate,
    known: &Known,
    trace: &mut Trace,
) -> Result<Option<Arc<HeldBindings>>, Denial> {
    let Some((tenant, user)) = known.own_user() else { return Ok(None) };
    let current = |bindings: &Bindings| gate.mirror.bindings_current(tenant, user, bindings);
    if let Some(kept) = known.principal.load().as_ref().and_then(|principal| principal.bindings.as_ref())
        && current(kept)
    {
        return Ok(Some(Arc::clone(kept)));
    }
    let found = gate.link.bindings(tenant, user).await.map_err(|_| Denial::PermissionsUnavailable)?;
    let bindings = Arc::clone(&found.bindings);
    trace.bindings = Some(found);
    // A slow answer never overwrites a demotion that was heard of while it was under way.
    if current(&bindings) { Ok(Some(bindings)) } else { Err(Denial::PermissionsUnavailable) }
}
