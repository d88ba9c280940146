//! Stage 6: the credential is believed, or it is not. Verified tokens are kept, so that a warm request checks no
//! signature.

use std::sync::{Arc, atomic::AtomicU64};

use arc_swap::ArcSwapOption;
use authn::{
    CertificateError, ContextKind, Issuer, KeyError, TokenError, VerifiedToken,
    issuer::Reading,
    mirror::Identity,
    verify::{CLOCK_SKEW, Presented, TenantClaim, TokenKind},
};
use domain::{Assurance, BootInstant, Clock, CredentialKind, TenantId, Timestamp, UserId};

use crate::{
    CanonicalRequest, Denial, Gate, Trace, api_key,
    api_key::{KnownKey, Signed},
    certificate::{self, Certified},
    credential::Credential,
    identity::Principal,
    snapshot::{Site, TenantInfo, TenantMap},
};

/// A verified credential with what was made of it so far. The stages after this one ask it what they need and do not
/// look at its kind (`docs/adr/0015-a-credential-of-any-kind-is-known-by-one-type.md`).
#[derive(Debug)]
pub(crate) struct Known {
    /// What it is.
    pub(crate) proof: Proof,
    /// When this gateway verified it.
    pub(crate) verified_at: BootInstant,
    /// The mirror's version when it last did not refuse this credential.
    pub(crate) cleared_at: AtomicU64,
    /// Who it is here, as last resolved; checked for currency at each use.
    pub(crate) principal: ArcSwapOption<Principal>,
}

/// What was verified, by kind.
#[derive(Debug)]
pub(crate) enum Proof {
    /// A token: signature, issuer, audience and times held.
    Token(VerifiedToken),
    /// An API key: its holder has its secret.
    Key(KnownKey),
    /// A client certificate: the hostname's authorities believe it, and one binding says who acts.
    Certificate(Certified),
}

/// What stage 6 hands on.
#[derive(Debug)]
pub(crate) enum Verified {
    Anonymous,
    /// With what is left to be seen to of a signed request.
    Known(Arc<Known>, Option<Arc<Signed>>),
}

/// Verifies a credential for a site. Ready at once for what is known already, but for signed requests.
///
/// # Errors
/// [`Denial::Token`], [`Denial::Key`], or the address has failed too often; or nobody can say.
pub(crate) async fn verify(
    gate: &Gate,
    credential: Credential<'_>,
    site: &Site,
    request: &CanonicalRequest<'_>,
    clock: &dyn Clock,
    trace: &mut Trace,
) -> Result<Verified, Denial> {
    match credential {
        Credential::Anonymous => Ok(Verified::Anonymous),
        Credential::Token(text) => Ok(Verified::Known(token(gate, text, site, request, clock, trace)?, None)),
        Credential::ApiKey(text) => match api_key::kept(gate, text, site, trace) {
            Some(known) => Ok(Verified::Known(known, None)),
            None => {
                let known = Box::pin(api_key::bearer(gate, text, site, request, clock, trace)).await?;
                Ok(Verified::Known(known, None))
            }
        },
        Credential::Signature => {
            let (known, signed) = Box::pin(api_key::signed(gate, site, request, clock, trace)).await?;
            Ok(Verified::Known(known, Some(signed)))
        }
        Credential::Certificate(shown) => {
            let known = certificate::verify(shown, site, clock)?;
            trace.known = Some(Arc::clone(&known));
            Ok(Verified::Known(known, None))
        }
    }
}

