//! The mirror: a gateway's copy of the log, and the lease that says how long the copy may be believed.
//!
//! Facts are applied in the order of their numbers, without a gap. The lease is granted by who has *proven* that
//! everything up to the log's head is applied; it counts from the moment the proof was asked for, on the boot-time
//! clock. What the mirror refuses it refuses at once; what it does not refuse counts only while the lease holds.

mod refused;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use domain::{
    ApiKeyId, ApiKeyState, BootInstant, Fact, History, NumberedFact, Position, Seq, SessionId, TenantId, Timestamp,
    TokenId, UserId,
    fact::{Bindings, CUTOFF_REMEMBERED},
};
use parking_lot::{Mutex, RwLock};

use self::refused::RefusedIds;
use crate::verify::CLOCK_SKEW;

/// Shards of the tables, so that applying a fact blocks few look-ups. A power of two.
const SHARDS: usize = 64;

/// Users whose bindings changed that are remembered one by one; past that, all bindings and keys read before now are stale.
const CHANGED_USERS: usize = 100_000;

/// API keys that changed that are remembered one by one; past that, all keys read before now are stale.
const CHANGED_KEYS: usize = 100_000;

/// The same of tenants.
const CHANGED_TENANTS: usize = 10_000;

/// How long past its `exp` a refused token is remembered: twice the skew that verification allows.
const KEPT_PAST_EXPIRY_SECS: i64 = 60;

/// Why the mirror refuses a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// This very token was refused.
    Token,
    /// Its session has ended.
    Session,
    /// The user's tokens of its generation were refused.
    UserGeneration,
    /// The tenant's tokens of its generation were refused.
    TenantGeneration,
    /// The user's foreign tokens issued until then were refused.
    UserCutoff,
    /// The tenant's foreign tokens issued until then were refused.
    TenantCutoff,
}

/// What the mirror asks of a token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity {
    /// `jti`
    pub token: Option<TokenId>,
    /// `sid`
    pub session: Option<SessionId>,
    /// `tid`
    pub tenant: Option<TenantId>,
    /// `sub`, where it is one of our users, or a foreign one that can be named by a UUID.
    pub user: Option<UserId>,
    /// `ug`; a token of ours without one counts as generation 0.
    pub user_generation: u64,
    /// `tg`; a token of ours without one counts as generation 0.
    pub tenant_generation: u64,
    /// `iat` of a foreign token, the epoch where it says none; none for ours, which are judged by generation.
    pub foreign_iat: Option<Timestamp>,
    /// Of an API key, which, and the place in the log that it is known from.
    pub key: Option<(ApiKeyId, Seq)>,
}

impl Identity {
    /// Of an API key. Signing out ends tokens and sessions: keys are of every generation.
    pub const fn of_key(key: &ApiKeyState) -> Self {
        Self {
            token: None,
            session: None,
            tenant: Some(key.tenant),
            user: Some(key.owner),
            user_generation: u64::MAX,
            tenant_generation: u64::MAX,
            foreign_iat: None,
            key: Some((key.id, key.as_of)),
        }
    }
}

/// What became of a fact.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Applied {
    /// It was the next one.
    Yes,
    /// It was applied before.
    AlreadyKnown,
    /// Facts before it are missing; it was not applied.
    Gap,
}

/// Whether what the mirror does not refuse may be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lease {
    /// Every fact committed before `until` − 2 s is applied.
    Proven {
        /// Until when.
        until: BootInstant,
    },
    /// Nothing is proven now.
    Unproven {
        /// The last moment at which everything was; zero for never.
        last_proven: BootInstant,
    },
}

/// See the module's documentation. Shared by all workers; look-ups allocate nothing.
#[derive(Debug)]
pub struct Mirror {
    tables: ArcSwap<Tables>,
    /// Raised after each fact is in force. A caller that has checked a token at one version need not check it again.
    version: AtomicU64,
    position: Mutex<Position>,
    lease_until: AtomicU64,
    last_proven: AtomicU64,
}

