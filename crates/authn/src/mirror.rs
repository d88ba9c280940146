//! The mirror: a gateway's copy of the log, and the lease that says how long the copy may be believed.
//!
//! Facts are applied in the order of their numbers, without a gap. The lease is granted by who has *proven* that
//! everything up to the log's head is applied; it counts from the moment the proof was asked for, on the boot-time
//! clock. What the mirror refuses it refuses at once; what it does not refuse counts only while the lease holds.

mod refused;

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use domain::{BootInstant, Fact, NumberedFact, Position, Seq, SessionId, TenantId, Timestamp, TokenId, UserId};
use parking_lot::{Mutex, RwLock};

use self::refused::RefusedIds;

/// Shards of the tables, so that applying a fact blocks few look-ups. A power of two.
const SHARDS: usize = 64;

/// Users whose bindings changed that are remembered one by one; past that, all bindings read before now are stale.
const CHANGED_USERS: usize = 100_000;

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
    /// `sub`, where it is one of our users.
    pub user: Option<UserId>,
    /// `ug`; a token of ours without one counts as generation 0.
    pub user_generation: u64,
    /// `tg`; a token of ours without one counts as generation 0.
    pub tenant_generation: u64,
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
    user_generations: Vec<RwLock<HashMap<(u128, u128), u64>>>,
    tenant_generations: RwLock<HashMap<u128, u64>>,
    bindings: RwLock<ChangedBindings>,
}

#[derive(Debug, Default)]
struct ChangedBindings {
    /// Bindings read before this are stale for everybody.
    floor: Seq,
    newest: HashMap<(u128, u128), Seq>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            refused: RefusedIds::default(),
            user_generations: (0..SHARDS).map(|_| RwLock::default()).collect(),
            tenant_generations: RwLock::default(),
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
        *position = Position { seq: numbered.seq, tag: numbered.tag };
        self.version.fetch_add(1, Ordering::Release);
        Applied::Yes
    }

    /// Forgets everything and starts from a full reading of the log at `position`. The lease is void until the next
    /// proof: what was applied may belong to a history that never was.
    pub fn reset<'f>(&self, position: Position, facts: impl IntoIterator<Item = &'f Fact>) {
        let mut held = self.position.lock();
        self.lease_until.store(0, Ordering::SeqCst);
        let tables = Tables::default();
        tables.bindings.write().floor = position.seq;
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
            let tenant_generation = tables.tenant_generations.read().get(&tenant.as_u128()).copied();
            if tenant_generation.is_some_and(|g| token.tenant_generation < g) {
                return Err(Refusal::TenantGeneration);
            }
            if let Some(user) = token.user {
                let key = (tenant.as_u128(), user.as_u128());
                let generation = tables.user_generations.get(shard(key.1)).and_then(|s| s.read().get(&key).copied());
                if generation.is_some_and(|g| token.user_generation < g) {
                    return Err(Refusal::UserGeneration);
                }
            }
        }
        Ok(())
    }

    /// Whether bindings of this user read at `as_of` are still the newest the log knows of.
    pub fn bindings_current(&self, tenant: TenantId, user: UserId, as_of: Seq) -> bool {
        let tables = self.tables.load();
        let changed = tables.bindings.read();
        as_of >= changed.floor
            && changed.newest.get(&(tenant.as_u128(), user.as_u128())).is_none_or(|newest| as_of >= *newest)
    }

    /// Forgets refusals of tokens that have expired by now on every clock. Called now and then.
    pub fn forget_expired(&self, now: Timestamp) {
        self.tables.load().refused.forget_before(now.secs().saturating_sub(KEPT_PAST_EXPIRY_SECS));
    }

    /// How many tokens and sessions are refused now.
    pub fn refused_count(&self) -> usize {
        self.tables.load().refused.len()
    }
}

