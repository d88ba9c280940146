//! Who holds a hostname: proving it, losing it, taking it over, giving it up.
//!
//! Any number of tenants may claim a name. The one whose proof was found first holds it; another gets it by a proof of its
//! own only after the holder's was missing for the grace and for `takeover_after` more, or after it was given up and its
//! quarantine is over. All of that is judged in serializable transactions; the unique index `hostnames_one_holder` stands
//! behind them.

use authz::{Authorized, Scope, action::ManageHostnames};
use domain::{
    HostnameId, ProjectId, TenantId,
    model::{Finding, Hostname, Proof, ProofFailure, ProofRules, ProofSubject, Verdict, VerifyState, proof::judge},
};

use super::{
    hostname::Hostnames,
    needed, one,
    proof::{self, Look, Noted},
    scope_of, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::{
        audience,
        publish::{self, Effect},
    },
    tx::Work,
    value::{Row, values},
};

impl Tx {
    /// Notes what a look brought, and what follows from it for who serves the name. What is the platform's own, and a look
    /// that is older than one that was noted, change nothing.
    ///
    /// # Errors
    /// [`StoreError::Rule`] when the name was proven and is another's: `hostname_taken` while that one holds it,
    /// `hostname_quarantined` while nobody but who gave it up may have it. [`StoreError::NotFound`].
    pub async fn note_hostname_proof(
        &self,
        by: &Authorized<ManageHostnames>,
        id: HostnameId,
        look: &Look,
        rules: &ProofRules,
    ) -> Result<Noted<Hostname>, StoreError> {
        let mut hostname = needed(self.hostname(id).await?, "hostname")?;
        within(by, scope_of(Some(hostname.project_id), hostname.tenant_id))?;
        let Some(before) = hostname.proof.clone() else { return Ok(Noted::Quiet(hostname)) };
        if before.checked_at.is_some_and(|at| at > look.asked_at) {
            return Ok(Noted::Quiet(hostname));
        }
        let verified = hostname.verify_state == VerifyState::Verified;
        if verified && before.due_at.is_none() && look.finding != Finding::Proven {
            // Vouched for by staff before there were proofs, and never proven: nothing is lost that was not there.
            let kept = Proof { checked_at: Some(look.asked_at), failure: look.finding.failure(), ..before };
            proof::keep(&self.work.view, ProofSubject::Hostname(id), &kept).await?;
            hostname.proof = Some(kept);
            return Ok(Noted::Quiet(hostname));
        }
        let verdict = judge(look.finding, verified, before.lost_at, rules.grace, self.work.now);
        let wins = verdict == Verdict::Wins;
        let displaced = if wins { self.take_name(by, &hostname, rules).await? } else { None };
        let kept = proof::after(&before, look, verdict, hostname.holds() || wins, self.work.now);
        proof::keep(&self.work.view, ProofSubject::Hostname(id), &kept).await?;
        hostname.proof = Some(kept);
        let state = match verdict {
            Verdict::Wins => VerifyState::Verified,
            Verdict::Fails(_) | Verdict::Waits(_) => VerifyState::Failed,
            Verdict::Holds { .. } | Verdict::Lost(_) | Verdict::Lacks(_) | Verdict::Unknown => hostname.verify_state,
        };
        let told = state != hostname.verify_state
            || matches!(verdict, Verdict::Lost(_) | Verdict::Holds { found_again: true });
        if !told {
            return Ok(Noted::Quiet(hostname));
        }
        let now = if state == hostname.verify_state {
            self.unaudited(hostname)
        } else {
            hostname.verify_state = state;
            self.update_hostname(by, hostname).await?
        };
        Ok(Noted::Told { verdict, now, displaced })
    }

