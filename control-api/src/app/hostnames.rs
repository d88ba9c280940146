//! Hostnames: what the edge serves, with which certificate and services.
//!
//! Staff makes all kinds and sets what they offer. A tenant claims names of its own, proves them by DNS ([`super::proofs`])
//! and gives them up.

use authz::{
    Authorized,
    action::{ManageCertificates, ManageHostnames},
};
use domain::{
    Admission, ByteSize, ClientCertificates, Cors, FleetName, HostName, HostnameId, ProjectId, Secret, ServiceId,
    TenantId,
    model::{DueProof, Hostname, HostnameKind, NewHostname, ProofSubject, RouteOwner, TlsMode, VerifyState, Version},
    response::ResponsePolicy,
    snapshot::Purpose,
};
use store::{
    Audited, Commit, Page, Tx,
    list::{HostnameList, Selection, Slice},
    read::*,
};

use super::{certificates, proofs};
use crate::{
    App, admin_secret, bootstrap,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// A page of hostnames: staff sees all, a tenant's principals their own.
pub async fn list_hostnames(
    app: &App,
    principal: &Principal,
    tenant: Option<TenantId>,
    asked: Selection<HostnameList>,
) -> Result<Slice<Hostname>, AppError> {
    if principal.is_system() {
        principal.may::<ManageHostnames>("list")?;
        return Ok(app.store.list_hostnames(&asked).await?);
    }
    let site = principal.site(app, tenant).await?;
    principal.may_in::<ManageHostnames>(site, "list")?;
    let own = asked.only("tenant_id", &site.tenant.to_string())?;
    Ok(app.store.within(site.scope()).list_hostnames(&own).await?)
}

/// One hostname.
pub async fn read_hostname(app: &App, principal: &Principal, id: HostnameId) -> Result<Hostname, AppError> {
    Ok(own(app, principal, id, "get").await?.0)
}

/// A hostname under the platform's own domains, which needs no proof, with the identity routes: the primary one of a
/// project.
pub async fn of_platform(
    app: &App,
    project_id: ProjectId,
    tenant_id: Option<TenantId>,
    name: &HostName,
) -> Result<NewHostname, AppError> {
    let services = app.store.service_by_name(bootstrap::IDENTITY).await?.map(|service| service.id);
    Ok(NewHostname {
        id: new_id(&*app.clock),
        hostname: name.clone(),
        project_id,
        tenant_id,
        fleet: FleetName::default(),
        purpose: Purpose::App,
        kind: HostnameKind::Platform,
        is_primary: true,
        verify_state: VerifyState::Verified,
        tls_mode: TlsMode::Manual,
        certificate_id: None,
        services: services.into_iter().collect(),
        max_body: None,
        response: ResponsePolicy::default(),
        admission: Admission::default(),
        cors: Cors::default(),
        client_certificates: None,
        challenge: None,
    })
}

/// A hostname that the caller may do `verb` to, with the proof of that.
async fn own(
    app: &App,
    principal: &Principal,
    id: HostnameId,
    verb: &str,
) -> Result<(Hostname, Authorized<ManageHostnames>), AppError> {
    let (by, found) = if principal.is_system() {
        (principal.may(verb)?, app.store.hostname(id).await?)
    } else {
        let site = principal.own_site()?;
        let by = principal.may_in(site, verb)?;
        let found = app.store.within(site.scope()).hostname(id).await?;
        (by, found.filter(|it| it.tenant_id == Some(site.tenant)))
    };
    Ok((found.ok_or(AppError::NotFound("hostname"))?, by))
}

/// Whether the caller may make a hostname where it acts: judged before what it asks for is looked at.
///
/// # Errors
/// [`AppError::Forbidden`].
pub fn may_create(principal: &Principal) -> Result<(), AppError> {
    let judged: Result<Authorized<ManageHostnames>, AppError> = match principal.is_system() {
        true => principal.may("create"),
        false => principal.may_in(principal.own_site()?, "create"),
    };
    judged.map(drop)
}

/// Makes a hostname as staff asks for it: the platform's own is verified at once, a customer's once it is proven.
///
/// # Errors
/// [`AppError::Invalid`] for a name of the platform's that is none, or the other way round; [`AppError::Store`] for a name
/// that another holds or gave up a short while ago.
pub async fn create_hostname(
    app: &App,
    principal: &Principal,
    mut new: NewHostname,
) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("create")?;
    admin_secret::spare_root(app, principal, new.project_id).await?;
    let rules = &app.config.hostnames;
    match new.kind {
        HostnameKind::Platform if !rules.platform_domains.is_empty() && !rules.is_platform(&new.hostname) => {
            return Err(AppError::field("/hostname", "not_platform_domain", "is in no domain of the platform"));
        }
        HostnameKind::Platform => {}
        HostnameKind::Custom if new.is_primary => {
            return Err(AppError::field("/is_primary", "unverified", "links are made with hostnames that are served"));
        }
        HostnameKind::Custom => {
            claimable(app, &new.hostname)?;
            new.verify_state = VerifyState::Pending;
            new.challenge = Some(proofs::challenge(&new.hostname, "/hostname")?);
        }
    }
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_hostname(&by, new).await?).await?) }
        })
        .await
}