#[derive(Debug)]
struct Tables {
    refused: RefusedIds,
    users: Vec<RwLock<HashMap<(u128, u128), Floor>>>,
    tenants: RwLock<HashMap<u128, Floor>>,
    bindings: RwLock<ChangedBindings>,
}

/// What tokens of a user or tenant have to be above.
#[derive(Clone, Copy, Debug)]
struct Floor {
    /// Tokens of ours below this generation are refused.
    generation: u64,
    /// Foreign tokens issued in this second or before are refused.
    second: i64,
}

#[derive(Debug, Default)]
struct ChangedBindings {
    /// Bindings of another history are stale for everybody.
    history: History,
    /// Bindings read before this are stale for everybody.
    floor: Seq,
    newest: HashMap<(u128, u128), Seq>,
    /// Bindings in these tenants that were read before are stale.
    tenants: HashMap<u128, Seq>,
    /// API keys read before this are stale.
    keys_floor: Seq,
    keys: HashMap<u128, Seq>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            refused: RefusedIds::default(),
            users: (0..SHARDS).map(|_| RwLock::default()).collect(),
            tenants: RwLock::default(),
            bindings: RwLock::default(),
        }
    }
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            tables: ArcSwap::from_pointee(Tables::default()),
            version: AtomicU64::new(1),
            position: Mutex::default(),
            lease_until: AtomicU64::new(0),
            last_proven: AtomicU64::new(0),
        }
    }
}

impl Mirror {
    /// Applies the next fact.
    pub fn apply(&self, numbered: &NumberedFact) -> Applied {
        let mut position = self.position.lock();
        if numbered.seq <= position.seq {
            return Applied::AlreadyKnown;
        }
        if numbered.seq != position.seq.next() {
            return Applied::Gap;
        }
        self.tables.load().apply(&numbered.fact, numbered.seq);
        *position = Position { seq: numbered.seq, tag: numbered.tag, ..*position };
        self.version.fetch_add(1, Ordering::Release);
        Applied::Yes
    }

