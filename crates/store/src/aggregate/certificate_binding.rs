//! As which users the holders of client certificates act. The edge is told with the hostname.

use authz::{Authorized, Scope, action::ManageCertificateBindings};
use domain::{
    CertificateBindingId, CertificateName, HostnameId, TenantId, UserId,
    client_certificate::MAX_BINDINGS,
    model::{BoundCertificate, NewBoundCertificate},
};

use super::{
    hostname::Hostnames,
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    machine_client::{self, MachineClients},
    membership::Memberships,
    needed, one, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::{Reader, Work},
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM certificate_bindings";

fn read(row: &Row) -> Result<BoundCertificate, StoreError> {
    let value: String = row.at("value")?;
    let name = CertificateName::new(row.word("kind")?, &value).map_err(|_| StoreError::corrupt("value", &value))?;
    Ok(BoundCertificate {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        hostname_id: row.at("hostname_id")?,
        name,
        user_id: row.at("user_id")?,
        created_at: row.at("created_at")?,
    })
}

/// The list of a tenant's bound certificates.
#[derive(Debug)]
pub enum CertificateBindingList {}

impl Listing for CertificateBindingList {
    type Item = BoundCertificate;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::new("hostname_id", "At this hostname.", Takes::Id, "hostname_id = ?"),
        Filter::new("user_id", "To this user.", Takes::Id, "user_id = ?"),
        Filter::new(
            "kind",
            "By a name of this kind.",
            Takes::Word(&["uri", "dns", "email", "subject", "sha256"]),
            "kind = ?",
        ),
        Filter::new("value", "By this name, exactly.", Takes::Text, "value = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<BoundCertificate, StoreError> {
        read(row.0)
    }
}

/// Reads of bound certificates.
pub trait CertificateBindings: Reader {
    /// The binding of this id.
    fn certificate_binding(
        &self,
        id: CertificateBindingId,
    ) -> impl Future<Output = Result<Option<BoundCertificate>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// All bindings of a hostname.
    fn certificate_bindings_of(
        &self,
        hostname: HostnameId,
    ) -> impl Future<Output = Result<Vec<BoundCertificate>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE hostname_id = $1 ORDER BY id");
            self.view().await?.all(&sql, values![hostname], read).await
        }
    }
}
impl<R: Reader> CertificateBindings for R {}

/// Unbinds all names of a user in a tenant: who comes back later is not let in by what they had before.
pub(crate) async fn delete_all_of(work: &Work, tenant: TenantId, user: UserId) -> Result<(), StoreError> {
    let sql = "SELECT DISTINCT hostname_id FROM certificate_bindings
               WHERE tenant_id = $1 AND user_id = $2 ORDER BY hostname_id";
    let hostnames = work.view.all(sql, values![tenant, user], |row| row.at::<HostnameId>("hostname_id")).await?;
    let sql = "DELETE FROM certificate_bindings WHERE tenant_id = $1 AND user_id = $2";
    work.view.execute(sql, values![tenant, user]).await?;
    for hostname in hostnames {
        publish::hostname(work, hostname, Effect::Narrows).await?;
    }
    Ok(())
}

/// Unbinds every client certificate of a user: who shows one is nobody from then on.
pub(crate) async fn unbind_all_of(work: &Work, user: UserId) -> Result<(), StoreError> {
    let sql = "DELETE FROM certificate_bindings WHERE user_id = $1 RETURNING hostname_id";
    let mut hostnames: Vec<HostnameId> = work.view.all(sql, values![user], |row| row.at("hostname_id")).await?;
    hostnames.sort_unstable();
    hostnames.dedup();
    for hostname in hostnames {
        publish::hostname(work, hostname, Effect::Narrows).await?;
    }
    Ok(())
}

impl Tx {
    /// Binds the certificates of a name to a user.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `certificate_bindings(value)` when the name is bound at the hostname already;
    /// [`StoreError::NotFound`] for a hostname that is not the tenant's; [`StoreError::Rule`] (`certificate_binding`) for a
    /// user who is no member, and for one binding more than a gateway holds.
    pub async fn insert_certificate_binding(
        &self,
        by: &Authorized<ManageCertificateBindings>,
        new: NewBoundCertificate,
    ) -> Result<Unaudited<BoundCertificate>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let refused = |detail: &str| Err(StoreError::rule("certificate_binding", detail));
        let hostname = needed(self.hostname(new.hostname_id).await?, "hostname")?;
        if hostname.tenant_id != Some(new.tenant_id) {
            return Err(StoreError::NotFound { what: "hostname" });
        }
        if self.membership(new.tenant_id, new.user_id).await?.is_none() {
            return refused("the user is no member of the tenant");
        }
        if self.is_of_machine(new.user_id).await? {
            return Err(machine_client::nothing_beside());
        }
        if self.certificate_bindings_of(new.hostname_id).await?.len() >= MAX_BINDINGS {
            return refused("the hostname binds 1000 client certificates already");
        }
        let bound = BoundCertificate {
            id: new.id,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            hostname_id: new.hostname_id,
            name: new.name,
            user_id: new.user_id,
            created_at: self.work.now,
        };
        let sql = "INSERT INTO certificate_bindings (id, project_id, tenant_id, hostname_id, kind, value, user_id,
                       created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values = values![
            bound.id,
            bound.project_id,
            bound.tenant_id,
            bound.hostname_id,
            bound.name.kind().as_str(),
            bound.name.value(),
            bound.user_id,
            bound.created_at,
        ];
        self.work.view.execute(sql, values).await?;
        publish::hostname(&self.work, bound.hostname_id, Effect::Widens).await?;
        Ok(self.unaudited(bound))
    }

    /// Unbinds a name: who shows it is nobody from then on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_certificate_binding(
        &self,
        by: &Authorized<ManageCertificateBindings>,
        id: CertificateBindingId,
    ) -> Result<Unaudited<BoundCertificate>, StoreError> {
        let bound = needed(self.certificate_binding(id).await?, "certificate-binding")?;
        within(by, Scope::Tenant(bound.project_id, bound.tenant_id))?;
        let sql = "DELETE FROM certificate_bindings WHERE id = $1";
        one(&self.work.view, "certificate-binding", sql, values![id]).await?;
        publish::hostname(&self.work, bound.hostname_id, Effect::Narrows).await?;
        Ok(self.unaudited(bound))
    }
}
