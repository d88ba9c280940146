//! Domains of email addresses: claimed and proven as hostnames are, and what belonging follows from them.
//!
//! Who signs in with a proven address in a domain that a tenant of their project holds becomes its member, once: the stored
//! membership counts from then on; one that an administrator switched off stays off, and who was taken out stays out. A latent tenant, which was made for
//! somebody who has not come yet, is the first one's: they own it. The shared project knows no such members: its tenants are
//! joined by invitation only. Domains of public mail providers are refused at each gate: when one is
//! claimed, when it is proven, and when somebody would belong by it.

use std::{collections::HashSet, sync::LazyLock};

use authz::{
    Authorized,
    action::{ManageEmailDomains, ManageRoleBindings, ManageTenants, ManageUsers},
};
use domain::{
    EmailDomainId, HostName, ProjectId, TenantId,
    model::{
        ClaimState, DueProof, EmailDomain, Membership, MembershipSource, MembershipStatus, NewEmailDomain,
        NewRoleBinding, Project, ProjectKind, ProofSubject, RoleSubject, Tenant, User, VerifyState, builtin, domain_of,
    },
};
use store::{
    Audited, Commit, Page, Tx,
    list::{EmailDomainList, Selection, Slice},
    read::*,
};

use super::{hostnames::few, proofs};
use crate::{
    App,
    caller::{Principal, Site},
    config::is_within,
    context::new_id,
    error::AppError,
};

/// The name in the audit trail of memberships that came by a domain.
const JOB: &str = "email-domains";

/// Tenants whose left-over members are looked after in one sweep.
const SWEPT_AT_ONCE: u32 = 16;

/// One a line; `#` begins a comment.
const PUBLIC_PROVIDERS: &str = include_str!("public_providers.txt");

static KNOWN: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    let lines = PUBLIC_PROVIDERS.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).collect()
});

/// Whether anybody can have an address in a domain, or in one above it.
pub(crate) fn is_public(app: &App, domain: &HostName) -> bool {
    let mut rest = domain.as_str();
    loop {
        if KNOWN.contains(rest) {
            return true;
        }
        match rest.split_once('.') {
            Some((_, above)) => rest = above,
            None => break,
        }
    }
    app.config.email_domains.public_providers.iter().any(|public| is_within(domain, public))
}

/// A page of the domains that a tenant claims.
pub async fn list_email_domains(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    asked: &Selection<EmailDomainList>,
) -> Result<Slice<EmailDomain>, AppError> {
    let site = principal.site(app, Some(tenant)).await?;
    principal.may_in::<ManageEmailDomains>(site, "list")?;
    Ok(app.store.within(site.scope()).list(tenant, asked).await?)
}

/// Claims a domain for a tenant.
///
/// # Errors
/// [`AppError::Invalid`] (`public_provider`) for one whose addresses anybody can have; [`AppError::Conflict`]
/// (`too_many_unproven`, `too_many_names`); [`AppError::Store`] when the tenant claims it already.
pub async fn create_email_domain(
    app: &App,
    principal: &Principal,
    tenant: TenantId,
    domain: HostName,
) -> Result<(EmailDomain, Commit), AppError> {
    let site = principal.site(app, Some(tenant)).await?;
    let by = principal.may_in::<ManageEmailDomains>(site, "create")?;
    if is_public(app, &domain) {
        return Err(AppError::field("/domain", "public_provider", "is a domain whose addresses anybody can have"));
    }
    let new = NewEmailDomain {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        challenge: proofs::challenge(&domain, "/domain")?,
        domain,
    };
    let bound = !principal.is_system();
    let (by, new) = (&by, &new);
    app.store
        .write(by, app.now(), |tx| async move {
            if bound {
                few(app, tx.count_email_domains(site.tenant).await?)?;
            }
            Ok(tx.created(tx.insert_email_domain(by, new.clone()).await?).await?)
        })
        .await
}