    /// Forgets everything and starts from a full reading of the log at `position`. The lease is void until the next
    /// proof: what was applied may belong to a history that never was.
    pub fn reset<'f>(&self, position: Position, facts: impl IntoIterator<Item = &'f Fact>) {
        let mut held = self.position.lock();
        self.lease_until.store(0, Ordering::SeqCst);
        let tables = Tables::default();
        *tables.bindings.write() =
            ChangedBindings { history: position.history, floor: position.seq, ..ChangedBindings::default() };
        for fact in facts {
            tables.apply(fact, position.seq);
        }
        self.tables.store(std::sync::Arc::new(tables));
        *held = position;
        self.version.fetch_add(1, Ordering::Release);
    }

    /// How far the log is applied.
    pub fn position(&self) -> Position {
        *self.position.lock()
    }

    /// Changes whenever a look-up's answer may have changed.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Grants the lease until `until`, as proven at `proven`, the moment the question was asked. Never shortens one.
    pub fn grant(&self, proven: BootInstant, until: BootInstant) {
        self.last_proven.fetch_max(proven.nanos(), Ordering::SeqCst);
        self.lease_until.fetch_max(until.nanos(), Ordering::SeqCst);
    }

    /// The last moment at which everything was proven; zero for never.
    pub fn last_proven(&self) -> BootInstant {
        BootInstant::from_nanos(self.last_proven.load(Ordering::SeqCst))
    }

    /// Takes over when freshness was last proven by an earlier process of this boot; grants nothing.
    pub fn remember_proof(&self, proven: BootInstant) {
        self.last_proven.fetch_max(proven.nanos(), Ordering::SeqCst);
    }

    /// Whether the mirror may be believed at `now`.
    pub fn lease(&self, now: BootInstant) -> Lease {
        let until = BootInstant::from_nanos(self.lease_until.load(Ordering::SeqCst));
        if now < until { Lease::Proven { until } } else { Lease::Unproven { last_proven: self.last_proven() } }
    }

    /// Whether the log refuses a token with this identity.
    ///
    /// # Errors
    /// The first [`Refusal`] that holds.
    pub fn judge(&self, token: &Identity) -> Result<(), Refusal> {
        let tables = self.tables.load();
        if token.token.is_some_and(|jti| tables.refused.contains(jti.as_u128())) {
            return Err(Refusal::Token);
        }
        if token.session.is_some_and(|sid| tables.refused.contains(sid.as_u128())) {
            return Err(Refusal::Session);
        }
        if let Some(tenant) = token.tenant {
            let floor = tables.tenants.read().get(&tenant.as_u128()).copied();
            let (generation, cutoff) = (Refusal::TenantGeneration, Refusal::TenantCutoff);
            floor
                .map_or(Ok(()), |floor| floor.judge(token.tenant_generation, generation, token.foreign_iat, cutoff))?;
            if let Some(user) = token.user {
                let key = (tenant.as_u128(), user.as_u128());
                let floor = tables.users.get(shard(key.1)).and_then(|s| s.read().get(&key).copied());
                let (generation, cutoff) = (Refusal::UserGeneration, Refusal::UserCutoff);
                floor.map_or(Ok(()), |floor| {
                    floor.judge(token.user_generation, generation, token.foreign_iat, cutoff)
                })?;
            }
        }
        Ok(())
    }

    /// Whether bindings of this user are still the newest the log knows of.
    pub fn bindings_current(&self, tenant: TenantId, user: UserId, bindings: &Bindings) -> bool {
        let (tables, as_of) = (self.tables.load(), bindings.as_of);
        let changed = tables.bindings.read();
        bindings.history == changed.history
            && as_of >= changed.floor
            && changed.newest.get(&(tenant.as_u128(), user.as_u128())).is_none_or(|newest| as_of >= *newest)
            && changed.tenants.get(&tenant.as_u128()).is_none_or(|newest| as_of >= *newest)
    }

    /// Whether what is known of an API key is still the newest the log knows of.
    pub fn key_current(&self, key: &ApiKeyState) -> bool {
        let tables = self.tables.load();
        let changed = tables.bindings.read();
        key.history == changed.history
            && key.as_of >= changed.floor.max(changed.keys_floor)
            && changed.keys.get(&key.id.as_u128()).is_none_or(|newest| key.as_of >= *newest)
    }

    /// Forgets refusals of tokens that have expired by now on every clock, and of users what reaches no living token
    /// any more. Called now and then.
    pub fn forget_expired(&self, now: Timestamp) {
        let tables = self.tables.load();
        let before = (now - CUTOFF_REMEMBERED).secs();
        for shard in &tables.users {
            // A floor without a cutoff says nothing of its age and stays.
            shard.write().retain(|_, floor| floor.second == Floor::NO_SECOND || floor.second >= before);
        }
        tables.refused.forget_before(now.secs().saturating_sub(KEPT_PAST_EXPIRY_SECS));
    }

    /// How many tokens and sessions are refused now.
    pub fn refused_count(&self) -> usize {
        self.tables.load().refused.len()
    }
}

impl Floor {
    /// The second of who has no cutoff: nothing was issued before it.
    const NO_SECOND: i64 = i64::MIN;
    /// Refuses nothing.
    const NONE: Self = Self { generation: 0, second: Self::NO_SECOND };

    fn raise(&mut self, generation: u64, cutoff: Option<Timestamp>) {
        self.generation = self.generation.max(generation);
        self.second = self.second.max(cutoff.map_or(Self::NO_SECOND, last_second));
    }

