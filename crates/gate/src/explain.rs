//! Why a request was decided as it was, for who asks afterwards.
//!
//! Nothing is gathered for it while a request is judged but what [`Trace`] keeps by reference: the account is made when
//! the decision is over, and only of those requests that the gateway tells of. It reads the request a second time with
//! the functions that judged it (`canonical::read`, `credential::pick`), so that both see the same.
//!
//! What may be told, [`domain::decision`] says. Two rules are kept here: a text that may name somebody is told as its
//! fingerprint unless it is a UUID, and claims that name somebody are told only where the token is the tenant's own.

mod token;

use std::{error::Error as _, time::Duration};

use authn::{Lease, claims::ContextKind, verify::Presented};
use domain::{
    BootInstant, Clock, CredentialKind, Decision, RequestId,
    decision::{
        AskedPermission, AskedProduct, BindingsLevel, BoundPrincipal, DecidedRoute, DemandedAccess, Freshness,
        HoldingRole, KnownBindings, PERMIT, Shown, ShownCertificate, ShownCredential, ShownKind, Stage,
    },
    snapshot::Access,
};

use crate::{
    CanonicalRequest, Denial, Gate, Permit, RawHead, Trace, authorize, canonical,
    credential::{self, Credential},
    identity::Principal,
    route::Matched,
    snapshot::route::CompiledRoute,
    verify::{Known, Proof},
};

/// Longest names of ours that are told whole, in bytes.
const NAME: usize = 64;

/// Most roles that are told.
const ROLES: usize = 16;

/// The request of an account.
#[derive(Clone, Copy, Debug)]
pub enum About<'r> {
    /// As it came off the wire.
    Head(&'r RawHead<'r>),
    /// What is left of one that was cut off: its permit, and the canonical path it was given for.
    Permit(&'r Permit, &'r str),
}

impl Gate {
    /// The account of a decision that is over: of what `trace` holds of it, and of `denial`, unless it was permitted. A
    /// request that was permitted first and refused later has its first trace and the later denial.
    pub fn explain(&self, about: &About<'_>, trace: &Trace, denial: Option<&Denial>, clock: &dyn Clock) -> Decision {
        let request = match about {
            About::Head(head) => canonical::read(head).ok(),
            About::Permit(..) => None,
        };
        let account = Account { gate: self, about, request, trace, denial, now: clock.boot_now() };
        account.decision(clock)
    }
}

struct Account<'a> {
    gate: &'a Gate,
    about: &'a About<'a>,
    /// None where it has no single reading, or only its permit is left.
    request: Option<CanonicalRequest<'a>>,
    trace: &'a Trace,
    denial: Option<&'a Denial>,
    now: BootInstant,
}

