//! API keys in stages 6 and 7: sent, or used to sign.
//!
//! A key is state that was read at a place in the log ([`HeldKey`]). What was once verified is kept with the state it was
//! verified by, and used while the log names no newer change of the key; then the key is asked for anew, and the same
//! secret has to be accepted by what it is now. So a warm key costs no question and no hash, and one that was disabled,
//! revoked or rotated is refused with the guarantee of every other revocation.
//!
//! Strangers cost little: a text that is no key is refused by its checksum, and whoever has shown too many wrong ones is
//! refused before anybody is asked.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use authn::{
    KeyError,
    api_key::{self, NotInForce, PresentedKey, is_live},
    issuer::Reading,
    mirror::Identity,
    signature::{self, RawSignature, Signature, SignedParts},
};
use domain::{
    ApiKeyId, ApiKeyState, BootInstant, Clock, CredentialKind, IssuerId, KeyPrefix, Secret, Timestamp,
    api_key::Verifier,
};

use crate::{
    CanonicalRequest, Denial, Gate, Trace,
    failure::Stake,
    link::{HeldKey, Nonce},
    snapshot::Site,
    token_cache::Place,
    verify::{Known, Proof},
};

/// A key that is used all the time is told of this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is left to be seen to of a signed request once its signature holds.
#[derive(Debug)]
pub(crate) struct Signed {
    /// The hash that the body has to have.
    pub(crate) body: [u8; 32],
    key: ApiKeyId,
    nonce: Arc<str>,
    signed_at: Timestamp,
}

/// An API key whose holder was verified.
#[derive(Debug)]
pub(crate) struct KnownKey {
    /// The owner's id.
    pub(crate) subject: Box<str>,
    /// The project's own issuer: whose subject the owner is.
    pub(crate) issuer: Option<IssuerId>,
    /// Whether it was sent or signed with.
    pub(crate) kind: CredentialKind,
    /// What accepted it.
    secret: Secret<Vec<u8>>,
    state: ArcSwap<HeldKey>,
    told_at: AtomicU64,
}

impl KnownKey {
    fn new(state: Arc<HeldKey>, verifier: &Verifier, kind: CredentialKind, site: &Site) -> Self {
        let own = site.issuers.iter().find(|issuer| matches!(issuer.reading, Reading::Own));
        Self {
            subject: state.owner.to_string().into(),
            issuer: own.map(|issuer| issuer.id),
            kind,
            secret: verifier.secret.clone(),
            state: ArcSwap::new(state),
            told_at: AtomicU64::new(0),
        }
    }

    /// The key, as it was last read.
    pub(crate) fn state(&self) -> Arc<HeldKey> {
        self.state.load_full()
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::of_key(&self.state.load())
    }

    /// When it is accepted no more: the key's own end, or that of the secret it was shown with.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        let state = self.state.load();
        let until = accepting(&state, &self.secret).and_then(|verifier| verifier.until);
        [state.expires_at, until].into_iter().flatten().min()
    }

    /// Whether the log names no newer change of it.
    pub(crate) fn is_current(&self, gate: &Gate) -> bool {
        gate.mirror.key_current(&self.state.load())
    }

    pub(crate) fn is_of(&self, site: &Site) -> bool {
        self.state.load().project == site.project.id
    }
}

/// Asks for a key anew where the log names a change of it. The secret it was verified by has to be accepted still.
///
/// # Errors
/// It is gone, or has another secret; or nobody can say.
pub(crate) async fn refresh(gate: &Gate, known: &Known, key: &KnownKey) -> Result<(), Denial> {
    if key.is_current(gate) {
        return Ok(());
    }
    let prefix = key.state.load().prefix.clone();
    let found = Box::pin(look_up(gate, prefix)).await?.ok_or(KeyError::Invalid)?;
    accepting(&found, &key.secret).ok_or(KeyError::Invalid)?;
    // Of two that ask at once, the older answer changes nothing.
    key.state.rcu(|held| {
        let older = held.history == found.history && found.as_of < held.as_of;
        if older { Arc::clone(held) } else { Arc::clone(&found) }
    });
    known.principal.store(None);
    Ok(())
}