    fn judge(
        self,
        generation: u64,
        too_old: Refusal,
        foreign_iat: Option<Timestamp>,
        cut_off: Refusal,
    ) -> Result<(), Refusal> {
        match foreign_iat {
            None if generation < self.generation => Err(too_old),
            Some(iat) if iat.secs() <= self.second => Err(cut_off),
            None | Some(_) => Ok(()),
        }
    }
}

/// Whether a foreign token is refused by a cutoff. Its issuer's clock is not ours and writes whole seconds, so that the
/// cutoff is rounded up to the second, and the skew is added that verification allows.
pub fn cut_off(iat: Timestamp, cutoff: Timestamp) -> bool {
    iat.secs() <= last_second(cutoff)
}

fn last_second(cutoff: Timestamp) -> i64 {
    (cutoff + Duration::from_millis(999) + CLOCK_SKEW).secs()
}

impl Tables {
    fn apply(&self, fact: &Fact, seq: Seq) {
        match fact {
            Fact::TokenRefused { jti, exp } => self.refused.insert(jti.as_u128(), exp.secs()),
            Fact::SessionEnded { sid, exp } => self.refused.insert(sid.as_u128(), exp.secs()),
            Fact::UserGeneration { tenant, user, generation, cutoff } => {
                let key = (tenant.as_u128(), user.as_u128());
                if let Some(shard) = self.users.get(shard(key.1)) {
                    shard.write().entry(key).or_insert(Floor::NONE).raise(*generation, *cutoff);
                }
            }
            Fact::TenantGeneration { tenant, generation, cutoff } => {
                self.tenants.write().entry(tenant.as_u128()).or_insert(Floor::NONE).raise(*generation, *cutoff);
            }
            Fact::BindingsChanged { tenant, user } => {
                let mut changed = self.bindings.write();
                if changed.newest.len() >= CHANGED_USERS {
                    changed.newest.clear();
                    changed.floor = seq;
                }
                changed.newest.insert((tenant.as_u128(), user.as_u128()), seq);
            }
            Fact::TenantBindingsChanged { tenant } => {
                let mut changed = self.bindings.write();
                if changed.tenants.len() >= CHANGED_TENANTS {
                    changed.tenants.clear();
                    changed.floor = seq;
                }
                changed.tenants.insert(tenant.as_u128(), seq);
            }
            Fact::KeyChanged { key } => {
                let mut changed = self.bindings.write();
                // Of its own: who makes and ends keys all day costs nobody their bindings.
                if changed.keys.len() >= CHANGED_KEYS {
                    changed.keys.clear();
                    changed.keys_floor = seq;
                }
                changed.keys.insert(key.as_u128(), seq);
            }
            Fact::AllBindingsChanged => {
                let mut changed = self.bindings.write();
                changed.newest.clear();
                changed.tenants.clear();
                changed.keys.clear();
                changed.floor = seq;
            }
        }
    }
}

/// Ids are random in their low bits (RFC 9562 §5.4, §5.7).
const fn shard(id: u128) -> usize {
    (id as usize) & (SHARDS - 1)
}

#[cfg(test)]
mod tests {
    use domain::{Id, Tag};
    use uuid::Uuid;

    use super::*;

    fn id<K>(n: u128) -> Id<K> {
        Id::new(Uuid::from_u128(n))
    }

    fn read_at(seq: u64) -> Bindings {
        Bindings { as_of: Seq(seq), ..Bindings::default() }
    }

    fn numbered(seq: u64, fact: Fact) -> NumberedFact {
        NumberedFact { seq: Seq(seq), tag: Tag(seq * 7), fact }
    }

    fn refused_token(n: u128) -> Fact {
        Fact::TokenRefused { jti: id(n), exp: Timestamp::from_secs(1000) }
    }

