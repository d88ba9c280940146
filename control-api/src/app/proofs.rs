//! Proofs by DNS: looking, and what follows for hostnames and email domains.
//!
//! A look is noted by one rule, whoever asked for it: its owner by `…/verify`, or the job ([`crate::reproof`]).

use std::time::Duration;

use authz::{
    Authorized,
    action::{ManageEmailDomains, ManageHostnames},
};
use aws_lc_rs::rand;
use domain::{
    HostName,
    model::{
        Challenge, DueProof, EmailDomain, Finding, Hostname, ProofFailure, ProofRules, ProofSubject, Verdict,
        proof::MAX_PROVABLE_BYTES,
    },
};
use store::{Audited, Commit, Look, Noted, read::*};

use super::{email_domains, hostnames};
use crate::{
    App,
    config::{self, Config},
    dns::{self, Targets},
    error::AppError,
};

/// A missing proof is looked for at least this often.
const SOON: Duration = Duration::from_secs(3600);

/// A look takes at most this long; what it has not brought then is unknown.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who asks for a look waits for their turn at most this long.
const TURN: Duration = Duration::from_secs(5);

/// Looks that people asked for at once, of this process; the job's are beside these.
pub(crate) const ASKED_AT_ONCE: usize = 16;

/// What has to be found in DNS, for somebody who has not claimed the name before.
pub(super) fn challenge(name: &HostName, pointer: &str) -> Result<Challenge, AppError> {
    if name.as_str().len() > MAX_PROVABLE_BYTES {
        return Err(AppError::field(pointer, "length", format!("is longer than {MAX_PROVABLE_BYTES} bytes")));
    }
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|error| AppError::internal("there is no randomness", error.to_string()))?;
    Ok(Challenge::new(random))
}

/// How long proofs last, as configured.
pub(crate) fn rules(config: &Config) -> ProofRules {
    config::rules(&config.proofs, &config.hostnames)
}

/// Looks for a proof because somebody asked: one at a time for each tenant, so that one whose name servers are silent keeps no
/// other from an answer.
///
/// # Errors
/// [`AppError::Busy`] when others are asked for so long that one's turn does not come.
pub(super) async fn asked(app: &App, due: &DueProof) -> Result<Look, AppError> {
    let whose = due.tenant_id.map_or_else(|| due.project_id.to_string(), |tenant| tenant.to_string());
    let places = async {
        let turn = app.proofs.take(&whose).await;
        app.looks.acquire().await.map(|place| (turn, place))
    };
    let waited = tokio::time::timeout(TURN, places).await.map_err(|_| AppError::Busy)?;
    let _places = waited.map_err(|error| AppError::internal("nothing is looked for", error))?;
    Ok(look(app, due).await)
}

/// Looks for a proof now.
pub(crate) async fn look(app: &App, due: &DueProof) -> Look {
    let asked_at = app.now();
    let targets = match due.subject {
        ProofSubject::Hostname(_) => Targets::of(&app.config.hostnames),
        ProofSubject::EmailDomain(_) => Targets::ANY,
    };
    let public = matches!(due.subject, ProofSubject::EmailDomain(_)) && email_domains::is_public(app, &due.name);
    let finding = if public {
        Finding::Absent(ProofFailure::PublicProvider)
    } else {
        let look = dns::look(&*app.dns, &due.name, &due.challenge, &targets);
        tokio::time::timeout(PATIENCE, look).await.unwrap_or(Finding::Unknown)
    };
    Look { finding, asked_at, next: app.now() + pause(&app.config, finding.failure().is_some()) }
}

/// How long until the next look: `proofs.recheck` and up to a tenth more, so that names proven together are not asked for
/// together for ever; sooner while a proof is missing.
fn pause(config: &Config, missing: bool) -> Duration {
    let whole = config.proofs.recheck.get();
    let part =
        if missing { whole.min(SOON).min((config.proofs.grace.get() / 8).max(Duration::from_secs(1))) } else { whole };
    let mut random = [0];
    // Without randomness it is not spread.
    if rand::fill(&mut random).is_err() {
        return part;
    }
    let [random] = random;
    part + part.mul_f64(f64::from(random) / 2550.0)
}