    /// Makes the name free for a claim that was proven; answers who held it.
    async fn take_name(
        &self,
        by: &Authorized<ManageHostnames>,
        claim: &Hostname,
        rules: &ProofRules,
    ) -> Result<Option<Unaudited<Hostname>>, StoreError> {
        let holder = self.hostname_by_name(&claim.hostname).await?.filter(|it| it.id != claim.id);
        let Some(mut holder) = holder else {
            if !claim.holds() {
                not_in_quarantine(&self.work, claim).await?;
            }
            return Ok(None);
        };
        let failed_at = holder.proof.as_ref().and_then(|proof| proof.failed_at);
        let over = holder.verify_state == VerifyState::Failed
            && failed_at.is_some_and(|at| at + rules.takeover_after <= self.work.now);
        let Some(proof) = holder.proof.clone().filter(|_| over) else {
            return Err(StoreError::rule("hostname_taken", "another has proven the hostname, and holds it"));
        };
        let lost = Proof { failure: Some(ProofFailure::TakenOver), due_at: None, ..proof };
        proof::keep(&self.work.view, ProofSubject::Hostname(holder.id), &lost).await?;
        holder.proof = Some(lost);
        holder.verified_at = None;
        self.update_hostname(by, holder).await.map(Some)
    }

    /// Gives a hostname up, with its own routes, and its certificate at the edge when nothing else uses that. For as long as
    /// `rules` say, nobody else gets the name; one that was never proven is anybody's.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_hostname(
        &self,
        by: &Authorized<ManageHostnames>,
        id: HostnameId,
        rules: &ProofRules,
    ) -> Result<Unaudited<Hostname>, StoreError> {
        let hostname = needed(self.hostname(id).await?, "hostname")?;
        within(by, scope_of(Some(hostname.project_id), hostname.tenant_id))?;
        release(&self.work, by.scope(), &hostname, rules).await?;
        Ok(self.unaudited(hostname))
    }
}

/// Takes a hostname away and keeps its name from others.
pub(super) async fn release(
    work: &Work,
    scope: Scope,
    hostname: &Hostname,
    rules: &ProofRules,
) -> Result<(), StoreError> {
    let told = audience::of_hostname(&work.view, hostname.id).await?;
    one(&work.view, "hostname", "DELETE FROM hostnames WHERE id = $1", values![hostname.id]).await?;
    if hostname.holds() {
        quarantine(work, hostname, rules).await?;
    }
    audience::shift(work, scope, &told, &audience::Told::new()).await?;
    publish::hostname(work, hostname.id, Effect::Narrows).await
}

/// Keeps a name that is given up from others. One whose proof had failed is kept no longer than if it had stayed.
async fn quarantine(work: &Work, released: &Hostname, rules: &ProofRules) -> Result<(), StoreError> {
    let failed_at = released.proof.as_ref().and_then(|proof| proof.failed_at);
    let until = match failed_at.filter(|_| released.verify_state == VerifyState::Failed) {
        Some(at) => at + rules.takeover_after,
        None => work.now + rules.quarantine,
    };
    if until <= work.now {
        return Ok(());
    }
    let sql = "INSERT INTO released_hostnames (hostname, project_id, tenant_id, until) VALUES ($1, $2, $3, $4)
               ON CONFLICT (hostname) DO UPDATE SET project_id = excluded.project_id, tenant_id = excluded.tenant_id,
                   until = excluded.until";
    let values = values![released.hostname.as_str(), released.project_id, released.tenant_id, until];
    work.view.execute(sql, values).await?;
    Ok(())
}

/// Refuses a name that somebody else gave up a short while ago. Who gave it up may have it again.
pub(super) async fn not_in_quarantine(work: &Work, claim: &Hostname) -> Result<(), StoreError> {
    let sql = "SELECT project_id, tenant_id FROM released_hostnames WHERE hostname = $1 AND until > $2";
    let read = |row: &Row| Ok((row.at::<ProjectId>("project_id")?, row.at::<Option<TenantId>>("tenant_id")?));
    let by = work.view.first(sql, values![claim.hostname.as_str(), work.now], read).await?;
    if by.is_some_and(|by| by != (claim.project_id, claim.tenant_id)) {
        let detail = "the hostname was given up a short while ago: nobody else may have it yet";
        return Err(StoreError::rule("hostname_quarantined", detail));
    }
    let sql = "DELETE FROM released_hostnames WHERE hostname = $1";
    work.view.execute(sql, values![claim.hostname.as_str()]).await?;
    Ok(())
}
