//! What an account says of a token: of one that was believed, what it is; of another, what it claims.

use authn::{TokenKind, VerifiedToken, issuer::Reading, jwks::algorithm_name, verify::Presented};
use aws_lc_rs::digest;
use domain::{
    Timestamp,
    decision::{Shown, ShownClaims},
    snapshot::TenantBinding,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    Denial, Gate, Trace, bind,
    snapshot::{Entry, Site},
    verify::{self, Known},
};

/// Most audiences that are told.
const AUDIENCES: usize = 8;

/// Most means of a sign-in that are told.
const MEANS: usize = 8;

/// 9999-12-31T23:59:59Z: later instants have no RFC 3339 form.
const LAST_SECOND: i64 = 253_402_300_799;

/// How much is told of a token's claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Told {
    /// All that are considered.
    All,
    /// Those that name nobody: whose token it is, another tenant's administrator does not learn.
    WithoutNames,
}

impl Told {
    pub(super) fn of(gate: &Gate, trace: &Trace, denial: Option<&Denial>, presented: Option<&Presented<'_>>) -> Self {
        // Only the platform's staff reads what belongs to no tenant.
        let Some(tenant) = trace.tenant else { return Self::All };
        let site = match trace.host.as_deref().and_then(|host| gate.snapshot.entry(host)) {
            Some(Entry::Site(site)) => site,
            Some(Entry::Unsupported) | None => return Self::WithoutNames,
        };
        let own = match (&trace.known, denial) {
            (_, Some(Denial::TenantMismatch | Denial::TenantUnknown)) => false,
            (Some(known), _) => {
                let bound = bind::tenant_of(known, &site);
                bound.is_ok_and(|bound| bound.is_none_or(|bound| bound.id == tenant))
            }
            (None, _) => presented.is_some_and(|presented| claims_to_be_of(presented, &site)),
        };
        if own { Self::All } else { Self::WithoutNames }
    }
}

/// Whether a token that was not believed claims to be of the site's tenant and of an issuer that is believed there.
fn claims_to_be_of(presented: &Presented<'_>, site: &Site) -> bool {
    let (Ok(issuer), Some(tenant)) = (verify::issuer(site, presented), &site.tenant) else { return false };
    let claim = |name: &str| presented.claims().get(name).and_then(Value::as_str);
    let named = match &issuer.reading {
        Reading::Own => claim("tid"),
        Reading::External { tenant: TenantBinding::Tenant(id), .. } => return *id == tenant.id,
        Reading::External { tenant: TenantBinding::Claim(name), .. } => claim(name),
    };
    named.is_some_and(|name| *name == *tenant.slug || name.parse().is_ok_and(|id: domain::TenantId| id == tenant.id))
}

pub(super) fn issuer(known: Option<&Known>, presented: Option<&Presented<'_>>) -> Option<Shown> {
    let text =
        known.and_then(Known::token).map(|token| &*token.issuer.issuer).or_else(|| presented.map(Presented::issuer));
    text.map(|text| Shown::cut(text, 256))
}

pub(super) fn key_id(known: Option<&Known>, presented: Option<&Presented<'_>>) -> Option<Shown> {
    if let Some(key) = known.and_then(Known::key) {
        return Some(word(&key.state().prefix));
    }
    let ours = known.and_then(Known::token).and_then(|token| token.issuer.key_id(token.key())).map(|(kid, _)| kid);
    ours.or_else(|| presented?.header().kid.as_deref()).map(word)
}

pub(super) fn algorithm(known: Option<&Known>, presented: Option<&Presented<'_>>) -> Option<Shown> {
    let ours = known.and_then(Known::token).and_then(|token| token.issuer.key_id(token.key()));
    let ours = ours.map(|(_, algorithm)| algorithm_name(algorithm));
    ours.or_else(|| presented.map(|presented| presented.header().alg.as_str())).map(word)
}

/// A short text of a token that names nobody.
pub(super) fn word(text: &str) -> Shown {
    Shown::cut(text, 128)
}

/// A text that may name somebody: a UUID as it is, any other by its fingerprint, which tells the same from another.
pub(super) fn name(text: &str) -> Shown {
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Shown::cut(&id.to_string(), 36),
        Ok(_) | Err(_) => {
            let hashed = digest::digest(&digest::SHA256, text.as_bytes());
            let hex: String = hashed.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            Shown::cut(&format!("sha256:{hex}"), 64)
        }
    }
}

pub(super) fn claims(known: Option<&Known>, presented: Option<&Presented<'_>>, told: Told) -> Option<ShownClaims> {
    let all = match (presented, known.and_then(Known::token)) {
        (Some(presented), _) => claimed(presented.claims(), presented),
        (None, Some(token)) => verified(token),
        (None, None) => return None,
    };
    Some(match told {
        Told::All => all,
        Told::WithoutNames => ShownClaims { sub: None, tid: None, sid: None, jti: None, ug: None, tg: None, ..all },
    })
}

fn claimed(claims: &Map<String, Value>, presented: &Presented<'_>) -> ShownClaims {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let instant = |name: &str| claims.get(name).and_then(Value::as_i64).and_then(instant);
    let number = |name: &str| claims.get(name).and_then(Value::as_u64);
    ShownClaims {
        sub: text("sub").map(name),
        tid: text("tid").map(word),
        sid: text("sid").map(name),
        jti: text("jti").map(name),
        aud: presented.audiences().take(AUDIENCES).map(word).collect(),
        exp: instant("exp"),
        iat: instant("iat"),
        ug: number("ug"),
        tg: number("tg"),
        ctx: text("ctx").map(word),
        auth_time: instant("auth_time"),
        acr: text("acr").map(word),
        amr: claims
            .get("amr")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .take(MEANS)
            .map(|means| Shown::cut(means, 16))
            .collect(),
    }
}

/// Of a token whose text is gone.
fn verified(token: &VerifiedToken) -> ShownClaims {
    let (identity, assurance) = (token.identity(), token.assurance());
    let own = token.kind() == TokenKind::Own;
    ShownClaims {
        sub: Some(name(&token.subject)),
        tid: identity.tenant.map(|id| word(&id.to_string())),
        sid: identity.session.map(|id| word(&id.to_string())),
        jti: identity.token.map(|id| word(&id.to_string())),
        aud: Vec::new(),
        exp: instant(token.expires_at.secs()),
        iat: identity.foreign_iat,
        ug: own.then_some(identity.user_generation),
        tg: own.then_some(identity.tenant_generation),
        ctx: None,
        auth_time: assurance.and_then(|shown| instant(shown.auth_time.secs())),
        acr: assurance.map(|shown| word(shown.acr.name())),
        amr: assurance.iter().flat_map(|shown| shown.amr.iter()).map(|means| word(means.name())).collect(),
    }
}

fn instant(secs: i64) -> Option<Timestamp> {
    (0..=LAST_SECOND).contains(&secs).then(|| Timestamp::from_secs(secs))
}

#[test]
fn who_is_named_by_anything_but_a_uuid_is_told_by_fingerprint() {
    assert_eq!(&*name("6F1B2C3D-0000-4000-8000-00000000ABCD"), "6f1b2c3d-0000-4000-8000-00000000abcd");
    let ann = name("ann@acme.example");
    assert!(ann.starts_with("sha256:") && ann.len() == 23, "{ann}");
    assert_ne!(ann, name("bob@acme.example"));
}