/// Notes a look for a hostname; answers what it is now, and whether anybody is told of it. With `again`, what it offers is judged
/// again before it is served.
///
/// # Errors
/// [`AppError::Store`] with `hostname_taken` or `hostname_quarantined` for a name that was proven and cannot be had.
pub(crate) async fn note_hostname(
    app: &App,
    by: &Authorized<ManageHostnames>,
    due: &DueProof,
    look: &Look,
    again: bool,
) -> Result<(Hostname, Commit, bool), AppError> {
    let ProofSubject::Hostname(id) = due.subject else { return Err(AppError::NotFound("hostname")) };
    let rules = rules(&app.config);
    let rules = &rules;
    let noted = app.store.write(by, app.now(), |tx| async move {
        if again && look.finding == Finding::Proven {
            hostnames::judge_again(&tx, by, id).await?;
        }
        match tx.note_hostname_proof(by, id, look, rules).await? {
            Noted::Quiet(hostname) => Ok::<_, AppError>(Audited::unchanged((hostname, None))),
            Noted::Told { verdict, now, displaced } => {
                if let Some(displaced) = displaced {
                    tx.done("taken_over", displaced).await?;
                }
                let told = tx.done(verb(verdict), now).await?;
                let Some(primary) = tx.replace_primary(by, told.peek()).await? else {
                    return Ok(told.map(|hostname| (hostname, Some(verdict))));
                };
                tx.done("made_primary", primary).await?;
                let hostname = tx.hostname(told.peek().id).await?.ok_or(AppError::NotFound("hostname"))?;
                Ok(told.map(|_| (hostname, Some(verdict))))
            }
        }
    });
    let ((hostname, verdict), commit) = noted.await?;
    if let Some(verdict) = verdict {
        let tenant = hostname.tenant_id.map(|id| id.to_string());
        tracing::info!(hostname.id = %hostname.id, tenant.id = tenant, step = verb(verdict), "a hostname's proof changed");
    }
    Ok((hostname, commit, verdict.is_some()))
}

/// Notes a look for an email domain; answers what it is now, and whether anybody is told of it. Whoever belongs to a tenant by a domain that it holds no more,
/// is out: the first hundreds in the same transaction, the others in those that follow.
///
/// # Errors
/// [`AppError::Store`] with `domain_taken` for a domain that was proven and another's.
pub(crate) async fn note_email_domain(
    app: &App,
    by: &Authorized<ManageEmailDomains>,
    due: &DueProof,
    look: &Look,
) -> Result<(EmailDomain, Commit, bool), AppError> {
    let ProofSubject::EmailDomain(id) = due.subject else { return Err(AppError::NotFound("domain")) };
    let rules = rules(&app.config);
    let rules = &rules;
    let noted = app.store.write(by, app.now(), |tx| async move {
        match tx.note_email_domain_proof(by, id, look, rules).await? {
            Noted::Quiet(domain) => Ok::<_, AppError>(Audited::unchanged((domain, None))),
            Noted::Told { verdict, now, displaced } => {
                if let Some(displaced) = displaced {
                    tx.done("taken_over", displaced).await?;
                }
                let domain = tx.done(verb(verdict), now).await?;
                if matches!(verdict, Verdict::Fails(_)) {
                    email_domains::end_strays(&tx, by, email_domains::place(domain.peek())).await?;
                }
                Ok(domain.map(|domain| (domain, Some(verdict))))
            }
        }
    });
    let ((domain, verdict), commit) = noted.await?;
    if matches!(verdict, Some(Verdict::Fails(_))) {
        email_domains::end_all_strays(app, by, email_domains::place(&domain)).await?;
    }
    if let Some(verdict) = verdict {
        tracing::info!(
            domain.id = %domain.id, tenant.id = %domain.tenant_id, step = verb(verdict), "an email domain's proof changed"
        );
    }
    Ok((domain, commit, verdict.is_some()))
}

/// What the audit trail calls it.
const fn verb(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Wins => "verified",
        Verdict::Waits(_) => "verify_failed",
        Verdict::Holds { .. } => "proof_found",
        Verdict::Lost(_) => "proof_lost",
        Verdict::Lacks(_) => "proof_missing",
        Verdict::Fails(_) => "proof_failed",
        Verdict::Unknown => "proof_unknown",
    }
}