/// Looks for a domain's proof now.
///
/// # Errors
/// [`AppError::Store`] (`domain_taken`) when the domain was proven and another tenant holds it.
pub async fn verify_email_domain(
    app: &App,
    principal: &Principal,
    id: EmailDomainId,
) -> Result<(EmailDomain, Commit), AppError> {
    let (domain, by) = own(app, principal, id, "verify").await?;
    let due = DueProof {
        subject: ProofSubject::EmailDomain(id),
        project_id: domain.project_id,
        tenant_id: Some(domain.tenant_id),
        name: domain.domain,
        challenge: domain.proof.challenge,
        epoch: 0,
    };
    let look = proofs::asked(app, &due).await?;
    // Whose it is was looked at; who else claims it no tenant sees.
    let by = by.carried_out_by_the_platform();
    let (domain, commit, _) = proofs::note_email_domain(app, &by, &due, &look).await?;
    Ok((domain, commit))
}

/// Gives a domain up, with the memberships that came by it.
pub async fn delete_email_domain(app: &App, principal: &Principal, id: EmailDomainId) -> Result<Commit, AppError> {
    let (_, by) = own(app, principal, id, "delete").await?;
    let by = &by;
    let deleted = app.store.write(by, app.now(), |tx| async move {
        let deleted = tx.deleted(tx.delete_email_domain(by, id).await?).await?;
        let more = end_strays(&tx, by, place(deleted.peek())).await?;
        Ok::<_, AppError>(deleted.map(|domain| (domain, more)))
    });
    let ((domain, more), commit) = deleted.await?;
    // Whoever waits for gateways waits for the last of it.
    if more { end_all_strays(app, by, place(&domain)).await } else { Ok(commit) }
}

/// Where a domain counts.
pub(super) const fn place(domain: &EmailDomain) -> (ProjectId, TenantId) {
    (domain.project_id, domain.tenant_id)
}

/// A domain that the caller may do `verb` to, with the proof of that.
async fn own(
    app: &App,
    principal: &Principal,
    id: EmailDomainId,
    verb: &str,
) -> Result<(EmailDomain, Authorized<ManageEmailDomains>), AppError> {
    let (by, found) = if principal.is_system() {
        (principal.may(verb)?, app.store.email_domain(id).await?)
    } else {
        let site = principal.own_site()?;
        let by = principal.may_in(site, verb)?;
        let found = app.store.within(site.scope()).email_domain(id).await?;
        (by, found.filter(|it| it.tenant_id == site.tenant))
    };
    Ok((found.ok_or(AppError::NotFound("domain"))?, by))
}

/// After a tenant lost a domain: whoever belonged to it by that does no more. Answers whether there may be more of them.
pub(super) async fn end_strays(
    tx: &Tx,
    by: &Authorized<ManageEmailDomains>,
    place: (ProjectId, TenantId),
) -> Result<bool, AppError> {
    let ended = tx.end_stray_memberships(by, place).await?;
    let more = !ended.is_empty();
    for ended in ended {
        tx.deleted(ended).await?;
    }
    Ok(more)
}

/// The same for all there are, some in each transaction.
pub(super) async fn end_all_strays(
    app: &App,
    by: &Authorized<ManageEmailDomains>,
    place: (ProjectId, TenantId),
) -> Result<Commit, AppError> {
    loop {
        let ended = app.store.write(by, app.now(), |tx| async move {
            Ok::<_, AppError>(Audited::unchanged(end_strays(&tx, by, place).await?))
        });
        let (more, commit) = ended.await?;
        app.hub.number(Some(commit)).await?;
        if !more {
            return Ok(commit);
        }
    }
}

/// Ends what was left when a process stopped in the middle.
///
/// # Errors
/// Of the database.
pub(crate) async fn sweep_strays(app: &App) -> Result<(), AppError> {
    let by = &Authorized::<ManageEmailDomains>::system(JOB);
    for place in app.store.tenants_with_strays(SWEPT_AT_ONCE).await? {
        end_all_strays(app, by, place).await?;
    }
    Ok(())
}

