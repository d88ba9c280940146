//! Domains of email addresses: who claims and holds them, and who belongs to a tenant by them.
//!
//! A proof is won, lost and taken over as that of a hostname ([`super::hostname_claim`]), within one project. When a
//! tenant holds a domain no more, the memberships that came by it end with it; those that were made otherwise stay.

use std::collections::HashSet;

use authz::{Authorized, Scope, action::ManageEmailDomains};
use domain::{
    EmailDomainId, HostName, ProjectId, TenantId, UserId,
    model::{
        EmailDomain, Membership, NewEmailDomain, Proof, ProofFailure, ProofRules, ProofSubject, Verdict, VerifyState,
        Version, builtin, domain_of, proof::judge,
    },
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    membership::Memberships,
    needed, one,
    proof::{self, Look, Noted},
    swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

/// With its proof, whose columns have names of their own.
const SELECT: &str =
    "SELECT email_domains.*, challenge, checked_at, lost_at, failed_at, failure, due_at FROM email_domains
    JOIN (SELECT id AS proof_of, challenge, checked_at, lost_at, failed_at, failure, due_at FROM email_domain_proofs)
        AS proof ON proof.proof_of = email_domains.id";

/// Memberships that end in one transaction.
const ENDED_AT_ONCE: usize = 200;

fn read(row: &Row) -> Result<EmailDomain, StoreError> {
    Ok(EmailDomain {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        domain: row.parsed("domain")?,
        state: row.word("state")?,
        verified_at: row.at("verified_at")?,
        proof: proof::read(row)?.ok_or_else(|| StoreError::corrupt("challenge", "missing"))?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of the domains that a tenant claims.
#[derive(Debug)]
pub enum EmailDomainList {}

impl Listing for EmailDomainList {
    type Item = EmailDomain;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::search("That hold this, in any case.", "domain LIKE ? ESCAPE '!'"),
        Filter::new("state", "In this state.", Takes::Word(&["pending", "verified", "failed"]), "state = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::new("domain", "domain"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<EmailDomain, StoreError> {
        read(row.0)
    }
}

/// Reads of email domains.
pub trait EmailDomains: Reader {
    /// The domain of this id.
    fn email_domain(&self, id: EmailDomainId) -> impl Future<Output = Result<Option<EmailDomain>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// Tenants with members who came by a domain that the tenant does not hold, and have no other role.
    fn tenants_with_strays(
        &self,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<(ProjectId, TenantId)>, StoreError>> + Send {
        async move {
            let sql = "SELECT DISTINCT own.project_id, own.tenant_id FROM memberships AS own
                           JOIN users ON users.id = own.user_id
                       WHERE own.source = 'domain'
                           AND NOT EXISTS (SELECT 1 FROM email_domains AS held
                                           WHERE held.tenant_id = own.tenant_id AND held.state = 'verified'
                                               AND users.email_fold LIKE '%@' || held.domain)
                           AND NOT EXISTS (SELECT 1 FROM role_bindings AS given
                                           WHERE given.tenant_id = own.tenant_id AND given.subject_kind = 'user'
                                               AND given.subject_id = own.user_id AND given.role_id <> $1)
                       ORDER BY own.tenant_id LIMIT $2";
            let read = |row: &Row| Ok((row.at("project_id")?, row.at("tenant_id")?));
            self.view().await?.all(sql, values![builtin::MEMBER, limit], read).await
        }
    }

    /// Who holds a domain in a project, verified or failed since.
    fn email_domain_holder(
        &self,
        project: ProjectId,
        domain: &HostName,
    ) -> impl Future<Output = Result<Option<EmailDomain>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE project_id = $1 AND domain = $2 AND verified_at IS NOT NULL");
            self.view().await?.first(&sql, values![project, domain.as_str()], read).await
        }
    }

    /// How many domains a tenant claims, and how many of them it has not proven.
    fn count_email_domains(&self, tenant: TenantId) -> impl Future<Output = Result<(u64, u64), StoreError>> + Send {
        async move {
            let sql = "SELECT COUNT(*) AS count, COUNT(*) - COUNT(verified_at) AS unproven FROM email_domains WHERE tenant_id = $1";
            let read = |row: &Row| Ok((row.at("count")?, row.at("unproven")?));
            Ok(self.view().await?.first(sql, values![tenant], read).await?.unwrap_or_default())
        }
    }
}
impl<R: Reader> EmailDomains for R {}

impl Tx {
    /// Claims a domain.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `email_domains(domain)` when the tenant claims it already.
    pub async fn insert_email_domain(
        &self,
        by: &Authorized<ManageEmailDomains>,
        new: NewEmailDomain,
    ) -> Result<Unaudited<EmailDomain>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let now = self.work.now;
        let made = EmailDomain {
            id: new.id,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            domain: new.domain,
            state: VerifyState::Pending,
            verified_at: None,
            proof: Proof::new(new.challenge),
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let mut all = values![made.id, made.project_id, made.tenant_id, made.domain.as_str(), now];
        all.push(Value::word(&made.state));
        let sql =
            "INSERT INTO email_domains (id, project_id, tenant_id, domain, created_at, updated_at, state, version)
                   VALUES ($1, $2, $3, $4, $5, $5, $6, 1)";
        self.work.view.execute(sql, all).await?;
        let place = (made.project_id, Some(made.tenant_id));
        proof::insert(&self.work.view, ProofSubject::EmailDomain(made.id), place, &made.proof).await?;
        Ok(self.unaudited(made))
    }

    /// Notes what a look brought, and what follows from it. A look that is older than one that was noted changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`domain_taken`) when the domain was proven and another tenant holds it;
    /// [`StoreError::NotFound`].
    pub async fn note_email_domain_proof(
        &self,
        by: &Authorized<ManageEmailDomains>,
        id: EmailDomainId,
        look: &Look,
        rules: &ProofRules,
    ) -> Result<Noted<EmailDomain>, StoreError> {
        let mut domain = needed(self.email_domain(id).await?, "domain")?;
        within(by, Scope::Tenant(domain.project_id, domain.tenant_id))?;
        if domain.proof.checked_at.is_some_and(|at| at > look.asked_at) {
            return Ok(Noted::Quiet(domain));
        }
        let verified = domain.state == VerifyState::Verified;
        let verdict = judge(look.finding, verified, domain.proof.lost_at, rules.grace, self.work.now);
        let wins = verdict == Verdict::Wins;
        let displaced = if wins { self.take_email_domain(&domain, rules).await? } else { None };
        let holds = domain.verified_at.is_some() || wins;
        domain.proof = proof::after(&domain.proof, look, verdict, holds, self.work.now);
        proof::keep(&self.work.view, ProofSubject::EmailDomain(id), &domain.proof).await?;
        let state = match verdict {
            Verdict::Wins => VerifyState::Verified,
            Verdict::Fails(_) | Verdict::Waits(_) => VerifyState::Failed,
            Verdict::Holds { .. } | Verdict::Lost(_) | Verdict::Lacks(_) | Verdict::Unknown => domain.state,
        };
        let told = state != domain.state || matches!(verdict, Verdict::Lost(_) | Verdict::Holds { found_again: true });
        if !told {
            return Ok(Noted::Quiet(domain));
        }
        if state != domain.state {
            domain.state = state;
            if state == VerifyState::Verified {
                domain.verified_at = domain.verified_at.or(Some(self.work.now));
            }
            self.save_email_domain(&mut domain).await?;
        }
        Ok(Noted::Told { verdict, now: self.unaudited(domain), displaced })
    }

    /// Makes the domain free for a claim that was proven; answers who held it.
    async fn take_email_domain(
        &self,
        claim: &EmailDomain,
        rules: &ProofRules,
    ) -> Result<Option<Unaudited<EmailDomain>>, StoreError> {
        let holder = self.email_domain_holder(claim.project_id, &claim.domain).await?.filter(|it| it.id != claim.id);
        let Some(mut holder) = holder else { return Ok(None) };
        let failed_at = holder.proof.failed_at.filter(|_| holder.state == VerifyState::Failed);
        if failed_at.is_none_or(|at| at + rules.takeover_after > self.work.now) {
            return Err(StoreError::rule("domain_taken", "another has proven the domain, and holds it"));
        }
        holder.proof.failure = Some(ProofFailure::TakenOver);
        holder.proof.due_at = None;
        proof::keep(&self.work.view, ProofSubject::EmailDomain(holder.id), &holder.proof).await?;
        holder.verified_at = None;
        self.save_email_domain(&mut holder).await?;
        Ok(Some(self.unaudited(holder)))
    }

    /// Gives a domain up.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_email_domain(
        &self,
        by: &Authorized<ManageEmailDomains>,
        id: EmailDomainId,
    ) -> Result<Unaudited<EmailDomain>, StoreError> {
        let domain = needed(self.email_domain(id).await?, "domain")?;
        within(by, Scope::Tenant(domain.project_id, domain.tenant_id))?;
        one(&self.work.view, "domain", "DELETE FROM email_domains WHERE id = $1", values![id]).await?;
        Ok(self.unaudited(domain))
    }

    /// Ends memberships of a tenant that came by the domain of an address, and whose address is in none of its verified domains
    /// now, each with all that hangs on it; at most so many that one transaction can. Whoever was given another role than the one
    /// that came with it stays: somebody vouched for them. The caller asks again until none ends.
    ///
    /// # Errors
    /// Of the database.
    pub async fn end_stray_memberships(
        &self,
        by: &Authorized<ManageEmailDomains>,
        (project, tenant): (ProjectId, TenantId),
    ) -> Result<Vec<Unaudited<Membership>>, StoreError> {
        within(by, Scope::Tenant(project, tenant))?;
        let view = &self.work.view;
        let sql = "SELECT domain FROM email_domains WHERE tenant_id = $1 AND state = 'verified'";
        let verified: HashSet<HostName> =
            view.all(sql, values![tenant], |row| row.parsed("domain")).await?.into_iter().collect();
        let sql =
            "SELECT memberships.user_id, users.email FROM memberships JOIN users ON users.id = memberships.user_id
                   WHERE memberships.tenant_id = $1 AND memberships.source = 'domain'
                       AND NOT EXISTS (SELECT 1 FROM role_bindings AS given
                                       WHERE given.tenant_id = $1 AND given.subject_kind = 'user'
                                           AND given.subject_id = memberships.user_id AND given.role_id <> $2)
                   ORDER BY memberships.user_id";
        let read = |row: &Row| Ok((row.at::<UserId>("user_id")?, row.at::<Option<String>>("email")?));
        let all = view.all(sql, values![tenant, builtin::MEMBER], read).await?;
        let stays =
            |email: Option<&String>| email.and_then(|it| domain_of(it)).is_some_and(|it| verified.contains(&it));
        let strays = all.into_iter().filter(|(_, email)| !stays(email.as_ref())).take(ENDED_AT_ONCE);
        let mut ended = Vec::new();
        for (user, _) in strays {
            let membership = needed(self.membership(tenant, user).await?, "membership")?;
            self.end_membership(by, &membership).await?;
            ended.push(self.unaudited(membership));
        }
        Ok(ended)
    }

    async fn save_email_domain(&self, domain: &mut EmailDomain) -> Result<(), StoreError> {
        let key = (domain.id.uuid(), domain.version);
        let all = vec![Value::word(&domain.state), domain.verified_at.into(), self.work.now.into()];
        let assignments = "state = $3, verified_at = $4, updated_at = $5";
        domain.version = swap(&self.work.view, "domain", "email_domains", key, assignments, all).await?;
        domain.updated_at = self.work.now;
        Ok(())
    }
}