    #[test]
    fn facts_are_applied_in_order_and_without_a_gap() {
        let mirror = Mirror::default();
        assert_eq!(mirror.apply(&numbered(2, refused_token(2))), Applied::Gap);
        assert_eq!(mirror.apply(&numbered(1, refused_token(1))), Applied::Yes);
        assert_eq!(mirror.apply(&numbered(1, refused_token(1))), Applied::AlreadyKnown);
        assert_eq!(mirror.apply(&numbered(2, refused_token(2))), Applied::Yes);
        assert_eq!(mirror.position(), Position { seq: Seq(2), tag: Tag(14), ..Position::default() });
        let token = Identity { token: Some(id(2)), ..Identity::default() };
        assert_eq!(mirror.judge(&token), Err(Refusal::Token));
    }

    #[test]
    fn each_fact_refuses_what_it_names_and_nothing_else() {
        let mirror = Mirror::default();
        let (acme, globex, ann, ben) = (id(1), id(2), id(11), id(12));
        let facts = [
            Fact::SessionEnded { sid: id(21), exp: Timestamp::from_secs(1000) },
            Fact::UserGeneration { tenant: acme, user: ann, generation: 3, cutoff: None },
            Fact::TenantGeneration { tenant: globex, generation: 2, cutoff: None },
        ];
        for (seq, fact) in facts.into_iter().enumerate() {
            mirror.apply(&numbered(seq as u64 + 1, fact));
        }
        let token = |tenant, user, ug, tg| Identity {
            tenant: Some(tenant),
            user: Some(user),
            user_generation: ug,
            tenant_generation: tg,
            ..Identity::default()
        };
        assert_eq!(mirror.judge(&Identity { session: Some(id(21)), ..Identity::default() }), Err(Refusal::Session));
        assert_eq!(mirror.judge(&token(acme, ann, 2, 0)), Err(Refusal::UserGeneration));
        assert_eq!(mirror.judge(&token(acme, ann, 3, 0)), Ok(()));
        assert_eq!(mirror.judge(&token(acme, ben, 0, 0)), Ok(()));
        assert_eq!(mirror.judge(&token(globex, ann, 0, 1)), Err(Refusal::TenantGeneration));
        assert_eq!(mirror.judge(&token(globex, ann, 0, 2)), Ok(()));
    }

    #[test]
    fn an_older_generation_never_lowers_a_newer_one() {
        let mirror = Mirror::default();
        mirror.apply(&numbered(1, Fact::TenantGeneration { tenant: id(1), generation: 5, cutoff: None }));
        mirror.apply(&numbered(2, Fact::TenantGeneration { tenant: id(1), generation: 4, cutoff: None }));
        let token = Identity { tenant: Some(id(1)), tenant_generation: 4, ..Identity::default() };
        assert_eq!(mirror.judge(&token), Err(Refusal::TenantGeneration));
    }

    #[test]
    fn a_cutoff_refuses_foreign_tokens_issued_until_then_and_none_of_ours() {
        let mirror = Mirror::default();
        let cutoff = Some(Timestamp::from_millis(1_000_001));
        mirror.apply(&numbered(1, Fact::UserGeneration { tenant: id(1), user: id(2), generation: 1, cutoff }));
        mirror.apply(&numbered(2, Fact::TenantGeneration { tenant: id(3), generation: 1, cutoff }));
        let token = |tenant, user, foreign_iat, generation| Identity {
            tenant: Some(id(tenant)),
            user: Some(id(user)),
            user_generation: generation,
            tenant_generation: generation,
            foreign_iat,
            ..Identity::default()
        };
        // Rounded up to 1,001 s, and 30 s of skew.
        for (iat, ends) in [(0, true), (1000, true), (1031, true), (1032, false)] {
            let iat = Some(Timestamp::from_secs(iat));
            assert_eq!(mirror.judge(&token(1, 2, iat, 0)).err(), ends.then_some(Refusal::UserCutoff), "{iat:?}");
            assert_eq!(mirror.judge(&token(3, 2, iat, 0)).err(), ends.then_some(Refusal::TenantCutoff), "{iat:?}");
            assert_eq!(mirror.judge(&token(1, 4, iat, 0)), Ok(()), "another user");
            assert_eq!(mirror.judge(&token(4, 2, iat, 0)), Ok(()), "another tenant");
        }
        assert_eq!(mirror.judge(&token(1, 2, None, 1)), Ok(()), "ours go by generation");
        assert_eq!(mirror.judge(&token(1, 2, None, 0)), Err(Refusal::UserGeneration));
    }