impl Tables {
    fn apply(&self, fact: &Fact, seq: Seq) {
        match fact {
            Fact::TokenRefused { jti, exp } => self.refused.insert(jti.as_u128(), exp.secs()),
            Fact::SessionEnded { sid, exp } => self.refused.insert(sid.as_u128(), exp.secs()),
            Fact::UserGeneration { tenant, user, generation } => {
                let key = (tenant.as_u128(), user.as_u128());
                if let Some(shard) = self.user_generations.get(shard(key.1)) {
                    let mut generations = shard.write();
                    let held = generations.entry(key).or_default();
                    *held = (*held).max(*generation);
                }
            }
            Fact::TenantGeneration { tenant, generation } => {
                let mut generations = self.tenant_generations.write();
                let held = generations.entry(tenant.as_u128()).or_default();
                *held = (*held).max(*generation);
            }
            Fact::BindingsChanged { tenant, user } => {
                let mut changed = self.bindings.write();
                if changed.newest.len() >= CHANGED_USERS {
                    changed.newest.clear();
                    changed.floor = seq;
                }
                changed.newest.insert((tenant.as_u128(), user.as_u128()), seq);
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
    use std::time::Duration;

    use domain::{Id, Tag};
    use uuid::Uuid;

    use super::*;

    fn id<K>(n: u128) -> Id<K> {
        Id::new(Uuid::from_u128(n))
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
        assert_eq!(mirror.position(), Position { seq: Seq(2), tag: Tag(14) });
        let token = Identity { token: Some(id(2)), ..Identity::default() };
        assert_eq!(mirror.judge(&token), Err(Refusal::Token));
    }

    #[test]
    fn each_fact_refuses_what_it_names_and_nothing_else() {
        let mirror = Mirror::default();
        let (acme, globex, ann, ben) = (id(1), id(2), id(11), id(12));
        let facts = [
            Fact::SessionEnded { sid: id(21), exp: Timestamp::from_secs(1000) },
            Fact::UserGeneration { tenant: acme, user: ann, generation: 3 },
            Fact::TenantGeneration { tenant: globex, generation: 2 },
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
        mirror.apply(&numbered(1, Fact::TenantGeneration { tenant: id(1), generation: 5 }));
        mirror.apply(&numbered(2, Fact::TenantGeneration { tenant: id(1), generation: 4 }));
        let token = Identity { tenant: Some(id(1)), tenant_generation: 4, ..Identity::default() };
        assert_eq!(mirror.judge(&token), Err(Refusal::TenantGeneration));
    }

    #[test]
    fn bindings_read_before_a_change_are_not_current() {
        let mirror = Mirror::default();
        assert!(mirror.bindings_current(id(1), id(2), Seq(0)));
        mirror.apply(&numbered(1, Fact::BindingsChanged { tenant: id(1), user: id(2) }));
        assert!(!mirror.bindings_current(id(1), id(2), Seq(0)));
        assert!(mirror.bindings_current(id(1), id(2), Seq(1)));
        assert!(mirror.bindings_current(id(1), id(3), Seq(0)));
    }

    #[test]
    fn a_reset_voids_the_lease_and_forgets_a_history_that_never_was() {
        let mirror = Mirror::default();
        mirror.apply(&numbered(1, Fact::TenantGeneration { tenant: id(1), generation: 9 }));
        mirror.grant(BootInstant::from_nanos(1), BootInstant::from_nanos(1) + Duration::from_secs(2));
        let before = mirror.version();
        mirror.reset(Position { seq: Seq(5), tag: Tag(1) }, [&Fact::TenantGeneration { tenant: id(1), generation: 2 }]);
        assert_ne!(mirror.version(), before);
        assert!(matches!(mirror.lease(BootInstant::from_nanos(2)), Lease::Unproven { .. }));
        let token = |tg| Identity { tenant: Some(id(1)), tenant_generation: tg, ..Identity::default() };
        assert_eq!(mirror.judge(&token(2)), Ok(()));
        assert_eq!(mirror.judge(&token(1)), Err(Refusal::TenantGeneration));
        assert!(!mirror.bindings_current(id(1), id(2), Seq(4)));
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
