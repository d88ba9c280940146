//! Whether a tenant's members showed who they are, and how they came to the state they are in.

use authz::{
    Action, Authorized, Scope,
    action::{ManageIdentityVerifications, ManageOwnAccount},
};
use domain::{
    Fact, IdentityVerificationId, TenantId, Timestamp, UserId,
    model::{
        IdentityState, IdentityStep, IdentityVerification, NewIdentityVerification, NextIdentityStep, Version,
        identity_verification::{A_DAY, MOST},
    },
};

use super::{
    break_glass, generation,
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    login_policy::LoginPolicies,
    machine_client::MachineClients,
    membership::Memberships,
    needed, swap,
    user::Users,
    within,
};
use crate::{
    Audited, StoreError, Tx,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM identity_verifications";

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

fn read(row: &Row) -> Result<IdentityVerification, StoreError> {
    Ok(IdentityVerification {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        user_id: row.at("user_id")?,
        state: row.word("state")?,
        reason: row.at("reason")?,
        ends_at: row.at("ends_at")?,
        created_at: row.at("created_at")?,
        changed_at: row.at("changed_at")?,
        version: Version(row.at("version")?),
    })
}

fn step(row: &Row) -> Result<IdentityStep, StoreError> {
    Ok(IdentityStep {
        from: row.word_opt("before")?,
        to: row.word("after")?,
        reason: row.at("reason")?,
        by: row.json("actor")?,
        at: row.at("at")?,
    })
}

/// The list of a tenant's verifications.
#[derive(Debug)]
pub enum IdentityVerificationList {}

impl Listing for IdentityVerificationList {
    type Item = IdentityVerification;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::new(
            "state",
            "In this state.",
            Takes::Word(&["pending", "in_review", "approved", "rejected", "expired"]),
            "state = ?",
        ),
        Filter::new("user_id", "Of this user.", Takes::Id, "user_id = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<IdentityVerification, StoreError> {
        read(row.0)
    }
}

/// Reads of verifications.
pub trait IdentityVerifications: Reader {
    /// The one of this id.
    fn identity_verification(
        &self,
        id: IdentityVerificationId,
    ) -> impl Future<Output = Result<Option<IdentityVerification>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// How it came to its state, the first step first. They are few: none leads back.
    fn identity_steps(
        &self,
        id: IdentityVerificationId,
    ) -> impl Future<Output = Result<Vec<IdentityStep>, StoreError>> + Send {
        async move {
            let sql = "SELECT * FROM identity_steps WHERE verification_id = $1 ORDER BY number";
            self.view().await?.all(sql, values![id], step).await
        }
    }

    /// Whether a user showed a tenant who they are, and that still counts.
    fn is_identity_approved(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let sql = "SELECT 1 AS one FROM identity_verifications
                       WHERE tenant_id = $1 AND user_id = $2 AND state = 'approved' AND ends_at > $3";
            Ok(!self.view().await?.query(sql, values![tenant, user, now]).await?.is_empty())
        }
    }

    /// Whether a tenant takes a user for who they are: it demands nothing, they showed it, or they are its emergency administrator or
    /// a program.
    fn is_known_enough(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let policy = view.login_policy(tenant).await?;
            if !policy.is_some_and(|policy| policy.require_verified_identity)
                || view.is_identity_approved(tenant, user, now).await?
                || view.is_of_machine(user).await?
            {
                return Ok(true);
            }
            Ok(view.user(user).await?.is_some_and(|user| user.is_break_glass))
        }
    }

    /// Up to `limit` of those that have waited, or counted, for long enough, by id, behind `after`.
    fn ended_identity_verifications(
        &self,
        now: Timestamp,
        after: IdentityVerificationId,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<IdentityVerificationId>, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM identity_verifications
                       WHERE state IN ('pending', 'in_review', 'approved') AND ends_at <= $1 AND id > $2
                       ORDER BY id LIMIT $3";
            self.view().await?.all(sql, values![now, after, limit], |row| row.at("id")).await
        }
    }
}
impl<R: Reader> IdentityVerifications for R {}