/// Makes somebody who signs in a member of the tenant that their proven address belongs to, unless a stored membership says
/// what they are.
pub(super) async fn join(app: &App, project: &Project, user: &User) -> Result<(), AppError> {
    let proven = user.email_verified_at.and(user.email.as_deref()).and_then(domain_of);
    let Some(domain) = proven.filter(|domain| project.kind != ProjectKind::Shared && !is_public(app, domain)) else {
        return Ok(());
    };
    let Some(site) = home(&app.store, project, &domain, user).await? else { return Ok(()) };
    let new = Membership {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        user_id: user.id,
        source: MembershipSource::Domain,
        status: MembershipStatus::Active,
        default_ou_id: None,
        created_at: app.now(),
    };
    let role = NewRoleBinding {
        id: new_id(&*app.clock),
        role_id: builtin::MEMBER,
        subject: RoleSubject::User(user.id),
        project_id: site.project,
        tenant_id: site.tenant,
        ou_id: None,
    };
    let (by, by_role) = (&Authorized::<ManageUsers>::system(JOB), &Authorized::<ManageRoleBindings>::system(JOB));
    let by_tenant = &Authorized::<ManageTenants>::system(JOB);
    let (new, role, domain) = (&new, &role, &domain);
    let joined = app.store.write(by, app.now(), |tx| async move {
        // The domain may have been lost, or somebody may have decided otherwise, a moment ago.
        if home(&tx, project, domain, user).await? != Some(site) {
            return Ok::<_, AppError>(Audited::unchanged(()));
        }
        let (mut new, mut role) = (new.clone(), role.clone());
        if let Some(mut latent) = unclaimed(&tx, site).await? {
            latent.claim_state = ClaimState::Claimed;
            tx.done("claimed", tx.update_tenant(by_tenant, latent).await?).await?;
            role.role_id = builtin::OWNER;
            // Theirs for good, whatever becomes of the domain.
            new.source = MembershipSource::Added;
        }
        let joined = tx.created(tx.insert_membership(by, new).await?).await?;
        tx.created(tx.insert_role_binding(by_role, role).await?).await?;
        Ok(joined.map(|_| ()))
    });
    joined.await.map(|_| ())
}

/// A tenant that nobody owns or belongs to yet.
async fn unclaimed(tx: &Tx, site: Site) -> Result<Option<Tenant>, AppError> {
    let latent = tx.tenant(site.tenant).await?.filter(|tenant| tenant.claim_state == ClaimState::Latent);
    let members = tx.memberships(site.tenant, Page { after: None, limit: 1 }).await?;
    Ok(latent.filter(|_| members.is_empty()))
}

/// The tenant somebody belongs to by a domain, and is nothing in yet.
async fn home(
    reader: &(impl EmailDomains + Tenants + Memberships),
    project: &Project,
    domain: &HostName,
    user: &User,
) -> Result<Option<Site>, AppError> {
    let held = reader.email_domain_holder(project.id, domain).await?;
    let Some(held) = held.filter(|it| it.state == VerifyState::Verified) else { return Ok(None) };
    let there = reader.tenant(held.tenant_id).await?.is_some_and(|tenant| tenant.deleted_at.is_none());
    let known = reader.membership(held.tenant_id, user.id).await?.is_some();
    let unwanted = reader.was_taken_out(held.tenant_id, user.id).await?;
    Ok((there && !known && !unwanted).then_some(Site { project: project.id, tenant: held.tenant_id }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_provider_is_written_as_domains_are_compared() {
        assert!(KNOWN.len() > 100);
        for known in KNOWN.iter() {
            assert_eq!(known.parse::<HostName>().unwrap().as_str(), *known);
        }
    }
}