/// Whether a key that is held is accepted now, and from this client. Tells of its use, now and then.
///
/// # Errors
/// It is disabled or over, or may not be used from there.
pub(crate) fn in_force(gate: &Gate, key: &KnownKey, client: IpAddr, clock: &dyn Clock) -> Result<(), Denial> {
    let now = clock.unix_now();
    let state = key.state.load();
    accepted_from(&state, client, now)?;
    if !accepting(&state, &key.secret).is_some_and(|verifier| is_live(verifier, now)) {
        return Err(KeyError::Invalid.into());
    }
    let (boot, told) = (clock.boot_now(), key.told_at.load(Ordering::Relaxed));
    let due = told == 0 || boot.since(BootInstant::from_nanos(told)) >= TOLD_EVERY;
    if due && key.told_at.compare_exchange(told, boot.nanos().max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        gate.link.key_used(state.id, now);
    }
    Ok(())
}

fn accepted_from(state: &ApiKeyState, client: IpAddr, now: Timestamp) -> Result<(), Denial> {
    api_key::in_force(state, Some(client), now).map_err(|not| match not {
        NotInForce::Key(error) => error.into(),
        NotInForce::Address => Denial::AddressRefused,
    })
}

fn accepting<'k>(state: &'k ApiKeyState, secret: &Secret<Vec<u8>>) -> Option<&'k Verifier> {
    state.verifiers.iter().find(|verifier| verifier.secret == *secret)
}

/// A bearer key that was verified before, at a hostname of its project.
pub(crate) fn kept(gate: &Gate, text: &str, site: &Site, trace: &mut Trace) -> Option<Arc<Known>> {
    let known = gate.tokens.find(gate.tokens.key(text))?;
    let Proof::Key(key) = &known.proof else { return None };
    if !key.is_of(site) {
        return None;
    }
    gate.tokens.hit();
    trace.token_cached = Some(true);
    trace.known = Some(Arc::clone(&known));
    Some(known)
}

/// Verifies a bearer key.
///
/// # Errors
/// [`KeyError::Invalid`] for every reason; the address has failed too often; or nobody can say.
pub(crate) async fn bearer(
    gate: &Gate,
    text: &str,
    site: &Site,
    request: &CanonicalRequest<'_>,
    clock: &dyn Clock,
    trace: &mut Trace,
) -> Result<Arc<Known>, Denial> {
    gate.tokens.miss();
    trace.token_cached = Some(false);
    let presented = PresentedKey::read(text)?;
    let stake = gate.limits.failures.stake(request, clock)?;
    let (found, stake) = asked(gate, presented.prefix()?, stake).await?;
    let found = found.filter(|key| key.project == site.project.id);
    let accepted = found.and_then(|found| {
        let verifier = presented.accepted(&found, clock.unix_now()).ok()?.clone();
        Some(KnownKey::new(found, &verifier, CredentialKind::ApiKey, site))
    });
    let key = accepted.ok_or(KeyError::Invalid)?;
    stake.held();
    Ok(keep(gate, gate.tokens.key(text), key, clock, trace))
}