impl Tx {
    /// Begins a verification of a member, or answers the one that is under way.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for who is no member; [`StoreError::Rule`] (`identity_verifications_full`) for one too many within 24
    /// h, (`user_is_break_glass`); [`StoreError::OutOfScope`].
    pub async fn begin_identity_verification(
        &self,
        by: &Authorized<ManageIdentityVerifications>,
        new: NewIdentityVerification,
    ) -> Result<Audited<IdentityVerification>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        self.begin(by, new).await
    }

    /// The same for oneself.
    ///
    /// # Errors
    /// As there; [`StoreError::OutOfScope`] for anybody else.
    pub async fn begin_own_identity_verification(
        &self,
        by: &Authorized<ManageOwnAccount>,
        new: NewIdentityVerification,
    ) -> Result<Audited<IdentityVerification>, StoreError> {
        if by.actor().id != Some(new.user_id.uuid()) {
            return Err(StoreError::OutOfScope);
        }
        self.begin(by, new).await
    }

    async fn begin<A: Action>(
        &self,
        by: &Authorized<A>,
        new: NewIdentityVerification,
    ) -> Result<Audited<IdentityVerification>, StoreError> {
        let (view, now) = (&self.work.view, self.work.now);
        needed(self.membership(new.tenant_id, new.user_id).await?, "membership")?;
        break_glass::keep(view, new.user_id).await?;
        let of = || values![new.tenant_id, new.user_id];
        let sql = format!(
            "{SELECT} WHERE tenant_id = $1 AND user_id = $2 AND state IN ('pending', 'in_review') AND ends_at > $3"
        );
        let under_way = view.first(&sql, [of(), values![now]].concat(), read).await?;
        if let Some(found) = under_way {
            return Ok(Audited::unchanged(found));
        }
        let sql = "SELECT COUNT(*) AS begun FROM identity_verifications
                   WHERE tenant_id = $1 AND user_id = $2 AND created_at > $3";
        let begun = view.first(sql, [of(), values![now - DAY]].concat(), |row| row.at::<u64>("begun")).await?;
        if begun.is_some_and(|begun| begun >= A_DAY) {
            return Err(StoreError::rule("identity_verifications_full", "there were as many today as there may be"));
        }
        let sql = "DELETE FROM identity_verifications WHERE tenant_id = $1 AND user_id = $2
                       AND state IN ('rejected', 'expired') AND id NOT IN (
                           SELECT id FROM identity_verifications WHERE tenant_id = $1 AND user_id = $2
                           ORDER BY created_at DESC, id DESC LIMIT $3)";
        view.execute(sql, [of(), values![MOST - 1]].concat()).await?;
        let sql = "INSERT INTO identity_verifications (id, project_id, tenant_id, user_id, state, reason, ends_at, created_at,
                       changed_at, version)
                   VALUES ($1, $2, $3, $4, 'pending', '', $5, $6, $6, 1) RETURNING *";
        let all = values![new.id, new.project_id, new.tenant_id, new.user_id, new.ends_at, now];
        let begun = needed(view.first(sql, all, read).await?, "identity-verification")?;
        let first = NextIdentityStep { to: begun.state, reason: String::new(), ends_at: None, event_id: None };
        self.keep_step(by, &begun, None, &first).await?;
        self.created(self.unaudited(begun)).await
    }

    /// Brings a verification to its next state, and keeps the step. An event that was taken before changes nothing. Who is
    /// approved no more is signed out of a tenant that demands it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::VersionMismatch`]; [`StoreError::Rule`] (`identity_state`) for a state that does not
    /// follow; [`StoreError::OutOfScope`].
    pub async fn step_identity_verification(
        &self,
        by: &Authorized<ManageIdentityVerifications>,
        (id, seen): (IdentityVerificationId, Option<Version>),
        next: &NextIdentityStep,
    ) -> Result<Audited<IdentityVerification>, StoreError> {
        let (view, now) = (&self.work.view, self.work.now);
        let found = needed(self.identity_verification(id).await?, "identity-verification")?;
        within(by, Scope::Tenant(found.project_id, found.tenant_id))?;
        if let Some(event) = &next.event_id {
            let sql = "SELECT 1 AS one FROM identity_steps WHERE verification_id = $1 AND event_id = $2";
            if !view.query(sql, values![id, event]).await?.is_empty() {
                return Ok(Audited::unchanged(found));
            }
        }
        // What has ended is over, whether or not anybody noted it: from there nothing follows but that.
        let is_noted = next.to == IdentityState::Expired && found.state_at(now) == IdentityState::Expired;
        let from = if is_noted { found.state } else { found.state_at(now) };
        if !from.leads_to(next.to) {
            return Err(StoreError::rule(
                "identity_state",
                "the verification is in a state on which that does not follow",
            ));
        }
        let mut all = vec![Value::word(&next.to)];
        all.extend(values![&next.reason, next.ends_at.unwrap_or(found.ends_at), now]);
        let assignments = "state = $3, reason = $4, ends_at = $5, changed_at = $6";
        let key = (id.uuid(), seen.unwrap_or(found.version));
        swap(view, "identity-verification", "identity_verifications", key, assignments, all).await?;
        self.keep_step(by, &found, Some(found.state), next).await?;
        self.known_otherwise(&found, next.to).await?;
        let changed = needed(self.identity_verification(id).await?, "identity-verification")?;
        self.done(next.to.verb(), self.unaudited(changed)).await
    }

    /// Voids what a user showed who they are with: in one tenant, or everywhere. What is under way goes with it, as somebody else may
    /// have begun it.
    ///
    /// # Errors
    /// Of the database.
    pub(crate) async fn void_identity_verifications<A: Action>(
        &self,
        by: &Authorized<A>,
        (user, tenant): (UserId, Option<TenantId>),
        reason: &str,
    ) -> Result<(), StoreError> {
        let (view, now) = (&self.work.view, self.work.now);
        let within = if tenant.is_some() { "AND tenant_id = $2" } else { "" };
        let sql = format!(
            "{SELECT} WHERE user_id = $1 {within} AND state IN ('pending', 'in_review', 'approved') ORDER BY id"
        );
        let mut of = values![user];
        of.extend(tenant.map(Value::from));
        for found in view.all(&sql, of, read).await? {
            // What ended by itself did so.
            let to = match found.state_at(now) {
                IdentityState::Expired => IdentityState::Expired,
                _ => IdentityState::Rejected,
            };
            let next = NextIdentityStep { to, reason: reason.to_owned(), ends_at: None, event_id: None };
            let mut all = vec![Value::word(&to)];
            all.extend(values![reason, now]);
            let assignments = "state = $3, reason = $4, changed_at = $5";
            let key = (found.id.uuid(), found.version);
            swap(view, "identity-verification", "identity_verifications", key, assignments, all).await?;
            self.keep_step(by, &found, Some(found.state), &next).await?;
            self.known_otherwise(&found, to).await?;
            let changed = needed(self.identity_verification(found.id).await?, "identity-verification")?;
            self.done(to.verb(), self.unaudited(changed)).await?;
        }
        Ok(())
    }

    /// Has it count at the edge that an approval came or went, where one is demanded: who has none any more is signed out.
    async fn known_otherwise(&self, before: &IdentityVerification, to: IdentityState) -> Result<(), StoreError> {
        let (tenant, user) = (before.tenant_id, before.user_id);
        let counts = before.state == IdentityState::Approved || to == IdentityState::Approved;
        let policy = self.login_policy(tenant).await?;
        if !counts || !policy.is_some_and(|policy| policy.require_verified_identity) {
            return Ok(());
        }
        let gone = before.state == IdentityState::Approved;
        if gone && !self.is_identity_approved(tenant, user, self.work.now).await? {
            generation::raise(&self.work, before.project_id, tenant, user).await?;
        }
        self.work.insert_fact(&Fact::BindingsChanged { tenant, user }).await
    }

    async fn keep_step<A: Action>(
        &self,
        by: &Authorized<A>,
        of: &IdentityVerification,
        from: Option<IdentityState>,
        next: &NextIdentityStep,
    ) -> Result<(), StoreError> {
        let view = &self.work.view;
        let sql = "SELECT COUNT(*) AS taken FROM identity_steps WHERE verification_id = $1";
        let taken = view.first(sql, values![of.id], |row| row.at::<u64>("taken")).await?.unwrap_or(0);
        let mut all = values![of.id, taken + 1, of.project_id, of.tenant_id];
        all.extend([Value::word(&from), Value::word(&next.to)]);
        all.extend(values![&next.reason]);
        all.push(Value::json(by.actor())?);
        all.extend(values![next.event_id.clone(), self.work.now]);
        let sql =
            "INSERT INTO identity_steps (verification_id, number, project_id, tenant_id, before, after, reason, actor,
                       event_id, at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        view.execute(sql, all).await.map(drop)
    }
}