/// Claims a hostname for the caller's own tenant: like the tenant's other hostnames, and no wider than any of them.
///
/// # Errors
/// [`AppError::Invalid`] for a name of the platform; [`AppError::Conflict`] (`too_many_unproven`, `too_many_names`).
pub async fn claim_hostname(
    app: &App,
    principal: &Principal,
    hostname: HostName,
    purpose: Purpose,
) -> Result<(Hostname, Commit), AppError> {
    let site = principal.own_site()?;
    let by = principal.may_in::<ManageHostnames>(site, "create")?;
    claimable(app, &hostname)?;
    let new = NewHostname {
        id: new_id(&*app.clock),
        challenge: Some(proofs::challenge(&hostname, "/hostname")?),
        hostname,
        project_id: site.project,
        tenant_id: Some(site.tenant),
        fleet: FleetName::default(),
        purpose,
        kind: HostnameKind::Custom,
        is_primary: false,
        verify_state: VerifyState::Pending,
        tls_mode: TlsMode::Manual,
        certificate_id: None,
        services: Vec::new(),
        max_body: None,
        response: ResponsePolicy::default(),
        admission: Admission::default(),
        cors: Cors::default(),
        client_certificates: None,
    };
    let (by, new) = (&by, &new);
    app.store
        .write(by, app.now(), |tx| async move {
            few(app, tx.count_hostnames(site.tenant).await?)?;
            let claim = like_others(&tx, site, new.clone()).await?;
            Ok(tx.created(tx.insert_hostname(by, claim).await?).await?)
        })
        .await
}

/// A claim as the tenant's hostnames are: served by their fleet, letting in whom they let in. It offers what they offer only
/// where they are all alike in that, and have no routes of their own; otherwise staff says what it offers: a name more is no
/// way around what one of the others asks for.
async fn like_others(tx: &Tx, site: Site, mut claim: NewHostname) -> Result<NewHostname, AppError> {
    let others = verified(tx, site.tenant).await?;
    let Some(like) = others.first().cloned() else { return Ok(claim) };
    claim.fleet = like.fleet;
    claim.max_body = like.max_body;
    claim.response = like.response;
    claim.admission = like.admission;
    claim.cors = like.cors;
    claim.client_certificates = like.client_certificates;
    if alike(tx, &others, &claim.admission, claim.client_certificates.as_ref()).await? {
        claim.services = like.services;
    }
    Ok(claim)
}