impl Account<'_> {
    fn decision(&self, clock: &dyn Clock) -> Decision {
        let public = self.denial.map(Denial::public);
        Decision {
            request_id: self.request_id(),
            at: clock.unix_now(),
            project_id: self.trace.project,
            tenant_id: self.trace.tenant,
            code: Shown::cut(public.map_or(PERMIT, |(_, code)| code), NAME),
            status: public.map(|(status, _)| status.as_u16()),
            reason: self.denial.map(|denial| Shown::cut(&reason(denial), Shown::MAX_BYTES)),
            stopped_at: self.denial.map(|_| self.trace.passed.map_or(Stage::Canonical, Stage::next)),
            method: Shown::cut(self.method(), 32),
            host: self.host().map(|host| Shown::cut(host, 253)),
            path: self.path().map(|path| Shown::cut(path, Shown::MAX_BYTES)),
            route: self.trace.route.as_deref().map(route),
            credential: self.reached(Stage::Route).then(|| self.credential()),
            principal: self.principal(),
            product: self.product(),
            permission: self.permission(),
            freshness: self.freshness(),
        }
    }

    fn request_id(&self) -> RequestId {
        match self.about {
            About::Head(head) => head.request_id,
            About::Permit(permit, _) => permit.request_id,
        }
    }

    fn method(&self) -> &str {
        match self.about {
            About::Head(head) => head.method,
            About::Permit(permit, _) => permit.method,
        }
    }

    fn host(&self) -> Option<&str> {
        let asked = self.request.as_ref().map(|request| &*request.host);
        self.trace.host.as_deref().or(asked)
    }

    fn path(&self) -> Option<&str> {
        match self.about {
            About::Head(_) => self.request.as_ref().map(|request| &*request.path),
            About::Permit(_, path) => Some(path),
        }
    }

    /// Whether this stage was passed.
    fn reached(&self, stage: Stage) -> bool {
        self.trace.passed.is_some_and(|passed| passed >= stage)
    }

    fn credential(&self) -> ShownCredential {
        let matched = self.trace.route.clone().map_or(Matched::Nothing, Matched::Route);
        let (kind, text) = match self.request.as_ref().map(|request| credential::pick(&matched, request)) {
            Some(Ok(Credential::Anonymous) | Err(Denial::CredentialMissing)) => (ShownKind::None, None),
            Some(Ok(Credential::Token(text))) => (ShownKind::Bearer, Some(text)),
            Some(Ok(Credential::Certificate(_))) => (ShownKind::Certificate, None),
            Some(Ok(Credential::ApiKey(_))) => (ShownKind::ApiKey, None),
            Some(Ok(Credential::Signature)) => (ShownKind::Signature, None),
            Some(Err(Denial::CredentialAmbiguous)) => (ShownKind::Several, None),
            Some(Err(_)) => (ShownKind::Other, None),
            None => match self.trace.known.as_deref().map(Known::kind) {
                None => (ShownKind::None, None),
                Some(CredentialKind::Token) => (ShownKind::Bearer, None),
                Some(CredentialKind::ApiKey) => (ShownKind::ApiKey, None),
                Some(CredentialKind::Signature) => (ShownKind::Signature, None),
                Some(CredentialKind::Certificate) => (ShownKind::Certificate, None),
            },
        };
        // What cannot be taken apart is told by its denial.
        let presented = text.and_then(|text| Presented::read(text).ok());
        let known = self.trace.known.as_deref();
        let told = token::Told::of(self.gate, self.trace, self.denial, presented.as_ref());
        ShownCredential {
            kind,
            believed: known.is_some(),
            issuer: token::issuer(known, presented.as_ref()),
            key_id: token::key_id(known, presented.as_ref()),
            media_type: presented.as_ref().and_then(|it| it.header().typ.as_deref()).map(token::word),
            algorithm: token::algorithm(known, presented.as_ref()),
            seen_before: self.trace.token_cached,
            verified_age_ms: known.map(|known| millis(self.now.since(known.verified_at))),
            certificate: known.and_then(certificate),
            claims: token::claims(known, presented.as_ref(), told),
            withheld: told == token::Told::WithoutNames && (known.is_some() || presented.is_some()),
        }
    }

    fn principal(&self) -> Option<BoundPrincipal> {
        let principal = self.trace.principal.as_deref();
        let Some(principal) = principal else {
            // Who is no active member is never bound, and why stands in the bindings. Whoever is another tenant's, by then
            // with bindings as well, is nobody's business here.
            let inactive = matches!(self.denial, Some(Denial::PrincipalInactive));
            let known = self.trace.known.as_deref().filter(|_| inactive)?;
            return Some(BoundPrincipal {
                subject: token::name(known.subject()),
                system: known.context() == ContextKind::System,
                is_admin: false,
                is_super_admin: false,
                roles: Vec::new(),
                bindings: self.bindings(None),
            });
        };
        let mut roles: Vec<&str> = principal.role_names().collect();
        roles.sort_unstable();
        Some(BoundPrincipal {
            subject: token::name(&principal.subject),
            system: principal.context == ContextKind::System,
            is_admin: principal.is_admin,
            is_super_admin: principal.is_super_admin,
            roles: roles.into_iter().take(ROLES).map(|name| Shown::cut(name, NAME)).collect(),
            bindings: self.bindings(Some(principal)),
        })
    }

    fn bindings(&self, principal: Option<&Principal>) -> Option<KnownBindings> {
        let (held, level) = match &self.trace.bindings {
            Some(found) => (&found.bindings, found.level),
            None => (principal?.bindings.as_ref()?, BindingsLevel::Token),
        };
        Some(KnownBindings {
            level,
            age_ms: millis(self.now.since(held.read_at)),
            as_of_seq: held.as_of.0,
            active: held.active,
        })
    }

    fn product(&self) -> Option<AskedProduct> {
        let name = self.trace.route.as_ref()?.product.as_deref()?;
        let held = match self.denial {
            Some(Denial::NotEntitled { .. }) => Some(false),
            Some(_) | None => self.reached(Stage::Bind).then_some(true),
        };
        Some(AskedProduct { name: Shown::cut(name, NAME), held })
    }

    fn permission(&self) -> Option<AskedPermission> {
        let route = self.trace.route.as_deref()?;
        let asked = authorize::asked(route)?;
        let unit = self.trace.unit;
        let judged = self.trace.principal.as_deref().filter(|_| self.reached(Stage::Limit));
        let held = match self.denial {
            Some(Denial::PermissionDenied { .. }) => Some(false),
            // Staff's routes refuse others before they look at a permission.
            Some(Denial::ContextMismatch) => None,
            Some(_) | None => judged.map(|_| true),
        };
        let holds = judged.filter(|_| held == Some(true));
        let by = holds
            .into_iter()
            .flat_map(|principal| principal.granting(asked, (unit, authorize::reads(self.method()))))
            .take(ROLES);
        Some(AskedPermission {
            code: Shown::cut(asked.as_str(), 2 * NAME),
            unit,
            held,
            by: by.map(|(role, unit)| HoldingRole { role: Shown::cut(role, NAME), unit }).collect(),
            bypass: holds.is_some_and(|principal| authorize::bypasses(principal, route)),
        })
    }

    fn freshness(&self) -> Freshness {
        let mirror = self.gate.mirror();
        let proven_at = mirror.last_proven();
        Freshness {
            revision: self.gate.snapshot().revision(),
            applied_seq: mirror.position().seq.0,
            proven: matches!(mirror.lease(self.now), Lease::Proven { .. }),
            proof_age_ms: (proven_at != BootInstant::default()).then(|| millis(self.now.since(proven_at))),
        }
    }
}

/// What a denial says, and why.
fn reason(denial: &Denial) -> String {
    let mut text = denial.to_string();
    let mut source = denial.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// The certificate that says who acts.
fn certificate(known: &Known) -> Option<ShownCertificate> {
    let Proof::Certificate(certified) = &known.proof else { return None };
    let binding_id = certified.is_own().then_some(certified.binding().id);
    Some(ShownCertificate { sha256: Shown::cut(certified.fingerprint(), NAME), binding_id })
}

fn route(route: &CompiledRoute) -> DecidedRoute {
    DecidedRoute {
        id: route.id,
        service: route.service.as_deref().map(|name| Shown::cut(name, NAME)),
        pattern: Shown::cut(&route.pattern, Shown::MAX_BYTES),
        methods: route.methods.iter().map(|method| Shown::cut(method, 32)).collect(),
        access: match route.access {
            Access::Public => DemandedAccess::Public,
            Access::Optional => DemandedAccess::Optional,
            Access::Authenticated => DemandedAccess::Authenticated,
            Access::Permission(_) => DemandedAccess::Permission,
            Access::Platform(_) => DemandedAccess::Platform,
        },
        require: route.require,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
