//! Hostnames, the services they offer and the certificates they use.

use std::collections::HashMap;

use authz::{Authorized, action::ManageHostnames};
use domain::{
    HostName, HostnameId, ProjectId, ServiceId, TenantId,
    model::{Hostname, NewHostname, Proof, ProofSubject, VerifyState, Version},
    snapshot::Purpose,
};

use super::{
    hostname_claim,
    list::{Filter, Listing, Selection, Slice, Sortable, Takes, sealed::Cells},
    needed,
    page::Page,
    proof, scope_of, swap, tie, within,
};
use crate::{
    StoreError, Tx, Unaudited, View,
    log::{
        audience,
        publish::{self, Effect},
    },
    tx::Reader,
    value::{Row, Value, values},
};

/// With its proof, whose columns have names of their own.
const SELECT: &str = "SELECT hostnames.*, challenge, checked_at, lost_at, failed_at, failure, due_at FROM hostnames
    LEFT JOIN (SELECT id AS proof_of, challenge, checked_at, lost_at, failed_at, failure, due_at FROM hostname_proofs)
        AS proof ON proof.proof_of = hostnames.id";

/// Without its services, which [`with_services`] adds.
fn read(row: &Row) -> Result<Hostname, StoreError> {
    Ok(Hostname {
        id: row.at("id")?,
        hostname: row.parsed("hostname")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        fleet: row.parsed("fleet")?,
        purpose: row.word("purpose")?,
        kind: row.word("kind")?,
        is_primary: row.at("is_primary")?,
        verify_state: row.word("verify_state")?,
        verified_at: row.at("verified_at")?,
        tls_mode: row.word("tls_mode")?,
        certificate_id: row.at("certificate_id")?,
        services: Vec::new(),
        max_body: row.json_opt("max_body")?,
        response: row.json_opt("response")?.unwrap_or_default(),
        admission: row.json_opt("admission")?.unwrap_or_default(),
        cors: row.json_opt("cors")?.unwrap_or_default(),
        client_certificates: row.json_opt("client_certificates")?,
        proof: proof::read(row)?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The hostnames that `condition` selects, with their services.
async fn with_services(view: &View, condition: &str, values: Vec<Value>) -> Result<Vec<Hostname>, StoreError> {
    let mut found = view.all(&format!("{SELECT} {condition}"), values.clone(), read).await?;
    let sql = format!(
        "SELECT offer.hostname_id, offer.service_id FROM hostname_services AS offer
         JOIN ({SELECT} {condition}) AS host ON host.id = offer.hostname_id ORDER BY offer.place"
    );
    let mut offers: HashMap<HostnameId, Vec<ServiceId>> = HashMap::new();
    let pairs = view.all(&sql, values, |row| Ok((row.at("hostname_id")?, row.at("service_id")?))).await?;
    for (hostname, service) in pairs {
        offers.entry(hostname).or_default().push(service);
    }
    for hostname in &mut found {
        hostname.services = offers.remove(&hostname.id).unwrap_or_default();
    }
    Ok(found)
}

/// The list of hostnames.
#[derive(Debug)]
pub enum HostnameList {}

impl Listing for HostnameList {
    type Item = Hostname;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::search("That hold this, in any case.", "hostname LIKE ? ESCAPE '!'"),
        Filter::new("tenant_id", "Of this tenant.", Takes::Id, "tenant_id = ?"),
        Filter::new("state", "In this state.", Takes::Word(&["pending", "verified", "failed"]), "verify_state = ?"),
        Filter::new("kind", "Of this kind.", Takes::Word(&["platform", "custom"]), "kind = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("hostname", "hostname"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        "WHERE TRUE".into()
    }
    fn item(row: &Cells<'_>) -> Result<Hostname, StoreError> {
        read(row.0)
    }
}

/// Reads of hostnames.
pub trait Hostnames: Reader {
    /// The hostname of this id.
    fn hostname(&self, id: HostnameId) -> impl Future<Output = Result<Option<Hostname>, StoreError>> + Send {
        async move { Ok(with_services(&self.view().await?, "WHERE id = $1", values![id]).await?.pop()) }
    }

    /// The hostname that holds this name, verified or failed since. Who only claims it is not found.
    fn hostname_by_name(&self, name: &HostName) -> impl Future<Output = Result<Option<Hostname>, StoreError>> + Send {
        async move {
            let condition = "WHERE hostname = $1 AND verified_at IS NOT NULL";
            Ok(with_services(&self.view().await?, condition, values![name.as_str()]).await?.pop())
        }
    }

    /// The part of the list of hostnames that was asked for, with their services.
    fn list_hostnames(
        &self,
        asked: &Selection<HostnameList>,
    ) -> impl Future<Output = Result<Slice<Hostname>, StoreError>> + Send {
        async move {
            let mut all = Vec::new();
            let condition = format!("{}{}", HostnameList::sql(), asked.clauses(&mut all));
            let rows = with_services(&self.view().await?, &condition, all).await?;
            asked.slice(rows, |host, column| {
                let key = column.map(|column| match column {
                    "hostname" => host.hostname.as_str().into(),
                    _ => host.created_at.into(),
                });
                Ok((host.id.uuid(), key))
            })
        }
    }

    /// How many names a tenant claims, and how many of them it has not proven.
    fn count_hostnames(&self, tenant: TenantId) -> impl Future<Output = Result<(u64, u64), StoreError>> + Send {
        async move {
            let sql = "SELECT COUNT(*) AS count, COUNT(*) - COUNT(verified_at) AS unproven FROM hostnames WHERE tenant_id = $1";
            let read = |row: &Row| Ok((row.at("count")?, row.at("unproven")?));
            Ok(self.view().await?.first(sql, values![tenant], read).await?.unwrap_or_default())
        }
    }

    /// Hostnames of a tenant.
    fn hostnames_of_tenant(
        &self,
        tenant: TenantId,
        page: Page,
    ) -> impl Future<Output = Result<Vec<Hostname>, StoreError>> + Send {
        async move {
            let condition = "WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
            with_services(&self.view().await?, condition, values![tenant, page.start(), page.limit()]).await
        }
    }

    /// The primary hostname of a project and purpose.
    fn primary_hostname(
        &self,
        project: ProjectId,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Option<HostnameId>, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM hostnames WHERE project_id = $1 AND purpose = $2 AND is_primary";
            self.view().await?.first(sql, values![project, Value::word(&purpose)], |row| row.at("id")).await
        }
    }
}
impl<R: Reader> Hostnames for R {}

impl Tx {
    /// Makes a hostname. The edge is told once it is verified.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `hostnames(hostname)` for a second claim of the same claimant, or a verified one of a name
    /// that another holds, or on `(project_id, purpose)` for a second primary; [`StoreError::Rule`]
    /// (`hostname_quarantined`) for a verified one of a name that another gave up; [`StoreError::Tie`] when its services' routes tie; [`StoreError::Reference`].
    pub async fn insert_hostname(
        &self,
        by: &Authorized<ManageHostnames>,
        new: NewHostname,
    ) -> Result<Unaudited<Hostname>, StoreError> {
        within(by, scope_of(Some(new.project_id), new.tenant_id))?;
        let now = self.work.now;
        let hostname = Hostname {
            id: new.id,
            hostname: new.hostname,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            fleet: new.fleet,
            purpose: new.purpose,
            kind: new.kind,
            is_primary: new.is_primary,
            verify_state: new.verify_state,
            verified_at: (new.verify_state == VerifyState::Verified).then_some(now),
            tls_mode: new.tls_mode,
            certificate_id: new.certificate_id,
            services: new.services,
            max_body: new.max_body,
            response: new.response,
            admission: new.admission,
            cors: new.cors,
            client_certificates: new.client_certificates,
            proof: new.challenge.map(Proof::new),
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        if hostname.holds() {
            hostname_claim::not_in_quarantine(&self.work, &hostname).await?;
        }
        let mut all = values![hostname.id, hostname.hostname.as_str(), hostname.project_id, now];
        all.extend(columns(&hostname)?);
        self.work
            .view
            .execute(
                "INSERT INTO hostnames (id, hostname, project_id, created_at, updated_at, tenant_id, purpose, kind,
                     is_primary, verify_state, verified_at, tls_mode, certificate_id, fleet, response, max_body,
                     admission, cors, client_certificates, version)
                 VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 1)",
                all,
            )
            .await?;
        if let Some(proof) = &hostname.proof {
            let place = (hostname.project_id, hostname.tenant_id);
            proof::insert(&self.work.view, ProofSubject::Hostname(hostname.id), place, proof).await?;
        }
        self.offer(&hostname).await?;
        let after = audience::of_hostname(&self.work.view, hostname.id).await?;
        audience::shift(&self.work, by.scope(), &audience::Told::new(), &after).await?;
        publish::hostname(&self.work, hostname.id, Effect::Widens).await?;
        Ok(self.unaudited(hostname))
    }

    /// Changes a hostname: its tenant, fleet, services, certificate, verification; not its name and project.
    ///
    /// # Errors
    /// As [`Tx::insert_hostname`]; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_hostname(
        &self,
        by: &Authorized<ManageHostnames>,
        mut changed: Hostname,
    ) -> Result<Unaudited<Hostname>, StoreError> {
        let before = needed(self.hostname(changed.id).await?, "hostname")?;
        within(by, scope_of(Some(before.project_id), before.tenant_id))?;
        within(by, scope_of(Some(before.project_id), changed.tenant_id))?;
        changed.hostname = before.hostname;
        changed.project_id = before.project_id;
        if changed.verify_state == VerifyState::Verified {
            changed.verified_at = before.verified_at.or(Some(self.work.now));
        }
        let told = audience::of_hostname(&self.work.view, changed.id).await?;
        let mut all = columns(&changed)?;
        all.push(self.work.now.into());
        let assignments = "tenant_id = $3, purpose = $4, kind = $5, is_primary = $6, verify_state = $7,
             verified_at = $8, tls_mode = $9, certificate_id = $10, fleet = $11, response = $12, max_body = $13,
             admission = $14, cors = $15, client_certificates = $16, updated_at = $17";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "hostname", "hostnames", key, assignments, all).await?;
        changed.updated_at = self.work.now;
        if before.services != changed.services {
            let sql = "DELETE FROM hostname_services WHERE hostname_id = $1";
            self.work.view.execute(sql, values![changed.id]).await?;
            self.offer(&changed).await?;
        }
        if before.tenant_id != changed.tenant_id {
            for sql in [
                "UPDATE routes SET tenant_id = $2 WHERE hostname_id = $1",
                "UPDATE hostname_proofs SET tenant_id = $2 WHERE id = $1",
            ] {
                self.work.view.execute(sql, values![changed.id, changed.tenant_id]).await?;
            }
            // Another tenant's users act by nobody's certificate here.
            let sql = "DELETE FROM certificate_bindings WHERE hostname_id = $1";
            self.work.view.execute(sql, values![changed.id]).await?;
        }
        let after = audience::of_hostname(&self.work.view, changed.id).await?;
        audience::shift(&self.work, by.scope(), &told, &after).await?;
        let only_renewed = before.tenant_id == changed.tenant_id
            && before.services == changed.services
            && before.admission == changed.admission
            && before.cors == changed.cors
            && before.client_certificates == changed.client_certificates
            && before.fleet == changed.fleet;
        let effect = if only_renewed { Effect::Widens } else { Effect::Narrows };
        publish::hostname(&self.work, changed.id, effect).await?;
        Ok(self.unaudited(changed))
    }

    /// Makes a hostname the primary one of its project and purpose.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`hostname_unverified`) for one that is not served; [`StoreError::NotFound`].
    pub async fn make_hostname_primary(
        &self,
        by: &Authorized<ManageHostnames>,
        id: HostnameId,
    ) -> Result<Unaudited<Hostname>, StoreError> {
        let mut hostname = needed(self.hostname(id).await?, "hostname")?;
        within(by, scope_of(Some(hostname.project_id), by.scope().tenant()))?;
        if hostname.verify_state != VerifyState::Verified {
            return Err(StoreError::rule("hostname_unverified", "links are made with hostnames that are served"));
        }
        let view = &self.work.view;
        let sql = "UPDATE hostnames SET is_primary = FALSE, version = version + 1
                   WHERE project_id = $1 AND purpose = $2 AND is_primary AND id <> $3";
        view.execute(sql, vec![hostname.project_id.into(), Value::word(&hostname.purpose), id.into()]).await?;
        let key = (id.uuid(), hostname.version);
        let assignments = "is_primary = TRUE, updated_at = $3";
        hostname.version = swap(view, "hostname", "hostnames", key, assignments, values![self.work.now]).await?;
        hostname.is_primary = true;
        hostname.updated_at = self.work.now;
        Ok(self.unaudited(hostname))
    }

    /// Makes another one primary in the place of a hostname that is not served any more: of the same project, tenant and
    /// purpose the one that has been verified for longest. None when it is not the primary one, or there is no other.
    ///
    /// # Errors
    /// Of the database; [`StoreError::OutOfScope`].
    pub async fn replace_primary(
        &self,
        by: &Authorized<ManageHostnames>,
        failed: &Hostname,
    ) -> Result<Option<Unaudited<Hostname>>, StoreError> {
        if !failed.is_primary || failed.verify_state == VerifyState::Verified {
            return Ok(None);
        }
        let mut all = vec![failed.project_id.into(), Value::word(&failed.purpose)];
        let whose = match failed.tenant_id {
            Some(tenant) => {
                all.push(tenant.into());
                "tenant_id = $3"
            }
            None => "tenant_id IS NULL",
        };
        let sql = format!(
            "SELECT id FROM hostnames WHERE project_id = $1 AND purpose = $2 AND verify_state = 'verified' AND {whose}
             ORDER BY verified_at, id LIMIT 1"
        );
        match self.work.view.first(&sql, all, |row| row.at("id")).await? {
            Some(next) => self.make_hostname_primary(by, next).await.map(Some),
            None => Ok(None),
        }
    }

    async fn offer(&self, hostname: &Hostname) -> Result<(), StoreError> {
        let sql = "INSERT INTO hostname_services (hostname_id, service_id, place) VALUES ($1, $2, $3)";
        for (place, service) in (0_i64..).zip(&hostname.services) {
            self.work.view.execute(sql, values![hostname.id, *service, place]).await?;
        }
        tie::check_hostname(&self.work.view, hostname.id).await
    }
}

/// From `tenant_id` to `client_certificates`, in the order of the statements above.
fn columns(it: &Hostname) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        it.tenant_id.into(),
        Value::word(&it.purpose),
        Value::word(&it.kind),
        it.is_primary.into(),
        Value::word(&it.verify_state),
        it.verified_at.into(),
        Value::word(&it.tls_mode),
        it.certificate_id.into(),
        it.fleet.as_str().into(),
        Value::json_opt(Some(&it.response).filter(|policy| !policy.is_empty()))?,
        Value::json_opt(it.max_body.as_ref())?,
        Value::json(&it.admission)?,
        Value::json(&it.cors)?,
        Value::json_opt(it.client_certificates.as_ref())?,
    ])
}