/// A tenant's hostnames that are served.
async fn verified(tx: &Tx, tenant: TenantId) -> Result<Vec<Hostname>, AppError> {
    let mut all = tx.hostnames_of_tenant(tenant, Page::WIDEST).await?;
    all.retain(|it| it.verify_state == VerifyState::Verified);
    Ok(all)
}

/// Whether hostnames let in whom one with these settings does, and have no routes of their own.
async fn alike(
    tx: &Tx,
    others: &[Hostname],
    admission: &Admission,
    certificates: Option<&ClientCertificates>,
) -> Result<bool, AppError> {
    for other in others {
        if other.admission != *admission || other.client_certificates.as_ref() != certificates {
            return Ok(false);
        }
        if !tx.routes(RouteOwner::Hostname(other.id)).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Judges a claim again when its tenant proves it: what was asked of the tenant's other hostnames meanwhile, is asked of it, or
/// it offers nothing until staff says what.
pub(super) async fn judge_again(tx: &Tx, by: &Authorized<ManageHostnames>, id: HostnameId) -> Result<(), AppError> {
    let Some(mut claim) = tx.hostname(id).await? else { return Ok(()) };
    let Some(tenant) = claim.tenant_id.filter(|_| !claim.holds() && !claim.services.is_empty()) else { return Ok(()) };
    let others = verified(tx, tenant).await?;
    if alike(tx, &others, &claim.admission, claim.client_certificates.as_ref()).await? {
        return Ok(());
    }
    claim.services.clear();
    tx.updated(tx.update_hostname(by, claim).await?).await?;
    Ok(())
}

/// Who has many names, or claimed many without proving them, claims no more.
pub(super) fn few(app: &App, (all, unproven): (u64, u64)) -> Result<(), AppError> {
    let proofs = &app.config.proofs;
    if unproven >= u64::from(proofs.unproven) {
        let detail = format!("{unproven} names were not proven yet: prove or remove one first");
        return Err(AppError::Conflict { code: "too_many_unproven", detail });
    }
    if all >= u64::from(proofs.names) {
        return Err(AppError::Conflict { code: "too_many_names", detail: format!("there are {all} names") });
    }
    Ok(())
}

/// Whether anybody may claim a name.
fn claimable(app: &App, name: &HostName) -> Result<(), AppError> {
    if app.config.hostnames.is_platform(name) {
        return Err(AppError::field("/hostname", "platform_domain", "is in a domain of the platform"));
    }
    Ok(())
}

/// What of a hostname changes; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Services it offers; all of them.
    pub services: Option<Vec<ServiceId>>,
    /// The fleet whose gateways serve it.
    pub fleet: Option<FleetName>,
    /// Largest request body where the route says nothing.
    pub max_body: Option<ByteSize>,
    /// What its responses say beside what its upstreams say; all of it.
    pub response: Option<ResponsePolicy>,
    /// Who is let in, and how much at once.
    pub admission: Option<Admission>,
    /// Which pages of other origins may call it.
    pub cors: Option<Cors>,
}

/// Sets which services a hostname offers, which fleet serves it, whom it lets in, and how it answers.
pub async fn update_hostname(
    app: &App,
    principal: &Principal,
    id: HostnameId,
    version: Option<Version>,
    edit: Edit,
) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, edit) = (by.clone(), edit.clone());
            async move {
                let mut hostname = tx.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
                hostname.version = version.unwrap_or(hostname.version);
                hostname.services = edit.services.unwrap_or(hostname.services);
                hostname.fleet = edit.fleet.unwrap_or(hostname.fleet);
                hostname.max_body = edit.max_body.or(hostname.max_body);
                hostname.response = edit.response.unwrap_or(hostname.response);
                hostname.admission = edit.admission.unwrap_or(hostname.admission);
                hostname.cors = edit.cors.unwrap_or(hostname.cors);
                Ok(tx.updated(tx.update_hostname(&by, hostname).await?).await?)
            }
        })
        .await
}