/// Verifies a bearer token, or knows it.
fn token(
    gate: &Gate,
    text: &str,
    site: &Site,
    request: &CanonicalRequest<'_>,
    clock: &dyn Clock,
    trace: &mut Trace,
) -> Result<Arc<Known>, Denial> {
    let now = clock.unix_now();
    let cache = &gate.tokens;
    let key = cache.key(text);
    if let Some(known) = cache.find(key)
        && let Proof::Token(token) = &known.proof
        // An issuer that changed in any way is another issuer: audiences, algorithms and keys are looked at anew.
        && site.issuers.iter().any(|issuer| Arc::ptr_eq(issuer, &token.issuer))
    {
        cache.hit();
        if let Err(error) = token.in_time(now) {
            cache.forget(key);
            return Err(error.into());
        }
        trace.token_cached = Some(true);
        trace.known = Some(Arc::clone(&known));
        return Ok(known);
    }
    cache.miss();
    trace.token_cached = Some(false);
    let presented = Presented::read(text).map_err(Denial::from)?;
    let issuer = issuer(site, &presented)?;
    let checked = presented.check(issuer, now).inspect_err(|error| {
        // Our own sets come with the feed; those of others may have a key by now that nobody has fetched.
        if *error == TokenError::KeyUnknown && matches!(issuer.reading, Reading::External { .. }) {
            gate.link.key_unknown(issuer.id);
        }
    });
    let checked = checked.map_err(Denial::from)?;
    let stake = gate.limits.failures.stake(request, clock)?;
    let token = checked.verify();
    if !matches!(token, Err(TokenError::Signature)) {
        stake.held();
    }
    let token = token.map_err(Denial::from)?;
    let known = Arc::new(Known::new(Proof::Token(token), clock.boot_now()));
    trace.known = Some(Arc::clone(&known));
    cache.keep(key, &known);
    Ok(known)
}

/// Whether a credential that was verified before would still be believed at a site.
///
/// # Errors
/// Of a token: its issuer is gone or is read otherwise now, or has lost the key. Of a certificate: the hostname's authorities
/// do not believe it any more, or it is bound otherwise. Of an API key: the hostname is another project's.
pub(crate) fn still_believed(known: &Known, site: &Site, clock: &dyn Clock) -> Result<(), Denial> {
    let token = match &known.proof {
        Proof::Token(token) => token,
        Proof::Key(key) if key.is_of(site) => return Ok(()),
        Proof::Key(_) => return Err(KeyError::Invalid.into()),
        Proof::Certificate(certified) => return certificate::still_believed(certified, site, clock),
    };
    let before = &token.issuer;
    let mut issuers = site.issuers.iter();
    if issuers.any(|issuer| Arc::ptr_eq(issuer, before) || issuer.still_believes(before, token.key())) {
        Ok(())
    } else {
        Err(TokenError::KeyUnknown.into())
    }
}

/// The issuer a token claims, of those believed here: ours before others', and of several one that accepts an
/// audience of the token.
pub(crate) fn issuer<'s>(site: &'s Site, presented: &Presented<'_>) -> Result<&'s Arc<Issuer>, Denial> {
    let mut named = site.issuers.iter().filter(|issuer| *issuer.issuer == *presented.issuer());
    let first = named.next().ok_or(TokenError::IssuerUnknown)?;
    if first.accepts_audience(presented.audiences()) {
        return Ok(first);
    }
    Ok(named.find(|issuer| issuer.accepts_audience(presented.audiences())).unwrap_or(first))
}

/// A million tokens are kept. With its counters one takes a piece of 224 bytes, the largest that is not rounded up to 256.
const _: () = assert!(size_of::<Known>() <= 208);

impl Known {
    pub(crate) fn new(proof: Proof, verified_at: BootInstant) -> Self {
        let (cleared_at, principal) = (AtomicU64::new(0), ArcSwapOption::empty());
        Self { proof, verified_at, cleared_at, principal }
    }

    /// The token, where it is one.
    pub(crate) fn token(&self) -> Option<&VerifiedToken> {
        match &self.proof {
            Proof::Token(token) => Some(token),
            Proof::Key(_) | Proof::Certificate(_) => None,
        }
    }

    /// The API key, where it is one.
    pub(crate) fn key(&self) -> Option<&KnownKey> {
        match &self.proof {
            Proof::Token(_) | Proof::Certificate(_) => None,
            Proof::Key(key) => Some(key),
        }
    }

    /// What it says of its holder's sign-in, where it says anything.
    pub(crate) fn assurance(&self) -> Option<&Assurance> {
        self.token().and_then(VerifiedToken::assurance)
    }

    /// Its kind.
    pub(crate) fn kind(&self) -> CredentialKind {
        match &self.proof {
            Proof::Token(_) => CredentialKind::Token,
            Proof::Key(key) => key.kind,
            Proof::Certificate(_) => CredentialKind::Certificate,
        }
    }

