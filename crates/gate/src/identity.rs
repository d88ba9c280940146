//! A principal in its tenant: the roles it holds and what it is announced by, made once for all tokens of a user.

use std::{ops::Range, sync::Arc};

use authn::{VerifiedToken, claims::ContextKind};
use aws_lc_rs::digest;
use domain::{OrgUnitId, Permission, snapshot::RoleScope};
use http::HeaderValue;

use crate::{
    api_key::KnownKey,
    forward::IdentityHeader,
    link::{HeldBindings, HeldKey},
    snapshot::{CompiledRole, Roles, TenantInfo},
    verify::{Known, Proof},
};

/// Who acts.
#[derive(Debug)]
pub struct Principal {
    /// The subject's text: our user's id, or what the external issuer calls it.
    pub subject: Box<str>,
    /// In which context.
    pub context: ContextKind,
    /// Administers its tenant. Own tokens only.
    pub is_admin: bool,
    /// Administers the platform. Own tokens in system context only.
    pub is_super_admin: bool,
    /// Issuer and subject as one number: equal numbers mean the same principal, at every gateway.
    pub number: u128,
    pub(crate) bindings: Option<Arc<HeldBindings>>,
    /// The API key it acts with: what it may do at most.
    pub(crate) key: Option<Arc<HeldKey>>,
    roles: Box<[Arc<CompiledRole>]>,
    unit_roles: Box<[(OrgUnitId, Arc<CompiledRole>)]>,
    said: Said,
    made_from: (Arc<Roles>, Option<Arc<TenantInfo>>),
}

impl Principal {
    pub(crate) fn new(
        known: &Known,
        shared: &Arc<Roles>,
        tenant: Option<&Arc<TenantInfo>>,
        bindings: Option<Arc<HeldBindings>>,
    ) -> Self {
        let by_id = |id| tenant.and_then(|tenant| tenant.roles.by_id(id)).or_else(|| shared.by_id(id)).cloned();
        let by_name =
            |name: &str| tenant.and_then(|tenant| tenant.roles.by_name(name)).or_else(|| shared.by_name(name)).cloned();
        let scope = match known.context() {
            ContextKind::Tenant => RoleScope::Tenant,
            ContextKind::System => RoleScope::Platform,
        };
        let own = known.is_own();
        let roles: Box<[Arc<CompiledRole>]> = match (&bindings, own) {
            (Some(bindings), _) => {
                bindings.roles.iter().filter_map(|id| by_id(*id)).filter(|role| role.scope == scope).collect()
            }
            // An external issuer's roles are names of ours; what it says of administrators counts for nothing.
            (None, false) => known.role_names().filter_map(by_name).collect(),
            (None, true) => Box::default(),
        };
        let unit_roles = bindings.iter().flat_map(|bindings| &bindings.unit_roles);
        let unit_roles: Box<[_]> = unit_roles.filter_map(|(unit, id)| Some((*unit, by_id(*id)?))).collect();
        // With a key, nobody is an administrator: a service that trusts that word would go beyond the key's scopes.
        let key = known.key().map(KnownKey::state);
        let is_admin =
            own && key.is_none() && known.context() == ContextKind::Tenant && roles.iter().any(|role| role.admin);
        let is_super_admin = own && known.context() == ContextKind::System && roles.iter().any(|role| role.super_admin);
        let said = Said::of(known, key.as_deref(), &roles);
        Self {
            subject: known.subject().into(),
            context: known.context(),
            is_admin,
            is_super_admin,
            number: number(known),
            bindings,
            key,
            roles,
            unit_roles,
            said,
            made_from: (Arc::clone(shared), tenant.cloned()),
        }
    }

    /// Whether everything this was made from is what is in force.
    pub(crate) fn is_made_from(
        &self,
        shared: &Arc<Roles>,
        tenant: Option<&Arc<TenantInfo>>,
        bindings: Option<&Arc<HeldBindings>>,
    ) -> bool {
        let same_tenant = match (&self.made_from.1, tenant) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let same_bindings = match (&self.bindings, bindings) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_tenant && same_bindings && Arc::ptr_eq(&self.made_from.0, shared)
    }

    /// Whether a credential that has the same bindings is this principal's.
    pub(crate) fn is_of(&self, known: &Known) -> bool {
        self.context == known.context() && self.number == number(known)
    }

    /// Whether a role held everywhere in the context grants this.
    pub fn holds(&self, permission: &Permission) -> bool {
        self.is_in_scope(permission) && self.roles.iter().any(|role| role.permissions.covers(permission))
    }

    /// Whether a role held in this organisational unit grants this to a request that only `reads` or does more.
    pub fn holds_in(&self, unit: OrgUnitId, permission: &Permission, reads: bool) -> bool {
        self.is_in_scope(permission)
            && self.unit_roles.iter().any(|(at, role)| *at == unit && role.grants_in_unit(permission, reads))
    }

    /// Whether it holds any role in this organisational unit.
    pub fn is_in(&self, unit: OrgUnitId) -> bool {
        self.unit_roles.iter().any(|(at, _)| *at == unit)
    }

    /// Whether the key it acts with, if any, reaches this far.
    fn is_in_scope(&self, permission: &Permission) -> bool {
        self.key.as_ref().is_none_or(|key| key.scopes.covers(permission))
    }