    #[test]
    fn a_users_cutoff_is_forgotten_once_it_reaches_no_living_token() {
        let mirror = Mirror::default();
        let at = Timestamp::from_secs(1_000_000);
        let fact = Fact::UserGeneration { tenant: id(1), user: id(2), generation: 1, cutoff: Some(at) };
        mirror.apply(&numbered(1, fact));
        let token = Identity { tenant: Some(id(1)), user: Some(id(2)), ..Identity::default() };
        mirror.forget_expired(at + CUTOFF_REMEMBERED);
        assert_eq!(mirror.judge(&token), Err(Refusal::UserGeneration));
        mirror.forget_expired(at + CUTOFF_REMEMBERED + Duration::from_secs(60));
        assert_eq!(mirror.judge(&token), Ok(()));
    }

    #[test]
    fn bindings_read_before_a_change_are_not_current() {
        let mirror = Mirror::default();
        assert!(mirror.bindings_current(id(1), id(2), &read_at(0)));
        mirror.apply(&numbered(1, Fact::BindingsChanged { tenant: id(1), user: id(2) }));
        assert!(!mirror.bindings_current(id(1), id(2), &read_at(0)));
        assert!(mirror.bindings_current(id(1), id(2), &read_at(1)));
        assert!(mirror.bindings_current(id(1), id(3), &read_at(0)));
    }

    #[test]
    fn bindings_in_a_tenant_that_were_read_before_it_changed_are_not_current() {
        let mirror = Mirror::default();
        mirror.apply(&numbered(1, Fact::TenantBindingsChanged { tenant: id(1) }));
        for user in [2, 3] {
            assert!(!mirror.bindings_current(id(1), id(user), &read_at(0)));
            assert!(mirror.bindings_current(id(1), id(user), &read_at(1)));
        }
        assert!(mirror.bindings_current(id(4), id(2), &read_at(0)), "another tenant's are");
    }

    #[test]
    fn of_too_many_tenants_that_changed_every_binding_read_before_is_not_current() {
        let mirror = Mirror::default();
        for (seq, tenant) in (1..).zip(1..=CHANGED_TENANTS as u128 + 1) {
            mirror.apply(&numbered(seq, Fact::TenantBindingsChanged { tenant: id(tenant) }));
        }
        let all = CHANGED_TENANTS as u64 + 1;
        assert!(!mirror.bindings_current(id(1), id(2), &read_at(all - 1)));
        assert!(mirror.bindings_current(id(1), id(2), &read_at(all)));
    }

    #[test]
    fn a_reset_voids_the_lease_and_forgets_a_history_that_never_was() {
        let mirror = Mirror::default();
        mirror.apply(&numbered(1, Fact::TenantGeneration { tenant: id(1), generation: 9, cutoff: None }));
        mirror.grant(BootInstant::from_nanos(1), BootInstant::from_nanos(1) + Duration::from_secs(2));
        let before = mirror.version();
        mirror.reset(
            Position { seq: Seq(5), tag: Tag(1), ..Position::default() },
            [&Fact::TenantGeneration { tenant: id(1), generation: 2, cutoff: None }],
        );
        assert_ne!(mirror.version(), before);
        assert!(matches!(mirror.lease(BootInstant::from_nanos(2)), Lease::Unproven { .. }));
        let token = |tg| Identity { tenant: Some(id(1)), tenant_generation: tg, ..Identity::default() };
        assert_eq!(mirror.judge(&token(2)), Ok(()));
        assert_eq!(mirror.judge(&token(1)), Err(Refusal::TenantGeneration));
        assert!(!mirror.bindings_current(id(1), id(2), &read_at(4)));
    }