/// Looks for a hostname's proof now, and serves the hostname from then on when it is there. What is the platform's own is
/// staff's word.
///
/// # Errors
/// [`AppError::Store`] (`hostname_taken`, `hostname_quarantined`) when the name was proven and cannot be had.
pub async fn verify_hostname(app: &App, principal: &Principal, id: HostnameId) -> Result<(Hostname, Commit), AppError> {
    let (hostname, by) = own(app, principal, id, "verify").await?;
    let Some(proof) = hostname.proof else {
        let by = principal.may::<ManageHostnames>("verify")?;
        return vouch(app, &by, id).await;
    };
    let due = DueProof {
        subject: ProofSubject::Hostname(id),
        project_id: hostname.project_id,
        tenant_id: hostname.tenant_id,
        name: hostname.hostname,
        challenge: proof.challenge,
        epoch: 0,
    };
    let look = proofs::asked(app, &due).await?;
    // Whose it is was looked at; who else claims it no tenant sees.
    let by = by.carried_out_by_the_platform();
    let again = !principal.is_system();
    let (hostname, commit, _) = proofs::note_hostname(app, &by, &due, &look, again).await?;
    Ok((hostname, commit))
}

/// Says that a hostname is the platform's to give.
async fn vouch(app: &App, by: &Authorized<ManageHostnames>, id: HostnameId) -> Result<(Hostname, Commit), AppError> {
    app.store
        .write(by, app.now(), |tx| async move {
            let mut hostname = tx.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
            if hostname.verify_state == VerifyState::Verified {
                return Ok(Audited::unchanged(hostname));
            }
            hostname.verify_state = VerifyState::Verified;
            Ok(tx.done("verified", tx.update_hostname(by, hostname).await?).await?)
        })
        .await
}

/// Makes a hostname the primary one of its project and purpose.
pub async fn make_primary(app: &App, principal: &Principal, id: HostnameId) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move { Ok(tx.done("made_primary", tx.make_hostname_primary(&by, id).await?).await?) }
        })
        .await
}

/// Replaces a hostname's certificate.
pub async fn upload_certificate(
    app: &App,
    principal: &Principal,
    id: HostnameId,
    chain_pem: String,
    key_pem: Secret<String>,
) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("update")?;
    let certificates_by = principal.may::<ManageCertificates>("create")?;
    let hostname = app.store.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
    let new = certificates::read_upload(app, hostname.project_id, &hostname.hostname, chain_pem, key_pem)?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, certificates_by, new) = (by.clone(), certificates_by.clone(), new.clone());
            async move {
                let certificate = tx.created(tx.insert_certificate(&certificates_by, new).await?).await?;
                let mut hostname = tx.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
                hostname.certificate_id = Some(certificate.peek().id);
                let change = tx.update_hostname(&by, hostname).await?;
                Ok(certificate.and(tx.done("certificate_replaced", change).await?).map(|(_, hostname)| hostname))
            }
        })
        .await
}

/// Gives a hostname up, with its own routes. For a while (`hostnames.quarantine`) nobody else gets the name.
pub async fn delete_hostname(app: &App, principal: &Principal, id: HostnameId) -> Result<Commit, AppError> {
    let (hostname, by) = own(app, principal, id, "delete").await?;
    if !principal.is_system() && hostname.kind == HostnameKind::Platform {
        return Err(AppError::ManagedByPlatform("the hostname is the platform's"));
    }
    if !principal.is_system() && hostname.is_primary {
        let detail = "links are made with the hostname: staff makes another one primary first".to_owned();
        return Err(AppError::Conflict { code: "hostname_primary", detail });
    }
    // Whose it is was looked at; that others need its services and certificate no more, no tenant sees.
    let by = by.carried_out_by_the_platform();
    let rules = proofs::rules(&app.config);
    let (by, rules) = (&by, &rules);
    let deleted = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.deleted(tx.delete_hostname(by, id, rules).await?).await?)
    });
    deleted.await.map(|(_, commit)| commit)
}