    /// The names of the roles it holds in the whole context.
    pub(crate) fn role_names(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| &*role.name)
    }

    /// The roles that grant this, of those held in the whole context and of those held in `unit`, to a request that only
    /// `reads` or does more.
    pub(crate) fn granting(
        &self,
        permission: &Permission,
        (unit, reads): (Option<OrgUnitId>, bool),
    ) -> impl Iterator<Item = (&str, Option<OrgUnitId>)> {
        let everywhere = self.roles.iter().map(|role| (role, None));
        let here = self.unit_roles.iter().filter(move |(at, _)| Some(*at) == unit).map(|(at, role)| (role, Some(*at)));
        let reached = move |_: &_| self.is_in_scope(permission);
        let grants = move |(role, at): &(&Arc<CompiledRole>, Option<OrgUnitId>)| match at {
            Some(_) => role.grants_in_unit(permission, reads),
            None => role.permissions.covers(permission),
        };
        let granting = everywhere.chain(here).filter(reached).filter(grants);
        granting.map(|(role, at)| (&*role.name, at))
    }

    /// The unit it works in where nothing else is said. Its token says which; that the user is still in it, its bindings.
    pub(crate) fn own_unit(&self, known: &Known) -> Option<OrgUnitId> {
        known.token().and_then(VerifiedToken::org_unit).filter(|unit| self.is_in(*unit))
    }

    /// How it is known, as upstreams are told it.
    pub(crate) const fn auth_method(&self) -> &'static str {
        self.said.method
    }

    /// Adds what is told of it and its credential alone to a text, where it is wanted; which header stands where. What is absent
    /// is left out, never empty.
    pub(crate) fn write(
        &self,
        known: &Known,
        text: &mut String,
        wanted: impl Fn(IdentityHeader) -> bool,
    ) -> [Option<(IdentityHeader, Range<usize>)>; 5] {
        let (said, token) = (&self.said, known.token());
        let mut add = |name, write: &dyn Fn(&mut String)| {
            let from = text.len();
            if wanted(name) {
                write(text);
            }
            (text.len() > from).then_some((name, from..text.len()))
        };
        let username = match &self.key {
            Some(key) => key.owner_name.as_deref(),
            None => token.and_then(|token| token.username.as_deref()),
        };
        let (session, id) = (token.and_then(VerifiedToken::session), token.and_then(VerifiedToken::token_id));
        [
            add(IdentityHeader::UserId, &|text| text.push_str(said.subject.as_deref().unwrap_or(&self.subject))),
            add(IdentityHeader::Username, &|text| push_encoded(text, username.unwrap_or_default())),
            add(IdentityHeader::Roles, &|text| text.push_str(&said.roles)),
            add(IdentityHeader::SessionId, &|text| session.into_iter().for_each(|id| id.push_to(text))),
            add(IdentityHeader::TokenId, &|text| id.into_iter().for_each(|id| id.push_to(text))),
        ]
    }
}

/// What upstreams are told of a principal beside what else is known of it and of its credential. Fields are made of it at each
/// request.
#[derive(Debug)]
struct Said {
    /// The subject where a field cannot carry it as it is.
    subject: Option<Box<str>>,
    /// Names with commas between.
    roles: Box<str>,
    method: &'static str,
}

impl Said {
    fn of(known: &Known, key: Option<&HeldKey>, roles: &[Arc<CompiledRole>]) -> Self {
        let mut names: Vec<&str> = roles.iter().map(|role| &*role.name).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.join(",");
        // A role is a word for more than the scopes of a key. What a field cannot carry is left out.
        let told = key.is_none() && HeaderValue::from_str(&names).is_ok();
        let mut subject = String::new();
        push_encoded(&mut subject, known.subject());
        Self {
            subject: (subject != known.subject()).then(|| subject.into()),
            roles: if told { names.into() } else { Box::default() },
            method: match &known.proof {
                Proof::Token(_) => "jwt",
                Proof::Certificate(_) => "certificate",
                Proof::Key(key) => key.kind.name(),
            },
        }
    }
}

/// 128 bits of SHA-256 over the issuer's id, which has one length, and the subject.
fn number(known: &Known) -> u128 {
    // Of a key it is its owner's: whatever they come with, they have one limit.
    let realm = match &known.proof {
        Proof::Token(token) => token.issuer.id.uuid(),
        Proof::Certificate(certified) => certified.realm(),
        Proof::Key(key) => key.issuer.map(domain::IssuerId::uuid).unwrap_or_default(),
    };
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(realm.as_bytes());
    context.update(known.subject().as_bytes());
    context.finish().as_ref().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// Adds UTF-8, percent-encoded so that only unreserved characters, `@` and `+` stand for themselves (RFC 3986 §2.1).
fn push_encoded(out: &mut String, text: &str) {
    let stands = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@' | b'+');
    if text.bytes().all(stands) {
        return out.push_str(text);
    }
    for byte in text.bytes() {
        if stands(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
}

#[test]
fn names_survive_a_header() {
    let mut out = String::new();
    push_encoded(&mut out, "ann@acme.example");
    push_encoded(&mut out, "Zoë, x\r\n");
    assert_eq!(out, "ann@acme.exampleZo%C3%AB%2C%20x%0D%0A");
}