/// Verifies a signed request, and says what is left to be seen to: its body and its nonce.
///
/// # Errors
/// [`KeyError`]; the address has failed too often; or nobody can say.
pub(crate) async fn signed(
    gate: &Gate,
    site: &Site,
    request: &CanonicalRequest<'_>,
    clock: &dyn Clock,
    trace: &mut Trace,
) -> Result<(Arc<Known>, Arc<Signed>), Denial> {
    let now = clock.unix_now();
    let signature = Signature::read(&fields(request)?)?;
    signature.in_time(now)?;
    let stake = gate.limits.failures.stake(request, clock)?;
    let parts = SignedParts {
        method: request.method,
        host: &request.host,
        path: &request.path,
        query: request.query.unwrap_or_default(),
    };
    let (found, stake) = asked(gate, signature.key.clone(), stake).await?;
    let found = found.filter(|key| key.project == site.project.id);
    let accepted = found.and_then(|found| {
        let verifier = signature.accepted(&found, &parts, now).ok()?.clone();
        Some((found, verifier))
    });
    let (found, verifier) = accepted.ok_or(KeyError::Invalid)?;
    stake.held();
    let (key, nonce, signed_at) = (found.id, signature.nonce.into(), signature.signed_at);
    let signed = Arc::new(Signed { body: signature.body, key, nonce, signed_at });
    let place = gate.tokens.key_of_parts(&[signature.key.as_bytes(), verifier.secret.expose()]);
    let known = gate.tokens.find(place).filter(|known| matches!(&known.proof, Proof::Key(key) if key.is_of(site)));
    let known = match known {
        Some(known) => {
            gate.tokens.hit();
            trace.token_cached = Some(true);
            trace.known = Some(Arc::clone(&known));
            known
        }
        None => {
            gate.tokens.miss();
            trace.token_cached = Some(false);
            let key = KnownKey::new(found, &verifier, CredentialKind::Signature, site);
            keep(gate, place, key, clock, trace)
        }
    };
    Ok((known, signed))
}

/// Uses up the nonce of a signed request that is permitted: what is refused, by a limit too, leaves nothing behind in the
/// place that all tenants share.
///
/// # Errors
/// It was used before, or may have been; or nobody can say.
pub(crate) async fn use_up(gate: &Gate, signed: &Signed) -> Result<(), Denial> {
    match gate.link.take_nonce(signed.key, signed.nonce.clone(), signed.signed_at).await {
        Nonce::Fresh => Ok(()),
        Nonce::Used => Err(KeyError::SignatureReplayed.into()),
        Nonce::Unavailable => Err(Denial::NoncesUnavailable),
    }
}

fn keep(gate: &Gate, place: Place, key: KnownKey, clock: &dyn Clock, trace: &mut Trace) -> Arc<Known> {
    let known = Arc::new(Known::new(Proof::Key(key), clock.boot_now()));
    trace.known = Some(Arc::clone(&known));
    gate.tokens.keep(place, &known);
    known
}

/// The key that a stranger names: what was staked comes back when nobody can say.
async fn asked<'f>(
    gate: &Gate,
    prefix: KeyPrefix,
    stake: Stake<'f>,
) -> Result<(Option<Arc<HeldKey>>, Stake<'f>), Denial> {
    match look_up(gate, prefix).await {
        Ok(found) => Ok((found, stake)),
        Err(denial) => {
            stake.held();
            Err(denial)
        }
    }
}

/// A key by its public part, as current as the log is applied.
async fn look_up(gate: &Gate, prefix: KeyPrefix) -> Result<Option<Arc<HeldKey>>, Denial> {
    let found = gate.link.api_key(prefix).await.map_err(|_| Denial::KeysUnavailable)?;
    // A slow answer never overwrites what was heard of while it was under way.
    match found {
        Some(key) if !gate.mirror.key_current(&key) => Err(Denial::KeysUnavailable),
        found => Ok(found),
    }
}

/// The five fields, each once.
fn fields<'r>(request: &CanonicalRequest<'r>) -> Result<RawSignature<'r>, KeyError> {
    let field = |name: &str| {
        let mut found = request.headers.get_all(name).iter();
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value.as_bytes()),
            (None | Some(_), _) => Err(KeyError::SignatureMalformed),
        }
    };
    Ok(RawSignature {
        key_id: field(signature::KEY_ID)?,
        timestamp: field(signature::TIMESTAMP)?,
        nonce: field(signature::NONCE)?,
        content_sha256: field(signature::CONTENT_SHA256)?,
        signature: field(signature::SIGNATURE)?,
    })
}
