//! The client certificate of a connection, as each of its requests finds it (`docs/adr/0016-client-certificates.md`).
//!
//! A certificate is shown once, when a connection is made, and stands behind every request of it for hours. So a request
//! asks anew whether the hostname's authorities of now believe it; while they are those that were asked last, that is one
//! comparison. It is two things, which have nothing to do with each other: what the hostname may demand of everybody
//! (`demanded`), and, on routes that take `certificate`, who acts (`verify`).

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use authn::{CertificateError, ClientCertificate, issuer::Reading, mirror::Identity};
use domain::{
    CertificateBinding, CertificateMode, Clock, IssuerId, TenantId, Timestamp, UserId,
    client_certificate::CertificatePrincipal,
};

use crate::{
    Denial,
    snapshot::{Clients, Site},
    verify::{Known, Proof},
};

/// A certificate that a connection's client showed, with whom it last was.
#[derive(Debug)]
pub struct ShownCertificate {
    certificate: Arc<ClientCertificate>,
    known: ArcSwapOption<Known>,
}

impl ShownCertificate {
    /// One of a handshake that was just completed.
    pub fn new(certificate: ClientCertificate) -> Self {
        Self { certificate: Arc::new(certificate), known: ArcSwapOption::empty() }
    }

    /// Whether those who judged it last still believe it.
    pub(crate) fn is_in_time(&self, clock: &dyn Clock) -> bool {
        self.certificate.is_in_time(clock.unix_now())
    }
}

/// A certificate that acts for somebody.
#[derive(Debug)]
pub(crate) struct Certified {
    certificate: Arc<ClientCertificate>,
    binding: Arc<CertificateBinding>,
    /// The rules it was found by.
    clients: Arc<Clients>,
    tenant: TenantId,
    subject: Box<str>,
    ends_at: Timestamp,
    /// The issuer that a token of the same user has, which makes them one principal.
    issuer: Option<IssuerId>,
}

impl Certified {
    /// Whether its holder is a user of ours.
    pub(crate) fn is_own(&self) -> bool {
        self.user().is_some()
    }

    /// The user of ours it is.
    pub(crate) fn user(&self) -> Option<UserId> {
        match self.binding.principal {
            CertificatePrincipal::User(user) => Some(user),
            CertificatePrincipal::Named { .. } => None,
        }
    }

    /// What upstreams are told as the user's id.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// Names of roles, of somebody that is no user of ours.
    pub(crate) fn roles(&self) -> &[String] {
        match &self.binding.principal {
            CertificatePrincipal::User(_) => &[],
            CertificatePrincipal::Named { roles, .. } => roles,
        }
    }

    /// What the log is asked of it. Generations end tokens and sessions; whoever signs in everywhere anew keeps its
    /// certificate, which is taken away by its authority, its binding or its user's state.
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            token: None,
            session: None,
            tenant: Some(self.tenant),
            user: self.user(),
            user_generation: u64::MAX,
            tenant_generation: u64::MAX,
            foreign_iat: None,
            key: None,
        }
    }

    /// The tenant it acts in: the hostname's.
    pub(crate) const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// When its chain ends. The lists of its authorities may end before, and may be replaced before that.
    pub(crate) const fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// What makes two principals one: of users of ours their issuer, of others the binding.
    pub(crate) fn realm(&self) -> uuid::Uuid {
        self.issuer.map_or(self.binding.id.uuid(), IssuerId::uuid)
    }

    /// The certificate's SHA-256, in hexadecimal.
    pub(crate) fn fingerprint(&self) -> &str {
        self.certificate.fingerprint()
    }

    /// The binding that says who acts.
    pub(crate) fn binding(&self) -> &CertificateBinding {
        &self.binding
    }
}

/// Stage 3: whether the connection has what its hostname demands of everybody, and when that ends. None of a hostname that
/// demands no certificate.
///
/// # Errors
/// [`Denial::CertificateMissing`] of a connection that was made before it was demanded; [`Denial::Certificate`] of one
/// whose certificate is not believed any more.
pub(crate) fn demanded(
    site: &Site,
    shown: Option<&Arc<ShownCertificate>>,
    clock: &dyn Clock,
) -> Result<Option<Timestamp>, Denial> {
    let Some(clients) = &site.clients else { return Ok(None) };
    if clients.authorities.mode() == CertificateMode::Optional {
        return Ok(None);
    }
    let shown = shown.ok_or(Denial::CertificateMissing)?;
    Ok(Some(shown.certificate.judge(&clients.authorities, clock.unix_now())?))
}

/// Stage 6: who acts by a connection's certificate.
///
/// # Errors
/// [`Denial::Certificate`]: it is not believed, or bound to nobody or more than one here.
pub(crate) fn verify(shown: &ShownCertificate, site: &Site, clock: &dyn Clock) -> Result<Arc<Known>, Denial> {
    let (Some(clients), Some(tenant)) = (&site.clients, &site.tenant) else {
        return Err(CertificateError::Unbound.into());
    };
    let ends_at = shown.certificate.judge(&clients.authorities, clock.unix_now())?;
    if let Some(known) = shown.known.load_full()
        && let Proof::Certificate(before) = &known.proof
        && Arc::ptr_eq(&before.clients, clients)
        && before.tenant == tenant.id
    {
        return Ok(known);
    }
    let binding = clients.bound(&shown.certificate)?;
    let subject = match &binding.principal {
        CertificatePrincipal::User(user) => user.to_string(),
        CertificatePrincipal::Named { subject, .. } => subject.clone(),
    };
    let ours = site.issuers.iter().find(|issuer| issuer.reading == Reading::Own).map(|issuer| issuer.id);
    let certified = Certified {
        certificate: Arc::clone(&shown.certificate),
        issuer: ours.filter(|_| matches!(binding.principal, CertificatePrincipal::User(_))),
        binding: Arc::clone(binding),
        clients: Arc::clone(clients),
        tenant: tenant.id,
        subject: subject.into(),
        ends_at,
    };
    let known = Arc::new(Known::new(Proof::Certificate(certified), clock.boot_now()));
    shown.known.store(Some(Arc::clone(&known)));
    Ok(known)
}

/// Whether what was verified before would be verified again.
///
/// # Errors
/// As of [`verify`].
pub(crate) fn still_believed(before: &Certified, site: &Site, clock: &dyn Clock) -> Result<(), Denial> {
    let (Some(clients), Some(tenant)) = (&site.clients, &site.tenant) else {
        return Err(CertificateError::Unbound.into());
    };
    before.certificate.judge(&clients.authorities, clock.unix_now())?;
    let binding = clients.bound(&before.certificate)?;
    let same = **binding == *before.binding && tenant.id == before.tenant;
    if same { Ok(()) } else { Err(CertificateError::Unbound.into()) }
}