    #[test]
    fn after_all_bindings_changed_none_read_before_is_current() {
        let mirror = Mirror::default();
        mirror.apply(&numbered(1, Fact::BindingsChanged { tenant: id(1), user: id(2) }));
        mirror.apply(&numbered(2, Fact::AllBindingsChanged));
        for user in [2, 3] {
            assert!(!mirror.bindings_current(id(1), id(user), &read_at(1)));
            assert!(mirror.bindings_current(id(1), id(user), &read_at(2)));
        }
    }

    #[test]
    fn a_key_that_changed_is_asked_about_anew_and_signing_out_does_not_touch_it() {
        let mirror = Mirror::default();
        let key = |as_of| ApiKeyState {
            history: History::default(),
            as_of: Seq(as_of),
            id: id(7),
            prefix: "pck_abcdefghijklmnop".parse().unwrap(),
            project: id(3),
            tenant: id(1),
            owner: id(2),
            owner_name: None,
            verifiers: Vec::new(),
            scopes: Vec::new(),
            networks: Vec::new(),
            rate_limit: None,
            expires_at: None,
            disabled: false,
        };
        assert!(mirror.key_current(&key(0)));
        mirror.apply(&numbered(1, Fact::KeyChanged { key: id(7) }));
        assert!(!mirror.key_current(&key(0)) && mirror.key_current(&key(1)));
        mirror.apply(&numbered(2, Fact::KeyChanged { key: id(8) }));
        assert!(mirror.key_current(&key(1)), "another key's");
        mirror.apply(&numbered(3, Fact::UserGeneration { tenant: id(1), user: id(2), generation: 9, cutoff: None }));
        mirror.apply(&numbered(4, Fact::TenantGeneration { tenant: id(1), generation: 9, cutoff: None }));
        assert_eq!(mirror.judge(&Identity::of_key(&key(1))), Ok(()));
        mirror.apply(&numbered(5, Fact::AllBindingsChanged));
        assert!(!mirror.key_current(&key(4)) && mirror.key_current(&key(5)));
        mirror.reset(Position { history: History(9), seq: Seq(5), tag: Tag(1) }, []);
        assert!(!mirror.key_current(&key(5)), "of a lost history");
    }

    #[test]
    fn bindings_of_a_lost_history_are_not_current_whatever_their_number() {
        let mirror = Mirror::default();
        let read_in = |history| Bindings { history: History(history), ..read_at(1000) };
        mirror.reset(Position { history: History(1), seq: Seq(1000), tag: Tag(1) }, []);
        assert!(mirror.bindings_current(id(1), id(2), &read_in(1)));
        mirror.reset(Position { history: History(2), seq: Seq(500), tag: Tag(1) }, []);
        assert!(!mirror.bindings_current(id(1), id(2), &read_in(1)));
        assert!(mirror.bindings_current(id(1), id(2), &read_in(2)));
    }

    #[test]
    fn a_lease_counts_from_its_question_and_is_never_shortened() {
        let mirror = Mirror::default();
        let at = |secs| BootInstant::default() + Duration::from_secs(secs);
        mirror.grant(at(10), at(12));
        mirror.grant(at(9), at(11));
        assert_eq!(mirror.lease(at(11)), Lease::Proven { until: at(12) });
        assert_eq!(mirror.lease(at(12)), Lease::Unproven { last_proven: at(10) });
    }

    #[test]
    fn refusals_of_expired_tokens_are_forgotten() {
        let mirror = Mirror::default();
        mirror.apply(&numbered(1, refused_token(1)));
        mirror.forget_expired(Timestamp::from_secs(1060));
        assert_eq!(mirror.refused_count(), 1);
        mirror.forget_expired(Timestamp::from_secs(1061));
        assert_eq!(mirror.refused_count(), 0);
    }
}