    /// Whether its subject is a user of ours.
    pub(crate) fn is_own(&self) -> bool {
        match &self.proof {
            Proof::Token(token) => token.kind() == TokenKind::Own,
            Proof::Key(_) => true,
            Proof::Certificate(certified) => certified.is_own(),
        }
    }

    /// The subject's text.
    pub(crate) fn subject(&self) -> &str {
        match &self.proof {
            Proof::Token(token) => &token.subject,
            Proof::Key(key) => &key.subject,
            Proof::Certificate(certified) => certified.subject(),
        }
    }

    /// In which context it acts.
    pub(crate) fn context(&self) -> ContextKind {
        match &self.proof {
            Proof::Token(token) => token.context(),
            Proof::Key(_) | Proof::Certificate(_) => ContextKind::Tenant,
        }
    }

    /// What the log is asked of it.
    pub(crate) fn identity(&self) -> Identity {
        match &self.proof {
            Proof::Token(token) => token.identity(),
            Proof::Key(key) => key.identity(),
            Proof::Certificate(certified) => certified.identity(),
        }
    }

    /// The user of ours it is of, with the tenant it acts in.
    pub(crate) fn own_user(&self) -> Option<(TenantId, UserId)> {
        match &self.proof {
            Proof::Token(token) => token.own_user(),
            Proof::Key(key) => {
                let state = key.state();
                Some((state.tenant, state.owner))
            }
            Proof::Certificate(certified) => certified.user().map(|user| (certified.tenant(), user)),
        }
    }

    /// Whether the tenant it acts in is this one.
    pub(crate) fn is_of(&self, tenant: &TenantInfo) -> bool {
        let by_name = |name: &str| *name == *tenant.slug || name.parse().is_ok_and(|id: TenantId| id == tenant.id);
        match &self.proof {
            Proof::Token(token) => match token.tenant() {
                TenantClaim::Id(id) => id == tenant.id,
                TenantClaim::Name(name) => by_name(name),
                TenantClaim::None => false,
            },
            Proof::Key(key) => key.state().tenant == tenant.id,
            Proof::Certificate(certified) => certified.tenant() == tenant.id,
        }
    }

    /// The tenant it acts in, of these.
    pub(crate) fn tenant_of<'t>(&self, tenants: &'t TenantMap) -> Option<&'t Arc<TenantInfo>> {
        match &self.proof {
            Proof::Token(token) => match token.tenant() {
                TenantClaim::Id(id) => tenants.by_id(id),
                TenantClaim::Name(name) => tenants.by_name(name),
                TenantClaim::None => None,
            },
            Proof::Key(key) => tenants.by_id(key.state().tenant),
            Proof::Certificate(certified) => tenants.by_id(certified.tenant()),
        }
    }

    /// When it ends by itself; none for never.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        match &self.proof {
            Proof::Token(token) => Some(token.expires_at),
            Proof::Key(key) => key.expires_at(),
            Proof::Certificate(certified) => Some(certified.ends_at()),
        }
    }

    /// Whether it has ended by itself. An issuer's clock is not ours, the control plane's is.
    ///
    /// # Errors
    /// That it has.
    pub(crate) fn lasts(&self, now: Timestamp) -> Result<(), Denial> {
        match &self.proof {
            Proof::Token(token) if now >= token.expires_at + CLOCK_SKEW => Err(TokenError::Expired.into()),
            Proof::Key(key) if key.expires_at().is_some_and(|at| now >= at) => Err(KeyError::Expired.into()),
            Proof::Certificate(certified) if now >= certified.ends_at() => Err(CertificateError::OutOfDate.into()),
            Proof::Token(_) | Proof::Key(_) | Proof::Certificate(_) => Ok(()),
        }
    }

    /// The names of the roles it carries itself.
    pub(crate) fn role_names(&self) -> impl Iterator<Item = &str> {
        let (of_token, of_certificate) = match &self.proof {
            Proof::Token(token) => (token.roles(), &[][..]),
            Proof::Key(_) => (&[][..], &[][..]),
            Proof::Certificate(certified) => (&[][..], certified.roles()),
        };
        of_token.iter().map(|name| &**name).chain(of_certificate.iter().map(String::as_str))
    }
}
